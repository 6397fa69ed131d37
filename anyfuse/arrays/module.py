"""The base class of models without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..engine_choice import lacks_torch


class Module:
    """A model that something else than PyTorch computes: always in evaluation mode, always on the CPU."""

    training = False

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """`forward`."""
        return self.forward(*arguments, **options)  # type: ignore[attr-defined]

    def eval(self) -> Any:
        """Itself."""
        return self

    def to(self, *_: Any, **__: Any) -> Any:
        """Itself: there is one place and one number format."""
        return self

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """None."""
        return iter(())

    def register_buffer(self, *_: Any, **__: Any) -> None:
        """Refuses: a model with values of its own is PyTorch's."""
        raise lacks_torch(type(self).__name__)

    register_parameter = register_module = register_buffer

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}
