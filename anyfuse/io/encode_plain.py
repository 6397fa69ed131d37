"""Pixels as the bytes of formats without metadata: PGM and PPM, PFM, OpenEXR, Radiance HDR."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

_ROWS = 16  # of a ZIP block of OpenEXR


def encode_plain(kind: str, data: np.ndarray) -> Iterator[bytes]:
    """The file, piece by piece. data: (H, W, 1 or 3), whole numbers for netpbm, else float32.

    exr and hdr hold linear light; exr also (H, W, 4) with alpha.
    """
    if kind == "netpbm":
        return _netpbm(data)
    if kind == "pfm":
        return _pfm(data)
    return _exr(data) if kind == "exr" else _hdr(data)


def _netpbm(data: np.ndarray) -> Iterator[bytes]:
    height, width, channels = data.shape
    top = 65535 if data.dtype == np.uint16 else 255
    yield b"P%d\n%d %d\n%d\n" % (5 if channels == 1 else 6, width, height, top)
    yield np.ascontiguousarray(data).astype(f">u{data.itemsize}").tobytes()


def _pfm(data: np.ndarray) -> Iterator[bytes]:
    height, width, channels = data.shape
    yield b"P%s\n%d %d\n-1.0\n" % (b"f" if channels == 1 else b"F", width, height)
    yield np.ascontiguousarray(data[::-1]).astype("<f4").tobytes()  # rows go upwards


def _exr(data: np.ndarray) -> Iterator[bytes]:
    """Scan lines of 32-bit floats, ZIP-compressed."""
    height, width, channels = data.shape
    names = {1: ["Y"], 2: ["Y", "A"], 3: ["R", "G", "B"], 4: ["R", "G", "B", "A"]}[channels]
    if channels in (2, 4):  # OpenEXR premultiplies
        data = np.concatenate([data[:, :, :-1] * data[:, :, -1:], data[:, :, -1:]], axis=2)
    order = sorted(range(channels), key=lambda k: names[k])  # channels lie in the order of their names

    def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
        return name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value

    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    listed = b"".join(names[k].encode() + b"\0" + struct.pack("<iB3xii", 2, 0, 1, 1) for k in order) + b"\0"
    head = b"v/1\x01" + struct.pack("<i", 2)
    head += attribute(b"channels", b"chlist", listed)
    head += attribute(b"compression", b"compression", b"\x03")
    head += attribute(b"dataWindow", b"box2i", box) + attribute(b"displayWindow", b"box2i", box)
    head += attribute(b"lineOrder", b"lineOrder", b"\0")
    head += attribute(b"pixelAspectRatio", b"float", struct.pack("<f", 1.0))
    head += attribute(b"screenWindowCenter", b"v2f", struct.pack("<2f", 0.0, 0.0))
    head += attribute(b"screenWindowWidth", b"float", struct.pack("<f", 1.0)) + b"\0"
    blocks = []
    for top in range(0, height, _ROWS):
        rows = np.ascontiguousarray(np.moveaxis(data[top : top + _ROWS][:, :, order], 2, 1))  # (h, W, C) -> (h, C, W)
        raw = rows.astype("<f4").tobytes()
        packed = _zip(raw)
        body = packed if len(packed) < len(raw) else raw
        blocks.append(struct.pack("<ii", top, len(body)) + body)
    at = len(head) + 8 * len(blocks)
    offsets = np.cumsum([at, *map(len, blocks)])[:-1]
    yield head
    yield struct.pack(f"<{len(blocks)}Q", *map(int, offsets))
    yield from blocks


def _zip(raw: bytes) -> bytes:
    """As OpenEXR packs: even bytes before odd ones, differences, deflate."""
    values = np.frombuffer(raw, np.uint8)
    halves = np.concatenate([values[::2], values[1::2]])
    differences = halves.copy()
    differences[1:] = halves[1:] - halves[:-1] + np.uint8(128)
    return zlib.compress(differences.tobytes())


def _hdr(data: np.ndarray) -> Iterator[bytes]:
    """Flat RGBE, 4 bytes a pixel."""
    height, width, channels = data.shape
    yield b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width)
    rgb = np.repeat(data[:, :, :1], 3, axis=2) if channels < 3 else data[:, :, :3]
    for top in range(0, height, 256):
        block = rgb[top : top + 256].astype(np.float64)
        _, exponent = np.frexp(block.max(axis=2))
        scale = np.ldexp(256.0, -exponent)
        out = np.empty((*block.shape[:2], 4), np.uint8)
        mantissa = np.floor(block * scale[:, :, None] + 0.5)
        over = mantissa.max(axis=2) > 255  # rounding up needs the next exponent
        exponent = exponent + over
        mantissa = np.floor(block * np.ldexp(256.0, -exponent)[:, :, None] + 0.5)
        out[:, :, :3] = mantissa
        out[:, :, 3] = np.clip(exponent + 128, 0, 255)
        out[block.max(axis=2) < 1e-32] = 0
        yield out.tobytes()
