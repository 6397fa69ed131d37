"""Whether a set of images fits into the memory limit, by the headers of its files, before any is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from . import tiling
from .align.resample import LARGE, STRIP
from .errors import MemoryLimitError
from .io.frames import as_raster_size
from .io.raster import Size
from .io.read import page_sizes
from .io.scratch import Scratch
from .models.base import FusionModel
from .runtime import resident_bytes, return_memory, trim_memory

_TILE = 512  # side of the tiles for which there should be room beside the images
_MOVED, _SOUGHT = 32, 190  # bytes beside its own for a pixel that is moved, and for one by which transforms are found
_MOVED_ON, _MOVED_STRIP = 7, 56  # the same of a large image, and for a pixel of the strip that is at work
_REPLACED, _STRIP = 14, 80  # bytes beside its own for a pixel of a frame that is deghosted, and for one of its strips
_SOUGHT_PIXELS, _STRIP_PIXELS = 1600 * 1200, 1 << 21  # at most


@dataclass(frozen=True)
class Sizes:
    """What is known of the images of a set before they are read."""

    each: list[Size | None]  # height, width and bytes per pixel of each; None: not known
    in_files: list[bool]  # whether it still has to be read

    @property
    def known(self) -> bool:
        """Whether all sizes are."""
        return all(size is not None for size in self.each)

    @property
    def to_read(self) -> list[int]:
        """Bytes of the images in files whose size is known."""
        return [s[0] * s[1] * s[2] for s, new in zip(self.each, self.in_files, strict=True) if s is not None and new]


def measure(images: Sequence[Any], pages: str | None = None) -> Sizes:
    """The sizes of images in files, by their headers, and of images in memory. What cannot be read is not known."""
    each: list[Size | None] = []
    in_files: list[bool] = []
    for image in images:
        is_file = isinstance(image, str | os.PathLike)
        found: list[Size | None] = [None]
        with suppress(Exception):  # whatever is wrong with it, its reader says so
            found = page_sizes(image, pages, len(images) == 1) if is_file else [as_raster_size(image)]
        each += found
        in_files += [is_file] * len(found)
    return Sizes(each, in_files)


def scratch_for(
    images: Sequence[Any],
    model: FusionModel,
    limit: int | None,
    *,
    jobs: int = 1,
    reference: int = 0,
    pages: str | None = None,
    aligned: bool = False,
    deghosted: bool = False,
) -> Scratch | None:
    """Where the images go that do not fit into memory.

    Args:
        images: as given by the user.
        model: that fuses them.
        limit: bytes for the whole process; None: no limit.
        jobs: sets that are fused at a time.
        reference: the image that gives the result its size.
        pages: choice of pages for files without one.
        aligned: the images are aligned, which takes one of them at a time as float32, before and after.
        deghosted: what moved is replaced, and changing brightness matched, which takes a copy of one image at a time.

    Returns:
        None where all fits, or where there is no limit.

    Raises:
        MemoryLimitError: the set cannot fit, whatever is done; the error says which limit would do.
    """
    if limit is None:
        return None
    sizes = measure(images, pages)
    trim_memory()
    used, n = resident_bytes(), max(2, len(sizes.each))
    first = sizes.each[reference] if -len(sizes.each) <= reference < len(sizes.each) else None
    if first is None:
        return_memory()
        return Scratch()
    height, width, each = first
    result = height * width * each * 2
    frames = sum(sizes.to_read)
    needed = tiling.min_bytes(model, n, model.channels, height, width, spill=True) + result * 3 // 4  # alpha aside
    moving = _stages_bytes(height * width, each, aligned, deghosted)
    least = max(needed, moving, max(sizes.to_read, default=0))
    if used + least > limit:
        what = "aligning and fusing them" if aligned else "fusing them"
        raise MemoryLimitError(
            f"--max-memory {limit / 2**20:.0f}M is too little for {n} images of {width}x{height}: the program takes "
            f"{used / 2**20:.0f} MiB and {what} {least / 2**20:.0f} MiB at least; give "
            f"{(used + least) / 2**20 + 1:.0f}M or more"
        )
    planes = 3 if model.carries_chroma or model.channels == 3 else 1
    copies = frames * (aligned + deghosted) * 4 // 3  # changed images beside those that were read, with alpha
    wanted = frames + max(copies, moving) + result + tiling.comfortable_bytes(model, n, planes, height, width, _TILE)
    if sizes.known and wanted <= (limit - used) // jobs:
        return None
    return_memory()
    return Scratch()


def _stages_bytes(pixels: int, each: int, aligned: bool, deghosted: bool) -> int:
    """Peak bytes of the stages before the model, of which one is at work at a time; pixels of an image, and bytes of
    each. Measured by `experiments/memory.py --stages`.
    """
    moved = (each + _MOVED) * pixels if pixels <= LARGE else (each + _MOVED_ON) * pixels + _MOVED_STRIP * STRIP
    moving = max(moved, _SOUGHT * min(pixels, _SOUGHT_PIXELS)) if aligned else 0
    replacing = (each + _REPLACED) * pixels + _STRIP * min(pixels, _STRIP_PIXELS) if deghosted else 0
    return max(moving, replacing)
