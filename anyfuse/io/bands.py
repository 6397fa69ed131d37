"""Images of any number of bands, values as stored: what pansharpening reads."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..arrays import Tensor
from ..errors import FusionError
from ..image.frame import Frame
from ..image.metadata import NOTHING, Metadata
from .exif import tiff_directories
from .frames import as_raster, as_raster_size
from .levels import upright
from .limits import check_directories
from .palettes import is_unknown_palette, recognise
from .pillow import clear_errors
from .raster import Raster
from .read import page_sizes, read_rasters
from .readers.tiff import band_count, read_bands
from .sniff import HEAD, title_of
from .values import native_order, valid_mask

DEPTHS = ("uint8", "uint16", "int16", "float32")
"""What is kept as it is; all other values become float32."""
_NODATA = 42113  # tag of GeoTIFF


@dataclass(frozen=True, eq=False)
class Bands:
    """One image with all of its bands."""

    pixels: np.ndarray  # (H, W, K) of DEPTHS, as stored
    name: str  # for messages
    known: np.ndarray | None = None  # (H, W) bool, where it has values; None: everywhere
    nodata: float | None = None  # the value that stands for none
    file: str | None = None  # where it is from
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    metadata: Metadata = NOTHING
    warnings: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def count(self) -> int:
        """Bands; 1 where three of them are equal, as in a grey JPEG stored as RGB."""
        return 1 if self.is_grey else int(self.pixels.shape[2])

    @property
    def is_grey(self) -> bool:
        """Whether there is one band, or three that do not differ."""
        first = self.pixels[:, :, :1]
        return self.pixels.shape[2] == 1 or (self.pixels.shape[2] == 3 and bool((self.pixels == first).all()))

    @property
    def shows_palette(self) -> bool:
        """Whether its three bands are false colours of one measured value, as those of thermal cameras."""
        if self.pixels.dtype != np.uint8 or self.pixels.shape[2] != 3:
            return False
        return recognise(self.pixels) is not None or is_unknown_palette(self.pixels)

    @property
    def facts(self) -> dict[str, Any]:
        """name, width, height, depth, bands, for reports."""
        size = {"width": self.width, "height": self.height, "depth": str(self.pixels.dtype)}
        return {"name": self.name, **size, "colour": self.count > 1, "bands": self.count}

    def geo_of(self, other: Bands) -> Metadata:
        """The metadata of this image, with the nodata value of another one."""
        place = [tag for tag in self.metadata.geo if tag[0] != _NODATA]
        return replace(self.metadata, geo=(*place, *(tag for tag in other.metadata.geo if tag[0] == _NODATA)))


def size_of(image: Any) -> tuple[int, int, int | None] | None:
    """Height, width and bands of an image by its header; bands are None, or all is, where that says nothing.

    Without the bands that are alpha. Of a file of several pages the first counts.
    """
    if not isinstance(image, str | os.PathLike):
        try:
            size = as_raster_size(image)
        except (ValueError, RuntimeError):  # a tensor of another shape or layout
            return None
        count = int(image.shape[-1]) if isinstance(image, np.ndarray) and image.ndim == 3 else None
        return None if size is None else (size[0], size[1], None if count == 4 else count)
    name = os.fspath(image)
    if not os.path.isfile(name):
        return None
    try:
        with clear_errors(name), open(name, "rb") as file:
            if _is_tiff(file, name):
                _, tags = tiff_directories(file, os.fstat(file.fileno()).st_size)[0]
                return int(tags[257]), int(tags[256]), band_count(tags)[0]
        found = page_sizes(name)[0]
    except FusionError:
        return None  # whoever reads it says what is wrong
    return None if found is None else (found[0], found[1], None)


def _is_tiff(file: BinaryIO, name: str) -> bool:
    """Whether an open file is a TIFF, whose directories are sound then."""
    if title_of(file.read(HEAD)) != "TIFF":
        return False
    check_directories(file, name)
    return True


def read_all_bands(image: Any, place: int) -> Bands:
    """The bands of a file, or of an image in memory: an array (H, W) or (H, W, K), of which 4 are RGB and alpha, or
    what `frames.from_arrays` takes. place: number of the image, from 1, for messages.

    Raises FusionError: a file that cannot be read, or values that are no numbers.
    """
    raster = _raster(image, place)
    if isinstance(raster, Frame):
        known = None if raster.opacity is None else raster.opacity > 0
        return Bands(raster.pixels, raster.name, known, None, raster.file, raster.exif, raster.icc, raster.dpi)
    raster = upright(native_order(raster))
    pixels = raster.pixels if raster.pixels.ndim == 3 else raster.pixels[:, :, None]
    if pixels.ndim != 3 or not pixels.size or pixels.dtype.kind not in "uif":
        raise FusionError(f"{raster.name}: {pixels.dtype} of shape {pixels.shape} is no image; give (H, W, bands)")
    known = valid_mask(raster)
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels).all(axis=2)
        known = known if finite.all() else finite if known is None else known & finite
    if raster.alpha is not None and not (raster.alpha > 0).all():
        known = raster.alpha > 0 if known is None else known & (raster.alpha > 0)
    if known is not None and not known.any():
        raise FusionError(f"{raster.name}: has no pixel with a value")
    return Bands(
        pixels if pixels.dtype.name in DEPTHS else pixels.astype(np.float32),
        raster.name,
        known,
        raster.nodata,
        raster.file,
        raster.exif,
        raster.icc,
        raster.dpi,
        raster.metadata,
        raster.warnings,
    )


def _raster(image: Any, place: int) -> Raster | Frame:
    if not isinstance(image, str | os.PathLike):
        if not isinstance(image, np.ndarray | Tensor | Image.Image | Frame):
            raise FusionError(f"image {place}: cannot take a {type(image).__name__}; give a path or an array")
        return as_raster(image, f"image {place}")
    name = os.fspath(image)
    with clear_errors(name), open(name, "rb") as file:
        found = read_bands(file, name) if _is_tiff(file, name) else None
    return read_rasters(image)[0] if found is None else found
