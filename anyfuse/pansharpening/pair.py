"""Whether two images are a panchromatic and a multispectral one, and how the second lies on the first.

Nobody names the task. What may have another meaning stays what it was: with 4 bands or more there is no other meaning;
three bands may also be a photograph beside a grey image, so they have to explain that image.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import FusionError
from ..io.bands import Bands, read_all_bands, size_of
from ..io.geo import edges, one_system
from ..io.pages import split_name
from .detail import Coarse, Pair, whole_ratio
from .grid import Grid

FIT = 0.85
"""Share of the grey image's variance, at the lower resolution, that three bands must explain for a pair. Of 420 pairs
of other kinds (near and thermal infrared, PET and SPECT with MRI) the most is 0.79; a real satellite pair has 0.91.
"""
_DARK = 0.02  # of the brightest values: what is darker in both images, as around a head, says nothing
_COARSEST, _FINEST = 1.5, 40  # ratios that are looked at
_OFF = 0.01  # by which a ratio of pixel sizes may differ from a whole number, relative


@dataclass(frozen=True, eq=False)
class Found:
    """A panchromatic and a multispectral image among the two that were given."""

    pan: Bands
    ms: Bands
    first: int  # which of the given ones is panchromatic: 0 or 1
    pair: Pair
    by: str  # what says so: 'size' or 'georeference'
    fit: float  # share of the variance of the reduced panchromatic image that the bands explain


def find_pair(images: Sequence[Any], nyquist: tuple[float, ...], wanted: str | None = None) -> Found | None:
    """The pair that two images are, or None where they are none.

    Args:
        images: as `Fuser.run` takes them.
        nyquist: as in `Pair`.
        wanted: name of the method that the user asks for; then images that are no pair are a FusionError.

    Raises:
        FusionError: no pair, and `wanted`; or 5 bands and more, which nothing else can be done with.
    """
    try:
        return _find(images, nyquist, wanted is not None)
    except _NoPairError as error:
        if wanted is None and not error.only_bands:
            return None
        raise FusionError(str(error) if wanted is None else f"{wanted}: {error}") from None


class _NoPairError(FusionError):
    """Why two images are no pair. only_bands: one of them has 5 bands or more."""

    def __init__(self, text: str, only_bands: bool = False) -> None:
        super().__init__(text)
        self.only_bands = only_bands


def _find(images: Sequence[Any], nyquist: tuple[float, ...], wanted: bool) -> Found:
    if len(images) != 2:
        raise _NoPairError(f"takes a panchromatic and a multispectral image, and got {len(images)}")
    if any(isinstance(i, str | os.PathLike) and split_name(i)[1] is not None for i in images):
        raise _NoPairError("takes whole files, without a choice of pages")
    sizes = [size_of(image) for image in images]
    if sizes[0] is None or sizes[1] is None:
        if wanted:
            for place, image in enumerate(images, 1):
                read_all_bands(image, place)  # says what is wrong
        raise _NoPairError("the size of an image is not known by its header")
    counts = [size[2] or 0 for size in (sizes[0], sizes[1])]
    many = max(counts) > 4
    first = 0 if sizes[0][0] * sizes[0][1] >= sizes[1][0] * sizes[1][1] else 1
    if counts[first] > counts[1 - first] and counts[1 - first] == 1 and max(counts) > 3:
        first = 1 - first  # bands of the larger extent
    big, small = sizes[first], sizes[1 - first]
    assert big is not None
    assert small is not None
    may_fit = _COARSEST <= big[0] / max(1, small[0]) <= _FINEST or max(counts) >= 3
    if not (wanted or many or (may_fit and small[2] not in (1, 2) and big[2] in (1, 3, None))):
        raise _NoPairError("the sizes or bands of the images are not those of a pair")
    pan, ms = (read_all_bands(images[k], k + 1) for k in (first, 1 - first))
    return _checked(pan, ms, first, nyquist, many, wanted)


def _checked(pan: Bands, ms: Bands, first: int, nyquist: tuple[float, ...], many: bool, wanted: bool) -> Found:
    if pan.count != 1:
        raise _NoPairError(f"{pan.name} has {pan.count} bands; the image of higher resolution has to be grey", many)
    if ms.count < 3:
        raise _NoPairError(f"{ms.name} has {ms.count} band{'s' * (ms.count > 1)}; 3 or more are needed", many)
    placed = edges(pan) is not None and edges(ms) is not None and one_system(pan, ms)
    grid = _grid_on_earth(pan, ms, many) if placed else _grid_of_sizes(pan, ms, many)
    pair = Pair(pan.pixels[:, :, 0], ms.pixels, grid, ms.known, pan.known, nyquist)
    coarse = Coarse.of(pair)
    fit = coarse.regression()[1]
    if ms.count == 3 and not wanted and (ms.shows_palette or lit(coarse).regression()[1] < FIT):
        raise _NoPairError(f"{ms.name} explains {fit:.2f} of {pan.name}; it may be a photograph beside another image")
    return Found(pan, ms, first, pair, "georeference" if placed else "size", fit)


def lit(coarse: Coarse) -> Coarse:
    """Without the places where all is dark; as it is, where few are left."""
    bright = np.logical_or.reduce([x > _DARK * np.percentile(x, 99) for x in (coarse.pan, *coarse.bands)])
    where = coarse.where & bright
    return replace(coarse, where=where) if where.sum() >= coarse.where.sum() / 20 else coarse


def _grid_of_sizes(pan: Bands, ms: Bands, many: bool) -> Grid:
    """Grids with one upper left corner, by their sizes."""
    fine, coarse = (pan.height, pan.width), (ms.height, ms.width)
    ratio = whole_ratio(fine, coarse)
    if ratio is None:
        size, other = f"{pan.width}x{pan.height}", f"{ms.width}x{ms.height}"
        remedy = "cut both to one extent, or give files with GeoTIFF tags"
        why = "has the same size as" if fine == coarse else "is no whole multiple, 2 or more, of"
        raise _NoPairError(f"{pan.name} ({size}) {why} {ms.name} ({other}); {remedy}", many)
    return Grid(fine, coarse, ratio)


def _grid_on_earth(pan: Bands, ms: Bands, many: bool) -> Grid:
    """Grids by their GeoTIFF tags: other extents are fine."""
    here, there = edges(pan), edges(ms)
    assert here is not None
    assert there is not None
    fine, coarse = (pan.height, pan.width), (ms.height, ms.width)
    steps = [((e[1] - e[0]) / image.width, (e[3] - e[2]) / image.height) for e, image in ((here, pan), (there, ms))]
    ratios = np.array(steps[1]) / np.array(steps[0])
    ratio = round(float(ratios[0]))
    if ratio < 2 or np.abs(ratios / ratio - 1).max() > _OFF:
        text = f"pixels of {ms.name} are {ratios[0]:.4g} x {ratios[1]:.4g} of those of {pan.name}"
        raise _NoPairError(f"{text}; the ratio has to be one whole number, 2 or more", many)
    left, top = (there[0] - here[0]) / steps[0][0], (there[2] - here[2]) / steps[0][1]
    grid = Grid(fine, coarse, ratio, (float(top), float(left)))
    if not grid.shown().any():
        raise _NoPairError(f"{ms.name} shows no part of the earth that {pan.name} shows", many)
    return grid
