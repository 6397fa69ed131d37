"""Curves of tones: sign, order, no clipping, structure."""

from __future__ import annotations

import itertools

import pytest
import torch
from conftest import scene
from torch import Tensor

from anyfuse.data.tones import apply_tones, shoulder
from anyfuse.errors import FusionError


def images() -> list[Tensor]:
    """A usual, a dark, a bright and a black-and-white one."""
    x = torch.from_numpy(scene(48, 64)).float()
    return [x, 0.3 * x, 0.6 + 0.4 * x, (x > 0.5).float()]


@pytest.mark.parametrize("k", range(4))
def test_order_and_sign(k: int) -> None:
    x = images()[k]
    lights = [float(apply_tones(x, t).mean()) for t in (("LIGHT++",), ("LIGHT+",), (), ("LIGHT-",), ("LIGHT--",))]
    if k < 3:  # nothing is brighter than white
        assert all(a > b + 1e-3 for a, b in itertools.pairwise(lights))
        spread = [float(apply_tones(x, t).std()) for t in (("CONTRAST+",), (), ("CONTRAST-",))]
        assert all(a > b + 1e-3 for a, b in itertools.pairwise(spread))
    else:
        assert lights[2] > lights[3] > lights[4]


@pytest.mark.parametrize("light", [(), ("LIGHT++",), ("LIGHT+",), ("LIGHT-",), ("LIGHT--",)])
def test_contrast_is_that_beside_the_image_whatever_the_light(light: tuple[str, ...]) -> None:
    """Light scales the deviation too: much darker with more contrast must not end below the image."""
    x = images()[0] * 0.8
    more, less = (float(apply_tones(x, (*light, c)).std() / x.std()) for c in ("CONTRAST+", "CONTRAST-"))
    assert 1.15 < more < 1.6
    assert 0.6 < less < 0.8
    if light:
        assert (apply_tones(x, (*light, "CONTRAST+")).mean() > x.mean()) == ("+" in light[0])


def test_flat_images_stay_flat() -> None:
    flat = torch.full((8, 8), 0.4)
    assert torch.allclose(apply_tones(flat, ("CONTRAST+",)), flat)
    assert apply_tones(flat, ("LIGHT++", "CONTRAST+")).std() < 1e-6


@pytest.mark.parametrize("tones", [("LIGHT++",), ("LIGHT+",), ("CONTRAST+",), ("LIGHT++", "CONTRAST+")])
def test_curves_rise_and_do_not_clip(tones: tuple[str, ...]) -> None:
    ramp = torch.linspace(0, 1, 256).view(16, 16)
    curve = apply_tones(ramp, tones).flatten()
    assert curve.min() >= 0
    assert curve.max() <= 1
    assert curve.diff().min() > 1e-4
    assert apply_tones(ramp, ("LIGHT--",)).max() == pytest.approx(0.6)


def test_values_below_the_knee_are_as_said() -> None:
    x = torch.full((4, 4), 0.2)
    assert apply_tones(x, ("LIGHT++",))[0, 0] == pytest.approx(0.32)
    assert apply_tones(x, ("LIGHT-",))[0, 0] == pytest.approx(0.16)
    half = torch.tensor([[0.4, 0.6]])
    assert apply_tones(half, ("CONTRAST-",))[0].tolist() == pytest.approx([0.43, 0.57])
    assert apply_tones(half, ("CONTRAST+",))[0].tolist() == pytest.approx([0.34, 0.66])
    assert apply_tones(half, ()).equal(half)
    with pytest.raises(FusionError, match="unknown tone 'LOUD'"):
        apply_tones(half, ("LOUD",))


def test_shoulder_is_smooth() -> None:
    x = torch.linspace(0, 1.6, 1601, dtype=torch.float64)
    y = shoulder(x, 1.6, 0.5)
    slope = y.diff() / 0.001
    assert y[-1] == pytest.approx(1.0)
    assert slope[:499].sub(1).abs().max() < 1e-6
    assert slope[500] == pytest.approx(1.0, abs=5e-3)
    assert (slope.diff() < 1e-9).all()
    assert torch.equal(shoulder(x, 0.8, 0.5), x)
