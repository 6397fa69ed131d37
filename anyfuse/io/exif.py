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
_SIZES |= {16: 8, 17: 8, 18: 8}  # BigTIFF
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


def tiff_directories(file: BinaryIO, size: int) -> list[tuple[int, Any]]:
    """Every directory in the chain of a TIFF or BigTIFF file of `size` bytes: its offset, its tags {number: value}."""
    load, first = _loader(file)
    found: list[tuple[int, Any]] = []
    following, visited = first, set()
    while (not found or following) and following not in visited and (not found or following < size):
        visited.add(following)
        found.append((following, load(following)))
        following = found[-1][1].next
    return found


def tiff_directory(file: BinaryIO, offset: int) -> Any:
    """The tags of one directory, as of a sub-directory (tag 330)."""
    return _loader(file)[0](offset)


def _loader(file: BinaryIO) -> tuple[Callable[[int], Any], int]:
    """What loads a directory at an offset, and the offset of the first."""
    file.seek(0)
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

    return load, empty().next


class TiffFile:
    """Raw values of the directories of a TIFF or BigTIFF file. struct.error where it is none, or is damaged."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        head = self.read(0, 16)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not self.order:
            raise struct.error("not a TIFF structure")
        self.big = struct.unpack(self.order + "H", head[2:4])[0] == 43
        self.head = head[:2] + struct.pack(self.order + "H", 42)
        at = slice(8, 16) if self.big else slice(4, 8)
        (self.first,) = struct.unpack(self.order + ("Q" if self.big else "I"), head[at])

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file; fewer at its end."""
        self.file.seek(offset)
        return self.file.read(size)

    def values(self, offset: int, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, int, int, bytes]]:
        """Tag, type, count and value of the wanted entries of the directory at `offset`, each of at most 16 MiB."""
        count_format, entry, room = ("Q", "HHQ", 8) if self.big else ("H", "HHI", 4)
        start = struct.calcsize("<" + count_format)
        (count,) = struct.unpack(self.order + count_format, self.read(offset, start))
        step = struct.calcsize("<" + entry) + room
        for i in range(min(count, 65535)):
            at = offset + start + step * i
            tag, kind, number = struct.unpack(self.order + entry, self.read(at, step - room))
            length = _SIZES.get(kind, 0) * number
            if not is_wanted(tag) or not 0 < length <= 1 << 24:
                continue
            place = at + step - room
            if length > room:
                (place,) = struct.unpack(self.order + ("Q" if self.big else "I"), self.read(place, room))
            raw = self.read(place, length)
            if len(raw) == length:
                yield tag, kind, number, raw

    def offset(self, raw: bytes) -> int:
        """The value of a tag that points to a directory."""
        return int(struct.unpack(self.order + {4: "I", 8: "Q"}[len(raw)], raw)[0])


def swapped(kind: int, raw: bytes) -> bytes:
    """A value of a TIFF type in the other byte order."""
    unit = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}.get(kind, 1)
    return b"".join(raw[i : i + unit][::-1] for i in range(0, len(raw), unit))


def is_machine_text(raw: bytes) -> bool:
    """Whether an image description is a program's record of the layout of its file, which a result has not."""
    return raw.startswith((b'{"shape"', b"ImageJ=", b"SCIFIO=")) or b"<OME" in raw[:4096]


def tiff_exif(file: BinaryIO, offset: int | None = None) -> bytes | None:
    """The descriptive tags, EXIF and GPS of a TIFF or BigTIFF file as an EXIF block, values byte for byte.

    offset: of the directory; None: the first.
    """
    try:
        tiff = TiffFile(file)
        order = tiff.order
        root = [
            entry
            for entry in tiff.values(tiff.first if offset is None else offset, lambda tag: tag in _KEPT)
            if not (entry[0] == 270 and is_machine_text(entry[3]))
        ]
        block = tiff.head + b"\0\0\0\0"
        for i, (tag, _, _, raw) in enumerate(root):
            if tag in (34665, 34853):
                inner = [e for e in tiff.values(tiff.offset(raw), lambda tag: tag != 40965) if e[1] < 16]
                root[i] = (tag, 4, 1, struct.pack(order + "I", len(block)))
                block += lay_directory(inner, order, len(block))
        if all(tag in (282, 283, 296) for tag, *_ in root):
            return None
        return block[:4] + struct.pack(order + "I", len(block)) + block[8:] + lay_directory(root, order, len(block))
    except (struct.error, KeyError):
        return None
