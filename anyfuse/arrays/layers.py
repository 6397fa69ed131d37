"""`torch.nn` without PyTorch: a base class for models without parameters. Layers need PyTorch."""

from __future__ import annotations

from typing import Any

from . import functional
from .absent import missing
from .module import Module

__all__ = ["Module", "functional"]


def __getattr__(name: str) -> Any:
    return missing("torch.nn", name)
