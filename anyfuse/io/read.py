"""Image files in: any format of `sniff.py`, pages of files, and sets whose values have one scale.

A reader gives `Raster`s, the values as stored; `levels.py` makes frames of them. Who decodes what was chosen by trying:
- OpenImageIO reads PNG, TIFF, JPEG 2000, JPEG XL, OpenEXR and Radiance HDR: every depth, palettes, planes, tiles
  (Pillow turns 16-bit RGB into 8 bits silently and cannot open float RGB).  It premultiplies alpha unless told
  otherwise, leaves 16-bit white-is-zero data inverted, and makes 8 bits of 16-bit Lab.
- Pillow reads JPEG, WebP, BMP, GIF, AVIF and 8-bit CMYK or Lab TIFF: truncated JPEG is an error to it, and CMYK
  profiles are known.
- rawpy, pillow-heif, pydicom and nibabel read what their extras are named after; netpbm, radiometric JPEG and TIFF
  under ZSTD or LZMA are read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import FusionError
from ..image.frame import Frame, Store, in_memory
from .levels import Levels, parse_levels, to_frames
from .limits import check_regular
from .pages import choose, split_name
from .pillow import clear_errors
from .raster import Pages, Raster, Size
from .readers.dicom import is_dicom, open_series
from .sniff import HEAD, open_pages, title_of

_LOOKED_AT = 64  # files of a folder by which it is told whether it is a series


def read_image(
    path: str | os.PathLike[str], white: float | None = None, *, black: float | None = None, range: Any = "plain"
) -> Frame:
    """The image in a file, upright, in its own depth. The content decides on the format, not the suffix.

    Args:
        path: file, or file and page as 'stack.tif[3]'. Of several pages or animation frames the first is read, and
            `Frame.warnings` says so. CMYK and Lab become sRGB.
        white: value that counts as 1.0 in 16-bit and float images, e.g. 4095 for 12-bit data in 16 bits.
        black: value that counts as 0.0 in them.
        range: 'plain': values that could not be an image otherwise, as negative ones, are scaled; 'auto': counts of
            thermal cameras too, and false colours become grey values; 'none': nothing is; 'p1,p99': percentiles.

    Raises:
        FusionError: the file is missing, damaged or of an unknown format, or the choice of pages is not one page.
    """
    rasters = read_rasters(path)
    if len(rasters) > 1:
        raise FusionError(f"{os.fspath(path)}: names {len(rasters)} pages; name one")
    return to_frames(rasters, parse_levels(1, white, black, range))[0]


def read_set(paths: Sequence[str | os.PathLike[str]], levels: Sequence[Levels]) -> list[Frame]:
    """Single images of one scene, with values on one scale; levels: one for each path."""
    return to_frames([read_rasters(path)[0] for path in paths], levels)


def read_rasters(
    path: str | os.PathLike[str], pages: str | None = None, alone: bool = False, store: Store = in_memory
) -> list[Raster]:
    """The chosen pages of a file, as stored.

    Args:
        path: file, or file and pages as 'stack.tif[3:40]'.
        pages: choice for a path without one.
        alone: the file is all that there is to fuse, so all of its pages are read where nobody chooses.
        store: where the values of a page go before the next one is read.
    """
    name, chosen = split_name(path)
    with clear_errors(name), _opened(path) as found:
        return _read(found, name, pages if chosen is None else chosen, alone, store)


def page_sizes(path: str | os.PathLike[str], pages: str | None = None, alone: bool = False) -> list[Size | None]:
    """The sizes of the pages that `read_rasters` would read, by their headers; None for one that is not known so."""
    name, chosen = split_name(path)
    with clear_errors(name), _opened(path) as found:
        indices = _indices(found, name, pages if chosen is None else chosen, alone)
        return [found.size(index) for index in indices]


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Pages]:
    """The pages of a file or of a folder with a DICOM series."""
    name = split_name(path)[0]
    if os.path.isdir(name):
        if not is_series(name):
            raise FusionError(f"{os.fspath(path)}: is a folder, not an image; name a file in it")
        yield open_series(name)
        return
    check_regular(name)
    with open(name, "rb") as file:
        yield open_pages(file, name)


def is_series(folder: str | Path) -> bool:
    """Whether a folder holds DICOM files, and not as many other images or more."""
    balance = found = 0
    try:
        for path in sorted(p for p in Path(folder).iterdir() if p.is_file() and not p.name.startswith("."))[
            :_LOOKED_AT
        ]:
            with open(path, "rb") as file:
                head = file.read(HEAD)
            found += is_dicom(head)
            balance += 1 if is_dicom(head) else -(title_of(head) is not None)
    except OSError:
        return False
    return found > 0 and balance > 0


def count_pages(path: str | os.PathLike[str]) -> int:
    """How many pages, frames or slices a file or a DICOM series holds."""
    name = split_name(path)[0]
    with clear_errors(name):
        if os.path.isdir(name):
            return open_series(name).count if is_series(name) else 1
        check_regular(name)
        with open(name, "rb") as file:
            return open_pages(file, name).count


def _indices(pages: Pages, name: str, chosen: str | None, alone: bool) -> list[int]:
    """The pages to read."""
    if chosen is not None:
        return choose(chosen, pages, name)
    if alone and pages.together and pages.count > 1:
        return list(range(pages.count)) if pages.stack is None else pages.stack
    return [pages.first]


def _read(pages: Pages, name: str, chosen: str | None, alone: bool, store: Store) -> list[Raster]:
    out, indices = [], _indices(pages, name, chosen, alone)
    for index in indices:
        raster = pages.read(index).stored(store)
        raster.file = name
        if pages.count > 1 and (chosen is not None or len(indices) > 1):
            raster.name = f"{name}[{index}]"
        elif pages.count > 1 and pages.noun != "planes":
            raster.warnings = (*raster.warnings, _page_note(name, pages))
        out.append(raster)
    if pages.note and chosen is None and len(out) > 1:
        out[0].warnings = (pages.note, *out[0].warnings)
    return out


def _page_note(name: str, pages: Pages) -> str:
    which = "first" if pages.first == 0 else f"one numbered {pages.first}"
    others = f"name it as FILE[0:{pages.count}], or add --pages, to fuse the others"
    return f"{name}: only the {which} of {pages.count} {pages.noun} is used; {others}"
