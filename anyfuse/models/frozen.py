"""A part that never trains: a backbone, a codec, a reference model."""

from __future__ import annotations

from typing import Any, TypeVar

from ..arrays import nn

Self = TypeVar("Self", bound="FrozenModule")


class FrozenModule(nn.Module):
    """Is in evaluation mode whatever its parent is in, and in no state dict: its weights live apart.

    A subclass calls `freeze` at the end of its `__init__`.
    """

    def freeze(self) -> None:
        """Takes the gradient from all parameters, and sets the evaluation mode."""
        self.requires_grad_(False)
        super().train(False)

    def train(self: Self, mode: bool = True) -> Self:
        """Does nothing."""
        return self

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Empty."""
        return {} if destination is None else destination
