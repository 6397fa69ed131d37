"""DICOM by pydicom: rescale, window, MONOCHROME1, frames of a file, files of a series."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import FusionError
from ...image.metadata import Metadata
from ..atomic import one_line
from ..pillow import check_size
from ..pseudocolour import TRACERS
from ..raster import Pages, Raster, Size
from .extra import needed

_SERIES = 20000  # files of a folder that are looked at

_DAMAGED = (
    ValueError,  # too few bytes, text where a number is meant
    TypeError,  # several values where one is meant, none at all
    AttributeError,  # an element that pixels need is absent
    LookupError,  # a table of colours that is too short
    ArithmeticError,
    RuntimeError,  # no decoder takes the pixels; NotImplementedError: an unknown kind of value, or of compression
    OSError,
    EOFError,
    struct.error,  # the file ends within an element
    zlib.error,  # of a deflated file
)
"""What pydicom, its decoders and numpy raise on damaged files, beside errors of its own (`_errors`)."""

_BROKEN = "is a damaged DICOM file", "save or download it again"


def _errors(pydicom: Any) -> tuple[type[Exception], ...]:
    """`_DAMAGED`, and pydicom's own errors."""
    return (*_DAMAGED, pydicom.errors.BytesLengthException, pydicom.errors.InvalidDicomError)


@contextmanager
def _refused(pydicom: Any, name: str, what: str, remedy: str) -> Iterator[None]:
    """A file that is damaged as a FusionError: "NAME: WHAT (reason); REMEDY". Elements are converted when they are
    read, so a damaged one is noticed then.
    """
    try:
        yield
    except FusionError:
        raise
    except _errors(pydicom) as error:
        raise FusionError(f"{name}: {what} ({one_line(error)}); {remedy}") from None


def open_dicom(file: BinaryIO, name: str) -> Pages:
    """The frames of one file."""
    pydicom = needed("pydicom", "medical", name, "a DICOM file")
    data = _loaded(pydicom, file, name)
    with _refused(pydicom, name, *_BROKEN):
        count = int(data.get("NumberOfFrames", 1) or 1)
    first = count // 2 if count > 1 else 0
    return Pages(
        lambda page: _read(pydicom, data, name, page), count, "frames", first, size=lambda _: _size(pydicom, data)
    )


