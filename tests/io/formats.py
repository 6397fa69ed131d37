"""Every format that is read or written, as small files made here.

`python tests/io/formats.py` puts their table into docs/formats.md.
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from anyfuse.image.frame import Frame
from anyfuse.image.metadata import Metadata
from anyfuse.io.frames import read_frames
from anyfuse.io.read import read_rasters
from anyfuse.io.write import write_image

DOC = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:t="urn:test:" t:Place="hill"/></rdf:RDF></x:xmpmeta>'
)


def exif() -> bytes:
    block = Image.Exif()
    block[271] = "Camera"
    return block.tobytes()


def colours(dtype: str = "uint8", channels: int = 3, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture of any dtype."""
    y, x = np.mgrid[0:height, 0:width]
    planes = np.stack([x / width, y / height, (x + y) / (width + height), 0.3 + 0.5 * x / width], 2)[:, :, :channels]
    return planes.astype("f4") if dtype == "float32" else np.rint(planes * np.iinfo(dtype).max).astype(dtype)


def by_pillow(path: Path, channels: int, **options: Any) -> None:
    data = colours(channels=channels)
    image = Image.fromarray(data[:, :, 0] if channels == 1 else data)
    if options.pop("everything", False):
        options |= {"exif": exif(), "icc_profile": SRGB, "xmp": XMP}
        if path.suffix == ".png":
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
            options["pnginfo"].add_text("Author", "Somebody")
        if path.suffix == ".jpg":
            options["extra"] = b"\xff\xed\0\x26Photoshop 3.0\0008BIM\4\4\0\0\0\0\0\x06\x1c\x02x\0\1a" + bytes(4)
    image.save(path, **options)


def by_oiio(path: Path, dtype: str, channels: int) -> None:
    spec = oiio.ImageSpec(64, 48, channels, {"uint8": "uint8", "uint16": "uint16", "float32": "half"}[dtype])
    out = oiio.ImageOutput.create(str(path))
    assert out.open(str(path), spec)
    data = colours(dtype, channels)
    if path.suffix == ".exr" and channels == 4:  # OpenEXR holds premultiplied colours
        data[:, :, :3] *= data[:, :, 3:]
    assert out.write_image(data)
    out.close()


def by_tifffile(path: Path, dtype: str, channels: int, **options: Any) -> None:
    data = colours(dtype, channels)
    kind = "rgb" if channels >= 3 else "minisblack"
    extra = [(700, "B", len(XMP), XMP, True), (271, "s", 0, "Camera", True), (34675, "B", len(SRGB), SRGB, True)]
    tifffile.imwrite(
        path,
        data[:, :, 0] if channels == 1 else data,
        photometric=kind,
        metadata=None,
        extratags=extra,
        extrasamples=["unassalpha"] if channels == 4 else None,
        **options,
    )


def by_heif(path: Path, channels: int) -> None:
    import pillow_heif

    image = Image.fromarray(colours(channels=channels))
    pillow_heif.from_pillow(image).save(path, quality=90, exif=exif())


def by_bytes(path: Path, head: bytes, values: np.ndarray) -> None:
    path.write_bytes(head + values.tobytes())


def by_nibabel(path: Path, dtype: str) -> None:
    import nibabel

    values = np.moveaxis(np.stack([colours(dtype, 1)[:, :, 0]] * 3), 0, 2).swapaxes(0, 1)
    body = nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])).to_bytes()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)


def by_pydicom(path: Path, values: np.ndarray, **fields: Any) -> None:
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CTImageStorage
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    one.PatientName, one.PatientID, one.Modality = "Nobody^Here", "7", "CT"
    one.Rows, one.Columns, one.SamplesPerPixel = values.shape[0], values.shape[1], 1
    one.BitsAllocated, one.PixelRepresentation = 8 * values.itemsize, int(values.dtype.kind == "i")
    one.BitsStored = one.BitsAllocated if values.dtype.kind == "i" or values.itemsize == 1 else 12
    one.HighBit, one.PhotometricInterpretation = one.BitsStored - 1, "MONOCHROME2"
    for key, value in fields.items():
        setattr(one, key, value)
    one.PixelData = values.tobytes()
    pydicom.dcmwrite(path, one, enforce_file_format=True)


