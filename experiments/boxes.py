"""How much of the contrast of boxed people, vehicles and lamps a result keeps, by the size of the person.

    python experiments/boxes.py anyfuse maximum average runs/one --data $ANYFUSE_DATA/train

The boxes of tests/data/boxes.json were drawn by hand on pairs of the training sets (`held` counts those that training
holds out, every tenth file); no threshold is in them. Contrast: the middle of the box less its ring, fused over
infrared, of those that are warmer than their ring by 10 levels (anyfuse.metrics.saliency.boxed_contrast): 1 is kept,
0 erased. Erased: the share of people who keep less than a quarter. Level: of a lamp, fused over visible.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from anyfuse.errors import FusionError
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image
from anyfuse.metrics.saliency import boxed_contrast, boxed_level
from anyfuse.models.registry import load_model
from anyfuse.tiling import fuse_whole

BOXES = Path(__file__).resolve().parents[1] / "tests" / "data" / "boxes.json"
SIZES = {"< 24 px": (0, 24), "24-48": (24, 48), "48-96": (48, 96), "> 96 px": (96, 10_000)}
EVERY = 10
ERASED = 0.25

Found = dict[tuple[str, str], list[float]]
"""(set, column) -> values."""


def luma(path: Path) -> Tensor:
    """(H, W) levels 0..255."""
    return (to_luma(read_image(path).read())[0] * 255).round()


def stems_of(folder: Path) -> list[str]:
    """Stems that both folders of a set have, in the order that training sorts them."""
    first, second = ({p.stem for p in (folder / name).iterdir()} for name in ("ir", "vis"))
    return sorted(first & second)


def find(folder: Path, stem: str) -> Path:
    return next(p for p in folder.iterdir() if p.stem == stem)


def measure(fused: Tensor, infrared: Tensor, visible: Tensor, boxes: list[list], found: Found, name: str) -> None:
    """Adds the values of one result's boxes, images (H, W) in levels."""
    for kind, *corners in boxes:
        x0, y0, x1, y1 = corners
        box = (x0, y0, x1, y1)
        if kind == "lamp":
            found[name, "lamps"].append(boxed_level(fused, visible, box))
            continue
        value = boxed_contrast(fused, infrared, box)
        if kind == "vehicle":
            found[name, "vehicles"].append(value)
            continue
        size = next(label for label, (low, high) in SIZES.items() if low <= y1 - y0 < high)
        found[name, size].append(value)
        found[name, "people"].append(value)


def mean(values: Sequence[float]) -> str:
    """'mean (count)' without NaN."""
    numbers = [v for v in values if not math.isnan(v)]
    return f"{sum(numbers) / len(numbers):.2f} ({len(numbers)})" if numbers else "-"


def main(arguments: Sequence[str] | None = None) -> dict[str, Found]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--data", type=Path, required=True, help="the folder of training sets")
    parser.add_argument("--held", action="store_true", help="only pairs that training holds out")
    parser.add_argument("--boxes", type=Path, default=BOXES)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    boxes = json.loads(given.boxes.read_text())
    order = {name: stems_of(given.data / name) for name in sorted({key.split("/")[0] for key in boxes})}
    models = {name: load_model(name).eval() for name in given.models}
    found: dict[str, Found] = {name: defaultdict(list) for name in models}
    for key, entry in boxes.items():
        name, stem = key.split("/")
        if given.held and order[name].index(stem) % EVERY != EVERY - 1:
            continue
        infrared, visible = (luma(find(given.data / name / role, stem)) for role in ("ir", "vis"))
        if list(infrared.shape) != entry["size"][::-1]:
            raise FusionError(f"{key} is {infrared.shape[1]}x{infrared.shape[0]}, its boxes are of {entry['size']}")
        for label, model in models.items():
            with torch.inference_mode():
                fused = fuse_whole(model, torch.stack([infrared, visible])[:, None] / 255)
            fused = (fused[0].clamp(0, 1) * 255).round()
            measure(fused, infrared, visible, entry["boxes"], found[label], name)
    columns = ("people", *SIZES, "vehicles", "lamps")
    for name in [n for n in order if any((n, c) in f for f in found.values() for c in columns)]:
        print(f"\n{name}\n\n| model | " + " | ".join(columns) + " | erased |")
        print("|---|" + "---:|" * (len(columns) + 1))
        for label, values in found.items():
            people = [v for v in values[name, "people"] if not math.isnan(v)]
            erased = f"{100 * sum(v < ERASED for v in people) / len(people):.0f} %" if people else "-"
            print(f"| {label} | " + " | ".join(mean(values[name, c]) for c in columns) + f" | {erased} |")
    return found


if __name__ == "__main__":
    main()
