"""Stems and suffixes of files, also of those whose names have several dots."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

_DOUBLE = re.compile(r".(\.nii\.gz|\.ome\.tiff?|\.ome\.(tf2|tf8|btf))$", re.IGNORECASE | re.DOTALL)
_PAGES = re.compile(r"\[[-+0-9:, ]+\]$")


def suffix_of(path: str | os.PathLike[str]) -> str:
    """The suffix of a file as people mean it, in its own case: '.nii.gz' and '.ome.tif' are one.

    Digits alone are none, as in the names that scanners give ('1.2.840.10008.5') and in 'scan.001'. Pages
    ('stack.tif[3]') do not count.
    """
    name = _PAGES.sub("", PurePath(path).name)
    if found := _DOUBLE.search(name):
        return found[1]
    suffix = PurePath(name).suffix
    return "" if suffix[1:].isdecimal() else suffix


def stem_of(path: str | os.PathLike[str]) -> str:
    """The name of a file without its suffix and without pages."""
    name = _PAGES.sub("", PurePath(path).name)
    return name.removesuffix(suffix_of(path))
