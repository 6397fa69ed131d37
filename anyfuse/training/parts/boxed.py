"""Real infrared-visible pairs with boxes drawn by hand, as weak labels of a head for segmentation (masks.py).

boxes    anyfuse/assets/training_boxes.json, SET/STEM with the size and [kind, x0, y0, x1, y1] of people, vehicles and
         what is to be ignored; none of these pairs is held out or among the tests
marks    a pixel of a box is its thing where the infrared image is nearer to the box's middle than to what is around
         it; where the two are alike, in an ellipse. The rest of a box is unknown, what lies outside of all boxes is
         other
loss     minus the logarithm of the probability of person (pedestrian or bicyclist; pedestrian in upright boxes), of
         car, or of all other classes
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...control import CLASSES
from ...data.boxes import IGNORE, Box, Scene, read_scenes
from ...data.synthetic import convolve, defocus_kernel
from ...errors import FusionError
from ...image.colour import to_luma
from ...io.folders import pair_by_stem
from ...io.read import read_image

BOXES = Path(__file__).resolve().parents[2] / "assets" / "training_boxes.json"
OTHER, PEDESTRIAN, RIDER, VEHICLE, UNKNOWN = range(5)
"""Marks of a pixel; RIDER: pedestrian or bicyclist."""
UPRIGHT = 1.5
"""Height over width from which a person walks and does not ride."""
CONTRAST = 0.05
"""Difference of levels from which the infrared image tells a thing from what is around it."""
LAYERS = (IGNORE, "vehicle", "person")
MARK_WEIGHTS = (1.0, 4.0, 4.0, 2.0, 0.0)


@dataclass(frozen=True)
class BoxedPair:
    """A real pair and its marks."""

    pair: np.ndarray  # (2, H, W) uint8, luma of infrared and visible
    marks: np.ndarray  # (H, W) uint8


def read_boxed(root: Path, boxes: Path | None = None) -> tuple[list[BoxedPair], str]:
    """The pairs that have boxes, and a digest of them and their files.

    Args:
        root: folder with SET/ir and SET/vis.
        boxes: their file; None: the package's.

    Raises:
        FusionError: a folder of a set, or a pair, is not there or of another size.
    """
    boxes = boxes or BOXES
    scenes = read_scenes(boxes)
    files: dict[str, tuple[Path, ...]] = {}
    for name in sorted({scene.name.split("/")[0] for scene in scenes}):
        folders = [root / name / part for part in ("ir", "vis")]
        absent = [folder for folder in folders if not folder.is_dir()]
        if absent:
            raise FusionError(f"{absent[0]}: the pairs with boxes are not there; --set boxed=0 does without them")
        files |= {f"{name}/{stem}": group for stem, group in pair_by_stem(folders)[0].items()}
    digest, pairs = sha256(boxes.read_bytes()), []
    for scene in scenes:
        if scene.name not in files:
            raise FusionError(f"{root / scene.name}: this pair with boxes is not there")
        for path in files[scene.name]:
            digest.update(f"{path.parent.name}/{path.name} {sha256(path.read_bytes()).hexdigest()}\n".encode())
        luma = torch.cat([to_luma(read_image(path).read()) for path in files[scene.name]])
        if luma.shape[1:] != (scene.height, scene.width):
            raise FusionError(f"{root / scene.name}: is not {scene.width}x{scene.height}, as its boxes are")
        pair = (luma * 255).round().to(torch.uint8).numpy()
        pairs.append(BoxedPair(pair, marks_of(luma[0], scene)))
    return pairs, digest.hexdigest()


def marks_of(infrared: Tensor, scene: Scene) -> np.ndarray:
    """Marks (H, W) uint8 of an infrared image (H, W) in [0, 1] and its boxes.

    People stand before vehicles, and small things before large ones."""
    smooth = convolve(infrared[None], defocus_kernel(1.0, True))[0]
    marks = np.zeros(tuple(infrared.shape), np.uint8)
    inside = np.zeros_like(marks, dtype=bool)
    for box in scene.boxes:
        inside[_part(box)] = True
    outside = torch.from_numpy(~inside)
    for box in sorted(scene.boxes, key=lambda box: (LAYERS.index(box.kind), -box.area)):
        part = _part(box)
        if box.kind == IGNORE:
            marks[part] = UNKNOWN
            continue
        thing = _thing(smooth, outside, box)
        person = PEDESTRIAN if box.y1 - box.y0 >= UPRIGHT * (box.x1 - box.x0) else RIDER
        marks[part] = np.where(thing, VEHICLE if box.kind == "vehicle" else person, UNKNOWN)
    return marks


def _part(box: Box) -> tuple[slice, slice]:
    return slice(int(box.y0), int(box.y1)), slice(int(box.x0), int(box.x1))


def _thing(infrared: Tensor, outside: Tensor, box: Box) -> np.ndarray:
    """Pixels of a box (h, w) bool that are its thing."""
    rows, cols = _part(box)
    part = infrared[rows, cols]
    y = torch.linspace(-1, 1, part.shape[0])[:, None].square()
    x = torch.linspace(-1, 1, part.shape[1])[None].square()
    whole = (y + x) < 0.85
    if box.kind == "vehicle":
        return whole.numpy()
    margin = max(3, round(0.5 * (box.x1 - box.x0)))
    around = (
        slice(max(0, rows.start - margin), rows.stop + margin),
        slice(max(0, cols.start - margin), cols.stop + margin),
    )
    ring = infrared[around][outside[around]]
    if not len(ring):
        return whole.numpy()
    core, level = part[(y / 0.5 + x / 0.25) < 1], ring.median()
    if not len(core) or abs(float(core.median() - level)) < CONTRAST:
        return whole.numpy()
    return ((part - core.median()).abs() < (part - level).abs()).numpy()


def boxed_loss(logits: Tensor, marks: Tensor) -> Tensor:
    """Weighted mean of minus the logarithm of what is marked; logits (B, 11, H, W), marks (B, H, W)."""
    shares = F.log_softmax(logits, 1)
    pedestrian, rider, car = (CLASSES.index(name) for name in ("pedestrian", "bicyclist", "car"))
    rest = [k for k in range(len(CLASSES)) if k not in (pedestrian, rider, car)]
    person = shares[:, [pedestrian, rider]].logsumexp(1)
    each = torch.stack([shares[:, rest].logsumexp(1), shares[:, pedestrian], person, shares[:, car]], 1)
    weights = torch.tensor(MARK_WEIGHTS, device=marks.device)[marks]
    chosen = each.gather(1, marks.clamp(max=VEHICLE)[:, None])[:, 0]
    return -(weights * chosen).sum() / weights.sum().clamp_min(1)
