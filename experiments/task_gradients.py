"""Angles and sizes of the tasks' gradients along a short training: python experiments/task_gradients.py --data DATA
[--steps 200]

Each strategy trains the same network from the same start on the same batches. Every so many steps the gradient of each
task's loss alone is taken (before the step), and a row goes to the CSV: norms, cosines of pairs, the ratio of the
largest to the smallest norm, the share of pairs in conflict (negative cosine), and the cosine of each task's gradient
with the direction that the strategy takes (weights z / D for FAMO, 1 otherwise).
"""

from __future__ import annotations

import argparse
import csv
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor, nn

from anyfuse.data.batches import TrainingData
from anyfuse.models.registry import build_model
from anyfuse.training.objectives import task_losses
from anyfuse.training.recipes import RECIPES, Recipe, override
from anyfuse.training.strategies.famo import Famo
from anyfuse.training.strategies.table import build_strategy
from anyfuse.training.strategies.weighting import Strategy
from anyfuse.training.train import learning_rate

STRATEGIES = ("plain", "famo")


def task_gradients(model: nn.Module, losses: Tensor) -> Tensor:
    """(tasks, parameters)"""
    parameters = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        rows.append(
            torch.cat(
                [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)]
            )
        )
    return torch.stack(rows)


def direction(strategy: Strategy, gradients: Tensor, losses: Tensor) -> Tensor:
    """What the strategy steps along, before its optimiser."""
    if isinstance(strategy, Famo):
        weights = strategy.balance.weights() / strategy.balance.above(losses.detach())
        return (weights / weights.sum()) @ gradients
    return gradients.sum(0)


def measure(recipe: Recipe, strategy: Strategy, model: nn.Module, batches: list) -> dict[str, float]:
    """One row; the random state of the global generator is put back, so that measuring changes nothing."""
    state = torch.get_rng_state()
    losses, _ = task_losses(model, batches, recipe.losses)
    gradients = task_gradients(model, losses)
    torch.set_rng_state(state)
    names = list(recipe.tasks)
    norms = gradients.norm(dim=1)
    unit = gradients / norms[:, None].clamp_min(1e-12)
    step = nn.functional.normalize(direction(strategy, gradients, losses), dim=0)
    cosines = {f"cos {names[i]} {names[j]}": float(unit[i] @ unit[j]) for i, j in combinations(range(len(names)), 2)}
    return {
        **{f"loss {t}": float(v) for t, v in zip(names, losses.detach(), strict=True)},
        **{f"norm {t}": float(v) for t, v in zip(names, norms, strict=True)},
        "norm ratio": float(norms.max() / norms.min().clamp_min(1e-12)),
        **cosines,
        "in conflict": sum(c < 0 for c in cosines.values()) / max(1, len(cosines)),
        **{f"cos {t} step": float(u @ step) for t, u in zip(names, unit, strict=True)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with the training data")
    able = [name for name, recipe in RECIPES.items() if recipe.strategy in STRATEGIES]
    parser.add_argument("--recipe", default="tita-small", choices=able)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="some of plain, famo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in anyfuse train")
    parser.add_argument("-o", "--output", default="task_gradients.csv")
    args = parser.parse_args()
    base = override(RECIPES[args.recipe], [*args.set, f"steps={args.steps}", f"seed={args.seed}"])
    rows: list[dict[str, object]] = []
    data = None
    for name in args.strategies.split(","):
        if name not in STRATEGIES:
            raise SystemExit(f"--strategies {name}: give some of {', '.join(STRATEGIES)}")
        recipe = override(base, [f"strategy={name}"])
        torch.manual_seed(recipe.seed)
        gen = torch.Generator().manual_seed(recipe.seed)
        model = build_model(recipe.model, recipe.config).train()
        data = data or TrainingData(args.data, recipe.sets, ordered=model.ordered)
        strategy = build_strategy(model, recipe)
        for step in range(recipe.steps):
            batches = [data.batch(task, count, 2, recipe.crop, gen) for task, count in recipe.tasks.items()]
            if step % args.every == 0:
                rows.append({"strategy": name, "step": step, **measure(recipe, strategy, model, batches)})
            strategy.step(batches, learning_rate(recipe, step))
        own = [r for r in rows if r["strategy"] == name]
        print(name, f"mean over {len(own)} measurements")
        for key in list(own[0])[2:]:
            values = torch.tensor([float(r[key]) for r in own])  # type: ignore[arg-type]
            print(f"  {key:<16} {values.mean():10.4f} +- {values.std():.4f}")
    with Path(args.output).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
