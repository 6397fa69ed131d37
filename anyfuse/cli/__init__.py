"""The command line. Each command has a file of its own; main.py joins them."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
