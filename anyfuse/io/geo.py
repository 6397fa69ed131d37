"""Georeferenced images of one set: whether they show the same part of the earth, and on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..errors import FusionError
from ..image.frame import FULL, Frame, Store, in_memory
from ..image.metadata import Metadata
from ..runtime import release

_ELSEWHERE = "covers another part of the earth than"
_SLACK = 0.5  # pixels by which two grids may differ and still count as one
_RASTER_TYPE, _IS_POINT = 1025, 2  # the key that says what tie points tie: corners of pixels, or (2) their centres
_SCALE, _TIE, _KEYS = 33550, 33922, 34735


class Placed(Protocol):
    """What may have a place on earth: a Frame, or bands."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def metadata(self) -> Metadata:
        """With the GeoTIFF tags."""


def check_places(frames: Sequence[Frame]) -> list[Frame]:
    """The frames; one that lies elsewhere than the first, or in another coordinate system, says so in its warnings."""
    placed = [k for k, frame in enumerate(frames) if edges(frame) is not None]
    out = list(frames)
    for k in placed[1:]:
        first, frame = frames[placed[0]], frames[k]
        here, there = edges(first), edges(frame)
        assert here is not None
        assert there is not None
        note = ""
        if not one_system(first, frame):
            note = f"{frame.name}: has another coordinate system than {first.name}; warp it to that first"
        elif (apart := float(np.abs(here - there).max())) > _pixel(first, frame):
            note = f"{frame.name}: {_ELSEWHERE} {first.name} (edges differ by {apart:g})"
            note += "; cut both to one extent first"
        if note:
            out[k] = replace(frame, warnings=(*frame.warnings, note))
    return out


def _tag(frame: Placed, number: int) -> bytes | None:
    return next((raw for tag, _, _, raw in frame.metadata.geo if tag == number), None)


def _numbers(frame: Placed, number: int, count: int) -> np.ndarray | None:
    raw = _tag(frame, number)
    return None if raw is None or len(raw) < 8 * count else np.frombuffer(raw[: 8 * count], "<f8")


def edges(frame: Placed) -> np.ndarray | None:
    """Left, right, top and bottom in the units of the coordinate system, of images that are not rotated in it."""
    scale, tie = _numbers(frame, _SCALE, 2), _numbers(frame, _TIE, 5)
    if scale is None or tie is None:
        return None
    half = 0.5 if _is_point(frame) else 0.0
    left, top = tie[3] - (tie[0] + half) * scale[0], tie[4] + (tie[1] + half) * scale[1]
    return np.array([left, left + frame.width * scale[0], top, top - frame.height * scale[1]])


def one_system(first: Placed, other: Placed) -> bool:
    """Whether both have the same coordinate system."""
    return _tag(first, _KEYS) == _tag(other, _KEYS)


def _pixel(*frames: Frame) -> float:
    """The larger side of their pixels."""
    return max(float(np.abs(scale).max()) for f in frames if (scale := _numbers(f, _SCALE, 2)) is not None)


