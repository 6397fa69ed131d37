"""python -m anyfuse.models: exact parameter counts of every model, by part."""

from __future__ import annotations

from .registry import parts_text

print(parts_text(), end="")
