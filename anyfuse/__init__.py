"""anyfuse: any images of one scene into one, without naming the task."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .errors import FusionError

if TYPE_CHECKING:
    from .api import Fuser, fuse
    from .models import load_model

try:
    __version__ = version("anyfuse")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

_HOME = {"fuse": ".api", "Fuser": ".api", "load_model": ".models"}

__all__ = ["Fuser", "FusionError", "__version__", "fuse", "load_model"]


def __getattr__(name: str) -> Any:
    """Loads the public names on first use, so that `import anyfuse` and `anyfuse --help` stay quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'anyfuse' has no attribute '{name}'")
    return getattr(import_module(_HOME[name], "anyfuse"), name)
