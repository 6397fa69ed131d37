"""Image files in and out: PNG, JPEG, TIFF, WebP and BMP; 8-bit, 16-bit and float32; grey, RGB, alpha.

Who reads and writes what, each chosen by trying it:
- OpenImageIO reads PNG and TIFF: every depth, palettes, planes, tiles (Pillow turns 16-bit RGB into 8 bits
  silently and cannot open float RGB).  It premultiplies alpha unless told otherwise, and leaves 16-bit
  white-is-zero data inverted.
- Pillow reads JPEG, WebP, BMP and 8-bit CMYK or Lab TIFF: truncated JPEG is an error to it, and CMYK
  profiles are known.
- Pillow writes JPEG, WebP and BMP, into memory.  OpenImageIO writes nothing: on a full disk its PNG writer
  reports success and its JPEG writer ends the process.
- PNG and TIFF are encoded here, so that EXIF and ICC go through byte for byte, at any depth.

Files are written whole or not at all.  XMP and IPTC blocks are not carried over.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import OpenImageIO as oiio
from PIL import BmpImagePlugin, Image, ImageCms, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

from anyfuse.errors import FusionError
from anyfuse.stack import FULL, Frame, convert_depth, icc_channels, make_frame

Dpi = tuple[float, float] | None

WRITES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff"}
WRITES |= {".webp": "webp", ".bmp": "bmp"}
DEPTHS = {"png": ("uint8", "uint16"), "tiff": ("uint8", "uint16", "float32")}  # the others: uint8
MAX_PIXELS = 1 << 30  # a header that claims more is taken for a broken or hostile file
MAX_SIDE = {"jpeg": 65535, "webp": 16383}
_PILLOW: dict[str, Any] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}
_DECODER_ERRORS = (SyntaxError, ValueError, LookupError, TypeError, struct.error, zlib.error)
_CHUNK = 1 << 22  # bytes filtered and compressed together


def read_image(path: str | os.PathLike[str], white: float | None = None) -> Frame:
    """The image in a file, upright, in its native depth (see `Frame`); its content decides on the format.

    white: the value that counts as 1.0 in 16-bit and float images, e.g. 4095 for 12-bit data in 16 bits.
    Of a file with several pages or animation frames the first is taken, and `Frame.warnings` says so.
    CMYK and Lab become sRGB.  Raises FusionError for all that is wrong with the file.
    """
    name = os.fspath(path)
    try:
        if os.path.isdir(name):
            raise FusionError(f"{name}: is a folder, not an image; name a file in it")
        with open(name, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on odd tags and large images
            kind = _sniff(file, name)
            if kind == "png":
                return _read_png(file, name, white)
            if kind == "tiff":
                return _read_tiff(file, name, white)
            image = _PILLOW[kind](file)
            pages = image.n_frames if kind == "webp" else 1
            return frame_from_pil(image, name=name, white=white, notes=_page_note(name, pages))
    except FileNotFoundError:
        raise FusionError(f"{name}: no such file; check the path") from None
    except MemoryError:
        raise FusionError(f"{name}: not enough memory to read it; free some or reduce the image") from None
    except FusionError:
        raise
    except (*_DECODER_ERRORS, Image.DecompressionBombError, OSError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FusionError(f"{name}: cannot be read ({_line(detail)}); save or download it again") from None


def frame_from_pil(image: Image.Image, *, name: str, white: float | None = None, notes: tuple[str, ...] = ()) -> Frame:
    """A Pillow image of any mode as a Frame: upright, CMYK and Lab as sRGB, EXIF and ICC taken along."""
    _check_size(name, image.width, image.height)
    image.load()
    info = image.info
    exif = info.get("exif")
    if exif is None and not hasattr(image, "tag_v2"):
        exif = image.getexif().tobytes() if len(image.getexif()) else None
    exif = exif[6:] if exif and exif.startswith(b"Exif\0\0") else exif
    dpi = info.get("dpi")
    pixels, alpha, icc, note = _pil_pixels(image, info.get("icc_profile"), name)
    return _upright(
        pixels,
        alpha,
        exif_orientation(exif),
        name=name,
        white=white,
        exif=exif,
        icc=icc,
        dpi=_dpi(*dpi) if dpi else None,
        warnings=notes + note,
    )


def write_image(
    path: str | os.PathLike[str],
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    exif: bytes | None = None,
    icc: bytes | None = None,
    dpi: Dpi = None,
    white: float | None = None,
    quality: int = 95,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> list[str]:
    """Write (H, W) or (H, W, 1 | 3) uint8, uint16 or float32 pixels; the suffix decides on the format.

    alpha: (H, W), unassociated.  exif: as in `Frame.exif`; sizes and orientation are corrected.
    white: the value that counts as 1.0 (None: full scale), for formats with less depth than the pixels.
    quality: of JPEG (4:4:4) and WebP, 1 to 100.  inputs: files never overwritten, even with `overwrite`.
    Returns what the format could not keep, one sentence each.
    Raises FusionError; then no file is left behind or changed.
    """
    name = os.fspath(path)
    kind = writable(name)
    target = Path(os.path.realpath(name))
    _check_target(name, target, overwrite, inputs)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.size == 0 or pixels.dtype.name not in FULL:
        what = f"{pixels.dtype} of shape {pixels.shape}"
        raise FusionError(f"{name}: cannot write {what}; give (H, W, 1 or 3) uint8, uint16 or float32")
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE.get(kind, 1 << 31):
        limit = MAX_SIDE[kind]
        raise FusionError(f"{name}: {width}x{height} is over {kind}'s {limit} pixels a side; write .tif or .png")
    notes: list[str] = []
    depths = DEPTHS.get(kind, ("uint8",))
    if pixels.dtype.name not in depths:
        notes.append(f"{name}: {pixels.dtype.name} rounded to {depths[-1]}, the most that {kind} holds")
        pixels = convert_depth(pixels, depths[-1], white)
    if alpha is not None and kind in ("jpeg", "bmp"):
        notes.append(f"{name}: alpha dropped, {kind} has none")
        alpha = None
    data = pixels
    if alpha is not None:
        data = np.concatenate([pixels, convert_depth(alpha, pixels.dtype)[:, :, None]], axis=2)
    if exif:
        patched = upright_exif(exif, width, height)
        limit = {"jpeg": 65533 - 6, "bmp": -1}.get(kind, 1 << 31)
        if patched is None or len(patched) > limit:
            why = "it is damaged" if patched is None else f"{len(patched)} bytes do not fit into {kind}"
            notes.append(f"{name}: EXIF dropped, {why}")
            patched = None
        exif = patched
    if icc and (kind == "bmp" or icc_channels(icc) != pixels.shape[2]):
        why = f"{kind} has none" if kind == "bmp" else f"it is not for {pixels.shape[2]}-channel images"
        notes.append(f"{name}: ICC profile dropped, {why}")
        icc = None
    encode = {"png": _png, "tiff": _tiff}.get(kind)
    if encode is not None:
        chunks: Iterable[bytes] = encode(data, exif, icc, dpi)
    else:
        chunks = [_pillow_bytes(kind, data, exif, icc, dpi, quality)]
    _write_whole(name, target, chunks, overwrite)
    return notes


def writable(path: str | os.PathLike[str]) -> str:
    """The format that the suffix of an output path asks for; FusionError with the list if there is none."""
    name, suffix = os.fspath(path), Path(path).suffix.lower()
    if suffix not in WRITES:
        what = suffix or "a file without suffix"
        raise FusionError(f"{name}: cannot write {what}; use one of {', '.join(WRITES)}")
    return WRITES[suffix]


# Reading


def _sniff(file: BinaryIO, name: str) -> str:
    head = file.read(16)
    file.seek(0)
    if not head:
        raise FusionError(f"{name}: is empty (0 bytes); save or download it again")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and len(head) >= 14 and head[6:10] == b"\0\0\0\0":
        return "bmp"
    what = f"is not an image that can be read (it begins with {head[:8]!r})"
    raise FusionError(f"{name}: {what}; give PNG, JPEG, TIFF, WebP or BMP")


def _read_png(file: BinaryIO, name: str, white: float | None) -> Frame:
    size = os.fstat(file.fileno()).st_size
    exif = icc = dpi = None
    position, tag = 8, b""
    while tag != b"IEND":  # libpng says little about a truncated file, and prints it
        file.seek(position)
        head = file.read(8)
        length, tag = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        position += 12 + length
        if not tag or position > size:
            raise FusionError(f"{name}: is truncated after {size} bytes; save or download it again")
        if not tag[0] & 32 and _chunk_is_damaged(file, length):
            raise FusionError(f"{name}: is damaged, a checksum is wrong; save or download it again")
        file.seek(position - 4 - length)
        if tag == b"IHDR":
            _check_size(name, *struct.unpack(">II", file.read(8)))
        elif tag == b"eXIf":
            exif = file.read(length)
        elif tag == b"iCCP":
            with contextlib.suppress(zlib.error):
                icc = zlib.decompress(file.read(length).partition(b"\0")[2][1:])
        elif tag == b"pHYs":
            x, y, unit = struct.unpack(">IIB", file.read(9))
            dpi = _dpi(x * 0.0254, y * 0.0254) if unit == 1 else None
    pixels, alpha, notes = _read_oiio(name)
    turn = exif_orientation(exif)
    return _upright(pixels, alpha, turn, name=name, white=white, exif=exif, icc=icc, dpi=dpi, warnings=notes)


def _chunk_is_damaged(file: BinaryIO, length: int) -> bool:
    """Whether the checksum of a PNG chunk is wrong; the file stands behind its tag."""
    file.seek(-4, os.SEEK_CUR)
    check, left = 0, length + 4
    while left:
        piece = file.read(min(left, _CHUNK))
        check, left = zlib.crc32(piece, check), left - len(piece)
    return struct.unpack(">I", file.read(4))[0] != check


def _read_tiff(file: BinaryIO, name: str, white: float | None) -> Frame:
    size = os.fstat(file.fileno()).st_size
    head = file.read(8)
    head += file.read(8) if head[2] == 43 or head[3] == 43 else b""

    def load(offset: int) -> Any:
        ifd: Any = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(offset)
        ifd.load(file)
        return ifd

    tags = load(TiffImagePlugin.ImageFileDirectory_v2(head).next)
    if 256 not in tags or 257 not in tags:
        raise FusionError(f"{name}: is truncated, its size is missing; save or download it again")
    _check_size(name, int(tags[256]), int(tags[257]))
    parts = [(tags[a], tags[b]) for a, b in ((273, 279), (324, 325)) if a in tags and b in tags]
    end = max((o + n for offsets, counts in parts for o, n in zip(offsets, counts, strict=False)), default=0)
    if end > size:
        raise FusionError(f"{name}: is truncated after {size} of {end} bytes; save or download it again")
    pages, following, seen = 1, tags.next, set()
    while following and following not in seen and following < size:
        seen.add(following)
        page = load(following)
        pages += not page.get(254, 0) & 1  # reduced copies of the same picture do not count
        following = page.next
    notes = _page_note(name, pages)
    icc = tags.get(34675)
    bits = max(tags.get(258, (1,)))
    if bits == 64 and 324 in tags:  # OpenImageIO 3.2.2 returns wrong values, without an error
        raise FusionError(f"{name}: holds 64-bit floats in tiles; save as 32-bit float or in strips")
    if tags.get(262) in (5, 8) and bits == 8:  # CMYK, Lab: through their profile
        file.seek(0)
        pixels, alpha, icc, note = _pil_pixels(_PILLOW["tiff"](file), icc, name)
        notes += note
    else:
        pixels, alpha, note = _read_oiio(name)
        notes += note
        if alpha is not None and tags.get(338, (0,))[0] == 1:
            pixels = _unpremultiply(pixels, alpha)
        if tags.get(262) == 0 and pixels.dtype == np.uint16:
            pixels = np.uint16(65535) - pixels
        if tags.get(262) == 5:
            icc, notes = None, (*notes, f"{name}: CMYK converted to sRGB without its profile")
    dpi = None
    if 282 in tags and 283 in tags and tags.get(296, 2) in (2, 3):
        unit = 2.54 if tags.get(296, 2) == 3 else 1.0
        dpi = _dpi(float(tags[282]) * unit, float(tags[283]) * unit)
    exif = _tiff_exif(file)
    turn = tags.get(274, 1)
    return _upright(pixels, alpha, turn, name=name, white=white, exif=exif, icc=icc, dpi=dpi, warnings=notes)


def _read_oiio(name: str) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Pixels (H, W, 1 | 3) and alpha (H, W) as stored, and warnings."""
    config = oiio.ImageSpec()
    config["oiio:UnassociatedAlpha"] = 1
    source = oiio.ImageInput.open(name, config)
    if source is None:
        raise FusionError(f"{name}: cannot be read ({_line(oiio.geterror())}); save or download it again")
    try:
        spec = source.spec()
        data = source.read_image(0, 0, 0, spec.nchannels, spec.format)
        trouble = source.geterror()
    finally:
        source.close()
    if data is None or trouble:
        raise FusionError(f"{name}: is truncated or damaged ({_line(trouble)}); save or download it again")
    if spec.nchannels > 4:
        raise FusionError(f"{name}: has {spec.nchannels} channels; give 1 or 3, with or without alpha")
    colours = 3 if spec.nchannels >= 3 else 1
    if spec.nchannels == colours:
        return data, None, ()
    if spec.alpha_channel == colours:
        return data[:, :, :colours], data[:, :, colours], ()
    note = f"{name}: channel {spec.nchannels} is not marked as alpha and was left out"
    return data[:, :, :colours], None, (note,)


