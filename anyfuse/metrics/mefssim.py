"""MEF-SSIM (Ma, Zeng, Wang 2015): structural fidelity to the patch that an ideal fusion of the sources would have.

In each 11x11 window the ideal patch has the largest contrast of the sources and a weighted mean of their structures.
All patches are handled at once through local means and covariances, so that the ideal patches never need to be formed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shared import Moments, Shared, gaussian_moments, pad, safe_sqrt, separable

SIZE = 11
C = (0.03 * 255) ** 2
EPS = 2.0**-52
WEIGHTS = (0.0448, 0.2856, 0.3001)


def quality(s: Shared) -> Tensor:
    """(B,) mean of the quality map at one scale."""
    count = s.images.shape[1]
    area = SIZE * SIZE
    indices = range(1, count)
    box = Moments(s, [1 / SIZE] * SIZE)
    window = gaussian_moments(s)
    variance = box.variance[:, 1:].clamp_min(0)
    contrast = safe_sqrt(area * variance) + 0.001  # (B, N, h, w): norm of the patch without its mean

    # consistency of the structures decides how much the strongest patch dominates
    summed = torch.zeros_like(variance[:, 0])
    for i in indices:
        for j in indices:
            summed = summed + box.covariance(i, j)
    alike = (safe_sqrt(area * summed.clamp_min(0)) + EPS) / (safe_sqrt(area * variance).sum(1) + EPS)
    alike = alike.clamp(EPS, 1 - EPS)
    power = torch.tan(math.pi / 2 * alike).clamp_max(10)
    weight = (contrast / SIZE) ** power[:, None] + EPS
    weight = weight / weight.sum(1, keepdim=True)
    share = weight / contrast  # ideal patch = scale * sum_k share_k (patch_k - mean_k)

    norm_sq = torch.zeros_like(summed)
    ideal_var = torch.zeros_like(summed)
    ideal_cov = torch.zeros_like(summed)
    for i in indices:
        share_i = share[:, i - 1]
        ideal_cov = ideal_cov + share_i * window.covariance(0, i)
        for j in range(i, count):
            both = share_i * share[:, j - 1] * (1 if i == j else 2)
            norm_sq = norm_sq + both * box.covariance(i, j)
            ideal_var = ideal_var + both * window.covariance(i, j)
    norm = safe_sqrt(area * norm_sq.clamp_min(0))
    strongest = contrast.amax(1)
    scale = torch.where(norm > 0, strongest / torch.where(norm > 0, norm, torch.ones_like(norm)), torch.ones_like(norm))
    ideal_var = scale * scale * ideal_var
    ideal_cov = scale * ideal_cov
    score = (2 * ideal_cov + C) / (ideal_var + window.variance[:, 0] + C)
    return score.mean((-2, -1))


def halve(images: Tensor) -> Tensor:
    """2x2 box means at every second pixel, mirrored at the far border."""
    rows, columns = images.shape[-2], images.shape[-1]
    images = pad(images, (0, rows % 2), (0, columns % 2), "symmetric")
    return separable(images, (0.5, 0.5), (0.5, 0.5), step=2)


def mef_ssim(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """MEF-SSIM over three scales, weights .0448 .2856 .3001 normalised, product of powers (MEFB; TANG's "MS_SSIM").

    Range 0..1, higher is better, any number of sources. Differentiable. Needs 41x41 pixels. TITA's SSIM near .99 on
    multi-focus pairs is most likely this.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(41, 41, "mef_ssim")

    def make() -> Tensor:
        level = s
        product = torch.ones_like(s.fused[:, 0, 0])
        for scale, weight in enumerate(WEIGHTS):
            if scale:
                images = halve(level.images)
                level = Shared(images[:, 0], images[:, 1:])
            product = product * quality(level) ** (weight / math.fsum(WEIGHTS))
        return product

    return s.once("mef_ssim", make)
