"""Frames as the reference sees them, and the rectangle that all of them show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..arrays import F, Tensor, torch
from ..image.frame import FULL, Frame, Store, in_memory
from ..io.exif import upright_exif
from .transform import resized, warp

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
    planes, matrix = smaller(frame.read(), matrix, height, width)
    planes, inside = warp(planes, matrix, height, width, "bicubic", bend)
    pixels = frame.stored_values(planes)
    cover = inside
    if frame.opacity is not None:
        planes, shrunk = smaller(frame.cover(), matrix, height, width)
        cover = inside * warp(planes, shrunk, height, width, bend=bend)[0][0]
    alpha = (cover * FULL[frame.pixels.dtype.name]).round().numpy().astype(frame.pixels.dtype)
    same = (height, width) == (frame.height, frame.width)
    exif = frame.exif if same or frame.exif is None else upright_exif(frame.exif, width, height)
    return replace(frame, pixels=pixels, alpha=alpha, valid=None, exif=exif), inside.numpy()


def smaller(planes: Tensor, matrix: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Planes (C, H, W) with pixels about as large as the reference's, antialiased, and the matrix to them."""
    y, x = (height - 1) / 2, (width - 1) / 2
    rows = matrix.tolist()
    depth = rows[2][0] * x + rows[2][1] * y + rows[2][2]
    factor = math.sqrt(abs(float(torch.linalg.det(matrix[:2, :2])))) / abs(depth)
    if factor < COARSER:
        return planes, matrix
    before = (planes.shape[1], planes.shape[2])
    after = (max(1, round(before[0] / factor)), max(1, round(before[1] / factor)))
    small = F.interpolate(planes[None], after, mode="bicubic", antialias=True, align_corners=False)[0]
    return small.clamp_(0.0, 1.0), resized(matrix, ((height, width), (height, width)), (before, after))


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
    missing = np.pad((~common).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def count(top: int, bottom: int, left: int, right: int) -> int:
        return int(missing[bottom, right] - missing[top, right] - missing[bottom, left] + missing[top, left])

    top, left, (bottom, right) = 0, 0, common.shape
    while bottom - top > 1 and right - left > 1 and count(top, bottom, left, right):
        shares = (
            count(top, top + 1, left, right) / (right - left),
            count(bottom - 1, bottom, left, right) / (right - left),
            count(top, bottom, left, left + 1) / (bottom - top),
            count(top, bottom, right - 1, right) / (bottom - top),
        )
        worst = int(np.argmax(shares))
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)