def _pil_pixels(
    image: Any, icc: bytes | None, name: str
) -> tuple[np.ndarray, np.ndarray | None, bytes | None, tuple[str, ...]]:
    """Pixels, alpha, ICC profile and warnings of a Pillow image of any mode."""
    notes: tuple[str, ...] = ()
    mode = image.mode
    if mode in ("CMYK", "LAB"):
        image, icc, notes = _to_srgb(image, icc), None, (f"{name}: {mode} converted to sRGB",)
    elif mode in ("P", "PA", "RGBa", "La"):
        has_alpha = mode != "P" or "transparency" in image.info or image.palette.mode == "RGBA"
        image = image.convert({"La": "LA"}.get(mode, "RGBA" if has_alpha else "RGB"))
    elif mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("LA" if mode == "L" else "RGBA")
    elif mode == "1":
        image = image.convert("L")
    elif mode in ("YCbCr", "HSV", "RGBX"):
        image = image.convert("RGB")
    data = np.asarray(image)
    if mode == "I":
        if data.min() < 0 or data.max() > 65535:
            raise FusionError(f"{name}: integers from {data.min()} to {data.max()}; save as 16-bit or float")
        data = data.astype(np.uint16)
    if image.mode in ("LA", "RGBA"):
        return data[:, :, :-1], data[:, :, -1], icc, notes
    return data, None, icc, notes


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    source: Any = ImageCms.createProfile("LAB") if image.mode == "LAB" else None
    if image.mode == "CMYK" and icc and icc_channels(icc) == 4:
        source = io.BytesIO(icc)
    if source is not None:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            profile = ImageCms.ImageCmsProfile(source)
            result = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
            if result is not None:
                return result
    return image.convert("RGB")


