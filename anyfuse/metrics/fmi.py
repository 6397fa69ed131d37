"""Feature mutual information (Haghighat, Aghagolzadeh, Seyedarabi 2011; fast FMI, Haghighat and Razian 2014).

On a feature map, every 3x3 window of a source and of the fused image becomes a distribution over its nine positions.
Their joint distribution is built from the correlation of the two by Nelsen's mixture of independence with the upper
(positive correlation) or lower (negative) Frechet bound; the window scores 2 I / (H + H'), the metric is the mean over
windows and sources. All windows are handled at once, by compiled code where it is there, else a few thousand at a time.

Published code calls the 'edge' feature by default: "FMI" in MEFB and "FMI_pixel" of TANG are `fmi_edge` here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..native import kernels
from ..native import metrics as compiled
from .shared import Shared, correlate, pad, sobel

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
CHUNK = 8192  # windows at a time
TINY = 1e-300  # keeps log away from 0, vanishes beside any other number
_POSITIONS = np.arange(1.0, 10.0)


# Features: (B, K, H, W) -> (B, K, h, w)


def _pixels(s: Shared) -> Tensor:
    return s.images


def _gradient(s: Shared) -> Tensor:
    """Horizontal central differences, one-sided at the border."""
    return torch.gradient(s.images, dim=-1)[0]


def _edges(s: Shared) -> Tensor:
    """MATLAB's edge(x): Sobel, replicated border, automatic threshold, thinned; 0 or 1."""
    gx, gy = sobel(s.images, "replicate")
    gx, gy = (gx / 8).abs(), (gy / 8).abs()
    square = gx * gx + gy * gy
    strong = square > 4 * square.mean((-2, -1), keepdim=True)
    around = torch.nn.functional.pad(square, (1, 1, 1, 1), value=-1.0)
    left, right = around[..., 1:-1, :-2], around[..., 1:-1, 2:]
    above, below = around[..., :-2, 1:-1], around[..., 2:, 1:-1]
    slack = 100 * 2.0**-52
    across = (gx >= gy - slack) & (left <= square) & (square > right)
    down = (gy >= gx - slack) & (above <= square) & (square > below)
    return (strong & (across | down)).to(square.dtype)


def _dct(s: Shared) -> Tensor:
    """Orthonormal two-dimensional DCT-II of the whole image."""

    def matrix(n: int) -> Tensor:
        k = torch.arange(n, dtype=torch.float64, device=s.images.device)
        m = torch.cos(torch.outer(k, 2 * k + 1) * (math.pi / (2 * n))) * math.sqrt(2 / n)
        m[0] /= math.sqrt(2)
        return m

    return matrix(s.size[0]) @ s.images @ matrix(s.size[1]).T


def meyer_taps() -> list[float]:
    """Low-pass taps of the discrete Meyer wavelet: the 101 central taps of the ideal filter behind a zero.

    MATLAB's 'dmey' within 1e-11 (PyWavelets' has 62 taps and is another filter).
    """
    n = 4096
    w = torch.arange(n // 2 + 1, dtype=torch.float64) * (2 * math.pi / n)
    x = (3 * w / math.pi - 1).clamp(0, 1)
    response = torch.cos(math.pi / 2 * x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3))
    response[w >= 2 * math.pi / 3] = 0
    impulse = torch.fft.irfft(response, n=n) * math.sqrt(2)
    half = impulse[:51].tolist()
    return [0.0, *reversed(half[1:]), *half]


def _wavelet(s: Shared) -> Tensor:
    """One level of the discrete Meyer wavelet, mirrored border, four bands as one image stretched to 0..1."""
    low = meyer_taps()
    high = [-v if k % 2 == 0 else v for k, v in enumerate(reversed(low))]
    edge = len(low) - 1
    x = pad(s.images, (edge, edge), (edge, edge), "symmetric")

    def along(x: Tensor, taps: list[float], dim: int) -> Tensor:
        return correlate(x.narrow(dim, 1, x.shape[dim] - 1), taps[::-1], dim, step=2)

    rows = [along(x, taps, -1) for taps in (low, high)]
    (a, v), (h, d) = ([along(part, taps, -2) for taps in (low, high)] for part in rows)
    tiled = torch.cat([torch.cat([a, v], -1), torch.cat([h, d], -1)], -2)
    least, most = tiled.amin((-2, -1), keepdim=True), tiled.amax((-2, -1), keepdim=True)
    return (tiled - least) / (most - least)


FEATURES: dict[str, Callable[[Shared], Tensor]] = {
    "pixel": _pixels,
    "gradient": _gradient,
    "edge": _edges,
    "dct": _dct,
    "wavelet": _wavelet,
}


# Windows; without compiled code in NumPy, whose loops over small blocks that stay in the cache are faster here


