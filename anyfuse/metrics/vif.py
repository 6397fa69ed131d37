"""Visual information fidelity: VIF (pixel domain) and VIFF.

Sheikh and Bovik 2006: how much of the information that an observer gets from the source is still in the fused image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .shared import Moments, Shared, gaussian_taps, separable

TINY = 1e-10


def _scales(s: Shared) -> list[tuple[Moments, Tensor]]:
    """Local moments and images of the four scales of vifp_mscale.m."""

    def make() -> list[tuple[Moments, Tensor]]:
        scales = []
        images = s.images
        for scale, size in enumerate((17, 9, 5, 3)):
            taps = gaussian_taps(size, size / 5)
            if scale:
                images = separable(images, taps, taps, step=2)
            level = Shared(images[:, 0], images[:, 1:])
            scales.append((Moments(level, taps), images))
        return scales

    return s.once("vif scales", make)


def _gain(var_s: Tensor, var_f: Tensor, cov: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gain g and noise variance of the channel source -> fused, with the guards of the original; var_s guarded too."""
    zero = torch.zeros_like(cov)
    gain = cov / (var_s + TINY)
    noise = var_f - gain * cov
    no_source, no_fused = var_s < TINY, var_f < TINY
    gain = torch.where(no_source | no_fused, zero, gain)
    noise = torch.where(no_source, var_f, noise)
    noise = torch.where(no_fused, zero, noise)
    negative = gain < 0
    noise = torch.where(negative, var_f, noise)
    gain = torch.where(negative, zero, gain)
    return gain, noise.clamp_min(TINY), torch.where(no_source, zero, var_s)


def vif(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Sum over the sources of the pixel-domain VIF of the fused image (TANG; CDDFuse calls it VIFF).

    Four scales, Gaussian windows 17, 9, 5, 3, noise variance 2, values 0..255. Range 0.. (0.5 to 1.8 for two sources),
    higher is better; above 1 per source after contrast enhancement. Differentiable. NaN for a constant source. Tables
    of UniFusion and IVIF_ZOO use a shifted window and zero padding: 5 to 45 % higher. Needs 41x41 pixels.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(41, 41, "vif")
    count = s.sources.shape[1]
    information = torch.zeros_like(s.sources[..., 0, 0])  # (B, N)
    available = torch.zeros_like(information)
    for moments, _ in _scales(s):
        variance = moments.variance.clamp_min(0)
        cov = torch.stack([moments.covariance(0, i) for i in range(1, count + 1)], 1)
        gain, noise, var_s = _gain(variance[:, 1:], variance[:, :1].expand_as(cov), cov)
        information = information + torch.log10(1 + gain * gain * var_s / (noise + 2)).sum((-2, -1))
        available = available + torch.log10(1 + var_s / 2).sum((-2, -1))
    return (information / available).sum(1)


def viff(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """VIF for fusion (Han et al. 2013; MEFB VIF, VIFF_Public.m): each pixel asks the source that F amplifies least.

    Noise variance .005 * 255^2; the four scales weighted 1, 0, .15, 1 over 2.15. Range 0..about 1, higher is better; .4
    to 1.02 measured. Differentiable. Needs 41x41 pixels. Equal gains (0 for several sources) take the last source, so
    that the order of the sources matters: by 1.5e-3 relative at most as measured, on images with flat patches.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(41, 41, "viff")
    noise_floor, small = 0.005 * 255 * 255, 1e-7
    count = s.sources.shape[1]
    total = torch.zeros_like(s.fused[:, 0, 0])
    for (moments, _), weight in zip(_scales(s), (1.0, 0.0, 0.15, 1.0), strict=True):
        if weight == 0:
            continue
        variance = moments.variance.clamp_min(0)
        cov = torch.stack([moments.covariance(0, i) for i in range(1, count + 1)], 1)
        gain, noise, var_s = _gain(variance[:, 1:], variance[:, :1].expand_as(cov), cov)
        # ties go to the last source, as in the original
        least = count - 1 - gain.flip(1).argmin(1, keepdim=True)
        gain, noise, var_s = (x.gather(1, least)[:, 0] for x in (gain, noise, var_s))
        information = torch.log10(1 + gain * gain * var_s / (noise + noise_floor)) + small
        available = torch.log10(1 + var_s / noise_floor) + small
        total = total + weight * information.sum((-2, -1)) / available.sum((-2, -1))
    return total / 2.15
