"""Fusion losses: functions that return a scalar, the mean over the batch. Smaller is better.

fused (B, H, W) and sources (B, N, H, W) are luma in [0, 1]; truth is (B, H, W) in [0, 1]. Weights between losses stand
in recipes. Sobel borders reflect; SSIM uses an 11x11 Gaussian of sigma 1.5 and constants for a range of 1.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .image.pyramid import gaussian_pyramid

# ---------------------------------------------------------------------- building blocks


def gaussian_taps(size: int, sigma: float, like: Tensor) -> Tensor:
    """(size,) taps that sum to 1."""
    axis = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    taps = torch.exp(-0.5 * (axis / sigma) ** 2)
    return taps / taps.sum()


def window_mean(x: Tensor, taps: Tensor) -> Tensor:
    """Separable window over (..., H, W), valid part only; a banded matrix product, whose backward pass is fast
    on CPUs.
    """
    rows = _band(taps, x.shape[-2])
    return rows @ x @ (rows if x.shape[-1] == x.shape[-2] else _band(taps, x.shape[-1])).T


def _band(taps: Tensor, size: int) -> Tensor:
    """(size - len(taps) + 1, size): row i holds the taps from column i on."""
    out = torch.zeros(size - len(taps) + 1, size + 1, dtype=taps.dtype, device=taps.device)
    out[:, : len(taps)] = taps
    return out.flatten()[: len(out) * size].view(len(out), size)


def sobel(x: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical derivative of (..., H, W), unscaled Sobel, reflected border."""
    flat = F.pad(x.reshape(-1, 1, *x.shape[-2:]), (1, 1, 1, 1), mode="reflect")
    rows = flat[..., :-2, :] + 2 * flat[..., 1:-1, :] + flat[..., 2:, :]
    cols = flat[..., :-2] + 2 * flat[..., 1:-1] + flat[..., 2:]
    gx = rows[..., 2:] - rows[..., :-2]
    gy = cols[..., 2:, :] - cols[..., :-2, :]
    return gx.reshape(x.shape), gy.reshape(x.shape)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation over the last two dimensions; 0 where one side is flat."""
    a = a - a.mean((-2, -1), keepdim=True)
    b = b - b.mean((-2, -1), keepdim=True)
    norm = (a.square().sum((-2, -1)) * b.square().sum((-2, -1)) + 1e-12).sqrt()
    return (a * b).sum((-2, -1)) / norm


# ---------------------------------------------------------------------- losses of the field


def intensity(fused: Tensor, sources: Tensor, mode: Literal["max", "mean"] = "max") -> Tensor:
    """L1 distance to the sources' maximum or mean (SwinFusion, JAS 2022, eq. 9)."""
    target = sources.amax(1) if mode == "max" else sources.mean(1)
    return (fused - target).abs().mean()


def base_max(fused: Tensor, sources: Tensor) -> Tensor:
    """L1 distance of the third Gaussian level to the sources' maximum there: bright targets stay bright, without a
    halo.
    """
    low_fused = gaussian_pyramid(fused[:, None], 3)[-1][:, 0]
    return (low_fused - gaussian_pyramid(sources, 3)[-1].amax(1)).abs().mean()


def base_mean(fused: Tensor, sources: Tensor) -> Tensor:
    """L1 distance of the third Gaussian level to the sources' mean there: even light, and no blotches from changing
    decisions.
    """
    return gaussian_pyramid(fused[:, None] - sources.mean(1, keepdim=True), 3)[-1].abs().mean()


