"""Exposure, noise and detector faults: their formulas, measured on what comes out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyfuse.degradation.operation import to_encoded, to_linear
from anyfuse.degradation.plan import OPERATIONS, Step, apply


def flat(value: float, height: int = 128, width: int = 128) -> Tensor:
    return torch.full((1, height, width), value)


def once(name: str, image: Tensor, strength: float, seed: int = 0) -> tuple[Tensor, dict]:
    out, done = apply(image, [Step(name, strength)], seed)
    return out, done[0]


def test_exposure_is_a_factor_of_linear_light() -> None:
    image = torch.linspace(0.05, 0.95, 64).expand(1, 64, 64)
    dark, _ = once("low_exposure", image, 0.5)
    assert torch.allclose(to_linear(dark), to_linear(image) / 4, atol=1e-4)
    bright, _ = once("high_exposure", image, 0.4)
    assert torch.allclose(to_linear(bright), (2 * to_linear(image)).clamp(0, 1), atol=1e-4)


def test_contrast_shrinks_about_the_mean() -> None:
    image = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    low, _ = once("low_contrast", image, 1.0)
    assert float(low.std() / image.std()) == pytest.approx(0.35, abs=1e-3)
    assert float(low.mean()) == pytest.approx(float(image.mean()), abs=1e-4)


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_gaussian_noise_has_its_deviation(strength: float) -> None:
    name = "noise" if "noise" in OPERATIONS else "gaussian_noise"
    out, _ = once(name, flat(0.5), strength)
    assert float((out - 0.5).std()) == pytest.approx(40 / 255 * strength, rel=0.05)
    assert abs(float((out - 0.5).mean())) < 0.01


def test_sensor_noise_grows_with_light() -> None:
    """Variance at light x: x / electrons + read^2, with 60 / s^2 electrons and read noise 0.01 s."""
    for light in (0.1, 0.5):
        out, _ = once("sensor_noise", to_encoded(flat(light)), 0.3)
        variance = light / (60 / 0.09) + 0.003**2
        assert float(to_linear(out).var()) == pytest.approx(variance, rel=0.12)


def test_stripes_are_whole_columns() -> None:
    out, done = once("dark_stripes", flat(0.6), 0.8)
    columns = (out[0] - 0.6).abs().amax(0) > 1e-3
    assert int(columns.sum()) == done["columns"]
    assert float(out[0][:, columns].std(0).max()) < 1e-5
    assert float(out[0][:, columns].mean()) < 0.6
    bright, done = once("bright_stripes", flat(0.4), 0.8)
    assert float(bright.mean()) > 0.4
    assert done["columns"] >= 1


def test_fixed_pattern_is_the_same_in_every_row() -> None:
    out, _ = once("fixed_pattern", flat(0.5), 0.5)
    columns = out[0].mean(0)
    assert float(columns.std()) > 5 * float((out[0] - columns).std(0).mean()) or float(columns.std()) > 0.005


def test_dead_pixels_are_few_and_extreme() -> None:
    out, _ = once("dead_pixels", flat(0.5), 0.5)
    changed = (out - 0.5).abs() > 1e-3
    assert 0 < float(changed.float().mean()) < 0.05
    assert float((out[changed] - 0.5).abs().min()) > 0.2
