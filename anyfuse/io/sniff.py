"""The one table from what a file begins with to its reader. The suffix of a name decides nothing."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, BinaryIO

from ..errors import FusionError
from ..plugins import Extended, complain, first_line
from .limits import check_directories, check_jpeg, check_webp
from .raster import Pages
from .readers.dicom import is_dicom

HEAD = 560  # bytes that tell every format


@dataclass(frozen=True)
class Format:
    """A format that is read. `is_it` judges the first bytes; `reader`: module below readers/ and function, or a
    function (file, name) -> Pages. `suffixes`, as ".xyz", of a format of another package: folders then take its files.
    """

    title: str
    is_it: Callable[[bytes], bool]
    reader: tuple[str, str] | Callable[[BinaryIO, str], Pages]
    extra: str = ""  # of pyproject.toml, where it needs one
    suffixes: tuple[str, ...] = ()


def _starts(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(prefixes)


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    """ISO base media files (HEIC, AVIF, CR3): the major brand, or where it is general the compatible ones."""

    def is_it(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        size = min(int.from_bytes(head[:4], "big"), len(head))
        found = [head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))]
        return found[0] in brands or (found[0] in (b"mif1", b"msf1") and any(b in brands for b in found))

    return is_it


def _is_bmp(head: bytes) -> bool:
    return head[:2] == b"BM" and len(head) >= 14 and head[6:10] == b"\0\0\0\0"


def _is_nifti(head: bytes) -> bool:
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(31).decompress(head, HEAD)
        except zlib.error:
            return False
    one = head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c") and (head[344:348] in (b"n+1\0", b"ni1\0") or len(head) < 348)
    return one or (head[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") and head[4:7] == b"n+2")


FORMATS: tuple[Format, ...] = (
    Format("PNG", _starts(b"\x89PNG\r\n\x1a\n"), ("png", "open_png")),
    Format("JPEG", _starts(b"\xff\xd8\xff"), ("pictures", "open_jpeg")),
    Format(
        "raw of a camera",
        _starts(b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD", b"FOVb"),
        ("raw", "open_raw"),
        "raw",
    ),
    Format("TIFF", _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), ("tiff", "open_tiff")),
    Format("WebP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", ("pictures", "open_webp")),
    Format("BMP", _is_bmp, ("pictures", "open_bmp")),
    Format("GIF", _starts(b"GIF87a", b"GIF89a"), ("pictures", "open_gif")),
    Format("AVIF", _brand(b"avif", b"avis"), ("pictures", "open_avif")),
    Format("HEIC", _brand(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), ("heif", "open_heif"), "heif"),
    Format("raw of a camera", _brand(b"crx "), ("raw", "open_raw"), "raw"),
    Format("JPEG 2000", _starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), ("oiio", "open_jpeg2000")),
    Format("JPEG XL", _starts(b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"), ("oiio", "open_jpegxl")),
    Format("PPM, PGM, PFM", lambda head: bool(re.match(rb"P[1-6fF]\s", head)), ("netpbm", "open_netpbm")),
    Format("OpenEXR", _starts(b"v/1\x01"), ("oiio", "open_exr")),
    Format("Radiance HDR", _starts(b"#?RADIANCE", b"#?RGBE"), ("oiio", "open_hdr")),
    Format("DICOM", is_dicom, ("dicom", "open_dicom"), "medical"),
    Format("NIfTI", _is_nifti, ("nifti", "open_nifti"), "medical"),
)


def as_format(name: str, part: Any) -> Format:
    """The entry of a format that another package adds: a Format with a function as its reader; else a FusionError."""
    if not isinstance(part, Format) or not callable(part.reader) or not callable(part.is_it):
        raise FusionError(f"give a Format whose reader is a function, not {type(part).__name__}")
    wrong = [s for s in part.suffixes if not re.fullmatch(r"\.[a-z0-9]+", s)]
    if wrong:
        raise FusionError(f"suffix {wrong[0]!r}: give lower case with a dot, as '.xyz'")
    return part


READERS: Extended[Format] = Extended({}, "anyfuse.readers", as_format)
"""Formats of other packages. Ours come first, so none of them can take a file away from ours."""


def other_suffixes() -> frozenset[str]:
    """Suffixes of the formats of other packages."""
    return frozenset(suffix for kind in READERS.values() for suffix in kind.suffixes)


def format_of(head: bytes) -> Format | None:
    """The format of a file that begins with these bytes (`HEAD` of them), None where it is not read."""
    ours = next((kind for kind in FORMATS if kind.is_it(head)), None)
    return ours or next((kind for name, kind in READERS.items() if _is_theirs(name, kind, head)), None)


def _is_theirs(name: str, kind: Format, head: bytes) -> bool:
    """What a format of another package says; False where its code fails."""
    try:
        return bool(kind.is_it(head))
    except Exception as error:
        text = f"reader '{name}' fails on the first bytes of a file ({first_line(error)}); it is left out"
        complain("anyfuse.readers", name, text)
        return False


def _read_theirs(kind: Format, reader: Callable[[BinaryIO, str], Pages], file: BinaryIO, name: str) -> Pages:
    """The pages, by a reader of another package; whatever goes wrong in it is a FusionError."""

    def guarded(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (FusionError, MemoryError):
            raise
        except Exception as error:
            raise FusionError(f"{name}: the reader of {kind.title} fails ({first_line(error)})") from None

    pages = guarded(reader, file, name)
    if not isinstance(pages, Pages):
        raise FusionError(f"{name}: the reader of {kind.title} gives a {type(pages).__name__}, not Pages")
    read, size = pages.read, pages.size
    return replace(pages, read=lambda page: guarded(read, page), size=lambda page: guarded(size, page))


_OTHERS = (
    ("a PDF document", _starts(b"%PDF")),
    ("a Photoshop document", _starts(b"8BPS")),
    ("a video", lambda head: head[4:8] in (b"ftyp", b"moov") or head[:4] == b"\x1aE\xdf\xa3" or head[8:12] == b"AVI "),
    ("a HDF5 file", _starts(b"\x89HDF\r\n\x1a\n")),
    ("a FITS file", _starts(b"SIMPLE  =")),
    ("a numpy array", _starts(b"\x93NUMPY")),
    ("a MATLAB file", _starts(b"MATLAB 5.0")),
    ("a DPX file", _starts(b"SDPX", b"XPDS")),
    ("an SVG drawing", lambda head: b"<svg" in head),
    ("a web page", lambda head: b"<html" in head.lower()),
    ("a zip archive", _starts(b"PK\x03\x04")),
    ("a compressed file", _starts(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")),
)
"""What people give by mistake, named in the refusal."""


def title_of(head: bytes) -> str | None:
    """The format of a file that begins with these bytes (`HEAD` of them), None where it is not read."""
    kind = format_of(head)
    return None if kind is None else kind.title


def other_title(head: bytes) -> str | None:
    """What else begins so, as 'a video'; None: nothing known."""
    return next((title for title, is_it in _OTHERS if is_it(head)), None)


def open_pages(file: BinaryIO, name: str) -> Pages:
    """The pages of an open file, by the reader that its first bytes ask for; FusionError for an unknown format."""
    head = file.read(HEAD)
    file.seek(0)
    if not head:
        raise FusionError(f"{name}: is empty (0 bytes); save or download it again")
    if head.startswith(b"\xff\xd8\xff"):
        check_jpeg(file, name)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        check_webp(file, name)
    elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        check_directories(file, name)
    file.seek(0)
    kind = format_of(head)
    if kind is not None:
        if callable(kind.reader):
            return _read_theirs(kind, kind.reader, file, name)
        module, function = kind.reader
        pages: Pages = getattr(import_module(f".readers.{module}", __package__), function)(file, name)
        return pages
    what = other_title(head)
    is_what = f"is {what}, not an image that can be read" if what else "is not an image that can be read"
    known = list(dict.fromkeys(f.title for f in (*FORMATS, *READERS.values())))
    raise FusionError(f"{name}: {is_what} (it begins with {head[:8]!r}); give {', '.join(known[:-1])} or {known[-1]}")
