"""Frames brought to one size: pieces placed on one canvas, frames resized to the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..arrays import torch
from ..errors import FusionError
from ..runtime import release
from .frame import FULL, Frame, Store, in_memory


def place(frames: Sequence[Frame], store: Store = in_memory) -> list[Frame]:
    """Frames that are pieces of one canvas, each at its offset, on the smallest rectangle that holds all.

    The rest of that rectangle is transparent. Frames without an offset, or all with the same, stay as they are. What is
    placed goes where `store` puts it.
    """
    offsets = [frame.offset or (0, 0) for frame in frames]
    if all(frame.offset is None for frame in frames) or len(set(offsets)) == 1:
        return list(frames)
    left, top = min(x for x, _ in offsets), min(y for _, y in offsets)
    width = max(x + frame.width for (x, _), frame in zip(offsets, frames, strict=True)) - left
    height = max(y + frame.height for (_, y), frame in zip(offsets, frames, strict=True)) - top
    if width * height > 4 * sum(frame.width * frame.height for frame in frames):
        raise FusionError(f"{frames[0].name}: the pieces lie so far apart that they need {width}x{height} pixels")
    out = []
    for (x, y), frame in zip(offsets, frames, strict=True):
        where = (slice(y - top, y - top + frame.height), slice(x - left, x - left + frame.width))
        pixels = np.zeros((height, width, frame.channels), frame.pixels.dtype)
        alpha = np.zeros((height, width), frame.pixels.dtype)
        pixels[where] = frame.pixels
        alpha[where] = FULL[frame.pixels.dtype.name] if frame.opacity is None else frame.opacity
        release(frame.pixels, frame.opacity)
        note = f"{frame.name}: placed at ({x - left}, {y - top}) of {width}x{height}, as its position tags say"
        said = (*frame.warnings, note)
        out.append(replace(frame, pixels=pixels, alpha=alpha, valid=None, offset=None, warnings=said).stored(store))
    return out


def resize_to_reference(frames: Sequence[Frame], reference: int = 0, store: Store = in_memory) -> list[Frame]:
    """All frames at the size of frames[reference]: bicubic with antialiasing, clipped, same depth.

    A frame whose proportions differ by more than 1 % says so in its warnings, because it is stretched. What is resized
    goes where `store` puts it.
    """
    height, width = frames[reference].height, frames[reference].width
    out = []
    for frame in frames:
        if (frame.height, frame.width) == (height, width):
            out.append(frame)
            continue
        notes = [f"{frame.name}: resized from {frame.width}x{frame.height} to {width}x{height}"]
        if abs(frame.width * height / (frame.height * width) - 1.0) > 0.01:
            notes.append(f"{frame.name}: stretched, its proportions are not those of {frames[reference].name}")
        planes = np.moveaxis(frame.pixels, 2, 0)  # (H, W, C) -> (C, H, W)
        pixels = np.stack([_resize(plane, height, width, frame.white) for plane in planes], axis=2)
        alpha = valid = None
        if frame.alpha is not None:
            alpha = _resize(frame.alpha, height, width, FULL[frame.alpha.dtype.name])
        if frame.valid is not None:
            valid = _resize(frame.valid.astype(np.float32), height, width, 1.0) > 0.99
        said = (*frame.warnings, *notes)
        release(frame.pixels, frame.alpha, frame.valid)
        out.append(replace(frame, pixels=pixels, alpha=alpha, valid=valid, warnings=said).stored(store))
    return out


def _resize(plane: np.ndarray, height: int, width: int, white: float) -> np.ndarray:
    source = torch.from_numpy(plane.astype(np.float32))[None, None]
    result = torch.nn.functional.interpolate(source, (height, width), mode="bicubic", antialias=True)
    values = result[0, 0].clamp_(0.0, white).numpy()
    return values if plane.dtype == np.float32 else np.rint(values).astype(plane.dtype)
