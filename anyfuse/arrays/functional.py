"""`torch.nn.functional` without PyTorch: padding, pooling and resizing on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..engine_choice import lacks_torch
from .absent import missing
from .tensor import Tensor, wrap

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def pad(x: Tensor, sides: Sequence[int], mode: str = "constant") -> Tensor:
    """More values around the last axes.

    Args:
        x: any shape.
        sides: values before and after, the last axis first.
        mode: constant (zeros), reflect or replicate.
    """
    pairs = [(sides[k], sides[k + 1]) for k in range(0, len(sides), 2)][::-1]
    options: Any = {"mode": MODES[mode]}
    return wrap(np.pad(x.base_array, [(0, 0)] * (x.ndim - len(pairs)) + pairs, **options))


def _windows(x: Tensor, size: tuple[int, int], step: int) -> np.ndarray:
    """(..., H, W) -> (..., h, w, size): what each place of a pooling sees."""
    seen = np.lib.stride_tricks.sliding_window_view(x.base_array, size, axis=(-2, -1))
    return seen[..., ::step, ::step, :, :]


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def avg_pool2d(x: Tensor, size: int | tuple[int, int], stride: int | None = None) -> Tensor:
    """Mean over windows of (..., H, W)."""
    rows, columns = _pair(size)
    step = stride or rows
    if step == 1 and 1 in (rows, columns):  # by running sums: any length at one cost
        axis = -2 if columns == 1 else -1
        return _running_mean(x.base_array, rows * columns, axis)
    return wrap(_windows(x, (rows, columns), step).mean((-2, -1)))


def _running_mean(x: np.ndarray, size: int, axis: int) -> Tensor:
    sums = np.cumsum(np.moveaxis(x, axis, 0), 0, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    return wrap(np.moveaxis((sums[size:] - sums[:-size]) / size, 0, axis).astype(x.dtype))


def max_pool2d(x: Tensor, size: int | tuple[int, int], stride: int | None = None, padding: Any = 0) -> Tensor:
    """Largest value in windows of (..., H, W); what lies outside counts as very small."""
    rows, columns = _pair(padding)
    sides = [(0, 0)] * (x.ndim - 2) + [(rows, rows), (columns, columns)]
    wide = wrap(np.pad(x.base_array, sides, constant_values=-np.inf))
    return wrap(_windows(wide, _pair(size), stride or _pair(size)[0]).max((-2, -1)))


def interpolate(
    x: Tensor,
    size: tuple[int, int] | None = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """(B, C, H, W) at another size: bilinear at a whole multiple, or bicubic with antialiasing, as Pillow has it."""
    if mode == "bicubic" and antialias and size is not None:
        height, width = size
        planes = x.base_array.reshape(-1, *x.shape[-2:]).astype(np.float32)
        new = [Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in planes]
        return wrap(np.stack([np.asarray(plane) for plane in new]).reshape(*x.shape[:-2], height, width))
    if mode == "bilinear" and scale_factor and not align_corners:
        for axis in (-2, -1):
            x = _stretched(x, int(scale_factor), axis)
        return x
    raise lacks_torch(f"resizing ({mode})")


def _stretched(x: Tensor, factor: int, axis: int) -> Tensor:
    """Linear interpolation along one axis, `factor` times as long; the ends are continued."""
    length = x.shape[axis]
    places = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, length - 1)
    share = (places - low).astype(x.dtype).reshape([-1] + [1] * (-axis - 1))
    values = x.base_array
    return wrap(np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share)


def grid_sample(grid: Tensor, points: Tensor, padding_mode: str = "zeros", align_corners: bool = False) -> Tensor:
    """Values of a grid (1, 1, D, H, W) at points (1, 1, h, w, 3), from -1 to 1, width first -> (1, 1, 1, h, w).

    Linear along each axis; beyond the grid its border counts.
    """
    if padding_mode != "border" or not align_corners or grid.shape[:2] != (1, 1) or grid.ndim != 5:
        raise lacks_torch("such a sampling of a grid")
    values = grid.base_array[0, 0]
    low, share = [], []
    for axis, size in enumerate(values.shape):
        place = np.clip((points.base_array[0, 0, ..., 2 - axis] + 1) / 2 * (size - 1), 0, size - 1)
        low.append(np.minimum(np.floor(place).astype(int), max(size - 2, 0)))
        share.append(place - low[-1])
    out = np.zeros(share[0].shape, values.dtype)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([s if up else 1 - s for s, up in zip(share, corner, strict=True)], axis=0)
        at = tuple(np.minimum(a + up, n - 1) for a, up, n in zip(low, corner, values.shape, strict=True))
        out += (weight * values[at]).astype(values.dtype)
    return wrap(out[None, None, None])


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """(..., C factor^2, H, W) -> (..., C, H factor, W factor)"""
    *lead, channels, height, width = x.shape
    parts = x.base_array.reshape(*lead, channels // factor**2, factor, factor, height, width)
    k = len(lead)
    order = [*range(k), k, k + 3, k + 1, k + 4, k + 2]
    return wrap(parts.transpose(order).reshape(*lead, channels // factor**2, height * factor, width * factor))


def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    """(..., C, H factor, W factor) -> (..., C factor^2, H, W)"""
    *lead, channels, height, width = x.shape
    parts = x.base_array.reshape(*lead, channels, height // factor, factor, width // factor, factor)
    k = len(lead)
    order = [*range(k), k, k + 2, k + 4, k + 1, k + 3]
    return wrap(parts.transpose(order).reshape(*lead, channels * factor**2, height // factor, width // factor))


def __getattr__(name: str) -> Any:
    return missing("torch.nn.functional", name)
