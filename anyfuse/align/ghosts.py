"""What was replaced in frames where something moved, for the report (`deghost.py` does it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..image.frame import Frame

if TYPE_CHECKING:
    from .brightness import BrightnessMatch


@dataclass(frozen=True)
class Ghosts:
    """What was replaced in one frame, for the report."""

    name: str  # of the frame
    source: str  # of the frame that shows the moved things; 'several' where regions have their own
    replaced: float  # share of the pixels
    trusted: bool = True  # False: too much differs, and the frame was left as it is

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "source": self.source, "replaced": round(self.replaced, 5), "trusted": self.trusted}


@dataclass(frozen=True)
class Deghosted:
    """Frames in which each thing is at one place.

    mask: (H, W) bool, where some frame was replaced; None: nowhere.
    brightness: what was done before to the brightness of the frames of a focus stack.
    """

    frames: list[Frame]
    ghosts: list[Ghosts]
    mask: np.ndarray | None = None
    brightness: Sequence[BrightnessMatch] = ()


def ghost_notes(ghosts: Sequence[Ghosts]) -> list[str]:
    """A warning for each frame that differs too much from the others."""
    return [
        f"{ghost.name}: {ghost.replaced:.0%} of this image differs from "
        f"{'the other images' if ghost.source == 'several' else ghost.source}, so it was not deghosted and things may "
        "show twice; align the images, or leave this one out"
        for ghost in ghosts
        if not ghost.trusted
    ]
