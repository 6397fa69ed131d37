"""Names with a choice of pages: `stack.tif[3:40]`, and the same as `--pages 3:40`."""

from __future__ import annotations

import os
import re

from ..errors import FusionError
from .raster import Pages

_CHOICE = re.compile(r"(?P<file>.+)\[(?P<pages>[-+0-9:, ]+)\]", re.DOTALL)


def split_name(name: str | os.PathLike[str]) -> tuple[str, str | None]:
    """The file and the choice of pages in its name: 'a.tif[3:40]' -> ('a.tif', '3:40').

    A file that exists under the whole name is that file.
    """
    text = os.fspath(name)
    found = _CHOICE.fullmatch(text) if isinstance(text, str) and text.endswith("]") else None
    if found is None or os.path.lexists(text):
        return text, None
    return found["file"], found["pages"]


def choose(text: str, pages: Pages, name: str) -> list[int]:
    """'3', '3:40', '::2', '0,4,7:9' -> the pages, counted from 0 as Python slices are; FusionError for none."""
    chosen: list[int] = []
    every = range(pages.count)
    for part in text.split(","):
        try:
            numbers = [int(n) if n.strip() else None for n in part.split(":")]
            if len(numbers) == 1:
                chosen.append(every[numbers[0] if numbers[0] is not None else pages.count])
            else:
                chosen += every[slice(*numbers)]
        except (ValueError, TypeError):
            what = f"{part.strip()!r} is no choice of {pages.noun}"
            raise FusionError(f"{name}: {what}; give a number as 3, or first:end as 3:40, counted from 0") from None
        except IndexError:
            raise FusionError(
                f"{name}: has no {part.strip()} in its {pages.count} {pages.noun}; count from 0"
            ) from None
    if not chosen:
        raise FusionError(f"{name}: [{text}] chooses none of its {pages.count} {pages.noun}; count from 0")
    if len(set(chosen)) != len(chosen):
        raise FusionError(f"{name}: [{text}] chooses a page twice; give each once")
    return chosen
