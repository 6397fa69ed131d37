"""anyfuse fuses any images of one scene into one image. Nobody has to name the task."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import FusionError
from .version import __version__

if TYPE_CHECKING:
    from .api import fuse
    from .fuser import Fuser
    from .models.registry import load_model

_HOME = {"fuse": ".api", "Fuser": ".fuser", "load_model": ".models.registry"}

__all__ = ["Fuser", "FusionError", "__version__", "fuse", "load_model"]


def __getattr__(name: str) -> Any:
    """Loads the public names on first use, so that `import anyfuse` and `anyfuse --help` stay quick."""
    if name in ("video", "metrics"):
        return import_module(f".{name}", "anyfuse")
    if name not in _HOME:
        raise AttributeError(f"module 'anyfuse' has no attribute '{name}'")
    import_module(".runtime", "anyfuse").yield_threads()
    return getattr(import_module(_HOME[name], "anyfuse"), name)
