"""Scores against misalignment: python experiments/misalignment.py --data FOLDER_A FOLDER_B --models anyfuse,laplacian

The second image of each pair is moved by whole pixels, or turned about its centre, against the first; models fuse what
they then see. Scores are of the fused image against the first image and the second one AS IT WAS GIVEN (moved): what a
method keeps of its inputs. With --against truth they are against both images in their right places: what a user wanted.
With --align auto the images are first laid over the first one, as anyfuse does it by default.
All images are cut to the part that every shift covers, so that rows can be compared. Folders pair by file stem.

Shifts lie on both diagonals in turn. A turn resamples the image bicubically, which softens it a little; the row '0' is
not resampled. Output: Markdown, and a CSV with --out.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyfuse import Fuser
from anyfuse.align.stage import Align
from anyfuse.image.stack import order_of_roles
from anyfuse.io.folders import pair_by_stem
from anyfuse.io.read import read_image
from anyfuse.metrics import score_batch, to_grey


def luma(path: Path) -> Tensor:
    """(H, W) grey levels 0..255, rounded as OpenCV does."""
    return to_grey((read_image(path).read() * 255).round(), "opencv").float()


def moved(image: Tensor, pixels: int, index: int) -> Tensor:
    """(H, W) moved along a diagonal, down and to the right or to the left; what comes in from outside is reflected."""
    if not pixels:
        return image
    side = pixels if index % 2 else -pixels
    padded = F.pad(image[None, None], (pixels,) * 4, mode="reflect")[0, 0]
    h, w = image.shape
    return padded[:h, pixels - side : pixels - side + w]


def turned(image: Tensor, degrees: float) -> Tensor:
    """(H, W) turned about its centre, bicubic, border reflected."""
    if not degrees:
        return image
    h, w = image.shape
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = torch.meshgrid(torch.arange(h) - (h - 1) / 2, torch.arange(w) - (w - 1) / 2, indexing="ij")
    grid = torch.stack([(c * x - s * y) * 2 / w, (s * x + c * y) * 2 / h], -1)[None]
    out = F.grid_sample(image[None, None], grid, "bicubic", "reflection", align_corners=False)[0, 0]
    return out.round().clamp(0, 255)


def fuse(fuser: Fuser, given: list[np.ndarray], reference: int, align: str) -> np.ndarray:
    """(H, W), the first image in its place, aligned or not; its frame is kept."""
    settings = Align(align, keep_frame=True)
    return np.asarray(fuser(given, keep_order=True, align=settings, reference=reference, deghost="off"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs=2, type=Path, required=True, help="two folders that pair by stem")
    parser.add_argument("--models", default="anyfuse,average,maximum,laplacian,guided")
    parser.add_argument("--shifts", default="0,1,2,4,8", help="pixels along each axis")
    parser.add_argument("--turns", default="0.25,0.5,1,2", help="degrees")
    parser.add_argument("--metrics", default="mi,vif,qabf,ssim,cc")
    parser.add_argument("--against", choices=("given", "truth"), default="given")
    parser.add_argument("--align", default="none", help="how the fusion aligns what it is given: none, auto, ...")
    parser.add_argument("--count", type=int, default=8, help="pairs, evenly spaced")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="CSV")
    args = parser.parse_args()

    names, metrics = args.models.split(","), args.metrics.split(",")
    changes = [("shift", float(v)) for v in args.shifts.split(",")] + [
        ("turn", float(v)) for v in args.turns.split(",") if v
    ]
    pairs = list(pair_by_stem(args.data)[0].values())
    count = min(args.count, len(pairs))
    pairs = [pairs[i * len(pairs) // count] for i in range(count)]
    fusers = {name: Fuser(name, device=args.device) for name in names}
    edge = int(max(abs(v) for kind, v in changes if kind == "shift"))
    table: dict[tuple[str, float, str], list[list[float]]] = {}
    for index, (one, two) in enumerate(pairs):
        a, b, order = luma(one), luma(two), order_of_roles([read_image(path) for path in (one, two)])
        if a.shape != b.shape or min(a.shape) <= 4 * edge:
            print(f"left out: {one.name} ({tuple(a.shape)} and {tuple(b.shape)})")
            continue
        cut = (slice(edge, a.shape[0] - edge), slice(edge, a.shape[1] - edge))
        for kind, value in changes:
            shifted = moved(b, int(value), index) if kind == "shift" else turned(b, value if index % 2 else -value)
            given = [(a, shifted)[k].to(torch.uint8).numpy() for k in order]
            reference = torch.stack([a, shifted if args.against == "given" else b])[(..., *cut)]
            for name in names:
                fused = torch.from_numpy(np.asarray(fuse(fusers[name], given, order.index(0), args.align))).float()
                found = score_batch(fused[cut][None], reference[None], metrics)
                table.setdefault((kind, value, name), []).append([float(found[m][0]) for m in metrics])
    rows = [[k, f"{v:g}", name, *np.nanmean(scores, 0)] for (k, v, name), scores in table.items()]
    print(
        f"{len(pairs)} pairs of {args.data[0]} and {args.data[1]}, scores against the second image as it "
        + ("was given" if args.against == "given" else "should lie")
        + f", --align {args.align}"
    )
    print(f"\n| | by | model | {' | '.join(metrics)} |\n|{' --- |' * (3 + len(metrics))}")
    for kind, value, name, *scores in rows:
        print(f"| {kind} | {value} | {name} | {' | '.join(f'{s:.3f}' for s in scores)} |")
    if args.out:
        with args.out.open("w", newline="") as file:
            csv.writer(file).writerows([["kind", "by", "model", *metrics], *rows])


if __name__ == "__main__":
    main()
