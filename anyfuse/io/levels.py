"""From the values of files to images: which value is black, which is white, and where there is none.

The rules, in this order; the report names the one that was used:
1. `--black`, `--white` and `--range` of the user, for 16-bit, float and measured values. 8-bit images are 0 to 255.
2. The window that the file itself asks for (DICOM).
3. Measured values, black their smallest and white their largest: single-channel values with a unit, signed 16-bit
   values, floats outside [0, 1], and counts (`is_counts`). Images of one set whose values overlap share both.
   False colours of a known palette become the scalar that they show, before all else.
4. Everything else: 0 to the largest value of the depth, 1.0 for floats. Nothing is stretched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import FusionError
from ..image.frame import FULL, Frame, Store, in_memory, make_frame
from ..image.metadata import Scaling
from ..runtime import one_line_of, release
from .exif import upright_exif
from .pseudocolour import chosen, coloured, parse_pseudocolour, said
from .raster import Raster
from .transfer import encode_srgb
from .values import (
    as_sound_values,
    channels_of,
    is_counts,
    is_scaled,
    limits_of,
    native_order,
    undo_palette,
    valid_mask,
    without_dead,
)

_BLOCK = 1 << 22  # values looked at together
_OVERSHOOT = 1e-5  # as in image/frame.py: rounding may lead this far beyond 0 and 1
_NODATA = 42113  # tag of GeoTIFF
_SHALLOW = 16383  # the largest value of 14 bits
_TRUSTED = 0.999  # share of linear light that counts as the scene, the rest as highlights


Range = Literal["auto", "plain", "none"] | tuple[float, float]


@dataclass(frozen=True)
class Levels:
    """What the user says of the values of one image."""

    white: float | None = None  # the value that counts as 1
    black: float | None = None  # the value that counts as 0
    pseudocolour: str = "auto"  # of `pseudocolour.parse_pseudocolour`
    range: Range = "auto"  # 'none': rule 4 alone; 'plain': rule 3 without counts; or percentiles of black and white


def parse_levels(
    count: int,
    white: Any = None,
    black: Any = None,
    range: Any = None,
    names: Sequence[str] = (),
    pseudocolour: Any = None,
) -> list[Levels]:
    """The levels of each of `count` images.

    Args:
        count: number of images.
        white: a number, a string as '4095,65535', or a sequence; one value is for all images.
        black: the same.
        range: 'auto', 'none' or 'p1,p99'; None: auto.
        names: of the images, for messages.
        pseudocolour: of grey images, as in `pseudocolour.parse_pseudocolour`.

    Raises:
        FusionError: no numbers, or not one for each image.
    """
    whites, blacks = _numbers("white", white, count, names), _numbers("black", black, count, names)
    between = _range(range)
    if isinstance(between, tuple) and (white is not None or black is not None):
        raise FusionError(f"--range {range} and --white or --black exclude each other; give one of them")
    for low, high in zip(blacks, whites, strict=True):
        if low is not None and high is not None and not low < high:
            raise FusionError(f"--black {low:g} is not below --white {high:g}; give a smaller --black")
    shown = parse_pseudocolour(count, pseudocolour)
    return [Levels(high, low, one, between) for low, high, one in zip(blacks, whites, shown, strict=True)]


def _numbers(flag: str, value: Any, count: int, names: Sequence[str]) -> list[float | None]:
    if value is None:
        return [None] * count
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, int | float | np.number) and not isinstance(parts, bool):
        parts = [parts]
    if isinstance(parts, bool | bytes | dict) or not isinstance(parts, Iterable):
        raise FusionError(f"--{flag} {one_line_of(value)}: is no number; give one, or one per image as 4095,65535")
    numbers: list[float | None] = []
    for part in parts:
        blank = part is None or (isinstance(part, str) and part.strip() in ("", "-", "auto"))
        try:
            numbers.append(None if blank else float(part))
        except (TypeError, ValueError):
            raise FusionError(f"--{flag} {part}: is no number; give one, or one per image as 4095,65535") from None
        if numbers[-1] is not None and not np.isfinite(numbers[-1]):
            raise FusionError(f"--{flag} {part}: cannot be; give a finite number")
    if len(numbers) == 1:
        return numbers * count
    if len(numbers) != count:
        raise FusionError(f"--{flag} has {len(numbers)} values for {count} images; give one, or one per image")
    return numbers


def _range(value: Any) -> Range:
    if value is None or value == "auto":
        return "auto"
    if value in ("none", "plain"):
        return "none" if value == "none" else "plain"
    parts = value.split(",") if isinstance(value, str) else value
    try:
        low, high = (float(str(part).strip().lstrip("pP").rstrip("%")) for part in parts)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not 0.0 <= low < high <= 100.0:
        raise FusionError(f"--range {value}: give two percentiles as p1,p99, or auto, or none")
    return low, high


def to_frames(rasters: Sequence[Raster], levels: Sequence[Levels], store: Store = in_memory) -> list[Frame]:
    """Frames of the rasters of one set.

    Args:
        rasters: of one scene.
        levels: one for each.
        store: where the arrays go, one frame after the other.

    Raises:
        FusionError: values that have no scale.
    """
    rasters = [upright(as_sound_values(native_order(r))).stored(store) for r in rasters]
    for raster, level in zip(rasters, levels, strict=True):
        keeps = level.range in ("none", "plain") or level.pseudocolour == "tracer" or raster.is_tracer
        if not keeps and raster.file is not None:
            undo_palette(raster)
            raster.stored(store)
    valid = [None if (v := valid_mask(r)) is None else store(v) for r in rasters]
    limits = [limits_of(r.pixels, v) if is_scaled(r) else (0.0, 0.0) for r, v in zip(rasters, valid, strict=True)]
    wanted = [_wanted(r, w, x, v) for r, w, x, v in zip(rasters, levels, limits, valid, strict=True)]
    wanted = _shared(rasters, wanted)
    _note_unused(rasters, levels)
    _note_depth(rasters, levels, limits, wanted)
    shown = chosen(rasters, [level.pseudocolour for level in levels])
    parts = zip(rasters, levels, wanted, valid, shown, strict=True)
    return [_frame(*part).stored(store) for part in parts]


def _note_unused(rasters: Sequence[Raster], levels: Sequence[Levels]) -> None:
    """Notes black, white and percentiles that were given for images of 8 bits: they do nothing there.

    One value for all images needs no note where it counts for some.
    """
    plain = [not is_scaled(raster) for raster in rasters]
    if all(level == levels[0] for level in levels) and not all(plain):
        return
    for raster, level, is_plain in zip(rasters, levels, plain, strict=True):
        given = {"--black": level.black, "--white": level.white}
        options = [option for option, value in given.items() if value is not None]
        options += ["--range"] if isinstance(level.range, tuple) else []
        if options and is_plain and raster.pixels.size:
            what = f"{' and '.join(options)} {'do' if len(options) > 1 else 'does'} nothing"
            raster.warnings = (*raster.warnings, f"{raster.name}: {what}: its 8 bits are always 0 to 255")


def _note_depth(
    rasters: Sequence[Raster],
    levels: Sequence[Levels],
    limits: Sequence[tuple[float, float]],
    wanted: Sequence[Scaling | None],
) -> None:
    """Notes files of 16 bits whose values all end below a quarter of the scale: they may be of 8 to 14 bits."""
    own = [
        k
        for k, (raster, level) in enumerate(zip(rasters, levels, strict=True))
        if raster.pixels.dtype == np.uint16 and raster.file is not None and raster.white is None
        if level.range == "auto" and level.white is None and level.black is None and wanted[k] is None
    ]
    if any(limits[k][1] > _SHALLOW for k in own):
        return  # a dark one among others is an exposure
    for k in own:
        high = int(limits[k][1])
        if high > 0:
            white = 2 ** max(8, high.bit_length()) - 1
            note = f"{rasters[k].name}: its values end at {high} of 65535; if it has {white.bit_length()} bits"
            rasters[k].warnings = (*rasters[k].warnings, f"{note}, add --white {white}")


# Which value is black and which is white


def _wanted(raster: Raster, levels: Levels, limits: tuple[float, float], valid: np.ndarray | None) -> Scaling | None:
    """Black and white of rules 1 to 3; None for rule 4, or where the values are refused later."""
    if not is_scaled(raster):
        return None
    low, high = limits
    if isinstance(levels.range, tuple):
        p, q = levels.range
        values = raster.pixels if valid is None else raster.pixels[valid]
        black, white = (float(v) for v in np.percentile(values, (p, q)))
        release(raster.pixels, valid)
        return Scaling(black, white if white > black else black + 1.0, f"percentiles {p:g} and {q:g}", raster.unit)
    counts = levels.range == "auto"
    measured = channels_of(raster.pixels) == 1 and _is_measured(raster, low, high, counts)
    if levels.black is not None or levels.white is not None:
        return _given(raster, levels, limits, measured)
    if raster.linear or (raster.window is not None and levels.range != "none"):
        return _linear(raster, high) if raster.window is None else Scaling(*raster.window, raster.unit)
    measured = measured and levels.range != "none"
    if counts and not measured and (alive := without_dead(raster, limits)) is not None:
        return Scaling(*alive, "smallest and largest value but for dead pixels", raster.unit)
    if not measured and raster.pixels.dtype.kind in "iu" and raster.pixels.dtype.name not in FULL:
        what = f"whole numbers from {low:g} to {high:g} ({raster.pixels.dtype}) have no scale of their own"
        raise FusionError(f"{raster.name}: {what}; give --black and --white, or save as 16-bit unsigned or float")
    return Scaling(low, high, "smallest and largest value", raster.unit) if measured and high > low else None


def _given(raster: Raster, levels: Levels, limits: tuple[float, float], measured: bool) -> Scaling | None:
    """Black and white where the user gives one of them or both; None where white alone is enough."""
    low, high = limits
    kind = raster.pixels.dtype
    if levels.black is not None:
        top = raster.white if raster.white is not None else FULL.get(kind.name)
        top = high if measured or top is None or kind.kind == "f" else top
        white, rule = (top, "--black") if levels.white is None else (levels.white, "--black and --white")
        if not levels.black < white:
            raise FusionError(f"{raster.name}: --black {levels.black:g} is not below its largest value {white:g}")
        return Scaling(levels.black, white, rule, raster.unit)
    white = float(levels.white or 0.0)
    if (kind.kind == "u" and kind.itemsize <= 2) or low >= 0 or channels_of(raster.pixels) > 1:
        return Scaling(0.0, white, "--white", raster.unit) if raster.linear or kind.name not in FULL else None
    if not low < white:
        raise FusionError(f"{raster.name}: --white {white:g} is below all its values; give {high:g} or more")
    return Scaling(low, white, "smallest value and --white", raster.unit)


def _is_measured(raster: Raster, low: float, high: float, counts: bool) -> bool:
    if raster.unit:
        return True
    if raster.pixels.dtype.name == "int16":
        return True
    if raster.pixels.dtype.kind == "f":
        return low < -_OVERSHOOT or high > 1.0 + _OVERSHOOT
    is_16_bit = raster.pixels.dtype == np.uint16 and raster.white is None and raster.file is not None
    return counts and is_16_bit and is_counts(raster, low, high)


def _linear(raster: Raster, high: float) -> Scaling:
    """Scene-linear light: 1 is white, or the brightest of 99.9 % of the values where they go beyond."""
    if high <= 1.0 + _OVERSHOOT:
        return Scaling(0.0, 1.0, "linear light")
    trusted = float(np.quantile(raster.pixels, _TRUSTED))
    release(raster.pixels)
    return Scaling(0.0, max(1.0, trusted), "linear light, 99.9 % of the values")


def _shared(rasters: Sequence[Raster], wanted: Sequence[Scaling | None]) -> list[Scaling | None]:
    """Measured values that overlap, of one unit, share black and white: their differences mean something."""
    out = list(wanted)
    rules = (
        "smallest and largest value",
        "smallest and largest value but for dead pixels",
        "linear light, 99.9 % of the values",
        "linear light",
    )
    ours = [k for k, s in enumerate(wanted) if s is not None and s.rule in rules]
    groups: list[list[int]] = []
    for k in ours:
        near = [g for g in groups if any(_overlap(rasters, wanted, k, other) for other in g)]
        groups = [g for g in groups if g not in near] + [[k, *(m for g in near for m in g)]]
    for group in groups:
        if len(group) < 2:
            continue
        all_of = [s for k in group if (s := wanted[k]) is not None]
        low, high = min(s.black for s in all_of), max(s.white for s in all_of)
        rule = next((s.rule for s in all_of if "99.9" in s.rule), all_of[0].rule)
        for k in group:
            out[k] = Scaling(low, high, f"{rule} of {len(group)} images", all_of[0].unit)
    return out


def _overlap(rasters: Sequence[Raster], wanted: Sequence[Scaling | None], a: int, b: int) -> bool:
    one, two = wanted[a], wanted[b]
    if one is None or two is None or rasters[a].linear != rasters[b].linear:
        return False
    if one.unit != two.unit or rasters[a].scale != rasters[b].scale:
        return False
    return max(one.black, two.black) <= min(one.white, two.white)


# Frames


def _frame(raster: Raster, levels: Levels, scaling: Scaling | None, valid: np.ndarray | None, shown: str) -> Frame:
    pixels, notes = raster.pixels, list(raster.warnings)
    if valid is not None:
        share = 100 * float(1 - valid.mean())
        missing = (pixels.dtype.kind == "f" and np.isnan(pixels[~valid])).any() if pixels.dtype.kind == "f" else False
        notes.append(f"{raster.name}: {share:.2g} % of its pixels have no value ({'NaN' if missing else 'nodata'})")
        if missing or scaling is not None:
            pixels = pixels.copy()
            pixels[~valid] = pixels.dtype.type(0 if scaling is None else max(scaling.black, _least(pixels)))
    white = levels.white if levels.white is not None else raster.white
    if scaling is not None:
        pixels, beyond = _scale(pixels, scaling, raster)
        white = None
        notes += _said(raster.name, scaling, beyond)
        if scaling.rule.startswith("linear light") and (scaling.black, scaling.white) == (0.0, 1.0):
            scaling = None
    elif raster.palette:
        scaling = Scaling(0.0, 255.0, f"palette {raster.palette} turned back")
    elif levels.white is not None and pixels.dtype != np.uint8:
        scaling = Scaling(0.0, levels.white, "--white")
    metadata = raster.metadata
    if scaling is not None and any(tag == _NODATA for tag, *_ in metadata.geo):  # its value means another one now
        metadata = replace(metadata, geo=tuple(entry for entry in metadata.geo if entry[0] != _NODATA))
        notes.append(f"{raster.name}: its nodata tag was left out, as values are scaled; alpha shows what has no value")
    if shown:
        pixels, white = coloured(pixels, white, shown), None
        notes.append(said(raster, shown, levels.pseudocolour))
    return make_frame(
        pixels,
        raster.alpha,
        name=raster.name,
        white=white,
        exif=raster.exif,
        icc=raster.icc,
        dpi=raster.dpi,
        warnings=tuple(notes),
        metadata=metadata,
        scaling=scaling,
        valid=valid,
        file=raster.file,
        offset=raster.offset,
    )


def _least(pixels: np.ndarray) -> float:
    return float(np.iinfo(pixels.dtype).min) if pixels.dtype.kind in "iu" else -np.inf


def _said(name: str, scaling: Scaling, beyond: float) -> list[str]:
    if scaling.rule.startswith("linear light") and (scaling.black, scaling.white) == (0.0, 1.0):
        return [f"{name}: linear light, encoded as sRGB"]
    unit = f" {scaling.unit}" if scaling.unit else ""
    first = f"{name}: its range {scaling.black:.6g} to {scaling.white:.6g}{unit} becomes black to white"
    cut = f"; {100 * beyond:.2g} % of its values lie beyond" if beyond > 0 else ""
    change = "" if "--" in scaling.rule else "; --black, --white or --range change that"
    return [f"{first} ({scaling.rule}){cut}{change}"]


def _scale(pixels: np.ndarray, scaling: Scaling, raster: Raster) -> tuple[np.ndarray, float]:
    """The pixels with black as 0 and white as full scale: 16-bit of whole numbers, float32 of floats; share cut off."""
    whole = pixels.dtype.kind in "iub"
    out = np.empty(pixels.shape, np.uint16 if whole else np.float32)
    step, beyond, lost = max(1, _BLOCK // max(1, pixels[:1].size)), 0, 0
    for top in range(0, len(pixels), step):
        block = pixels[top : top + step].astype(np.float64)
        release(pixels)
        lost += block.size - int(np.isfinite(block).sum())
        with np.errstate(invalid="ignore"):  # infinite values are counted above
            block = (block - scaling.black) / (scaling.white - scaling.black)
        beyond += int(((block < -_OVERSHOOT) | (block > 1 + _OVERSHOOT)).sum())
        block = np.clip(block, 0.0, 1.0)
        block = encode_srgb(block) if raster.linear else block
        out[top : top + step] = np.floor(block * 65535.0 + 0.5) if whole else block
    if lost:
        raise FusionError(f"{raster.name}: {lost} of {pixels.size} values are NaN or infinite; replace them first")
    return out, beyond / max(1, pixels.size)


def upright(raster: Raster) -> Raster:
    """The raster turned as its orientation (1 to 8) says, with EXIF and resolution to match."""
    turn = raster.orientation

    def turned(array: np.ndarray) -> np.ndarray:
        array = array.swapaxes(0, 1) if turn >= 5 else array
        array = array[::-1] if turn in (3, 4, 7, 8) else array
        return np.ascontiguousarray(array[:, ::-1] if turn in (2, 3, 6, 7) else array)

    if 2 <= turn <= 8:
        raster.pixels = turned(raster.pixels)
        raster.alpha = None if raster.alpha is None else turned(raster.alpha)
        raster.orientation = 1
        if turn >= 5 and raster.dpi:
            raster.dpi = raster.dpi[::-1]
    if raster.exif:
        raster.exif = upright_exif(raster.exif, raster.pixels.shape[1], raster.pixels.shape[0])
        if raster.exif is None:
            raster.warnings = (*raster.warnings, f"{raster.name}: EXIF is damaged and was dropped")
    return raster
