"""EXIF blocks: the TIFF structures that carry a picture's metadata, inside TIFF files and apart from them.

A block is a structure of directories (IFD) with 12-byte entries; values over 4 bytes lie elsewhere in it.  It is
patched in place, never written anew, so that maker notes with absolute offsets stay intact.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
# _KEPT: what of a TIFF's own directory belongs to EXIF.  LAYOUT: what describes pixels, or is a block of its
# own (XMP, IPTC, Photoshop, ICC), and must not go from an EXIF block into the directory of a new file.
_KEPT = {*range(270, 273), 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, 34665, 34853}
_KEPT |= set(range(40091, 40096))
LAYOUT = {*range(254, 270), *range(273, 282), 284, 317, *range(320, 326), 330, 338, 339, 347, 700}
LAYOUT |= {*range(512, 533), 33723, 34377, 34675}
Reader = Callable[[int, int], bytes]
Entry = tuple[int, int, int, int]  # tag, type, count, where its 4-byte value field is


def directory(read: Reader, order: str, offset: int) -> Iterator[Entry]:
    """The entries of the directory at `offset`; read(offset, size) gives bytes of the structure, order is < or >."""
    (count,) = struct.unpack(order + "H", read(offset, 2))
    for i in range(count):
        at = offset + 2 + 12 * i
        yield (*struct.unpack(order + "HHI", read(at, 8)), at + 8)


def byte_order(head: bytes) -> str:
    """< or > of a classic TIFF structure; struct.error where it is none."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    if not order or struct.unpack(order + "H", head[2:4])[0] != 42:
        raise struct.error("not a TIFF structure")
    return order


def exif_orientation(exif: bytes | None) -> int:
    """Orientation 1 to 8 of an EXIF block; 1 if it has none or is damaged."""
    with contextlib.suppress(struct.error):
        if exif:
            order = byte_order(exif)
            (first,) = struct.unpack_from(order + "I", exif, 4)
            for tag, kind, _, at in directory(lambda o, n: exif[o : o + n], order, first):
                if tag == 274 and kind == 3:
                    value = struct.unpack_from(order + "H", exif, at)[0]
                    return value if 1 <= value <= 8 else 1
    return 1


def upright_exif(exif: bytes, width: int, height: int) -> bytes | None:
    """The block with orientation 1, these sizes and no thumbnail (of another picture); None if damaged."""
    block = bytearray(exif)

    def read(offset: int, size: int) -> bytes:
        return bytes(block[offset : offset + size])

    def put(entry: Entry, value: int) -> None:
        if entry[1] in (3, 4) and entry[2] == 1:
            struct.pack_into(order + ("H" if entry[1] == 3 else "I"), block, entry[3], value)

    try:
        order = byte_order(exif)
        (first,) = struct.unpack_from(order + "I", block, 4)
        for entry in list(directory(read, order, first)):
            if entry[0] in (256, 257, 274):
                put(entry, {256: width, 257: height, 274: 1}[entry[0]])
            elif entry[0] == 34665:
                (inner,) = struct.unpack_from(order + "I", block, entry[3])
                for sub in list(directory(read, order, inner)):
                    if sub[0] in (40962, 40963):
                        put(sub, width if sub[0] == 40962 else height)
        (count,) = struct.unpack(order + "H", read(first, 2))
        struct.pack_into(order + "I", block, first + 2 + 12 * count, 0)
    except struct.error:
        return None
    return bytes(block)


def lay_directory(entries: list[tuple[int, int, int, bytes]], order: str, offset: int) -> bytes:
    """A directory at an even `offset`, with the values that do not fit into their entries behind it."""
    table, tail = struct.pack(order + "H", len(entries)), b""
    behind = offset + 2 + 12 * len(entries) + 4
    for tag, kind, count, raw in sorted(entries):
        table += struct.pack(order + "HHI", tag, kind, count)
        if len(raw) <= 4:
            table += raw.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", behind + len(tail))
            tail += raw + b"\0" * (len(raw) % 2)
    return table + b"\0\0\0\0" + tail


def tiff_tags(file: BinaryIO, size: int) -> tuple[Any, int]:
    """The tags {number: value} of a TIFF or BigTIFF file of `size` bytes, and how many pages it has."""
    head = file.read(8)
    head += file.read(8) if head[2] == 43 or head[3] == 43 else b""
    prefix = head[:2]

    if head[:4] == b"MM\0+":  # Pillow knows BigTIFF by its little-endian head alone, but obeys the prefix
        head = b"II+\0" + head[4:]

    def empty() -> Any:
        return ImageFileDirectory_v2(head, prefix=prefix)

    def load(offset: int) -> Any:
        ifd = empty()
        file.seek(offset)
        ifd.load(file)
        return ifd

    tags = load(empty().next)
    pages, following, visited = 1, tags.next, set()
    while following and following not in visited and following < size:
        visited.add(following)
        page = load(following)
        pages += not page.get(254, 0) & 1  # reduced copies of the same picture do not count
        following = page.next
    return tags, pages


def tiff_exif(file: BinaryIO) -> bytes | None:
    """The descriptive tags, EXIF and GPS of a classic TIFF file as an EXIF block, values byte for byte."""

    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    def values(offset: int, is_wanted: Callable[[int], bool]) -> list[tuple[int, int, int, bytes]]:
        out = []
        for tag, kind, count, at in list(directory(read, order, offset)):
            size = _SIZES.get(kind, 0) * count
            if not is_wanted(tag) or not 0 < size <= 1 << 24:
                continue
            raw = read(at if size <= 4 else struct.unpack(order + "I", read(at, 4))[0], size)
            machine = tag == 270 and raw.startswith((b'{"shape"', b"ImageJ="))  # describes this file's layout
            if len(raw) == size and not machine:
                out.append((tag, kind, count, raw))
        return out

    try:
        head = read(0, 8)
        order = byte_order(head)
        root = values(struct.unpack(order + "I", head[4:])[0], lambda tag: tag in _KEPT)
        block = head[:4] + b"\0\0\0\0"
        for i, (tag, _, count, raw) in enumerate(root):
            if tag in (34665, 34853):
                inner = values(struct.unpack(order + "I", raw)[0], lambda tag: tag != 40965)
                root[i] = (tag, 4, count, struct.pack(order + "I", len(block)))
                block += lay_directory(inner, order, len(block))
        if all(tag in (282, 283, 296) for tag, *_ in root):
            return None
        return block[:4] + struct.pack(order + "I", len(block)) + block[8:] + lay_directory(root, order, len(block))
    except struct.error:
        return None
