"""What people look at: hot targets, lit things, even skies, exposures. Ours; docs/metrics.md has the limits.

The classical metrics hardly notice a man who is erased. These do. Targets and lit things are those of an
infrared-visible pair, infrared first, as `bench --task ivf` gives them. Where a measure does not apply, the value is
NaN, and NaN counts neither in means nor in ranks. All images have grey levels 0 to 255.

    hot     infrared over its mean + 2.5 deviations, and over visible by 50; opened 3x3
    ring    7 to 25 pixels around hot
    lit     visible at or above min(200, its 99th percentile), and over infrared by 60

Below those of `METRICS` stand measures that need more than grey levels: a box (boxed_contrast), colour (chroma_kept,
contrast_kept) or a known truth (sharp_share).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from anyfuse.errors import FusionError

from .shared import Shared, gaussian_taps, safe_sqrt, separable

DEVIATIONS, OVER_VISIBLE = 2.5, 50.0
NEAR, FAR = 7, 25
LEAST = 10.0
"""Levels between an object and its ring in the infrared image, below which a contrast kept means nothing."""
LIT, OVER_INFRARED = 200.0, 60.0
COARSE, EVEN = 31, 3.0
"""Blotches: pixels over which variation is slow, and levels of it below which a source is even."""
ROUNDING = 1e-5
"""Levels of variation that arithmetic alone may give a copy."""
DARK, EXPOSED, WINDOW = 40.0, (64.0, 192.0), 15
"""Noise: mean level of a dark place, of a well exposed one, and the pixels over which means are taken."""
TELLING = 4.0
"""Levels between two sources, below which nobody can say which of them a pixel was taken from."""


# ---------------------------------------------------------------------- targets and lit things


def hot_pixels(sources: Tensor) -> Tensor:
    """Targets (B, H, W) bool of infrared-visible pairs (B, 2, H, W)."""
    infrared, visible = sources.unbind(1)
    mean = infrared.mean((1, 2), keepdim=True)
    deviation = infrared.std((1, 2), keepdim=True, correction=0)
    hot = (infrared > mean + DEVIATIONS * deviation) & (infrared > visible + OVER_VISIBLE)
    return _dilate(~_dilate(~hot, 1), 1)


def ring_of(mask: Tensor) -> Tensor:
    """Pixels (B, H, W) bool from 7 to 25 pixels around a mask, in squares."""
    return _dilate(mask, FAR) & ~_dilate(mask, NEAR)


def lit_pixels(sources: Tensor) -> Tensor:
    """Lit things (B, H, W) bool of infrared-visible pairs (B, 2, H, W)."""
    infrared, visible = sources.unbind(1)
    flat = visible.flatten(1)
    top = flat.kthvalue(math.ceil(0.99 * flat.shape[1]), 1).values[:, None, None]
    return (visible >= top.clamp_max(LIT)) & (visible > infrared + OVER_INFRARED)


def target_contrast(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """(fused hot - fused ring) / (infrared hot - infrared ring), (B,): 1 keeps a target's contrast, 0 erases it, below
    0 turns it dark.

    Infrared-visible pairs, infrared first. NaN for other numbers of sources, without hot pixels, and where the infrared
    contrast is below 10 levels. Differentiable in the fused image.
    """
    s = Shared.of(fused, sources, shared)
    if s.sources.shape[1] != 2:
        return _nothing(s)
    hot = s.once("hot", lambda: hot_pixels(s.sources))
    ring, infrared = ring_of(hot), s.sources[:, 0]
    given = _mean(infrared, hot) - _mean(infrared, ring)
    kept = _mean(s.fused, hot) - _mean(s.fused, ring)
    return torch.where(given >= LEAST, kept / given, math.nan)


def target_level(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Fused / infrared level of hot pixels, (B,). NaN without any, or without two sources. Differentiable."""
    s = Shared.of(fused, sources, shared)
    if s.sources.shape[1] != 2:
        return _nothing(s)
    hot = s.once("hot", lambda: hot_pixels(s.sources))
    return _mean(s.fused, hot) / _mean(s.sources[:, 0], hot)


