"""`torch.nn.functional.grid_sample` without PyTorch: values of planes, or of a volume, at given places."""

from __future__ import annotations

import numpy as np

from ..engine_choice import lacks_torch
from .resizing import cubic_weights
from .tensor import Tensor, wrap

MODES = ("bilinear", "bicubic", "nearest")
ROWS = 1 << 16  # places that are sampled together


def grid_sample(
    x: Tensor, points: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = False
) -> Tensor:
    """Planes at places, or a volume at places.

    Args:
        x: planes (B, C, H, W), or one volume (1, 1, D, H, W).
        points: (B, h, w, 2) x and y from -1 to 1, the outer edges of the planes; or (1, 1, h, w, 3) from the first to
            the last centre of the volume, width first.
        mode: bilinear, bicubic or nearest.
        padding_mode: beyond the planes lie zeros, or their border.
        align_corners: False for planes, True for a volume.

    Returns:
        Values (B, C, h, w), or (1, 1, 1, h, w).

    Raises:
        FusionError: another way of sampling.
    """
    if x.ndim == 5:
        return _in_volume(x, points, padding_mode, align_corners)
    if align_corners or mode not in MODES or padding_mode not in ("zeros", "border"):
        raise lacks_torch("such a sampling of planes")
    out = np.empty((*x.shape[:2], *points.shape[1:3]), x.dtype)
    step = max(1, ROWS // max(1, points.shape[2]))
    for planes, places, result in zip(x.base_array, points.base_array, out, strict=True):
        for top in range(0, len(places), step):  # in parts that stay in the processor's cache
            part = places[top : top + step]
            result[:, top : top + step] = _sampled(planes, part, mode, padding_mode == "border")
    return wrap(out)


def _sampled(planes: np.ndarray, places: np.ndarray, mode: str, border: bool) -> np.ndarray:
    """Planes (C, H, W) at places (h, w, 2) -> (C, h, w)"""
    channels, height, width = planes.shape
    half = planes.dtype.type(0.5)
    x = (places[..., 0] + 1) * (width * half) - half
    y = (places[..., 1] + 1) * (height * half) - half
    if border and mode != "bicubic":  # of bicubic weights it is the values that are held
        x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    flat = planes.reshape(channels, -1)
    columns, rows = _taps(x, width, mode), _taps(y, height, mode)
    out = np.zeros((channels, *x.shape), planes.dtype)
    for row, row_weight in rows:
        line = np.zeros_like(out)
        start, row_known = _held(row, height, border)
        start *= width
        for column, weight in columns:
            at, known = _held(column, width, border)
            share = weight if known is None else weight * known
            line += np.take(flat, start + at, 1) * share
        out += line * (row_weight if row_known is None else row_weight * row_known)
    return out


Tap = tuple[np.ndarray, np.ndarray]
"""Indices, which may lie outside, and weights."""


def _taps(at: np.ndarray, size: int, mode: str) -> list[Tap]:
    """What each place takes along one axis."""
    if mode == "nearest":
        return [(_index(np.rint(at), size), np.ones_like(at))]
    low = np.floor(at)
    share, first = at - low, _index(low, size)
    if mode == "bilinear":
        return [(first, 1 - share), (first + 1, share)]
    return [(first + k - 1, weight) for k, weight in enumerate(cubic_weights(share))]


def _index(at: np.ndarray, size: int) -> np.ndarray:
    """Whole numbers; those far outside as near outside."""
    return at.clip(-8, size + 8).astype(np.intp)


def _held(index: np.ndarray, size: int, border: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices within the axis, and 0 where the index was not; None where that makes no difference."""
    held = index.clip(0, size - 1)
    return held, None if border else held == index


def _in_volume(grid: Tensor, points: Tensor, padding_mode: str, align_corners: bool | None) -> Tensor:
    """Linear along each axis; beyond the volume its border counts."""
    if padding_mode != "border" or not align_corners or grid.shape[:2] != (1, 1):
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
