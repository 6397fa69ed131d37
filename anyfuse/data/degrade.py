"""The earlier place of `anyfuse.degradation.plan`; kept for scripts that import from here."""

from __future__ import annotations

from ..degradation.plan import OPERATIONS, Plan, Step, apply, draw, parse

__all__ = ["OPERATIONS", "Plan", "Step", "apply", "draw", "parse"]
