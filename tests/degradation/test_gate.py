"""A restoration is mixed in only as far as it helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anyfuse import Fuser, FusionError
from anyfuse.control import DEGRADATIONS, Control
from anyfuse.degradation import estimator, gate
from anyfuse.degradation.estimator import ABSENT, Estimate, Fault
from anyfuse.degradation.gate import LIGHT, Gate, GateConfig, Shares, harmless, load_gate, mixed, parts, within_light
from anyfuse.degradation.plan import Step, apply
from anyfuse.held import plain_fusion, wanted
from anyfuse.image.colour import to_luma
from anyfuse.image.stack import Frame, Stack
from anyfuse.io.read import read_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTHING = torch.zeros(14)


def lumas() -> Tensor:
    """The infrared and the visible example, (2, 1, 160, 208)."""
    images = [read_image(EXAMPLES / "infrared" / name).read() for name in ("thermal.png", "visible.jpg")]
    return torch.stack([(to_luma(x) if len(x) == 3 else x)[:, :160, :208] for x in images])


def frame(x: Tensor) -> Frame:
    return Frame((x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def error(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean())


def test_shares_mix_two_bands() -> None:
    gen = torch.Generator().manual_seed(0)
    plain, repaired = torch.rand((2, 1, 1, 50, 66), generator=gen)
    coarse, fine = parts(plain, repaired)
    assert torch.allclose(plain + coarse + fine, repaired, atol=1e-6)
    assert fine.mean().abs() < 0.01
    assert torch.equal(mixed(plain, repaired, Shares(0.0, 0.0)), plain)
    assert torch.allclose(mixed(plain, repaired, Shares(1.0, 1.0)), repaired, atol=1e-6)


def test_light_stays_where_none_was_asked_for() -> None:
    plain = torch.full((1, 1, 40, 40), 0.5)
    darker = plain * 0.6
    held = within_light(plain, darker, Shares(1.0, 1.0), Control(degradations={"noise": 0.5}), NOTHING)
    result = mixed(plain, darker, held)
    assert float(result.mean()) == pytest.approx(0.5 * (1 - LIGHT), abs=1e-4)
    assert held.detail == 1.0
    asked = within_light(plain, darker, Shares(1.0, 1.0), Control(degradations={"haze": 0.5}), NOTHING)
    assert asked == Shares(1.0, 1.0)


@pytest.mark.parametrize("wrong", ["haze", "low_exposure", "stripes", "blur", "rain"])
def test_a_wrong_instruction_does_no_harm(wrong: str) -> None:
    clean = lumas()
    if wrong == "low_exposure":  # at night nobody knows that it is wrong
        clean[1] = clean[1] ** 0.25
    bad = torch.stack([apply(x, [Step("gaussian_noise", 0.4)], 3, source=k)[0] for k, x in enumerate(clean)])
    goal, plain = plain_fusion(clean[None])[0], plain_fusion(bad[None])[0]
    result = Fuser("mmaif").run(
        [frame(x) for x in bad], say=Control(degradations={wrong: 1.0}), align="none", keep_order=True
    )
    got = torch.from_numpy(result.pixels).permute(2, 0, 1).float() / 255
    assert error(got, goal) < 1.25 * error(plain, goal), result.report["restored"]


def test_a_true_instruction_is_followed() -> None:
    clean = lumas()
    bad = torch.stack([apply(x, [Step("gaussian_noise", 0.9)], 3, source=k)[0] for k, x in enumerate(clean)])
    goal, plain = plain_fusion(clean[None])[0], plain_fusion(bad[None])[0]
    result = Fuser("mmaif").run([frame(x) for x in bad], say="remove the strong noise", align="none", keep_order=True)
    got = torch.from_numpy(result.pixels).permute(2, 0, 1).float() / 255
    assert error(got, goal) < 0.6 * error(plain, goal), result.report["restored"]
    assert result.report["restored"]["detail"] > 0.5


def test_light_that_a_person_asks_for_in_the_dark_is_given() -> None:
    clean = lumas()
    bad = torch.stack([clean[0] * 0.5, apply(clean[1], [Step("low_exposure", 0.9)], 3, source=1)[0]])
    goal, plain = plain_fusion(clean[None])[0], plain_fusion(bad[None])[0]
    result = Fuser("mmaif").run(
        [frame(x) for x in bad], say="the visible image is far too dark, brighten it", align="none", keep_order=True
    )
    got = torch.from_numpy(result.pixels).permute(2, 0, 1).float() / 255
    assert got.mean() > 1.3 * plain.mean()
    assert error(got, goal) < error(plain, goal)


def test_light_needs_a_person_and_a_dark_picture() -> None:
    gen = torch.Generator().manual_seed(0)
    wish, dark = (
        Control(degradations={"low_exposure": {"visible": 1.0}}),
        0.2 * torch.rand((1, 2, 1, 64, 64), generator=gen),
    )
    plain, bright = dark.mean(1), dark.mean(1) * 3
    assert harmless(dark, plain, bright, wish, told=True)[1] == Shares(1.0, 1.0)
    alone, shares = harmless(dark, plain, bright, wish)
    assert torch.equal(alone, mixed(plain, bright, shares))
    daylight = dark + 0.6
    told, estimated = (harmless(daylight, plain + 0.6, bright, wish, told=t)[1] for t in (True, False))
    assert told == estimated


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_a_restoration_that_is_left_out_is_said(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only to who asked for it: of what was estimated nobody expects anything."""
    monkeypatch.setattr(gate, "harmless", lambda sources, default, *wish: (default, Shares(share, share)))
    frames = [frame(x) for x in lumas()]
    told = Fuser("mmaif").run(frames, say="it is overexposed", align="none")
    said = [line for line in told.report["warnings"] if "mostly left out" in line]
    assert len(said) == (share < 0.5)
    estimated = Fuser("mmaif").run(frames, align="none")
    assert not [line for line in estimated.report["warnings"] if "mostly left out" in line]