def _upright(pixels: np.ndarray, alpha: np.ndarray | None, orientation: int, *, name: str, **rest: Any) -> Frame:
    """The frame with its pixels turned as the EXIF orientation (1 to 8) says, and metadata to match."""

    def turn(array: np.ndarray) -> np.ndarray:
        array = array.swapaxes(0, 1) if orientation >= 5 else array
        array = array[::-1] if orientation in (3, 4, 7, 8) else array
        return array[:, ::-1] if orientation in (2, 3, 6, 7) else array

    if 2 <= orientation <= 8:
        pixels = np.ascontiguousarray(turn(pixels))
        alpha = None if alpha is None else np.ascontiguousarray(turn(alpha))
        if orientation >= 5 and rest.get("dpi"):
            rest["dpi"] = rest["dpi"][::-1]
    if rest.get("exif"):
        rest["exif"] = upright_exif(rest["exif"], pixels.shape[1], pixels.shape[0])
        if rest["exif"] is None:
            rest["warnings"] = (*rest.get("warnings", ()), f"{name}: EXIF is damaged and was dropped")
    return make_frame(pixels, alpha, name=name, **rest)


def _unpremultiply(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    full = FULL[pixels.dtype.name] if pixels.dtype.kind == "u" else 1.0
    scale = full / np.maximum(alpha.astype(np.float32), full / 65535.0)
    values = (pixels * scale[:, :, None]).clip(0.0, full)
    return values.astype(pixels.dtype) if pixels.dtype.kind == "f" else np.rint(values).astype(pixels.dtype)


def _check_size(name: str, width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise FusionError(f"{name}: claims {width}x{height}, not 1 to {MAX_PIXELS} pixels; save or cut it anew")


def _page_note(name: str, pages: int) -> tuple[str, ...]:
    if pages < 2:
        return ()
    return (f"{name}: only the first of {pages} pages is used; save the others as files to fuse them",)


def _dpi(x: float, y: float) -> Dpi:
    x, y = float(x), float(y)
    return (round(x, 4), round(y, 4)) if 0.0 < x < 1e6 and 0.0 < y < 1e6 else None


def _line(text: object) -> str:
    return " ".join(str(text).split()) or "no reason given"


# EXIF: a TIFF structure of directories (IFD) with 12-byte entries; values over 4 bytes lie elsewhere in it.
# It is patched in place, never written anew, so that maker notes with absolute offsets stay intact.

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
# _KEPT: what of a TIFF's own directory belongs to EXIF.  _LAYOUT: what describes pixels, or is a block of its
# own (XMP, IPTC, Photoshop, ICC), and must not go from an EXIF block into the directory of a new file.
_KEPT = {*range(270, 273), 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, 34665, 34853}
_KEPT |= set(range(40091, 40096))
_LAYOUT = {*range(254, 270), *range(273, 282), 284, 317, *range(320, 326), 330, 338, 339, 347, 700}
_LAYOUT |= {*range(512, 533), 33723, 34377, 34675}
Reader = Callable[[int, int], bytes]
Entry = tuple[int, int, int, int]  # tag, type, count, where its 4-byte value field is


def _directory(read: Reader, order: str, offset: int) -> Iterator[Entry]:
    (count,) = struct.unpack(order + "H", read(offset, 2))
    for i in range(count):
        at = offset + 2 + 12 * i
        yield (*struct.unpack(order + "HHI", read(at, 8)), at + 8)


def _order(head: bytes) -> str:
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    if not order or struct.unpack(order + "H", head[2:4])[0] != 42:
        raise struct.error("not a TIFF structure")
    return order


def exif_orientation(exif: bytes | None) -> int:
    """Orientation 1 to 8 of an EXIF block; 1 if it has none or is damaged."""
    with contextlib.suppress(struct.error):
        if exif:
            order = _order(exif)
            (first,) = struct.unpack_from(order + "I", exif, 4)
            for tag, kind, _, at in _directory(lambda o, n: exif[o : o + n], order, first):
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
        order = _order(exif)
        (first,) = struct.unpack_from(order + "I", block, 4)
        for entry in list(_directory(read, order, first)):
            if entry[0] in (256, 257, 274):
                put(entry, {256: width, 257: height, 274: 1}[entry[0]])
            elif entry[0] == 34665:
                (inner,) = struct.unpack_from(order + "I", block, entry[3])
                for sub in list(_directory(read, order, inner)):
                    if sub[0] in (40962, 40963):
                        put(sub, width if sub[0] == 40962 else height)
        (count,) = struct.unpack(order + "H", read(first, 2))
        struct.pack_into(order + "I", block, first + 2 + 12 * count, 0)
    except struct.error:
        return None
    return bytes(block)


def _lay(entries: list[tuple[int, int, int, bytes]], order: str, offset: int) -> bytes:
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


def _tiff_exif(file: BinaryIO) -> bytes | None:
    """The descriptive tags, EXIF and GPS of a classic TIFF file as an EXIF block, values byte for byte."""

    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    def values(offset: int, keep: Callable[[int], bool]) -> list[tuple[int, int, int, bytes]]:
        out = []
        for tag, kind, count, at in list(_directory(read, order, offset)):
            size = _SIZES.get(kind, 0) * count
            if not keep(tag) or not 0 < size <= 1 << 24:
                continue
            raw = read(at if size <= 4 else struct.unpack(order + "I", read(at, 4))[0], size)
            machine = tag == 270 and raw.startswith((b'{"shape"', b"ImageJ="))  # describes this file's layout
            if len(raw) == size and not machine:
                out.append((tag, kind, count, raw))
        return out

    try:
        head = read(0, 8)
        order = _order(head)
        root = values(struct.unpack(order + "I", head[4:])[0], lambda tag: tag in _KEPT)
        block = head[:4] + b"\0\0\0\0"
        for i, (tag, _, count, raw) in enumerate(root):
            if tag in (34665, 34853):
                inner = values(struct.unpack(order + "I", raw)[0], lambda tag: tag != 40965)
                root[i] = (tag, 4, count, struct.pack(order + "I", len(block)))
                block += _lay(inner, order, len(block))
        if all(tag in (282, 283, 296) for tag, *_ in root):
            return None
        return block[:4] + struct.pack(order + "I", len(block)) + block[8:] + _lay(root, order, len(block))
    except struct.error:
        return None


# Writing


def _png(data: np.ndarray, exif: bytes | None, icc: bytes | None, dpi: Dpi) -> Iterator[bytes]:
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
    packer = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    above = np.zeros((1, width * channels * data.itemsize), np.uint8)
    step = max(1, _CHUNK // above.size)
    for top in range(0, height, step):
        block = np.ascontiguousarray(data[top : top + step]).astype(f">u{data.itemsize}", copy=False)
        rows = block.view(np.uint8).reshape(len(block), -1)  # (h, w, C) -> (h, bytes of a row)
        body = packer.compress(_png_filter(rows, above, channels * data.itemsize).tobytes())
        above = rows[-1:]
        if body:
            yield chunk(b"IDAT", body)
    yield chunk(b"IDAT", packer.flush())
    yield chunk(b"IEND", b"")


def _png_filter(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Rows of bytes (h, n), the row above (1, n), bytes a pixel -> (h, 1 + n), each by its best filter."""
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


def _tiff(data: np.ndarray, exif: bytes | None, icc: bytes | None, dpi: Dpi) -> list[bytes]:
    """A deflated TIFF of (H, W, 1..4) uint8, uint16 or float32.

    The EXIF block is itself a TIFF structure: it becomes the start of the file, so none of its offsets moves.
    """
    height, width, channels = data.shape
    base = bytearray(exif or struct.pack("<2sHI", b"II", 42, 8))
    base += b"\0" * (len(base) % 2)
    order = _order(bytes(base))
    step = max(1, (_CHUNK // 4) // (width * channels * data.itemsize))
    strips = []
    for top in range(0, height, step):
        block = data[top : top + step]
        if data.dtype.kind == "u":
            block = block.copy()
            block[:, 1:] -= data[top : top + step, :-1]
        strips.append(zlib.compress(block.astype(f"{order}{data.dtype.str[1:]}", copy=False).tobytes()))
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
        262: shorts(2 if channels >= 3 else 1),
        273: longs(*map(int, offsets[:-1])),
        274: shorts(1),
        277: shorts(channels),
        278: longs(step),
        279: longs(*map(len, strips)),
        284: shorts(1),
        317: shorts(2 if data.dtype.kind == "u" else 1),
        339: shorts(*[3 if data.dtype.kind == "f" else 1] * channels),
    }
    if channels in (2, 4):
        tags[338] = shorts(2)  # unassociated alpha
    if icc:
        tags[34675] = (7, len(icc), icc)
    if dpi:
        for tag, value in zip((282, 283), dpi, strict=True):
            tags[tag] = (5, 1, struct.pack(order + "II", round(value * 10000), 10000))
        tags[296] = shorts(2)
    entries = [(tag, *value) for tag, value in tags.items()]
    if exif:
        (first,) = struct.unpack_from(order + "I", base, 4)
        for tag, kind, count, at in _directory(lambda o, n: bytes(base[o : o + n]), order, first):
            if tag not in tags and tag not in _LAYOUT:
                entries.append((tag, kind, count, bytes(base[at : at + 4])))
    gap = b"\0" * (end % 2)
    struct.pack_into(order + "I", base, 4, end + len(gap))
    return [bytes(base), *strips, gap, _lay(entries, order, end + len(gap))]


def _pillow_bytes(kind: str, data: np.ndarray, exif: bytes | None, icc: bytes | None, dpi: Dpi, quality: int) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(data[:, :, 0] if data.shape[2] == 1 else data))
    options: dict[str, Any] = {"dpi": dpi} if dpi and kind != "webp" else {}
    if kind in ("jpeg", "webp"):
        options |= {"quality": quality, "icc_profile": icc, "exif": b"Exif\0\0" + exif if exif else b""}
        options |= {"subsampling": 0} if kind == "jpeg" else {"exact": True}
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **options)
    return buffer.getvalue()


def _check_target(name: str, target: Path, overwrite: bool, inputs: Iterable[str | os.PathLike[str]]) -> None:
    if target.is_dir():
        raise FusionError(f"{name}: is a folder; name a file in it")
    if not os.path.lexists(target):
        return
    if not target.is_file():
        raise FusionError(f"{name}: is not a regular file; write to another place")
    if any(os.path.exists(path) and os.path.samefile(path, target) for path in inputs):
        raise FusionError(f"{name}: is one of the inputs and is not overwritten; give another output")
    if not overwrite:
        raise FusionError(f"{name}: exists already; give another output or add --overwrite")


def _write_whole(name: str, target: Path, chunks: Iterable[bytes], overwrite: bool) -> None:
    """Temporary file in the same folder, fsync, rename; nothing is left behind if anything fails."""
    temporary = target.with_name(f".{target.stem[:80]}.{secrets.token_hex(4)}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            _check_target(name, target, overwrite, ())  # it may have come into being meanwhile
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = ("free some space or " if error.errno in full else "") + "choose another folder"
        raise FusionError(f"{name}: cannot be written ({_line(error.strerror or error)}); {remedy}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
