"""Boxes that people drew around what is in a pair of images: people, vehicles, and what is not to be counted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..control import OBJECTS
from ..errors import FusionError

IGNORE = "ignore"
"""Kind of boxes around crowds, parked rows, and things that a person cannot tell."""


@dataclass(frozen=True)
class Box:
    """A box in pixels; x1 and y1 are outside of it."""

    kind: str
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def shared(self, other: Box) -> float:
        """Square pixels that both have."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)

    def iou(self, other: Box) -> float:
        """Shared over united area, 0 to 1."""
        both = self.shared(other)
        return both / (self.area + other.area - both)

    def has_centre_of(self, other: Box) -> bool:
        """Whether the middle of another box lies in this one."""
        x, y = (other.x0 + other.x1) / 2, (other.y0 + other.y1) / 2
        return self.x0 <= x < self.x1 and self.y0 <= y < self.y1


@dataclass(frozen=True)
class Scene:
    """The boxes of a pair: of OBJECTS and of IGNORE."""

    name: str  # SET/STEM
    width: int  # of both images, in pixels
    height: int
    boxes: tuple[Box, ...]


def read_scenes(path: Path) -> list[Scene]:
    """Scenes of a file {"SET/STEM": {"size": [w, h], "boxes": [[kind, x0, y0, x1, y1], ...]}}; kinds beside OBJECTS and
    IGNORE, as lamps, are passed over. FusionError where it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scenes = []
        for name, entry in content.items():
            set_name, stem = name.split("/")
            width, height = map(int, entry["size"])
            boxes = tuple(Box(kind, *map(float, at)) for kind, *at in entry["boxes"] if kind in (*OBJECTS, IGNORE))
            for box in boxes:
                if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
                    raise ValueError(f"{name}: a box from {box.x0:g},{box.y0:g} to {box.x1:g},{box.y1:g}")
            scenes.append(Scene(f"{set_name}/{stem}", width, height, boxes))
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FusionError(f"{path}: holds no boxes of scenes ({error}); docs/downstream.md has the form") from None
    if not scenes:
        raise FusionError(f"{path}: holds no scene")
    return scenes
