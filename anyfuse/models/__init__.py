"""Models by name, the contract that they keep, and the four published systems."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "MODELS": ".registry",
    "ALIASES": ".registry",
    "Spec": ".registry",
    "build_model": ".registry",
    "describe": ".registry",
    "describe_all": ".registry",
    "from_pretrained": ".registry",
    "is_there": ".registry",
    "load_model": ".registry",
    "parts_text": ".registry",
    "FusionModel": ".base",
    "Context": ".base",
    "Wrapped": ".wrapped",
    "wrap": ".wrapped",
}

__all__ = [
    "ALIASES",
    "MODELS",
    "Context",
    "FusionModel",
    "Spec",
    "Wrapped",
    "build_model",
    "describe",
    "describe_all",
    "from_pretrained",
    "is_there",
    "load_model",
    "parts_text",
    "wrap",
]


def __getattr__(name: str) -> Any:
    """Loads a name on first use, so that one part can be imported without the others."""
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOME[name], __name__), name)
