"""What steps and branches cost and give: python experiments/ditfuse_steps.py --model runs/ditfuse-tiny --data DATA/test
--pairs 9 --size 256

Of any DiTFuse, for each number of branches and steps, as Markdown:

    s          seconds for one pair of 640x480 with codec and detail path, condition cached; and computed at each step,
               for --uncached
    PSNR       of the result to the one with most steps and branches of the lists, in dB, mean over the pairs
    Qabf, SSIM against the sources, as `anyfuse bench` has them, mean over the pairs

Pairs are spread over the test folders and brought to --size pixels of the longer side for the quality; time is that of
one run after a shorter one, of as many threads as torch has. `--data` may be left out: then only the time is measured.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyfuse.api import Fuser
from anyfuse.benchmark.tone_control import FOLDERS, choose, fuse, load, read
from anyfuse.image.colour import to_luma
from anyfuse.io.frames import from_arrays
from anyfuse.metrics import score_batch

METRICS = ("qabf", "ssim")


def seconds(fuser: Fuser, steps: int, branches: int, cache: bool, size: tuple[int, int]) -> float:
    """Of one pair (height, width) of noise, after a run of a single step."""
    model: Any = fuser.model
    pair = [np.random.default_rng(k).integers(0, 256, (*size, 1), dtype=np.uint8) for k in (0, 1)]
    model.branches, model.cache = branches, cache
    try:
        for model.steps in (1, steps):
            begin = time.perf_counter()
            fuser.run(pair)
            if fuser.device.type == "cuda":
                torch.cuda.synchronize()
            passed = time.perf_counter() - begin
    finally:
        model.cache = True
    return passed


def lumas(images: Sequence[np.ndarray]) -> Tensor:
    """(N, H, W) in 0..255"""
    return torch.stack([to_luma(frame.read())[0] for frame in from_arrays(list(images))]).mul(255).round()


def quality(fuser: Fuser, pairs: list[tuple[str, list[np.ndarray]]], steps: int, branches: int) -> list[Tensor]:
    """Results (1, H, W) of all pairs, in 0..255."""
    model: Any = fuser.model
    model.steps, model.branches = steps, branches
    return [fuse(fuser, images, FOLDERS[folder][0], "") * 255 for folder, images in pairs]


def psnr(a: Tensor, b: Tensor) -> float:
    """Of two images in 0..255, in dB; 99 where they are the same."""
    wrong = float((a - b).square().mean()) / 255**2
    return 99.0 if wrong == 0 else min(99.0, -10 * math.log10(wrong))


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="preset or folder of a trained DiTFuse")
    parser.add_argument("--data", type=Path, help="folder with ivif-roadscene, mef-mefb, mff-mfifb")
    parser.add_argument("--pairs", type=int, default=9, help="of all folders together")
    parser.add_argument("--size", type=int, default=256, help="pixels of the longer side, for the quality")
    parser.add_argument("--steps", default="4,8,20,50")
    parser.add_argument("--branches", default="1,3")
    parser.add_argument("--uncached", default="4,8", help="steps that are also timed without the cache")
    parser.add_argument("--timed", default="640x480", help="WIDTHxHEIGHT of the timed pair; '' for no timing")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(argv)
    fuser = load(args.model, args.device)
    steps, branches, uncached = numbers(args.steps), numbers(args.branches), numbers(args.uncached)
    pairs = (
        [(f, [read(p, args.size) for p in paths]) for f, _, paths in choose(args.data, args.pairs)] if args.data else []
    )
    best = quality(fuser, pairs, max(steps), max(branches))
    rows: list[dict[str, Any]] = []
    print(
        f"{args.model}, {fuser.device}, {torch.get_num_threads()} thread(s); {len(pairs)} pairs of up to {args.size} "
        "pixels\n"
    )
    print(f"| branches | steps | s | s without cache | PSNR to {max(steps)} steps | " + " | ".join(METRICS) + " |")
    print("| --- |" + " --- |" * (4 + len(METRICS)))
    for few in branches:
        for count in steps:
            row: dict[str, Any] = {"branches": few, "steps": count}
            if args.timed:
                width, height = (int(side) for side in args.timed.split("x"))
                row["s"] = seconds(fuser, count, few, True, (height, width))
                if count in uncached:
                    row["s without cache"] = seconds(fuser, count, few, False, (height, width))
            if pairs:
                fused = quality(fuser, pairs, count, few)
                row["psnr"] = float(np.mean([psnr(a, b) for a, b in zip(fused, best, strict=True)]))
                scores = [
                    score_batch(a, lumas(images)[None], METRICS) for a, (_, images) in zip(fused, pairs, strict=True)
                ]
                row |= {name: float(np.mean([float(s[name]) for s in scores])) for name in METRICS}
            rows.append(row)
            cells = [
                f"{row[k]:.{d}f}" if k in row else ""
                for k, d in (("s", 2), ("s without cache", 2), ("psnr", 1), *((m, 3) for m in METRICS))
            ]
            print(f"| {few} | {count} | " + " | ".join(cells) + " |", flush=True)
    return rows


if __name__ == "__main__":
    main()
