"""Laplacian pyramids on a half-pixel-centred grid (Burt and Adelson 1983, with an even filter).

Level l of an image of H x W is exactly H/2^l x W/2^l, so pyramids line up with pixel-unshuffle and with tiles that start
at multiples of 2^l. `reduce` filters with [1 3 3 1]/8 and takes every second sample; `expand` is its transpose
(bilinear interpolation). Borders replicate. Rebuilding an unchanged pyramid gives the image back.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor


def reduce(x: Tensor) -> Tensor:
    """(B, C, H, W) with even H, W -> (B, C, H/2, W/2)"""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    kernel = (taps[:, None] * taps[None, :])[None, None]
    b, c, h, w = x.shape
    flat = F.pad(x.reshape(b * c, 1, h, w), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(flat, kernel, stride=2).reshape(b, c, h // 2, w // 2)


def expand(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W)"""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def gaussian_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """`levels` reductions: [x, x/2, ..., x/2^levels], levels + 1 entries."""
    out = [x]
    for _ in range(levels):
        out.append(reduce(out[-1]))
    return out


def laplacian_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """`levels` bands and the base: levels + 1 entries, finest first."""
    gauss = gaussian_pyramid(x, levels)
    return [fine - expand(coarse) for fine, coarse in pairwise(gauss)] + [gauss[-1]]


def collapse(bands: list[Tensor]) -> Tensor:
    """The image of a Laplacian pyramid."""
    x = bands[-1]
    for band in reversed(bands[:-1]):
        x = expand(x) + band
    return x
