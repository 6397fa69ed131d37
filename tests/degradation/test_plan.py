from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from depth_anything import save_depth_anything
from torch import Generator, Tensor

from anyfuse import FusionError
from anyfuse.degradation.depth import estimated_depth, plausible_depth
from anyfuse.degradation.operation import gaussian_taps, mirror, to_encoded, to_linear
from anyfuse.degradation.optics import area_means, path_kernel
from anyfuse.degradation.plan import ALIASES, MENUS, OPERATIONS, Step, apply, draw, find, kinds_of, parse
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = list(OPERATIONS)


def picture(channels: int = 3) -> Tensor:
    """Armchairs and a table before a bright curtain: (channels, 96, 128)."""
    image = read_image(EXAMPLES / "exposure" / "3.jpg").read()[:, 230:326, 350:478]
    return to_luma(image) if channels == 1 else image


def once(name: str, image: Tensor, strength: float, seed: int = 0) -> Tensor:
    return OPERATIONS[name].run(image, strength, Generator().manual_seed(seed))[0]


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10((a - b).square().mean().item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_more_strength_is_more_of_it(name: str, channels: int) -> None:
    image = picture(channels)
    before = image.clone()
    assert torch.equal(once(name, image, 0.0), image)
    for seed in (0, 1):
        values = []
        for strength in (0.1, 0.25, 0.5, 0.75, 1.0):
            degraded = once(name, image, strength, seed)
            assert degraded.shape == image.shape
            assert degraded.min() >= 0
            assert degraded.max() <= 1
            values.append(psnr(degraded, image))
        assert all(a > b for a, b in itertools.pairwise(values)), values
        assert values[-1] < 30, "at full strength it shows"
    assert torch.equal(image, before), "the input is left alone"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 3, 5), (1, 1, 40), (1, 37, 2), (3, 51, 33)])
def test_any_size(name: str, shape: tuple[int, int, int]) -> None:
    image = torch.rand(shape, generator=Generator().manual_seed(0))
    degraded = once(name, image, 0.8)
    assert degraded.shape == image.shape
    assert degraded.isfinite().all()
    assert degraded.min() >= 0
    assert degraded.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides(name: str) -> None:
    image = picture()
    plan = [Step(name, 0.7)]
    first, done = apply(image, plan, 5)
    again, same = apply(image, plan, 5)
    assert torch.equal(first, again)
    assert done == same
    assert done[0]["op"] == name
    assert done[0]["strength"] == 0.7
    assert len(done[0]) > 2, "it says what it did in physical parameters"
    fixed = ("gaussian_blur", "low_exposure", "high_exposure", "low_contrast", "downsample", "jpeg")
    assert torch.equal(apply(image, plan, 6)[0], first) == (name in fixed)


@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur", "downsample"])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_flat_stays_flat_to_the_border(name: str, value: float) -> None:
    flat = torch.full((1, 30, 40), value)
    assert torch.allclose(once(name, flat, 1.0), flat, atol=2e-4)


def test_motion_does_not_wrap_around() -> None:
    image = torch.zeros(1, 60, 80)
    image[:, :, :3] = 1
    for seed in range(8):
        blurred = once("motion_blur", image, 1.0, seed)
        assert blurred[:, :, 40:].max() == 0
        assert blurred[:, :, :20].max() > 0.2


def test_motion_kernel_is_the_path() -> None:
    kernel = path_kernel(torch.tensor([[0.0, 0.0, 0.0], [-2.0, 0.0, 2.5]], dtype=torch.float64))
    middle = kernel.shape[0] // 2
    assert kernel.sum() == pytest.approx(1)
    assert kernel[middle, middle - 2] == pytest.approx(1 / 3)
    assert kernel[middle, middle + 3] == kernel[middle, middle + 2] == pytest.approx(1 / 6)


def test_gaussian_has_its_sigma() -> None:
    taps = gaussian_taps(2.0)
    axis = torch.arange(len(taps)) - len(taps) // 2
    assert taps.sum() == pytest.approx(1)
    assert (taps * axis**2).sum().item() ** 0.5 == pytest.approx(2.0, abs=0.05)
    assert gaussian_taps(1e-9).tolist() == [0, 1, 0]


def test_area_means_share_pixels() -> None:
    column = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])[None, :, None]
    assert area_means(column, 2)[0, :, 0].tolist() == pytest.approx([0.8, 3.2])
    assert area_means(column, 5)[0, :, 0].tolist() == pytest.approx([0, 1, 2, 3, 4])