def dng(path: Path) -> None:
    """A mosaic of 16 bits with what a converter needs."""
    light = np.repeat(np.repeat(colours("uint16"), 2, 0), 2, 1)
    mosaic = light[:, :, 1].copy()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    matrix = [n for v in (3.24, -1.54, -0.5, -0.97, 1.88, 0.04, 0.06, -0.2, 1.06) for n in (round(v * 10000), 10000)]
    extra = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Test", True),
        (50717, "H", 1, 65535, True),
        (50721, "2i", 9, matrix, True),
        (50728, "2I", 3, [1, 1, 1, 1, 1, 1], True),
        (50778, "H", 1, 21, True),
        (271, "s", 0, "Camera", True),
    ]
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=extra, metadata=None)


def radiometric(path: Path) -> None:
    """A JPEG whose FLIR segment holds counts alone."""
    counts = (9000 + colours("uint16", 1)[:, :, 0] // 20).astype("<u2")
    record = struct.pack("<HHH", 2, 64, 48).ljust(32, b"\0") + counts.tobytes()
    table = struct.pack(">HHIIII", 1, 0, 100, 1, 96, len(record)).ljust(32, b"\0")
    fff = (b"FFF\0" + b"test".ljust(16, b"\0") + struct.pack(">III", 101, 64, 1)).ljust(64, b"\0") + table + record
    buffer = io.BytesIO()
    Image.fromarray(colours()).save(buffer, "JPEG", exif=exif())
    jpeg = buffer.getvalue()
    segment = b"FLIR\0\1\0\0" + fff
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:])


@dataclass(frozen=True)
class Case:
    """A format: what makes files of it, each of another depth or kind, and the suffix under which it is written."""

    title: str
    makes: tuple[Callable[[Path], None], ...]
    suffix: str
    written: bool = True
    extra: str = ""
    pages: str = ""


