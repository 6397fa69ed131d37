"""Pages of TIFF files of microscopes: which are channels, slices and times, and stacks that have one directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ...errors import FusionError

_NOUNS = {"C": "channels", "Z": "slices", "T": "times"}


@dataclass(frozen=True)
class Layout:
    """How many channels, slices and times the pages of a file are, the axis that changes fastest first."""

    order: str  # of C, Z and T
    sizes: tuple[int, int, int]  # in that order

    def pages(self, **fixed: int) -> list[int]:
        """The pages with these places along some axes, as C=0."""
        steps = np.cumprod((1, *self.sizes[:2]))
        ranges = [
            [fixed[axis]] if axis in fixed else range(size) for axis, size in zip(self.order, self.sizes, strict=True)
        ]
        first, second, third = ranges
        return [int(a * steps[0] + b * steps[1] + c * steps[2]) for c in third for b in second for a in first]


def layout_of(text: str, count: int, samples: int) -> Layout | None:
    """The layout that ImageJ's description or OME-XML gives; None where there is none that fits.

    Args:
        text: of the tag ImageDescription.
        count: pages of the file.
        samples: per pixel; OME counts the colours of an RGB page as channels.
    """
    if text.startswith("ImageJ="):
        numbers = {
            axis: int(found[1]) if (found := re.search(rf"^{word}=(\d+)\s*$", text, re.MULTILINE)) else 1
            for axis, word in (("C", "channels"), ("Z", "slices"), ("T", "frames"))
        }
        order = "CZT"
    else:
        pixels = re.search(r"<(?:\w+:)?Pixels\s[^>]*>", text[: 1 << 20])
        named = dict(re.findall(r'(Size[CZT]|DimensionOrder)="([^"]*)"', pixels[0])) if pixels else {}
        order = named.get("DimensionOrder", "").upper().removeprefix("XY")
        if sorted(order) != ["C", "T", "Z"] or not all(named.get(f"Size{a}", "").isdecimal() for a in order):
            return None
        numbers = {axis: int(named[f"Size{axis}"]) for axis in order}
        numbers["C"] = max(1, numbers["C"] // max(1, samples))
    first, second, third = (numbers[axis] for axis in order)
    return Layout(order, (first, second, third)) if first * second * third == count else None


def one_stack(layout: Layout | None, name: str) -> tuple[list[int] | None, str]:
    """The pages to fuse where nobody chooses, and a note; None: all of them.

    Slices of the first channel and time are a stack. Without slices it is the channels of the first time.
    """
    if layout is None:
        return None, ""
    sizes = dict(zip(layout.order, layout.sizes, strict=True))
    several = [axis for axis in "CTZ" if sizes[axis] > 1]
    if len(several) < 2:
        return None, ""
    keep = "Z" if "Z" in several else "C"
    fixed = {axis: 0 for axis in "CZT" if axis != keep}
    chosen = layout.pages(**fixed)
    what = " x ".join(f"{sizes[axis]} {_NOUNS[axis]}" for axis in several)
    axis = next(a for a in several if a != keep)
    others = layout.pages(**{**fixed, axis: 1})
    others_of = f"those of the next {_NOUNS[axis][:-1]} are {name}[{_as_choice(others)}]"
    return chosen, f"{name}: holds {what}; the {_NOUNS[keep]} [{_as_choice(chosen)}] are fused, {others_of}"


def _as_choice(pages: Sequence[int]) -> str:
    """Pages as a user names them: '0:4', '1:8:2'."""
    step = pages[1] - pages[0]
    return f"{pages[0]}:{pages[-1] + 1}" + (f":{step}" if step > 1 else "")


def hidden_pages(text: str, tags: Any, size: int) -> int:
    """How many pages lie behind the only directory of a file, as in ImageJ's stacks of over 4 GB; 1 without any."""
    found = re.search(r"^images=(\d+)\s*$", text, re.MULTILINE) if text.startswith("ImageJ=") else None
    count = int(found[1]) if found else 1
    if count < 2 or tags.get(259, 1) != 1 or _start(tags) is None:
        return 1
    start, length = _start(tags) or 0, _bytes(tags)
    return count if length and start + count * length <= size else 1


def read_hidden(file: BinaryIO, name: str, tags: Any, order: str, page: int) -> np.ndarray:
    """(H, W, C) of a page without a directory of its own. order: < or > of the file."""
    bits, kind = int(tags[258][0]), int(tags.get(339, (1,))[0])
    file.seek((_start(tags) or 0) + page * _bytes(tags))
    data = file.read(_bytes(tags))
    if len(data) < _bytes(tags):
        raise FusionError(f"{name}: is truncated in page {page}; save or download it again")
    dtype = np.dtype(f"{order}{ {1: 'u', 2: 'i', 3: 'f'}.get(kind, 'u') }{bits // 8}")
    shape = (int(tags[257]), int(tags[256]), -1)
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _start(tags: Any) -> int | None:
    """Where the first page begins; None where its strips do not lie one behind the other."""
    offsets, counts = tags.get(273, ()), tags.get(279, ())
    if not offsets or len(offsets) != len(counts) or tags.get(284, 1) != 1:
        return None
    ends = [a + b for a, b in zip(offsets, counts, strict=True)]
    return int(offsets[0]) if list(offsets[1:]) == ends[:-1] and sum(counts) == _bytes(tags) else None


def _bytes(tags: Any) -> int:
    """Bytes of one page; 0 for a depth that is not read here."""
    bits = tags.get(258, (1,))
    fits = len(set(bits)) == 1 and bits[0] in (8, 16, 32)
    return int(tags[256]) * int(tags[257]) * len(bits) * bits[0] // 8 if fits else 0
