"""The boxes of a mask, and which of a detector's are right (data/boxes.py has those that people drew).

A found box may be right by two rules, and each truth and each found box counts once:

    iou     it shares at least 0.3 of the union with a box of its kind
    centre  its centre lies in a box of its kind

A found box that is not right counts nowhere where half of it lies in one 'ignore' box: crowds, parked rows, and things
that a person cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...control import OBJECTS
from ...data.boxes import IGNORE, Box, Scene
from ...errors import FusionError

RULES = ("iou", "centre")
LEAST_IOU = 0.3
LEAST_PIXELS = 24
"""Smaller parts of a mask are no find."""


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
