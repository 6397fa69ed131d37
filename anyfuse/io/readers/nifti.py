"""NIfTI by nibabel: slices of a volume, one below the other."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import FusionError
from ...image.metadata import Metadata
from ..atomic import one_line
from ..pillow import check_size
from ..pseudocolour import is_named_tracer
from ..raster import Pages, Raster
from .extra import needed


def open_nifti(file: BinaryIO, name: str) -> Pages:
    """Slices along the third axis; of a file without a choice the middle one is read. The front is up."""
    nibabel = needed("nibabel", "medical", name, "a NIfTI volume")
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)  # it prints what it has put right in a header
    try:
        image = nibabel.load(name) if name.endswith((".nii", ".nii.gz")) else _by_content(nibabel, name)
        shape = image.shape
    except _errors(nibabel) as error:
        raise FusionError(f"{name}: cannot be read as NIfTI ({one_line(error)}); save or download it again") from None
    if len(shape) < 2 or len([n for n in shape[3:] if n > 1]) > 0:
        raise FusionError(f"{name}: has the shape {shape}; give a volume of 2 or 3 axes")
    check_size(name, *shape[:2])
    count = shape[2] if len(shape) > 2 else 1
    window: list[tuple[float, float, str]] = []

    def read(page: int) -> Raster:
        try:
            if image.get_data_dtype().names:  # RGB24
                data = np.asanyarray(image.dataobj[..., page] if len(shape) > 2 else image.dataobj)
                plane = np.stack([data[n] for n in ("R", "G", "B")], -1).reshape(*shape[:2], 3)
                return Raster(to_rows(plane), name=name, metadata=Metadata(header=image))
            if not window:
                window.append(_window(image))
            plane = np.asanyarray(image.dataobj[:, :, page] if len(shape) > 2 else image.dataobj)
        except _errors(nibabel) as error:
            raise FusionError(f"{name}: is truncated or damaged ({one_line(error)}); save it again") from None
        plane = plane.reshape(shape[:2])
        plane = plane.astype(np.float32) if plane.dtype.kind == "f" else plane
        plain = plane.dtype == np.uint8 and window[0][2].endswith("volume")
        return Raster(
            to_rows(plane),
            name=name,
            unit="" if plain else "stored values",
            window=None if plain else window[0],
            is_tracer=is_named_tracer(Path(name).name),
            metadata=Metadata(header=image),
        )

    size = (int(shape[1]), int(shape[0]), 4)  # shown as rows along the second axis
    return Pages(read, count, "slices", count // 2, size=lambda _: size)


def _errors(nibabel: Any) -> tuple[type[Exception], ...]:
    """What nibabel, zlib and numpy raise on damaged files."""
    own = (
        nibabel.filebasedimages.ImageFileError,
        nibabel.wrapstruct.WrapStructError,
        nibabel.spatialimages.HeaderDataError,
    )
    return (*own, OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, zlib.error)


def _by_content(nibabel: Any, name: str) -> Any:
    with open(name, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        import gzip

        data = gzip.decompress(data)
    kind = nibabel.Nifti2Image if data[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Image
    return kind.from_bytes(data)


def _window(image: Any) -> tuple[float, float, str]:
    """Black and white of the whole volume: those of its header, or its smallest and largest value."""
    low, high = float(image.header["cal_min"]), float(image.header["cal_max"])
    if np.isfinite((low, high)).all() and high > low:
        return low, high, "cal_min and cal_max of the file"
    values = np.asanyarray(image.dataobj)
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0, "smallest and largest value of the volume"


def to_rows(plane: np.ndarray) -> np.ndarray:
    """(x, y, ...) of a volume -> (rows, columns, ...), y upwards."""
    return np.ascontiguousarray(plane.swapaxes(0, 1)[::-1])


def from_rows(rows: np.ndarray) -> np.ndarray:
    """(rows, columns, ...) -> (x, y, ...): undoes `to_rows`."""
    return np.ascontiguousarray(rows[::-1].swapaxes(0, 1))
