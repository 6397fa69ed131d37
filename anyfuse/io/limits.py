"""Budgets of a file, checked in its bytes before a decoder sees it: what a file claims must fit to its size.

| budget | value |
| --- | --- |
| kind of file | a regular one: pipes, devices and sockets wait for ever, or never end |
| pixels | at most what the best compression of the format can put into the file; small images are free of it |
| metadata of one directory | at most the size of the file: values do not overlap in an honest file |
| metadata of all directories | 1 GiB |
| directories (pages) | 65,536 |
| an ICC profile | 16 MiB |
| scans of a JPEG | 100; where there are more than 20: 4 gigapixels over all scans |
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import BinaryIO

from ..errors import FusionError
from ..runtime import check_regular

__all__ = ["check_directories", "check_exif", "check_jpeg", "check_pixels", "check_regular", "check_webp", "inflate"]

FREE_PIXELS = 1 << 22
MAX_DIRECTORIES = 1 << 16
MAX_METADATA = 1 << 30
MAX_ICC = 1 << 24
MAX_SCANS, FREE_SCANS, SCANNED_PIXELS = 100, 20, 1 << 32
PIXELS_A_BYTE = {
    "jpeg": 512,  # a block of 64 pixels takes a bit
    "png": 8 * 1040,  # deflate packs 1032 bytes into one; a byte holds up to 8 pixels
    "bmp": 128,  # a run of 255 in two bytes
    "webp": 1 << 22,  # a single colour takes no bytes at all
}
_TIFF = {1: 1, 2: 1 << 16, 3: 1 << 16, 4: 1 << 16, 5: 2731, 7: 512, 8: 1040, 32773: 64, 32946: 1040}
"""Bytes that one byte may hold, by TIFF's number of the compression; zstd, LZMA and others: 65,536."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check_pixels(name: str, kind: str, pixels: int, size: int, factor: float | None = None) -> None:
    """Refuses an image that claims more pixels than its file can hold.

    Args:
        name: of the file.
        kind: format, as in `PIXELS_A_BYTE`.
        pixels: width times height.
        size: bytes of the file.
        factor: pixels that a byte can hold; None: those of the format.
    """
    if pixels > max(FREE_PIXELS, size * (PIXELS_A_BYTE[kind] if factor is None else factor)):
        raise FusionError(
            f"{name}: claims {pixels} pixels, which {size} bytes of {kind.upper()} cannot hold; it is truncated or "
            "damaged, save or download it again"
        )


def inflate(data: bytes, name: str, what: str = "ICC profile") -> bytes | None:
    """Metadata that a PNG has deflated; None where it is damaged. Refused where it is over the budget."""
    packer = zlib.decompressobj()
    try:
        text = packer.decompress(data, MAX_ICC + 1)
    except zlib.error:
        return None
    if len(text) > MAX_ICC:
        raise FusionError(f"{name}: its {what} is over {MAX_ICC >> 20} MiB; save it again without that")
    return text if packer.eof else None


def check_jpeg(file: BinaryIO, name: str) -> None:
    """Refuses a JPEG that claims more pixels than it holds, has too many scans, or hostile EXIF."""
    data = file.read()
    file.seek(0)
    position, pixels, progressive = 2, 0, False
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker == 0xFF:  # a fill byte
            length = -1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            pixels, progressive = width * height, marker not in (0xC0, 0xC1)
            check_pixels(name, "jpeg", pixels, len(data), 1 << 16 if marker > 0xC8 else None)  # arithmetic coding
        elif marker == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            check_exif(data[position + 10 : position + 2 + length], name)
        elif marker == 0xDA:
            break
        position += 2 + length
    if not progressive:
        return
    end = data.find(b"\xff\xd9", position)
    scans = data.count(b"\xff\xda", position, end if end > 0 else len(data))
    if scans > MAX_SCANS or (scans > FREE_SCANS and scans * pixels > SCANNED_PIXELS):
        raise FusionError(f"{name}: has {scans} scans, more than a picture needs; save it again")


def check_webp(file: BinaryIO, name: str) -> None:
    """Refuses a WebP that claims more pixels than it holds."""
    head = file.read(30)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    sides = (0, 0)
    if head[12:16] == b"VP8X" and len(head) == 30:
        sides = 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    check_pixels(name, "webp", sides[0] * sides[1], size)


def check_exif(block: bytes, name: str) -> None:
    """Refuses an EXIF block that claims to hold more than it does; damaged ones are dropped later."""
    if block[:2] in (b"II", b"MM"):
        check_directories(io.BytesIO(block), name, "EXIF")


def check_directories(file: BinaryIO, name: str, what: str = "TIFF") -> None:  # noqa: C901  one walk, one budget each
    """Refuses a TIFF structure whose directories are too many, hold more than the file, or claim too many pixels.

    Args:
        file: the structure, from its byte order on; it is left at its start.
        name: of the file, for messages.
        what: TIFF, or EXIF: sizes that EXIF names are those of the picture around it.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    if len(head) < 8:
        return
    big = struct.unpack(order + "H", head[2:4])[0] == 43 and len(head) == 16
    number, link, entry, inline = ("Q", "Q", "HHQQ", 8) if big else ("H", "I", "HHII", 4)
    each, start, behind = (struct.calcsize(order + code) for code in (entry, number, link))
    todo = [struct.unpack_from(order + link, head, 8 if big else 4)[0]]
    visited: set[int] = set()
    total = 0
    while todo:
        offset = todo.pop()
        if not offset or offset in visited or offset >= size:
            continue
        visited.add(offset)
        if len(visited) > MAX_DIRECTORIES:
            raise FusionError(f"{name}: has more than {MAX_DIRECTORIES} directories; save what you need of it anew")
        file.seek(offset)
        raw = file.read(start)
        count = struct.unpack(order + number, raw)[0] if len(raw) == start else 0
        if count * each > size:  # torn: the reader says so
            continue
        table = file.read(count * each + behind)
        held, first = 0, {}
        for tag, kind, length, value in struct.iter_unpack(
            order + entry, table[: min(count, len(table) // each) * each]
        ):
            bytes_each = _SIZES.get(kind, 0)
            if length * bytes_each > inline:
                held += length * bytes_each
            if kind in (1, 3, 4, 13, 16) and bytes_each <= inline:  # a short value is at the left of its field
                shifted = value if order == "<" else value >> 8 * (inline - bytes_each)
                first[tag] = shifted & ((1 << 8 * bytes_each) - 1)
            if tag in (34665, 34853, 40965) and length == 1:
                todo.append(first.get(tag, 0))
        total += held
        if held > size or total > MAX_METADATA:
            raise FusionError(f"{name}: its {what} tags claim {max(held, total)} bytes of {size}; save it again")
        if what == "TIFF" and {256, 257} <= first.keys():
            factor = _TIFF.get(first.get(259, 1), 1 << 16) * (1 if first.get(258, 1) >= 8 else 8)
            check_pixels(name, "tiff", first[256] * first[257], size, factor)
        if len(table) == count * each + behind:
            todo.append(struct.unpack(order + link, table[-behind:])[0])
    file.seek(0)
