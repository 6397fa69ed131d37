"""Pixels by OpenImageIO: PNG, TIFF, JPEG 2000, JPEG XL, OpenEXR and Radiance HDR."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import FusionError
from ...image.metadata import Metadata
from ..atomic import one_line
from ..boxes import metadata_boxes
from ..exif import exif_orientation
from ..pillow import check_size, dpi_of
from ..raster import Pages, Raster, Size

_SUFFIXES = {
    "png": (".png",),
    "tiff": (".tif", ".tiff"),
    "jpeg2000": (".jp2", ".j2k", ".j2c"),
    "jpegxl": (".jxl",),
    "openexr": (".exr",),
    "hdr": (".hdr",),
}


@contextlib.contextmanager
def opened(name: str, kind: str, **hints: int) -> Iterator[Any]:
    """The file as an ImageInput of format `kind`, whatever its suffix: OpenImageIO asks the suffix first."""
    import OpenImageIO as oiio  # here, so that what reads none of these formats runs without it

    config = oiio.ImageSpec()
    config["oiio:UnassociatedAlpha"] = 1
    for key, value in hints.items():
        config[f"oiio:{key}"] = value
    with contextlib.ExitStack() as stack:
        path = name
        if Path(name).suffix.lower() not in _SUFFIXES[kind] or not _is_text(name):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="anyfuse-"))
            path = os.path.join(folder, f"image{_SUFFIXES[kind][0]}")
            os.symlink(os.path.abspath(name), path)
        source = oiio.ImageInput.open(path, config)
        if source is None:
            raise FusionError(f"{name}: cannot be read ({one_line(oiio.geterror())}); save or download it again")
        try:
            if source.format_name() != kind:
                raise FusionError(f"{name}: cannot be read as {kind}; save or download it again")
            yield source
        finally:
            source.close()


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8, as OpenImageIO takes it."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def read_oiio(
    name: str, kind: str, page: int = 0, **hints: int
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Pixels (H, W, 1 | 3) and alpha (H, W) as stored, and warnings."""
    with opened(name, kind, **hints) as source:
        if page and not source.seek_subimage(page, 0):
            raise FusionError(f"{name}: page {page} cannot be read ({one_line(source.geterror())}); save it anew")
        spec = source.spec()
        check_size(name, spec.width, spec.height)
        data = source.read_image(page, 0, 0, spec.nchannels, spec.format)
        trouble = source.geterror()
    if data is None or trouble:
        raise FusionError(f"{name}: is truncated or damaged ({one_line(trouble)}); save or download it again")
    return split_channels(name, data, spec.alpha_channel, list(spec.channelnames))


def read_channels(name: str, kind: str) -> np.ndarray:
    """All channels of the first page as stored, (H, W, C)."""
    with opened(name, kind) as source:
        spec = source.spec()
        check_size(name, spec.width, spec.height)
        data = source.read_image(0, 0, 0, spec.nchannels, spec.format)
        trouble = source.geterror()
    if data is None or trouble:
        raise FusionError(f"{name}: is truncated or damaged ({one_line(trouble)}); save or download it again")
    return np.asarray(data)


