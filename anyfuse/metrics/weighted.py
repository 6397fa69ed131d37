"""SSIM-based metrics that weigh the sources locally: Piella's QS, QW, QE, Cvejic's QC, Yang's QY.

QC and QY stabilise their quotients with 2e-16, so in flat windows the originals return the quotient of two rounding
errors: their own value depends on the order of summation, by up to several units. The plain names here, and Piella's
weights, take variances and covariances below 1e-6 as the zeros that they are for 8-bit images; `*_mefb`, `*_zl`,
`*_liu` keep the original arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .shared import Moments, Shared, gaussian_moments, gaussian_taps, pad, safe_sqrt, separable
from .structure import C1, C2, similarity

TINY = 2e-16


def _combine(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return share * first + (1 - share) * second


def _even(share: Tensor) -> Tensor:
    """NaN shares (0 / 0) as equal ones."""
    return torch.where(share.isnan(), torch.full_like(share, 1 / share.shape[1]), share)


def _flat_zero(x: Tensor) -> Tensor:
    """Second moments below 1e-6 are rounding for 8-bit images: as zero."""
    return torch.where(x.abs() < 1e-6, torch.zeros_like(x), x)


# Piella


def _piella(s: Shared, moments: Moments, c1: float, c2: float, flat: float = 0.0) -> tuple[Tensor, Tensor]:
    """Local quality sum_S lambda_S SSIM(F, S), lambda by variance, and saliency max_S variance; each (B, h, w).

    flat: added to the variances where all of them are 0.
    """
    variance = _flat_zero(moments.variance[:, 1:])
    if flat:
        variance = variance + flat * (variance.sum(1, keepdim=True) == 0)
    shares = _even(variance / variance.sum(1, keepdim=True))
    quality = torch.zeros_like(shares[:, 0])
    for i in range(1, s.images.shape[1]):
        quality = quality + shares[:, i - 1] * similarity(moments, 0, i, c1, c2)[0]
    return quality, variance.amax(1)


def _weighted_mean(quality: Tensor, weight: Tensor) -> Tensor:
    return (quality * weight).sum((-2, -1)) / weight.sum((-2, -1))


def _edge_images(s: Shared) -> Shared:
    """Prewitt gradient magnitudes, zero border, as a batch of their own."""

    def make() -> Shared:
        padded = pad(s.images, (1, 1), (1, 1), "zeros")
        flat, step = (1.0, 1.0, 1.0), (-1.0, 0.0, 1.0)
        gx, gy = separable(padded, flat, step), separable(padded, step, flat)
        edges = safe_sqrt(gx * gx + gy * gy)
        return Shared(edges[:, 0], edges[:, 1:])

    return s.once("prewitt", make)


def _gaussian_piella(s: Shared) -> tuple[Tensor, Tensor]:
    s.at_least(11, 11, "Piella's metrics")
    return s.once("piella", lambda: _piella(s, gaussian_moments(s), C1, C2))


def qs(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Piella and Heijmans' Q_S (2003; LIU metricPeilla sw=1): mean of the local SSIM weighted by the sources'
    variances.

    11x11 Gaussian of 1.5. Range -1..1, higher is better. Differentiable. Where all sources are flat
    they weigh the same.
    """
    return _gaussian_piella(Shared.of(fused, sources, shared))[0].mean((-2, -1))


