"""What finds people and vehicles in one picture: the shipped segmenters, or an ONNX graph of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...control import OBJECTS
from ...data.boxes import Box
from ...engines.runner import session
from ...errors import FusionError
from ...image.colour import to_luma
from ...io.atomic import one_line
from ...models.segmenter import load_segmenter
from ...weights import WEIGHTS_NAME
from .boxes import boxes_of

THRESHOLDS = tuple(k / 20 for k in range(1, 20))
"""Of a pixel's probability, or of a box's score."""
COCO = {"person": (1,), "vehicle": (3, 6, 8)}
"""Labels of torchvision's detectors: person; car, bus, truck."""
CLASSES_OF_MAP: dict[int, dict[str, tuple[int, ...]]] = {
    3: {"person": (1,), "vehicle": (2,)},  # the shipped segmenters
    11: {"person": (9, 10), "vehicle": (8,)},  # CamVid
    12: {"person": (9, 10), "vehicle": (8,)},  # CamVid and unlabelled
    21: {"person": (15,), "vehicle": (6, 7)},  # Pascal VOC, torchvision's segmentation
}


SIDE = 288
"""Longer side in pixels at which the shipped segmenters see a picture. Of 160 to 640 it was the best for people by
centre, in either image alone and in the mean, on RoadScene's 14 held-out pairs.
"""


class Detector(Protocol):
    """Finds OBJECTS."""

    name: str  # in tables
    origin: str  # changes with what it finds

    def find(self, pixels: np.ndarray) -> list[list[Box]]:
        """Picture (H, W, 1 or 3) uint8 -> boxes at each of THRESHOLDS."""


def boxes_at_thresholds(probabilities: np.ndarray) -> list[list[Box]]:
    """Probability (2, H, W) of OBJECTS -> the connected parts above each of THRESHOLDS."""
    return [
        [box for k, kind in enumerate(OBJECTS) for box in boxes_of(probabilities[k] > threshold, kind)]
        for threshold in THRESHOLDS
    ]


class OwnDetector:
    """A segmenter of models/segmenter.py on luma.

    Args:
        folder: with its weights.
        name: in tables.
        side: longer side of what it sees, in pixels; larger pictures are made smaller.

    Raises:
        FusionError: the folder holds none.
    """

    def __init__(self, folder: Path, name: str, side: int = SIDE) -> None:
        self.net = load_segmenter(folder)
        self.name, self.side = name, side
        self.origin = f"{hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()[:16]} {side}"

    def find(self, pixels: np.ndarray) -> list[list[Box]]:
        """As Detector."""
        luma = to_luma(torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)[0]
        height, width = luma.shape
        scale = min(1.0, self.side / max(height, width))
        size = max(1, round(scale * height)), max(1, round(scale * width))
        small = F.interpolate(luma[None, None], size, mode="bilinear", antialias=True)[0, 0]
        return boxes_at_thresholds(_resized(self.net.probabilities(small), height, width).numpy())


