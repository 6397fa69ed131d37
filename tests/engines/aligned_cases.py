"""Sets of images that are aligned, deghosted or brought to one brightness before they are fused, and what comes out:
`python aligned_cases.py FILE [no-torch]` writes it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RIM = 12  # pixels at the border that moved images do not show
MOTIONS = ((0.0, 0.0, 0.0, 1.0), (4.3, -2.2, 0.6, 1.0), (-3.1, 2.4, -0.4, 1.01))
"""Of the frames of the hand-held bracket: pixels to the right and down, degrees, scale."""
Case = tuple[str, list[np.ndarray], dict[str, Any]]


def example(name: str, factor: float = 1.0) -> np.ndarray:
    """An example image (H, W) or (H, W, 3), uint8, its sides times `factor`."""
    with Image.open(EXAMPLES / name) as file:
        size = (round(file.width * factor), round(file.height * factor))
        return np.asarray(file if factor == 1.0 else file.resize(size, Image.Resampling.LANCZOS))


def motion(shape: tuple[int, ...], x: float, y: float, degrees: float, scale: float) -> np.ndarray:
    """The matrix of a shift in pixels, and a turn and a scale about the middle."""
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle + (x, y)
    return matrix


def seen(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What a camera sees that has moved: pixels of the result lie at `matrix` times their place, without the rim."""
    values = [Image.fromarray(plane) for plane in np.atleast_3d(image).astype(np.float32).transpose(2, 0, 1)]
    bicubic, size = Image.Resampling.BICUBIC, (image.shape[1], image.shape[0])
    # Pillow counts from the corner of a pixel, matrices from its centre
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    rows = (half @ matrix @ np.linalg.inv(half))[:2].ravel().tolist()
    moved = [np.asarray(plane.transform(size, Image.Transform.AFFINE, rows, bicubic)) for plane in values]
    whole = np.stack(moved, 2).clip(0, 255).round().astype(np.uint8)
    return cut(whole[..., 0] if image.ndim == 2 else whole)


def cut(image: np.ndarray) -> np.ndarray:
    """Without the rim."""
    return np.ascontiguousarray(image[RIM:-RIM, RIM:-RIM])


def waved(image: np.ndarray, most: float) -> np.ndarray:
    """Rows of (H, W, C) moved to the side by up to `most` pixels, as a slow wave, by linear interpolation."""
    height, width = image.shape[:2]
    places = np.arange(width) + most * np.sin(np.arange(height)[:, None] * (2 * np.pi / height))
    places = places.clip(0, width - 1.001)
    low = places.astype(int)
    share = (places - low)[..., None]
    rows = np.arange(height)[:, None]
    return cut((image[rows, low] * (1 - share) + image[rows, low + 1] * share).round().astype(np.uint8))


def with_disc(image: np.ndarray, x: float, level: float) -> np.ndarray:
    """With a disc on it, its middle at a share of the width."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    out = image.copy()
    out[np.hypot(rows - height / 2, columns - x * width) < height / 9] = np.array([120, 60, 40]) * level
    return out


def cases() -> Iterator[Case]:
    """Name, images and options of each set; alignment and deghosting are as by default where nothing is said."""
    bracket = [example(f"exposure/{k}.jpg", 0.6) for k in (1, 2, 3)]
    shape = bracket[0].shape
    hand = [seen(one, motion(shape, *values)) for one, values in zip(bracket, MOTIONS, strict=True)]
    yield "hand-held bracket", hand, {}
    yield "shift alone", hand[:2], {"align": "shift", "deghost": "off"}
    yield "local", [cut(bracket[1]), waved(bracket[2], 3.0)], {"align": "local", "deghost": "off"}
    yield "16 bits", [hand[1].astype(np.uint16) * 257, hand[2]], {"align": "affine"}
    thermal, visible = example("infrared/thermal.png"), example("infrared/visible.jpg")
    yield "aligned pair", [thermal, visible], {}
    yield "shifted pair", [thermal[6:, :-9], visible[:-6, 9:]], {}
    height, width = thermal.shape
    part = Image.fromarray(thermal[height // 4 : -height // 4, width // 5 : -width // 5])
    yield "thermal within a photograph", [visible, np.asarray(part.resize((192, 108), Image.Resampling.LANCZOS))], {}
    yield "moving thing", [with_disc(one, 0.3 + 0.2 * k, 0.5 + 0.5 * k) for k, one in enumerate(bracket)], {}
    stack = [example(f"focus_stack/{k}.jpg", 0.7) for k in (1, 3, 5)]
    dimmed = [(one * (1 - 0.08 * k)).round().astype(np.uint8) for k, one in enumerate(stack)]
    yield "flickering focus stack", dimmed, {}
    slices = [example("medical/mri.png"), np.roll(example("medical/pet.png"), (5, 3), (0, 1))]
    yield "slices", slices, {"align": "similarity", "deghost": "off"}
    yield "strangers", [example("focus_pair/near.jpg", 0.5), example("infrared/visible.jpg", 0.5)], {}


KEYS = ("aligned", "deghosted", "evened", "warnings")
"""Of a report, what is compared."""


def results(engine: str) -> dict[str, np.ndarray]:
    """Of every case the pixels, the matrices (N, 3, 3) and what the report says, as JSON."""
    from anyfuse import Fuser

    fuser, out = Fuser(engine=engine), {}
    for name, images, options in cases():
        result = fuser.run(images, **options)
        out[name] = result.pixels
        said = {key: result.report.get(key) for key in KEYS}
        out[f"{name}, matrices"] = np.array([step.pop("matrix") for step in said["aligned"] or []])
        out[f"{name}, report"] = np.array(json.dumps(said))
    return out


if __name__ == "__main__":
    if sys.argv[2:] == ["no-torch"]:
        sys.modules["torch"] = None  # type: ignore[assignment]  # any import of it fails
    np.savez(sys.argv[1], **results("onnx"))
