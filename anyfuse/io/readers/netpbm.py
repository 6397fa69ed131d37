"""PBM, PGM, PPM and PFM: text and binary, 8 and 16 bits, float."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

import numpy as np

from ...errors import FusionError
from ..pillow import check_size
from ..raster import Pages, Raster

_TOKEN = re.compile(rb"(?:\s|#[^\n]*\n)*([^\s#]+)")
_HEADER = 1 << 16  # bytes within which a header ends


def open_netpbm(file: BinaryIO, name: str) -> Pages:
    """The first picture of the file. The largest value of a PGM or PPM counts as white."""
    head = file.read(_HEADER)
    kind = head[:2]
    if kind in (b"Pf", b"PF"):
        channels, width, height, _, _ = _pfm_header(name, head)
        return Pages(lambda _: _pfm(file, name, head), size=lambda _: (height, width, 4 * channels))
    tokens, at = [], 2
    for _ in range(2 if kind in (b"P1", b"P4") else 3):
        found = _TOKEN.match(head, at)
        if found is None or not found[1].isdigit() or len(found[1]) > 9:
            raise FusionError(f"{name}: is damaged, its header is no {kind.decode()} header; save it anew")
        tokens.append(int(found[1]))
        at = found.end()
    width, height, top = (*tokens, 1)[:3]
    check_size(name, width, height)
    if not 1 <= top <= 65535:
        raise FusionError(f"{name}: its largest value is {top}, not 1 to 65535; save it anew")
    shape = (height, width, 3 if kind in (b"P3", b"P6") else 1)
    size = (height, width, shape[2] * (2 if top > 255 else 1))
    return Pages(lambda _: _values(file, name, kind, shape, top, at), size=lambda _: size)


def _values(file: BinaryIO, name: str, kind: bytes, shape: tuple[int, int, int], top: int, at: int) -> Raster:
    height, width, channels = shape
    size = os.fstat(file.fileno()).st_size
    if kind in (b"P1", b"P2", b"P3"):
        file.seek(at)
        text = re.sub(rb"#[^\n]*", b"", file.read())
        words = [bytes([c]) for c in text if c in b"01"] if kind == b"P1" else text.split()
        count = height * width * channels
        if len(words) < count:
            raise FusionError(f"{name}: is truncated after {len(words)} of {count} values; save or download it again")
        try:
            data: np.ndarray = np.array(words[:count], dtype=np.int64)
        except (ValueError, OverflowError):
            raise FusionError(f"{name}: is damaged, a value is no number; save or download it again") from None
    else:
        start = at + 1  # one white space
        row = -(-width // 8) if kind == b"P4" else width * channels * (2 if top > 255 else 1)
        if size < start + row * height:
            what = f"{size} of {start + row * height} bytes"
            raise FusionError(f"{name}: is truncated after {what}; save or download it again")
        file.seek(start)
        raw = file.read(row * height)
        if kind == b"P4":
            data = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(height, row), axis=1)[:, :width]
        else:
            data = np.frombuffer(raw, ">u2" if top > 255 else np.uint8)
    if data.size and int(data.max()) > top:
        raise FusionError(f"{name}: has the value {int(data.max())} over its largest, {top}; save it anew")
    if kind in (b"P1", b"P4"):  # 1 is black
        return Raster(((1 - data.reshape(height, width)) * 255).astype(np.uint8), name=name)
    if top <= 255:
        levels = data if top == 255 else np.floor(data * (255.0 / top) + 0.5)
        return Raster(levels.astype(np.uint8).reshape(shape), name=name)
    white = None if top == 65535 else float(top)
    return Raster(data.astype(np.uint16).reshape(shape), name=name, white=white)


def _pfm_header(name: str, head: bytes) -> tuple[int, int, int, str, int]:
    """Channels, width, height, order of bytes, and where the values begin."""
    found = re.match(rb"P([fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+0-9.eE]{1,30})\s", head)
    if found is None:
        raise FusionError(f"{name}: is damaged, its header is no PFM header; save it anew")
    channels, width, height = 3 if found[1] == b"F" else 1, int(found[2]), int(found[3])
    check_size(name, width, height)
    return channels, width, height, "<" if found[4].startswith(b"-") else ">", found.end()


def _pfm(file: BinaryIO, name: str, head: bytes) -> Raster:
    channels, width, height, order, start = _pfm_header(name, head)
    count = width * height * channels
    file.seek(start)
    raw = file.read(4 * count)
    if len(raw) < 4 * count:
        raise FusionError(f"{name}: is truncated after {len(raw)} of {4 * count} bytes; save or download it again")
    pixels = np.frombuffer(raw, f"{order}f4").reshape(height, width, channels)[::-1]  # rows go upwards
    return Raster(np.ascontiguousarray(pixels, np.float32), name=name)
