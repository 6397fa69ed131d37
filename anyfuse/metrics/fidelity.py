"""Distance and correlation of the fused image to its sources, or to a known truth.

All pull towards the average of the sources: the plain average has the best MSE, RMSE and PSNR that any image can have.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .shared import Shared, safe_sqrt


def _mean_squared(s: Shared) -> Tensor:
    """(B, N) mean squared difference of the fused image to each source, scale 0..255."""

    def make() -> Tensor:
        difference = s.fused[:, None] - s.sources
        return (difference * difference).mean((-2, -1))

    return s.once("mean squared", make)


def mse(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mean squared error, mean over the sources, 0..255 scale (CDD). Range 0..65025, lower is closer.
    Differentiable.
    """
    return _mean_squared(Shared.of(fused, sources, shared)).mean(1)


def mse_tang(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`mse` on images in 0..1, that is divided by 65025 (TANG). Range 0..1, lower is closer. Differentiable."""
    return mse(fused, sources, shared) / 65025


def rmse(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Root of `mse`, 0..255 scale. Range 0..255, lower is closer. Differentiable."""
    return safe_sqrt(mse(fused, sources, shared))


def rmse_vifb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """What VIFB calls RMSE: sqrt(sum of squared differences) / (H W), mean over the sources; falls with image size."""
    s = Shared.of(fused, sources, shared)
    pixels = s.size[0] * s.size[1]
    return safe_sqrt(_mean_squared(s) * pixels).mean(1) / pixels


def psnr(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Peak signal to noise ratio in true decibels: 10 log10(255^2 / MSE), MSE the mean over the sources.

    Range 0..inf dB, higher is closer; infinite when F equals every source. Differentiable. Published fusion tables
    mostly print `psnr_tang` (48.13 dB more) or `psnr_vifb`.
    """
    return 10 * torch.log10(65025 / mse(fused, sources, shared))


def psnr_tang(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """20 log10(255 / sqrt(MSE)) with MSE on images in 0..1: `psnr` + 48.13 dB (TANG, IVIF_ZOO; UniFusion's tables)."""
    return 20 * torch.log10(255 / safe_sqrt(mse_tang(fused, sources, shared)))


def psnr_vifb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """20 log10(255 / sqrt(`rmse_vifb`)) (VIFB, MEFB): depends on image size; 51 to 65 in practice."""
    return 20 * torch.log10(255 / safe_sqrt(rmse_vifb(fused, sources, shared)))


def psnr_cdd(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """10 log10(max(F)^2 / MSE): the peak is the brightest fused pixel (CDDFuse)."""
    s = Shared.of(fused, sources, shared)
    return 10 * torch.log10(s.fused.amax((-2, -1)) ** 2 / mse(fused, sources, s))


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Correlation of the last two dimensions; NaN where one side is constant."""
    x = x - x.mean((-2, -1), keepdim=True)
    y = y - y.mean((-2, -1), keepdim=True)
    return (x * y).sum((-2, -1)) / torch.sqrt((x * x).sum((-2, -1)) * (y * y).sum((-2, -1)))


def cc(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Mean over the sources of Pearson's correlation with the fused image (TANG, CDD, UniFusion).

    Range -1..1, higher is closer. NaN for a constant image, as in the references. Differentiable.
    """
    s = Shared.of(fused, sources, shared)
    return pearson(s.fused[:, None], s.sources).mean(1)


def _scd_terms(s: Shared) -> Tensor:
    """(B, N) correlations of F - mean of the other sources with each source."""
    count = s.sources.shape[1]
    if count == 1:
        return torch.full_like(s.sources[..., 0, 0], float("nan"))
    if count == 2:
        others = s.sources.flip(1)
    else:
        others = (s.sources.sum(1, keepdim=True) - s.sources) / (count - 1)
    return pearson(s.fused[:, None] - others, s.sources)


def scd(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Sum of the correlations of differences (Aslantas and Bendes 2015): corr(F - B, A) + corr(F - A, B).

    Range -N..N for N sources, higher is better. NaN where F equals a source (as the reference returns). N > 2 sources:
    the sum over i of corr(F - mean of the other sources, S_i). One source: NaN. Differentiable.
    """
    return _scd_terms(Shared.of(fused, sources, shared)).sum(1)


def scd_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`scd` as Yu Liu's kit has it: 1e-5 added to the differences, which lets a constant difference count 0 (up to
    rounding, 1e-13) where `scd` is NaN. Equal to `scd` otherwise. Its gradient is NaN where F equals a source."""
    s = Shared.of(fused, sources, shared)
    if s.sources.shape[1] == 1:
        return scd(fused, sources, s)
    return s.keep_nan(_scd_terms(s).nan_to_num(0.0).sum(1))


def psnr_truth(fused: Tensor, truth: Tensor) -> Tensor:
    """Full-reference PSNR in dB against a known truth, both (B, H, W) in 0..255. Infinite when equal.
    Differentiable.
    """
    return psnr(fused, truth[:, None])
