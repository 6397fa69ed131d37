"""Contact sheet of all degradations at three strengths, and of M3 pairs, from the bundled examples:
docs/degradations.jpg.

    python experiments/degradations.py [OUT.jpg]

Weather and exposure show the whole picture, made smaller; all others show a window pixel for pixel. Weather falls on
the street at night, exposed 3.3 stops longer than in the example.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anyfuse.degradation.masked_pairs import M3, m3_pair
from anyfuse.degradation.operation import to_encoded, to_linear
from anyfuse.degradation.plan import OPERATIONS, Step, apply, generator
from anyfuse.io.atomic import write_whole
from anyfuse.io.read import read_image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CELL = 148, 220  # rows, columns
LABEL = 16
LIMIT = 400_000


def whole(image: Tensor) -> Tensor:
    return F.interpolate(image[None], CELL, mode="bilinear", antialias=True)[0]


def window(image: Tensor, top: int, left: int) -> Tensor:
    return image[:, top : top + CELL[0], left : left + CELL[1]]


def labelled(image: Tensor, text: str) -> np.ndarray:
    """(rows + LABEL, columns, 3) uint8."""
    pixels = (image.clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    cell = Image.new("RGB", (CELL[1] + 4, CELL[0] + LABEL + 4), "white")
    cell.paste(Image.fromarray(pixels), (2, LABEL))
    ImageDraw.Draw(cell).text((3, 1), text, "black", ImageFont.load_default(12))
    return np.asarray(cell)


def main() -> None:
    out = sys.argv[1] if len(sys.argv) > 1 else "docs/degradations.jpg"
    room = read_image(EXAMPLES / "exposure" / "3.jpg").read()
    thermal = read_image(EXAMPLES / "infrared" / "thermal.png").read()
    street = to_encoded(to_linear(read_image(EXAMPLES / "infrared" / "visible.jpg").read()) * 10)
    rows = []
    for name, chosen in OPERATIONS.items():
        image = street if chosen.scene else thermal if chosen.suits == "infrared" else room
        small = chosen.scene or "exposure" in name or name in ("low_contrast", "fixed_pattern")
        cells = []
        for strength in (0.25, 0.5, 1.0):
            degraded, _ = apply(image, [Step(name, strength)], seed=1)
            shown = whole(degraded) if small else window(degraded, 215, 290)
            cells.append(labelled(shown, f"{name} {strength:g}"))
        rows.append(np.concatenate(cells, 1))
    pairs = []
    for index, config in enumerate((M3(tiles=(32,)), M3(tiles=(64,), complements=True))):
        views, _, done = m3_pair(room, generator(index + 1, "m3"), config)
        tones = f", {done['complement']['tones']}" if "complement" in done else ""
        pairs += [labelled(whole(v), f"M3 {done['tile']} px{tones}, view {'ab'[k]}") for k, v in enumerate(views)]
    clean = [labelled(whole(room), "clean"), labelled(whole(street), "clean")]
    rows += [np.concatenate([clean[0], *pairs[:2]], 1), np.concatenate([clean[1], *pairs[2:]], 1)]
    half = len(rows) // 2
    sheet = Image.fromarray(np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], 1))
    for quality in range(85, 30, -5):
        file = io.BytesIO()
        sheet.save(file, "JPEG", quality=quality, optimize=True)
        if len(file.getvalue()) < LIMIT:
            break
    write_whole(out, [file.getvalue()], overwrite=True)
    print(f"{out}: {sheet.width}x{sheet.height}, quality {quality}, {len(file.getvalue())} bytes")


if __name__ == "__main__":
    main()
