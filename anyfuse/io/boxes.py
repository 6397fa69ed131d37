"""EXIF and XMP in the boxes of JPEG 2000 and JPEG XL files."""

from __future__ import annotations

import struct
from typing import BinaryIO

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_LARGEST = 1 << 24  # bytes of a block
_BOXES = 10000  # that are looked at


def metadata_boxes(file: BinaryIO) -> tuple[bytes | None, bytes | None, bool]:
    """EXIF block, XMP packet, and whether there are compressed boxes, which are not read."""
    exif = xmp = None
    packed, at = False, 0
    for _ in range(_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head[:8])
        start = 8
        if size == 1 and len(head) == 16:
            (size,), start = struct.unpack(">Q", head[8:]), 16
        if size != 0 and size < start:
            break
        length = min(size - start if size else _LARGEST, _LARGEST)
        if kind in (b"Exif", b"xml ", b"uuid"):
            file.seek(at + start)
            body = file.read(length)
            if kind == b"Exif" and len(body) > 8:
                is_bare = body[:4] in (b"II*\0", b"MM\0*")  # some writers leave out the offset before it
                exif = body if is_bare else body[4 + struct.unpack(">I", body[:4])[0] :]
            elif kind == b"uuid" and body[:16] == _EXIF:
                exif = body[16:].removeprefix(b"Exif\0\0")
            elif kind == b"xml " or body[:16] == _XMP:
                block = body if kind == b"xml " else body[16:]
                xmp = block if b"xmpmeta" in block or b"rdf:RDF" in block else xmp
        packed = packed or kind == b"brob"
        if size == 0:
            break
        at += size
    return exif, xmp, packed
