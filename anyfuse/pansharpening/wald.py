"""Pairs with a reference, by Wald's protocol: images of many bands at a lower resolution, and what they were.

Wald, Ranchin, Mangolini 1997: a method is fed with both images reduced by their ratio, and has to give back the bands
as they were before. Where there is no panchromatic image, one is made of the bands.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FusionError
from ..io.atomic import check_folder
from ..io.bands import Bands, read_all_bands
from ..io.folders import list_images, pair_by_stem
from ..io.names import stem_of
from ..io.transfer import decode_srgb, encode_srgb
from ..io.write import write_image
from .detail import NYQUIST, store, whole_ratio
from .grid import Grid

FOLDERS = ("pan", "ms", "reference")
PAN_NYQUIST = 0.15  # a usual response of panchromatic sensors, which are sharper than their pixels need (Vivone 2015)


@dataclass(frozen=True, eq=False)
class Example:
    """A pair, and what its fusion should be."""

    pan: np.ndarray  # (H, W)
    ms: np.ndarray  # (H / ratio, W / ratio, K)
    reference: np.ndarray  # (H, W, K)


def reduced(
    bands: np.ndarray,
    ratio: int,
    nyquist: float = NYQUIST,
    pan: np.ndarray | None = None,
    weights: Sequence[float] = (),
) -> Example:
    """A pair at a lower resolution, all in the dtype of `bands`.

    Args:
        bands: (H, W, K). Rows and columns over a multiple of the ratio are cut off.
        ratio: 2 or more.
        nyquist: response of the multispectral sensor at its Nyquist frequency.
        pan: (H r, W r), the panchromatic image of the bands, r whole and 2 or more; None: one is made, in light.
        weights: of the bands in it; empty: all the same.

    Raises:
        FusionError: sizes that do not fit.
    """
    height, width = (n // ratio * ratio for n in bands.shape[:2])
    if ratio < 2 or min(height, width) < 4 * ratio:
        raise FusionError(f"bands of {bands.shape[1]}x{bands.shape[0]} cannot be reduced by {ratio}; give larger ones")
    own = None if pan is None else whole_ratio(pan.shape, bands.shape[:2])
    if pan is not None and own is None:
        raise FusionError(f"pan {pan.shape} is no whole multiple, 2 or more, of the bands {bands.shape[:2]}")
    if pan is None and bands.shape[2] == 1:
        raise FusionError(
            "one band has its own detail already; give an image of more bands, or the panchromatic one too"
        )
    bands = bands[:height, :width]
    grid = Grid((height, width), (height // ratio, width // ratio), ratio)
    ms = np.empty((*grid.coarse, bands.shape[2]), bands.dtype)
    for k in range(bands.shape[2]):
        store(grid.reduce(bands[:, :, k], nyquist), ms[:, :, k])
    grey = np.empty((height, width), bands.dtype if pan is None else pan.dtype)
    if pan is None or own is None:
        store(made_pan(bands, weights), grey)
    else:
        store(Grid(pan.shape, (height, width), own).reduce(pan, PAN_NYQUIST), grey)
    return Example(grey, ms, bands)


def made_pan(bands: np.ndarray, weights: Sequence[float] = ()) -> np.ndarray:
    """(H, W) float32: what a sensor of all bands would see. 8-bit values are taken for sRGB and summed as light."""
    count = bands.shape[2]
    if weights and (len(weights) != count or min(weights) < 0 or sum(weights) <= 0):
        raise FusionError(f"weights {tuple(weights)}: give one of 0 or more for each of {count} bands")
    shares = np.asarray(weights or [1.0] * count, np.float64)
    shares /= shares.sum()
    total = np.zeros(bands.shape[:2])
    for k, share in enumerate(shares):
        plane = bands[:, :, k].astype(np.float64)
        total += share * (decode_srgb(plane / 255) if bands.dtype == np.uint8 else plane)
    return np.asarray((encode_srgb(total) * 255 if bands.dtype == np.uint8 else total).astype(np.float32))


def reduce_files(
    inputs: Sequence[str],
    out: str,
    *,
    ratio: int = 4,
    nyquist: float = NYQUIST,
    pan: str | None = None,
    weights: Sequence[float] = (),
    overwrite: bool = False,
) -> list[str]:
    """Writes OUT/pan, OUT/ms and OUT/reference, a TIFF an image in each; returns their stems.

    Args:
        inputs: one image or several whose bands are put together, as a photograph and a near-infrared image; or as many
            folders, whose images are paired by their stems.
        out: folder.
        ratio: as in `reduced`.
        nyquist: as in `reduced`.
        pan: panchromatic image, or folder of them with the same stems; None: it is made of the bands.
        weights: as in `reduced`.
        overwrite: replaces files.

    Raises:
        FusionError: files that do not belong together, or that cannot be read or written.
    """
    check_folder(out)
    done = []
    for stem, paths in _sets([*inputs, *([] if pan is None else [pan])]).items():
        images = [read_all_bands(path, place) for place, path in enumerate(paths, 1)]
        grey = None if pan is None else images.pop()
        example = reduced(together(images), ratio, nyquist, None if grey is None else grey.pixels[:, :, 0], weights)
        save(example, out, stem, overwrite=overwrite, inputs=paths)
        done.append(stem)
    return done


def save(example: Example, out: str | Path, stem: str, *, overwrite: bool = False, inputs: Sequence[Path] = ()) -> None:
    """Writes OUT/pan/STEM.tif, OUT/ms/STEM.tif and OUT/reference/STEM.tif. inputs: files that are never replaced."""
    for folder in FOLDERS:
        values = getattr(example, folder)
        values = values[:, :, None] if values.ndim == 2 else values
        write_image(Path(out) / folder / f"{stem}.tif", values, bands=True, overwrite=overwrite, inputs=inputs)


def together(images: Sequence[Bands]) -> np.ndarray:
    """(H, W, K): all bands of images of one size and depth. Of three equal bands one is left."""
    first = images[0]
    for image in images[1:]:
        if image.pixels.shape[:2] != first.pixels.shape[:2] or image.pixels.dtype != first.pixels.dtype:
            one, two = (f"{i.width}x{i.height} {i.pixels.dtype}" for i in (first, image))
            raise FusionError(f"{image.name} ({two}) and {first.name} ({one}) differ; give one size and depth")
    planes = [image.pixels[:, :, :1] if image.is_grey else image.pixels for image in images]
    return np.concatenate(planes, axis=2)


def _sets(inputs: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Stem -> the images of one scene."""
    folders = [os.path.isdir(path) for path in inputs]
    if any(folders) and not all(folders):
        raise FusionError("give images alone or folders alone")
    if not any(folders):
        return {stem_of(inputs[0]): tuple(map(Path, inputs))}
    if len(inputs) == 1:
        return {stem_of(path): (path,) for path in list_images(inputs[0])}
    return pair_by_stem(list(inputs))[0]
