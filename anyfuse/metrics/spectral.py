"""Quality of images of many bands: against a reference (SAM, ERGAS, UQI, Q2n), and without one (D_lambda, D_s, QNR).

All functions take tensors (B, C, H, W) of any float dtype (float64 is advised), values of any scale from 0 on, and
return (B,). Where torchmetrics has the same measure, the values are equal but for flat windows; Q2n it has not.

    from anyfuse.metrics.spectral import sam, ergas, q2n
    sam(fused, reference), ergas(fused, reference, ratio=4), q2n(fused, reference)
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from ..errors import FusionError

WINDOW, DEVIATION = 11, 1.5  # of UQI's Gaussian window (Wang et al. 2004)
FLAT = 32  # rounding errors of a mean square, below which a variance is none


def sam(fused: Tensor, reference: Tensor) -> Tensor:
    """Spectral angle mapper in degrees, 0 is best: the mean angle between the vectors of bands (Yuhas et al. 1992).

    Pixels where one of the vectors is 0 have no angle and do not count; NaN where that is so everywhere.
    """
    _check(fused, reference)
    dot = (fused * reference).sum(1)
    size = fused.norm(dim=1) * reference.norm(dim=1)
    known = size > 0
    angle = (dot / torch.where(known, size, 1)).clamp(-1, 1).acos()
    total = torch.where(known, angle, 0).sum((1, 2))
    return torch.rad2deg(total / known.sum((1, 2)))


def ergas(fused: Tensor, reference: Tensor, ratio: float) -> Tensor:
    """Relative dimensionless global error of synthesis, 0 is best (Wald 2000).

    100 / ratio times the root of the bands' mean of (RMSE / mean of the reference) squared.
    ratio: of the resolutions of the panchromatic and the multispectral image, 4 for most satellites.
    """
    _check(fused, reference)
    error = (fused - reference).square().mean((2, 3)) / reference.mean((2, 3)).square()
    return 100 / ratio * error.mean(1).sqrt()


def uqi(fused: Tensor, reference: Tensor) -> Tensor:
    """Universal image quality index, 1 is best (Wang, Bovik 2002), of each band: (B, C).

    Window: a Gaussian of 11 pixels and deviation 1.5, as in SSIM; only whole windows count. Both sides 11 or more. In
    windows where both are flat only the means are compared; torchmetrics divides rounding errors there.
    """
    _check(fused, reference)
    return _uqi_map(fused, reference).mean((2, 3))


def _uqi_map(x: Tensor, y: Tensor) -> Tensor:
    if min(x.shape[-2:]) < WINDOW:
        raise FusionError(f"images of {x.shape[-1]}x{x.shape[-2]} are smaller than the window of {WINDOW} pixels")
    mx, my, xx, yy, xy = (_smooth(v) for v in (x, y, x * x, y * y, x * y))
    var_x, var_y = (xx - mx * mx).clamp_min(0), (yy - my * my).clamp_min(0)
    means = mx * mx + my * my
    flat = var_x + var_y <= FLAT * torch.finfo(x.dtype).eps * (xx + yy)
    level = torch.where(means > 0, 2 * mx * my / torch.where(means > 0, means, 1), 1)
    shape = 2 * (xy - mx * my) / torch.where(flat, 1, var_x + var_y)
    return level * torch.where(flat, 1, shape)


def _smooth(x: Tensor) -> Tensor:
    """Gaussian window, whole windows only, (B, C, H - 10, W - 10)."""
    at = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    kernel = torch.exp(-((at / DEVIATION) ** 2) / 2)
    kernel = (kernel / kernel.sum()).view(1, 1, WINDOW, 1)
    flat = x.flatten(0, 1)[:, None]  # (B C, 1, H, W)
    flat = torch.nn.functional.conv2d(torch.nn.functional.conv2d(flat, kernel), kernel.transpose(2, 3))
    return flat[:, 0].unflatten(0, x.shape[:2])


def d_lambda(fused: Tensor, ms: Tensor) -> Tensor:
    """Spectral distortion, 0 is best (Alparone et al. 2008): the mean change of the UQI between two bands.

    fused: (B, C, H, W).  ms: (B, C, h, w), the bands at their own resolution.
    """
    if fused.shape[:2] != ms.shape[:2] or fused.shape[1] < 2:
        raise FusionError(f"fused {tuple(fused.shape)} and ms {tuple(ms.shape)}: give the same 2 bands or more")
    count, total = fused.shape[1], torch.zeros(len(fused), dtype=fused.dtype, device=fused.device)
    for i in range(count):
        for j in range(i + 1, count):
            sharp, own = (uqi(x[:, i : i + 1], x[:, j : j + 1])[:, 0] for x in (fused, ms))
            total += (sharp - own).abs()
    return 2 * total / (count * (count - 1))


def d_s(fused: Tensor, ms: Tensor, pan: Tensor, pan_low: Tensor) -> Tensor:
    """Spatial distortion, 0 is best (Alparone et al. 2008): how the UQI between band and panchromatic image changes.

    fused: (B, C, H, W).  ms: (B, C, h, w).  pan: (B, 1, H, W).  pan_low: (B, 1, h, w), `pan` as the multispectral
    sensor would see it.
    """
    if (
        pan.shape[1] != 1
        or pan_low.shape[1] != 1
        or pan.shape[2:] != fused.shape[2:]
        or pan_low.shape[2:] != ms.shape[2:]
    ):
        shapes = [tuple(x.shape) for x in (fused, ms, pan, pan_low)]
        raise FusionError(f"fused, ms, pan and pan_low have the shapes {shapes}; pan as fused, pan_low as ms, one band")
    return (uqi(fused, pan.expand_as(fused)) - uqi(ms, pan_low.expand_as(ms))).abs().mean(1)


def qnr(fused: Tensor, ms: Tensor, pan: Tensor, pan_low: Tensor) -> Tensor:
    """Quality with no reference, 1 is best (Alparone et al. 2008): (1 - d_lambda) (1 - d_s)."""
    return (1 - d_lambda(fused, ms)) * (1 - d_s(fused, ms, pan, pan_low))


def q2n(fused: Tensor, reference: Tensor, block: int = 32) -> Tensor:
    """Q2n, 1 is best (Garzelli, Nencini 2009); with 4 bands Q4 (Alparone et al. 2004), with one the UQI of blocks.

    The bands of a pixel are one number of 2^n parts. In each block the index is the size of the correlation of these
    numbers, times the likeness of their means, times that of their deviations; the result is the mean of all blocks.
    Missing bands up to a power of 2 are 0, and the last blocks are filled by reflection.

    Args:
        fused: (B, C, H, W).
        reference: the same.
        block: side of a block in pixels.
    """
    _check(fused, reference)
    if min(fused.shape[-2:]) < block:
        raise FusionError(f"images of {fused.shape[-1]}x{fused.shape[-2]} are smaller than a block of {block} pixels")
    values = [_block_index(*(_blocks(x.double(), block) for x in pair)) for pair in zip(fused, reference, strict=True)]
    return torch.stack([v.mean() for v in values]).to(fused.dtype)


def _blocks(image: Tensor, block: int) -> Tensor:
    """(C, H, W) -> (blocks, C', pixels of a block), C' a power of 2."""
    for axis in (1, 2):
        size = image.shape[axis]
        places = torch.arange(math.ceil(size / block) * block, device=image.device)
        image = image.index_select(axis, torch.where(places < size, places, 2 * size - 1 - places))
    parts = image.unfold(1, block, block).unfold(2, block, block)  # (C, rows, columns, block, block)
    parts = parts.permute(1, 2, 0, 3, 4).flatten(3).flatten(0, 1)
    count = parts.shape[1]
    missing = 2 ** math.ceil(math.log2(count)) - count
    return torch.nn.functional.pad(parts, (0, 0, 0, missing))


def _block_index(fused: Tensor, reference: Tensor) -> Tensor:
    """The index of each block, (blocks,), of (blocks, C, pixels)."""
    pixels = fused.shape[2]
    level, spread = reference.mean(2, keepdim=True), reference.std(2, keepdim=True)
    spread = torch.where(level == 0, 1.0, spread.clamp_min(torch.finfo(torch.float64).eps))
    x, y = ((v - level) / spread + 1 for v in (reference, fused))  # the scale of the reference's block
    y = torch.cat([y[:, :1], -y[:, 1:]], 1)  # conjugated
    mean_x, mean_y = x.mean(2), y.mean(2)
    unbiased = pixels / (pixels - 1)
    moved_x, moved_y = x - mean_x[:, :, None], y - mean_y[:, :, None]
    both = torch.einsum("bip,bjp->bij", moved_x, moved_y) / pixels * unbiased
    product = torch.einsum("kij,bij->bk", _products(x.shape[1]).to(x), both)
    variance = (moved_x.square().sum((1, 2)) + moved_y.square().sum((1, 2))) / pixels * unbiased
    size_x, size_y = mean_x.norm(dim=1), mean_y.norm(dim=1)
    likeness = 2 * size_x * size_y / (size_x.square() + size_y.square())
    flat = variance == 0
    return torch.where(flat, likeness, product.norm(dim=1) * 2 / torch.where(flat, 1.0, variance) * likeness)


@cache
def _products(count: int) -> Tensor:
    """T (count, count, count) with (x y)_k = sum of T_kij x_i y_j: products of numbers of `count` parts, 1, 2, 4, 8 ...

    Cayley and Dickson double the numbers: (a, b) (c, d) = (a c - d* b, a* d* + c b*), with * the conjugate. For four
    parts these are quaternions, but for the sign of the last part, which no size depends on.
    """
    if count == 1:
        return torch.ones(1, 1, 1, dtype=torch.float64)
    half = count // 2
    inner = _products(half)
    star = torch.ones(half, dtype=torch.float64)
    star[1:] = -1
    out = torch.zeros(count, count, count, dtype=torch.float64)
    out[:half, :half, :half] = inner  # a c
    out[:half, half:, half:] = -(inner * star[None, :, None]).transpose(1, 2)  # d* b: its first factor is y's
    out[half:, :half, half:] = inner * star[None, :, None] * star[None, None]  # a* d*
    out[half:, half:, :half] = (inner * star[None, None]).transpose(1, 2)  # c b*: its first factor is y's
    return out


def _check(fused: Tensor, reference: Tensor) -> None:
    if fused.ndim != 4 or fused.shape != reference.shape:
        what = f"fused {tuple(fused.shape)} and reference {tuple(reference.shape)}"
        raise FusionError(f"{what}: give two tensors (B, C, H, W) of one shape")
    if not fused.is_floating_point() or not reference.is_floating_point():
        raise FusionError(f"fused is {fused.dtype} and reference {reference.dtype}: give floats")
