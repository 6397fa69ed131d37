"""Shots of cameras: what EXIF says of each, and which of them are one series."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import ExifTags, Image

from ..runtime import check_regular
from .folders import natural, read_head
from .pillow import DECODER_ERRORS
from .sniff import title_of

_UNREADABLE: tuple[type[Exception], ...] = (*DECODER_ERRORS, ImportError)  # ImportError: HEIC without its extra
GAP = 3.0
"""Seconds from one shot to the next, less its exposure, from which a new series begins."""


@dataclass(frozen=True)
class Shot:
    """What EXIF says of one image. time, duration: seconds; bias, value: in stops; None: not there."""

    path: Path
    time: float | None = None
    duration: float = 0.0
    bias: float | None = None
    value: float | None = None
    size: tuple[int, int] | None = None
    camera: str = ""  # make, model and serial number


def read_shot(path: Path) -> Shot:
    """The time, exposure and size that a file's EXIF has; a file that cannot be read has none."""
    try:
        check_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            size, exif = _size_and_exif(path)
            own = exif.get_ifd(ExifTags.IFD.Exif)
            text = str(own.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime) or "")
            part = str(own.get(ExifTags.Base.SubsecTimeOriginal) or "0").strip("\0 ")
            time = None
            if match := re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", text):
                with contextlib.suppress(ValueError):  # 0000:00:00, of a camera whose clock was never set
                    moment = datetime.strptime("".join(match.groups()), "%Y%m%d%H%M%S")
                    time = (moment - datetime(1970, 1, 1)).total_seconds()
                    time += float(f"0.{part}") if part.isdecimal() else 0.0
            duration = _number(own.get(ExifTags.Base.ExposureTime))
            aperture, iso = _number(own.get(ExifTags.Base.FNumber)), _number(own.get(ExifTags.Base.ISOSpeedRatings))
            value = None
            if duration and duration > 0:
                value = math.log2((aperture or 1.0) ** 2 / duration) - math.log2((iso or 100) / 100)
            bias = _number(own.get(ExifTags.Base.ExposureBiasValue))
            value = None if value is None else round(value * 3) / 3
            camera = " ".join(str(exif.get(tag, "")) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
            camera = f"{camera} {own.get(ExifTags.Base.BodySerialNumber, '')}"
            return Shot(path, time, duration or 0.0, bias, value, size, camera)
    except _UNREADABLE:  # what cannot be read here is named when it is fused
        return Shot(path)


def _size_and_exif(path: Path) -> tuple[tuple[int, int], Image.Exif]:
    """Width and height, and EXIF. Raises whatever a decoder raises."""
    if title_of(read_head(path)) == "HEIC":
        import pillow_heif

        image = pillow_heif.open_heif(path)
        exif = Image.Exif()
        exif.load(image.info.get("exif") or b"")
        return image.size, exif
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif.get_ifd(ExifTags.IFD.Exif)  # read while the file is open
        return picture.size, exif


def _number(value: object) -> float | None:
    """A finite number of EXIF, or None."""
    try:
        number = float(value[0] if isinstance(value, tuple) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError, IndexError):
        return None
    return number if math.isfinite(number) and number >= -1e6 else None


def find_series(shots: Sequence[Shot], by_exposure: bool) -> list[list[Shot]] | None:
    """Shots that belong together, in the order in which they were made.

    Args:
        shots: of one folder.
        by_exposure: within a series without a pause, an exposure that comes again begins the next one.

    Returns:
        Series of one or more shots; None where neither times nor exposures tell.
    """
    timed = all(shot.time is not None for shot in shots)
    bias = {shot.bias for shot in shots if shot.bias is not None}
    exposures = {shot.path: shot.bias if len(bias) > 1 else shot.value for shot in shots}
    varied = len({value for value in exposures.values() if value is not None}) > 1
    if not timed and not varied:
        return None
    ordered = sorted(shots, key=lambda s: (s.time, natural(s.path))) if timed else list(shots)

    def series_of(some: Sequence[Shot]) -> list[list[Shot]]:
        runs = _runs(some, timed)
        return [part for run in runs for part in (_cycles(run, exposures) if by_exposure and varied else [run])]

    together = series_of(ordered)
    cameras = list(dict.fromkeys(shot.camera for shot in ordered))
    if len(cameras) > 1:  # several at work at one time: each has series of its own, unless they took one shot each
        apart = [part for name in cameras for part in series_of([shot for shot in ordered if shot.camera == name])]
        if 2 * sum(len(part) for part in apart if len(part) > 1) > len(shots):
            return sorted(apart, key=lambda part: ordered.index(part[0]))
    return together


def _runs(shots: Sequence[Shot], timed: bool) -> list[list[Shot]]:
    """Shots without a long pause between them, those of one camera of one size."""
    runs: list[list[Shot]] = []
    for shot in shots:
        last = runs[-1][-1] if runs else None
        other_size = last is not None and last.size != shot.size and last.camera == shot.camera
        if last is None or other_size or (timed and _pause(last, shot) > GAP):
            runs.append([])
        runs[-1].append(shot)
    return runs


def _pause(one: Shot, other: Shot) -> float:
    return float(other.time or 0) - float(one.time or 0) - one.duration


def _cycles(run: list[Shot], exposures: Mapping[Path, float | None]) -> list[list[Shot]]:
    """A run of shots, cut where an exposure comes again; shots of one exposure are a focus stack.

    A camera begins each bracket with one exposure. It is the one by which most brackets are complete, so that one
    which lacks a frame does not shift those behind it.
    """
    values = [exposures[shot.path] for shot in run]
    if len(set(values)) == 1:
        return [run]

    def cut(first: float | None) -> list[list[Shot]]:
        parts: list[list[Shot]] = [[]]
        for shot, value in zip(run, values, strict=True):
            seen = {exposures[other.path] for other in parts[-1]}
            if seen and (value in seen or value == first):
                parts.append([])
            parts[-1].append(shot)
        return parts

    ways = [cut(first) for first in dict.fromkeys(values)]
    return max(ways, key=lambda parts: (sum(len(part) == len(set(values)) for part in parts), -len(parts)))
