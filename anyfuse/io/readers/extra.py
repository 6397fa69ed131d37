"""Packages that only some formats need: imported when such a file is read, with a hint where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...errors import FusionError


def needed(package: str, extra: str, name: str, what: str) -> Any:
    """The module, or a FusionError that says how to install it."""
    try:
        return import_module(package)
    except ImportError:
        raise FusionError(f"{name}: is {what}; pip install 'anyfuse[{extra}]' reads it") from None
