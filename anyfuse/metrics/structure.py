"""SSIM between the fused image and its sources, in the forms that papers print.

Wang et al. 2004: (2 mu mu' + C1)(2 cov + C2) / ((mu^2 + mu'^2 + C1)(var + var' + C2)), local window, mean of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anyfuse.errors import FusionError

from .shared import Moments, Shared, gaussian_moments, separable

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def similarity(moments: Moments, i: int, j: int, c1: float, c2: float) -> tuple[Tensor, Tensor]:
    """SSIM map of images i and j and its contrast-structure factor, each (B, h, w)."""
    mean_i, mean_j = moments.mean[:, i], moments.mean[:, j]
    structure = (2 * moments.covariance(i, j) + c2) / (moments.variance[:, i] + moments.variance[:, j] + c2)
    luminance = (2 * mean_i * mean_j + c1) / (mean_i * mean_i + mean_j * mean_j + c1)
    return luminance * structure, structure


def _per_source(s: Shared) -> Tensor:
    """(B, N) SSIM with the 11x11 Gaussian of 1.5, valid windows, L = 255."""

    def make() -> Tensor:
        moments = gaussian_moments(s)
        maps = [similarity(moments, 0, i, C1, C2)[0] for i in range(1, s.images.shape[1])]
        return torch.stack([m.mean((-2, -1)) for m in maps], 1)

    return s.once("ssim", make)


def ssim(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mean over the sources of SSIM(F, S): 11x11 Gaussian of 1.5, K .01 / .03, L = 255, valid windows.

    Range -1..1, higher is better. Differentiable. UniFusion's and DenseFuse-type tables use this one, VIFB the sum.
    Needs 11x11 pixels. On float32 within 1e-4 of float64.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(11, 11, "ssim")
    return _per_source(s).mean(1)


def ssim_sum(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`ssim` summed over the sources (VIFB). Range -N..N for N sources, 0..2 in practice for two. Differentiable."""
    return ssim(fused, sources, shared) * sources.shape[1]


def ssim_tang(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mean of MATLAB's ssim() on doubles in 0..255, which takes L = 1 (TANG): C1 = 1e-4, C2 = 9e-4, replicated border.

    .33 to .77 where `ssim` gives .48 to .93. IVIF_ZOO and older UniFusion tables: twice about this value.
    """
    s = Shared.of(fused, sources, shared).double()
    moments = gaussian_moments(s, border="replicate")
    maps = [similarity(moments, 0, i, 1e-4, 9e-4)[0] for i in range(1, s.images.shape[1])]
    return torch.stack([m.mean((-2, -1)) for m in maps]).mean(0)


def ssim_cdd(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Sum over the sources of skimage's default SSIM, L = 255: 7x7 box, sample covariance (CDDFuse, range mended)."""
    s = Shared.of(fused, sources, shared)
    s.at_least(7, 7, "ssim_cdd")
    box = [1 / 7] * 7
    moments = s.once("box 7", lambda: Moments(s, box))
    unbias = 49 / 48
    total = torch.zeros_like(s.fused[:, 0, 0])
    mean, variance = moments.mean, moments.variance * unbias
    for i in range(1, s.images.shape[1]):
        structure = (2 * unbias * moments.covariance(0, i) + C2) / (variance[:, 0] + variance[:, i] + C2)
        luminance = (2 * mean[:, 0] * mean[:, i] + C1) / (mean[:, 0] ** 2 + mean[:, i] ** 2 + C1)
        total = total + (luminance * structure).mean((-2, -1))
    return total


def ssim_truth(fused: Tensor, truth: Tensor) -> Tensor:
    """Full-reference SSIM against a known truth, both (B, H, W) in 0..255; definition of `ssim`. Differentiable."""
    return ssim(fused, truth[:, None])


MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mean over the sources of Wang, Simoncelli and Bovik's MS-SSIM (2003), five scales, 2x2 box between scales.

    Range 0..1, higher is better. Negative contrast-structure means count as 0. Differentiable. Needs 176x176 pixels.
    TANG's "MS_SSIM" is `mef_ssim`.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(176, 176, "ms_ssim")
    images = s.images
    product: Tensor | None = None
    for scale, weight in enumerate(MS_WEIGHTS):
        last = scale == len(MS_WEIGHTS) - 1
        level = s if scale == 0 else Shared(images[:, 0], images[:, 1:])
        moments = gaussian_moments(level)
        pairs = [similarity(moments, 0, i, C1, C2) for i in range(1, images.shape[1])]
        means = torch.stack([(full if last else structure).mean((-2, -1)) for full, structure in pairs], 1)
        factor = means.clamp_min(0) ** weight
        product = factor if product is None else product * factor
        if not last:
            images = separable(images, (0.5, 0.5), (0.5, 0.5), step=2)
    if product is None:
        raise FusionError("ms_ssim needs at least one scale")
    return product.mean(1)
