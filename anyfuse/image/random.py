"""Random draws with a generator of their own, so that a seed decides on them."""

from __future__ import annotations

import math

from ..arrays import F, Generator, Tensor, torch


def uniform(low: float, high: float, gen: Generator) -> float:
    """One number from [low, high)."""
    return low + (high - low) * torch.rand((), generator=gen).item()


def integer(low: int, high: int, gen: Generator) -> int:
    """One integer from low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=gen))


def smooth_field(height: int, width: int, cell: float, gen: Generator) -> Tensor:
    """Smooth random field (H, W), zero mean and unit deviation, with features about `cell` pixels wide."""
    h, w = max(3, math.ceil(height / cell) + 1), max(3, math.ceil(width / cell) + 1)
    noise = torch.randn((1, 1, h, w), generator=gen)
    field = F.interpolate(noise, (height, width), mode="bicubic", align_corners=True)[0, 0]
    return (field - field.mean()) / field.std().clamp_min(1e-6)
