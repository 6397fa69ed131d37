"""The earlier place of `anyfuse.models.tita.released`; kept for scripts that import from here."""

from __future__ import annotations

from ..models.tita.released import from_released, load_released, to_released

__all__ = ["from_released", "load_released", "to_released"]