def gradient(fused: Tensor, sources: Tensor) -> Tensor:
    """L1 distance of the Sobel magnitude |gx| + |gy| to the largest of the sources (SwinFusion, eq. 8)."""
    fx, fy = sobel(fused)
    sx, sy = sobel(sources)
    return (fx.abs() + fy.abs() - (sx.abs() + sy.abs()).amax(1)).abs().mean()


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (Wang 2004) of (..., H, W) pairs, valid windows."""
    taps = gaussian_taps(11, 1.5, a)
    ma, mb, aa, bb, ab = window_mean(torch.stack([a, b, a * a, b * b, a * b]), taps).unbind(0)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))


def ssim(fused: Tensor, sources: Tensor) -> Tensor:
    """1 - mean SSIM with the sources."""
    return 1 - ssim_map(fused[:, None].expand_as(sources), sources).mean()


def reconstruction(fused: Tensor, truth: Tensor) -> Tensor:
    """L1 plus L1 of the gradients plus 1 - SSIM against a known truth (B, H, W)."""
    dx, dy = sobel(fused - truth)
    return (
        (fused - truth).abs().mean() + 0.25 * (dx.abs() + dy.abs()).mean() + 0.1 * (1 - ssim_map(fused, truth).mean())
    )


def mef_ssim(fused: Tensor, sources: Tensor) -> Tensor:
    """1 - MEF-SSIM (Ma 2015) on one scale, 11x11 box patches, range 1.

    The desired patch has the strongest contrast and the weighted structure of the sources; luminance is left out, as in
    the paper's index.
    """
    taps = torch.full((11,), 1 / 11, dtype=fused.dtype, device=fused.device)
    mean = window_mean(sources, taps)
    var = (window_mean(sources * sources, taps) - mean * mean).clamp_min(0)
    strength = (121 * var + 4e-4).sqrt()  # |patch - mean|, (B, N, h, w), floor of half a grey level a pixel
    total = sources.sum(1)
    total_mean = window_mean(total, taps)
    total_norm = (121 * (window_mean(total * total, taps) - total_mean**2)).clamp_min(0).sqrt()
    consistency = ((total_norm + 1e-6) / (strength.sum(1) + 1e-6)).clamp(0, 1)
    power = torch.tan(math.pi / 2 * consistency).clamp(0, 10)[:, None]
    share = (strength / 11) ** power + 1e-6
    share = share / share.sum(1, keepdim=True) / strength  # weight of (patch - mean) of each source
    cov = window_mean(sources[:, :, None] * sources[:, None], taps) - mean[:, :, None] * mean[:, None]
    norm = (121 * torch.einsum("bihw,bjhw,bijhw->bhw", share, share, cov)).clamp_min(2.5e-3).sqrt()
    scale = (strength.amax(1) / norm)[:, None] * share  # desired = sum_k scale_k (patch_k - mean_k)
    mf = window_mean(fused, taps)
    vf = window_mean(fused * fused, taps) - mf * mf
    cross = window_mean(fused[:, None] * sources, taps) - mf[:, None] * mean
    desired_var = strength.amax(1) ** 2 / 121
    desired_cov = (scale * cross).sum(1)
    c2 = 0.03**2
    return 1 - ((2 * desired_cov + c2) / (desired_var + vf + c2)).mean()


# ---------------------------------------------------------------------- what people look at


def hot_mask(sources: Tensor, statistics: Tensor) -> Tensor:
    """Soft mask (B, H, W) of targets: infrared (source 0) over its whole image's mean by 1.2 to 2.2 deviations, and
    over visible.

    statistics (B, 2, 2): mean and deviation of the whole images.
    """
    infrared, visible = sources.unbind(1)
    mean, deviation = statistics[:, 0].split(1, 1)
    above = (infrared - mean[..., None]) / (deviation[..., None] + 0.02) - 1.2
    return above.clamp(0, 1) * ((infrared - visible - 0.04) / 0.12).clamp(0, 1)


def lit_mask(sources: Tensor) -> Tensor:
    """Soft mask (B, H, W) of lamps, skies, markings: visible (source 1) bright, and brighter than infrared."""
    infrared, visible = sources.unbind(1)
    return ((visible - infrared - 0.08) / 0.15).clamp(0, 1) * ((visible - 0.58) / 0.16).clamp(0, 1)


def local_mask(sources: Tensor, statistics: Tensor) -> Tensor:
    """Soft mask (B, H, W) of what infrared (source 0) shows brighter than its surroundings of some 16 pixels by 0.5 to
    1.5 deviations of its whole image, where it is about as bright as visible or brighter: also men who are small, or
    no hotter than a warm wall elsewhere.

    statistics (B, 2, 2): mean and deviation of the whole images.
    """
    infrared, visible = sources.unbind(1)
    levels = gaussian_pyramid(infrared[:, None], 4)
    around = F.interpolate(levels[4], infrared.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    smooth = F.interpolate(levels[1], infrared.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    above = (smooth - around) / (statistics[:, 0, 1, None, None] + 0.02) - 0.5
    return above.clamp(0, 1) * ((infrared - visible + 0.02) / 0.12).clamp(0, 1)


def _level_error(wrong: list[Tensor], masks: list[Tensor], whole: list[Tensor]) -> Tensor:
    """Mean absolute error under a mask on Gaussian levels 0 to 3; whole: masks of the whole batch."""
    total = wrong[0].new_zeros(())
    for level, share in ((0, 0.5), (1, 0.5), (2, 1.0), (3, 1.0)):
        total = total + share * (masks[level] * wrong[level].abs()).mean() / (whole[level].mean() + 0.01)
    return total / 3


def _lost_contrast(wrong: list[Tensor], masks: list[Tensor], whole: list[Tensor]) -> Tensor:
    """What is missing under a mask of the contrast against what is around: level 1 less level 4."""
    around = F.interpolate(wrong[4], wrong[1].shape[-2:], mode="bilinear", align_corners=False)
    return (masks[1] * F.relu(around - wrong[1])).mean() / (whole[1].mean() + 0.01)


def _target_masks(sources: Tensor, statistics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Pyramids of the masks of `hot`: targets, and what is brighter than its surroundings too."""
    mask = hot_mask(sources, statistics)
    near = torch.maximum(mask, local_mask(sources, statistics))
    return gaussian_pyramid(mask[:, None], 4), gaussian_pyramid(near[:, None], 4)


