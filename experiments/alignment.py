"""Alignment, measured: known motions of training pairs, and real pairs with landmarks.

    python experiments/alignment.py --data DATA

DATA holds `train` and `align` (docs/alignment.md). Error: mean distance in pixels of a 9x9 grid to the known motion, or
median distance of the landmarks. Sets whose pairs are not brought together themselves have a floor of some pixels.
Known motions are measured against the answer on the untouched pair, so a pair that is not aligned does no harm.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from anyfuse.align.estimate import estimate
from anyfuse.align.transform import apply, warp
from anyfuse.image.colour import to_luma
from anyfuse.image.random import uniform
from anyfuse.io.folders import pair_by_stem
from anyfuse.io.read import read_image

KNOWN = {
    "exposures": ("train/mef/under", "train/mef/over"),
    "visible + infrared, RoadScene": ("train/ivif/vis", "train/ivif/ir"),
    "visible + infrared, LLVIP": ("train/ivif-llvip/vis", "train/ivif-llvip/ir"),
    "visible + near infrared": ("train/nir-epfl/vis", "train/nir-epfl/ir"),
}
TRUTH = ("vis_ir", "rgb_nir", "mr_pet", "pd_t1", "t1_t2")
HEAD = "| set | pairs | < 1 px | < 2 px | < 5 px | left alone | worse by 0.5 px | median | seconds |"
LINE = "|---|---:|---:|---:|---:|---:|---:|---:|---:|"


def luma(path: Path, side: int = 0) -> Tensor:
    """(H, W) in [0, 1], its longer side made `side` at most."""
    image = to_luma(read_image(path).read())[0]
    factor = min(1.0, side / max(image.shape)) if side else 1.0
    if factor == 1.0:
        return image
    size = [round(v * factor) for v in image.shape]
    return torch.nn.functional.interpolate(image[None, None], size, mode="bilinear", antialias=True)[0, 0]


def motion(height: int, width: int, gen: torch.Generator) -> Tensor:
    """Up to 25 pixels, 3 degrees, 8 % and a little perspective."""
    turn, scale = math.radians(uniform(-3, 3, gen)), uniform(0.92, 1.08, gen)
    matrix = torch.eye(3, dtype=torch.float64)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    matrix[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    matrix[:2, 2] += torch.tensor([uniform(-25, 25, gen), uniform(-25, 25, gen)])
    tilt = torch.eye(3, dtype=torch.float64)
    tilt[2, 0], tilt[2, 1] = uniform(-0.06, 0.06, gen) / width, uniform(-0.06, 0.06, gen) / height
    return matrix @ tilt


def distance(one: Tensor, other: Tensor, height: int, width: int) -> float:
    """Mean over a 9x9 grid."""
    ys, xs = torch.meshgrid(torch.linspace(0, height - 1, 9), torch.linspace(0, width - 1, 9), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten()], 1).double()
    return float((apply(one, points) - apply(other, points)).norm(dim=1).mean())


def row(name: str, found: Iterable[tuple[float, float, bool, float]]) -> str:
    """error, error before, left alone, seconds of each pair -> a line of the table"""
    errors, before, alone, seconds = (torch.tensor(x, dtype=torch.float64) for x in zip(*found, strict=True))
    shares = [f"{100 * float((errors < limit).double().mean()):.0f} %" for limit in (1, 2, 5)]
    worse = int((errors > before + 0.5).sum())
    counts = [*shares, int(alone.sum()), worse, f"{float(errors.median()):.2f}", f"{float(seconds.mean()):.2f}"]
    return f"| {name} | {len(errors)} | {' | '.join(map(str, counts))} |"


def known(first: Path, second: Path, count: int) -> list[tuple[float, float, bool, float]]:
    """Pairs of a set, the second image moved; against the answer on the pair as it is."""
    gen, found = torch.Generator().manual_seed(0), []
    pairs = list(pair_by_stem([str(first), str(second)])[0].values())
    for one, two in pairs[:: max(1, len(pairs) // count)][:count]:
        a, b = luma(Path(one), 640), luma(Path(two), 640)
        if a.shape != b.shape:
            continue
        true = motion(*a.shape, gen)
        moved, valid = warp(b[None], torch.linalg.inv(true), *a.shape, "bicubic")
        own = estimate(a, b)
        start = time.process_time()
        answer = estimate(a, moved[0], valid=(None, valid))
        seconds = time.process_time() - start
        goal = true @ own.matrix
        errors = [distance(m, goal, *a.shape) for m in (answer.matrix, torch.eye(3, dtype=torch.float64))]
        found.append((errors[0], errors[1], answer.kind == "none", seconds))
    return found


def landmarks(folder: Path) -> list[tuple[float, float, bool, float]]:
    """Pairs with landmarks."""
    found = []
    for path in sorted(folder.glob("*.json")):
        files = {part: next(folder.glob(f"{path.stem}_{part}*"), None) for part in ("fix", "mov")}
        if None in files.values():
            continue
        truth = json.loads(path.read_text())
        fixed, moving = (
            torch.tensor(truth["landmarks"][k], dtype=torch.float64) * truth.get("scale", 1.0)
            for k in ("LMfix", "LMmov")
        )
        start = time.process_time()
        answer = estimate(*(luma(p) for p in files.values() if p is not None))
        seconds = time.process_time() - start
        errors = [float((p - moving).norm(dim=1).median()) for p in (apply(answer.matrix, fixed), fixed)]
        found.append((errors[0], errors[1], answer.kind == "none", seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--count", type=int, default=12, help="pairs of each set with a known motion")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{HEAD}\n{LINE}", flush=True)
    for name, (first, second) in KNOWN.items():
        print(row(name, known(args.data / first, args.data / second, args.count)), flush=True)
    for name in TRUTH:
        print(row(f"{name}, landmarks", landmarks(args.data / "align" / name)), flush=True)


if __name__ == "__main__":
    main()
