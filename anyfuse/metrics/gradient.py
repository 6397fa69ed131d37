"""How much detail a fused image has, without and with regard to its sources: AG, EI, SD, SF, QSF.

AG, EI, SD and SF look at the fused image alone: noise raises all four.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shared import Shared, safe_sqrt, sobel


def _central_square(x: Tensor, dim: int) -> Tensor:
    """Squared central differences along `dim`, one-sided at the border (zero along an axis of one pixel)."""
    length = x.shape[dim]
    square = torch.zeros_like(x)
    if length > 1:
        first, last = x.narrow(dim, 1, 1) - x.narrow(dim, 0, 1), x.narrow(dim, -1, 1) - x.narrow(dim, -2, 1)
        square.narrow(dim, 0, 1).copy_(first * first)
        square.narrow(dim, length - 1, 1).copy_(last * last)
    if length > 2:
        inner = x.narrow(dim, 2, length - 2) - x.narrow(dim, 0, length - 2)
        square.narrow(dim, 1, length - 2).copy_(inner * inner * 0.25)
    return square


def ag(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Average gradient: sum sqrt((gx^2 + gy^2) / 2) / ((H - 1)(W - 1)), central differences one-sided at the border.

    Range 0.., higher is sharper (or noisier). Differentiable. The same in VIFB, MEFB and TANG (Cui et al. 2015); ports
    that divide by H W are about 1 % lower. NaN for an image one pixel high or wide.
    """
    s = Shared.of(fused, sources, shared)
    height, width = s.size
    total = safe_sqrt((_central_square(s.fused, -1) + _central_square(s.fused, -2)) * 0.5).sum((-2, -1))
    return total / torch.tensor(float((height - 1) * (width - 1)), dtype=total.dtype, device=total.device)


def ag_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Average gradient with forward differences, last row and column repeated, plain mean (Yu Liu's AG.m). Range 0.."""
    f = Shared.of(fused, sources, shared).fused
    gx = torch.diff(f, dim=-1, append=f[..., -1:])
    gy = torch.diff(f, dim=-2, append=f[..., -1:, :])
    return safe_sqrt((gx * gx + gy * gy) / 2).mean((-2, -1))


def ei(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Edge intensity: mean of sqrt(gx^2 + gy^2), 3x3 Sobel, replicated border (VIFB, MEFB; Rajalingam 2018).

    Range 0.., higher is sharper. Differentiable. Ports with a zero border are up to 45 % higher.
    """
    s = Shared.of(fused, sources, shared)
    gx, gy = sobel(s.fused, "replicate")
    return safe_sqrt(gx * gx + gy * gy).mean((-2, -1))


def sd(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Standard deviation over the pixels, divisor H W (VIFB, MEFB, TANG; Rao 1997). Range 0..127.5. Differentiable."""
    f = Shared.of(fused, sources, shared).fused
    spread = f - f.mean((-2, -1), keepdim=True)
    return safe_sqrt((spread * spread).mean((-2, -1)))


def sd_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mean of the standard deviations of the columns, divisor H - 1 (Yu Liu's SD.m). NaN for a single row."""
    f = Shared.of(fused, sources, shared).fused
    spread = f - f.mean(-2, keepdim=True)
    total = (spread * spread).sum(-2)
    return safe_sqrt(total / total.new_tensor(f.shape[-2] - 1)).mean(-1)


def _difference_energy(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of squared differences of horizontal and of vertical neighbours."""
    dx = x[..., 1:] - x[..., :-1]
    dy = x[..., 1:, :] - x[..., :-1, :]
    return _sum_squares(dx), _sum_squares(dy)


def _sum_squares(x: Tensor) -> Tensor:
    return (x * x).sum((-2, -1))


def sf(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Spatial frequency: sqrt(RF^2 + CF^2), each the mean over the differences that exist (TANG, CDD, UniFusion).

    Range 0.., higher is sharper. Differentiable. Some older tables give it for images in 0..1: divide by 255.
    Eskicioglu and Fisher 1995. NaN for an image one pixel high or wide.
    """
    s = Shared.of(fused, sources, shared)
    height, width = s.size
    row, column = _difference_energy(s.fused)
    zero = row.new_zeros(())
    return safe_sqrt(row / (zero + height * (width - 1)) + column / (zero + (height - 1) * width))


def sf_vifb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Spatial frequency with both sums divided by H W (VIFB, MEFB, Yu Liu); 0.2 to 0.9 % below `sf`. Differentiable."""
    s = Shared.of(fused, sources, shared)
    row, column = _difference_energy(s.fused)
    return safe_sqrt((row + column) / (s.size[0] * s.size[1]))


def qsf(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Relative spatial frequency error (Zheng et al. 2007; LIU metricZheng): (SF_F - SF_R) / SF_R.

    SF over four directions, the diagonals weighted 1 / sqrt(2); R takes at each pixel the steepest source. Range -1..,
    best at 0: negative is blur, positive is added detail or noise. Differentiable almost everywhere.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(2, 2, "qsf")
    x = s.images
    height, width = s.size
    pixels = height * width
    distance = 1 / math.sqrt(2)
    parts = (
        (x[..., 1:] - x[..., :-1], 1.0),
        (x[..., 1:, :] - x[..., :-1, :], 1.0),
        (x[..., 1:, 1:] - x[..., :-1, :-1], distance),
        (x[..., 1:, :-1] - x[..., :-1, 1:], distance),
    )
    fused_energy = sum((weight * _sum_squares(d[:, 0]) for d, weight in parts), x.new_zeros(()))
    ideal_energy = sum((weight * _sum_squares(d[:, 1:].abs().amax(1)) for d, weight in parts), x.new_zeros(()))
    ideal = safe_sqrt(ideal_energy / pixels)
    return (safe_sqrt(fused_energy / pixels) - ideal) / ideal
