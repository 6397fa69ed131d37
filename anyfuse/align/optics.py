"""What EXIF and XMP say of a camera's field of view, and from that a first guess of how two photographs lie.

EXIF     focal length for 35 mm film, or focal length and pixels per length of the sensor; digital zoom. Some cameras
         count the zoom in the first already, so both are candidates.
DJI XMP  calibrated focal length and optical centre in pixels, and the relative optical centre of each band: the same
         point of the scene lies at x + RelativeOpticalCenterX in a band, x the pixel of the band that has none.

A file that was cropped or resized keeps its tags, and two lenses do not stand at one place. So these are guesses, which
the edges must confirm, unlike the tags of `tags.py`.
"""

from __future__ import annotations

import math
import re
import struct
from contextlib import suppress
from dataclasses import dataclass

from ..arrays import Tensor, torch
from ..image.frame import Frame
from ..io.exif import byte_order, directory

FILM = math.hypot(36.0, 24.0)  # diagonal in mm of a frame of 35 mm film
FOCAL, ZOOM, FILM_FOCAL, RESOLUTION, UNIT = 37386, 41988, 41989, 41486, 41488
UNITS = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # mm of a unit of length
LEAST, MOST = 0.3, 60.0  # focal lengths in widths of the image that a camera can have
ALIKE = 0.03  # difference of scales that is none
GUESSES = 4  # at most


@dataclass(frozen=True)
class Optics:
    """A camera's field of view.

    focal: focal lengths in pixels of the image, the likeliest first.
    centre: where the point of the scene lies that band 0 has in its middle, from the middle, in pixels; x and y.
    """

    focal: tuple[float, ...]
    centre: tuple[float, float] = (0.0, 0.0)


def optics_of(frame: Frame) -> Optics | None:
    """What the tags of an image say of its field of view; None where they say nothing that can be true."""
    found = _of_dji(frame) or _of_exif(frame)
    focal = tuple(f for f in found.focal if LEAST < f / max(1, frame.width) < MOST) if found else ()
    return Optics(focal, found.centre) if found and focal else None


def guesses(reference: Frame, frame: Frame) -> list[Tensor]:
    """Matrices, pixels of the reference -> pixels of the frame, that the tags of both suggest; the likeliest first.

    An empty list where one of them has no such tags. The optical axes are taken as parallel, the scene as far.
    """
    one, other = optics_of(reference), optics_of(frame)
    if one is None or other is None:
        return []
    scales: list[float] = []
    for a in one.focal:
        for b in other.focal:
            if all(abs(b / a / scale - 1) > ALIKE for scale in scales):
                scales.append(b / a)
    return [_concentric(reference, frame, scale, one, other) for scale in scales[:GUESSES]]


def says_other(matrix: Tensor, reference: Frame) -> bool:
    """Whether a guess differs from leaving a frame of the reference's size as it is, by more than tags are sure of."""
    shift = float((matrix[:2, 2] + (matrix[:2, :2].sum(1) - 1) * torch.tensor([0.5, 0.5]).double()).abs().max())
    return abs(float(matrix[0, 0]) - 1) > ALIKE or shift > 0.01 * max(reference.width, reference.height)


def _concentric(reference: Frame, frame: Frame, scale: float, one: Optics, other: Optics) -> Tensor:
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = scale
    sides = ((reference.width, frame.width), (reference.height, frame.height))
    for k, (first, second) in enumerate(sides):
        matrix[k, 2] = (second - 1) / 2 + other.centre[k] - scale * ((first - 1) / 2 + one.centre[k])
    return matrix


def _of_exif(frame: Frame) -> Optics | None:
    values = exif_numbers(frame.exif)
    zoom = values.get(ZOOM, 1.0)
    zooms = (1.0, zoom) if 1.0 + ALIKE < zoom < 100 else (1.0,)
    focal: list[float] = []
    if values.get(FILM_FOCAL, 0.0) > 0:
        focal.append(values[FILM_FOCAL] * math.hypot(frame.width, frame.height) / FILM)
    unit = UNITS.get(int(values.get(UNIT, 2.0)))
    if not focal and unit is not None and values.get(FOCAL, 0.0) > 0 and values.get(RESOLUTION, 0.0) > 0:
        focal.append(values[FOCAL] * values[RESOLUTION] / unit)
    return Optics(tuple(f * z for f in focal for z in zooms)) if focal else None


def _of_dji(frame: Frame) -> Optics | None:
    """By the calibration in XMP where there is one, or else by EXIF; with the band's relative centre."""
    packet = frame.metadata.xmp
    if packet is None or b"drone-dji:" not in packet:
        return None
    middle = _dji_number(packet, "CalibratedOpticalCenterX")
    factor = frame.width / (2 * middle) if middle and middle > 0 else 1.0  # of a resize since
    focal = _dji_number(packet, "CalibratedFocalLength")
    x, y = (_dji_number(packet, f"RelativeOpticalCenter{axis}") or 0.0 for axis in "XY")
    by_exif = _of_exif(frame)
    if focal and middle and focal > 0:
        return Optics((focal * factor,), (x * factor, y * factor))
    return None if by_exif is None else Optics(by_exif.focal, (x * factor, y * factor))


def _dji_number(packet: bytes, name: str) -> float | None:
    """A number of DJI's namespace, as an attribute or an element."""
    found = re.search(rb"drone-dji:" + name.encode() + rb"\s*(?:=\s*[\"']|>)\s*([-+0-9.eE]{1,24})", packet)
    with suppress(ValueError):
        value = float(found.group(1)) if found else math.nan
        return value if math.isfinite(value) else None
    return None


def exif_numbers(exif: bytes | None) -> dict[int, float]:
    """Whole numbers and fractions of the EXIF directory of a block {tag: value}; empty where it is damaged."""
    out: dict[int, float] = {}
    with suppress(struct.error):
        if exif:
            order = byte_order(exif)

            def read(offset: int, size: int) -> bytes:
                return exif[offset : offset + size]

            (first,) = struct.unpack_from(order + "I", exif, 4)
            for tag, _, _, at in list(directory(read, order, first)):
                if tag == 34665:
                    (inner,) = struct.unpack_from(order + "I", exif, at)
                    for sub, kind, count, place in directory(read, order, inner):
                        if kind in (3, 4) and count == 1:
                            out[sub] = float(struct.unpack_from(order + ("H" if kind == 3 else "I"), exif, place)[0])
                        elif kind == 5 and count == 1:
                            (there,) = struct.unpack_from(order + "I", exif, place)
                            over, under = struct.unpack_from(order + "II", exif, there)
                            out[sub] = over / under if under else 0.0
    return out
