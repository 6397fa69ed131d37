"""Image files in and out: PNG, JPEG, TIFF, WebP and BMP; 8-bit, 16-bit and float32; grey, RGB, alpha.

Who reads and writes what, each chosen by trying it:
- OpenImageIO reads PNG and TIFF: every depth, palettes, planes, tiles (Pillow turns 16-bit RGB into 8 bits
  silently and cannot open float RGB).  It premultiplies alpha unless told otherwise, and leaves 16-bit
  white-is-zero data inverted.
- Pillow reads JPEG, WebP, BMP and 8-bit CMYK or Lab TIFF: truncated JPEG is an error to it, and CMYK
  profiles are known.
- Pillow writes JPEG, WebP and BMP, into memory; PNG and TIFF are encoded by encode.py.  OpenImageIO writes nothing:
  on a full disk its PNG writer reports success and its JPEG writer ends the process.

XMP and IPTC blocks are not carried over.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, ImageCms, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

from anyfuse.encode import CHUNK, DEPTHS, MAX_SIDE, Dpi, encode
from anyfuse.errors import FusionError
from anyfuse.exif import exif_orientation, tiff_exif, tiff_tags, upright_exif
from anyfuse.files import one_line, target_of, write_whole
from anyfuse.stack import FULL, Frame, convert_depth, icc_channels, make_frame

WRITES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff"}
WRITES |= {".webp": "webp", ".bmp": "bmp"}
MAX_PIXELS = 1 << 30  # a header that claims more is taken for a broken or hostile file
_PILLOW: dict[str, Any] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}
_DECODER_ERRORS = (SyntaxError, ValueError, LookupError, TypeError, struct.error, zlib.error)


def read_image(path: str | os.PathLike[str], white: float | None = None) -> Frame:
    """The image in a file, upright, in its native depth (see `Frame`); its content decides on the format.

    white: the value that counts as 1.0 in 16-bit and float images, e.g. 4095 for 12-bit data in 16 bits.
    Of a file with several pages or animation frames the first is taken, and `Frame.warnings` says so.
    CMYK and Lab become sRGB.  Raises FusionError for all that is wrong with the file.
    """
    name = os.fspath(path)
    with _clear_errors(name):
        if os.path.isdir(name):
            raise FusionError(f"{name}: is a folder, not an image; name a file in it")
        with open(name, "rb") as file:
            kind = _sniff(file, name)
            if kind == "png":
                return _read_png(file, name, white)
            if kind == "tiff":
                return _read_tiff(file, name, white)
            image = _PILLOW[kind](file)
            pages = image.n_frames if kind == "webp" else 1
            return frame_from_pil(image, name=name, white=white, notes=_page_note(name, pages))


def frame_from_pil(image: Image.Image, *, name: str, white: float | None = None, notes: tuple[str, ...] = ()) -> Frame:
    """A Pillow image of any mode as a Frame: upright, CMYK and Lab as sRGB, EXIF and ICC taken along."""
    with _clear_errors(name):  # a lazily opened file is read only now
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
    inputs = list(inputs)
    target_of(name, overwrite, inputs)  # before the work of encoding
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
    write_whole(name, encode(kind, data, exif, icc, dpi, quality), overwrite=overwrite, inputs=inputs)
    return notes


def writable(path: str | os.PathLike[str]) -> str:
    """The format that the suffix of an output path asks for; FusionError with the list if there is none."""
    name, suffix = os.fspath(path), Path(path).suffix.lower()
    if suffix not in WRITES:
        what = suffix or "a file without suffix"
        raise FusionError(f"{name}: cannot write {what}; use one of {', '.join(WRITES)}")
    return WRITES[suffix]


# Reading


@contextlib.contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    """Every error that a decoder may raise as one line, and no warnings of Pillow's on odd tags and large images."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError:
        raise FusionError(f"{name}: no such file; check the path") from None
    except MemoryError:
        raise FusionError(f"{name}: not enough memory to read it; free some or reduce the image") from None
    except FusionError:
        raise
    except (*_DECODER_ERRORS, Image.DecompressionBombError, OSError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FusionError(f"{name}: cannot be read ({one_line(detail)}); save or download it again") from None


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
        piece = file.read(min(left, CHUNK))
        check, left = zlib.crc32(piece, check), left - len(piece)
    return struct.unpack(">I", file.read(4))[0] != check


def _read_tiff(file: BinaryIO, name: str, white: float | None) -> Frame:
    size = os.fstat(file.fileno()).st_size
    tags, pages = tiff_tags(file, size)
    if 256 not in tags or 257 not in tags:
        raise FusionError(f"{name}: is truncated, its size is missing; save or download it again")
    _check_size(name, int(tags[256]), int(tags[257]))
    parts = [(tags[a], tags[b]) for a, b in ((273, 279), (324, 325)) if a in tags and b in tags]
    end = max((o + n for offsets, counts in parts for o, n in zip(offsets, counts, strict=False)), default=0)
    if end > size:
        raise FusionError(f"{name}: is truncated after {size} of {end} bytes; save or download it again")
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
        if tags.get(262) == 0 and pixels.dtype != np.uint8:  # white is zero
            pixels = np.uint16(65535) - pixels if pixels.dtype.kind == "u" else (white or 1.0) - pixels
        if tags.get(262) == 5:
            icc, notes = None, (*notes, f"{name}: CMYK converted to sRGB without its profile")
    dpi = None
    if 282 in tags and 283 in tags and tags.get(296, 2) in (2, 3):
        unit = 2.54 if tags.get(296, 2) == 3 else 1.0
        dpi = _dpi(float(tags[282]) * unit, float(tags[283]) * unit)
    exif = tiff_exif(file)
    turn = tags.get(274, 1)
    return _upright(pixels, alpha, turn, name=name, white=white, exif=exif, icc=icc, dpi=dpi, warnings=notes)


def _read_oiio(name: str) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Pixels (H, W, 1 | 3) and alpha (H, W) as stored, and warnings."""
    import OpenImageIO as oiio  # here, so that what reads no PNG and no TIFF runs without it

    config = oiio.ImageSpec()
    config["oiio:UnassociatedAlpha"] = 1
    source = oiio.ImageInput.open(name, config)
    if source is None:
        raise FusionError(f"{name}: cannot be read ({one_line(oiio.geterror())}); save or download it again")
    try:
        spec = source.spec()
        data = source.read_image(0, 0, 0, spec.nchannels, spec.format)
        trouble = source.geterror()
    finally:
        source.close()
    if data is None or trouble:
        raise FusionError(f"{name}: is truncated or damaged ({one_line(trouble)}); save or download it again")
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
