"""Files in and out: read, write, frames in memory, metadata."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "read_image": ".read",
    "write_image": ".write",
    "writable": ".write",
    "WRITES": ".write",
    "MAX_PIXELS": ".pillow",
    "frame_from_pil": ".pillow",
}

__all__ = ["MAX_PIXELS", "WRITES", "frame_from_pil", "read_image", "writable", "write_image"]


def __getattr__(name: str) -> Any:
    """Loads a name on first use, so that one part can be imported without the others."""
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOME[name], __name__), name)
