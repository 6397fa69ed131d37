"""TIFF and BigTIFF: pages, every depth, CMYK and Lab, and what TIFF says of places and microscopes."""

from __future__ import annotations

import os
import re
import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from PIL import TiffImagePlugin

from ...errors import FusionError
from ...image.metadata import Metadata, TiffTag
from ..exif import TiffFile, swapped, tiff_directories, tiff_directory, tiff_exif
from ..lab import lab_to_srgb
from ..pillow import check_size, clear_errors, dpi_of, pil_pixels, unpremultiply
from ..raster import Pages, Raster, Size
from .oiio import read_channels, read_oiio, split_channels
from .planes import hidden_pages, layout_of, one_stack, read_hidden
from .raw import open_raw
from .tiff_data import OWN, UNKNOWN, byte_order_of, read_data

GEO = (33550, 33922, 34264, 34735, 34736, 34737, 42113)  # scale, tie points, matrix, keys, nodata
MAX_OFFSET = 1e6  # pixels; a piece that claims to lie further off stays where it is
_UNITS = {"micron": 1.0, "um": 1.0, "µm": 1.0, "\\u00B5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_UNITS |= {"inch": 25400.0, "μm": 1.0}


def open_tiff(file: BinaryIO, name: str) -> Pages:
    """The pages of a TIFF, without reduced copies and masks; a camera's raw file goes to its own reader."""
    size = os.fstat(file.fileno()).st_size
    directories = tiff_directories(file, size)
    if _is_raw(file, directories):
        return open_raw(file, name)
    pages = [k for k, (_, tags) in enumerate(directories) if k == 0 or not _number(tags, 254, 0) & 5]

    first = directories[0][1]
    text = _description(first)
    hidden = hidden_pages(text, first, size) if len(pages) == 1 else 1

    def read(page: int) -> Raster:
        own = pages[0 if hidden > 1 else page]
        with clear_errors(name), open(name, "rb") as again:
            raster = _read_page(again, name, size, own, *directories[own])
            if hidden > 1 and page:
                raster.pixels = read_hidden(again, name, first, byte_order_of(again), page)
                if first.get(262) == 0:
                    raster.pixels = _inverted(raster.pixels)
            if raster.metadata.pixel_um is None and (um := _pixel_um(text, directories[own][1])):
                raster.metadata = replace(raster.metadata, pixel_um=um)  # the first page says so for all
                raster.dpi = raster.dpi or dpi_of(25400 / um[0], 25400 / um[1])
        return raster

    count = max(len(pages), hidden)
    stack, note = one_stack(layout_of(text, count, _number(first, 277, 1)), name)
    sizes = [_size(directories[page][1]) for page in pages]
    return Pages(read, count, size=lambda page: sizes[min(page, len(sizes) - 1)], stack=stack, note=note)


def _size(tags: Any) -> Size | None:
    if 256 not in tags or 257 not in tags:
        return None
    bits = tags.get(258, (1,))
    widest = max(bits) if isinstance(bits, tuple) else int(bits)
    channels = 3 if tags.get(262) == 3 else _number(tags, 277, 1)
    return int(tags[257]), int(tags[256]), channels * max(1, widest // 8)


def _is_raw(file: BinaryIO, directories: list[tuple[int, Any]]) -> bool:
    """Whether some directory holds a colour filter array or linear raw data; cameras' formats are TIFF files."""
    file.seek(8)
    if file.read(2) == b"CR":
        return True
    for _, tags in directories:
        with suppress(Exception):
            below = tags.get(330, ())
            for offset in (below,) if isinstance(below, int) else below:
                if tiff_directory(file, int(offset)).get(262) in (32803, 34892):
                    return True
        if tags.get(262) in (32803, 34892):
            return True
    return False


def _read_page(file: BinaryIO, name: str, size: int, index: int, offset: int, tags: Any) -> Raster:
    if 256 not in tags or 257 not in tags:
        raise FusionError(f"{name}: is truncated, its size is missing; save or download it again")
    check_size(name, int(tags[256]), int(tags[257]))
    parts = [(tags[a], tags[b]) for a, b in ((273, 279), (324, 325)) if a in tags and b in tags]
    end = max((o + n for offsets, counts in parts for o, n in zip(offsets, counts, strict=False)), default=0)
    if end > size:
        raise FusionError(f"{name}: is truncated after {size} of {end} bytes; save or download it again")
    if tags.get(259) in UNKNOWN:
        raise FusionError(f"{name}: is compressed with {UNKNOWN[tags[259]]}; save it with deflate or without")
    if tags.get(32997, 1) != 1:
        raise FusionError(f"{name}: holds a volume of {tags[32997]} slices in one page; save one page per slice")
    pixels, alpha, icc, notes = _pixels(file, name, index, tags)
    if tags.get(262) == 0 and pixels.dtype != np.uint8:  # white is zero
        pixels = _inverted(pixels)
    metadata, dpi, more = _metadata(file, name, offset, tags)
    turn = _number(tags, 274, 1)
    return Raster(
        pixels,
        alpha,
        name,
        turn,
        tiff_exif(file, offset),
        icc,
        dpi,
        notes + more,
        metadata,
        nodata=_nodata(tags),
        offset=_offset(tags) if turn == 1 else None,
    )


def read_bands(file: BinaryIO, name: str) -> Raster | None:
    """All channels of the first page of a TIFF, as stored, (H, W, K) with K of 4 or more; a last one that is marked as
    alpha apart. None where there are fewer, or where colours have to be converted: other readers do that.
    """
    directories = tiff_directories(file, os.fstat(file.fileno()).st_size)
    offset, tags = directories[0]
    count, extra = band_count(tags)
    if count + extra < 4 or tags.get(262) not in (0, 1, 2) or tags.get(259) in UNKNOWN or _is_raw(file, directories):
        return None
    check_size(name, int(tags[256]), int(tags[257]))
    if tags.get(259) in OWN:
        data = read_data(file, tags, byte_order_of(file), name)
    else:
        data = read_channels(name, "tiff")
    alpha = data[:, :, count] if extra else None
    metadata, dpi, notes = _metadata(file, name, offset, tags)
    return Raster(
        data[:, :, :count],
        alpha,
        name,
        _number(tags, 274, 1),
        tiff_exif(file, offset),
        None,
        dpi,
        notes,
        metadata,
        nodata=_nodata(tags),
        file=name,
    )


def band_count(tags: Any) -> tuple[int, int]:
    """Channels of a page: those that are bands, and those that are alpha (0 or 1)."""
    samples, kinds = _number(tags, 277, 1), tags.get(338, ())
    has_alpha = bool(kinds) and kinds[-1] in (1, 2) and samples > 1
    return samples - has_alpha, int(has_alpha)


def _number(tags: Any, tag: int, default: int) -> int:
    """A tag that is one whole number, or the default where it is missing or something else."""
    value = tags.get(tag, default)
    return value if isinstance(value, int) else default


def _offset(tags: Any) -> tuple[int, int] | None:
    """The place of a piece on its canvas in pixels, of the tags XPosition and YPosition, or None."""
    if any(tag not in tags for tag in (282, 283, 286, 287)):
        return None
    x, y = (float(tags[place]) * float(tags[density]) for place, density in ((286, 282), (287, 283)))
    return (round(x), round(y)) if max(abs(x), abs(y)) < MAX_OFFSET else None


Decoded = tuple[np.ndarray, np.ndarray | None, bytes | None, tuple[str, ...]]


def _pixels(file: BinaryIO, name: str, index: int, tags: Any) -> Decoded:
    """Pixels, alpha, ICC profile and warnings of one page."""
    icc = tags.get(34675) if isinstance(tags.get(34675), bytes) else None
    kind, bits = tags.get(262), max(tags.get(258, (1,)))
    if kind in (8, 9) and bits == 16:
        return _lab(file, name, index, tags)
    if kind == 10 or (kind in (8, 9) and bits not in (8, 16)):
        raise FusionError(f"{name}: holds Lab colours of {bits} bits (ITU or float); save it as RGB")
    if bits == 64 and 324 in tags:  # OpenImageIO 3.2.2 returns wrong values, without an error
        raise FusionError(f"{name}: holds 64-bit floats in tiles; save as 32-bit float or in strips")
    if kind in (5, 8) and bits == 8:  # CMYK, Lab: through their profile
        file.seek(0)
        image = TiffImagePlugin.TiffImageFile(file)
        image.seek(index)
        return pil_pixels(image, icc, name)
    samples, extra = _number(tags, 277, 1), tags.get(338, ())
    if kind in (0, 1) and samples == 3 and len(extra) == 2 and extra[1] in (1, 2):
        raise FusionError(f"{name}: holds a grey channel, one of another kind and alpha; save the grey one with alpha")
    if tags.get(259) in OWN:
        data = read_data(file, tags, byte_order_of(file), name)
        if kind not in (0, 1, 2):
            raise FusionError(f"{name}: holds colours of kind {kind} under this compression; save it with deflate")
        has_alpha = tags.get(338, (0,))[0] in (1, 2) and data.shape[2] in (2, 4)
        pixels, alpha, notes = split_channels(name, data, data.shape[2] - 1 if has_alpha else -1, [])
        if kind == 0 and pixels.dtype == np.uint8:
            pixels = 255 - pixels
    else:
        pixels, alpha, notes = read_oiio(name, "tiff", index)
    if alpha is not None and 1 in extra:
        pixels = unpremultiply(pixels, alpha)
    if kind in (0, 1) and samples >= 3:
        notes = (*notes, f"{name}: its first 3 of {samples} channels, all called grey, are taken for red, green, blue")
    if kind == 5:
        icc, notes = None, (*notes, f"{name}: CMYK converted to sRGB without its profile")
    return pixels, alpha, icc, notes


def _lab(file: BinaryIO, name: str, index: int, tags: Any) -> Decoded:
    """16-bit Lab as 16-bit sRGB. CIELab has signed a and b, ICCLab has them shifted."""
    if tags.get(277) != 3 or tags.get(259) in OWN:
        raise FusionError(f"{name}: holds Lab colours of {tags.get(277)} channels; save it as RGB")
    data, _, _ = read_oiio(name, "tiff", index, RawColor=1)
    if data.dtype != np.uint16:
        raise FusionError(f"{name}: holds Lab colours that are read as {data.dtype}; save it as RGB")
    return lab_to_srgb(data, signed=tags[262] == 8), None, None, (f"{name}: 16-bit Lab converted to sRGB",)


def _inverted(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind == "u":
        return np.iinfo(pixels.dtype).max - pixels
    if pixels.dtype.kind == "i":
        return ~pixels
    return max(1.0, float(np.nanmax(pixels))) - pixels


def _nodata(tags: Any) -> float | None:
    with suppress(ValueError, TypeError):
        return float(str(tags[42113]).strip("\0 ")) if 42113 in tags else None
    return None


def _metadata(
    file: BinaryIO, name: str, offset: int, tags: Any
) -> tuple[Metadata, tuple[float, float] | None, tuple[str, ...]]:
    """XMP, IPTC, GeoTIFF tags, size of a pixel; resolution; what is left out."""
    blocks: dict[int, TiffTag] = {}
    with suppress(struct.error, KeyError):
        tiff = TiffFile(file)
        for tag, kind, count, raw in tiff.values(offset, lambda tag: tag in (*GEO, 700, 33723)):
            is_bytes = tag in (700, 33723)
            blocks[tag] = (tag, kind, count, raw if is_bytes or tiff.order == "<" else swapped(kind, raw))
    dpi = None
    has_resolution = 282 in tags and 283 in tags
    if has_resolution and tags.get(296, 2) in (2, 3):
        unit = 2.54 if tags.get(296, 2) == 3 else 1.0
        dpi = dpi_of(float(tags[282]) * unit, float(tags[283]) * unit)
    notes: tuple[str, ...] = ()
    text = _description(tags)
    size = _pixel_um(text, tags)
    if "<OME" in text[:4096]:
        kept = "but for the size of a pixel" if size else "for it holds for the source alone"
        notes += (f"{name}: its OME-XML was left out, {kept}",)
    if 42112 in tags:
        notes += (f"{name}: GDAL_METADATA was left out, it holds statistics of the source",)
    if size and dpi is None:
        dpi = dpi_of(25400 / size[0], 25400 / size[1])
    xmp, iptc = (blocks[tag][3] if tag in blocks else None for tag in (700, 33723))
    turned = tags.get(274, 1) != 1 and any(tag in blocks for tag in GEO[:6])
    if turned:
        notes += (f"{name}: GeoTIFF tags were left out, its pixels are stored turned",)
    geo = () if turned else tuple(blocks[tag] for tag in GEO if tag in blocks)
    return Metadata(xmp, iptc, geo=geo, pixel_um=size), dpi, notes


def _description(tags: Any) -> str:
    """The tag ImageDescription."""
    text = tags.get(270, "")
    text = text if isinstance(text, bytes) else str(text).encode("latin-1", "replace")  # Pillow takes it for Latin-1
    return str(text.decode("utf-8", "replace"))


def _pixel_um(text: str, tags: Any) -> tuple[float, float] | None:
    """Width and height of a pixel in micrometres, as ImageJ and OME-XML give them."""
    with suppress(ValueError, ZeroDivisionError, TypeError):
        if "<OME" in text[:4096]:
            sizes = []
            for axis in "XY":
                size = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
                unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
                factor = _UNITS.get(unit[1] if unit else "µm")
                if size is None or factor is None:
                    return None
                sizes.append(float(size[1]) * factor)
            return (sizes[0], sizes[1]) if min(sizes) > 0 else None
        unit = re.search(r"^unit=(.+?)\s*$", text, re.MULTILINE) if text.startswith("ImageJ=") else None
        factor = _UNITS.get(unit[1]) if unit else None
        if factor and 282 in tags and 283 in tags:
            return factor / float(tags[282]), factor / float(tags[283])
    return None
