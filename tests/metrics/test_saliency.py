"""What people look at, on constructed images where the right value is known."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anyfuse.errors import FusionError
from anyfuse.metrics import METRICS, Shared, score_batch
from anyfuse.metrics.saliency import (
    boxed_contrast,
    boxed_level,
    chroma_kept,
    contrast_kept,
    hot_pixels,
    lit_pixels,
    sharp_share,
    to_lab,
)

BOXES = Path(__file__).parents[1] / "data" / "boxes.json"
MAN = (slice(40, 80), slice(60, 76))  # rows, columns
LAMP = (slice(10, 30), slice(120, 150))


def value(name: str, fused: Tensor, sources: Tensor) -> float:
    return float(METRICS[name].function(fused, sources))


def street() -> tuple[Tensor, Tensor]:
    """Infrared and visible (120, 160): a hot man on cool ground whom the visible image lacks, a white lamp that the
    infrared image lacks.
    """
    infrared, visible = torch.full((120, 160), 60.0), torch.full((120, 160), 80.0)
    infrared[MAN], visible[LAMP] = 220, 250
    return infrared.double(), visible.double()


def pair() -> Tensor:
    return torch.stack(street())[None]


def with_man(level: float, ground: float = 80) -> Tensor:
    fused = torch.full((1, 120, 160), ground, dtype=torch.float64)
    fused[0][MAN] = level
    return fused


# ---------------------------------------------------------------------- targets and lit things


def test_masks_are_the_man_and_the_lamp() -> None:
    hot, lit = hot_pixels(pair())[0], lit_pixels(pair())[0]
    assert hot.sum() == 40 * 16
    assert hot[MAN].all()
    assert lit.sum() == 20 * 30
    assert lit[LAMP].all()
    speck = pair()
    speck[0, 0, 100:102, 20:22] = 220  # two pixels wide: opened away
    assert torch.equal(hot_pixels(speck)[0], hot)


def test_target_contrast() -> None:
    sources = pair()
    infrared, visible = sources[:, 0], sources[:, 1]
    assert value("target_contrast", infrared, sources) == pytest.approx(1)
    assert value("target_contrast", visible, sources) == pytest.approx(0), "the man is erased"
    assert value("target_contrast", with_man(80 + 40), sources) == pytest.approx(0.25)
    assert value("target_contrast", with_man(80 - 16), sources) == pytest.approx(-0.1), "the man is dark"
    assert value("target_contrast", with_man(250, 60), sources) == pytest.approx(190 / 160), (
        "more than the infrared has"
    )
    assert value("target_level", infrared, sources) == pytest.approx(1)
    assert value("target_level", with_man(110), sources) == pytest.approx(0.5)


def test_lit_level() -> None:
    sources = pair()
    assert value("lit_level", sources[:, 1], sources) == pytest.approx(1)
    assert value("lit_level", sources[:, 0], sources) == pytest.approx(60 / 250), "the lamp is gone"
    dark = sources * 0.3  # a dark photograph: 1 % of its pixels are lit, not all those above 200
    dark[0, 0] = 0
    assert lit_pixels(dark)[0][LAMP].all()
    assert value("lit_level", dark[:, 1] / 2, dark) == pytest.approx(0.5)


def test_nothing_to_see_is_nan() -> None:
    flat = torch.full((1, 2, 120, 160), 90.0, dtype=torch.float64)
    for name in ("target_contrast", "target_level", "lit_level"):
        assert math.isnan(value(name, flat[:, 0], flat)), name
        for count in (1, 3):
            more = pair()[:, [0, 1, 1][:count]]
            assert math.isnan(value(name, more[:, 0], more)), (name, count)
    plate = torch.full((1, 2, 300, 300), 90.0, dtype=torch.float64)  # a warm man before a plate as warm, lit by day
    plate[0, 0, 100:170, 100:170], plate[0, 1, 100:170, 100:170] = 200, 190
    plate[0, 0, 130:140, 130:140], plate[0, 1, 130:140, 130:140] = 205, 20
    assert hot_pixels(plate).sum() == 100
    assert math.isnan(value("target_contrast", plate[:, 0], plate)), "5 levels in the infrared image"
    assert value("target_level", plate[:, 0], plate) == 1


def test_shared_batch_and_precision() -> None:
    sources = torch.cat([pair(), pair().flip(3) * 0.9])
    fused = sources.mean(1)
    names = ["target_contrast", "target_level", "lit_level", "blotch", "gradient_kept"]
    together = score_batch(fused, sources, names)
    shared = Shared(fused, sources)
    for name in names:
        alone = torch.stack([METRICS[name].function(f[None], s[None])[0] for f, s in zip(fused, sources, strict=True)])
        torch.testing.assert_close(together[name], alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(METRICS[name].function(fused, sources, shared), alone, rtol=1e-12, atol=1e-12)
        single = METRICS[name].function(fused.float(), sources.float())
        torch.testing.assert_close(single.double(), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["target_contrast", "target_level", "lit_level"])
def test_linear_in_the_result(name: str) -> None:
    """A derivative that points to the target or the lamp, and is the difference."""
    sources = pair()
    fused = sources.mean(1).requires_grad_(True)
    out = METRICS[name].function(fused, sources)
    (gradient,) = torch.autograd.grad(out.sum(), fused)
    step = torch.randn(fused.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = METRICS[name].function(fused.detach() + step, sources)
    assert float((moved - out).detach()) == pytest.approx(float((gradient * step).sum()), rel=1e-9)


# ---------------------------------------------------------------------- skies


def sky() -> Tensor:
    """Infrared: a dark even sky. Visible: a white one. Below a skyline both have texture."""
    generator = torch.Generator().manual_seed(4)
    sources = torch.stack([torch.full((160, 200), 20.0), torch.full((160, 200), 235.0)]).double()
    sources[:, 120:] = 100 + 60 * torch.rand(2, 40, 200, generator=generator, dtype=torch.float64)
    return sources[None]


def test_smudged_sky() -> None:
    sources = sky()
    y, x = torch.meshgrid(torch.arange(160.0), torch.arange(200.0), indexing="ij")
    smudge = torch.exp(-((y - 55) ** 2 + (x - 100) ** 2) / (2 * 25**2)).double()
    for copy in (sources[:, 0], sources[:, 1], sources.mean(1), 0.3 * sources[:, 0] + 0.7 * sources[:, 1]):
        assert value("blotch", copy, sources) == 0
    values = [value("blotch", sources[:, 1] - depth * smudge, sources) for depth in (0, 20, 40, 80)]
    assert values == sorted(values)
    assert values[1] > 0.1
    assert values[2] == pytest.approx(2 * values[1], rel=0.15)
    lit = sources[:, 1] + 10 * torch.randn(1, 160, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert value("blotch", lit, sources) < 0.2 * values[1], "grain is not slow"


def test_no_blotch_where_nothing_is_even() -> None:
    x = torch.linspace(0, 255, 160, dtype=torch.float64).expand(120, 160)
    ramp = torch.stack([x, x.flip(1)])[None]  # varies by 14 levels within 31 pixels everywhere but at the border
    assert value("blotch", ramp[:, 0] / 2, ramp) == 0


# ---------------------------------------------------------------------- exposures


def test_gradient_kept() -> None:
    generator = torch.Generator().manual_seed(2)
    sharp = 255 * torch.rand(1, 60, 70, generator=generator, dtype=torch.float64)
    flat = torch.full_like(sharp, 128)
    sources = torch.stack([sharp, flat], 1)
    assert value("gradient_kept", sharp, sources) == pytest.approx(1)
    assert value("gradient_kept", flat, sources) == 0
    assert value("gradient_kept", 128 + (sharp - 128) / 4, sources) == pytest.approx(0.25)
    assert value("gradient_kept", 3 * sharp, sources) == pytest.approx(1), "more than the strongest earns nothing"
    halves = torch.cat([sharp[..., :35], flat[..., 35:]], -1)
    assert 0.45 < value("gradient_kept", halves, sources) < 0.56
    assert math.isnan(value("gradient_kept", flat, flat[:, None]))


def exposures() -> tuple[Tensor, Tensor]:
    """Dark with noise of 3 levels, and well exposed (1, 2, 90, 110) of one textured scene; the noise (90, 110)."""
    generator = torch.Generator().manual_seed(3)
    scene = torch.rand(90, 110, generator=generator, dtype=torch.float64)
    noise = 3 * torch.randn(90, 110, generator=generator, dtype=torch.float64)
    return torch.stack([15 + 10 * scene + noise, 100 + 60 * scene])[None], noise


def test_dark_noise() -> None:
    sources, noise = exposures()
    dark, lit = sources[:, 0], sources[:, 1]
    assert value("dark_noise", lit, sources) == pytest.approx(0, abs=1e-9)
    own = value("dark_noise", dark, sources)
    assert own == pytest.approx(3 * math.sqrt(8 / 9), rel=0.1), "3 levels, less what a 3x3 mean leaves"
    assert value("dark_noise", lit + noise, sources) == pytest.approx(own, rel=0.1)
    assert value("dark_noise", (dark + lit) / 2, sources) == pytest.approx(own / 2, rel=1e-6)
    other = torch.randn(1, 90, 110, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    assert abs(value("dark_noise", lit + 3 * other, sources)) < 0.1 * own, "noise of its own is not the dark image's"
    three = torch.cat([sources, torch.full((1, 1, 90, 110), 250.0, dtype=torch.float64)], 1)
    assert value("dark_noise", dark, three) == pytest.approx(own), "the blown-out image is no alternative"
    assert value("dark_noise", dark, three.flip(1)) == pytest.approx(own)


def test_dark_noise_needs_an_alternative() -> None:
    sources, _ = exposures()
    assert math.isnan(value("dark_noise", sources[:, 0], sources[:, :1]))
    blown = sources.clone()
    blown[:, 1] = 250
    assert math.isnan(value("dark_noise", sources[:, 0], blown))
    assert math.isnan(value("dark_noise", sources[:, 1], sources.clamp_min(60))), "nothing is dark"


# ---------------------------------------------------------------------- colour


def coloured() -> Tensor:
    """(1, 2, 3, 60, 60): a well exposed coloured texture and a black copy of it."""
    generator = torch.Generator().manual_seed(5)
    good = 60 + 120 * torch.rand(3, 60, 60, generator=generator, dtype=torch.float64)
    return torch.stack([good, good * 0.02])[None]


def test_colour_of_exposures() -> None:
    sources = coloured()
    good = sources[:, 0]
    grey = good.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert float(chroma_kept(good, sources)) == pytest.approx(1)
    assert float(contrast_kept(good, sources)) == pytest.approx(1)
    assert float(chroma_kept(grey, sources)) == pytest.approx(0, abs=1e-3)
    assert 0.3 < float(chroma_kept((good + grey) / 2, sources)) < 0.7
    assert float(contrast_kept(100 + (good - 100) / 2, sources)) == pytest.approx(0.5, abs=0.05)
    flat = torch.full_like(sources, 100)
    assert math.isnan(chroma_kept(flat[:, 0], flat))
    assert math.isnan(contrast_kept(flat[:, 0], flat))
    with pytest.raises(FusionError, match="give fused"):
        chroma_kept(good[:, 0], sources[:, :, 0])


def test_lab_of_known_colours() -> None:
    colours = torch.tensor([[255.0, 255, 255], [0, 0, 0], [255, 0, 0], [119, 119, 119]]).double()
    lab = to_lab(colours[:, :, None, None])[..., 0, 0]
    expected = torch.tensor([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0]]).double()
    torch.testing.assert_close(lab, expected, rtol=0, atol=0.02)


# ---------------------------------------------------------------------- focus


def test_sharp_share() -> None:
    near, far = torch.full((1, 20, 30), 50.0), torch.full((1, 20, 30), 150.0)
    far[0, :5] = 52  # too close to tell
    sources = torch.stack([near, far], 1)
    truth = torch.zeros(1, 20, 30, dtype=torch.long)
    truth[0, :, 15:] = 1
    right = torch.where(truth == 0, near, far)
    wrong = torch.where(truth == 1, near, far)
    assert float(sharp_share(right, sources, truth)) == 1
    assert float(sharp_share(wrong, sources, truth)) == 0
    assert float(sharp_share(near, sources, truth)) == 0.5
    assert math.isnan(sharp_share(near, torch.stack([near, near], 1), truth))
    with pytest.raises(FusionError, match="truth"):
        sharp_share(near, sources, truth[:, :5])


# ---------------------------------------------------------------------- boxes


def test_boxed_contrast() -> None:
    infrared, visible = street()
    box = (60, 40, 76, 80)
    assert boxed_contrast(infrared, infrared, box) == pytest.approx(1)
    assert boxed_contrast(visible, infrared, box) == pytest.approx(0)
    assert boxed_contrast(with_man(160)[0], infrared, box) == pytest.approx(0.5)
    cold = 255 - infrared
    assert math.isnan(boxed_contrast(cold, cold, box))
    assert boxed_contrast(cold, cold, box, sign=False) == pytest.approx(1)
    assert math.isnan(boxed_contrast(infrared, infrared, (0, 0, 20, 20))), "nothing is there"
    assert boxed_contrast(infrared, infrared, (66, 50, 69, 53)) != 0  # a box of 3 pixels
    for wrong in ((60, 40, 60, 80), (-1, 0, 5, 5), (0, 0, 161, 5)):
        with pytest.raises(FusionError, match="does not lie in an image of 160x120"):
            boxed_contrast(infrared, infrared, wrong)


def test_boxed_level() -> None:
    infrared, visible = street()
    box = (115, 5, 155, 35)
    assert boxed_level(visible, visible, box) == pytest.approx(1)
    assert boxed_level(infrared, visible, box) == pytest.approx(60 / 250)


def test_boxes_are_whole() -> None:
    boxes = json.loads(BOXES.read_text())
    classes = Counter(name for entry in boxes.values() for name, *_ in entry["boxes"])
    assert len(boxes) >= 60
    assert set(classes) == {"person", "vehicle", "lamp"}
    assert sum(classes.values()) >= 150
    for stem, entry in boxes.items():
        width, height = entry["size"]
        assert stem.count("/") == 1
        assert len(entry["boxes"]) == len({tuple(box) for box in entry["boxes"]})
        for _, x0, y0, x1, y1 in entry["boxes"]:
            assert 0 <= x0 < x1 <= width, stem
            assert 0 <= y0 < y1 <= height, stem
