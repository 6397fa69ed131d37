"""A stack of images of one scene: pixels in their native depth, read window by window as float32 in [0, 1].

A 100-megapixel pair fits in memory because nothing here widens a whole image: `Frame` keeps what the file
held, `Stack.read` converts the requested window, and `Stack.quantise` rounds a fused window back. The arrays of a frame
may lie in scratch files; then what was read of them is given back at once (`release`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import native
from ..errors import FusionError
from ..runtime import release
from . import colour
from .colour import KB, KG, KR, to_luma
from .cover import FADE, SEAM, STROKE, Window, dilate, fill_transparent, ramp, widened
from .levelling import CELLS, Levelling, field_of, levelling
from .metadata import NOTHING, Metadata, Scaling

FULL: dict[str, float] = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}  # the value that counts as 1.0
HALF = 0.5001  # rounding half up; a tie that float32 arithmetic has moved a little is still a tie
_BLOCK = 1 << 22  # values looked at together when a whole image is scanned
_OVERSHOOT = 1e-5  # how far float data may leave [0, white], relative to white, before it is an error

Store = Callable[[np.ndarray], np.ndarray]
"""Where the arrays of a frame go: `in_memory`, or into scratch files (io/scratch.py)."""


def in_memory(array: np.ndarray) -> np.ndarray:
    """The array as it is."""
    return array


@dataclass(frozen=True, eq=False)
class Frame:
    """One image as it was read, upright, unassociated alpha apart.

    pixels: (H, W, C) uint8, uint16 or float32; C is 1 (grey) or 3 (RGB); sRGB-encoded, or as stored.
    alpha: (H, W) of the same dtype, full scale as the dtype has it (255, 65535 or 1.0), or None: opaque. What is
    transparent has no say in the result.
    white: the value of `pixels` that counts as 1.0.
    name: what messages call it: a path or "image 2".
    exif: EXIF block (a TIFF structure, no "Exif" prefix), orientation 1, sizes as `pixels`, no thumbnail.
    icc: ICC profile.  dpi: horizontal and vertical resolution.  warnings: what the reader had to decide.
    offset: where the image lies on a canvas that it is a piece of, (x, y) in pixels, as hugin's TIFFs say; or None.
    metadata: XMP and all else that the file says.  scaling: how its values became 0 to 1; None: by depth or white.
    valid: (H, W) bool, False where the file has no value (NaN, nodata); None: everywhere it has one.
    file: where it was read from; None for an image in memory.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    white: float = 255.0
    name: str = "image"
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()
    metadata: Metadata = NOTHING
    scaling: Scaling | None = None
    valid: np.ndarray | None = None
    file: str | None = None
    offset: tuple[int, int] | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """Channels as stored, 1 or 3; an RGB image may still be grey, see `is_grey`."""
        return int(self.pixels.shape[2])

    @property
    def facts(self) -> dict[str, Any]:
        """name, width, height, depth and colour, for reports; and `scaling` where the file's values were scaled."""
        size = {"width": self.width, "height": self.height, "depth": str(self.pixels.dtype)}
        scaled = {} if self.scaling is None else {"values": self.scaling.as_dict()}
        return {"name": self.name, **size, "colour": not self.is_grey, **scaled}

    def stored(self, store: Store) -> Frame:
        """The frame with its arrays where `store` puts them."""
        pixels = store(self.pixels)
        if pixels is self.pixels and (self.opacity is None or store(self.opacity) is self.opacity):
            return self
        alpha, valid = (None if a is None else store(a) for a in (self.alpha, self.valid))
        moved = replace(self, pixels=pixels, alpha=alpha, valid=valid)
        if moved.valid is not None:  # computed once, and as large as alpha
            moved.__dict__["opacity"] = store(moved.opacity)  # type: ignore[arg-type]
        return moved

    @cached_property
    def is_grey(self) -> bool:
        """One channel, or three that agree within 1.5/255 of the brightest value wherever alpha is not 0."""
        if self.channels == 1:
            return True
        spread, top = 0.0, 0.0
        for rows, alpha in self._rows():
            block = rows if alpha is None else rows * (alpha > 0)[:, :, None]
            red, green, blue = np.moveaxis(block, 2, 0)  # a tenth of the time of block.max(axis=2)
            high = np.maximum(np.maximum(red, green), blue)
            low = np.minimum(np.minimum(red, green), blue)
            spread = max(spread, float((high - low).max()))
            top = max(top, float(high.max()))
            if spread > self.white * 1.5 / 255.0:
                return False  # no brightest value could make up for this
        return spread <= top * 1.5 / 255.0

    @cached_property
    def brightness(self) -> float:
        """Mean luma, in [0, 1], weighted by alpha."""
        means = self.mean
        return float(means[0] if self.channels == 1 else means @ (KR, KG, KB))

    @cached_property
    def mean(self) -> np.ndarray:
        """(C,) mean of each channel, in [0, 1], weighted by alpha."""
        total, weight = np.zeros(self.channels), 0.0
        for block, alpha in self._rows():
            if alpha is None:
                total += block.sum(axis=(0, 1), dtype=np.float64)
                weight += block.shape[0] * block.shape[1]
            else:
                share = alpha.astype(np.float64)
                total += np.einsum("hwc,hw->c", block, share)
                weight += float(share.sum())
        return total / (max(weight, 1e-12) * self.white)

    def _rows(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Blocks of rows of `pixels`, with those of `opacity`; None where it is full, or hides all of the image."""
        alpha, top = self.opacity, 0
        alpha = None if alpha is None or self.is_opaque or not alpha.any() else alpha
        for block in _blocks(self.pixels):
            try:
                yield block, None if alpha is None else alpha[top : top + len(block)]
            finally:
                release(alpha)
            top += len(block)

    @cached_property
    def opacity(self) -> np.ndarray | None:
        """Alpha, 0 where the file has no value; None: opaque."""
        if self.valid is None:
            return self.alpha
        full = FULL[self.pixels.dtype.name]
        alpha = np.full(self.valid.shape, full, self.pixels.dtype) if self.alpha is None else self.alpha
        out = np.where(self.valid, alpha, 0).astype(alpha.dtype)
        release(self.valid, alpha)
        return out

    @cached_property
    def is_opaque(self) -> bool:
        """Whether opacity is full everywhere."""
        if self.opacity is None:
            return True
        full = bool((self.opacity >= FULL[self.opacity.dtype.name]).all())
        release(self.opacity)
        return full

    def cover(self, window: Window | None = None) -> Tensor:
        """Opacity of the window as float32 (1, h, w) in [0, 1]."""
        if self.opacity is None:
            rows, columns = (slice(None), slice(None)) if window is None else window
            height, width = len(range(self.height)[rows]), len(range(self.width)[columns])
            return torch.ones(1, height, width)
        block = self.opacity if window is None else self.opacity[window[0], window[1]]
        shares = block.astype(np.float32)[None] / np.float32(FULL[block.dtype.name])
        release(self.opacity)
        return torch.from_numpy(shares).clamp_(0.0, 1.0)

    def read(self, window: Window | None = None) -> Tensor:
        """The window (rows, columns; None: everything) as float32 (C, h, w) in [0, 1], C as stored."""
        block = self.pixels if window is None else self.pixels[window[0], window[1]]
        planes = np.ascontiguousarray(np.moveaxis(block, 2, 0), dtype=np.float32)  # (h, w, C) -> (C, h, w)
        if np.may_share_memory(planes, self.pixels):  # float32 grey needs no conversion, so it was not copied
            planes = planes.copy()
        release(self.pixels)
        return torch.from_numpy(planes).div_(self.white).clamp_(0.0, 1.0)

    def stored_values(self, planes: Tensor) -> np.ndarray:
        """Planes (C, h, w) in [0, 1] -> (h, w, C) in the frame's depth and up to its white, rounded half up."""
        values = planes.clamp(0.0, 1.0).mul_(self.white)
        if self.pixels.dtype.kind == "u":
            values.add_(HALF).floor_()
        return np.ascontiguousarray(np.moveaxis(values.numpy(), 0, 2)).astype(self.pixels.dtype)

    def soft_cover(self, window: Window | None = None) -> Tensor:
        """`cover`, rising from 0 at the edge of what is transparent: over `SEAM` pixels, or over `FADE` where that is
        more than a stroke, so that a frame that ends inside the picture leaves no edge.
        """
        if self.is_opaque:
            return self.cover(window)
        whole = (slice(0, self.height), slice(0, self.width))
        wide, part = widened(whole if window is None else window, 2 * FADE, self.height, self.width)
        cover = self.cover(wide)
        gone = (cover < 1e-3).float()
        large = dilate(1 - dilate(1 - gone, STROKE), STROKE) * gone
        soft = torch.minimum(ramp(gone, SEAM // 2), ramp(large, FADE))
        return torch.minimum(cover, soft)[:, part[0], part[1]]


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
        """The value of the result that stands for 1.0: the reference's if it has the output depth."""
        order = (self.frames[self.reference], *self.frames)
        return next(frame.white for frame in order if frame.pixels.dtype == self.depth)

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

    def read_split(self, window: Window) -> Tensor | None:
        """The window of every frame as Y, Cb and Cr, (N, 3, h, w), see `colour.to_luma_chroma`.

        None where that takes more than converting each pixel, or there is nothing that does it at once (`native`).
        """
        found = native.kernels()
        if found is None or not self.is_opaque or any(level is not None for level in self._levels):
            return None
        rows, columns = self._bounds(window)
        out = torch.empty(self.n, 3, rows.stop - rows.start, columns.stop - columns.start)
        for frame, planes in zip(self.frames, out, strict=True):
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


def icc_channels(icc: bytes) -> int:
    """Number of channels the colour space of an ICC profile has; 0 where it is none of grey, RGB, CMYK."""
    return {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}.get(icc[16:20], 0)


def convert_depth(
    array: np.ndarray, dtype: Any, white: float | None = None, white_out: float | None = None
) -> np.ndarray:
    """Values with `white` as 1.0 -> `dtype` with `white_out` as 1.0 (None: full scale), rounded half up, clipped."""
    target = np.dtype(dtype)
    white = FULL[array.dtype.name] if white is None else white
    white_out = FULL[target.name] if white_out is None else white_out
    if array.dtype == target and white == white_out:
        return array
    out = np.empty(array.shape, target)
    step = max(1, _BLOCK // max(1, array[:1].size))
    for top in range(0, array.shape[0], step):
        block = array[top : top + step].astype(np.float64) * (white_out / white)
        release(array)
        block = block.clip(0.0, white_out)
        out[top : top + step] = block if target.kind == "f" else np.floor(block + HALF)
    return out


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


def make_frame(
    pixels: np.ndarray,
    alpha: np.ndarray | None = None,
    *,
    name: str,
    white: float | None = None,
    **metadata: Any,
) -> Frame:
    """A checked `Frame` from (H, W) or (H, W, 1 | 3) pixels of any boolean, unsigned 8/16-bit or float dtype.

    white: the value that counts as 1.0 in 16-bit and float data (in 8-bit data it is 255); None: full scale.
    metadata: exif, icc, dpi, warnings, metadata, scaling, valid, file, offset.
    Raises FusionError for other dtypes and shapes, no pixels, NaN or infinity, values outside [0, white].
    """
    pixels = _native(pixels, name)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise FusionError(f"{name}: shape {pixels.shape} is no image; give (H, W) or (H, W, 1, 3 or 4)")
    if pixels.size == 0:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise FusionError(f"{name}: {size} has no pixels; give an image of at least 1x1")
    kind = pixels.dtype.name
    if white is None or kind == "uint8":
        scale = FULL[kind]
    else:
        scale = float(white)
        if not 0.0 < scale < float("inf") or (kind == "uint16" and scale > 65535.0):
            raise FusionError(f"{name}: --white {white:g} cannot be; give more than 0, at most 65535 in 16-bit data")
    if kind == "float32" or scale < FULL[kind]:
        _check_range(pixels, scale, white, name)
    if alpha is not None:
        alpha = convert_depth(_native(alpha, name), kind)
    return Frame(pixels, alpha, scale, name, **metadata)


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


def _native(array: np.ndarray, name: str) -> np.ndarray:
    """The array as uint8, uint16 or float32."""
    if array.dtype.name in FULL and array.dtype.isnative:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.name in FULL:  # the other byte order
        return array.astype(array.dtype.newbyteorder("="))
    kind = array.dtype.name
    raise FusionError(f"{name}: pixels of type {kind} are not taken; save as 8-bit, 16-bit unsigned or float")


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _BLOCK // max(1, array[:1].size))
    for top in range(0, array.shape[0], step):
        try:
            yield array[top : top + step]
        finally:  # also where the caller has seen enough
            release(array)


def _check_range(pixels: np.ndarray, scale: float, white: float | None, name: str) -> None:
    low, high, bad = float("inf"), float("-inf"), 0
    for block in _blocks(pixels):
        finite = np.isfinite(block) if block.dtype.kind == "f" else None
        if finite is not None and not finite.all():
            bad += int(block.size - finite.sum())
        else:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    if bad:
        raise FusionError(f"{name}: {bad} of {pixels.size} values are NaN or infinite; replace them first")
    if low < -_OVERSHOOT * scale:
        reach = f"values reach from {low:.6g} to {high:.6g}"
        raise FusionError(f"{name}: {reach}, below 0; shift or clip them so that black is 0")
    if high > scale * (1.0 + _OVERSHOOT):
        if white is None:
            remedy = f"outside 0 to 1; add --white VALUE, the value that counts as 1 (here {high:.6g} or more)"
        else:
            remedy = f"above --white {scale:g}; give --white {high:.6g} or more"
        raise FusionError(f"{name}: values reach from {low:.6g} to {high:.6g}, {remedy}")
