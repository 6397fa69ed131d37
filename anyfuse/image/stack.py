"""A stack of images of one scene: frames of one size, read window by window as float32 in [0, 1].

A 100-megapixel pair fits in memory because nothing here widens a whole image: `Frame` (frame.py) keeps what the file
held, `Stack.read` converts the requested window, and `Stack.quantise` rounds a fused window back. Names of frame.py and
resize.py can be imported from here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import native
from ..arrays import F, Tensor, torch
from ..errors import FusionError
from ..runtime import release
from . import colour
from .colour import to_luma
from .cover import SEAM, Window, fill_transparent, ramp, widened
from .frame import FULL, HALF, Frame, Store, convert_depth, icc_channels, in_memory, make_frame
from .levelling import CELLS, Levelling, field_of, levelling
from .resize import place, resize_to_reference

__all__ = [
    "FULL",
    "Frame",
    "Stack",
    "Store",
    "Window",
    "convert_depth",
    "icc_channels",
    "in_memory",
    "make_frame",
    "order_of_roles",
    "place",
    "resize_to_reference",
]


@dataclass(frozen=True, eq=False)
class Stack:
    """N frames of one size.  `reference` is the frame whose metadata, alpha and layout the result takes."""

    frames: tuple[Frame, ...]
    reference: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", tuple(self.frames))
        if not self.frames:
            raise FusionError("no image was given; give two or more images of one scene")
        if not -self.n <= self.reference < self.n:
            raise FusionError(f"reference {self.reference} is not one of the {self.n} images; count from 0")
        first = self.frames[0]
        for frame in self.frames[1:]:
            if (frame.height, frame.width) != (first.height, first.width):
                raise FusionError(
                    f"{frame.name} is {frame.width}x{frame.height} but {first.name} is "
                    f"{first.width}x{first.height}; give images of one size, or add --resize reference to "
                    "bring all to the size of the reference"
                )

    @property
    def n(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def height(self) -> int:
        """Rows of every frame."""
        return self.frames[0].height

    @property
    def width(self) -> int:
        """Columns of every frame."""
        return self.frames[0].width

    @property
    def depth(self) -> np.dtype:
        """dtype of the result: float32 if any input is float, else uint16 if any has 16 bits, else uint8."""
        kinds = {frame.pixels.dtype.name for frame in self.frames}
        return np.dtype(next(kind for kind in ("float32", "uint16", "uint8") if kind in kinds))

    @property
    def white(self) -> float:
        """The value of the result that stands for 1.0: the reference's if it has the output depth, else the largest."""
        reference = self.frames[self.reference]
        return reference.white if reference.pixels.dtype == self.depth else FULL[self.depth.name]

    @cached_property
    def has_colour(self) -> list[bool]:
        """For each frame, whether it is more than grey; see `Frame.is_grey`."""
        return [not frame.is_grey for frame in self.frames]

    @property
    def channels(self) -> int:
        """Channels of `read`: 3 if any frame has colour, else 1."""
        return 3 if any(self.has_colour) else 1

    @property
    def stored_channels(self) -> int:
        """Channels of the result: 3 if it has colour or the reference was stored as RGB, else 1."""
        return max(self.channels, self.frames[self.reference].channels)

    @property
    def alpha(self) -> np.ndarray | None:
        """(H, W) in the output depth: at each pixel the largest opacity of all frames, so that the result is
        transparent where all are. None where the reference has no alpha and some frame shows every place.
        """
        reference = self.frames[self.reference]
        if reference.opacity is None:
            return None
        full = np.full((self.height, self.width), FULL[self.depth.name], self.depth)
        union = np.zeros_like(full)
        for frame in self.frames:
            np.maximum(union, full if frame.opacity is None else convert_depth(frame.opacity, self.depth), out=union)
            release(frame.opacity)
        return None if reference.alpha is None and bool((union >= full).all()) else union

    @property
    def icc(self) -> bytes | None:
        """The reference's profile if it fits the result's channels, else the first one of a frame that does.

        Beside a grey reference the colours are the colour image's, and so is their profile.
        """
        order = (self.frames[self.reference], *self.frames)
        return next((f.icc for f in order if f.icc and icc_channels(f.icc) == self.stored_channels), None)

    def read(self, window: Window | None = None) -> Tensor:
        """The window of every frame, float32 (N, C, h, w) in [0, 1]; C = `channels`, grey repeated if 3.

        Where a frame is transparent it shows the mean of the others, which so decide alone: models give back what all
        frames agree on. Where all are transparent, all show one colour.
        """
        out = []
        for frame, level in zip(self.frames, self._levels, strict=True):
            planes = frame.read(window)
            if level is not None:
                planes = level.apply(planes, self._bounds(window))
            if planes.shape[0] != self.channels:
                planes = planes.expand(3, -1, -1) if self.channels == 3 else planes.mean(dim=0, keepdim=True)
            out.append(planes)
        sources = torch.stack(out)
        if self.is_opaque:
            return sources
        return fill_transparent(sources, torch.stack([f.soft_cover(window) for f in self.frames]), self._mean)

    def read_split(self, window: Window, which: Sequence[int] | None = None) -> Tensor | None:
        """The window of every frame, or of those that `which` numbers, as Y, Cb and Cr, (N, 3, h, w), see
        `colour.to_luma_chroma`.

        None where that takes more than converting each pixel, or there is nothing that does it at once (`native`).
        """
        found = native.kernels()
        if found is None or not self.is_opaque or any(level is not None for level in self._levels):
            return None
        rows, columns = self._bounds(window)
        frames = self.frames if which is None else [self.frames[k] for k in which]
        out = torch.empty(len(frames), 3, rows.stop - rows.start, columns.stop - columns.start)
        for frame, planes in zip(frames, out, strict=True):
            block = frame.pixels[rows, columns]
            if frame.channels == 1:
                planes[:1], planes[1:] = frame.read(window), 0.0
            elif block.strides[1:] != (3 * block.itemsize, block.itemsize):
                planes[:] = colour.to_luma_chroma(frame.read(window))
            else:
                native.luma_chroma(found, block, frame.white, planes)
                release(frame.pixels)
        return out

    def alone(self, window: Window) -> Tensor:
        """(1, h, w): 1 where one frame at most is not transparent, falling to 0 over the last `SEAM` pixels there."""
        if self.is_opaque:
            return torch.zeros(1, 1, 1)
        wide, part = widened(window, SEAM, self.height, self.width)
        cover = torch.stack([frame.cover(wide) for frame in self.frames])
        single = (cover.sum(0) - cover.amax(0) < 1e-3).float()
        return ramp(1 - single, SEAM)[:, part[0], part[1]]

    @cached_property
    def is_opaque(self) -> bool:
        """Whether no frame is transparent anywhere, or there is but one frame."""
        return len(set(map(id, self.frames))) == 1 or all(frame.is_opaque for frame in self.frames)

    def _bounds(self, window: Window | None) -> Window:
        """The window as plain starts and stops."""
        rows, columns = window or (slice(None), slice(None))
        return slice(*rows.indices(self.height)[:2]), slice(*columns.indices(self.width)[:2])

    @cached_property
    def _levels(self) -> list[Levelling | None]:
        """For each frame, how it is brought to the level around it; None for all but small grey ones in a large one."""
        whole = [] if self.is_opaque else [frame for frame in self.frames if frame.is_opaque]
        return [None if not whole or frame.is_opaque else _level(frame, whole) for frame in self.frames]

    @cached_property
    def _mean(self) -> Tensor:
        """(C, 1, 1) mean of what is not transparent."""
        means = [np.resize(f.mean, self.channels) if f.channels == 1 else f.mean for f in self.frames]
        rows = [m if len(m) == self.channels else m.mean(keepdims=True) for m in means]
        return torch.from_numpy(np.mean(rows, axis=0)).float()[:, None, None]

    def round_joined(self, fused: Tensor, pixels: np.ndarray) -> bool:
        """Writes fused planes (1 or 3, h, w), Y, Cb and Cr, into pixels (h, w, 1 or 3) of the output depth: as
        `colour.join` and `quantise`, all at once. False, and nothing is done, where that cannot be.
        """
        found = native.kernels()
        plain = fused.dtype == torch.float32 and fused.device.type == "cpu" and fused.stride(2) == 1
        dense = pixels.strides[1:] == (pixels.shape[2] * pixels.itemsize, pixels.itemsize)
        if found is None or not plain or not dense or len(fused) != pixels.shape[2]:
            return False
        return native.join_round(found, fused, self.white, pixels)

    def quantise(self, fused: Tensor) -> np.ndarray:
        """Fused (C, h, w) in [0, 1] -> (h, w, stored_channels) in the output depth, rounded half up, no stretch."""
        planes = fused.detach().to("cpu", torch.float32).clamp(0.0, 1.0).mul_(self.white)
        if self.depth.kind == "u":
            planes.add_(HALF)  # what is left of the point is the value
        values = planes.expand(max(len(planes), self.stored_channels), -1, -1).numpy()
        out = np.empty((*values.shape[1:], len(values)), self.depth)  # (h, w, C)
        for k, plane in enumerate(values):
            np.copyto(out[:, :, k], plane, casting="unsafe")
        return out


