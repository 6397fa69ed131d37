"""Seeds of every written format, and ways to damage them; the same number gives the same damage."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from anyfuse.image.frame import convert_depth
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZE = (72, 96)
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def exif_block() -> bytes:
    """EXIF with an orientation, a camera, an exposure and a place."""
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Camera"
    exif.get_ifd(34665).update({33434: 0.01, 36867: "2026:05:01 12:00:00", 37380: -2.0, 37500: bytes(40)})
    exif.get_ifd(34853).update({1: "N", 2: (50.0, 30.0, 1.0)})
    return exif.tobytes()[6:]


def seeds(folder: Path) -> dict[str, bytes]:
    """Small pictures of examples/ in every written format and depth, with metadata; also what others write."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = SIZE
    colour = read_image(EXAMPLES / "infrared" / "visible.jpg").pixels[:height, :width]
    grey = read_image(EXAMPLES / "infrared" / "thermal.png").pixels[:height, :width, 0]
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found: dict[str, bytes] = {}
    for suffix, depths in (("png", (8, 16)), ("tif", (8, 16, 32)), ("jpg", (8,)), ("webp", (8,)), ("bmp", (8,))):
        for depth in depths:
            for name, pixels, alpha in (("grey", grey, None), ("colour", colour, None), ("alpha", colour, grey)):
                if alpha is not None and suffix in ("jpg", "bmp"):
                    continue
                dtype = {8: "uint8", 16: "uint16", 32: "float32"}[depth]
                path = folder / f"{name}{depth}.{suffix}"
                more = {} if name == "grey" else {"icc": icc, "exif": exif_block(), "dpi": (300.0, 300.0)}
                write_image(path, convert_depth(pixels, dtype), alpha=alpha, overwrite=True, **more)  # type: ignore[arg-type]
                found[path.name] = path.read_bytes()
    picture = Image.fromarray(np.ascontiguousarray(colour))
    for name, image, kind, options in (
        ("progressive.jpg", picture, "JPEG", {"progressive": True}),
        ("cmyk.jpg", picture.convert("CMYK"), "JPEG", {}),
        ("palette.png", picture.quantize(16), "PNG", {}),
        ("bits.png", picture.convert("1"), "PNG", {}),
        ("lossless.webp", picture, "WEBP", {"lossless": True}),
        ("lzw.tif", picture, "TIFF", {"compression": "tiff_lzw"}),
        ("packbits.tif", picture, "TIFF", {"compression": "packbits"}),
        ("jpeg.tif", picture, "TIFF", {"compression": "jpeg"}),
        ("fax.tif", picture.convert("1"), "TIFF", {"compression": "group4"}),
        ("lab.tif", picture.convert("LAB"), "TIFF", {}),
        ("cmyk.tif", picture.convert("CMYK"), "TIFF", {}),
        ("pages.tif", picture, "TIFF", {"save_all": True, "append_images": [picture.convert("L")] * 2}),
        ("frames.webp", picture, "WEBP", {"save_all": True, "append_images": [picture.rotate(90)]}),
    ):
        buffer = BytesIO()
        image.save(buffer, kind, **options)
        found[name] = buffer.getvalue()
    return found


