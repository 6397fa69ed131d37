"""Parts on and off at equal budget: python experiments/ablation.py tita-small --data DATA --steps 300 --seeds 0,1 --out
runs/ablation

Trains every variant of a preset (below) with every seed, each into its own folder of --out, and scores it on the
held-out files. An interrupted run goes on. Prints Markdown: one row a variant and set, means over seeds and half the
range between them, and each variant's mean rank over all sets and metrics (ranks within a seed). The folders work with
`anyfuse bench --models`.

Models that learn from a pool (mmaif-tiny, ditfuse-tiny) share one in --out, all variants and seeds; with it come the
scores of its kinds of items: to the target, on held-out files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from anyfuse.data.batches import TrainingData
from anyfuse.metrics import METRICS
from anyfuse.models.registry import MODELS, load_model
from anyfuse.training.card import validate
from anyfuse.training.pools.base import Pool, PoolSettings
from anyfuse.training.recipes import RECIPES, UNIFIED_LOSSES, override
from anyfuse.training.strategies.table import build_data, options_of
from anyfuse.training.train import train

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
        "all intra": ["config.attention=intra"],
        "mixed attention": ["config.attention=mixed"],
        "phi sigmoid": ["config.phi=sigmoid"],
        "no HPF": ["config.branches=add,mul"],
        "no ADD": ["config.branches=hpf,mul"],
        "no MUL": ["config.branches=hpf,add"],
    },
    "unifusion-small": {
        "full": [],
        "no adapter": ["config.adapter=false"],
        "random ViT": ["config.random_backbone=true"],
        "image alone": ["config.backbone=none"],
        "no reconstruction": [
            "strategy=plain",
            *[f"losses.{t}.self_reconstruction=0" for t in ("ivf", "mef", "mff", "mif")],
        ],
        "no bilevel": ["options.joint=1"],
    },
    "mmaif-tiny": {
        "base": ["config.moe=false", "config.rope=false", "config.value_residual=false", "config.naf=false"],
        "MoE": ["config.rope=false", "config.value_residual=false", "config.naf=false"],
        "MoE RoPE": ["config.value_residual=false", "config.naf=false"],
        "MoE RoPE VR": ["config.naf=false"],
        "full": [],
        "no restoration": ["config.mend=false"],
        "no detail path": ["config.detail=false"],
    },
    "ditfuse-tiny": {
        "mixed": [],
        "M3 only": ["options.pairs=0", "options.control=0", "options.segment=0"],
        "real only": ["options.m3=0", "options.control=0", "options.segment=0"],
        "no tags": ["config.tags=false"],
        "velocity": ["config.mix=false"],
        "no detail path": ["config.detail=false"],
    },
}
POOLED = ("latent", "instruct")
"""Strategies that learn from a pool."""
Scores = dict[str, dict[str, float]]


def run(preset: str, variant: str, seed: int, args: argparse.Namespace, data: TrainingData) -> tuple[Scores, Scores]:
    """Trains one variant and scores it, unless its folder says that just this is done: on sets, and on items of its
    pool.
    """
    folder = Path(args.out) / f"{variant.replace(' ', '-')}-{seed}"
    done = folder / "scores.json"
    recipe = override(RECIPES[preset], [*VARIANTS[preset][variant], *args.set])
    if variant == "losses of SwinFusion":
        recipe = replace(recipe, losses=UNIFIED)
    recipe = replace(recipe, steps=args.steps, seed=seed)
    key = [json.loads(json.dumps(asdict(recipe))), data.manifest, args.images]
    if not done.exists() or json.loads(done.read_text()).get("key") != key:
        if recipe.strategy in POOLED:
            options = options_of(recipe)
            assert isinstance(options, PoolSettings)
            recipe = replace(recipe, options=replace(options, pool_seed=max(0, options.pool_seed)))
        train(recipe, args.data, folder, validated=1)
        model = load_model(str(folder)).eval()
        pool = build_data(model, recipe, args.data, folder, "cpu", print) if recipe.strategy in POOLED else None
        found = {
            "key": key,
            "sets": validate(model, data, args.images),
            "items": pool.scores(model) if isinstance(pool, Pool) else {},
        }
        done.write_text(json.dumps(found))
    read = json.loads(done.read_text())
    return read["sets"], read["items"]


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


def table(found: dict[str, list[Scores]]) -> None:
    """Variant -> scores per seed, as Markdown; groups with their own metrics each are tables of their own."""
    groups = next(iter(found.values()))[0]
    heads: list[str] = []
    for group, row in groups.items():
        if list(row) != heads:
            heads = list(row)
            print("\n| set | variant | " + " | ".join(heads) + " |\n| --- | --- |" + " --- |" * len(heads))
        for variant, rows in found.items():
            cells = []
            for metric in heads:
                values = [row[group][metric] for row in rows]
                spread = f" ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}")
            print(f"| {group} | {variant} | " + " | ".join(cells) + " |")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=VARIANTS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--images", type=int, default=16, help="held-out images of each set that scores come from")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE for every variant")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    plan = RECIPES[args.preset]
    pooled = plan.strategy in POOLED
    sets = override(plan, args.set).sets if pooled else RECIPES["anyfuse"].sets
    data = TrainingData(args.data, sets, ordered=MODELS[args.preset].cls.ordered)
    every: dict[str, list[tuple[Scores, Scores]]] = {v: [] for v in VARIANTS[args.preset]}
    for seed in seeds:  # a run that is cut short has all variants of the first
        for variant, rows in every.items():
            rows.append(run(args.preset, variant, seed, args, data))
    found = {v: [sets for sets, _ in rows] for v, rows in every.items()}
    placed = [ranks({v: rows[k] for v, rows in found.items()}) for k in range(len(seeds))]
    print(f"\n{args.steps} steps, seeds {args.seeds}")
    table(found)
    table({v: [items for _, items in rows] for v, rows in every.items()})
    print("\n| variant | mean rank |" + "".join(f" seed {seed} |" for seed in seeds))
    print("| --- | --- |" + " --- |" * len(seeds))
    for variant in found:
        each = [place[variant] for place in placed]
        print(f"| {variant} | {np.mean(each):.2f} |" + "".join(f" {e:.2f} |" for e in each))


if __name__ == "__main__":
    main()
