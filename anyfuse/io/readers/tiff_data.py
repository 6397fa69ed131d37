"""Strips and tiles of a TIFF page whose compression OpenImageIO cannot undo: ZSTD and LZMA."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from ...errors import FusionError

ZSTD, LZMA = (50000, 34926), (34925,)
OWN = (*ZSTD, *LZMA)
UNKNOWN = {
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
    22610: "JPEG XR",
    34933: "PNG",
}


def _unpacker(compression: int) -> Callable[[bytes, int], bytes]:
    """Undoes the compression of one strip: (bytes, largest size) -> bytes; ValueError where it is damaged."""
    import zstandard

    def undo(data: bytes, size: int) -> bytes:
        try:
            if compression in LZMA:
                return lzma.LZMADecompressor().decompress(data, size)
            if zstandard.frame_content_size(data) > size:  # it would be unpacked whole, whatever the limit
                raise ValueError(f"a strip claims {zstandard.frame_content_size(data)} of {size} bytes")
            return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=size))
        except (lzma.LZMAError, zstandard.ZstdError) as error:
            raise ValueError(error) from None

    return undo


def read_data(file: BinaryIO, tags: Any, order: str, name: str) -> np.ndarray:
    """(H, W, C) as stored. tags: of the page; order: < or >."""
    height, width, channels = int(tags[257]), int(tags[256]), int(tags.get(277, 1))
    bits, kind = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    letter = {1: "u", 2: "i", 3: "f"}.get(next(iter(kind)), "")
    size = next(iter(bits)) // 8
    if len(bits) != 1 or len(kind) != 1 or not letter or next(iter(bits)) not in (8, 16, 32, 64):
        raise FusionError(f"{name}: holds {sorted(bits)} bits a value under this compression; save it with deflate")
    dtype = np.dtype(f"{order}{letter}{size}")
    unpack = _unpacker(int(tags[259]))
    tiled = 324 in tags
    across, down = (int(tags[322]), int(tags[323])) if tiled else (width, min(height, int(tags.get(278, height))))
    if across < 1 or down < 1 or across * down * channels * size > 1 << 31:
        raise FusionError(f"{name}: has strips or tiles of {across}x{down}; save it anew")
    apart = tags.get(284, 1) == 2
    depth = 1 if apart else channels  # channels of a block
    out = np.empty((height, width, channels), dtype.newbyteorder("="))
    offsets, counts = (tags[324], tags[325]) if tiled else (tags[273], tags[279])
    columns, rows = -(-width // across), -(-height // down)
    if len(offsets) < columns * rows * (channels if apart else 1):
        raise FusionError(f"{name}: is damaged, {len(offsets)} strips or tiles are too few; save or download it again")
    for index in range(columns * rows * (channels if apart else 1)):
        plane, place = divmod(index, columns * rows)
        top, left = (place // columns) * down, (place % columns) * across
        tall = down if tiled else min(down, height - top)
        file.seek(int(offsets[index]))
        try:
            raw = unpack(file.read(int(counts[index])), tall * across * depth * size)
        except (ValueError, EOFError) as error:
            raise FusionError(f"{name}: is truncated or damaged ({error}); save or download it again") from None
        if len(raw) != tall * across * depth * size:
            raise FusionError(f"{name}: is truncated or damaged, a strip is short; save or download it again")
        block = _unpredicted(raw, (tall, across, depth), dtype, int(tags.get(317, 1)), name)
        part = out[top : top + tall, left : left + across]
        channel = slice(plane, plane + 1) if apart else slice(None)
        part[..., channel] = block[: part.shape[0], : part.shape[1]]
    return out


def _unpredicted(raw: bytes, shape: tuple[int, int, int], dtype: np.dtype, predictor: int, name: str) -> np.ndarray:
    """Values of one strip (h, w, C), with differences along the rows summed up."""
    height, _, channels = shape
    if predictor == 3:  # floats: bytes of one rank together, most significant first
        steps = np.frombuffer(raw, np.uint8).reshape(height, -1, channels)
        data = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(height, dtype.itemsize, -1)
        big = np.ascontiguousarray(np.moveaxis(data, 1, 2))  # (h, rank, values) -> (h, values, rank)
        return big.view(dtype.newbyteorder(">")).reshape(shape)
    values = np.frombuffer(raw, dtype).reshape(shape)
    if predictor == 1:
        return values
    if predictor == 2 and dtype.kind in "iu":
        return np.cumsum(values, axis=1, dtype=dtype.newbyteorder("="))
    raise FusionError(f"{name}: has the predictor {predictor}, which is not known; save it with deflate")


def byte_order_of(file: BinaryIO) -> str:
    """< or > of a TIFF file."""
    file.seek(0)
    head = file.read(2)
    if head not in (b"II", b"MM"):
        raise struct.error("not a TIFF structure")
    return "<" if head == b"II" else ">"
