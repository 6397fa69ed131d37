"""Cameras' raw files by rawpy (LibRaw): the full picture, never the preview in it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from ...errors import FusionError
from ..atomic import one_line
from ..exif import tiff_exif
from ..pillow import check_size, clear_errors
from ..raster import Pages, Raster, Size
from .extra import needed


def open_raw(file: BinaryIO, name: str) -> Pages:
    """16-bit sRGB with the camera's white balance. Brightness is not adapted, so brackets keep their exposures."""
    rawpy = needed("rawpy", "raw", name, "a camera's raw file")

    def read(_: int) -> Raster:
        with clear_errors(name):
            return _read(rawpy, name)

    return Pages(read, size=lambda _: _size(rawpy, name))


def _size(rawpy: Any, name: str) -> Size | None:
    """By the header: 16-bit RGB of the turned picture."""
    with suppress(rawpy.LibRawError), rawpy.imread(name) as raw:
        return int(raw.sizes.iheight), int(raw.sizes.iwidth), 6
    return None


def _read(rawpy: Any, name: str) -> Raster:
    with open(name, "rb") as file:
        exif = None
        with suppress(Exception):  # only TIFF-based formats have it where it can be read
            exif = tiff_exif(file)
        file.seek(0)
        try:
            with rawpy.imread(file) as raw:
                check_size(name, raw.sizes.width, raw.sizes.height)
                balance = list(raw.camera_whitebalance or ())
                balanced = len(balance) >= 3 and balance[0] > 0 and balance[1] > 0
                pixels = raw.postprocess(
                    output_bps=16, use_camera_wb=balanced, no_auto_bright=True, output_color=rawpy.ColorSpace.sRGB
                )
        except rawpy.LibRawError as error:
            raise FusionError(f"{name}: cannot be read as a raw file ({one_line(error)}); develop it to TIFF") from None
    wb = "the camera's white balance" if balanced else "daylight white balance, it holds none of the camera's"
    note = f"{name}: developed to 16-bit sRGB with {wb}, at its own exposure"
    return Raster(np.ascontiguousarray(pixels), None, name, 1, exif, warnings=(note,))
