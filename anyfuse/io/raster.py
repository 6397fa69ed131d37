"""What readers give: the values of a file as they are stored, before they are scaled to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..image.frame import Store
from ..image.metadata import Metadata

Size = tuple[int, int, int]
"""Height and width in pixels, and bytes per pixel, alpha included, as decoded."""


def unknown_size(page: int) -> Size | None:
    """None: of a format that tells its size only when it is decoded."""
    return None


@dataclass
class Raster:
    """One page of a file, as stored. `levels.to_frames` makes a `Frame` of it."""

    pixels: np.ndarray  # (H, W) or (H, W, 1 or 3) of any dtype
    alpha: np.ndarray | None = None  # (H, W), not premultiplied
    name: str = "image"  # for messages
    orientation: int = 1  # of EXIF, 1 to 8
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()  # what the reader had to decide
    metadata: Metadata = field(default_factory=Metadata)
    unit: str = ""  # of the values, as 'HU' or '°C'; given, they are measured and need a black and a white
    scale: str = ""  # of values without a unit: those of two images compare only where it is the same
    window: tuple[float, float, str] | None = None  # black and white that the file asks for, and how it does so
    white: float | None = None  # the largest value that the format can hold, if it is not that of the dtype
    linear: bool = False  # linear light: values are encoded as sRGB
    nodata: float | None = None  # the value that stands for none
    file: str | None = None  # where it is from
    offset: tuple[int, int] | None = None  # place (x, y) in pixels on the canvas that it is a piece of
    is_indexed: bool = False  # stored with a table of at most 256 colours
    is_tracer: bool = False  # shows where a tracer is, as PET and SPECT do
    palette: str = ""  # of false colours that were turned back into grey values

    def stored(self, store: Store) -> Raster:
        """The raster itself, its arrays where `store` puts them."""
        self.pixels = store(self.pixels)
        self.alpha = None if self.alpha is None else store(self.alpha)
        return self


@dataclass(frozen=True)
class Pages:
    """An open file: how many pictures it holds, and what reads one of them."""

    read: Callable[[int], Raster]
    count: int = 1
    noun: str = "pages"  # what messages call the pictures
    first: int = 0  # the one that is read where nobody asks for pages
    together: bool = True  # a single file of several pages is a stack of them
    size: Callable[[int], Size | None] = unknown_size  # of a page, by its header alone
    stack: list[int] | None = None  # the pages of that stack; None: all
    note: str = ""  # why not all