def order_of_roles(frames: Sequence[Frame]) -> list[int]:
    """Indices of `frames` in the order in which a model with roles gets them: grey before colour, then darker before
    brighter.

    So infrared comes before a visible image in colour, the underexposed before the overexposed; equals keep their
    order.
    """
    return sorted(range(len(frames)), key=lambda k: (not frames[k].is_grey, frames[k].brightness, k))


def _level(frame: Frame, whole: Sequence[Frame]) -> Levelling | None:
    """How a frame is brought to the level of those that show the whole picture; None: it is no field within it."""
    if not frame.is_grey:
        return None
    step = max(1, max(frame.height, frame.width) // 512)
    box = field_of(_cells(frame, step, True), step)
    if box is None:
        return None
    cell = max(1, max(part.stop - part.start for part in box) // CELLS)
    place, _ = widened(box, 2 * cell, frame.height, frame.width)
    own, cover = _cells(frame, cell, False, place), _cells(frame, cell, True, place)
    around = torch.stack([_cells(other, cell, False, place) for other in whole]).mean(0)
    return levelling(own, around, cover, box)


def _cells(frame: Frame, step: int, is_cover: bool, window: Window | None = None) -> Tensor:
    """(h, w) in [0, 1]: means over squares of `step` pixels of the window, of the frame's luma or of its cover."""
    rows, columns = window or (slice(0, frame.height), slice(0, frame.width))
    strip = max(step, (1 << 20) // frame.width // step * step)
    parts = []
    for top in range(rows.start, rows.stop, strip):
        part = slice(top, min(top + strip, rows.stop)), columns
        plane = frame.cover(part) if is_cover else to_luma(frame.read(part)[None])[0]
        padding = (0, -plane.shape[2] % step, 0, -plane.shape[1] % step)
        parts.append(F.avg_pool2d(F.pad(plane[None], padding, mode="replicate"), step)[0, 0])
    return torch.cat(parts)