def test_what_is_named_and_not_there_changes_nothing() -> None:
    """A clean pair told to have rain and haze: the default model's picture to the bit, and a line that says so."""
    frames = [frame(x) for x in lumas()]
    told = Fuser("mmaif").run(frames, say="remove the rain and the haze", align="none")
    assert np.array_equal(told.pixels, Fuser().run(frames, align="none").pixels)
    assert told.report["restored"] == {"light": 0.0, "detail": 0.0}
    assert told.report["understood"] == "[RESTORE] rain, haze"
    assert "the images show no rain and no haze: nothing was done about it" in told.report["warnings"]


def test_what_is_named_and_there_is_restored_beside_what_is_not() -> None:
    """Noise goes though snow was named too."""
    clean = lumas()
    noisy = [frame(apply(x, (Step("gaussian_noise", 0.2),), seed=3)[0]) for x in clean]
    fuser = Fuser("mmaif")
    both = fuser.run(noisy, say="denoise it and remove the snow", align="none")
    alone = fuser.run(noisy, say="denoise it", align="none")
    assert np.array_equal(both.pixels, alone.pixels)
    assert both.report["restored"]["detail"] > 0.5
    assert [line for line in both.report["warnings"] if "show no snow" in line]


def test_what_looks_like_what_is_named_goes_with_it() -> None:
    """Who says stripes may mean fixed pattern noise, but not noise; and only in the image that was named."""
    sure = Fault(0.99, 0.5, 0.5)
    found = Estimate("ivf", 1.0, ("infrared", "visible"), ({"fixed_pattern": sure, "noise": sure}, {"snow": sure}))
    for source in ("all", "first", "infrared"):
        assert found.kin(Control(degradations={"stripes": {source: 1.0}})) == {"fixed_pattern": {"first": 0.5}}
    assert found.kin(Control(degradations={"stripes": {"visible": 1.0}})) == {}
    assert found.kin(Control(degradations={"rain": {"all": 1.0}})) == {"snow": {"second": 0.5}}
    assert found.kin(Control(degradations={"rain": {"all": 1.0}, "snow": {"first": 1.0}})) == {}