def hot(fused: Tensor, sources: Tensor, statistics: Tensor, whole: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Distance to infrared (source 0) where it shows a target, in level and in contrast, on several scales.

    The contrast also counts where infrared is brighter than what is around (`local_mask`). whole: sources and
    statistics of the batch that these rows are a part of, over which the masks are averaged; None: these rows.
    """
    wrong = gaussian_pyramid((fused - sources[:, 0])[:, None], 4)
    masks, local = _target_masks(sources, statistics)
    all_masks, all_local = (masks, local) if whole is None else _target_masks(*whole)
    return _level_error(wrong, masks, all_masks) + 2 * _lost_contrast(wrong, local, all_local)


def lit(fused: Tensor, sources: Tensor, statistics: Tensor, whole: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Distance to visible (source 1) where it is lit, on several scales: white skies, lamps, road markings.

    The contrast has little weight, since it darkens what is beside a lit window. whole: as of `hot`.
    """
    wrong = gaussian_pyramid((fused - sources[:, 1])[:, None], 4)
    masks = gaussian_pyramid(lit_mask(sources)[:, None], 4)
    every = masks if whole is None else gaussian_pyramid(lit_mask(whole[0])[:, None], 4)
    return _level_error(wrong, masks, every) + 0.4 * _lost_contrast(wrong, masks, every)


CALM_INFRARED, CALM_VISIBLE = 0.08, 0.02
"""Details of an even area, of 1, that count in full in `even`: 20 and 5 levels."""
FADE_INFRARED, FADE_VISIBLE = 0.1, 0.03
"""Over how much more of it the weight falls to 0."""


def even(fused: Tensor, sources: Tensor, whole: Tensor | None = None) -> Tensor:
    """What the result shows in even lit areas that visible (source 1) does not: grain and stripes of the infrared
    camera (source 0) in white skies. Ours.

    L1 distance of details, which are the image less its Gaussian level 3. Counts where visible is lit (`lit_mask`)
    and differs from its surroundings by less than 5 to 13 levels, and infrared by less than 20 to 46: wires, birds
    and roofs stand out more, and may be seen. whole: sources of the batch that these rows are a part of, over which
    the mask is averaged; None: these rows.
    """
    details = _details(torch.cat((sources, fused[:, None]), 1))
    mask = _calm_mask(sources, details)
    share = mask if whole is None else _calm_mask(whole, _details(whole))
    return (mask * (details[:, 2] - details[:, 1]).abs()).mean() / (share.mean() + 0.01)


def _details(planes: Tensor) -> Tensor:
    """Planes (B, N, H, W) less their Gaussian level 3."""
    levels = gaussian_pyramid(planes, 3)
    return planes - F.interpolate(levels[3], planes.shape[-2:], mode="bilinear", align_corners=False)


def _calm_mask(sources: Tensor, details: Tensor) -> Tensor:
    """(B, H, W): where visible is lit, and neither source has much detail."""
    around = F.avg_pool2d(details[:, :2].abs(), 7, 1, 3, count_include_pad=False)
    infrared = (1 - (around[:, 0] - CALM_INFRARED) / FADE_INFRARED).clamp(0, 1)
    visible = (1 - (around[:, 1] - CALM_VISIBLE) / FADE_VISIBLE).clamp(0, 1)
    weak = (1 - (details[:, 0].abs() - CALM_INFRARED) / FADE_INFRARED).clamp(0, 1)
    return lit_mask(sources) * (infrared * visible) * weak


def unsteadiness(fused: Tensor, other: Tensor) -> Tensor:
    """L1 distance of two results of one scene, which differ by sensor noise alone, on Gaussian levels 2 to 4: what is
    seen as flicker in a video. Ours.
    """
    levels = gaussian_pyramid((fused - other)[:, None], 4)
    return torch.stack([level.abs().mean() for level in levels[2:]]).mean()


# ---------------------------------------------------------------------- losses of the published unified networks


def intensity_mean(fused: Tensor, sources: Tensor) -> Tensor:
    """L1 distance to the sources' mean."""
    return intensity(fused, sources, "mean")


def gradient_shares(sources: Tensor) -> Tensor:
    """(N,) share of each source in the mean Sobel magnitude |gx| + |gy|, one number for the whole batch; equal where
    all are flat.
    """
    gx, gy = sobel(sources)
    means = (gx.abs() + gy.abs()).mean((0, 2, 3)) + 1e-8
    return means / means.sum()


def ssim_weighted(
    fused: Tensor,
    sources: Tensor,
    rule: Literal["gradient", "equal"] = "gradient",
    whole: Tensor | None = None,
) -> Tensor:
    """1 - weighted sum of the SSIM with each source; weights by the ratio of mean gradients over the batch, or equal
    ones. whole: sources of the batch that these rows are a part of; None: these rows.
    """
    each = ssim_map(fused[:, None].expand_as(sources), sources).mean((0, 2, 3))
    shares = gradient_shares(sources if whole is None else whole)
    return 1 - (each * shares).sum() if rule == "gradient" else 1 - each.mean()


def self_reconstruction(restored: Tensor, sources: Tensor) -> Tensor:
    """L1 distance of the sources to what a network restored of them, both (B, N, C, H, W)."""
    return (restored - sources).abs().mean()


def closeness(fused: Tensor, sources: Tensor) -> Tensor:
    """Sum over the sources of the L1 distances of values and of derivatives, Sobel over 8 (auxiliary loss of MMAIF,
    ICCV 2025).
    """
    wrong = fused[:, None] - sources
    dx, dy = sobel(wrong)
    return sources.shape[1] * (wrong.abs().mean() + (dx.abs() + dy.abs()).mean() / 8)


# ---------------------------------------------------------------------- differentiable forms of the field's metrics


def qabf(fused: Tensor, sources: Tensor) -> Tensor:
    """1 - Qabf (Xydeas and Petrovic 2000), edge strength and angle kept from the sources, weighted by edge strength."""
    fx, fy = sobel(fused[:, None] * 255)
    sx, sy = sobel(sources * 255)
    eps = 1e-3
    gf = (fx * fx + fy * fy + eps).sqrt()
    gs = (sx * sx + sy * sy + eps).sqrt()
    ratio = torch.minimum(gf, gs) / torch.maximum(gf, gs)
    # the angle between gradient directions (mod pi), as a smooth function: |angle| = acos |cos|
    cos = ((fx * sx + fy * sy) / (gf * gs)).abs().clamp(0, 1 - 1e-4)
    angle = 1 - torch.acos(cos) * (2 / math.pi)
    q = 0.9994 / (1 + torch.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + torch.exp(-22 * (angle - 0.8)))
    return 1 - ((q * gs).sum((1, 2, 3)) / gs.sum((1, 2, 3))).mean()


def vif(fused: Tensor, sources: Tensor) -> Tensor:
    """2 - the sum over two sources (mean over N, times 2) of pixel-domain VIF (Sheikh 2006), four scales."""
    noise = 2.0 / 255**2
    num = torch.zeros(sources.shape[:2], dtype=fused.dtype, device=fused.device)
    den = torch.zeros_like(num)
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        taps = gaussian_taps(size, size / 5, fused)
        if scale:
            fused, sources = (
                window_mean(fused, taps)[..., ::2, ::2],
                window_mean(sources, taps)[..., ::2, ::2],
            )
        if min(fused.shape[-2:]) < size:
            break
        mf, ms = window_mean(fused, taps)[:, None], window_mean(sources, taps)
        vf = (window_mean(fused * fused, taps)[:, None] - mf * mf).clamp_min(0)
        vs = (window_mean(sources * sources, taps) - ms * ms).clamp_min(0)
        cov = window_mean(fused[:, None] * sources, taps) - mf * ms
        gain = (cov / (vs + 1e-8)).clamp_min(0)
        rest = (vf - gain * cov).clamp_min(1e-8)
        num = num + torch.log1p(gain * gain * vs / (rest + noise)).sum((2, 3))
        den = den + torch.log1p(vs / noise).sum((2, 3))
    return 2 - 2 * (num / (den + 1e-3)).mean()


def mutual_information(fused: Tensor, sources: Tensor, bins: int = 48) -> Tensor:
    """Minus the mutual information in bits of fused and source, mean over sources, from a soft joint histogram."""
    b, n = sources.shape[:2]
    levels = torch.linspace(0, 1, bins, device=fused.device)

    def soft(x: Tensor) -> Tensor:  # (..., P) -> (..., P, bins), triangular kernels that sum to 1
        return (1 - (x[..., None] - levels).abs() * (bins - 1)).clamp_min(0)

    pf = soft(fused[..., ::2, ::2].reshape(b, 1, -1))
    ps = soft(sources[..., ::2, ::2].reshape(b, n, -1))
    joint = torch.matmul(pf.transpose(-1, -2), ps) / pf.shape[-2]  # (B, N, bins, bins)
    outer = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return -(joint * ((joint + 1e-8) / (outer + 1e-8)).log2()).sum((-2, -1)).mean()


def scd(fused: Tensor, sources: Tensor) -> Tensor:
    """Minus the sum of correlations of differences (Aslantas 2015), for N sources with the mean of the others."""
    n = sources.shape[1]
    others = (sources.sum(1, keepdim=True) - sources) / max(1, n - 1)
    return -2 * _pearson(fused[:, None] - others, sources).mean()


def halo(fused: Tensor, sources: Tensor) -> Tensor:
    """Slow gradients that no source has, as a share of the sources' (scales of about 2 to 32 pixels)."""
    total = fused.new_zeros(())
    f, s = fused[:, None], sources
    levels = 5
    for level, (x, y) in enumerate(zip(gaussian_pyramid(f, levels), gaussian_pyramid(s, levels), strict=True)):
        if level == 0:
            continue
        own = _slope(x)[:, 0]
        ref = _slope(y).amax(1)
        total = total + (F.relu(own - ref).sum((1, 2)) / (ref.sum((1, 2)) + 1e-2)).mean()
    return total / levels


def _slope(x: Tensor) -> Tensor:
    dx = x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
    dy = x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    return (dx * dx + dy * dy + 1e-8).sqrt()