class OnnxDetector:
    """A graph with one image as input: (1, C, H, W) or (C, H, W), C 1 or 3, float in [0, 1] or uint8.

    It gives boxes (N, 4) x0, y0, x1, y1, labels (N,) and scores (N,), as torchvision's detectors do, in any order; or
    one map of classes: (1, K, H, W) logits or probabilities, the first of four dimensions, or (1, H, W) whole numbers.

    Args:
        path: of the graph.
        classes: 'person=1,vehicle=3+6+8', numbers of the graph's classes; '': COCO's for boxes, for a map those of
            CLASSES_OF_MAP.

    Raises:
        FusionError: no such graph, another signature, or classes that cannot be told.
    """

    def __init__(self, path: Path, classes: str = "") -> None:
        if not path.is_file():
            raise FusionError(f"--detector {path}: no such file")
        self.path, self.name = path, path.stem
        self.classes = read_classes(classes) if classes else None
        content = path.read_bytes()
        self.origin = hashlib.sha256(content + classes.encode()).hexdigest()[:16]
        self.ready = session(path, 1)
        inputs = self.ready.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or inputs[0].type not in ("tensor(float)", "tensor(uint8)") or len(shape) not in (3, 4):
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise FusionError(f"{path}: takes {found}; a detector takes one image (1, C, H, W) of float or uint8")
        self.channels = shape[-3] if isinstance(shape[-3], int) else 3
        if self.channels not in (1, 3):
            raise FusionError(f"{path}: takes {self.channels} channels; a detector takes 1 or 3")
        self.size = tuple(s if isinstance(s, int) else 0 for s in shape[-2:])

    def find(self, pixels: np.ndarray) -> list[list[Box]]:
        """As Detector."""
        height, width = pixels.shape[:2]
        image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        image = to_luma(image) if self.channels == 1 else image.expand(3, -1, -1)
        size = self.size[0] or height, self.size[1] or width
        if size != (height, width):
            image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
        entry = self.ready.get_inputs()[0]
        given = (image * 255).round().to(torch.uint8) if entry.type == "tensor(uint8)" else image
        try:
            outputs = self.ready.run(None, {entry.name: (given[None] if len(entry.shape) == 4 else given).numpy()})
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise FusionError(f"{self.path}: fails on an image of {width}x{height} ({one_line(error):.200})") from None
        arrays = {o.name: np.asarray(a) for o, a in zip(self.ready.get_outputs(), outputs, strict=True)}
        parts = _box_parts(arrays)
        if parts is not None:
            return self._boxes(*parts, width / size[1], height / size[0])
        return self._map(arrays, height, width)

    def _boxes(
        self, corners: np.ndarray, labels: np.ndarray, scores: np.ndarray, scale_x: float, scale_y: float
    ) -> list[list[Box]]:
        kind_of = {label: kind for kind, own in (self.classes or COCO).items() for label in own}
        scaled = corners * np.array([scale_x, scale_y, scale_x, scale_y])
        found = [
            (float(score), Box(kind_of[int(label)], *map(float, at)))
            for at, label, score in zip(scaled, labels, scores, strict=True)
            if int(label) in kind_of and at[2] > at[0] and at[3] > at[1]
        ]
        return [[box for score, box in found if score > threshold] for threshold in THRESHOLDS]

    def _map(self, arrays: Mapping[str, np.ndarray], height: int, width: int) -> list[list[Box]]:
        """Of the first output that is a map."""
        for array in arrays.values():
            if array.ndim == 4 and array.dtype.kind == "f":
                return self._of_scores(torch.from_numpy(array[0].astype(np.float32)), height, width)
            if array.ndim in (2, 3) and array.dtype.kind in "iu":
                classes = torch.from_numpy(array.reshape(array.shape[-2:]).astype(np.int64))
                if self.classes is None:
                    raise FusionError(
                        f"{self.path}: gives a map of whole numbers; say which, --classes person=1,vehicle=2"
                    )
                masks = torch.stack([torch.isin(classes, torch.tensor(self.classes[kind])) for kind in OBJECTS])
                return boxes_at_thresholds(_resized(masks.float(), height, width).numpy())
        found = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays.items())
        raise FusionError(f"{self.path}: gives {found}; a detector gives boxes, labels and scores, or a map of classes")

    def _of_scores(self, scores: Tensor, height: int, width: int) -> list[list[Box]]:
        """(K, h, w) logits or probabilities."""
        classes: dict[str, tuple[int, ...]] = self.classes or CLASSES_OF_MAP.get(len(scores), {})
        if not classes or max(k for own in classes.values() for k in own) >= len(scores):
            raise FusionError(f"{self.path}: gives {len(scores)} classes; say which, --classes person=1,vehicle=2")
        told = bool((scores >= 0).all()) and bool(((scores.sum(0) - 1).abs() < 1e-3).all())
        shares = scores if told else scores.softmax(0)
        both = torch.stack([shares[list(classes[kind])].sum(0) for kind in OBJECTS])
        return boxes_at_thresholds(_resized(both, height, width).numpy())


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps (2, h, w) at the size of the picture."""
    if maps.shape[-2:] == (height, width):
        return maps
    return F.interpolate(maps[None], (height, width), mode="bilinear")[0]


def _box_parts(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Corners (N, 4), labels (N,) and scores (N,) among the outputs, told by their shapes; a first dimension of one
    picture is taken off.
    """
    flat = [a[0] if a.ndim > 1 and len(a) == 1 and a.shape[1:] != (4,) else a for a in arrays.values()]
    corners = [a for a in flat if a.ndim == 2 and a.shape[1] == 4 and a.dtype.kind == "f"]
    labels = [a for a in flat if a.ndim == 1 and a.dtype.kind in "iu"]
    scores = [a for a in flat if a.ndim == 1 and a.dtype.kind == "f"]
    if not corners or not labels or not scores or not len(corners[0]) == len(labels[0]) == len(scores[0]):
        return None
    return corners[0], labels[0], scores[0]


def read_classes(text: str) -> dict[str, tuple[int, ...]]:
    """'person=1,vehicle=3+6+8' -> numbers by object; FusionError for anything else."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        classes = {kind.strip(): tuple(int(n) for n in numbers.split("+")) for kind, numbers in pairs}
        if sorted(classes) != sorted(OBJECTS) or min(n for own in classes.values() for n in own) < 0:
            raise ValueError
    except ValueError:
        raise FusionError(f"--classes {text}: give the graph's numbers of both, as person=1,vehicle=3+6+8") from None
    return classes
