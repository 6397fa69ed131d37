"""One image as it was read: pixels in their native depth, alpha, metadata; `make_frame` checks them.

The arrays of a frame may lie in scratch files; then what was read of them is given back at once (`release`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Tensor, torch
from ..errors import FusionError
from ..runtime import release
from .colour import KB, KG, KR
from .cover import FADE, SEAM, STROKE, Window, dilate, ramp, widened
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
