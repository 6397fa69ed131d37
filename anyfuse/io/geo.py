"""Whether georeferenced images of one set show the same part of the earth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..image.frame import Frame

_SCALE, _TIE, _KEYS = 33550, 33922, 34735


def check_places(frames: Sequence[Frame]) -> list[Frame]:
    """The frames; one that lies elsewhere than the first, or in another coordinate system, says so in its warnings."""
    placed = [k for k, frame in enumerate(frames) if _edges(frame) is not None]
    out = list(frames)
    for k in placed[1:]:
        first, frame = frames[placed[0]], frames[k]
        here, there = _edges(first), _edges(frame)
        assert here is not None
        assert there is not None
        note = ""
        if _tag(first, _KEYS) != _tag(frame, _KEYS):
            note = f"{frame.name}: has another coordinate system than {first.name}; warp it to that first"
        elif (apart := float(np.abs(here - there).max())) > _pixel(first, frame):
            note = f"{frame.name}: covers another part of the earth than {first.name} (edges differ by {apart:g})"
            note += "; cut both to one extent first"
        if note:
            out[k] = replace(frame, warnings=(*frame.warnings, note))
    return out


def _tag(frame: Frame, number: int) -> bytes | None:
    return next((raw for tag, _, _, raw in frame.metadata.geo if tag == number), None)


def _numbers(frame: Frame, number: int, count: int) -> np.ndarray | None:
    raw = _tag(frame, number)
    return None if raw is None or len(raw) < 8 * count else np.frombuffer(raw[: 8 * count], "<f8")


def _edges(frame: Frame) -> np.ndarray | None:
    """Left, right, top and bottom in the units of the coordinate system, of images that are not rotated in it."""
    scale, tie = _numbers(frame, _SCALE, 2), _numbers(frame, _TIE, 5)
    if scale is None or tie is None:
        return None
    left, top = tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1]
    return np.array([left, left + frame.width * scale[0], top, top - frame.height * scale[1]])


def _pixel(*frames: Frame) -> float:
    """The larger side of their pixels."""
    return max(float(np.abs(scale).max()) for f in frames if (scale := _numbers(f, _SCALE, 2)) is not None)
