"""The earlier place of `anyfuse.models.ditfuse.omnigen`; kept for scripts that import from here."""

from __future__ import annotations

from ..models.ditfuse.omnigen import OmniGen, OmniGenConfig

__all__ = ["OmniGen", "OmniGenConfig"]
