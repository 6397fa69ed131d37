"""Halo: slow tone change in the fused image that no source has. Ours; see docs/metrics.md.

Bright clouds round dark objects score well in Qabf, VIF and MI. They are what this measures:

    halo_s(F) = sum max(0, |grad(G_s * F)| - max_i |grad(G_s * S_i)|) / sum max_i |grad(G_s * S_i)|

with G_s a Gaussian of s pixels (mirrored border) and grad central differences. Copies and averages with constant
weights have exactly 0: the gradient of a convex combination is no steeper than the steepest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shared import Shared, gaussian_taps, safe_sqrt, separable

SCALES = (4, 8, 16)


def slow_gradient(images: Tensor, sigma: float) -> Tensor:
    """Length of the gradient of the images (..., H, W) blurred by a Gaussian of `sigma` pixels; grey levels per
    pixel.
    """
    radius = math.ceil(4 * sigma)
    taps = gaussian_taps(2 * radius + 1, sigma)
    smooth = separable(images, taps, taps, "symmetric")
    padded = torch.cat([smooth[..., :1], smooth, smooth[..., -1:]], -1)
    gx = (padded[..., 2:] - padded[..., :-2]) / 2
    padded = torch.cat([smooth[..., :1, :], smooth, smooth[..., -1:, :]], -2)
    gy = (padded[..., 2:, :] - padded[..., :-2, :]) / 2
    return safe_sqrt(gx * gx + gy * gy)


def halo_at(fused: Tensor, sources: Tensor, sigma: float, shared: Shared | None = None) -> Tensor:
    """Halo at one scale of `sigma` pixels, (B,). Range 0.., lower is better, any number of sources. Differentiable. On
    float32 within 2e-4 (absolute) of float64.

    Sources without any gradient give 0 / 0: 0 if the fused image has none either, else infinity.
    """
    s = Shared.of(fused, sources, shared)

    def make() -> Tensor:
        gradient = slow_gradient(s.images, sigma)
        steepest = gradient[:, 1:].amax(1)
        # rounding of the blur must not turn a copy or an average into a halo
        slack = 4 * torch.finfo(gradient.dtype).eps * 255
        excess = (gradient[:, 0] - steepest - slack).clamp_min(0).sum((-2, -1))
        total = steepest.sum((-2, -1))
        nothing = (excess == 0) & (total <= slack * steepest[0].numel())
        return torch.where(nothing, torch.zeros_like(total), excess / total)

    return s.once(("halo", sigma), make)


def halo(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mean of the halo at 4, 8 and 16 pixels, (B,). Range 0.., lower is better, 0 for copies and averages."""
    s = Shared.of(fused, sources, shared)
    return torch.stack([halo_at(fused, sources, sigma, s) for sigma in SCALES]).mean(0)


def halo_4(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Halo at 4 pixels: narrow rims."""
    return halo_at(fused, sources, 4, shared)


def halo_8(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Halo at 8 pixels."""
    return halo_at(fused, sources, 8, shared)


def halo_16(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Halo at 16 pixels: broad clouds."""
    return halo_at(fused, sources, 16, shared)
