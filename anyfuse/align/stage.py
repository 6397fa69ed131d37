"""Aligned frames: each is laid over the reference, neighbour by neighbour, or left alone where no answer is sure.

A moved frame is transparent where it shows nothing, and so has no say there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ..errors import FusionError
from ..image.colour import to_luma
from ..image.stack import FULL, HALF, Frame
from ..io.exif import upright_exif
from .estimate import Alignment, estimate
from .transform import Kind, warp

MODES = ("none", "auto", *get_args(Kind))
BRACKET = 1.25  # brightest over darkest mean from which frames are chained by brightness


@dataclass(frozen=True)
class Align:
    """How images are laid over the reference.

    Raises FusionError for an unknown mode.
    """

    mode: str = "none"  # none, shift, similarity, affine, homography: the richest transform to try; auto: any
    transforms: str | None = None  # JSON file with a report, whose matrices are used in place of an estimate
    keep_frame: bool = False  # keeps the size of the reference; else all are cut to what all frames show

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise FusionError(f"align '{self.mode}' is not known; give one of {', '.join(MODES)}")


NO_ALIGNMENT = Align()


def as_align(value: str | Align) -> Align:
    """A mode as settings."""
    return value if isinstance(value, Align) else Align(value)


@dataclass(frozen=True)
class Step:
    """What was done to one frame, for the report."""

    name: str  # of the frame
    kind: str  # reference, none, shift, similarity, affine, homography, given
    matrix: list[list[float]]  # pixels of the reference -> pixels of the frame
    shift: float  # largest movement of a corner in pixels
    agreement: float | None  # of the edges, 0 to 1, with the transform
    before: float | None  # of the edges, without
    kept: float  # share of the reference's pixels that the frame shows
    trusted: bool  # False: no sure answer, left as it was

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in self.__dict__.items()}


def align_frames(frames: Sequence[Frame], settings: Align, reference: int = 0) -> tuple[list[Frame], list[Step]]:
    """The frames laid over frames[reference], and what was done.

    Args:
        frames: of one scene and one size.
        settings: what to try, and what to keep.
        reference: index of the frame that stays.

    Raises:
        FusionError: frames of several sizes, or a file without a matrix for each frame.
    """
    transforms, mode = settings.transforms, settings.mode
    if (mode == "none" and transforms is None) or len(frames) < 2:
        return list(frames), []
    reference %= len(frames)
    first = frames[reference]
    for frame in frames:
        if (frame.height, frame.width) != (first.height, first.width):
            raise FusionError(
                f"{frame.name} is {frame.width}x{frame.height} but {first.name} is {first.width}x{first.height}; "
                "images to align have one size: add --resize reference"
            )
    if transforms is not None:
        found = [_given(matrix) for matrix in read_transforms(transforms, len(frames))]
    else:
        found = _chain(frames, reference, "homography" if mode == "auto" else mode)  # type: ignore[arg-type]
    out, steps = [], []
    common = np.ones((first.height, first.width), bool)
    for k, (frame, answer) in enumerate(zip(frames, found, strict=True)):
        moved, kept = frame, 1.0
        if k != reference and answer.kind != "none":
            moved, inside = moved_frame(frame, answer.matrix)
            common &= inside > 0.999
            kept = float(inside.mean())
        known = k != reference and transforms is None
        steps.append(
            Step(
                frame.name,
                "reference" if k == reference else answer.kind,
                answer.matrix.tolist(),
                answer.shift,
                answer.agreement if known else None,
                answer.before if known else None,
                kept,
                answer.trusted,
            )
        )
        out.append(moved)
    return out if settings.keep_frame or common.all() else cut(out, frames, common), steps


def cut(moved: Sequence[Frame], frames: Sequence[Frame], common: np.ndarray) -> list[Frame]:
    """The moved frames within the largest rectangle of `common` (H, W), if it has a third of the picture."""
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
        out.append(replace(frame, pixels=pixels, alpha=alpha, valid=None, exif=exif, warnings=notes))
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


def notes(steps: Sequence[Step]) -> list[str]:
    """A warning for each frame that may not be aligned."""
    return [
        f"{step.name}: does not seem aligned, and no transform was sure; it was left as it is"
        for step in steps
        if not step.trusted
    ]


def _luma(frame: Frame) -> tuple[Tensor, Tensor | None]:
    """Luma (H, W) and where the frame is opaque."""
    return to_luma(frame.read())[0], None if frame.is_opaque else frame.cover()[0]


def _chain(frames: Sequence[Frame], reference: int, most: Kind) -> list[Alignment]:
    """The alignment of each frame to the reference, over its neighbours: by brightness in a bracket, else as given.

    Where a link is not sure, the frame is tried against the reference itself.
    """
    lit = [frame.brightness for frame in frames]
    bracket = len(frames) > 2 and max(lit) > BRACKET * max(min(lit), 1e-3)
    order = sorted(range(len(frames)), key=lambda k: (lit[k], k)) if bracket else list(range(len(frames)))
    middle = order.index(reference)
    done: dict[int, Alignment] = {reference: _given(torch.eye(3, dtype=torch.float64))}
    planes = {reference: _luma(frames[reference])}
    for path in (order[middle + 1 :], order[:middle][::-1]):
        last = reference
        for k in path:
            planes[k] = _luma(frames[k])
            link = _estimate(planes[last], planes[k], most)
            if last != reference:
                if link.trusted and done[last].trusted:
                    link = _joined(done[last], link, frames[k])
                else:
                    link = _estimate(planes[reference], planes[k], most)
                    if last != reference:
                        planes.pop(last)
            done[k] = link
            last = k
    return [done[k] for k in range(len(frames))]


def _estimate(a: tuple[Tensor, Tensor | None], b: tuple[Tensor, Tensor | None], most: Kind) -> Alignment:
    return estimate(a[0], b[0], most, (a[1], b[1]))


def _joined(first: Alignment, link: Alignment, frame: Frame) -> Alignment:
    """Reference -> neighbour -> frame."""
    matrix = link.matrix @ first.matrix
    matrix = matrix / matrix[2, 2]
    answer = replace(_given(matrix, (frame.height, frame.width)), agreement=link.agreement, before=link.before)
    kind = link.kind if link.kind != "none" else first.kind
    return replace(answer, kind=kind, error=link.error)


def _given(matrix: Tensor, size: tuple[int, int] | None = None) -> Alignment:
    still = torch.equal(matrix, torch.eye(3, dtype=torch.float64))
    shift = 0.0
    if size is not None:
        height, width = size
        corners = torch.tensor([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]).double()
        moved = corners @ matrix.T
        shift = float((moved[:, :2] / moved[:, 2:] - corners[:, :2]).norm(dim=1).max())
    return Alignment(matrix, "none" if still else "given", shift, 1.0, 1.0, 0.0, True)


def moved_frame(frame: Frame, matrix: Tensor) -> tuple[Frame, np.ndarray]:
    """The frame as the reference sees it, by bicubic interpolation in its own depth; and where it shows it, (H, W)."""
    planes, inside = warp(frame.read(), matrix, frame.height, frame.width, "bicubic")
    values = planes.clamp_(0.0, 1.0).mul_(frame.white)
    if frame.pixels.dtype.kind == "u":
        values.add_(HALF).floor_()
    pixels = np.ascontiguousarray(np.moveaxis(values.numpy(), 0, 2)).astype(frame.pixels.dtype)
    cover = inside
    if frame.opacity is not None:
        cover = inside * warp(frame.cover(), matrix, frame.height, frame.width)[0][0]
    alpha = (cover * FULL[frame.pixels.dtype.name]).round().numpy().astype(frame.pixels.dtype)
    return replace(frame, pixels=pixels, alpha=alpha, valid=None), inside.numpy()


def read_transforms(path: str | Path, count: int) -> list[Tensor]:
    """The matrices of a report's `aligned`, one for each of `count` frames.

    Args:
        path: JSON file: the report of one set, or a list of {"matrix": 3 rows of 3 numbers}.
        count: of frames.
    """
    try:
        data = json.loads(Path(path).read_text())
        rows = data["aligned"] if isinstance(data, dict) else data
        matrices = [torch.tensor(row["matrix"], dtype=torch.float64) for row in rows]
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise FusionError(f"{path}: has no transforms; the report of `fuse --align auto` has") from None
    if len(matrices) != count or any(m.shape != (3, 3) or not bool(m.isfinite().all()) for m in matrices):
        raise FusionError(f"{path}: has {len(matrices)} transforms for {count} images")
    if any(abs(float(torch.linalg.det(m))) < 1e-6 for m in matrices):
        raise FusionError(f"{path}: a transform has no inverse")
    return matrices
