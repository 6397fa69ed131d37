"""Images that Pillow decodes, as frames: upright, in sRGB, with EXIF, ICC and alpha."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ..errors import FusionError
from ..image.frame import FULL, Frame, icc_channels
from ..image.metadata import Metadata
from .atomic import one_line
from .encode import Dpi
from .exif import exif_orientation
from .levels import Levels, to_frames
from .raster import Raster

MAX_PIXELS = 1 << 30  # a header that claims more is taken for a broken or hostile file
DECODER_ERRORS: tuple[type[Exception], ...] = (
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
)
DECODER_ERRORS += (ArithmeticError, AttributeError, AssertionError, EOFError, RuntimeError, ImageCms.PyCMSError)
DECODER_ERRORS += (Image.DecompressionBombError, OSError)
"""What Pillow and other decoders raise on damaged files."""


def frame_from_pil(image: Image.Image, *, name: str, white: float | None = None, notes: tuple[str, ...] = ()) -> Frame:
    """A Pillow image of any mode as a Frame: upright, CMYK and Lab as sRGB, EXIF and ICC taken along."""
    return to_frames([raster_from_pil(image, name=name, notes=notes)], [Levels(white, range="none")])[0]


def raster_from_pil(image: Image.Image, *, name: str, notes: tuple[str, ...] = ()) -> Raster:
    """A Pillow image of any mode: CMYK and Lab as sRGB, with its metadata."""
    with clear_errors(name):  # a lazily opened file is read only now
        check_size(name, image.width, image.height)
        image.load()
        info = image.info
        exif = info.get("exif")
        if exif is None and not hasattr(image, "tag_v2"):
            exif = image.getexif().tobytes() if len(image.getexif()) else None
        exif = exif[6:] if exif and exif.startswith(b"Exif\0\0") else exif
        dpi = info.get("dpi")
        pixels, alpha, icc, note = pil_pixels(image, info.get("icc_profile"), name)
        photoshop = info.get("photoshop")
        iptc = photoshop.get(0x0404) if isinstance(photoshop, dict) else None
        xmp = info.get("xmp")
    return Raster(
        pixels,
        alpha,
        name,
        exif_orientation(exif),
        exif,
        icc,
        dpi_of(*dpi) if dpi else None,
        notes + note,
        Metadata(
            xmp=xmp if isinstance(xmp, bytes) and xmp else None, iptc=iptc if isinstance(iptc, bytes) and iptc else None
        ),
        is_indexed=image.mode in ("P", "PA"),
    )


# Reading


@contextlib.contextmanager
def clear_errors(name: str) -> Iterator[None]:
    """Every error that a decoder may raise as one line, and no warnings of Pillow's on odd tags and large images."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError:
        raise FusionError(f"{name}: no such file; check the path") from None
    except PermissionError:
        raise FusionError(f"{name}: cannot be opened (Permission denied); you may not read it, ask its owner") from None
    except MemoryError:
        raise FusionError(f"{name}: not enough memory to read it; free some or reduce the image") from None
    except FusionError:
        raise
    except DECODER_ERRORS as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FusionError(f"{name}: cannot be read ({one_line(detail)}); save or download it again") from None


def pil_pixels(
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


def unpremultiply(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Pixels (H, W, C) divided by their alpha (H, W)."""
    full = FULL[pixels.dtype.name] if pixels.dtype.kind == "u" else 1.0
    scale = full / np.maximum(alpha.astype(np.float32), full / 65535.0)
    values = (pixels * scale[:, :, None]).clip(0.0, full)
    return values.astype(pixels.dtype) if pixels.dtype.kind == "f" else np.rint(values).astype(pixels.dtype)


def check_size(name: str, width: int, height: int) -> None:
    """Raises FusionError for a size that no picture has."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise FusionError(f"{name}: claims {width}x{height}, not 1 to {MAX_PIXELS} pixels; save or cut it anew")


def dpi_of(x: float, y: float) -> Dpi:
    """Both resolutions, rounded; None where they cannot be."""
    x, y = float(x), float(y)
    return (round(x, 4), round(y, 4)) if 0.0 < x < 1e6 and 0.0 < y < 1e6 else None
