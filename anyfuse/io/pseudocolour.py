"""Colours for a grey image that shows a tracer: PET and SPECT beside the anatomy, as radiologists look at them.

Two grey scans of one place compete for the same brightness, and the tracer, which has no edges, is not seen. In colours
both are: brightness from the anatomy, hue from the tracer. So the palette must end in a colour: the hottest places of
hot iron, which are white, would have no hue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import FusionError
from ..image.frame import FULL
from ..runtime import one_line_of
from . import palettes
from .raster import Raster
from .values import channels_of

TRACERS = ("PT", "NM")
"""DICOM's modalities of images that show a tracer: positron emission tomography, nuclear medicine."""
STANDARD = "red_yellow"
"""Black, red, yellow: what neuroimaging lays over anatomy. It is hot iron without its last quarter, the whites."""
_NAMES = re.compile(r"(?<![a-z])(pet|spect|fdg|suv)(?![a-z])", re.IGNORECASE)
_BLOCK = 1 << 20  # pixels coloured at a time


def names() -> list[str]:
    """Of the palettes, the standard one first."""
    return [*_OWN, *palettes.names()]


def _choices() -> str:
    return f"give auto, none, tracer or one of {', '.join(names())}"


def parse_pseudocolour(count: int, value: str | Sequence[str | None] | None) -> list[str]:
    """What each of `count` images is shown in: 'auto', 'none', 'tracer' or a palette.

    Args:
        count: number of images.
        value: one of these words, words separated by commas, or a sequence; one is for all, an empty one is 'auto'.

    Raises:
        FusionError: an unknown word, or not one for each image.
    """
    parts = value.split(",") if isinstance(value, str) else [value] if value is None else value
    if isinstance(parts, bytes | dict) or not isinstance(parts, Sequence):
        raise FusionError(f"--pseudocolour {one_line_of(value)}: is no palette; {_choices()}")
    words = [(part or "auto").strip().lower() if isinstance(part, str | None) else one_line_of(part) for part in parts]
    for word in words:
        if word not in ("auto", "none", "tracer", "") and word not in names():
            raise FusionError(f"--pseudocolour {word}: is no palette; {_choices()}")
    words = [word or "auto" for word in words]
    if len(words) == 1:
        return words * count
    if len(words) != count:
        raise FusionError(f"--pseudocolour has {len(words)} values for {count} images; give one, or one per image")
    return words


def is_named_tracer(name: str) -> bool:
    """Whether a name says PET or SPECT, as sub-01_pet.nii.gz (BIDS) does."""
    return bool(_NAMES.search(name))


def named_tracers(paths: Sequence[str | Path]) -> list[bool]:
    """Which of the files or folders of one set are named PET or SPECT: by their own names, or else by their folders'.

    A name that all of them have, as that of the folder PET-MRI, tells nothing.
    """
    for names in ([Path(p).name for p in paths], [Path(p).absolute().parent.name for p in paths]):
        found = [is_named_tracer(name) for name in names]
        if any(found) and not all(found):
            return found
    return [False] * len(paths)


def chosen(rasters: Sequence[Raster], words: Sequence[str]) -> list[str]:
    """The palette of each image of one set, '' for none.

    Args:
        rasters: of one set.
        words: of `parse_pseudocolour`. 'auto' colours a grey image whose file says that it shows a tracer, if another
            grey image does not; 'tracer' says so in the file's place.

    Raises:
        FusionError: a palette for an image that has colours.
    """
    grey = [channels_of(raster.pixels) == 1 for raster in rasters]
    tracer = [
        is_grey and word in ("auto", "tracer") and (raster.is_tracer or word == "tracer")
        for raster, word, is_grey in zip(rasters, words, grey, strict=True)
    ]
    has_anatomy = any(is_grey and not one for is_grey, one in zip(grey, tracer, strict=True))
    out = []
    for raster, word, is_grey, one in zip(rasters, words, grey, tracer, strict=True):
        if one and word == "tracer" and not has_anatomy:
            what = "no other grey image shows the anatomy"
            raster.warnings = (*raster.warnings, f"{raster.name}: --pseudocolour tracer does nothing: {what}")
        if word in ("auto", "tracer", "none"):
            out.append(STANDARD if one and has_anatomy else "")
            continue
        if not is_grey:
            raise FusionError(f"{raster.name}: has colours of its own; --pseudocolour {word} is for grey images")
        out.append(word)
    return out


def coloured(pixels: np.ndarray, white: float | None, name: str) -> np.ndarray:
    """Grey pixels (H, W[, 1]) of uint8, uint16 or float32 -> (H, W, 3) of the same depth at its full scale.

    Args:
        pixels: 0 is black.
        white: the value that counts as 1; None: the full scale of the depth.
        name: of the palette.
    """
    kind = pixels.dtype.name
    full = float(FULL[kind])
    top = full if white is None or kind == "uint8" else float(white)
    table = (_OWN[name]() if name in _OWN else palettes.palette(name)).astype(np.float64) / 255
    height, width = pixels.shape[:2]
    grey = pixels.reshape(height, width)
    out = np.empty((height, width, 3), pixels.dtype)
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, height, step):
        places = grey[start : start + step].astype(np.float64) * (255 / top)
        for k in range(3):
            values = np.interp(places, np.arange(256), table[:, k]) * full
            out[start : start + step, :, k] = values if kind == "float32" else np.rint(values)
    return out


def hot_iron() -> np.ndarray:
    """The 256 colours (256, 3) of DICOM's palette Hot Iron (PS3.6, annex B), float32."""
    t = np.arange(256)
    return np.stack([np.minimum(2 * t, 255), np.clip(2 * (t - 128), 0, 255), np.clip(4 * (t - 192), 0, 255)], 1).astype(
        np.float32
    )


def red_yellow() -> np.ndarray:
    """256 colours (256, 3), float32: to red in the lower half, on to yellow in the upper one."""
    return hot_iron() * np.array([1, 1, 0], np.float32)


_OWN = {STANDARD: red_yellow, "hot_iron": hot_iron}


def said(raster: Raster, name: str, word: str) -> str:
    """What the report says of a coloured image."""
    if word not in ("auto", "tracer"):
        return f"{raster.name}: shown in the colours of {name}"
    who = "its file says" if raster.is_tracer else "its name or --pseudocolour says"
    return (
        f"{raster.name}: shown in the colours of {name}, since {who} that it shows a tracer (PET, SPECT); "
        "--pseudocolour none leaves it grey"
    )
