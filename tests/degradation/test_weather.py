"""Haze, rain and snow: what physics says of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyfuse.degradation.plan import Step, apply

NEAR_TO_FAR = torch.linspace(0, 1, 96).expand(64, 96).contiguous()


def picture() -> Tensor:
    gen = torch.Generator().manual_seed(0)
    blocks = torch.rand(3, 8, 12, generator=gen).repeat_interleave(8, 1).repeat_interleave(8, 2)
    return 0.1 + 0.5 * blocks


def weather(name: str, strength: float, seed: int = 1, depth: Tensor | None = NEAR_TO_FAR) -> tuple[Tensor, dict]:
    image, done = apply(picture(), [Step(name, strength)], seed, depth=depth)
    return image, done[0]


def contrast(image: Tensor) -> Tensor:
    return image.std((0, 1))


def test_haze_takes_contrast_from_what_is_far() -> None:
    image, _ = weather("haze", 0.6)
    near, far = contrast(image)[:24].mean(), contrast(image)[-24:].mean()
    clear = contrast(picture())
    assert far / clear[-24:].mean() < 0.6 * near / clear[:24].mean()
    assert image[..., -24:].mean() > picture()[..., -24:].mean()  # airlight


@pytest.mark.parametrize("name", ["haze", "rain", "snow"])
def test_stronger_is_more(name: str) -> None:
    change = [(weather(name, s)[0] - picture()).abs().mean() for s in (0.2, 0.6, 1.0)]
    assert 0 < change[0] < change[1] < change[2]


@pytest.mark.parametrize("name", ["haze", "rain", "snow"])
def test_a_seed_decides(name: str) -> None:
    assert torch.equal(weather(name, 0.5)[0], weather(name, 0.5)[0])
    assert not torch.equal(weather(name, 0.5, depth=None)[0], weather(name, 0.5, seed=2, depth=None)[0])


@pytest.mark.parametrize("name", ["rain", "snow"])
def test_what_falls_is_bright_and_sparse(name: str) -> None:
    """Against the same scene with its slow part taken off, more pixels rise than sink, and most hardly change."""
    image, _ = weather(name, 0.5)
    change = (image - picture()).mean(0)
    change = change - change.median()
    assert (change > 0.05).float().mean() > 2 * (change < -0.05).float().mean()
    assert (change.abs() < 0.05).float().mean() > 0.5


def test_rain_leans_with_its_angle_and_is_longer_than_wide() -> None:
    image, done = weather("rain", 0.8, depth=torch.zeros(64, 96))
    assert abs(done["angle_degrees"]) < 45  # of the vertical
    change = (image - picture()).mean(0)
    along = (change[1:] - change[:-1]).abs().mean()  # down the streaks
    across = (change[:, 1:] - change[:, :-1]).abs().mean()
    assert along < across
