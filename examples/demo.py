"""Fuses the bundled examples with the default model: python examples/demo.py OUT

Writes one result per example and OUT/overview.jpg, inputs beside results. No task is named; the folders differ in kind, number of
images, colour and depth.
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
ROW = 180


def thumbnail(image: Image.Image) -> np.ndarray:
    size = (round(ROW * image.width / image.height), ROW)
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


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
        inputs = [thumbnail(Image.open(p)) for p in paths]
        rows.append(np.concatenate([*inputs, np.full((ROW, 12, 3), 255, np.uint8), thumbnail(Image.open(target))], axis=1))
    width = max(r.shape[1] for r in rows)
    padded = [np.pad(r, ((0, 8), (width - r.shape[1], 0), (0, 0)), constant_values=255) for r in rows]
    Image.fromarray(np.concatenate(padded)).save(out / "overview.jpg", quality=88)
    print(f"{out / 'overview.jpg'}: inputs on the left, the result of each row on the right")


if __name__ == "__main__":
    main()