def qw(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Piella and Heijmans' Q_W (2003; LIU metricPeilla sw=2): Q_S weighted by the largest source variance.

    Range -1..1, higher is better. Differentiable. MEFB's "Qw" is `qw_mefb`.
    """
    return _weighted_mean(*_gaussian_piella(Shared.of(fused, sources, shared)))


def qw_mefb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """What MEFB prints as Qw: `qw` of the Prewitt edge images alone, the second factor of `qe`."""
    return _weighted_mean(*_gaussian_piella(_edge_images(Shared.of(fused, sources, shared))))


def qe(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Piella and Heijmans' Q_E (2003): Q_W times Q_W of the Prewitt edge images. Range -1..1, higher is better.

    LIU's metricPeilla sw=3 stops with an error. Differentiable.
    """
    s = Shared.of(fused, sources, shared)
    return qw(fused, sources, s) * qw_mefb(fused, sources, s)


def _box_piella(s: Shared) -> tuple[Tensor, Tensor]:
    s.at_least(8, 8, "Piella's metrics")

    def make() -> tuple[Tensor, Tensor]:
        tiny = (1e-6 * 255) ** 2
        return _piella(s, _box(s), tiny, tiny, flat=0.5)

    return s.once("box piella", make)


def _box(s: Shared) -> Moments:
    return s.once("box 8", lambda: Moments(s, [1 / 8] * 8))


def qs_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`qs` with Yu Liu's 8x8 box window and K = 1e-6 (metricPeilla sw=1)."""
    return _box_piella(Shared.of(fused, sources, shared))[0].mean((-2, -1))


def qw_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`qw` with Yu Liu's 8x8 box window and K = 1e-6, flat windows with the saliency .5 (metricPeilla sw=2)."""
    return _weighted_mean(*_box_piella(Shared.of(fused, sources, shared)))


def qe_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`qe` with Yu Liu's 8x8 box window and K = 1e-6 (metricPeilla sw=3)."""
    s = Shared.of(fused, sources, shared)
    return qw_liu(fused, sources, s) * _weighted_mean(*_box_piella(_edge_images(s)))


# Cvejic and Yang


@dataclass
class _Maps:
    """Local similarities of fused and sources under one window, C1 = C2 = 2e-16."""

    fused: list[Tensor]  # SSIM(F, S_i)
    sources: Tensor | None  # smallest SSIM of two sources
    variance: Tensor  # (B, N, h, w)
    covariance: Tensor  # (B, N, h, w) with the fused image


def _maps(s: Shared, moments: Moments, guarded: bool, pairs: bool = True) -> _Maps:
    count = s.images.shape[1]
    clean = _flat_zero if guarded else (lambda x: x)
    mean, variance = moments.mean, clean(moments.variance)

    def alike(i: int, j: int) -> Tensor:
        top = (2 * mean[:, i] * mean[:, j] + TINY) * (2 * clean(moments.covariance(i, j)) + TINY)
        squares = mean[:, i] * mean[:, i] + mean[:, j] * mean[:, j] + TINY
        return top / (squares * (variance[:, i] + variance[:, j] + TINY))

    fused = [alike(0, i) for i in range(1, count)]
    between = None
    if pairs and count > 2:
        between = torch.stack([alike(i, j) for i in range(1, count) for j in range(i + 1, count)]).amin(0)
    covariance = torch.stack([clean(moments.covariance(0, i)) for i in range(1, count)], 1)
    return _Maps(fused, between, variance[:, 1:], covariance)


class _DirectMoments(Moments):
    """Moments summed tap by tap over the whole window, columns first, without fused multiply-add.

    That is how the originals sum. Separable or fused sums leave larger residues in flat windows, and there the residues
    are the result.
    """

    def filter(self, x: Tensor) -> Tensor:
        taps = self._taps
        height, width = x.shape[-2] - len(taps) + 1, x.shape[-1] - len(taps) + 1
        out = x.new_zeros(*x.shape[:-2], height, width)
        for j, column in enumerate(taps):
            for i, row in enumerate(taps):
                out += x[..., i : i + height, j : j + width] * (row * column)
        return out


def _window_maps(s: Shared, guarded: bool) -> _Maps:
    s = s.double()
    s.at_least(7, 7, "Cvejic's and Yang's metrics")

    def make() -> _Maps:
        kind = Moments if guarded else _DirectMoments
        return _maps(s, kind(s, gaussian_taps(7, 1.5)), guarded)

    return s.once(("cvejic", guarded), make)


def _yang(maps: _Maps) -> Tensor:
    """Local Q_Y: where sources agree (SSIM >= .75) the variance-weighted mean of SSIM(F, S), else the best."""
    alike = torch.stack(maps.fused, 1)
    share = maps.variance / maps.variance.sum(1, keepdim=True)
    mean = (share * alike).sum(1)
    if maps.sources is None:
        return mean
    return torch.where(maps.sources >= 0.75, mean, alike.amax(1))


def qy(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Yang's structural metric (Yang et al. 2008), 7x7 Gaussian of 1.5, flat windows guarded.

    Range -1..1, higher is better; N > 2 sources agree where their least similar pair does. float64. Equal to MEFB's Qy
    on images without flat patches, within 1e-3 else (`qy_mefb` explains). Values near .98 for anything are UniFusion's
    and IVIF_ZOO's window that sums to 7.
    """
    maps = _window_maps(Shared.of(fused, sources, shared), True)
    alike = torch.stack(maps.fused, 1)
    mean = (_even(maps.variance / maps.variance.sum(1, keepdim=True)) * alike).sum(1)
    local = mean if maps.sources is None else torch.where(maps.sources >= 0.75, mean, alike.amax(1))
    return local.mean((-2, -1))


def qy_mefb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Yang's metric without guard, NaN windows left out of the mean (MEFB Qy).

    Where flat patches exist the value is set by rounding: it differs between summation orders by 1e-4 typically, by
    more than 10 at worst, in the original as well. There the gradient can be NaN.
    """
    s = Shared.of(fused, sources, shared)
    return s.keep_nan(_yang(_window_maps(s, False)).nanmean((-2, -1)))


def qy_zl(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Yang's metric without guard, NaN if any window is (LIU metricYang)."""
    return _yang(_window_maps(Shared.of(fused, sources, shared), False)).mean((-2, -1))


def qy_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Yang's metric without guard, equal weights where the weight is NaN (Yu Liu's metricYang)."""
    maps = _window_maps(Shared.of(fused, sources, shared), False)
    alike = torch.stack(maps.fused, 1)
    mean = (_even(maps.variance / maps.variance.sum(1, keepdim=True)) * alike).sum(1)
    local = mean if maps.sources is None else torch.where(maps.sources >= 0.75, mean, alike.amax(1))
    return local.mean((-2, -1))


def _cvejic(maps: _Maps) -> Tensor:
    """Local Q_C as written by Z. Liu: a share outside 0..1 makes the *result* 0 or 1."""
    total = maps.covariance.sum(1)
    shares = maps.covariance / total[:, None]
    local = (shares * torch.stack(maps.fused, 1)).sum(1)
    if len(maps.fused) == 2:
        local = torch.where(shares[:, 0] < 0, torch.zeros_like(local), local)
        return torch.where(shares[:, 0] > 1, torch.ones_like(local), local)
    return local


def _clipped_cvejic(maps: _Maps) -> Tensor:
    """Local Q_C as published: shares cov(F, S_i) / sum cov clipped to 0..1, equal ones for 0 / 0."""
    shares = _even(maps.covariance / maps.covariance.sum(1, keepdim=True))
    if len(maps.fused) == 2:
        first = shares[:, 0].clamp(0, 1)
        return _combine(maps.fused[0], maps.fused[1], first)
    shares = shares.clamp_min(0)
    shares = _even(shares / shares.sum(1, keepdim=True))
    return (shares * torch.stack(maps.fused, 1)).sum(1)


def qc(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Cvejic's metric (Cvejic et al. 2005): local SSIM weighted by cov(F, S_i) / sum cov, clipped to 0..1; 7x7
    Gaussian.

    Flat windows guarded, 0 / 0 counts as equal weights. Range -1..1, higher is better, float64. N > 2 sources: negative
    shares become 0, the rest is normalised. Tables of MEFB and LIU hold `qc_mefb`, which clips the result instead.
    """
    return _clipped_cvejic(_window_maps(Shared.of(fused, sources, shared), True)).mean((-2, -1))


def qc_mefb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """MEFB Qc: as `qc`, but a share of the first source below 0 or above 1 sets the local result to 0 or 1 (so the
    order of the sources matters), no guard, NaN windows left out.

    Set by rounding where flat patches exist: 1e-4 to 1e-2 between summation orders, in the original as well. There the
    gradient can be NaN.
    """
    s = Shared.of(fused, sources, shared)
    return s.keep_nan(_cvejic(_window_maps(s, False)).nanmean((-2, -1)))


def qc_zl(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """LIU metricCvejic sw=2: `qc_mefb`, but NaN if any window is."""
    return _cvejic(_window_maps(Shared.of(fused, sources, shared), False)).mean((-2, -1))


def qc_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Yu Liu's metricCvejic sw=2: `qc` with an 8x8 box window, no guard: the gradient can be NaN where flat patches
    exist.
    """
    s = Shared.of(fused, sources, shared).double()
    s.at_least(8, 8, "qc_liu")
    return _clipped_cvejic(_maps(s, _box(s), guarded=False, pairs=False)).mean((-2, -1))
