"""Models by name: a literal table of presets, and one loader for names, folders and hub ids."""

from __future__ import annotations

from typing import Any

from .anyfuse import Anyfuse, AnyfuseConfig
from .base import Context, FusionModel

PRESETS: dict[str, tuple[type[FusionModel], Any]] = {
    "anyfuse": (Anyfuse, AnyfuseConfig()),
}


def build_model(name: str) -> FusionModel:
    """A fresh, untrained model of a preset."""
    cls, config = PRESETS[name]
    return cls(config)


__all__ = ["PRESETS", "Anyfuse", "AnyfuseConfig", "Context", "FusionModel", "build_model"]
