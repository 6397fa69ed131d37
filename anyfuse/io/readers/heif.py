"""HEIC and HEIF by pillow-heif: 8 to 12 bits, colour profile, EXIF, XMP."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from ...errors import FusionError
from ...image.metadata import Metadata
from ..atomic import one_line
from ..pillow import check_size, clear_errors
from ..raster import Pages, Raster, Size
from .extra import needed


def open_heif(file: BinaryIO, name: str) -> Pages:
    """The primary picture first, then the others. libheif turns them upright itself."""
    heif = needed("pillow_heif", "heif", name, "a HEIC image")
    pictures = _opened(heif, file, name)
    count, primary = len(pictures), int(pictures.primary_index)

    def read(page: int) -> Raster:
        with clear_errors(name), open(name, "rb") as again:
            return _read(_opened(heif, again, name)[page], name)

    def size(page: int) -> Size:
        width, height = pictures[page].size
        mode, _, bits = str(pictures[page].mode).partition(";")
        return int(height), int(width), len(mode) * (2 if bits else 1)

    return Pages(read, count, "pictures", primary, together=False, size=size)


def _opened(heif: Any, file: BinaryIO, name: str) -> Any:
    try:
        return heif.open_heif(file, convert_hdr_to_8bit=False)
    except (ValueError, RuntimeError, EOFError, OSError, SyntaxError) as error:
        raise FusionError(f"{name}: cannot be read ({one_line(error)}); save or download it again") from None


def _read(image: Any, name: str) -> Raster:
    check_size(name, *image.size)
    try:
        data = np.asarray(image)
    except (ValueError, RuntimeError, EOFError, OSError, SyntaxError) as error:
        raise FusionError(f"{name}: is damaged ({one_line(error)}); save or download it again") from None
    data = data[:, :, None] if data.ndim == 2 else data
    mode, info = str(image.mode), image.info
    notes: tuple[str, ...] = ()
    bits = int(info.get("bit_depth", 8))
    if bits > 8:
        notes += (f"{name}: {bits} bits are spread over 16",)
    alpha = None
    if data.shape[2] in (2, 4):
        data, alpha = data[:, :, :-1], data[:, :, -1]
        if "a" in mode.partition(";")[0]:  # premultiplied, as in RGBa
            from ..pillow import unpremultiply

            data = unpremultiply(np.ascontiguousarray(data), np.ascontiguousarray(alpha))
    exif = info.get("exif") or None
    exif = exif[6:] if exif and exif.startswith(b"Exif\0\0") else exif
    found = Metadata(xmp=info.get("xmp") or None)
    icc = info.get("icc_profile") or None
    return Raster(np.ascontiguousarray(data), alpha, name, 1, exif, icc, None, notes, found)
