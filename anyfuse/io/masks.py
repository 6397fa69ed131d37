"""Masks that a user gives: which pixels of an image count."""

from __future__ import annotations

import os
from collections.abc import Sequence, Sized
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import FusionError
from ..image.frame import FULL, Frame, Store, in_memory
from ..runtime import release
from .frames import from_arrays
from .read import read_image

NONE = "-"
"""In place of a mask: all pixels count."""


def with_masks(frames: Sequence[Frame], masks: Sequence[Any] | None, store: Store = in_memory) -> list[Frame]:
    """The frames, transparent where their mask is black.

    Args:
        frames: of one scene.
        masks: one for each frame, as a path or an image in memory of the frame's size: a pixel counts where the mask is
            over half of white and of opaque. Of a mask that has no value beyond 1, 1 is white. None or '-': all of the
            frame counts.
        store: where the frames' arrays go.

    Raises:
        FusionError: another number of masks than of frames, or a mask of another size.
    """
    if masks is None:
        return list(frames)
    single = isinstance(masks, str | os.PathLike) or not isinstance(masks, Sized)
    if single or len(masks) != len(frames):
        count = 1 if single else len(masks)
        raise FusionError(f"{count} masks for {len(frames)} images; give one for each image, '-' where all counts")
    out = [f if is_none(mask) else _masked(f, mask).stored(store) for f, mask in zip(frames, masks, strict=True)]
    notes = []
    if out and all(map(is_none, masks)):
        notes.append("--mask does nothing: no image has a mask")
    elif out and all(_shows_nothing(frame) for frame in out):
        notes.append("--mask takes out every pixel of every image: nothing is left, and the result is transparent")
    return [
        replace(f, warnings=(*f.warnings, *notes)).stored(store) if k == 0 and notes else f for k, f in enumerate(out)
    ]


def _shows_nothing(frame: Frame) -> bool:
    empty = frame.opacity is not None and not frame.opacity.any()
    release(frame.opacity)
    return empty


def is_none(mask: Any) -> bool:
    """Whether it stands for no mask."""
    return mask is None or (isinstance(mask, str) and mask == NONE)


def _masked(frame: Frame, mask: Any) -> Frame:
    if isinstance(mask, str | os.PathLike):
        image = read_image(mask)
    else:
        image = from_arrays([mask])[0]
    if (image.height, image.width) != (frame.height, frame.width):
        raise FusionError(
            f"the mask {image.name} is {image.width}x{image.height} but {frame.name} is {frame.width}x{frame.height}; "
            "give a mask of the image's size"
        )
    values = image.pixels.max(axis=2)
    is_binary = values.dtype.kind == "u" and values.max(initial=0) == 1  # labels 0 and 1, as of segmentation
    counts = values > (0 if is_binary else image.white / 2)
    if image.opacity is not None:
        counts &= image.opacity > FULL[image.opacity.dtype.name] / 2
    note = f"{frame.name}: its mask {image.name} is all {'white and takes nothing out' if counts.all() else 'black'}"
    note += "" if counts.any() else ", so the image has no say (white counts, black does not)"
    notes = () if counts.any() and not counts.all() else (note,)
    full = FULL[frame.pixels.dtype.name]
    alpha = np.full(counts.shape, full, frame.pixels.dtype) if frame.opacity is None else frame.opacity
    alpha = np.where(counts, alpha, 0).astype(frame.pixels.dtype)
    release(frame.opacity)
    return replace(frame, alpha=alpha, valid=None, warnings=(*frame.warnings, *notes))
