"""Files made to hurt: each is small and asks for much."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image


def jpeg(width: int = 64, height: int = 48, progressive: bool = False) -> bytes:
    buffer = BytesIO()
    grid = np.add.outer(np.arange(height), np.arange(width)) % 256
    Image.fromarray(grid.astype(np.uint8)).save(buffer, "JPEG", progressive=progressive)
    return buffer.getvalue()


def large_jpeg(side: int) -> bytes:
    """A JPEG whose header claims side x side."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG with its last scan `count` times more."""
    data = jpeg(1024, 1024, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def png(width: int = 8, height: int = 8, *extra: bytes, claims: int | None = None) -> bytes:
    """A grey 8-bit PNG with further chunks; `claims`: the side that its header names."""
    sides = (width, height) if claims is None else (claims, claims)
    rows = b"".join(b"\0" + bytes(range(width)) for _ in range(height))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *sides, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def icc_bomb(size: int = 1 << 28) -> bytes:
    """A PNG whose colour profile inflates to `size` bytes."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    return png(8, 8, chunk(b"iCCP", b"x\0\0" + packed))


def tiff(entries: list[tuple[int, int, int, int]], tail: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF with these entries (tag, type, count, value) and `tail` behind its directory."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + table + struct.pack("<I", following) + tail


def grey_tiff(*more: tuple[int, int, int, int], side: int = 8, claims: int | None = None, tail: bytes = b"") -> bytes:
    """A grey 8-bit TIFF of one strip with further entries."""
    sides = claims or side
    known = {e[0] for e in more}
    entries = [
        (256, 4, 1, sides), (257, 4, 1, sides), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0),
        (277, 3, 1, 1), (278, 4, 1, sides), (279, 4, 1, side * side),
    ]  # fmt: skip
    entries = [e for e in entries if e[0] not in known] + list(more)
    at = 8 + 2 + 12 * len(entries) + 4
    entries = [(273, 4, 1, at) if e[0] == 273 else e for e in entries]
    return tiff(entries, bytes(range(side)) * side + tail)


def infinite_width() -> bytes:
    """A TIFF whose width is the float inf."""
    return grey_tiff((256, 11, 1, struct.unpack("<I", struct.pack("<f", float("inf")))[0]))


def shared_values(count: int = 3000, size: int = 1 << 20) -> bytes:
    """A TIFF with `count` tags that share one value of `size` bytes."""
    at = 8 + 2 + 12 * (9 + count) + 4 + 64
    return grey_tiff(*((40000 + k, 7, size, at) for k in range(count)), tail=bytes(size))


def many_directories(count: int = 1_000_000) -> bytes:
    """A TIFF with a chain of empty directories."""
    first = grey_tiff()
    start = len(first) + len(first) % 2
    chain = b"".join(struct.pack("<HI", 0, start + 6 * (k + 1)) for k in range(count - 1)) + struct.pack("<HI", 0, 0)
    data = bytearray(first.ljust(start, b"\0") + chain)
    struct.pack_into("<I", data, 8 + 2 + 12 * 9, start)
    return bytes(data)


def exif_bomb() -> bytes:
    """A JPEG whose EXIF has 5,000 tags that share one value of 3,000 bytes."""
    table = b"".join(struct.pack("<HHII", 40000 + k, 7, 3000, 60100) for k in range(5000))
    block = struct.pack("<2sHIH", b"II", 42, 8, 5000) + table + struct.pack("<I", 0)
    block = block.ljust(60100, b"\0") + bytes(3000)
    segment = b"Exif\0\0" + block
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg()[2:]


FILES = {
    "jpeg of 16000x16000": (large_jpeg(16000), "claims"),
    "jpeg of 32767x32767": (large_jpeg(32767), "claims"),
    "png of 20000x20000": (png(8, 8, claims=20000), "claims"),
    "tiff of 20000x20000": (grey_tiff(claims=20000), "claims"),
    "tiff of infinite width": (infinite_width(), "cannot be read"),
    "tiff of tags that share a value": (shared_values(), "tags claim"),
    "tiff of a million directories": (many_directories(), "directories"),
    "jpeg of 200 scans": (jpeg_of_scans(200), "scans"),
    "jpeg of shared EXIF": (exif_bomb(), "tags claim"),
}
"""Name -> bytes, and what the refusal says."""
