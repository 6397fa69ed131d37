"""The command line. Each command has its own file; main.py joins them."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
