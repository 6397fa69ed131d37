"""Pixels and metadata as the bytes of a file: PNG and TIFF encoded here, JPEG, WebP and BMP by Pillow.

PNG and TIFF are our own so that EXIF and ICC go through byte for byte, at any depth, and a full disk is an error.
Pillow writes no colours of 16 bits, OpenImageIO and tifffile no block of EXIF (tests/io/test_other_writers.py).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from .. import native
from ..errors import FusionError
from ..image.metadata import Metadata
from .encode_plain import encode_plain
from .exif import LAYOUT, byte_order, directory, lay_directory, swapped

Dpi = tuple[float, float] | None

DEPTHS = {"png": ("uint8", "uint16"), "tiff": ("uint8", "uint16", "float32")}  # the others: uint8
DEPTHS |= {"dicom": ("uint8", "uint16"), "nifti": ("uint8", "uint16", "float32")}
DEPTHS |= {"netpbm": ("uint8", "uint16"), "pfm": ("float32",), "exr": ("float32",), "hdr": ("float32",)}
MAX_SIDE = {"jpeg": 65535, "webp": 16383}
CHUNK = 1 << 22  # bytes filtered and compressed together
LEVEL = 4  # of zlib: half the time of 6, files 4 % larger (examples)
QUICK_LEVEL = 2  # of ISA-L: a twelfth of the time of zlib's 4, files 3 % larger


def encode(
    kind: str,
    data: np.ndarray,
    exif: bytes | None,
    icc: bytes | None,
    dpi: Dpi,
    quality: int = 95,
    metadata: Metadata | None = None,
    bands: bool = False,
) -> Iterable[bytes]:
    """The file of format `kind`, piece by piece.

    Args:
        kind: of the format: png, tiff, jpeg, webp, bmp, exr, hdr, pfm or netpbm.
        data: (H, W, 1..4) of a depth and size that the format holds.
        exif: EXIF block (a TIFF structure); None: none.
        icc: ICC profile; None: none.
        dpi: horizontal and vertical resolution; None: not known.
        quality: of JPEG and WebP, 1 to 100.
        metadata: XMP and what else is kept.
        bands: the channels are bands, of any number (TIFF), and none of them is alpha.
    """
    metadata = metadata or Metadata()
    if kind == "png":
        return _png(data, exif, icc, dpi, metadata)
    if kind == "tiff":
        return _tiff(data, exif, icc, dpi, metadata, bands)
    if kind in ("exr", "hdr", "pfm", "netpbm"):
        return encode_plain(kind, data)
    return [_pillow(kind, data, exif, icc, dpi, quality, metadata)]


def _png(data: np.ndarray, exif: bytes | None, icc: bytes | None, dpi: Dpi, metadata: Metadata) -> Iterator[bytes]:
    """A PNG file of (H, W, 1..4) uint8 or uint16, piece by piece."""
    height, width, channels = data.shape

    def chunk(tag: bytes, body: bytes) -> bytes:
        check = zlib.crc32(body, zlib.crc32(tag))
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", check)

    layout = (8 * data.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    yield b"\x89PNG\r\n\x1a\n"
    yield chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *layout))
    if icc:
        yield chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if dpi:
        yield chunk(b"pHYs", struct.pack(">IIB", round(dpi[0] / 0.0254), round(dpi[1] / 0.0254), 1))
    if exif:
        yield chunk(b"eXIf", exif)
    for key, text in metadata.text:
        name = key.encode("latin-1", "replace")[:79]
        yield chunk(b"iTXt", name + b"\0\0\0\0\0" + text.encode("utf-8", "replace"))
    if metadata.xmp:
        yield chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    packer = _packer()
    above = np.zeros((1, width * channels * data.itemsize), np.uint8)
    step = max(1, CHUNK // above.size)
    for top in range(0, height, step):
        block = np.ascontiguousarray(data[top : top + step]).astype(f">u{data.itemsize}", copy=False)
        rows = block.view(np.uint8).reshape(len(block), -1)  # (h, w, C) -> (h, bytes of a row)
        body = packer.compress(_png_filter(rows, above, channels * data.itemsize).tobytes())
        above = rows[-1:]
        if body:
            yield chunk(b"IDAT", body)
    yield chunk(b"IDAT", packer.flush())
    yield chunk(b"IEND", b"")


def _packer() -> Any:
    """A compressor of zlib's format: by ISA-L, or by zlib where that has no build for the processor."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(LEVEL, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    return isal_zlib.compressobj(QUICK_LEVEL, isal_zlib.DEFLATED, 15)


