"""Image triples made by arithmetic alone, so that every machine has the same pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def texture(seed: int, height: int, width: int, passes: int) -> Array:
    """Integer noise, box-summed `passes` times along each axis, stretched to levels 0..255."""
    x = np.random.default_rng(seed).integers(0, 256, (height + 2 * passes, width + 2 * passes))
    for _ in range(passes):
        x = x[:-2] + x[1:-1] + x[2:]
        x = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    low, high = int(x.min()), int(x.max())
    return ((x - low) * 255 // (high - low)).astype(np.float64)


def triple(name: str) -> tuple[Array, Array, Array]:
    """First source, second source, fused image; (H, W) levels.

    smooth: soft textures, fused by a rounded mean with a step. noise: strong detail, odd size. flat: clipped blacks and
    whites with flat patches. large: for the metrics with big windows.
    """
    if name == "smooth":
        a, b = texture(1, 56, 64, 3), texture(2, 56, 64, 2)
        f = np.floor((a + b) / 2 + 0.5)
        f[:, 32:] = np.floor((3 * a[:, 32:] + b[:, 32:]) / 4 + 0.5)
    elif name == "noise":
        a, b = texture(3, 51, 47, 1), texture(4, 51, 47, 0)
        f = np.where((np.arange(47) // 8 % 2 == 0)[None], a, b)
    elif name == "flat":
        a, b = texture(5, 48, 64, 3), texture(6, 48, 64, 3)
        a, b = np.clip(2 * a - 200, 0, 255), np.clip(3 * b - 200, 0, 255)
        f = np.maximum(a, np.floor(b / 2))
    elif name == "large":
        a, b = texture(7, 194, 203, 2), texture(8, 194, 203, 4)
        f = np.floor((a + 2 * b) / 3)
    else:
        raise KeyError(name)
    return a, b, f


NAMES = ("smooth", "noise", "flat", "large")
