"""Whether "show the people" finds the people: masks of words against boxes drawn by hand on real pairs.

    python experiments/named_boxes.py ditfuse-tiny-fast runs/masks --data DATA [--pictures OUT]

Boxes: anyfuse/assets/street_boxes.json, roads of RoadScene's test pairs and of training pairs, and night streets of
LLVIP (docs/downstream.md); none of them was trained on with classes. Found: boxes of which a fifth or more is
painted. Covered: painted share of all boxes. Silhouette: painted share of what the infrared image shows in them
(training/parts/boxed.py), since a person fills about half of a box. Outside: share of the painted pixels that lie
outside of all boxes of the kind; those in boxes to be ignored count nowhere. Each input alone is asked as well as the
pair.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anyfuse import Fuser
from anyfuse.data.boxes import IGNORE, Scene, read_scenes
from anyfuse.image.colour import to_luma
from anyfuse.io.folders import pair_by_stem
from anyfuse.io.read import read_image
from anyfuse.training.parts.boxed import PEDESTRIAN, RIDER, VEHICLE, marks_of

BOXES = Path(__file__).resolve().parents[1] / "anyfuse" / "assets" / "street_boxes.json"
WORDS = {"person": "show the people in red and the cyclists in red", "vehicle": "show the cars in blue"}
FOLDERS = {"ivif-roadscene": "test/ivif-roadscene", "ivif": "train/ivif", "ivif-llvip": "train/ivif-llvip"}
MARKS = {"person": (PEDESTRIAN, RIDER), "vehicle": (VEHICLE,)}
FOUND = 0.2


def painted(fuser: Fuser, images: list[Path], words: str) -> tuple[np.ndarray, np.ndarray]:
    """Mask (H, W) bool of all that the words name, and the picture (H, W, 3)."""
    result = fuser.run(images, say=words, align="none", deghost="off")
    masks = list(result.masks.values()) or [np.zeros(result.pixels.shape[:2], np.uint8)]
    return np.any([m > 127 for m in masks], 0), result.pixels


def counts(mask: np.ndarray, scene: Scene, kind: str, marks: np.ndarray) -> np.ndarray:
    """Boxes found and all, their painted and all pixels, painted pixels outside and all that count, and painted and all
    pixels of the marks (H, W) of this kind.
    """
    inside, ignored = np.zeros((2, *mask.shape), bool)
    found = boxes = covered = size = 0
    for box in scene.boxes:
        part = slice(int(box.y0), int(box.y1)), slice(int(box.x0), int(box.x1))
        if box.kind == IGNORE:
            ignored[part] = True
        elif box.kind == kind:
            inside[part] = True
            share = mask[part].mean()
            found, boxes = found + int(share >= FOUND), boxes + 1
            covered, size = covered + int(mask[part].sum()), size + mask[part].size
    counted = mask & (inside | ~ignored)
    thing = np.isin(marks, MARKS[kind])
    shown = [(mask & thing).sum(), thing.sum()]
    return np.array([found, boxes, covered, size, (counted & ~inside).sum(), counted.sum(), *shown], dtype=np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for the painted pairs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    scenes = read_scenes(BOXES)
    files: dict[str, tuple[Path, ...]] = {}
    for name, folder in FOLDERS.items():
        parts = [args.data / folder / part for part in ("ir", "vis")]
        files |= {f"{name}/{stem}": group for stem, group in pair_by_stem(parts)[0].items()}
    print("| model | set | kind | inputs | boxes | found | covered | silhouette | outside |")
    print("|---|---|---|---|---:|---:|---:|---:|---:|")
    for name in args.models:
        fuser = Fuser(name, device="cpu")
        total: dict[tuple[str, str, str], np.ndarray] = {}
        for scene in (s for s in scenes if s.name in files):
            infrared, visible = files[scene.name]
            marks = marks_of(to_luma(read_image(infrared).read())[0], scene)
            for kind, words in WORDS.items():
                for inputs, images in (("pair", [infrared, visible]), ("visible", [visible]), ("infrared", [infrared])):
                    mask, pixels = painted(fuser, images, words)
                    key = (scene.name.split("/")[0], kind, inputs)
                    total[key] = total.get(key, np.zeros(8)) + counts(mask, scene, kind, marks)
                    if args.pictures and inputs == "pair":
                        target = args.pictures / Path(name).name / f"{scene.name.replace('/', '-')}-{kind}.png"
                        target.parent.mkdir(parents=True, exist_ok=True)
                        Image.fromarray(pixels).save(target)
        for (place, kind, inputs), (found, boxes, covered, size, outside, all_painted, part, thing) in total.items():
            cells = (found / max(boxes, 1), covered / max(size, 1), part / max(thing, 1), outside / max(all_painted, 1))
            print(
                f"| {Path(name).name} | {place} | {kind} | {inputs} | {boxes:.0f} | "
                + " | ".join(f"{100 * v:.0f} %" for v in cells)
                + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
