"""`torch.nn.functional` without PyTorch: padding, pooling and filters on NumPy arrays.

Resizing is in `resizing.py`, values at places in `sampling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine_choice import lacks_torch
from .absent import missing
from .resizing import interpolate
from .sampling import grid_sample
from .tensor import Tensor, wrap

__all__ = ["grid_sample", "interpolate"]

MODES = {"reflect": "reflect", "replicate": "edge"}


def pad(x: Tensor, sides: Sequence[int], mode: str = "constant") -> Tensor:
    """More values around the last axes.

    Args:
        x: any shape.
        sides: values before and after, the last axis first; negative ones cut.
        mode: constant (zeros), reflect or replicate.
    """
    pairs = [(sides[k], sides[k + 1]) for k in range(0, len(sides), 2)][::-1]
    pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if min(sides, default=0) < 0:
        kept = [slice(max(-low, 0), side - max(-high, 0)) for (low, high), side in zip(pairs, x.shape, strict=True)]
        x = x[tuple(kept)]
        pairs = [(max(low, 0), max(high, 0)) for low, high in pairs]
    if mode == "constant":  # np.pad takes longer to begin
        out = np.zeros([low + side + high for (low, high), side in zip(pairs, x.shape, strict=True)], x.dtype)
        out[tuple(slice(low, low + side) for (low, _), side in zip(pairs, x.shape, strict=True))] = x.base_array
        return wrap(out)
    options: Any = {"mode": MODES[mode]}
    return wrap(np.pad(x.base_array, pairs, **options))


def _windows(x: Tensor, size: tuple[int, int], step: int) -> np.ndarray:
    """(..., H, W) -> (..., h, w, size): what each place of a pooling sees."""
    seen = np.lib.stride_tricks.sliding_window_view(x.base_array, size, axis=(-2, -1))
    return seen[..., ::step, ::step, :, :]


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def avg_pool2d(
    x: Tensor,
    size: int | tuple[int, int],
    stride: int | None = None,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean over windows of (..., H, W).

    Args:
        x: any shape.
        size: of a window.
        stride: from a window to the next; None: its height.
        ceil_mode: windows that reach over the end count too, as means of what is in them.
        count_include_pad: means nothing, since nothing is padded.
    """
    rows, columns = _pair(size)
    step = stride or rows
    if step == 1:  # by running sums: any length at one cost
        return _running_mean(_running_mean(x.base_array, rows, -2), columns, -1)
    if ceil_mode and (x.shape[-2] % step or x.shape[-1] % step):
        if not rows == columns == step:
            raise lacks_torch("such a pooling")
        return _means_between(x.base_array, [np.append(np.arange(0, side, step), side) for side in x.shape[-2:]])
    if rows == columns == step:
        return _block_means(x.base_array, step)
    return wrap(_windows(x, (rows, columns), step).mean((-2, -1)))


def _block_means(x: np.ndarray, step: int) -> Tensor:
    """Means of squares that lie side by side: rows are added first, which is fast."""
    height, width = (side // step for side in x.shape[-2:])
    rows = x[..., : height * step, : width * step].reshape(*x.shape[:-2], height, step, width * step).sum(-2)
    return wrap(rows.reshape(*rows.shape[:-1], width, step).sum(-1) / x.dtype.type(step * step))


def _running_mean(x: np.ndarray, size: int, axis: int) -> Tensor:
    if size == 1:
        return wrap(x)
    sums = np.cumsum(np.moveaxis(x, axis, 0), 0, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    return wrap(np.moveaxis((sums[size:] - sums[:-size]) / size, 0, axis).astype(x.dtype))


def adaptive_avg_pool2d(x: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Means of (..., H, W) over `size` rows and columns of windows, which may overlap by a value."""
    starts, ends = [], []
    for side, count in zip(x.shape[-2:], _pair(size), strict=True):
        k = np.arange(count)
        starts.append(k * side // count)
        ends.append(-(-(k + 1) * side // count))
    return _means_between(x.base_array, starts, ends)


def _means_between(x: np.ndarray, starts: list[np.ndarray], ends: list[np.ndarray] | None = None) -> Tensor:
    """Means over rows and columns from `starts` to `ends`; without ends, to the next start."""
    out = x.astype(np.float64)
    for axis, k in ((-2, 0), (-1, 1)):
        first, last = (starts[k][:-1], starts[k][1:]) if ends is None else (starts[k], ends[k])
        sums = np.cumsum(np.moveaxis(out, axis, -1), -1)
        sums = np.concatenate([np.zeros_like(sums[..., :1]), sums], -1)
        out = np.moveaxis((sums[..., last] - sums[..., first]) / (last - first), -1, axis)
    return wrap(np.ascontiguousarray(out, x.dtype))


def max_pool2d(x: Tensor, size: int | tuple[int, int], stride: int | None = None, padding: Any = 0) -> Tensor:
    """Largest value in windows of (..., H, W); what lies outside counts as very small."""
    pads, sizes = _pair(padding), _pair(size)
    step, values = stride or sizes[0], x.base_array
    for axis, length, beside in zip((-2, -1), sizes, pads, strict=True):
        sides = [(0, 0)] * x.ndim
        sides[axis] = (beside, beside)
        wide = np.pad(values, sides, constant_values=-np.inf) if beside else values
        values = _running_max(wide, length, axis)
    return wrap(np.ascontiguousarray(values[..., ::step, ::step]))


def _running_max(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Largest of `size` values in a row: windows grow by twice, so their length costs little."""
    x, have, count = np.moveaxis(x, axis, 0), 1, x.shape[axis] - size + 1
    while have < size:
        step = min(have, size - have)
        x = np.maximum(x[:-step], x[step:])
        have += step
    return np.moveaxis(x[:count], 0, axis)


def conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """Planes (B, 1, H, W) by a kernel (1, 1, h, w), without what lies outside.

    Raises:
        FusionError: more than one channel.
    """
    if x.shape[1] != 1 or weight.shape[:2] != (1, 1):
        raise lacks_torch("a convolution over channels")
    taps, planes = weight.base_array[0, 0], x.base_array
    height, width = planes.shape[2] - taps.shape[0] + 1, planes.shape[3] - taps.shape[1] + 1
    out = np.zeros((len(planes), 1, height, width), planes.dtype)
    for (row, column), tap in np.ndenumerate(taps):
        out += planes[..., row : row + height, column : column + width] * tap
    return wrap(out)


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
