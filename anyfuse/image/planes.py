"""How colour goes through a model: which planes the model sees, and how its result becomes an image again."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .. import native
from ..arrays import Tensor, torch
from . import colour
from .cover import Window
from .stack import Stack

ColourRule = Literal["grey", "blend", "merge", "rgb"]


def colour_rule(stack: Stack, channels: int, carries_chroma: bool) -> ColourRule:
    """How colour goes through a model of `channels` planes (1: luma, 3: RGB).

    grey: no source has any. rgb: the model takes RGB itself. blend: all sources have colour, and the model's weights
    apply to chroma as they do to luma. merge: the model fuses luma, and the chroma of the coloured sources is merged
    by saturation.
    """
    if channels == 3:
        return "rgb"
    if not any(stack.has_colour):
        return "grey"
    return "blend" if all(stack.has_colour) and carries_chroma else "merge"


def plane_count(rule: ColourRule) -> int:
    """Planes per source that the model sees."""
    return 3 if rule in ("blend", "rgb") else 1


def split(images: Tensor, rule: ColourRule) -> Tensor:
    """Images (N, 1 or 3, h, w) in [0, 1] -> the planes that the model sees, (N, 1 or 3, h, w)."""
    if rule == "rgb":
        return images.expand(-1, 3, -1, -1)
    if rule == "blend":
        return colour.to_luma_chroma(images.expand(-1, 3, -1, -1))
    return colour.to_luma(images)


def read(stack: Stack, window: Window, rule: ColourRule) -> Tensor:
    """The planes of a window that the model sees, (N, 1 or 3, h, w)."""
    parts = stack.read_split(window) if rule in ("blend", "merge") else None
    if parts is None:
        return split(stack.read(window), rule)
    return parts if rule == "blend" else parts[:, :1].contiguous()


def _merged(stack: Stack, window: Window) -> Tensor:
    """The chroma of the coloured sources, merged by saturation, (2, h, w)."""
    coloured = [k for k, frame in enumerate(stack.frames) if frame.channels == 3]
    parts = stack.read_split(window, coloured)
    if parts is None:
        return colour.merge_chroma(colour.to_chroma(stack.read(window)))
    return parts[0, 1:] if len(coloured) == 1 else colour.merge_chroma(parts[:, 1:])


def write(fused: Tensor, stack: Stack, window: Window, rule: ColourRule, pixels: np.ndarray) -> bool:
    """Writes fused planes of a window into its pixels (h, w, C), as `join` and `Stack.quantise` do one after the other.

    False, and nothing is done, where that cannot be done at once.
    """
    if rule == "rgb" or native.kernels() is None:
        return False
    whole = torch.cat([fused, _merged(stack, window)]) if rule == "merge" and fused.device.type == "cpu" else fused
    return stack.round_joined(whole, pixels)


def join(fused: Tensor, stack: Stack, window: Window, rule: ColourRule, painted: bool = False) -> Tensor:
    """Fused planes of a window -> image (1 or 3, h, w) in [0, 1].

    painted: the colours of an RGB model are kept though no source has any.
    """
    if rule == "blend":
        return colour.join(fused[:1], fused[1:])
    if rule == "merge":
        return colour.join(fused, _merged(stack, window))
    return colour.to_luma(fused) if stack.stored_channels == 1 and not painted else fused
