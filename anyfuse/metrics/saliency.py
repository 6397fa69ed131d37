"""What people look at: hot targets, lit things, even skies, exposures. Ours; docs/metrics.md has the formulas and limits.

The classical metrics hardly notice a man who is erased. These do. Targets and lit things are those of an infrared-visible
pair, infrared first, as `bench --task ivf` gives them; for other numbers of images, or where a pair has none, the value is
NaN and does not count in means. All in grey levels 0 to 255.

    hot     infrared over its mean + 2.5 deviations, and over visible by 50; opened 3x3
    ring    7 to 25 pixels around hot
    lit     visible at or above min(200, its 99th percentile), and over infrared by 60
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .shared import Shared, gaussian_taps, safe_sqrt, separable

DEVIATIONS, OVER_VISIBLE, OVER_INFRARED, LIT = 2.5, 50.0, 60.0, 200.0
NEAR, FAR = 7, 25
LEAST = 10.0  # levels between target and ring in the infrared image below which its contrast means nothing
COARSE = 31
EVEN = 3.0  # levels of slow variation below which a source is even


def _dilate(mask: Tensor, radius: int) -> Tensor:
    """(B, H, W) bool, by a square of 2 radius + 1 pixels."""
    return F.max_pool2d(mask[:, None].float(), 2 * radius + 1, 1, radius)[:, 0] > 0


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean (B,) of values (B, H, W) under a mask; NaN where it is empty."""
    return (values * mask).sum((1, 2)) / mask.sum((1, 2)).to(values)


def hot_pixels(sources: Tensor) -> Tensor:
    """Targets (B, H, W) bool of infrared-visible pairs (B, 2, H, W)."""
    infrared, visible = sources.unbind(1)
    mean = infrared.mean((1, 2), keepdim=True)
    deviation = infrared.std((1, 2), keepdim=True, correction=0)
    hot = (infrared > mean + DEVIATIONS * deviation) & (infrared > visible + OVER_VISIBLE)
    return _dilate(~_dilate(~hot, 1), 1) if hot.numel() else hot


def ring_of(mask: Tensor) -> Tensor:
    """Pixels (B, H, W) bool from 7 to 25 pixels around a mask."""
    return _dilate(mask, FAR) & ~_dilate(mask, NEAR)


def _pairs(s: Shared) -> bool:
    return s.sources.shape[1] == 2


def _nothing(s: Shared) -> Tensor:
    return torch.full_like(s.fused[:, 0, 0], torch.nan)


def target_contrast(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """(fused hot - fused ring) / (infrared hot - infrared ring), (B,): 1 keeps a target's contrast, 0 erases it.

    NaN without hot pixels, or where the infrared contrast is below 10 levels.
    """
    s = Shared.of(fused, sources, shared)
    if not _pairs(s):
        return _nothing(s)
    hot = s.once("hot", lambda: hot_pixels(s.sources))
    ring, infrared = ring_of(hot), s.sources[:, 0]
    given = _mean(infrared, hot) - _mean(infrared, ring)
    kept = _mean(s.fused, hot) - _mean(s.fused, ring)
    return torch.where(given >= LEAST, kept / given, torch.nan)


def target_level(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Fused / infrared level of hot pixels, (B,). NaN without any."""
    s = Shared.of(fused, sources, shared)
    if not _pairs(s):
        return _nothing(s)
    hot = s.once("hot", lambda: hot_pixels(s.sources))
    return _mean(s.fused, hot) / _mean(s.sources[:, 0], hot)


def lit_level(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Fused / visible level of lit pixels, (B,): white skies, lamps, markings. NaN without any."""
    s = Shared.of(fused, sources, shared)
    if not _pairs(s):
        return _nothing(s)
    infrared, visible = s.sources.unbind(1)
    top = torch.quantile(visible.flatten(1), 0.99, dim=1)[:, None, None] if visible[0].numel() < 2**24 else LIT
    bright = visible >= torch.minimum(torch.as_tensor(LIT, dtype=visible.dtype), torch.as_tensor(top))
    lit = bright & (visible > infrared + OVER_INFRARED)
    return _mean(s.fused, lit) / _mean(visible, lit)


def blotch(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Slow variation of the result where the source that it follows is even, (B,), in grey levels: smudges in skies.

    Slow: Gaussian of 31/2 pixels. At each pixel the result follows the source whose detail (image less its slow part) is
    nearest in the mean over 31 pixels. Counted is the deviation of the slow part within 31 pixels beyond that source's,
    over pixels where that source deviates by less than 3 levels. 0 where no source is even.
    """
    s = Shared.of(fused, sources, shared)
    height, width = s.size
    if min(height, width) <= COARSE:
        return _nothing(s)
    taps = gaussian_taps(2 * COARSE + 1, COARSE / 2)
    slow = separable(s.images, taps, taps, "symmetric")
    detail = s.images - slow

    def over(x: Tensor) -> Tensor:  # mean over 31 x 31 pixels, mirrored border
        flat = torch.full((COARSE,), 1 / COARSE, dtype=x.dtype, device=x.device)
        return separable(x, flat, flat, "symmetric")

    followed = over((detail[:, :1] - detail[:, 1:]).abs()).argmin(1, keepdim=True)
    deviation = safe_sqrt((over(slow * slow) - over(slow) ** 2).clamp_min(0))
    own = deviation[:, 1:].gather(1, followed)[:, 0]
    even = own < EVEN
    excess = (deviation[:, 0] - own).clamp_min(0) * even
    return excess.sum((1, 2)) / even.sum((1, 2)).clamp_min(1)


def gradient_kept(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Share of the strongest source gradient that the result has, (B,), 0 to 1; any number of sources.

    Sum over pixels of min(|grad F|, max_k |grad S_k|) by the sum of the latter; central differences. NaN for flat sources.
    """
    s = Shared.of(fused, sources, shared)
    gx = (s.images[..., 1:-1, 2:] - s.images[..., 1:-1, :-2]) / 2
    gy = (s.images[..., 2:, 1:-1] - s.images[..., :-2, 1:-1]) / 2
    size = safe_sqrt(gx * gx + gy * gy)
    strongest = size[:, 1:].amax(1)
    return torch.minimum(size[:, 0], strongest).sum((1, 2)) / strongest.sum((1, 2))
