"""The training loop: one page, every choice in the recipe, resumable to the bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.batches import Batch
from ..errors import FusionError
from ..image.random import integer
from ..models.latent.lora import merge_lora
from ..models.registry import build_model
from ..weights import WEIGHTS_NAME
from .card import export
from .loop import Ema, Loop
from .recipe import Recipe
from .strategies.table import build_data, build_strategy, options_of, settings_of


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine from lr to lr/50 at the last step, or lr to the end."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    if recipe.schedule == "constant":
        return recipe.lr
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train(
    recipe: Recipe,
    data_root: str | Path,
    out: str | Path,
    *,
    device: str = "cpu",
    resume: bool = True,
    save_every: int = 200,
    validated: int = 16,
    log: Callable[[str], None] = print,
) -> Path:
    """Trains `recipe` and writes model.safetensors (EMA), config.json, README.md (model card), log.jsonl and last.pt to
    `out`.

    `resume`: resumes from a last.pt of the same recipe; a last.pt of another recipe is a FusionError.
    `validated`: held-out images of each set that the card's scores come from.
    """
    if recipe.steps < 1 or not recipe.tasks or min(recipe.tasks.values()) < 1:
        raise FusionError(
            f"steps {recipe.steps}, tasks {recipe.tasks}: give 1 step or more, and 1 pair or more of some task"
        )
    recipe = replace(recipe, options=options_of(recipe))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)  # late in a run, values that vanish would make each step several times slower
    torch.manual_seed(recipe.seed)
    gen = torch.Generator().manual_seed(recipe.seed)
    model = build_model(recipe.model, recipe.config, training=True).to(device).train()
    if recipe.crop < 1 or recipe.crop % model.stride:
        raise FusionError(f"crop {recipe.crop}: give a multiple of {model.stride}")
    if recipe.start:
        model.load_weights(Path(recipe.start) / WEIGHTS_NAME)
    if recipe.stacks and model.arity[1] is not None:
        raise FusionError(f"model '{recipe.model}' takes {model.arity[1]} images, and stacks have more: set stacks=0")
    data = build_data(model, recipe, data_root, out, device, log)
    strategy, ema = build_strategy(model, recipe), Ema(model, recipe.ema)
    fingerprint = json.dumps(asdict(recipe), sort_keys=True)
    loop = Loop(
        out,
        {"recipe": fingerprint, "manifest": data.manifest},
        {"model": model, "strategy": strategy},
        ema,
        gen,
        steps=recipe.steps,
        device=device,
        resume=resume,
        save_every=save_every,
        log=log,
        same=lambda state: same_recipe(state["recipe"], fingerprint) and state["manifest"] == data.manifest,
    )
    for step in loop.steps():
        n, tasks = draw_tasks(recipe, step, gen)
        batches = [_to(data.batch(task, count, n, recipe.crop, gen), device) for task, count in tasks.items()]
        # no cache: a strategy looks at its weights again after it has changed them
        with torch.autocast(torch.device(device).type, torch.bfloat16, recipe.autocast, cache_enabled=False):
            values = strategy.step(batches, learning_rate(recipe, step))
        ema.update(model, step)
        loop.record(step, values)
    model.load_state_dict(ema.shadow)
    merge_lora(model)
    return export(model, recipe, data, out, loop.seconds, validated, log)


def draw_tasks(recipe: Recipe, step: int, gen: torch.Generator) -> tuple[int, dict[str, int]]:
    """Images a set and sets a task of one step: now and then a stack of three to five, and one task alone if so set."""
    n = 2 if not recipe.stacks or (step + 1) % recipe.stacks else integer(3, 5, gen)
    tasks = dict(recipe.tasks) if n == 2 else {t: c for t, c in recipe.tasks.items() if t in ("mef", "mff")}
    if recipe.one_task:
        drawn = list(tasks)[integer(0, len(tasks) - 1, gen)]
        tasks = {drawn: tasks[drawn]}
    return n, tasks


def same_recipe(before: str, now: str) -> bool:
    """Whether two recipes, as JSON, are the same; fields and settings that an older one lacks have their defaults."""
    old, new = (json.loads(json.dumps(asdict(Recipe("", {}, {})))) | json.loads(text) for text in (before, now))
    for recipe in (old, new):
        recipe["sets"] = [{"share": 1.0, "kind": "pairs", **s} for s in recipe["sets"]]
        try:
            options = settings_of(recipe["strategy"], recipe["options"] or {})
        except FusionError:  # of an older version, which has had other settings
            return False
        recipe["options"] = options and asdict(options)
    return bool(old == new)


def _to(batch: Batch, device: str) -> Batch:
    parts = {f.name: getattr(batch, f.name) for f in fields(batch)}
    moved: dict[str, Any] = {name: v.to(device) for name, v in parts.items() if isinstance(v, Tensor)}
    return replace(batch, **moved)
