"""Radiometric JPEG: the temperatures or counts that thermal cameras hide in a picture's segments.

FLIR: APP1 segments hold an FFF file; its records are listed in the public documentation of ExifTool (FLIR tags). The
equation from counts to temperature is in FLIR's manuals. DJI: APP3 segments hold the counts of the sensor, row by row.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, JpegImagePlugin

from ...errors import FusionError
from ...image.metadata import LOOK, Inset, Metadata
from ..exif import exif_orientation
from ..pillow import DECODER_ERRORS, check_size, clear_errors, raster_from_pil
from ..raster import Pages, Raster

_RAW, _CAMERA, _PHOTO, _INSET = 0x01, 0x20, 0x0E, 0x2A
_DJI_SIZES = ((640, 512), (1280, 1024), (336, 256), (320, 256), (160, 120))


@dataclass(frozen=True)
class Planck:
    """What turns counts into temperature; temperatures in kelvin, lengths in metres."""

    r1: float
    b: float
    f: float
    o: float
    r2: float
    emissivity: float = 1.0
    distance: float = 0.0
    reflected: float = 293.15
    air: float = 293.15
    humidity: float = 0.0  # 0 to 1
    alpha: tuple[float, float] = (0.0, 0.0)
    beta: tuple[float, float] = (0.0, 0.0)
    x: float = 1.0

    def counts(self, kelvin: float) -> float:
        """What a black body of this temperature gives."""
        return self.r1 / (self.r2 * (np.exp(self.b / kelvin) - self.f)) - self.o

    def celsius(self, counts: np.ndarray) -> np.ndarray:
        """Temperature of the object behind its air, float32; NaN where the equation has no solution."""
        air = self.air - 273.15
        water = self.humidity * np.exp(1.5587 + 0.06939 * air - 2.7816e-4 * air**2 + 6.8455e-7 * air**3)
        damping = zip(self.alpha, self.beta, strict=True)
        path = [np.exp(-np.sqrt(self.distance) * (a + b * np.sqrt(water))) for a, b in damping]
        tau = self.x * path[0] + (1 - self.x) * path[1]
        through = self.emissivity * tau
        behind = (1 - tau) / through * self.counts(self.air)
        mirrored = (1 - self.emissivity) / self.emissivity * self.counts(self.reflected)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            own = counts.astype(np.float64) / through - behind - mirrored + self.o
            kelvin = self.b / np.log(self.r1 / (self.r2 * own) + self.f)
        return (kelvin - 273.15).astype(np.float32)


def radiometric(image: JpegImagePlugin.JpegImageFile, name: str) -> Pages | None:
    """The planes of a radiometric JPEG: temperatures first, then its photograph, then the picture itself; or None."""
    segments = [(str(tag), bytes(body)) for tag, body in image.applist]
    flir = [body for tag, body in segments if tag == "APP1" and body.startswith(b"FLIR\0") and len(body) > 8]
    if flir:
        thermal, photo = _flir(name, _joined(flir, name))
        return _pages(name, _described(thermal, image), photo)
    counts = _dji(image, name, segments)
    return None if counts is None else _pages(name, _described(counts, image), None)


def _described(thermal: Raster, image: JpegImagePlugin.JpegImageFile) -> Raster:
    """The plane with EXIF, XMP and orientation of the JPEG."""
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    if isinstance(exif, bytes):
        thermal.exif = exif.removeprefix(b"Exif\0\0")
        thermal.orientation = exif_orientation(thermal.exif)
    if isinstance(xmp, bytes):
        thermal.metadata = replace(thermal.metadata, xmp=xmp)
    return thermal


def _pages(name: str, thermal: Raster, photo: Image.Image | None) -> Pages:
    count = 2 if photo is None else 3
    what = "[1] is the picture" if photo is None else "[1] is its photograph, [2] the picture"
    hint = "; --pages 0,1 fuses the first two" if photo is not None else ""
    said = f"{name}: radiometric JPEG, its {thermal.unit} are read and not its colours; {what}{hint}"
    thermal.warnings = (*thermal.warnings, said)

    def read(page: int) -> Raster:
        if page == 0:
            return thermal
        with clear_errors(name):
            if page == 1 and photo is not None:
                return raster_from_pil(photo, name=name)
            with open(name, "rb") as file:
                return raster_from_pil(JpegImagePlugin.JpegImageFile(file), name=name)

    size = (*thermal.pixels.shape[:2], 2)
    return Pages(read, count, "planes", together=False, size=lambda page: None if page else size)


# FLIR


def _joined(parts: list[bytes], name: str) -> bytes:
    """The FFF file in the segments, each with its number and the number of the last."""
    ordered = {part[6]: part[8:] for part in parts}
    if sorted(ordered) != list(range(parts[0][7] + 1)):
        raise FusionError(f"{name}: its thermal data are incomplete; save or download it again")
    return b"".join(ordered[k] for k in sorted(ordered))


def _flir(name: str, fff: bytes) -> tuple[Raster, Image.Image | None]:
    """Temperatures, or counts where the file has no constants, and the photograph."""
    try:
        records = _records(fff)
        if _RAW not in records:
            raise FusionError(f"{name}: is a FLIR JPEG without thermal data; give it again as the camera saved it")
        counts = _counts(records[_RAW], name)
        planck = _planck(records[_CAMERA]) if _CAMERA in records else None
    except (struct.error, IndexError, ValueError, SyntaxError, OSError, KeyError) as error:
        if isinstance(error, FusionError):
            raise
        raise FusionError(f"{name}: its thermal data are damaged ({error}); save or download it again") from None
    notes: tuple[str, ...] = ()
    thermal = Raster(counts, name=name, unit="counts")
    if planck is not None:
        celsius = planck.celsius(counts)
        if np.isfinite(celsius).all():
            thermal = Raster(celsius, name=name, unit="°C")
            emissivity = f"emissivity {planck.emissivity:g}, {planck.distance:g} m"
            notes = (f"{name}: temperatures are computed with the camera's settings ({emissivity})",)
        else:
            notes = (f"{name}: the camera's constants give no temperatures; its counts are read",)
    thermal.warnings = notes
    photo = None
    with suppress(OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        if _PHOTO in records and records[_PHOTO][32:34] in (b"\xff\xd8", b"\x89P"):
            photo = Image.open(io.BytesIO(records[_PHOTO][32:]), formats=("JPEG", "PNG"))
    inset = _inset(records.get(_INSET, b""))
    if inset is not None and photo is not None:
        look = b""
        with suppress(*DECODER_ERRORS), Image.open(io.BytesIO(records[_PHOTO][32:]), formats=("JPEG", "PNG")) as small:
            check_size(name, small.width, small.height)
            small.draft("L", (4 * LOOK[0], 4 * LOOK[1]))
            look = small.convert("L").resize(LOOK, Image.Resampling.BOX).tobytes()
        inset = replace(inset, width=photo.width, height=photo.height, look=look)
    thermal.metadata = Metadata(inset=inset)
    return thermal, photo


def _inset(record: bytes) -> Inset | None:
    """How the thermal image lies in the photograph, where a record says it: Real2IR, OffsetX, OffsetY."""
    if len(record) < 8:
        return None
    for order in "<>":
        ratio, x, y = struct.unpack_from(order + "fhh", record)
        if 0.5 < ratio < 20 and max(abs(x), abs(y)) < 4000:
            return Inset(ratio, x, y)
    return None


def _records(fff: bytes) -> dict[int, bytes]:
    """The first record of each type."""
    if fff[:3] not in (b"FFF", b"AFF"):
        raise ValueError("no FFF header")
    order = next((o for o in "><" if 100 <= struct.unpack_from(o + "I", fff, 0x14)[0] < 200), None)
    if order is None:
        raise ValueError("unknown version")
    start, count = struct.unpack_from(order + "II", fff, 0x18)
    records: dict[int, bytes] = {}
    for k in range(min(count, 1000)):
        kind, _, _, _, at, size = struct.unpack_from(order + "HHIIII", fff, start + 32 * k)
        if kind and size and at + size <= len(fff):
            records.setdefault(kind, fff[at : at + size])
    return records


def _order(record: bytes, mark: int = 2) -> str:
    """The byte order of a record, told by its first number."""
    return "<" if struct.unpack_from("<H", record)[0] == mark else ">"


def _counts(record: bytes, name: str) -> np.ndarray:
    order = _order(record)
    width, height = struct.unpack_from(order + "HH", record, 2)
    check_size(name, width, height)
    body = record[32:]
    if body.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(body), formats=("PNG",)) as image:
            if image.size != (width, height) or not image.mode.startswith("I"):
                raise ValueError(f"thermal PNG of {image.size} in mode {image.mode}")
            plane = np.asarray(image).astype(np.uint16)
        return _smoother(plane)  # most cameras store the bytes of PNG exchanged
    if len(body) < 2 * width * height:
        raise ValueError(f"{len(body)} bytes for {width}x{height}")
    plane = np.frombuffer(body[: 2 * width * height], f"{order}u2").reshape(height, width)
    return _smoother(plane.astype(np.uint16))


def _smoother(plane: np.ndarray) -> np.ndarray:
    """The plane, or the same with the bytes of each value exchanged, whichever looks like a picture."""

    def roughness(values: np.ndarray) -> float:
        values = values.astype(np.float64)
        return float((np.abs(np.diff(values, axis=1)).mean() + 1e-9) / (values.std() + 1e-9))

    other = plane.byteswap()
    return other if roughness(other) < 0.5 * roughness(plane) else plane


def _planck(record: bytes) -> Planck | None:
    order = _order(record)

    def number(at: int) -> float:
        return float(struct.unpack_from(order + "f", record, at)[0])

    (offset,) = struct.unpack_from(order + "i", record, 0x308)
    humidity = number(0x3C)
    found = Planck(
        r1=number(0x58),
        b=number(0x5C),
        f=number(0x60),
        o=float(offset),
        r2=number(0x30C),
        emissivity=number(0x20),
        distance=number(0x24),
        reflected=number(0x28),
        air=number(0x2C),
        humidity=humidity / 100 if humidity > 2 else humidity,
        alpha=(number(0x70), number(0x74)),
        beta=(number(0x78), number(0x7C)),
        x=number(0x80),
    )
    likely = found.r1 > 0 and found.b > 0 and found.r2 > 0 and 0 < found.emissivity <= 1 and 0 <= found.distance < 1e5
    return found if likely and found.reflected > 0 and found.air > 0 and 0 <= found.humidity <= 2 else None


# DJI


def _dji(image: JpegImagePlugin.JpegImageFile, name: str, segments: list[tuple[str, bytes]]) -> Raster | None:
    known = any(b"DJI" in body[:65536] or b"drone-dji" in body for tag, body in segments if tag == "APP1")
    data = b"".join(body for tag, body in segments if tag == "APP3")
    if not known or not data:
        return None
    size = next((s for s in (image.size, *_DJI_SIZES) if 2 * s[0] * s[1] == len(data)), None)
    if size is None:
        return None
    counts = np.frombuffer(data, "<u2").reshape(size[1], size[0]).astype(np.uint16)
    note = f"{name}: DJI does not publish how its counts become temperatures; brighter is warmer"
    return Raster(counts, name=name, unit="counts", warnings=(note,))
