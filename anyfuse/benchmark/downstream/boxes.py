"""Boxes: those that people drew, those of a mask, and which of a detector's are right.

A found box may be right by two rules, and each truth and each found box counts once:

    iou     it shares at least 0.3 of the union with a box of its kind
    centre  its centre lies in a box of its kind

A found box that is not right counts nowhere where half of it lies in one 'ignore' box: crowds, parked rows, and things
that a person cannot tell.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import FusionError
from ...models.segmenter import OBJECTS

IGNORE = "ignore"
RULES = ("iou", "centre")
LEAST_IOU = 0.3
LEAST_PIXELS = 24
"""Smaller parts of a mask are no find."""


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


def boxes_of(mask: np.ndarray, kind: str) -> list[Box]:
    """A box around each connected part of a mask (H, W) bool, corners connect; parts below LEAST_PIXELS are left
    out.
    """
    try:
        from scipy import ndimage
    except ImportError:
        raise FusionError("--section downstream needs scipy: pip install 'anyfuse[downstream]'") from None
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return [
        Box(kind, float(cols.start), float(rows.start), float(cols.stop), float(rows.stop))
        for (rows, cols), size in zip(ndimage.find_objects(parts), sizes, strict=True)
        if size >= LEAST_PIXELS
    ]


def count_matches(found: Sequence[Box], scene: Scene, rule: str) -> np.ndarray:
    """Counts of a picture.

    Args:
        found: boxes of a detector.
        scene: what is there.
        rule: of RULES.

    Returns:
        (2, 3) whole numbers: for each of OBJECTS the right finds, all finds that count, and all boxes that are there.
    """
    truths = [b for b in scene.boxes if b.kind != IGNORE]
    ignored = [b for b in scene.boxes if b.kind == IGNORE]
    pairs = [
        (f.iou(t), i, j)
        for i, f in enumerate(found)
        for j, t in enumerate(truths)
        if f.kind == t.kind and (f.iou(t) >= LEAST_IOU if rule == "iou" else t.has_centre_of(f))
    ]
    right: set[int] = set()
    taken: set[int] = set()
    for _, i, j in sorted(pairs, key=lambda pair: -pair[0]):
        if i not in right and j not in taken:
            right.add(i)
            taken.add(j)
    counts = np.zeros((len(OBJECTS), 3), dtype=np.int64)
    for i, box in enumerate(found):
        if i in right or not any(2 * box.shared(b) >= box.area for b in ignored):
            counts[OBJECTS.index(box.kind), :2] += (i in right, 1)
    for box in truths:
        counts[OBJECTS.index(box.kind), 2] += 1
    return counts
