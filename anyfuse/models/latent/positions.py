"""Positions of tokens: rotary along two axes (Su et al. 2021, arXiv 2104.09864), learned tables; sinusoids of times."""

from __future__ import annotations

import math

from ...arrays import F, Tensor, torch

Rotary = tuple[Tensor, Tensor]


# ---------------------------------------------------------------------- positions


def rotary(height: int, width: int, dim: int, stretch: float = 1.0, theta: float = 100.0) -> Rotary:
    """Cosines and sines (h*w, dim): half of the dimensions turn with the row, half with the column.

    height, width: in tokens. stretch: factor of the positions.
    """
    frequency = theta ** -(torch.arange(0, dim, 4) / dim)  # (dim/4,)
    rows, cols = (torch.arange(n)[:, None] * stretch * frequency for n in (height, width))
    angles = torch.cat([rows[:, None].expand(-1, width, -1), cols[None].expand(height, -1, -1)], -1)
    angles = angles.flatten(0, 1).repeat(1, 2)  # (h*w, dim)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Queries or keys (B, heads, T, d), turned by their positions."""
    a, b = x.chunk(2, -1)
    return x * rotary[0] + torch.cat([-b, a], -1) * rotary[1]


def resize_table(table: Tensor, height: int, width: int) -> Tensor:
    """A learned table (D, S, S) over the image, resampled to its grid: (h, w, D)"""
    if table.shape[1:] != (height, width):
        table = F.interpolate(table[None], (height, width), mode="bilinear", align_corners=False)[0]
    return table.permute(1, 2, 0)


def sinusoid(t: Tensor, width: int = 256) -> Tensor:
    """Times (B,) in [0, 1] -> (B, width), sines and cosines of 1000 t with periods up to 10000."""
    frequency = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = 1000 * t[:, None] * frequency
    return torch.cat([angles.cos(), angles.sin()], 1)