def split_channels(
    name: str, data: np.ndarray, alpha: int, channels: list[str]
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Pixels, alpha and warnings of data (H, W, C); alpha: its channel, -1 if there is none."""
    count = data.shape[2]
    if count > 4:
        raise FusionError(f"{name}: has {count} channels; give 1 or 3, with or without alpha")
    colours = 3 if count >= 3 else 1
    if count == colours:
        return data, None, ()
    if alpha == colours:
        return data[:, :, :colours], data[:, :, colours], ()
    note = f"{name}: channel {count} is not marked as alpha and was left out"
    return data[:, :, :colours], None, (note,)


def _size(name: str, kind: str, each: int | None = None, page: int = 0) -> Size:
    """By the header; each: bytes per value as decoded, None: as stored."""
    with opened(name, kind) as source:
        source.seek_subimage(page, 0)
        spec = source.spec()
        return spec.height, spec.width, min(spec.nchannels, 4) * (each or max(1, spec.channel_bytes()))


def open_jpeg2000(file: BinaryIO, name: str) -> Pages:
    """JPEG 2000, files and code streams: grey or RGB, 8 or 16 bits."""
    return Pages(lambda _: _read_raster(name, "jpeg2000"), size=lambda _: _size(name, "jpeg2000"))


def open_jpegxl(file: BinaryIO, name: str) -> Pages:
    """JPEG XL: grey or RGB, 8 and 16 bits or float."""
    return Pages(lambda _: _read_raster(name, "jpegxl"), size=lambda _: _size(name, "jpegxl"))


def _read_raster(name: str, kind: str) -> Raster:
    pixels, alpha, notes = read_oiio(name, kind)
    with opened(name, kind) as source:
        spec = source.spec()
        icc = spec.getattribute("ICCProfile")
        x, y = spec.getattribute("XResolution"), spec.getattribute("YResolution")
        unit = spec.getattribute("ResolutionUnit")
        bits = spec.getattribute("oiio:BitsPerSample")
    dpi = dpi_of(float(x), float(y)) if x and y and unit in ("in", "inch") else None
    profile = None if icc is None else np.asarray(icc, np.uint8).tobytes()
    if bits and int(bits) not in (8, 16, 32) and pixels.dtype == np.uint16:
        notes = (*notes, f"{name}: {int(bits)} bits are spread over 16")
    with open(name, "rb") as file:
        exif, xmp, packed = metadata_boxes(file)
    if packed:
        notes = (*notes, f"{name}: its compressed EXIF or XMP was left out")
    turn = exif_orientation(exif) if kind == "jpeg2000" else 1  # libjxl turns pictures upright itself
    return Raster(pixels, alpha, name, turn, exif, profile, dpi, notes, Metadata(xmp=xmp))


def open_exr(file: BinaryIO, name: str) -> Pages:
    """OpenEXR: linear light, half or float; parts of a file are its pages."""
    with opened(name, "openexr") as source:
        count = 1
        while source.seek_subimage(count, 0) and count < 10000:
            count += 1
        source.geterror()
    return Pages(lambda page: _exr(name, page), count, "parts", size=lambda page: _size(name, "openexr", 4, page))


def _exr(name: str, page: int) -> Raster:
    with opened(name, "openexr") as source:
        source.seek_subimage(page, 0)
        spec = source.spec()
        if spec.deep:
            raise FusionError(f"{name}: holds deep data; flatten it first")
        names = list(spec.channelnames)
        check_size(name, spec.width, spec.height)
        data = source.read_image(page, 0, 0, spec.nchannels, "float")
        trouble = source.geterror()
        window = (spec.x, spec.y, spec.width, spec.height)
        full = (spec.full_x, spec.full_y, spec.full_width, spec.full_height)
    if data is None or trouble:
        raise FusionError(f"{name}: is truncated or damaged ({one_line(trouble)}); save or download it again")
    wanted = [n for n in ("R", "G", "B") if n in names]
    wanted = wanted if len(wanted) == 3 else [n for n in ("Y", "Z") if n in names][:1] or names[:1]
    notes: tuple[str, ...] = ()
    other = [n for n in names if n not in (*wanted, "A")]
    if other:
        notes += (f"{name}: channels {', '.join(other[:6])}{' ...' if len(other) > 6 else ''} were left out",)
    if window != full:
        notes += (f"{name}: its data window {window[2]}x{window[3]} is read, not the display window",)
    pixels = data[:, :, [names.index(n) for n in wanted]]
    alpha = None
    if "A" in names:
        alpha = np.clip(data[:, :, names.index("A")], 0, 1)
        with np.errstate(divide="ignore", invalid="ignore"):  # EXR premultiplies
            pixels = np.where(alpha[:, :, None] > 0, pixels / np.maximum(alpha[:, :, None], 1e-6), 0)
    is_light = wanted != ["Z"]
    return Raster(
        pixels.astype(np.float32), alpha, name, warnings=notes, linear=is_light, unit="" if is_light else "depth"
    )


def open_hdr(file: BinaryIO, name: str) -> Pages:
    """Radiance HDR: linear light, RGBE."""
    return Pages(lambda _: _hdr(name), size=lambda _: _size(name, "hdr", 4))


def _hdr(name: str) -> Raster:
    pixels, alpha, notes = read_oiio(name, "hdr")
    return Raster(pixels.astype(np.float32), alpha, name, warnings=notes, linear=True)