@dataclass
class _Windows:
    """n windows of one image as distributions over nine positions, columns first."""

    p: Array  # (9, n)
    cdf: Array  # (9, n)
    cdf_sum: Array  # (n,)
    spread: Array  # (n,) standard deviation of the position
    entropy: Array  # (n,) nats
    square: Array  # (n,) sum p^2 - 1/9; 0 marks a constant window
    point: npt.NDArray[np.bool_]  # (n,) all mass at one position


def _describe(raw: Array) -> _Windows:
    least, most = raw.min(0), raw.max(0)
    flat = most == least
    p = raw - least
    p += flat  # constant windows become ones
    p /= p.sum(0)
    cdf = np.empty_like(p)
    cdf[0] = p[0]
    for i in range(1, 9):
        np.add(cdf[i - 1], p[i], out=cdf[i])
    mean = _POSITIONS @ p
    spread = np.sqrt(np.maximum(_POSITIONS**2 @ p - mean * mean, 0))
    log = np.log(p + TINY)
    log *= p
    square = np.where(flat, 0.0, (p * p).sum(0) - 1 / 9)
    return _Windows(p, cdf, cdf.sum(0), spread, -log.sum(0), square, p.max(0) == 1)


def _score(source: _Windows, fused: _Windows) -> Array:
    """(n,) 2 I / (H_S + H_F) of each pair of windows; 1 if both are constant, 0 if both are single points."""
    norm = np.sqrt(source.square * fused.square)
    correlation = np.zeros_like(norm)
    np.divide((source.p * fused.p).sum(0) - 1 / 9, norm, out=correlation, where=norm > 0)
    negative = correlation < 0
    # the lower bound max(F + S - 1, 0) is F - min(F, 1 - S): one minimum serves both bounds
    partner = np.where(negative, 1 - source.cdf, source.cdf)
    part = np.empty_like(fused.cdf)
    total = np.zeros_like(part)
    for j in range(9):
        total += np.minimum(fused.cdf, partner[j], out=part)
    bound = total.sum(0)
    bound = np.where(negative, 9 * fused.cdf_sum - bound, bound)
    covariance = bound - fused.cdf_sum * source.cdf_sum
    weight = np.zeros_like(norm)
    np.divide(correlation * (source.spread * fused.spread), covariance, out=weight, where=covariance != 0)

    rest = fused.p * (1 - weight)
    signed = np.where(negative, -weight, weight)
    previous = np.where(negative, fused.cdf, 0.0)
    current, step, terms = part, np.empty_like(part), np.zeros_like(part)
    for j in range(9):
        np.minimum(fused.cdf, partner[j], out=current)
        np.subtract(current, previous, out=previous)
        step[0] = previous[0]
        np.subtract(previous[1:], previous[:-1], out=step[1:])
        step *= signed
        np.multiply(rest, source.p[j], out=previous)
        step += previous
        np.abs(step, out=previous)
        previous += TINY
        np.log(previous, out=previous)
        previous *= step
        terms += previous
        previous, current = current, previous
    marginal = source.entropy + fused.entropy
    flat = (source.square == 0) & (fused.square == 0)
    point = source.point & fused.point
    score = np.zeros_like(norm)
    np.divide(2 * (marginal + terms.sum(0)), marginal, out=score, where=~point)
    score[flat] = 1
    return score


def _with_points(scores: Array, points: Flags, raw: Array) -> tuple[Array, Array]:
    """Scores (N, n) where windows of single points, marked in points (N, n), score 1 if identical and 0 if not; and the
    same as published. raw: the windows (1 + N, 9, n), fused first.

    The original compares the second source with a fused window that the first comparison has already scaled, so that
    identical single-point windows there score 0.
    """
    published = scores.copy()
    for k, both in enumerate(map(np.flatnonzero, points)):
        if not len(both):
            continue
        f, s = raw[0][:, both], raw[k + 1][:, both]
        scores[k, both] = published[k, both] = (s == f).all(0)
        if k == 1:
            scaled = (f - f.min(0)) / (f.max(0) - f.min(0))
            f = np.where((raw[1][:, both] == f).all(0), f, scaled)
            published[k, both] = (s == f).all(0)
    return scores, published


def _windows_of(feature: Array, top: int, bottom: int) -> Array:
    """(9, n) 3x3 windows with their first row in top..bottom, columns first."""
    width = feature.shape[-1] - 2
    out = np.empty((9, bottom - top, width))
    for k in range(9):
        i, j = k % 3, k // 3
        out[k] = feature[top + i : bottom + i, j : j + width]
    return out.reshape(9, -1)


