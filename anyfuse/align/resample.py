"""Frames as the reference sees them, and the rectangle that all of them show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..arrays import F, Tensor, torch
from ..image.frame import FULL, Frame, Store, in_memory
from ..io.exif import upright_exif
from .transform import Size, places, resized, sampled, warp, within

LARGE = 1 << 23
"""Pixels of the reference from which a frame is moved strip by strip, in little memory."""
STRIP = 1 << 22  # pixels of a strip
REACH = 3  # pixels beside a place that its interpolation reads, and one
COARSER = 1.3  # pixels of the frame in one of the reference from which it is made smaller first


def moved_frame(
    frame: Frame, matrix: Tensor, size: tuple[int, int] | None = None, bend: Tensor | None = None
) -> tuple[Frame, np.ndarray]:
    """The frame as the reference sees it, by bicubic interpolation in its own depth; and where it shows it, (H, W).

    Args:
        frame: any size.
        matrix: pixels of the reference -> pixels of the frame.
        size: height and width of the reference; None: the frame's own.
        bend: (2, R, C) displacements in pixels of the reference, before the matrix; see `bent_coordinates`.
    """
    height, width = size or (frame.height, frame.width)
    is_large = height * width > LARGE and _factor(matrix, height, width) < COARSER
    pixels, alpha, inside = (_by_strips if is_large else _whole)(frame, matrix, (height, width), bend)
    same = (height, width) == (frame.height, frame.width)
    exif = frame.exif if same or frame.exif is None else upright_exif(frame.exif, width, height)
    return replace(frame, pixels=pixels, alpha=alpha, valid=None, exif=exif), inside


Moved = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Pixels (H, W, C) and alpha (H, W) in a frame's depth, and where the frame has pixels, (H, W) bool."""


def _whole(frame: Frame, matrix: Tensor, size: Size, bend: Tensor | None) -> Moved:
    planes, small = smaller(frame.read(), matrix, *size)
    planes, inside = warp(planes, small, *size, "bicubic", bend)
    pixels = frame.stored_values(planes)
    cover = inside
    if frame.opacity is not None:
        planes, small = smaller(frame.cover(), matrix, *size)
        cover = inside * warp(planes, small, *size, bend=bend)[0][0]
    return pixels, _stored_alpha(frame, cover), inside.numpy() > 0


def _by_strips(frame: Frame, matrix: Tensor, size: Size, bend: Tensor | None) -> Moved:
    """The same within rounding, reading no more of the frame at a time than a strip of the result shows."""
    height, width = size
    kind = frame.pixels.dtype
    pixels, alpha = np.empty((height, width, frame.channels), kind), np.empty((height, width), kind)
    inside = np.empty((height, width), bool)
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        strip = slice(top, min(top + step, height))
        where = places(matrix, size, top, strip.stop - top, bend)
        valid = within(where, frame.height, frame.width)
        window = _window(where if bend is not None else _border(where), frame)
        where = where - torch.tensor([float(window[1].start), float(window[0].start)])
        pixels[strip] = frame.stored_values(sampled(frame.read(window), where, "bicubic"))
        cover = valid
        if frame.opacity is not None:
            cover = valid * sampled(frame.cover(window), where, "bilinear")[0]
        alpha[strip], inside[strip] = _stored_alpha(frame, cover), valid.numpy() > 0
    return pixels, alpha, inside


def _border(where: Tensor) -> Tensor:
    """The outermost of the places (h, w, 2), (K, 2): a plane transform lays all others between them."""
    return torch.cat([where[0], where[-1], where[:, 0], where[:, -1]])


def _window(where: Tensor, frame: Frame) -> tuple[slice, slice]:
    """The part of the frame that is needed at places (..., 2), one pixel at least."""
    flat = where.reshape(-1, 2)
    low, high = flat.amin(0).floor().tolist(), flat.amax(0).ceil().tolist()
    spans = []
    for axis, length in ((1, frame.height), (0, frame.width)):
        start = int(min(max(low[axis] - REACH, 0), length - 1))
        spans.append(slice(start, int(min(max(high[axis] + REACH + 1, start + 1), length))))
    return spans[0], spans[1]


def _stored_alpha(frame: Frame, cover: Tensor) -> np.ndarray:
    return (cover * FULL[frame.pixels.dtype.name]).round().numpy().astype(frame.pixels.dtype)


def smaller(planes: Tensor, matrix: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Planes (C, H, W) with pixels about as large as the reference's, antialiased, and the matrix to them."""
    factor = _factor(matrix, height, width)
    if factor < COARSER:
        return planes, matrix
    before = (planes.shape[1], planes.shape[2])
    after = (max(1, round(before[0] / factor)), max(1, round(before[1] / factor)))
    small = F.interpolate(planes[None], after, mode="bicubic", antialias=True, align_corners=False)[0]
    return small.clamp_(0.0, 1.0), resized(matrix, ((height, width), (height, width)), (before, after))


def _factor(matrix: Tensor, height: int, width: int) -> float:
    """Pixels of the frame in one of the reference, in the middle."""
    y, x = (height - 1) / 2, (width - 1) / 2
    rows = matrix.tolist()
    depth = rows[2][0] * x + rows[2][1] * y + rows[2][2]
    return math.sqrt(abs(float(torch.linalg.det(matrix[:2, :2])))) / abs(depth)


def cut(moved: Sequence[Frame], frames: Sequence[Frame], common: np.ndarray, store: Store = in_memory) -> list[Frame]:
    """The moved frames within the largest rectangle of `common` (H, W), if it has a third of the picture.

    store: where their pixels go.
    """
    rows, columns = rectangle(common)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if 3 * height * width < common.size:
        return list(moved)
    note = f"cut to {width}x{height} at ({columns.start}, {rows.start}), which all images show"
    out = []
    for frame, before in zip(moved, frames, strict=True):
        alpha = None if before.opacity is None or frame.opacity is None else frame.opacity[rows, columns]
        notes = (*frame.warnings, note) if before is frames[0] else frame.warnings
        pixels = np.ascontiguousarray(frame.pixels[rows, columns])
        exif = frame.exif and upright_exif(frame.exif, width, height)
        part = replace(frame, pixels=pixels, alpha=alpha, valid=None, exif=exif, warnings=notes)
        out.append(part.stored(store))
    return out


def rectangle(common: np.ndarray) -> tuple[slice, slice]:
    """A large rectangle in which `common` (H, W) holds: of the whole, the side that misses most goes in, again and
    again.
    """
    top, left, (bottom, right) = 0, 0, common.shape

    def missing(rows: slice, columns: slice) -> int:
        part = common[rows, columns]
        return part.size - int(np.count_nonzero(part))

    left_over = missing(slice(top, bottom), slice(left, right))
    while bottom - top > 1 and right - left > 1 and left_over:
        rows, columns = slice(top, bottom), slice(left, right)
        sides = (
            missing(slice(top, top + 1), columns),
            missing(slice(bottom - 1, bottom), columns),
            missing(rows, slice(left, left + 1)),
            missing(rows, slice(right - 1, right)),
        )
        width, height = right - left, bottom - top
        worst = int(np.argmax([sides[0] / width, sides[1] / width, sides[2] / height, sides[3] / height]))
        left_over -= sides[worst]
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)