def _size(pydicom: Any, data: Any) -> Size | None:
    try:
        return int(data.Rows), int(data.Columns), max(1, int(data.get("BitsAllocated", 16)) // 4)  # rescaled: wider
    except _errors(pydicom):
        return None


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` (132 bytes or more) is DICOM, with or without its preamble."""
    return head[128:132] == b"DICM" or (
        head[:4] in (b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0", b"\x08\0\0\0", b"\x02\0\0\0")
        and head[4:6] in (b"CS", b"UI", b"UL", b"\x04\0", b"\x0a\0", b"\x1a\0")
    )


def open_series(folder: str) -> Pages:
    """The slices of the series in a folder, in the order of their places in space."""
    pydicom = needed("pydicom", "medical", folder, "a folder of DICOM files")
    slices: list[tuple[float, str]] = []
    series: dict[str, str] = {}
    for path in sorted(Path(folder).iterdir())[:_SERIES]:
        if not path.is_file() or path.name.startswith(".") or path.name.upper() == "DICOMDIR":
            continue
        with open(path, "rb") as file:
            if not is_dicom(file.read(132)):
                continue
            file.seek(0)
            data = _loaded(pydicom, file, str(path), pixels=False)
        with _refused(pydicom, str(path), *_BROKEN):
            if "Rows" not in data:
                continue
            title = str(data.get("SeriesDescription", "") or path.name)
            series.setdefault(str(data.get("SeriesInstanceUID", "")), title)
            slices.append((_place(data), str(path)))
    if len(series) > 1:
        some = ", ".join(list(series.values())[:4])
        raise FusionError(f"{folder}: holds {len(series)} DICOM series ({some}); give a folder for each")
    if not slices:
        raise FusionError(f"{folder}: holds no DICOM image")
    files = [path for _, path in sorted(slices)]
    limits: list[tuple[float, float, str]] = []

    def read(page: int) -> Raster:
        raster = _whole(pydicom, files[page])
        if raster.window is None and raster.unit:
            if not limits:
                limits.append(_series_limits(pydicom, files))
            raster.window = limits[0]
        return raster

    return Pages(read, len(files), "slices", len(files) // 2)


def _whole(pydicom: Any, path: str) -> Raster:
    with open(path, "rb") as file:
        return _read(pydicom, _loaded(pydicom, file, path), path, 0)


def _series_limits(pydicom: Any, files: list[str]) -> tuple[float, float, str]:
    found = [(float(r.pixels.min()), float(r.pixels.max())) for r in (_whole(pydicom, path) for path in files)]
    low, high = min(low for low, _ in found), max(high for _, high in found)
    return low, high if high > low else low + 1.0, "smallest and largest value of the series"


def _place(data: Any) -> float:
    """Where a slice is along the normal of its plane; its number where the file does not say."""
    with suppress(TypeError, ValueError, KeyError, AttributeError):
        axes = np.array(data.ImageOrientationPatient, float).reshape(2, 3)
        return float(np.cross(axes[0], axes[1]) @ np.array(data.ImagePositionPatient, float))
    with suppress(TypeError, ValueError):
        return float(data.get("InstanceNumber", 0) or 0)
    return 0.0


def _loaded(pydicom: Any, file: BinaryIO, name: str, pixels: bool = True) -> Any:
    with _refused(pydicom, name, *_BROKEN):
        data = pydicom.dcmread(file, force=True, stop_before_pixels=not pixels)
        if pixels and ("Rows" not in data or "Columns" not in data):
            raise FusionError(f"{name}: is a DICOM file without an image; give one with pixels")
    return data


def _read(pydicom: Any, data: Any, name: str, page: int) -> Raster:
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    with _refused(pydicom, name, *_BROKEN):
        check_size(name, int(data.Columns), int(data.Rows))
        kind = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    found = Metadata(header=data)
    with _refused(pydicom, name, "its DICOM pixels cannot be read", "save it uncompressed"):
        stored = pixel_array(data, index=page)  # YBR becomes RGB
        if kind == "PALETTE COLOR":
            stored = apply_color_lut(stored, data)
        if stored.ndim == 3:
            return Raster(np.ascontiguousarray(stored), name=name, metadata=found)
        values = np.asarray(apply_modality_lut(stored, data))
    with _refused(pydicom, name, *_BROKEN):
        return _scaled(data, values, kind, name, found)


def _scaled(data: Any, values: np.ndarray, kind: str, name: str, found: Metadata) -> Raster:
    """The raster of grey values, with window, padding and unit as the file says."""
    values = values.astype(np.float32) if values.dtype != np.uint8 else values
    window = _window(data)
    has_rescale = "RescaleSlope" in data or "ModalityLUTSequence" in data
    plain = values.dtype == np.uint8 and window is None and not has_rescale
    unit = str(data.get("RescaleType", "") or ("HU" if data.get("Modality") == "CT" else data.get("Units", "")) or "")
    nodata = None
    if "PixelPaddingValue" in data and not plain:
        padding = float(data.PixelPaddingValue)
        nodata = padding * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    if kind == "MONOCHROME1":  # turned about the middle of what the file can store, so that slices stay comparable
        middle = _stored_sum(data)
        values = (255 - values) if plain else (np.float32(middle) - values.astype(np.float32))
        window = None if window is None else (middle - window[1], middle - window[0], window[2])
        nodata = None if nodata is None else middle - nodata
    if not plain and values.dtype.kind == "f" and (values == np.rint(values)).all() and np.abs(values).max() < 2**24:
        values = values.astype(np.int32)  # the result has 16 bits then
    return Raster(
        np.ascontiguousarray(values),
        name=name,
        unit="" if plain else (unit or "stored values"),
        scale="" if unit else f"{data.get('Modality', '')} {data.get('SeriesInstanceUID', '')}",
        window=window,
        nodata=nodata,
        is_tracer=str(data.get("Modality", "")) in TRACERS,
        metadata=found,
    )


def _stored_sum(data: Any) -> float:
    """Smallest and largest value that the file can store, rescaled, together."""
    slope, intercept = float(data.get("RescaleSlope", 1) or 1), float(data.get("RescaleIntercept", 0) or 0)
    ends = 0 if not data.get("PixelRepresentation", 0) else -(2 ** int(data.BitsStored)) // 2
    return slope * (2 * ends + 2 ** int(data.BitsStored) - 1) + 2 * intercept


def _window(data: Any) -> tuple[float, float, str] | None:
    """Black and white of the file's first window (linear, PS3.3 C.11.2.1.2)."""
    with suppress(TypeError, ValueError, IndexError):
        centre, width = data.get("WindowCenter"), data.get("WindowWidth")
        if centre is None or width is None:
            return None
        first, wide = (float(v if isinstance(v, str) or not hasattr(v, "__len__") else v[0]) for v in (centre, width))
        if wide > 1:
            exact = data.get("VOILUTFunction") == "LINEAR_EXACT"
            low = first - wide / 2 if exact else first - 0.5 - (wide - 1) / 2
            return low, low + (wide if exact else wide - 1), f"window {first:g}/{wide:g} of the file"
    return None
