"""Names of uploads in place of paths of the server, in messages and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def names_for(text: str, names: Mapping[str, str]) -> str:
    """The text with what users call their files in place of paths."""
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Nested values with the same done to every text."""
    if isinstance(value, str):
        return names_for(value, names)
    if isinstance(value, dict):
        return {key: renamed(v, names) for key, v in value.items()}
    return [renamed(v, names) for v in value] if isinstance(value, list | tuple) else value