def _is_point(frame: Placed) -> bool:
    raw = _tag(frame, _KEYS)
    keys = np.frombuffer(raw[: len(raw) // 8 * 8], "<u2").reshape(-1, 4)[1:] if raw else np.zeros((0, 4))
    return any(key == _RASTER_TYPE and value == _IS_POINT for key, _, _, value in keys)


def to_one_grid(frames: Sequence[Frame], reference: int = 0, store: Store = in_memory) -> list[Frame]:
    """Georeferenced frames on the grid of frames[reference]: its pixels, its extent.

    What covers the reference to half a pixel stays as it is, and so do frames without a place or in another coordinate
    system. The others are resampled (linear, over the width of a pixel of the coarser grid) and are transparent where
    they show nothing. What is resampled goes where `store` puts it.

    Raises:
        FusionError: a frame shows nothing of the reference.
    """
    first, out = frames[reference], list(frames)
    here = edges(first)
    for k, frame in enumerate(frames):
        there = edges(frame)
        if here is None or there is None or frame is first or not one_system(first, frame):
            continue
        size = (first.height, first.width)
        if (frame.height, frame.width) == size and np.abs(here - there).max() <= _SLACK * _pixel(first):
            continue
        out[k] = _resampled(frame, first, here, there).stored(store)
    return out


def _resampled(frame: Frame, first: Frame, here: np.ndarray, there: np.ndarray) -> Frame:
    columns = _Axis.between(here[:2], first.width, there[:2], frame.width)
    rows = _Axis.between(-here[2:], first.height, -there[2:], frame.height)
    if not columns.inside.any() or not rows.inside.any():
        raise FusionError(f"{frame.name}: shows no part of the earth that {first.name} shows; leave it out")
    full = FULL[frame.pixels.dtype.name]
    cover = frame.cover()[0].numpy()
    known = np.einsum("i,j->ij", rows.inside, columns.inside).astype(np.float32)
    shares = known * columns.mix(rows.mix(cover), 1)
    planes = []
    for channel in range(frame.channels):
        plane = frame.pixels[:, :, channel].astype(np.float32)
        values = columns.mix(rows.mix(np.where(cover > 0, plane, 0) * cover), 1) / np.maximum(shares, 1e-6)
        planes.append(np.where(shares > 0.5, values, 0).clip(0, full if frame.pixels.dtype.kind == "u" else None))
    release(frame.pixels, frame.opacity)
    pixels = np.stack(planes, 2)
    pixels = pixels if frame.pixels.dtype.kind == "f" else np.rint(pixels)
    alpha = np.where(shares > 0.5, full, 0).astype(frame.pixels.dtype)
    note = f"{frame.name}: brought from {frame.width}x{frame.height} to the grid of {first.name} by its georeference"
    return replace(
        frame,
        pixels=pixels.astype(frame.pixels.dtype),
        alpha=None if (alpha == full).all() else alpha,
        valid=None,
        offset=None,
        warnings=(*(w for w in frame.warnings if _ELSEWHERE not in w), note),
        metadata=replace(frame.metadata, geo=first.metadata.geo),
    )


@dataclass(frozen=True)
class _Axis:
    """How the pixels of one side of a grid are mixed from those of another."""

    inside: np.ndarray  # (n,) bool: the centre lies on the other grid
    places: np.ndarray  # (n, k) pixels of the other grid
    shares: np.ndarray  # (n, k) of each; they sum to 1

    @classmethod
    def between(cls, here: np.ndarray, n: int, there: np.ndarray, m: int) -> _Axis:
        """From first to last edge: `n` pixels between `here`, `m` between `there`."""
        step, other = (here[1] - here[0]) / n, (there[1] - there[0]) / m
        centres = (here[0] + (np.arange(n) + 0.5) * step - there[0]) / other - 0.5
        reach = max(1.0, step / other)
        near = (
            np.rint(centres) if abs(reach - 1) < 1e-6 and np.abs(centres - np.rint(centres)).max() < 1e-3 else centres
        )
        places = np.floor(near)[:, None] + np.arange(-int(np.ceil(reach)) + 1, int(np.ceil(reach)) + 1)
        shares = np.maximum(0.0, 1.0 - np.abs(places - near[:, None]) / reach)
        shares /= shares.sum(1, keepdims=True)
        inside = (centres > -0.5 - 1e-6) & (centres < m - 0.5 + 1e-6)
        return cls(inside, places.clip(0, m - 1).astype(np.int64), shares.astype(np.float32))

    def mix(self, plane: np.ndarray, axis: int = 0) -> np.ndarray:
        """A plane (h, w) with the pixels of one axis mixed."""
        plane = np.moveaxis(plane, axis, 0)
        total = np.zeros((len(self.places), plane.shape[1]), np.float32)
        for places, shares in zip(self.places.T, self.shares.T, strict=True):
            total += plane[places] * shares[:, None]
        return np.moveaxis(total, 0, axis)
