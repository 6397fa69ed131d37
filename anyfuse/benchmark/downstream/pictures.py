"""Pictures of what a detector found, every method beside the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ...data.boxes import IGNORE, Box, Scene
from ..tone_control import read

COLOURS = {"person": (255, 70, 70), "vehicle": (70, 255, 70), IGNORE: (110, 110, 255)}
COLUMNS = 3
HEAD = 14
"""Pixels above each picture, for its name."""


def draw_found(path: Path, shown: Mapping[str, Path], found: Mapping[str, Sequence[Box]], scene: Scene) -> None:
    """Writes a PNG: the boxes that people drew on the infrared image, then the boxes found in each picture.

    Args:
        path: file.
        shown: method -> picture.
        found: method -> boxes.
        scene: what is there.
    """
    parts = [("drawn by hand", shown["infrared"], scene.boxes), *((m, shown[m], found[m]) for m in shown)]
    rows = -(-len(parts) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (scene.width + 4), rows * (scene.height + HEAD + 4)), (30, 30, 30))
    for index, (name, picture, boxes) in enumerate(parts):
        pixels = read(picture)
        image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).convert("RGB")
        pen = ImageDraw.Draw(image)
        for box in boxes:
            pen.rectangle((box.x0, box.y0, box.x1 - 1, box.y1 - 1), outline=COLOURS[box.kind])
        place = index % COLUMNS * (scene.width + 4), index // COLUMNS * (scene.height + HEAD + 4)
        ImageDraw.Draw(sheet).text((place[0] + 2, place[1] + 1), name, fill=(255, 255, 255))
        sheet.paste(image, (place[0], place[1] + HEAD))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
