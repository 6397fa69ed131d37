"""Parts on and off at equal budget: python benchmarks/ablation.py tita-small --data DATA --steps 300 --seeds 0,1 --out runs/ablation

Trains every variant of a preset (below) with every seed, each into its own folder of --out, and scores it on the held-out files. An interrupted
run goes on. Prints Markdown: one row a variant and set, means over seeds and half the range between them, and each variant's mean rank over all
sets and metrics (ranks within a seed). The folders work with `anyfuse bench --models`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from anyfuse.data.batches import TrainingData
from anyfuse.metrics import METRICS
from anyfuse.models import load_model
from anyfuse.training.recipes import RECIPES, UNIFIED_LOSSES, override
from anyfuse.training.train import train, validate

UNIFIED = {**UNIFIED_LOSSES, "mif": {"intensity": 20.0, "gradient": 20.0, "ssim": 10.0}}
VARIANTS: dict[str, dict[str, list[str]]] = {
    "anyfuse": {
        "full": [],
        "no residual": ["config.margin=0"],
        "no mixing of inputs": ["config.mixing=false"],
        "weights of pixels": ["config.pyramid=false"],
        "losses of SwinFusion": [],
    },
    "tita-small": {
        "TI TA MO": [],
        "TI TA": ["strategy=plain"],
        "TI MO": ["config.branches="],
        "TA MO": ["config.interaction=false"],
        "none": ["strategy=plain", "config.branches=", "config.interaction=false"],
    },
    "unifusion-small": {
        "full": [],
        "no adapter": ["config.adapter=false"],
        "random ViT": ["config.random_backbone=true"],
        "image alone": ["config.backbone=none"],
        "no reconstruction": ["strategy=plain", *[f"losses.{t}.self_reconstruction=0" for t in ("ivf", "mef", "mff", "mif")]],
        "no bilevel": ["options.joint=1"],
    },
}  # fmt: skip
Scores = dict[str, dict[str, float]]


def run(preset: str, variant: str, seed: int, args: argparse.Namespace, data: TrainingData) -> Scores:
    """Trains one variant and scores it, unless its folder says that this is done."""
    folder = Path(args.out) / f"{variant.replace(' ', '-')}-{seed}"
    done = folder / "scores.json"
    if not done.exists():
        recipe = override(RECIPES[preset], [*VARIANTS[preset][variant], *args.set])
        if variant == "losses of SwinFusion":
            recipe = replace(recipe, losses=UNIFIED)
        train(replace(recipe, steps=args.steps, seed=seed), args.data, folder, validated=1)
        done.write_text(json.dumps(validate(load_model(str(folder)), data, args.images)))
    return json.loads(done.read_text())


def ranks(values: dict[str, Scores]) -> dict[str, float]:
    """Mean rank over sets and metrics, 1 is best."""
    names = list(values)
    first = values[names[0]]
    columns = []
    for group, row in first.items():
        for metric in row:
            column = np.array([values[name][group][metric] for name in names])
            better = column if METRICS[metric].better == "lower" else -column
            columns.append([(better < b).sum() + ((better == b).sum() + 1) / 2 for b in better])
    return dict(zip(names, np.mean(columns, 0), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=VARIANTS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--images", type=int, default=16, help="held-out images of each set that scores come from")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE for every variant")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    data = TrainingData(args.data, RECIPES["anyfuse"].sets)
    found = {v: [run(args.preset, v, seed, args, data) for seed in seeds] for v in VARIANTS[args.preset]}
    placed = [ranks({v: rows[k] for v, rows in found.items()}) for k in range(len(seeds))]
    metrics = list(next(iter(next(iter(found.values()))[0].values())))
    print(f"\n{args.steps} steps, seeds {args.seeds}\n\n| set | variant | " + " | ".join(metrics) + " |")
    print("| --- | --- |" + " --- |" * len(metrics))
    for group in next(iter(found.values()))[0]:
        for variant, rows in found.items():
            cells = []
            for metric in metrics:
                values = [row[group][metric] for row in rows]
                spread = f" ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}")
            print(f"| {group} | {variant} | " + " | ".join(cells) + " |")
    print("\n| variant | mean rank |" + "".join(f" seed {seed} |" for seed in seeds))
    print("| --- | --- |" + " --- |" * len(seeds))
    for variant in found:
        each = [place[variant] for place in placed]
        print(f"| {variant} | {np.mean(each):.2f} |" + "".join(f" {e:.2f} |" for e in each))


if __name__ == "__main__":
    main()
