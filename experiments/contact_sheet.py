"""Contact sheets to look at: inputs beside the results of one or more models, and crops at 200 %.

    python experiments/contact_sheet.py OUT FOLDER_A FOLDER_B ... --models anyfuse,laplacian --count 6

One PNG for all pairs at reduced size (OUT/sheet.png) and one with a crop of each pair at 200 % (OUT/crops.png). The
crop is where the sources differ most. --blind shuffles the models in each row by this seed; OUT/key.json says which is
which. A judge writes one line a row, the columns from best to worst as letters (a is the first model's column), and

    python experiments/contact_sheet.py OUT --judged judged.txt

prints how often each model was first, and its mean place.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anyfuse.api import Fuser
from anyfuse.io.folders import pair_by_stem


def rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3) of any depth -> (H, W, 3) uint8."""
    scale = {"uint8": 1.0, "uint16": 1 / 257, "float32": 255.0}[pixels.dtype.name]
    return np.repeat((pixels * scale).round().astype(np.uint8), 3 // pixels.shape[2], axis=2)


def busiest(images: list[np.ndarray], side: int) -> tuple[slice, slice]:
    """Window where the sources differ most."""
    stack = np.stack([i.mean(2) for i in images])
    spread = torch.from_numpy(stack.max(0) - stack.min(0))[None, None].float()
    side = min(side, *spread.shape[-2:])
    sums = torch.nn.functional.avg_pool2d(spread, side, 8)[0, 0]
    row, col = divmod(int(sums.argmax()), sums.shape[1])
    return slice(row * 8, row * 8 + side), slice(col * 8, col * 8 + side)


def places(key: list[list[str]], judged: list[str]) -> str:
    """A table of how often each model was first, and its mean place, from letters in order of preference a row."""
    found: dict[str, list[int]] = {}
    for names, letters in zip(key, judged, strict=True):
        for place, letter in enumerate(letters, start=1):
            found.setdefault(names[ord(letter) - ord("a")], []).append(place)
    rows = sorted(found.items(), key=lambda item: sum(item[1]) / len(item[1]))
    lines = [f"| {name} | {p.count(1)} of {len(p)} | {sum(p) / len(p):.2f} |" for name, p in rows]
    return "\n".join(["| model | first | mean place |", "|---|---:|---:|", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--models", default="anyfuse")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--crop", type=int, default=160)
    parser.add_argument("--blind", type=int, default=None)
    parser.add_argument("--judged", type=Path)
    args = parser.parse_args()
    if args.judged:
        print(places(json.loads((args.out / "key.json").read_text()), args.judged.read_text().split()))
        return
    shuffle = random.Random(args.blind)
    key: list[list[str]] = []
    fusers = [Fuser(name) for name in args.models.split(",")]
    groups = list(pair_by_stem(args.folders)[0].values())
    groups = groups[args.skip :: max(1, len(groups) // args.count)][: args.count]
    rows, crops = [], []
    for paths in groups:
        order = list(fusers)
        if args.blind is not None:
            shuffle.shuffle(order)
        key.append([f.name for f in order])
        results = [f.run(paths) for f in order]
        sources = [rgb(f.pixels) for f in results[0].stack.frames]
        images = sources + [rgb(r.pixels) for r in results]
        size = (args.width, round(args.width * images[0].shape[0] / images[0].shape[1]))
        rows.append(
            np.concatenate([np.asarray(Image.fromarray(i).resize(size, Image.Resampling.LANCZOS)) for i in images], 1)
        )
        window = busiest(sources, args.crop)
        cut = [Image.fromarray(i[window]) for i in images]
        crops.append(
            np.concatenate([np.asarray(c.resize((2 * args.crop,) * 2, Image.Resampling.NEAREST)) for c in cut], 1)
        )
    args.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(args.out / "sheet.png")
    Image.fromarray(np.concatenate(crops)).save(args.out / "crops.png")
    (args.out / "key.json").write_text(json.dumps(key))
    print(f"{args.out}/sheet.png and crops.png: {len(rows)} sets, columns: inputs, {args.models}")


if __name__ == "__main__":
    main()
