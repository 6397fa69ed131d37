"""What no method should need to beat, and many do not: plain metrics of trivial fusions.

    python experiments/trivial_rows.py [--data $ANYFUSE_DATA] [--count 8] [--folders ivif-roadscene,mef-mefb]

Average, pixel maximum and a copy of either source, on pairs of the test folders (paired by file stem, luma by the
opencv rule), mean over the images, in the Markdown of docs/metrics.md. With DATA/peers/scores.csv there, also how many
of its methods the best trivial row beats.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anyfuse.metrics import METRICS, PLAIN, score_batch, to_grey

FOLDERS = {
    "ivif-roadscene": ("ir", "vis"),
    "mef-mefb": ("under", "over"),
    "mff-mfifb": ("a", "b"),
    "mif-harvard/ct-mri": ("ct", "mri"),
    "mif-harvard/spect-mri": ("spect", "mri"),
}
TRIVIAL = ("average", "maximum", "copy A", "copy B")
SIGN = {"higher": "+", "lower": "-", "none": "0"}
PEER_METRICS = ("MI", "VIF", "Qabf", "SSIM", "CC", "PSNR", "SCD", "EN", "SD", "SF", "AG")
PEER_TRIVIAL = ("Average", "PixelMax", "CopyA", "CopyB")


def luma(path: Path) -> Tensor:
    image = np.array(Image.open(path).convert("RGB"))
    return to_grey(torch.from_numpy(image).permute(2, 0, 1), "opencv")


def pairs(folder: Path, names: tuple[str, str]) -> list[tuple[Path, Path]]:
    first, second = ({p.stem: p for p in sorted((folder / name).iterdir())} for name in names)
    return [(first[stem], second[stem]) for stem in first if stem in second]


def rows(folder: Path, names: tuple[str, str], count: int) -> dict[str, dict[str, float]]:
    """metric -> trivial row -> mean over up to `count` evenly spaced pairs; NaN where any image gives NaN."""
    found = pairs(folder, names)
    chosen = [found[i * len(found) // min(count, len(found))] for i in range(min(count, len(found)))]
    total: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(TRIVIAL, 0.0))
    used = 0
    for one, two in chosen:
        a, b = luma(one), luma(two)
        if a.shape != b.shape:
            continue
        used += 1
        fused = torch.stack([torch.floor((a + b + 1) / 2), torch.maximum(a, b), a, b])
        sources = torch.stack([a, b]).expand(4, 2, *a.shape)
        for metric, values in score_batch(fused, sources).items():
            for row, value in zip(TRIVIAL, values.tolist(), strict=True):
                total[metric][row] += value
    return {metric: {row: v / used for row, v in values.items()} for metric, values in total.items()}


def print_tables(tables: dict[str, dict[str, dict[str, float]]]) -> None:
    """One row per metric, one column per folder, four values a cell, the best in bold."""
    print("| metric | " + " | ".join(tables) + " |")
    print("|---|" + "---|" * len(tables))
    for metric in (name for name in PLAIN if METRICS[name].family != "saliency"):  # those are of one task each
        better = METRICS[metric].better
        cells = []
        for table in tables.values():
            values = list(table[metric].values())
            numbers = [v for v in values if math.isfinite(v)]
            best = max(numbers, default=None) if better == "higher" else min(numbers, default=None)
            marked = [f"**{v:.3g}**" if v == best and better != "none" else f"{v:.3g}" for v in values]
            cells.append(" / ".join(marked))
        print(f"| {metric} ({SIGN[better]}) | " + " | ".join(cells) + " |")


def beaten(path: Path) -> None:
    """For each peer metric: methods whose mean lies below the best trivial row on the same images, of all methods."""
    scores: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    with path.open() as file:
        for row in csv.DictReader(file):
            for metric in PEER_METRICS:
                try:
                    value = float(row[metric])
                except ValueError:
                    continue
                scores[row["folder"], metric][row["method"]][row["name"]] = value
    print("\n**methods that the best trivial row beats, of all methods scored there**\n")
    folders = sorted({folder for folder, _ in scores})
    print("| metric | " + " | ".join(folders) + " |")
    print("|---|" + "---|" * len(folders))
    for metric in PEER_METRICS:
        cells = []
        for folder in folders:
            table = scores[folder, metric]
            trivial = [table[name] for name in PEER_TRIVIAL if name in table]
            lost = methods = 0
            for method, values in table.items():
                if method in PEER_TRIVIAL:
                    continue
                means = []
                for row in trivial:
                    common = [n for n in values if n in row and math.isfinite(row[n]) and math.isfinite(values[n])]
                    if common:
                        means.append(sum(row[n] - values[n] for n in common) / len(common))
                if means:
                    methods += 1
                    lost += max(means) > 0
            cells.append(f"{lost} of {methods}")
        print(f"| {metric} | " + " | ".join(cells) + " |")


def main() -> None:
    default = os.environ.get("ANYFUSE_DATA")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=default, required=not default, help="folder (default: $ANYFUSE_DATA)"
    )
    parser.add_argument("--count", type=int, default=8, help="pairs per folder (default 8)")
    parser.add_argument("--folders", default=",".join(FOLDERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folders = arguments.folders.split(",")
    print("Cells: " + " / ".join(TRIVIAL) + f"; at most {arguments.count} pairs a folder.\n")
    print_tables({f: rows(arguments.data / "test" / f, FOLDERS[f], arguments.count) for f in folders})
    scores = arguments.data / "peers" / "scores.csv"
    if scores.is_file():
        beaten(scores)


if __name__ == "__main__":
    main()
