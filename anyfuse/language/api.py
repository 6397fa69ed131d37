"""The two names of language/ that control.py documents. Only what is needed is loaded: a text encoder imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .instruction import parse_instruction

if TYPE_CHECKING:
    from torch import Tensor


def embed(text: str, encoder: str = "built-in") -> Tensor:
    """A text as a vector (D,); see encoder.load_encoder for the names."""
    from .encoder import load_encoder

    return load_encoder(encoder).encode([text])[0]


__all__ = ["embed", "parse_instruction"]
