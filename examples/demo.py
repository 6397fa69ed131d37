"""Fuses the bundled examples with the default model: python examples/demo.py OUT

Writes one result per example and OUT/overview.jpg, inputs beside results. No task is named; the folders differ in kind,
number of images, colour and depth.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from anyfuse import Fuser

HERE = Path(__file__).parent
SETS = ("infrared", "exposure", "focus_pair", "focus_stack", "medical")
WIDTH, GAP = 1200, 8


def strip(images: list[Image.Image]) -> np.ndarray:
    """Images of one size side by side, the last one apart, WIDTH pixels wide in all."""
    each = (WIDTH - 2 * GAP) // len(images)
    size = (each, round(each * images[0].height / images[0].width))
    small = [np.asarray(i.convert("RGB").resize(size, Image.Resampling.LANCZOS)) for i in images]
    gap = np.full((size[1], WIDTH - each * len(images), 3), 255, np.uint8)
    return np.concatenate([*small[:-1], gap, small[-1]], axis=1)


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    start = time.perf_counter()
    fuser = Fuser()
    print(f"anyfuse loaded in {time.perf_counter() - start:.1f} s")
    rows = []
    for name in SETS:
        paths = sorted(p for p in (HERE / name).iterdir() if p.suffix in (".png", ".jpg"))
        paths.sort(key=lambda p: p.stem != "visible")  # its colours' profile and EXIF go with the result
        start = time.perf_counter()
        result = fuser.run(paths)
        seconds = time.perf_counter() - start
        target = out / f"{name}.png"
        result.save(target, overwrite=True)
        print(f"{target}: {len(paths)} images of {result.stack.width}x{result.stack.height} in {seconds:.2f} s")
        rows += [strip([Image.open(p) for p in [*paths, target]]), np.full((GAP, WIDTH, 3), 255, np.uint8)]
    Image.fromarray(np.concatenate(rows)).save(out / "overview.jpg", quality=88)
    print(f"{out / 'overview.jpg'}: inputs on the left, the result of each row on the right")


if __name__ == "__main__":
    main()