def _png_filter(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Rows of bytes (h, n), the row above (1, n), bytes a pixel -> (h, 1 + n), each by its best filter."""
    found = native.kernels()
    if found is not None:
        return native.png_filter(found, rows, above, step)
    up = np.concatenate([above, rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))
    best = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    best_cost = np.full(len(rows), np.iinfo(np.int64).max)
    for kind, guess in ((1, left), (2, up), (4, paeth)):
        rest = rows - guess  # modulo 256
        cost = np.abs(rest.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
        better = cost < best_cost
        best[better, 0], best[better, 1:], best_cost[better] = kind, rest[better], cost[better]
    return best


def _strip(block: np.ndarray, order: str) -> bytes:
    """Rows (h, W, C), deflated; whole numbers as differences along the row (predictor 2).

    By zlib: ISA-L is eleven times as fast, but the libtiff of OpenImageIO does not read what it writes.
    """
    if block.dtype.kind == "u":
        differences = block.copy()
        differences[:, 1:] -= block[:, :-1]
        block = differences
    return zlib.compress(block.astype(f"{order}{block.dtype.str[1:]}", copy=False).tobytes())


def _exif_entries(base: bytearray, order: str) -> list[tuple[int, int, int, bytes]]:
    """Tag, kind, count and value (or its offset) of each entry in the first directory of an EXIF block."""
    (first,) = struct.unpack_from(order + "I", base, 4)
    entries = directory(lambda start, count: bytes(base[start : start + count]), order, first)
    return [(tag, kind, count, bytes(base[at : at + 4])) for tag, kind, count, at in entries]


def _tiff(
    data: np.ndarray, exif: bytes | None, icc: bytes | None, dpi: Dpi, metadata: Metadata, bands: bool = False
) -> list[bytes]:
    """A deflated TIFF of (H, W, 1..4) uint8, uint16 or float32; of bands, also of more, and int16.

    The EXIF block is itself a TIFF structure: it becomes the start of the file, so none of its offsets moves.
    """
    height, width, channels = data.shape
    base = bytearray(exif or struct.pack("<2sHI", b"II", 42, 8))
    base += b"\0" * (len(base) % 2)
    order = byte_order(bytes(base))
    step = max(1, (CHUNK // 4) // (width * channels * data.itemsize))
    strips = [_strip(data[top : top + step], order) for top in range(0, height, step)]
    offsets = np.cumsum([len(base), *map(len, strips)])
    end = int(offsets[-1])
    if end > 0xFFFFFFFF - (1 << 24):
        raise FusionError(f"a TIFF of {end} bytes is over the limit of 4 GiB; write .png or a smaller image")

    def shorts(*values: int) -> tuple[int, int, bytes]:
        return 3, len(values), struct.pack(f"{order}{len(values)}H", *values)

    def longs(*values: int) -> tuple[int, int, bytes]:
        return 4, len(values), struct.pack(f"{order}{len(values)}I", *values)

    tags = {
        256: longs(width),
        257: longs(height),
        258: shorts(*[8 * data.itemsize] * channels),
        259: shorts(8),
        262: shorts(1 if channels < 3 or (bands and channels > 3) else 2),
        273: longs(*map(int, offsets[:-1])),
        274: shorts(1),
        277: shorts(channels),
        278: longs(step),
        279: longs(*map(len, strips)),
        284: shorts(1),
        317: shorts(2 if data.dtype.kind == "u" else 1),
        339: shorts(*[{"u": 1, "i": 2, "f": 3}[data.dtype.kind]] * channels),
    }
    if bands and channels > 3:
        tags[338] = shorts(*[0] * (channels - 1))  # unspecified, as GDAL has it
    elif channels in (2, 4):
        tags[338] = shorts(2)  # unassociated alpha
    if icc:
        tags[34675] = (7, len(icc), icc)
    if dpi:
        for tag, value in zip((282, 283), dpi, strict=True):
            tags[tag] = (5, 1, struct.pack(order + "II", round(value * 10000), 10000))
        tags[296] = shorts(2)
    tags |= _blocks(metadata, order)
    described = _exif_entries(base, order) if exif else []
    if metadata.pixel_um and not any(entry[0] == 270 for entry in described):  # as ImageJ has it
        text = b"ImageJ=1.54f\nimages=1\nunit=micron\n\0"
        tags[270], tags[296] = (2, len(text), text), shorts(1)
        for tag, size in zip((282, 283), metadata.pixel_um, strict=True):
            per_micron = Fraction(1 / size).limit_denominator(1 << 16)
            tags[tag] = (5, 1, struct.pack(order + "II", per_micron.numerator, per_micron.denominator))
    entries = [(tag, *value) for tag, value in tags.items()]
    entries += [e for e in described if e[0] not in tags and e[0] not in LAYOUT]
    gap = b"\0" * (end % 2)
    struct.pack_into(order + "I", base, 4, end + len(gap))
    return [bytes(base), *strips, gap, lay_directory(entries, order, end + len(gap))]


def _blocks(metadata: Metadata, order: str) -> dict[int, tuple[int, int, bytes]]:
    """XMP, IPTC and GeoTIFF tags as entries of a TIFF directory."""
    tags = {tag: (kind, count, raw if order == "<" else swapped(kind, raw)) for tag, kind, count, raw in metadata.geo}
    if metadata.xmp:
        tags[700] = (1, len(metadata.xmp), metadata.xmp)
    if metadata.iptc:
        tags[33723] = (7, len(metadata.iptc), metadata.iptc)
    return tags


def _pillow(
    kind: str,
    data: np.ndarray,
    exif: bytes | None,
    icc: bytes | None,
    dpi: Dpi,
    quality: int,
    metadata: Metadata,
) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(data[:, :, 0] if data.shape[2] == 1 else data))
    options: dict[str, Any] = {"dpi": dpi} if dpi and kind != "webp" else {}
    if kind in ("jpeg", "webp"):
        options |= {"quality": quality, "icc_profile": icc, "exif": b"Exif\0\0" + exif if exif else b""}
        options |= {"subsampling": 0} if kind == "jpeg" else {"exact": True}
        options |= {"xmp": metadata.xmp} if metadata.xmp else {}
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **options)
    if kind == "jpeg" and metadata.iptc:
        return _with_iptc(buffer.getvalue(), metadata.iptc)
    return buffer.getvalue()


def _with_iptc(jpeg: bytes, iptc: bytes) -> bytes:
    """The JPEG with its IPTC records in a Photoshop segment, behind its other application segments."""
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    at = 2
    while jpeg[at] == 0xFF and 0xE0 <= jpeg[at + 1] <= 0xEF:
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    return jpeg[:at] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + jpeg[at:]