def _window_scores(features: Array) -> tuple[Array, Flags]:
    """Feature maps (1 + N, h, w), fused first -> `_score` of all windows (N, n), n = (h - 2) (w - 2); and which are
    single points in both.
    """
    count, height, width = len(features) - 1, features.shape[-2] - 2, features.shape[-1] - 2
    scores, points = np.empty((count, height * width)), np.zeros((count, height * width), dtype=np.bool_)
    found = kernels()
    if found is not None and compiled.mutual_scores(found, features, scores, points):
        return scores, points
    rows = max(1, CHUNK // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        fused, *sources = (_describe(_windows_of(f, top, bottom)) for f in features)
        part = slice(top * width, bottom * width)
        for k, source in enumerate(sources):
            scores[k, part], points[k, part] = _score(source, fused), source.point & fused.point
    return scores, points


def _mean_scores(features: Array) -> tuple[float, float]:
    """FMI of feature maps (1 + N, h, w), fused first; and the same as published."""
    scores, points = _window_scores(features)
    total = scores.sum(1)
    some = np.flatnonzero(points.any(0))
    rows, columns = np.divmod(some, features.shape[-1] - 2)
    raw = np.stack([features[:, rows + k % 3, columns + k // 3] for k in range(9)], 1)
    plain, published = (np.sum(total + kind.sum(1)) for kind in _with_points(scores[:, some], points[:, some], raw))
    apart = scores[:, some].sum()
    return float(plain - apart) / scores.size, float(published - apart) / scores.size


def _binary_mean_score(features: Array) -> float:
    """The same for maps of 0 and 1: there are 512 windows, so only the pairs that occur are computed."""
    height, width = features.shape[-2] - 2, features.shape[-1] - 2
    codes = np.zeros((len(features), height, width), dtype=np.int32)
    bits = features.astype(np.int32)
    for k in range(9):
        i, j = k % 3, k // 3
        codes |= bits[:, i : i + height, j : j + width] << k
    shifts = np.arange(9)[:, None]
    total = 0.0
    for code in codes[1:]:
        counts = np.bincount((code * 512 + codes[0]).ravel(), minlength=1 << 18)
        pairs = np.flatnonzero(counts)
        source, fused = ((c >> shifts & 1).astype(np.float64) for c in (pairs // 512, pairs % 512))
        both = _describe(source), _describe(fused)
        points = both[0].point & both[1].point
        scores, _ = _with_points(_score(*both)[None], points[None], np.stack([fused, source]))
        total += float(scores[0] @ counts[pairs])
    return total / (height * width * (len(features) - 1))


def fmi(
    fused: Tensor,
    sources: Tensor,
    shared: Shared | None = None,
    feature: str = "edge",
    as_published: bool = False,
) -> Tensor:
    """Feature mutual information, (B,), mean over the sources; feature one of FEATURES.

    Range 0..1 but for windows where the mixture leaves the Frechet bounds; higher is better. float64, not
    differentiable, any number of sources, symmetric in them unless `as_published` (the original's comparison of the
    second source, see `_pair_scores`; up to 2e-3 lower on nearly flat images). Needs 3x3 pixels.
    """
    s = Shared.of(fused, sources, shared).double()
    s.at_least(3, 3, f"fmi_{feature}")

    def make() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            maps = FEATURES[feature](s).cpu().numpy()
        if feature == "edge":
            values = [(one := _binary_mean_score(m), one) for m in maps]
        else:
            values = [_mean_scores(m) for m in maps]
        plain, published = torch.tensor(values, dtype=torch.float64, device=s.images.device).unbind(1)
        return s.keep_nan(plain), s.keep_nan(published)

    return s.once(("fmi", feature), make)[as_published]


def fmi_pixel(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """FMI of the grey values themselves; .34 to .62 measured. Tables rarely hold it: see `fmi_edge`."""
    return fmi(fused, sources, shared, "pixel")


def fmi_pixel_tang(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`fmi_pixel` with the original's asymmetric test for identical windows (TANG feature 'none')."""
    return fmi(fused, sources, shared, "pixel", as_published=True)


def fmi_gradient(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """FMI of horizontal gradients (the code uses only this component); .43 to .55 measured."""
    return fmi(fused, sources, shared, "gradient")


def fmi_gradient_tang(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`fmi_gradient` with the original's asymmetric test for identical windows."""
    return fmi(fused, sources, shared, "gradient", as_published=True)


def fmi_edge(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """FMI of thinned Sobel edges: what MEFB calls FMI, TANG FMI_pixel, and TITA's tables (.896); .75 to .92
    measured.
    """
    return fmi(fused, sources, shared, "edge")


def fmi_dct(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """FMI of the DCT of the whole image; .32 to .46 measured."""
    return fmi(fused, sources, shared, "dct")


def fmi_wavelet(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """FMI of one level of the discrete Meyer wavelet (102 taps as in MATLAB); about .48."""
    return fmi(fused, sources, shared, "wavelet")
