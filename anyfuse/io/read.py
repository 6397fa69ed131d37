"""Image files in and out: PNG, JPEG, TIFF, WebP and BMP; 8-bit, 16-bit and float32; grey, RGB, alpha.

Who reads and writes what, each chosen by trying it:
- OpenImageIO reads PNG and TIFF: every depth, palettes, planes, tiles (Pillow turns 16-bit RGB into 8 bits
  silently and cannot open float RGB).  It premultiplies alpha unless told otherwise, and leaves 16-bit
  white-is-zero data inverted.
- Pillow reads JPEG, WebP, BMP and 8-bit CMYK or Lab TIFF: truncated JPEG is an error to it, and CMYK
  profiles are known.
- Pillow writes JPEG, WebP and BMP, into memory; PNG and TIFF are encoded by encode.py.  OpenImageIO writes nothing:
  on a full disk its PNG writer reports success and its JPEG writer ends the process.

XMP and IPTC blocks are not carried over.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

from ..errors import FusionError
from ..image.stack import Frame
from .atomic import one_line
from .encode import CHUNK
from .exif import exif_orientation, tiff_exif, tiff_tags
from .limits import check_directories, check_exif, check_jpeg, check_pixels, check_regular, check_webp, inflate

# read.py and pillow.py are one reader in two files: these steps are for the two of them alone
from .pillow import _check_size, _clear_errors, _dpi, _pil_pixels, _unpremultiply, _upright, frame_from_pil

_PILLOW: dict[str, Any] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}


def read_image(path: str | os.PathLike[str], white: float | None = None) -> Frame:
    """The image in a file, upright, in its own depth. The content decides on the format, not the suffix.

    Args:
        path: file. Of several pages or animation frames the first is read, and `Frame.warnings` says so. CMYK and Lab
            become sRGB.
        white: value that counts as 1.0 in 16-bit and float images, e.g. 4095 for 12-bit data in 16 bits.

    Raises:
        FusionError: the file is missing, damaged or of an unknown format.
    """
    name = os.fspath(path)
    with _clear_errors(name):
        if os.path.isdir(name):
            raise FusionError(f"{name}: is a folder, not an image; name a file in it")
        check_regular(name)
        with open(name, "rb") as file:
            kind = _sniff(file, name)
            if kind == "png":
                return _read_png(file, name, white)
            if kind == "tiff":
                return _read_tiff(file, name, white)
            if kind == "jpeg":
                check_jpeg(file, name)
            if kind == "webp":
                check_webp(file, name)
            image = _PILLOW[kind](file)
            check_pixels(name, kind, image.width * image.height, os.fstat(file.fileno()).st_size)
            pages = image.n_frames if kind == "webp" else 1
            return frame_from_pil(image, name=name, white=white, notes=_page_note(name, pages))


def _sniff(file: BinaryIO, name: str) -> str:
    head = file.read(16)
    file.seek(0)
    if not head:
        raise FusionError(f"{name}: is empty (0 bytes); save or download it again")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and len(head) >= 14 and head[6:10] == b"\0\0\0\0":
        return "bmp"
    what = f"is not an image that can be read (it begins with {head[:8]!r})"
    raise FusionError(f"{name}: {what}; give PNG, JPEG, TIFF, WebP or BMP")


def _read_png(file: BinaryIO, name: str, white: float | None) -> Frame:
    size = os.fstat(file.fileno()).st_size
    exif = icc = dpi = None
    position, tag = 8, b""
    while tag != b"IEND":  # libpng says little about a truncated file, and prints it
        file.seek(position)
        head = file.read(8)
        length, tag = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        position += 12 + length
        if not tag or position > size:
            raise FusionError(f"{name}: is truncated after {size} bytes; save or download it again")
        if not tag[0] & 32 and _chunk_is_damaged(file, length):
            raise FusionError(f"{name}: is damaged, a checksum is wrong; save or download it again")
        file.seek(position - 4 - length)
        if tag == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", file.read(10))
            _check_size(name, width, height)
            bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
            check_pixels(name, "png", width * height * bits, size)  # bits for pixels: the budget is of 1-bit images
        elif tag == b"eXIf":
            exif = file.read(length)
            check_exif(exif, name)
        elif tag == b"iCCP":
            icc = inflate(file.read(length).partition(b"\0")[2][1:], name)
        elif tag == b"pHYs":
            x, y, unit = struct.unpack(">IIB", file.read(9))
            dpi = _dpi(x * 0.0254, y * 0.0254) if unit == 1 else None
    pixels, alpha, notes = _read_oiio(name, "png")
    turn = exif_orientation(exif)
    return _upright(pixels, alpha, turn, name=name, white=white, exif=exif, icc=icc, dpi=dpi, warnings=notes)


def _chunk_is_damaged(file: BinaryIO, length: int) -> bool:
    """Whether the checksum of a PNG chunk is wrong; the file stands behind its tag."""
    file.seek(-4, os.SEEK_CUR)
    check, left = 0, length + 4
    while left:
        piece = file.read(min(left, CHUNK))
        check, left = zlib.crc32(piece, check), left - len(piece)
    return struct.unpack(">I", file.read(4))[0] != check


def _read_tiff(file: BinaryIO, name: str, white: float | None) -> Frame:
    size = os.fstat(file.fileno()).st_size
    check_directories(file, name)
    tags, pages = tiff_tags(file, size)
    if 256 not in tags or 257 not in tags:
        raise FusionError(f"{name}: is truncated, its size is missing; save or download it again")
    _check_size(name, int(tags[256]), int(tags[257]))
    parts = [(tags[a], tags[b]) for a, b in ((273, 279), (324, 325)) if a in tags and b in tags]
    end = max((o + n for offsets, counts in parts for o, n in zip(offsets, counts, strict=False)), default=0)
    if end > size:
        raise FusionError(f"{name}: is truncated after {size} of {end} bytes; save or download it again")
    notes = _page_note(name, pages)
    icc = tags.get(34675) if isinstance(tags.get(34675), bytes) else None
    bits = max(tags.get(258, (1,)))
    if bits == 64 and 324 in tags:  # OpenImageIO 3.2.2 returns wrong values, without an error
        raise FusionError(f"{name}: holds 64-bit floats in tiles; save as 32-bit float or in strips")
    if tags.get(262) in (5, 8) and bits == 8:  # CMYK, Lab: through their profile
        file.seek(0)
        pixels, alpha, icc, note = _pil_pixels(_PILLOW["tiff"](file), icc, name)
        notes += note
    else:
        pixels, alpha, note = _read_oiio(name, "tiff")
        notes += note
        if alpha is not None and tags.get(338, (0,))[0] == 1:
            pixels = _unpremultiply(pixels, alpha)
        if tags.get(262) == 0 and pixels.dtype != np.uint8:  # white is zero
            pixels = np.uint16(65535) - pixels if pixels.dtype.kind == "u" else (white or 1.0) - pixels
        if tags.get(262) == 5:
            icc, notes = None, (*notes, f"{name}: CMYK converted to sRGB without its profile")
    dpi = None
    if 282 in tags and 283 in tags and tags.get(296, 2) in (2, 3):
        unit = 2.54 if tags.get(296, 2) == 3 else 1.0
        dpi = _dpi(float(tags[282]) * unit, float(tags[283]) * unit)
    exif = tiff_exif(file)
    turn = tags.get(274, 1)
    return _upright(pixels, alpha, turn, name=name, white=white, exif=exif, icc=icc, dpi=dpi, warnings=notes)


def _read_oiio(name: str, kind: str) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Pixels (H, W, 1 | 3) and alpha (H, W) as stored, and warnings."""
    import OpenImageIO as oiio  # here, so that what reads no PNG and no TIFF runs without it

    config = oiio.ImageSpec()
    config["oiio:UnassociatedAlpha"] = 1
    with _place_for_oiio(name, kind) as place:
        source = oiio.ImageInput.open(place, config)
    if source is None:
        raise FusionError(f"{name}: cannot be read ({one_line(oiio.geterror())}); save or download it again")
    if source.format_name() != kind:
        raise FusionError(f"{name}: is {kind.upper()} with the suffix of another format; rename it to end in .{kind}")
    try:
        spec = source.spec()
        data = source.read_image(0, 0, 0, spec.nchannels, spec.format)
        trouble = source.geterror()
    finally:
        source.close()
    if data is None or trouble:
        raise FusionError(f"{name}: is truncated or damaged ({one_line(trouble)}); save or download it again")
    if spec.nchannels > 4:
        raise FusionError(f"{name}: has {spec.nchannels} channels; give 1 or 3, with or without alpha")
    colours = 3 if spec.nchannels >= 3 else 1
    if spec.nchannels == colours:
        return data, None, ()
    if spec.alpha_channel == colours:
        return data[:, :, :colours], data[:, :, colours], ()
    note = f"{name}: channel {spec.nchannels} is not marked as alpha and was left out"
    return data[:, :, :colours], None, (note,)


@contextlib.contextmanager
def _place_for_oiio(name: str, kind: str) -> Iterator[str]:
    """A name that makes OpenImageIO read the file as what it is.

    It picks its reader by the suffix, and takes UTF-8 alone. Without a suffix it looks into the file, and so an open
    file is named by its number.
    """
    suffixes = {"png": (".png",), "tiff": (".tif", ".tiff")}[kind]
    with contextlib.suppress(UnicodeEncodeError):
        if name.encode() and name.lower().endswith(suffixes):
            yield name
            return
    numbers = next((folder for folder in ("/proc/self/fd", "/dev/fd") if os.path.isdir(folder)), None)
    if numbers is None:
        yield name
        return
    with open(name, "rb") as file:
        yield f"{numbers}/{file.fileno()}"


def _page_note(name: str, pages: int) -> tuple[str, ...]:
    if pages < 2:
        return ()
    return (f"{name}: only the first of {pages} pages is used; save the others as files to fuse them",)
