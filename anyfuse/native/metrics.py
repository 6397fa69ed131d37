"""Parts of metrics by compiled code (metrics.c), in float64 on the CPU."""

from __future__ import annotations

import numpy as np

from ..arrays import Tensor, torch
from . import Kernels


def mutual_scores(found: Kernels, maps: np.ndarray, scores: np.ndarray, points: np.ndarray) -> bool:
    """`metrics.fmi._score` of all 3x3 windows of maps (1 + N, h, w), float64, the first one against the others: fills
    scores (N, n), float64, and points (N, n), bool. False, and nothing is filled, for maps narrower than a vector."""
    n, h, w = maps.shape
    return not found.run("mutual_scores", np.ascontiguousarray(maps), n - 1, h, w, scores, points)


def phase_filter(found: Kernels, spectrum: Tensor, even: Tensor, odd: Tensor, real: Tensor, imag: Tensor) -> None:
    """spectrum (h, w) complex128, even and odd (h, w) float64 -> real: spectrum * even, imag: -i * spectrum * odd."""
    found.run("phase_filter", spectrum, even, odd, even.numel(), real, imag)


def phase_energy(found: Kernels, real: Tensor, imag: Tensor, settings: list[float], sums: Tensor) -> None:
    """What `metrics.phase.phase_congruency` adds to sums (5, h, w) for the responses of one orientation, real and imag
    (scales, h, w), all float64; settings: threshold, cutoff, gain, epsilon, cosine, sine."""
    numbers = np.array(settings, dtype=np.float64)
    found.run("phase_energy", real, imag, len(real), real[0].numel(), numbers, sums)


def smooth(found: Kernels, x: Tensor, taps: Tensor) -> Tensor:
    """x (..., H, W) float64, correlated along both sides with taps (K,) float64, K odd; zeros beyond the border. Raises
    MemoryError where there is none for a row."""
    x = x.contiguous()
    out = torch.empty_like(x)
    h, w = x.shape[-2:]
    if found.run("smooth", x, x.numel() // (h * w), h, w, taps, len(taps), out):
        raise MemoryError
    return out