def truncate(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """The first part of a file."""
    return data[: draw.randrange(len(data))]


def flip(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """A few bits."""
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def head(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """A number of the first bytes, where sizes and counts are."""
    width, order = draw.choice((1, 2, 4)), draw.choice("<>")
    at = draw.randrange(min(len(data) - width, 400))
    value = draw.choice(INTERESTING) & ((1 << 8 * width) - 1)
    struct.pack_into(order + {1: "B", 2: "H", 4: "I"}[width], data, at, value)
    return data


def anywhere(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """A number anywhere: offsets of TIFF stand at its end."""
    width, order = draw.choice((2, 4)), draw.choice("<>")
    at = draw.randrange(len(data) - width)
    value = draw.choice((*INTERESTING, len(data), at)) & ((1 << 8 * width) - 1)
    struct.pack_into(order + {2: "H", 4: "I"}[width], data, at, value)
    return data


def splice(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """The start of one file and the end of another."""
    other = draw.choice(others)
    return data[: draw.randrange(len(data))] + bytearray(other[draw.randrange(len(other)) :])


def repeat(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """A piece many times."""
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((1, 4, 12, 64, 1024))]
    return data[:start] + piece * draw.choice((2, 16, 256)) + data[start:]


def remove(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """All but a piece."""
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice((1, 2, 4, 12, 256)) :]


def field(data: bytearray, draw: random.Random, others: list[bytes]) -> bytearray:
    """A header field of the format, with checksums that are right."""
    if data.startswith(b"\x89PNG"):
        return _png_field(data, draw)
    if data[:2] in (b"II", b"MM"):
        return _tiff_field(data, draw)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_field(data, draw)
    return head(data, draw, others)


def _png_field(data: bytearray, draw: random.Random) -> bytearray:
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((bytes(data[at + 4 : at + 8]), bytearray(data[at + 8 : at + 8 + length])))
        at += 12 + length
    if not chunks:
        return data
    tag, body = chunks[draw.randrange(len(chunks))]
    if body and draw.random() < 0.7:
        body[draw.randrange(min(len(body), 40))] = draw.choice(INTERESTING) & 0xFF
    elif draw.random() < 0.5:
        chunks.insert(draw.randrange(len(chunks)), (tag, body))
    else:
        chunks.insert(0, chunks.pop(draw.randrange(len(chunks))))
    out = bytearray(data[:8])
    for tag, body in chunks:
        out += struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
    return out


def _tiff_field(data: bytearray, draw: random.Random) -> bytearray:
    order = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack_from(order + "I", data, 4)
    if offset + 2 > len(data):
        return data
    (count,) = struct.unpack_from(order + "H", data, offset)
    at = offset + 2 + 12 * draw.randrange(max(1, count))
    if at + 12 > len(data):
        return data
    tag, kind, length, value = struct.unpack_from(order + "HHII", data, at)
    part = draw.randrange(4)
    tag = draw.choice((256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 324, 330, 338, 339, 34675, 34665))
    struct.pack_into(
        order + "HHII",
        data,
        at,
        tag if part == 0 else struct.unpack_from(order + "H", data, at)[0],
        draw.randrange(20) if part == 1 else kind,
        draw.choice(INTERESTING) if part == 2 else length,
        draw.choice((*INTERESTING, offset, len(data) - 1)) if part == 3 else value,
    )
    return data


def _jpeg_field(data: bytearray, draw: random.Random) -> bytearray:
    markers = [
        k for k in range(len(data) - 12) if data[k] == 0xFF and data[k + 1] in (0xC0, 0xC2, 0xC4, 0xDA, 0xDB, 0xE1)
    ]
    if markers:
        at = draw.choice(markers) + 2 + draw.randrange(10)
        data[at] = draw.choice(INTERESTING) & 0xFF
    return data


Mutation = Callable[[bytearray, random.Random, list[bytes]], bytearray]
MUTATIONS: tuple[Mutation, ...] = (truncate, flip, flip, head, anywhere, splice, repeat, remove, field, field, field)


def damaged(corpus: dict[str, bytes], number: int, seed: int) -> tuple[str, bytes]:
    """Case `number` of a seed: what was done, and the bytes."""
    draw = random.Random(f"{seed} {number}")
    name = draw.choice(sorted(corpus))
    data = bytearray(corpus[name])
    others = [corpus[k] for k in sorted(corpus)]
    done = []
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if len(data) > 16:
            mutation = draw.choice(MUTATIONS)
            data = mutation(data, draw, others)
            done.append(mutation.__name__)
    return f"{name} {'+'.join(done)}", bytes(data)


def damaged_text(text: str, number: int, seed: int) -> str:
    """Case `number` of damage to JSON: other values, other kinds of values, other letters."""
    draw = random.Random(f"text {seed} {number}")
    if draw.random() < 0.3:
        data = bytearray(text.encode())
        for mutation in draw.choices((truncate, flip, remove, repeat), k=draw.choice((1, 2))):
            data = mutation(data, draw, [text.encode()]) if len(data) > 2 else data
        return data.decode("latin-1")
    value = json.loads(text)
    values = (None, True, -1, 0, 1, 3, 1e30, 10**30, float("nan"), float("inf"), "", "x" * 300, [], {}, [1], -1.5, "0")
    for _ in range(draw.choice((1, 1, 2, 5))):
        place = value
        while isinstance(place, dict | list) and len(place):
            key = draw.choice(sorted(place)) if isinstance(place, dict) else draw.randrange(len(place))
            if draw.random() < 0.6 or not isinstance(place[key], dict | list):
                if draw.random() < 0.15:
                    del place[key]
                else:
                    place[key] = deepcopy(draw.choice(values))  # a list of its own
                break
            place = place[key]
    return json.dumps(value)
