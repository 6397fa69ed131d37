"""One run of `tita` or `unifusion-dinov2` at the size of their papers, or of `anyfuse`, for a number of seconds on one
GPU.

    python experiments/gpu_train.py tita --data wide.pack --out runs/tita --seconds 330

Differences from the papers, all of schedule: a larger rate with a warm-up, a cosine over the seconds, clipping,
bfloat16. `anyfuse` is the recipe itself, with the cosine over the seconds; its steps differ in shape and are no graphs.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from anyfuse.models.registry import MODELS
from anyfuse.training.budget import Budget, train_for
from anyfuse.training.recipes import RECIPES, WIDE, Recipe
from anyfuse.training.strategies.bilevel import BilevelSettings

PLANS: dict[str, Recipe] = {
    "tita": replace(
        RECIPES["tita"],
        lr=4e-4,
        warmup=200,
        schedule="cosine",
        clip=1.0,
        autocast=True,
        sets=tuple(s for s in WIDE if s.task != "mif"),
    ),
    "unifusion-dinov2": replace(
        RECIPES["unifusion-dinov2"],
        lr=5e-4,
        warmup=200,
        schedule="cosine",
        clip=1.0,
        autocast=True,
        sets=WIDE,
        options=BilevelSettings(ratio=2.0, angle_every=0),
    ),
    "anyfuse": RECIPES["anyfuse"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PLANS)
    parser.add_argument("--data", required=True, help="packed file or folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=330, help="of training, all runs of a chain together")
    parser.add_argument("--stop", type=float, default=0, help="seconds after which this run must write what it has")
    parser.add_argument("--steps", type=int, default=0, help="at most")
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--resume", default=None, help="folder of an earlier run")
    parser.add_argument("--lr", type=float, default=0)
    parser.add_argument("--crop", type=int, default=0)
    parser.add_argument("--batch", type=int, default=0, help="pairs of each task")
    parser.add_argument("--plain", action="store_true", help="neither graphs nor compilation")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--random-backbone", action="store_true", help="for tests of speed")
    args = parser.parse_args(arguments)
    recipe = PLANS[args.preset]
    recipe = replace(recipe, lr=args.lr or recipe.lr, crop=args.crop or recipe.crop)
    if args.batch:
        recipe = replace(recipe, tasks=dict.fromkeys(recipe.tasks, args.batch))
    if args.random_backbone and hasattr(MODELS[args.preset].config, "random_backbone"):
        recipe = replace(recipe, config={"random_backbone": True})
    budget = Budget(
        args.seconds,
        args.stop,
        args.workers,
        graph=not args.plain,
        compiled=not (args.plain or args.no_compile),
        steps=args.steps,
    )
    start = time.monotonic()
    say = functools.partial(print, flush=True)
    train_for(
        recipe,
        args.data,
        args.out,
        budget,
        device=args.device,
        resume=args.resume,
        log=lambda s: say(f"[{time.monotonic() - start:6.1f}] {s}"),
    )


if __name__ == "__main__":
    main()
