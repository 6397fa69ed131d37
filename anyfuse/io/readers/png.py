"""PNG: pixels by OpenImageIO, which keeps 16-bit colour; its chunks are read here."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import Any, BinaryIO

from PIL import PngImagePlugin

from ...errors import FusionError
from ...image.metadata import Metadata
from ..encode import CHUNK
from ..exif import exif_orientation
from ..limits import check_exif, check_pixels, inflate
from ..pillow import check_size, clear_errors, dpi_of, raster_from_pil
from ..raster import Pages, Raster
from .oiio import read_oiio

_TEXT_BYTES = 1 << 20  # of one text chunk, unpacked
_OF_THE_FILE = ("software", "date:", "raw profile type", "xml:com.adobe.xmp", "creation time", "png:")  # now false


def open_png(file: BinaryIO, name: str) -> Pages:
    """The default image of a PNG. Frames of an animated one are counted, and not read."""
    chunks = _chunks(file, name)

    def read(page: int) -> Raster:
        if page:
            return _frame(name, page, chunks["bits"])
        pixels, alpha, notes = read_oiio(name, "png")
        found = Metadata(xmp=chunks["xmp"], text=tuple(chunks["text"]))
        exif = chunks["exif"]
        rest: dict[str, Any] = {"icc": chunks["icc"], "dpi": chunks["dpi"], "warnings": notes}
        return Raster(pixels, alpha, name, exif_orientation(exif), exif, metadata=found, **rest)

    return Pages(read, chunks["frames"], "frames", together=False, size=lambda _: chunks["size"])


def _frame(name: str, page: int, bits: int) -> Raster:
    """A further frame of an animated PNG, by Pillow."""
    if bits > 8:
        raise FusionError(f"{name}: is animated with 16 bits; save its frames as files to fuse them")
    with clear_errors(name), open(name, "rb") as file:
        image = PngImagePlugin.PngImageFile(file)
        image.seek(page)
        return raster_from_pil(image, name=name)


def _chunks(file: BinaryIO, name: str) -> dict[str, Any]:
    """What the chunks say. libpng says little about a truncated file, and prints it, so all of them are checked."""
    size = os.fstat(file.fileno()).st_size
    found: dict[str, Any] = {"exif": None, "icc": None, "dpi": None, "xmp": None, "text": [], "frames": 1, "bits": 8}
    found["size"] = None
    position, tag = 8, b""
    while tag != b"IEND":
        file.seek(position)
        head = file.read(8)
        length, tag = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        position += 12 + length
        if not tag or position > size:
            raise FusionError(f"{name}: is truncated after {size} bytes; save or download it again")
        if not tag[0] & 32 and _is_damaged(file, length):
            raise FusionError(f"{name}: is damaged, a checksum is wrong; save or download it again")
        file.seek(position - 4 - length)
        if tag == b"IHDR":
            width, height, found["bits"], colour = struct.unpack(">IIBB", file.read(10))
            check_size(name, width, height)
            bits = found["bits"] * {2: 3, 4: 2, 6: 4}.get(colour, 1)
            channels = {2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 1)
            found["size"] = (height, width, channels * (2 if found["bits"] == 16 else 1))
            check_pixels(name, "png", width * height * bits, size)  # bits for pixels: the budget is of 1-bit images
        elif tag == b"eXIf":
            found["exif"] = file.read(length)
            check_exif(found["exif"], name)
        elif tag == b"iCCP":
            found["icc"] = inflate(file.read(length).partition(b"\0")[2][1:], name)
        elif tag == b"pHYs":
            x, y, unit = struct.unpack(">IIB", file.read(9))
            found["dpi"] = dpi_of(x * 0.0254, y * 0.0254) if unit == 1 else None
        elif tag == b"acTL" and length == 8:
            found["frames"] = max(1, min(struct.unpack(">I", file.read(4))[0], size // 26))  # bytes of a frame's header
        elif tag in (b"tEXt", b"zTXt", b"iTXt") and length <= _TEXT_BYTES:
            with contextlib.suppress(zlib.error, UnicodeDecodeError, IndexError):
                _take_text(found, *_text(tag, file.read(length)))
    return found


def _text(tag: bytes, body: bytes) -> tuple[str, bytes, str]:
    """Keyword, text as bytes and their encoding."""
    key, _, rest = body.partition(b"\0")
    if tag == b"tEXt":
        return key.decode("latin-1"), rest, "latin-1"
    if tag == b"zTXt":
        return key.decode("latin-1"), _unpacked(rest[1:]), "latin-1"
    packed, text = rest[0], rest[2:].split(b"\0", 2)[2]
    return key.decode("latin-1"), _unpacked(text) if packed else text, "utf-8"


def _unpacked(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, _TEXT_BYTES)


def _take_text(found: dict[str, Any], key: str, text: bytes, encoding: str) -> None:
    if key == "XML:com.adobe.xmp":
        found["xmp"] = text
    elif not key.lower().startswith(_OF_THE_FILE):
        found["text"].append((key, text.decode(encoding)))


def _is_damaged(file: BinaryIO, length: int) -> bool:
    """Whether the checksum of a chunk is wrong; the file stands behind its tag."""
    file.seek(-4, os.SEEK_CUR)
    check, left = 0, length + 4
    while left:
        piece = file.read(min(left, CHUNK))
        check, left = zlib.crc32(piece, check), left - len(piece)
    return bool(struct.unpack(">I", file.read(4))[0] != check)
