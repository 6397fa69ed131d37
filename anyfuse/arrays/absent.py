"""What NumPy does not stand in for: names of PyTorch whose use raises one line that says what to install."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine_choice import lacks_torch
from .module import Module


def missing(module: str, name: str) -> Any:
    """A function, or for a capital name a class, of a module of PyTorch that cannot be used without it.

    Raises:
        AttributeError: a name that Python itself asks for.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    return _class(name) if name[0].isupper() else _function(f"{module}.{name}")


def _function(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise lacks_torch(name)

    return refuse


def _class(name: str) -> type:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise lacks_torch(name)

    return type(name, (Module,), {"__init__": refuse})