def test_mirror_of_small_images() -> None:
    assert mirror(torch.tensor([[[1.0, 2.0, 3.0]]]), 3)[0, 0].tolist() == [2, 3, 2, 1, 2, 3, 2, 1, 2]


def test_linear_light_and_back() -> None:
    ramp = torch.linspace(0, 1, 257)[None, None]
    assert torch.allclose(to_encoded(to_linear(ramp)), ramp, atol=1e-6)
    assert to_linear(torch.tensor(0.5)).item() == pytest.approx(0.21404, abs=1e-4)


def test_haze_is_the_scattering_model() -> None:
    image = picture()
    depth = torch.linspace(0, 1, 128).expand(96, 128)
    hazy, done = apply(image, [Step("haze", 0.5)], 3, depth=depth)
    assert done[0]["beta"] == pytest.approx(0.9)
    clear = torch.exp(-done[0]["beta"] * depth)
    expected = to_encoded(to_linear(image) * clear + done[0]["airlight"] * (1 - clear))
    assert torch.allclose(hazy, expected, atol=1e-4)
    assert torch.allclose(hazy[:, :, 0], image[:, :, 0], atol=1e-5), "nothing between the camera and what touches it"


@pytest.mark.parametrize("name", ["rain", "snow"])
def test_drops_and_flakes_are_bright_and_before_the_scene(name: str) -> None:
    dark = torch.full((1, 300, 400), 0.2)
    far = apply(dark, [Step(name, 0.6)], 1, depth=torch.ones(300, 400))[0] - dark
    near = apply(dark, [Step(name, 0.6)], 1, depth=torch.full((300, 400), 0.02))[0] - dark
    assert far.min() >= -1e-6
    assert (far > far.median() + 0.1).float().mean() > 0.02, "particles stand out"
    assert far.median() < 0.3, "and the scene is seen between them"
    assert near.abs().max() < 0.03, "what is nearer than all particles is free of them"


def test_rain_falls_down() -> None:
    dark = torch.full((1, 160, 160), 0.2)
    for seed in range(4):
        rain = once("rain", dark, 0.6, seed)
        assert rain.diff(dim=1).abs().mean() < 0.6 * rain.diff(dim=2).abs().mean()


def test_sensor_noise_has_its_variance() -> None:
    for value in (0.3, 0.6):
        flat = torch.full((1, 200, 200), value)
        noisy, done = OPERATIONS["sensor_noise"].run(flat, 0.5, Generator().manual_seed(0))
        light, expected = to_linear(noisy), to_linear(flat).mean().item()
        variance = expected / done["electrons"] + done["read"] ** 2
        assert light.mean().item() == pytest.approx(expected, abs=2e-3)
        assert light.var().item() == pytest.approx(variance, rel=0.05)


def test_detector_faults_go_along_columns() -> None:
    flat = torch.full((1, 50, 100), 0.5)
    dark, bright = once("dark_stripes", flat, 1.0), once("bright_stripes", flat, 1.0)
    assert torch.equal(dark, dark[:, :1].expand_as(dark))
    assert ((dark[0, 0] < 0.49).sum(), (bright[0, 0] > 0.51).sum()) == (3, 3)
    assert dark.max() == bright.min() == 0.5
    dead = once("dead_pixels", flat, 1.0)
    assert set(dead.unique().tolist()) == {0.0, 0.5, 1.0}
    assert (dead != 0.5).float().mean() == pytest.approx(0.02, abs=0.006)
    pattern = once("fixed_pattern", flat, 1.0)[0]
    assert pattern.mean(0).std() > 1.5 * pattern.mean(1).std(), "columns differ more than rows"


def test_exposure_is_in_stops() -> None:
    image = picture() * 0.3
    dark, bright = once("low_exposure", image, 0.5), once("high_exposure", image, 0.4)
    assert torch.allclose(to_linear(dark), to_linear(image) / 4, atol=1e-5)
    assert torch.allclose(to_linear(bright), (to_linear(image) * 2).clamp(0, 1), atol=1e-5)


def test_plausible_depth_recedes() -> None:
    depth = plausible_depth(90, 120, Generator().manual_seed(2))
    rows = depth.mean(1)
    assert depth.min() >= 0
    assert depth.max() <= 1
    assert rows[-1] < 0.4 < rows[60] < rows[20]


