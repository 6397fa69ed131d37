"""The earlier place of `anyfuse.degradation.estimator`; kept for scripts that import from here."""

from __future__ import annotations

from .degradation.estimator import estimate, estimate_stack

__all__ = ["estimate", "estimate_stack"]
