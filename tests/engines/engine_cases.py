"""Sets of images that every engine fuses, and their results: `python engine_cases.py FILE [no-torch]` writes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

Case = tuple[str, list[Any], dict[str, Any]]


def scene(height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A made scene (H, W, C) in [0, 1]: waves, an edge, grain."""
    rows, columns = np.mgrid[:height, :width] / 9.0
    draw = np.random.default_rng(seed)
    grey = 0.5 + 0.25 * np.sin(rows + seed + np.cos(columns)) + 0.15 * np.cos(columns * 1.3)
    grey += 0.03 * draw.standard_normal((height, width)) + 0.2 * (columns > columns.mean())
    grey = grey.clip(0, 1)
    planes = [grey, grey**1.4, grey[::-1]][:channels]
    return np.stack(planes, -1).clip(0, 1)


def image(height: int, width: int, channels: int, kind: str, seed: int, gain: float = 1.0) -> np.ndarray:
    """The scene as an image of a depth."""
    values = (scene(height, width, channels, seed) * gain).clip(0, 1)
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[kind]
    return values.astype(np.float32) if kind == "float32" else (values * full).round().astype(kind)


def cases() -> Iterator[Case]:
    """Name, images and options of each set."""
    for n in range(2, 6):
        yield f"grey {n}", [image(61, 90, 1, "uint8", k) for k in range(n)], {}
        yield f"colour {n}", [image(70, 83, 3, "uint8", 0, 0.4 + 0.3 * k) for k in range(n)], {}
    for kind in ("uint16", "float32"):
        yield f"depth {kind}", [image(64, 96, 3, kind, k) for k in range(2)], {}
    yield "depths", [image(64, 96, 1, "uint8", 0), image(64, 96, 1, "uint16", 1)], {}
    yield "merge", [image(75, 62, 1, "uint8", 1), image(75, 62, 3, "uint8", 2)], {}
    yield "merge two", [image(75, 62, 3, "uint8", k) for k in (1, 2)] + [image(75, 62, 1, "uint8", 3)], {"reference": 2}
    for height, width in ((1, 1), (2, 3), (1, 50), (33, 31), (128, 160)):
        yield f"size {width}x{height}", [image(height, width, 3, "uint8", k) for k in range(2)], {}
    yield "resized", [image(64, 96, 3, "uint8", 0), image(45, 70, 1, "uint16", 1)], {"resize": True}
    masks = [np.zeros((80, 90), np.uint8), None]
    masks[0][20:60, 10:70] = 255
    yield "masks", [image(80, 90, 1, "uint8", 0), image(80, 90, 3, "uint8", 1)], {"masks": masks}
    clear = image(80, 90, 3, "uint8", 4)
    alpha = np.full((80, 90, 1), 255, np.uint8)
    alpha[:30, 40:] = 0
    yield "alpha", [np.concatenate([clear, alpha], 2), image(80, 90, 3, "uint8", 5)], {"reference": 0}
    field = np.zeros((200, 240), np.uint8)
    field[60:150, 50:180] = 255
    yield "field", [image(200, 240, 1, "uint8", 6), image(200, 240, 3, "uint8", 7)], {"masks": [field, None]}
    hot = image(64, 64, 1, "uint8", 8) // 2
    hot[20, 30] = 255
    yield "specks", [hot, image(64, 64, 1, "uint8", 9) // 2], {}
    yield "white", [image(64, 64, 1, "uint16", 1) // 16, image(64, 64, 1, "uint16", 2) // 16], {"white": 4095}


def results(engine: str) -> dict[str, np.ndarray]:
    """Pixels and weights of every case."""
    from anyfuse import Fuser

    fuser, out = Fuser(engine=engine), {}
    for name, images, options in cases():
        result = fuser.run(images, align="none", deghost="off", with_weights=True, **options)
        out[name] = result.pixels
        out[f"{name}, weights"] = result.weights
    return out | tiled(fuser)


def tiled(fuser: Any) -> dict[str, np.ndarray]:
    """A set as a whole and in tiles."""
    from anyfuse import tiling

    images, out = [image(300, 420, 3, "uint8", k) for k in (0, 1)], {}
    before = tiling.WHOLE_BYTES, tiling.PREFERRED_TILE
    for name, whole, side in (("whole", *before), ("tiled", 0, 128)):
        tiling.WHOLE_BYTES, tiling.PREFERRED_TILE = whole, side
        result = fuser.run(images, align="none", deghost="off")
        out[name], out[f"{name}, tiles"] = result.pixels, np.array(result.report["tiles"])
    tiling.WHOLE_BYTES, tiling.PREFERRED_TILE = before
    return out


def levels(one: np.ndarray, two: np.ndarray) -> float:
    """The largest difference, in levels of 8 bits."""
    full = {"uint8": 255, "uint16": 65535, "float32": 1}.get(one.dtype.name, 255)
    return float(np.abs(one.astype(np.float64) - two).max()) / full * 255


if __name__ == "__main__":
    if sys.argv[2:] == ["no-torch"]:
        sys.modules["torch"] = None  # type: ignore[assignment]  # any import of it fails
    np.savez(sys.argv[1], **results("onnx"))