def test_depth_anything(tmp_path: Path) -> None:
    save_depth_anything(tmp_path)
    depth = estimated_depth(picture(1), str(tmp_path))
    assert depth.shape == (96, 128)
    assert depth.min() == pytest.approx(0.15)
    assert depth.max() == pytest.approx(1.0)
    with pytest.raises(FusionError, match="no depth model"):
        estimated_depth(picture(), f"{tmp_path}/none")


def test_menus_hold_what_suits() -> None:
    for menu in MENUS.values():
        for kind, names in menu.items():
            assert len(set(names)) == len(names)
            assert all(OPERATIONS[name].suits in ("any", kind) for name in names)
    assert not {"rain", "snow", "haze"} & set(MENUS["ivf"]["infrared"])
    assert all(name in OPERATIONS for name in ALIASES.values())


@pytest.mark.parametrize("task", list(MENUS))
def test_draws(task: str) -> None:
    counts, seen = set(), set()
    for seed in range(150):
        plans = draw(task, 2, Generator().manual_seed(seed))
        assert plans == draw(task, 2, Generator().manual_seed(seed))
        names = {step.op for plan in plans for step in plan}
        counts.add(len(names))
        seen |= names
        for kind, plan in zip(kinds_of(task, 2), plans, strict=True):
            assert {step.op for step in plan} <= set(MENUS[task][kind])
            assert [NAMES.index(s.op) for s in plan] == sorted({NAMES.index(s.op) for s in plan})
            assert all(0.3 <= step.strength <= 1 for step in plan)
        if task != "ivf":
            weather = [{s for s in plan if OPERATIONS[s.op].scene} for plan in plans]
            assert weather[0] == weather[1], "one sky for both"
    assert counts == {1, 2, 3}
    assert seen == {name for menu in MENUS[task].values() for name in menu}


def test_sources_share_the_air_but_not_the_noise() -> None:
    image = picture()
    assert torch.equal(*(apply(image, [Step("haze", 0.6)], 4, source=k)[0] for k in (0, 1)))
    for name in ("gaussian_noise", "rain", "snow"):
        assert not torch.equal(*(apply(image, [Step(name, 0.6)], 4, source=k)[0] for k in (0, 1)))


def test_parse() -> None:
    assert parse("haze:0.5, Noise:.3,motion-blur") == (
        Step("haze", 0.5),
        Step("gaussian_noise", 0.3),
        Step("motion_blur", 0.5),
    )
    assert find("Gaussian Blur") == "gaussian_blur"
    for text, word in [
        ("haez:1", "did you mean haze"),
        ("zzz", "known: haze"),
        ("rain:2", "0 to 1"),
        ("rain:x", "no number"),
    ]:
        with pytest.raises(FusionError, match=word):
            parse(text)
    with pytest.raises(FusionError, match="no operation"):
        parse(" , ")


def test_mistakes() -> None:
    gen = Generator()
    with pytest.raises(FusionError, match="no image"):
        OPERATIONS["rain"].run(torch.rand(2, 4, 4), 0.5, gen)
    with pytest.raises(FusionError, match="not in 0 to 1"):
        OPERATIONS["jpeg"].run(torch.rand(1, 4, 4), 1.5, gen)
    with pytest.raises(FusionError, match="give one size"):
        apply(torch.rand(1, 4, 4), [Step("haze", 0.5)], 0, depth=torch.rand(4, 5))
    with pytest.raises(FusionError, match="known: ivf"):
        draw("mif", 2, gen)
    with pytest.raises(FusionError, match="one or more"):
        draw("mef", 0, gen)
    with pytest.raises(FusionError, match="no sources of the kinds"):
        draw("mef", 1, gen, ["infrared"])


@pytest.mark.parametrize("name", ["rain", "snow"])
def test_a_part_of_a_picture_has_the_weather_of_the_whole(name: str) -> None:
    """Drops and flakes of a crop are as large as those of the picture it is a part of, not of a small picture."""
    grey = torch.full((1, 128, 128), 0.3)
    depth = torch.ones(128, 128)

    def grain(frame: int | None) -> float:
        """How alike pixels are that lie 3 apart."""
        changed, _ = apply(grey, [(name, 1.0)], 5, depth=depth, frame=frame)
        x = changed[0] - changed.mean()
        return float((x[3:] * x[:-3]).mean() / x.square().mean())

    assert grain(None) == grain(128)
    assert grain(640) > grain(None) + 0.1
