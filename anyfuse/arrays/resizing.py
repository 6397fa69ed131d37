"""`torch.nn.functional.interpolate` without PyTorch. Pixel centres lie at half numbers, unless corners are aligned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from ..engine_choice import lacks_torch
from .tensor import Tensor, wrap

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
"""Antialiased modes: PyTorch's are Pillow's."""
CUBIC = -0.75
"""Slope of the cubic kernel at 1, without antialiasing."""


def interpolate(
    x: Tensor,
    size: Sequence[int] | None = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """(B, C, H, W) at another size, bilinear or bicubic; with antialiasing as Pillow has it.

    Args:
        x: any channels.
        size: height and width of the result; None: `scale_factor` times as large.
        scale_factor: both sides grow by it.
        mode: bilinear or bicubic; nearest without antialiasing.
        align_corners: only False and None are there.
        antialias: a smaller image is filtered first.

    Raises:
        FusionError: another mode.
    """
    if align_corners or mode not in ("nearest", *FILTERS) or (antialias and mode == "nearest"):
        raise lacks_torch(f"resizing ({mode})")
    height, width = size if size is not None else (int(side * (scale_factor or 1)) for side in x.shape[-2:])
    if antialias:
        return _filtered(x, height, width, FILTERS[mode])
    along = {"nearest": _nearest, "bilinear": _linear, "bicubic": _cubic}[mode]
    values = x.base_array
    for axis, length in ((-2, height), (-1, width)):
        step = 1 / scale_factor if size is None and scale_factor else values.shape[axis] / length
        values = _along(values, axis, length, step, along)
    return wrap(values)


def _filtered(x: Tensor, height: int, width: int, kind: Image.Resampling) -> Tensor:
    planes = np.ascontiguousarray(x.base_array.reshape(-1, *x.shape[-2:]), np.float32)
    new = [np.asarray(Image.fromarray(plane).resize((width, height), kind)) for plane in planes]
    return wrap(np.stack(new).reshape(*x.shape[:-2], height, width))


Taps = tuple[list[np.ndarray], list[np.ndarray]]
"""For each tap of a kernel, which values it takes, and their weights, one for each value of the result."""


def _along(values: np.ndarray, axis: int, length: int, step: float, along: Callable[..., Taps]) -> np.ndarray:
    """Another length of one axis; `step`: places of the old axis in one of the new."""
    index, weights = along(np.arange(length), step, values.shape[axis])
    shape = [-1] + [1] * (-axis - 1)
    parts = (
        np.take(values, at, axis) * weight.astype(values.dtype).reshape(shape)
        for at, weight in zip(index, weights, strict=True)
    )
    out = next(parts)
    for part in parts:
        out += part
    return out


def _nearest(places: np.ndarray, step: float, size: int) -> Taps:
    index = np.minimum(np.floor(places * step).astype(int), size - 1)
    return [index], [np.ones(len(places))]


def _linear(places: np.ndarray, step: float, size: int) -> Taps:
    at = np.maximum((places + 0.5) * step - 0.5, 0.0)
    low = np.minimum(np.floor(at).astype(int), size - 1)
    share = np.minimum(at - low, 1.0)
    return [low, np.minimum(low + 1, size - 1)], [1 - share, share]


def _cubic(places: np.ndarray, step: float, size: int) -> Taps:
    at = (places + 0.5) * step - 0.5
    low = np.floor(at).astype(int)
    weights = cubic_weights(at - low)
    return [np.clip(low + k - 1, 0, size - 1) for k in range(4)], weights


def cubic_weights(share: np.ndarray) -> list[np.ndarray]:
    """Weights of the four values around a place that lies `share` beyond the second of them."""

    def near(t: np.ndarray) -> np.ndarray:  # up to 1 away
        return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1

    def far(t: np.ndarray) -> np.ndarray:  # from 1 to 2 away
        return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]
