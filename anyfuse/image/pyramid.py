"""Laplacian pyramids on a half-pixel-centred grid (Burt and Adelson 1983, with an even filter).

Level l of an image of H x W is exactly H/2^l x W/2^l, so pyramids line up with pixel-unshuffle and with tiles that
start at multiples of 2^l. `reduce` filters with [1 3 3 1]/8 and takes every second sample; `expand` is its transpose
(bilinear interpolation). Borders replicate. Rebuilding an unchanged pyramid gives the image back.
"""

from __future__ import annotations

from itertools import pairwise

from .. import native
from ..arrays import F, Tensor, torch


def reduce(x: Tensor) -> Tensor:
    """(B, C, H, W) with even H, W -> (B, C, H/2, W/2)"""
    found = native.takes(x)
    if found is not None:
        return native.reduce(found, x)
    if torch.compiler.is_exporting():  # one operation of a graph, which has no views to write into
        padded = F.pad(x.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
        taps = x.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8
        return F.conv2d(padded, taps.outer(taps)[None, None], stride=2).unflatten(0, (-1, x.shape[1]))[:, :, 0]
    for dim in (2, 3):
        even, odd = x.unflatten(dim, (-1, 2)).unbind(dim + 1)
        n = even.shape[dim]
        x = (even + odd).mul_(3)  # [1 3 3 1] without a padded copy of the image
        x.narrow(dim, 1, n - 1).add_(odd.narrow(dim, 0, n - 1))
        x.narrow(dim, 0, 1).add_(even.narrow(dim, 0, 1))
        x.narrow(dim, 0, n - 1).add_(even.narrow(dim, 1, n - 1))
        x.narrow(dim, n - 1, 1).add_(odd.narrow(dim, n - 1, 1))
    return x.div_(64)


def expand(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W)"""
    found = native.takes(x)
    if found is not None:
        return native.expand(found, x)
    if torch.is_grad_enabled() or torch.compiler.is_exporting() or not x.is_contiguous():
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    b, c, h, w = x.shape  # the same numbers, several times faster on planes
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    wide = x.new_empty(b, c, h + 2, w, 2)
    torch.lerp(x[..., 1:-1], x[..., :-2], 0.25, out=wide[..., 0])
    torch.lerp(x[..., 1:-1], x[..., 2:], 0.25, out=wide[..., 1])
    wide = wide.view(b, c, h + 2, 2 * w)
    out = x.new_empty(b, c, h, 2, 2 * w)
    torch.lerp(wide[..., 1:-1, :], wide[..., :-2, :], 0.25, out=out[..., 0, :])
    torch.lerp(wide[..., 1:-1, :], wide[..., 2:, :], 0.25, out=out[..., 1, :])
    return out.view(b, c, 2 * h, 2 * w)


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