def lit_level(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Fused / visible level of lit pixels, (B,): white skies, lamps, road markings. NaN without any, or where there are
    not two sources. Differentiable.
    """
    s = Shared.of(fused, sources, shared)
    if s.sources.shape[1] != 2:
        return _nothing(s)
    lit = lit_pixels(s.sources)
    return _mean(s.fused, lit) / _mean(s.sources[:, 1], lit)


# ---------------------------------------------------------------------- even areas, any number of sources


def blotch(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Slow variation of the result that no source has, where the source that it follows is even, (B,), in levels.

    Slow: blurred by a Gaussian of 15.5 pixels. Variation: the deviation within 31x31 pixels. At each pixel the result
    follows the source whose detail (image less its slow part) is nearest in the mean over 31x31 pixels; it is even
    where its slow part varies by less than 3 levels. Counted there, in the mean, is what the result varies beyond the
    source that varies most. 0 for copies and averages with constant weights, and where nothing is even. Needs 32x32
    pixels.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(COARSE + 1, COARSE + 1, "blotch")
    images = s.images.double()  # differences of squares
    taps = gaussian_taps(2 * COARSE + 1, COARSE / 2)
    slow = separable(images, taps, taps, "symmetric")
    detail = images - slow
    followed = _over((detail[:, :1] - detail[:, 1:]).abs(), COARSE).argmin(1, keepdim=True)
    centred = slow - slow.mean((2, 3), keepdim=True)
    varied = safe_sqrt((_over(centred * centred, COARSE) - _over(centred, COARSE) ** 2).clamp_min(0))
    even = varied[:, 1:].gather(1, followed)[:, 0] < EVEN
    beyond = (varied[:, 0] - varied[:, 1:].amax(1) - ROUNDING).clamp_min(0)
    return ((beyond * even).sum((1, 2)) / even.sum((1, 2)).clamp_min(1)).to(s.images)


def gradient_kept(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Share of the strongest source gradient that the result has, (B,), 0 to 1; any number of sources.

    Sum over pixels of min(|grad F|, max_k |grad S_k|) by the sum of the latter; central differences. More than the
    strongest earns nothing. NaN for flat sources. Needs 3x3 pixels. Differentiable.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(3, 3, "gradient_kept")
    gx = (s.images[..., 1:-1, 2:] - s.images[..., 1:-1, :-2]) / 2
    gy = (s.images[..., 2:, 1:-1] - s.images[..., :-2, 1:-1]) / 2
    size = safe_sqrt(gx * gx + gy * gy)
    strongest = size[:, 1:].amax(1)
    return torch.minimum(size[:, 0], strongest).sum((1, 2)) / strongest.sum((1, 2))


def dark_noise(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Noise of the darkest source that the result has taken over where another is well exposed, (B,), in levels.

    Fine: an image less its 3x3 mean. Noise: the fine part of the darkest source (the lowest mean) that a regression on
    the fine part of the best exposed other source leaves, within 15x15 pixels. The result's share of it is its
    covariance with the noise by the deviation of the noise, in the mean over the places where the darkest source is
    below 40 and the other one within 64 to 192, both in the mean over 15x15 pixels. 0 for a copy of a well exposed
    source, the deviation of the noise for a copy of the dark one, negative where the result works against the noise.
    NaN for one source, or where such places are less than a hundredth of the image. Needs 15x15 pixels.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(WINDOW, WINDOW, "dark_noise")
    if s.sources.shape[1] < 2:
        return _nothing(s)
    level = _over(s.sources, WINDOW)
    fine = s.images - _over(s.images, 3)
    darkest = s.sources.mean((2, 3)).argmin(1)
    batch = torch.arange(len(darkest), device=darkest.device)
    dark, result = fine[batch, darkest + 1], fine[:, 0]
    off = (level - 128).abs()
    off[batch, darkest] = math.inf  # the darkest is no alternative to itself
    best = off.argmin(1, keepdim=True)
    alternative = level.gather(1, best)[:, 0]
    place = (level[batch, darkest] < DARK) & (alternative >= EXPOSED[0]) & (alternative <= EXPOSED[1])

    def covariance(a: Tensor, b: Tensor) -> Tensor:
        return _over(a * b, WINDOW) - _over(a, WINDOW) * _over(b, WINDOW)

    taken = torch.zeros_like(result)
    for k in range(s.sources.shape[1]):
        exposed = fine[:, k + 1]
        both, own = covariance(dark, exposed), covariance(exposed, exposed)
        gain = torch.where(own > 1e-9, both / own.clamp_min(1e-9), 0)
        noise = (covariance(dark, dark) - gain * both).clamp_min(0)
        shared_noise = covariance(result, dark) - gain * covariance(result, exposed)
        here = torch.where(noise > 1e-6, shared_noise / safe_sqrt(noise.clamp_min(1e-6)), 0)
        taken = torch.where(best[:, 0] == k, here, taken)
    enough = place.sum((1, 2)) * 100 >= place[0].numel()
    return torch.where(enough, _mean(taken, place), math.nan)


# ---------------------------------------------------------------------- with a box, in colour, with a truth


def boxed_contrast(fused: Tensor, infrared: Tensor, box: tuple[int, int, int, int], sign: bool = True) -> float:
    """Contrast of a boxed object against its ring, fused over infrared: 1 kept, 0 erased. No threshold is in it.

    fused, infrared: (H, W). box: x0, y0, x1, y1 in pixels, x1 and y1 outside. The object is the middle half of the box,
    in width and height: a box has background in its corners. The ring is a frame around the box, a quarter of its
    shorter side (at least 3 pixels) away and half of it (at least 5) wide. NaN where the infrared contrast is below 10
    levels in size, and with `sign` where the object is not warmer than its ring.
    """
    inner, ring = _box_and_ring(infrared.shape, box)
    given = float(infrared[inner].double().mean() - infrared[ring].double().mean())
    kept = float(fused[inner].double().mean() - fused[ring].double().mean())
    usable = given >= LEAST if sign else abs(given) >= LEAST
    return kept / given if usable else math.nan


def boxed_level(fused: Tensor, visible: Tensor, box: tuple[int, int, int, int]) -> float:
    """Fused / visible level of a boxed lamp, (H, W) images: over the brightest quarter of the visible box."""
    x0, y0, x1, y1 = _checked(visible.shape, box)
    lamp, there = visible[y0:y1, x0:x1].double(), fused[y0:y1, x0:x1].double()
    bright = lamp >= torch.quantile(lamp.flatten(), 0.75)
    level = float(lamp[bright].mean())
    return float(there[bright].mean()) / level if level > 0 else math.nan


def chroma_kept(fused: Tensor, sources: Tensor) -> Tensor:
    """Mean chroma of the result by that of the best exposed source at each pixel, (B,); 1 keeps it, less is pale.

    fused (B, 3, H, W), sources (B, N, 3, H, W): sRGB levels 0..255. Chroma: sqrt(a*^2 + b*^2) of CIELAB, D65. Best
    exposed: the mean of L* over 15x15 pixels is nearest to 50. NaN for grey sources.
    """
    lab, best = _lab_and_best(fused, sources)
    chroma = (lab[:, :, 1] ** 2 + lab[:, :, 2] ** 2).sqrt()
    given = chroma[:, 1:].gather(1, best)[:, 0].mean((1, 2))
    return torch.where(given > 0.5, chroma[:, 0].mean((1, 2)) / given, math.nan)


def contrast_kept(fused: Tensor, sources: Tensor) -> Tensor:
    """Deviation of L* within 31x31 pixels, in the mean, by that of the best exposed source at each pixel, (B,).

    Images and best exposed source as of `chroma_kept`. Below 1 the result is flat or veiled. NaN for flat sources.
    """
    lab, best = _lab_and_best(fused, sources)
    light = lab[:, :, 0]
    varied = (_over(light * light, COARSE) - _over(light, COARSE) ** 2).clamp_min(0).sqrt()
    given = varied[:, 1:].gather(1, best)[:, 0].mean((1, 2))
    return torch.where(given > 0.1, varied[:, 0].mean((1, 2)) / given, math.nan)


def sharp_share(fused: Tensor, sources: Tensor, truth: Tensor) -> Tensor:
    """Share of the pixels that were taken from the sharper source, (B,), where that is known.

    fused (B, H, W), sources (B, N, H, W) levels 0..255, truth (B, H, W) the index of the sharper source. Counted are
    pixels where every other source is 4 levels or more from the sharper one; taken from it is a pixel that is nearer to
    it than to any other. NaN where no pixel tells.
    """
    if truth.shape != fused.shape:
        raise FusionError(
            f"truth {tuple(truth.shape)} and fused {tuple(fused.shape)} differ in size: give one of one size"
        )
    index = truth.long()[:, None]
    sharp = sources.gather(1, index)
    other = torch.ones_like(sources, dtype=torch.bool).scatter(1, index, False)
    telling = (((sources - sharp).abs() >= TELLING) | ~other).all(1)
    distance = (sources - fused[:, None]).abs()
    nearest = distance.masked_fill(~other, math.inf).amin(1)
    taken = distance.gather(1, index)[:, 0] < nearest
    return _mean(taken.to(fused), telling)


# ---------------------------------------------------------------------- parts


def _nothing(s: Shared) -> Tensor:
    return torch.full_like(s.fused[:, 0, 0], math.nan)


def _dilate(mask: Tensor, radius: int) -> Tensor:
    """(B, H, W) bool, by a square of 2 radius + 1 pixels."""
    size = 2 * radius + 1
    grown = F.max_pool2d(mask[:, None].float(), (size, 1), 1, (radius, 0))
    return F.max_pool2d(grown, (1, size), 1, (0, radius))[:, 0] > 0


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean (B,) of values (B, H, W) under a mask; NaN where it is empty."""
    return (values * mask).sum((1, 2)) / mask.sum((1, 2)).to(values)


def _over(x: Tensor, size: int) -> Tensor:
    """Mean over size x size pixels, mirrored border."""
    taps = [1 / size] * size
    return separable(x, taps, taps, "symmetric")


def _lab_and_best(fused: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    """CIELAB (B, 1 + N, 3, H, W) of result and sources, and the index (B, 1, H, W) of the best exposed source."""
    if fused.ndim != 4 or fused.shape[1] != 3 or sources.ndim != 5 or sources.shape[2:] != fused.shape[1:]:
        raise FusionError(
            f"give fused (B, 3, H, W) and sources (B, N, 3, H, W), not {tuple(fused.shape)} and {tuple(sources.shape)}"
        )
    lab = to_lab(torch.cat([fused[:, None].double(), sources.double()], 1))
    off = (_over(lab[:, 1:, 0], WINDOW) - 50).abs()
    return lab, off.argmin(1, keepdim=True)


def to_lab(rgb: Tensor) -> Tensor:
    """sRGB levels (..., 3, H, W) 0..255 -> CIELAB, D65: L* 0..100, a*, b*."""
    v = rgb / 255
    linear = torch.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    r, g, b = linear.unbind(-3)
    x = (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047
    y = 0.2126729 * r + 0.7151522 * g + 0.0721750 * b
    z = (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883
    xyz = torch.stack([x, y, z], -3)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-12) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    fx, fy, fz = f.unbind(-3)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], -3)


def _checked(size: tuple[int, ...], box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 <= size[0]):
        raise FusionError(f"box {x0}, {y0}, {x1}, {y1} does not lie in an image of {size[1]}x{size[0]} pixels")
    return box


def _box_and_ring(size: tuple[int, ...], box: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Masks (H, W) bool of the middle half of a box and of the ring around it."""
    x0, y0, x1, y1 = _checked(size, box)
    width, height = x1 - x0, y1 - y0
    side = min(width, height)
    gap, wide = max(3, side // 4), max(5, side // 2)

    def area(by: int) -> Tensor:
        mask = torch.zeros(size, dtype=torch.bool)
        mask[max(0, y0 - by) : y1 + by, max(0, x0 - by) : x1 + by] = True
        return mask

    inner = torch.zeros(size, dtype=torch.bool)
    inner[y0 + height // 4 : y1 - height // 4, x0 + width // 4 : x1 - width // 4] = True
    return inner, area(gap + wide) & ~area(gap)
