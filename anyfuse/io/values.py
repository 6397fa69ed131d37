"""What the values of a raster are: bytes in order, palettes, counts of a sensor, dead pixels, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..runtime import release
from .palettes import is_unknown_palette, recognise, scalar
from .raster import Raster

_BLOCK = 1 << 22  # values looked at together

_COUNTS_PIXELS = 4096  # smaller images have too few values to tell what they are
_COUNTS_SPAN = 8192  # an eighth of 16 bits
_FEW_BYTES = 64  # of 256
_DEAD = 0.005  # share of pixels at 0 or 65535 that are taken for dead ones


def is_scaled(raster: Raster) -> bool:
    """Whether the values may need a black and a white at all: all but plain 8-bit images."""
    kind = raster.pixels.dtype
    return bool(raster.pixels.size) and kind.kind in "iuf" and (kind != np.uint8 or bool(raster.unit))


def as_sound_values(raster: Raster) -> Raster:
    """16-bit values whose two bytes were exchanged, as in PNGs taken out of FLIR files, in the right order."""
    pixels = raster.pixels
    if pixels.dtype != np.uint16 or channels_of(pixels) != 1 or pixels.size < _COUNTS_PIXELS or raster.unit:
        return raster
    plane = pixels.reshape(len(pixels), -1)
    plane = plane[:: max(1, plane.shape[0] // 512)].copy()  # enough rows to tell
    release(pixels)
    if plane.shape[1] < 16 or not _is_swapped(plane):
        return raster
    raster.pixels = pixels.byteswap()
    note = f"{raster.name}: its 16-bit values have their bytes swapped (as in PNGs taken out of FLIR files); put right"
    raster.warnings = (*raster.warnings, note)
    return raster


def _is_swapped(plane: np.ndarray) -> bool:
    """Whether a plane is far smoother with its bytes exchanged: it looks like noise, or its second bytes are the few
    first bytes of counts, which span little.
    """
    now, then = _roughness(plane), _roughness(plane.byteswap())
    if now >= 0.7 and then <= 0.25 * now:
        return True
    first, second = plane >> 8, plane & 255
    few = second.min() >= 1 and second.max() - second.min() < _FEW_BYTES
    return bool(few and then <= 0.5 * now and np.count_nonzero(np.bincount(first.ravel())) >= _FEW_BYTES)


def _roughness(plane: np.ndarray) -> float:
    """Mean difference of neighbours, relative to the standard deviation: near 1.1 for noise, below 0.3 for pictures."""
    values = plane.astype(np.float64)
    return float(np.abs(np.diff(values, axis=1)).mean() / max(values.std(), 1e-9))


def undo_palette(raster: Raster) -> None:
    """Takes false colours of a known palette back to the scalar that they show; names unknown ones."""
    pixels = raster.pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or channels_of(pixels) != 3 or raster.unit:
        return
    name = recognise(pixels)
    if name is not None:
        raster.pixels, raster.icc, raster.palette = scalar(pixels, name), None, name
        note = f"{raster.name}: its false colours are the palette {name}, and were turned back into grey values"
        order = ", red the smallest" if name == "rainbow" else ""
        raster.warnings = (*raster.warnings, f"{note}{order}; --range none keeps the colours")
    elif not raster.is_indexed and is_unknown_palette(pixels):
        note = f"{raster.name}: its false colours come from an unknown palette and are taken for real ones"
        raster.warnings = (*raster.warnings, f"{note}; give the grey picture of the camera")
    release(pixels)


def native_order(raster: Raster) -> Raster:
    if not raster.pixels.dtype.isnative:
        raster.pixels = raster.pixels.astype(raster.pixels.dtype.newbyteorder("="))
    return raster


def channels_of(pixels: np.ndarray) -> int:
    return 1 if pixels.ndim == 2 else int(pixels.shape[2])


def valid_mask(raster: Raster) -> np.ndarray | None:
    """(H, W), False where there is no value: the file's nodata, and NaN in a margin around the picture."""
    pixels = raster.pixels
    if pixels.ndim not in (2, 3) or not pixels.size:
        return None
    planes = pixels.reshape(*pixels.shape[:2], -1)
    none = np.zeros(pixels.shape[:2], bool)
    if raster.nodata is not None and not np.isnan(raster.nodata):
        none |= (planes == raster.nodata).all(axis=2)
    if pixels.dtype.kind == "f" and raster.file is not None:
        lost = np.isnan(planes).any(axis=2)
        reached = np.zeros_like(lost)
        for axis in (0, 1):
            for order in (slice(None), slice(None, None, -1)):
                turned = np.moveaxis(lost, axis, 0)[order]
                np.moveaxis(reached, axis, 0)[order] |= np.logical_and.accumulate(turned, axis=0)
        declared = raster.nodata is not None and np.isnan(raster.nodata)
        none |= lost if declared or (reached == lost).all() else False
    release(pixels)
    return ~none if none.any() and not none.all() else None


def limits_of(pixels: np.ndarray, valid: np.ndarray | None) -> tuple[float, float]:
    """Smallest and largest value where there is one."""
    blocks = list(_blocks(pixels, valid))
    if not blocks:
        return 0.0, 0.0
    return min(low for low, _ in blocks), max(high for _, high in blocks)


def _blocks(pixels: np.ndarray, valid: np.ndarray | None) -> Iterator[tuple[float, float]]:
    step = max(1, _BLOCK // max(1, pixels[:1].size))
    for top in range(0, len(pixels), step):
        block = pixels[top : top + step]
        block = block if valid is None else block[valid[top : top + step].reshape(block.shape[: valid.ndim])]
        if block.size:
            with np.errstate(invalid="ignore"):
                low, high = float(np.min(block)), float(np.max(block))
            if not (np.isnan(low) or np.isnan(high)):  # NaN and infinity are refused later, by number
                yield low, high
        release(pixels, valid)


def is_counts(raster: Raster, low: float, high: float) -> bool:
    """Whether grey values are counts of a sensor that start far from black, as those of thermal cameras do.

    They span at most an eighth of 16 bits, and their smallest value is at least as far from 0 as from the largest.
    """
    size = raster.pixels.shape[0] * raster.pixels.shape[1]
    return size >= _COUNTS_PIXELS and 0 < high - low <= min(_COUNTS_SPAN, low)


def without_dead(raster: Raster, limits: tuple[float, float]) -> tuple[float, float] | None:
    """Limits of counts among which few pixels are dead, at 0 or 65535; None where these are no such counts."""
    pixels = raster.pixels
    is_16_bit = pixels.dtype == np.uint16 and raster.white is None and raster.file is not None
    if not is_16_bit or channels_of(pixels) != 1 or (limits[0] > 0 and limits[1] < 65535):
        return None
    alive = (pixels > 0) & (pixels < 65535)
    release(pixels)
    if alive.mean() < 1 - _DEAD:
        return None
    low, high = limits_of(pixels, alive)
    return (low, high) if is_counts(raster, low, high) else None