def _maker(function: Callable[..., None], *values: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: function(path, *values, **options)


TIFFS = [(d, c) for d in ("uint8", "uint16", "float32") for c in (1, 3, 4)]
CASES = (
    Case(
        "PNG",
        (_maker(by_pillow, 1), _maker(by_pillow, 4, everything=True), _maker(by_oiio, "uint16", 3)),
        ".png",
        pages="frames",
    ),
    Case("JPEG, MPO", (_maker(by_pillow, 1), _maker(by_pillow, 3, everything=True)), ".jpg", pages="frames of MPO"),
    Case(
        "TIFF, BigTIFF, OME-TIFF, GeoTIFF",
        (*(_maker(by_tifffile, d, c) for d, c in TIFFS), _maker(by_tifffile, "int16", 1)),
        ".tif",
        pages="pages",
    ),
    Case("WebP", (_maker(by_pillow, 3, everything=True), _maker(by_pillow, 4)), ".webp", pages="frames"),
    Case("BMP", (_maker(by_pillow, 1), _maker(by_pillow, 3)), ".bmp"),
    Case("GIF", (_maker(by_pillow, 1), _maker(by_pillow, 3)), ".gif", written=False, pages="frames"),
    Case("AVIF", (_maker(by_pillow, 4, everything=True),), ".avif", written=False, pages="frames"),
    Case("HEIC", (_maker(by_heif, 3), _maker(by_heif, 4)), ".heic", written=False, extra="heif", pages="pictures"),
    Case(
        "JPEG 2000",
        (_maker(by_oiio, "uint8", 3), _maker(by_oiio, "uint16", 1), _maker(by_pillow, 4)),
        ".jp2",
        written=False,
    ),
    Case(
        "JPEG XL",
        (_maker(by_oiio, "uint8", 3), _maker(by_oiio, "uint16", 1), _maker(by_oiio, "uint8", 4)),
        ".jxl",
        written=False,
    ),
    Case(
        "PPM, PGM, PBM",
        (
            _maker(by_bytes, b"P5\n64 48\n255\n", colours("uint8", 1)),
            _maker(by_bytes, b"P6\n64 48\n65535\n", colours("uint16").astype(">u2")),
        ),
        ".ppm",
    ),
    Case("PFM", (_maker(by_bytes, b"PF\n64 48\n-1.0\n", colours("float32")[::-1]),), ".pfm"),
    Case("OpenEXR", (_maker(by_oiio, "float32", 3), _maker(by_oiio, "float32", 4)), ".exr", pages="parts"),
    Case("Radiance HDR", (_maker(by_oiio, "float32", 3),), ".hdr"),
    Case("raw of cameras (DNG, CR2, CR3, NEF, ARW ...)", (dng,), ".dng", written=False, extra="raw"),
    Case("radiometric JPEG (FLIR, DJI)", (radiometric,), ".jpg", written=False, pages="planes"),
    Case(
        "DICOM",
        (
            _maker(by_pydicom, colours("uint8", 1)[:, :, 0]),
            _maker(by_pydicom, colours("uint16", 1)[:, :, 0] // 16, RescaleSlope=1, RescaleIntercept=-1024),
        ),
        ".dcm",
        extra="medical",
        pages="frames, series",
    ),
    Case(
        "NIfTI",
        (_maker(by_nibabel, "uint8"), _maker(by_nibabel, "int16"), _maker(by_nibabel, "float32")),
        ".nii.gz",
        extra="medical",
        pages="slices",
    ),
)


def read_all(case: Case, folder: Path) -> list[Frame]:
    """Frames of every file of a case."""
    frames = []
    for k, make in enumerate(case.makes):
        path = folder / f"{k}{case.suffix}"
        make(path)
        raster = read_rasters(path)[0]
        (frame,) = read_frames([f"{path}[0]"] if case.pages and case.title == "NIfTI" else [path]) if raster else []
        frames.append(frame)
    return frames


def written(case: Case, folder: Path) -> list[Frame]:
    """What is read again of pictures written with everything that there is."""
    frames = []
    for dtype in ("uint8", "uint16", "float32"):
        path = folder / f"w-{dtype}{case.suffix}"
        alpha = colours(dtype, 1)[:, :, 0]
        block = exif()[6:]
        everything = Metadata(xmp=XMP, iptc=b"\x1c\x02x\0\1a", text=(("Author", "Somebody"),))
        write_image(path, colours(dtype), alpha=alpha, exif=block, icc=SRGB, dpi=(300, 300), metadata=everything)
        frames += read_frames([path], range="plain")
    return frames


def kept(frames: list[Frame]) -> str:
    """Which metadata came through."""
    found = {
        "EXIF": any(f.exif for f in frames),
        "ICC": any(f.icc for f in frames),
        "XMP": any(f.metadata.xmp for f in frames),
        "IPTC": any(f.metadata.iptc for f in frames),
        "text": any(f.metadata.text for f in frames),
        "header": any(f.metadata.header is not None for f in frames),
    }
    return ", ".join(name for name, there in found.items() if there) or "-"


def depths(frames: list[Frame]) -> str:
    kinds = {"uint8": "8", "uint16": "16", "float32": "float"}
    return ", ".join(kinds[k] for k in kinds if any(f.pixels.dtype == k for f in frames))


def row(case: Case, folder: Path) -> str:
    """The line of a format in the table."""
    frames = read_all(case, folder)
    out = written(case, folder) if case.written else []
    colour = [w for w, n in (("grey", 1), ("RGB", 3)) if any(f.channels == n for f in frames)]
    cells = [
        case.title,
        "yes" if not case.extra else f"`anyfuse[{case.extra}]`",
        depths(frames),
        ", ".join(colour),
        "yes" if any(f.alpha is not None for f in frames) else "no",
        case.pages or "-",
        kept(frames),
        f"{depths(out)} (`{case.suffix}`)" if out else "no",
        kept(out) if out else "-",
        "yes" if any(f.alpha is not None for f in out) else ("no" if out else "-"),
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| format | read | depth | colour | alpha | pages | metadata read | written: depth | metadata written | alpha |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)
MARKS = "<!-- table: python tests/io/formats.py -->", "<!-- end of table -->"


def table() -> str:
    """The whole table."""
    lines = list(HEAD)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(case, Path(folder)))
    return "\n".join(lines)


def main() -> None:
    """Puts the table into the document."""
    text = DOC.read_text()
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    DOC.write_text(f"{text[:start]}\n\n{table()}\n\n{text[end:]}")


if __name__ == "__main__":
    sys.exit(main())