def test_what_goes_by_another_name_is_not_called_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says snow where there is rain gets the rain removed, and no line that says nothing was done."""
    few, sure = Fault(ABSENT / 2, 0.5, 0.5), Fault(0.99, 0.5, 0.5)
    images = ({"noise": few}, {"snow": few, "rain": sure, "noise": few})
    found = Estimate("ivf", 1.0, ("infrared", "visible"), images)
    monkeypatch.setattr(estimator, "estimate_stack", lambda stack, task, order: found)
    wish = Control(degradations={"snow": 1.0, "noise": 0.5})
    got = wanted(
        wish, "remove the snow and the noise", Stack(tuple(frame(x) for x in lumas())), [0, 1], Fuser("mmaif").model
    )
    assert got.control.degradations == {"rain": {"second": 0.5}}
    assert got.notes() == ["the images show no noise: nothing was done about it"]


def test_what_is_surely_absent() -> None:
    """Below ABSENT in every image that may have it; never clipped light, nor in an image without structure."""
    few, none = Fault(ABSENT / 2, 0.5, 0.5), Fault(0.0, 0.5, 0.5)
    found = Estimate("mff", 1.0, ("focus", "focus"), ({"rain": few, "noise": few, "high_exposure": few}, {"rain": few}))
    wish = Control(degradations=dict.fromkeys(("rain", "sensor_noise", "high_exposure", "fixed_pattern"), 0.5))
    assert found.absent(wish) == ["rain", "sensor_noise"]
    flat = Estimate("mff", 1.0, ("focus", "focus"), ({"rain": none}, {"rain": none}))
    assert flat.absent(wish) == []


def test_the_result_depends_on_nothing_but_its_input() -> None:
    x = lumas()[None]
    plain = plain_fusion(x)
    first, shares = harmless(x, plain, plain * 0.9, Control(degradations={"noise": 0.5}))
    again, same = harmless(x, plain, plain * 0.9, Control(degradations={"noise": 0.5}))
    assert torch.equal(first, again)
    assert shares == same
    assert 0 <= shares.light <= 1
    assert 0 <= shares.detail <= 1


@pytest.mark.parametrize("size", [(16, 16), (40, 33), (300, 64)])
def test_any_size(size: tuple[int, int]) -> None:
    x = torch.rand(1, 2, 1, *size, generator=torch.Generator().manual_seed(0))
    assert plain_fusion(x).shape == (1, 1, *size)
    held, _ = harmless(x, plain_fusion(x), x[:, 0], Control(degradations={DEGRADATIONS[0]: 1.0}))
    assert held.isfinite().all()


def test_a_folder_without_a_gate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="holds no gate"):
        load_gate(tmp_path)
    gate = Gate(GateConfig(7)).eval()
    gate.save_pretrained(tmp_path)
    x = torch.randn(3, 7)
    assert torch.equal(load_gate(tmp_path)(x), gate(x))


@pytest.mark.parametrize(
    "names", [("focus_pair/far.jpg", "focus_pair/near.jpg"), ("infrared/visible.jpg", "infrared/thermal.png")]
)
def test_what_has_nothing_to_restore_is_the_default_models_picture(names: tuple[str, str]) -> None:
    """To the bit, in colour too, with the weights of the images as they were given."""
    files = [EXAMPLES / name for name in names]
    choices = {"with_weights": True, "align": "none", "deghost": "off"}
    idle, default = Fuser("mmaif").run(files, say="repair nothing", **choices), Fuser("anyfuse").run(files, **choices)
    assert np.array_equal(idle.pixels, default.pixels)
    assert np.array_equal(idle.weights, default.weights)
    assert idle.report["restored"] == {"light": 0.0, "detail": 0.0}
    assert not [w for w in idle.report["warnings"] if "nyfuse" in w]
