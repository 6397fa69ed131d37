"""The training loop: one page, every choice in the recipe, resumable to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..errors import FusionError
from ..models.latent.lora import merge_lora
from .card import export
from .distributed import (
    check_tasks,
    equal_start,
    first_alone,
    mean_values,
    own_draws,
    own_parts,
    rank,
    share_norms,
    wait_for_all,
)
from .loop import Ema, Loop
from .recipe import Recipe
from .sharded import whole
from .steps import draw_tasks, fresh_model, learning_rate, make_batches, to_device, update
from .strategies.table import build_data, build_strategy, options_of, settings_of

IN_PARTS = ("instruct", "straighten")
"""Strategies whose model can be in parts: a transformer of many equal blocks."""


def train(
    recipe: Recipe,
    data_root: str | Path,
    out: str | Path,
    *,
    device: str = "cpu",
    accumulate: int = 1,
    resume: bool = True,
    save_every: int = 200,
    validated: int = 16,
    log: Callable[[str], None] = print,
) -> Path:
    """Trains a recipe and writes model.safetensors (EMA), config.json, README.md (model card), log.jsonl and last.pt.

    Inside `distributed.processes` each process learns from its part of every batch, and the first one writes.

    Args:
        recipe: every choice of the run.
        data_root: folder with the sets of the recipe, or a packed file.
        out: folder to write.
        device: of the model, as torch names it.
        accumulate: parts of a step that go through the model one after the other: less memory, equal gradients
            but for batch norms.
        resume: resumes from last.pt in `out`; with a constant schedule, `steps` may differ from before.
        save_every: steps between checkpoints.
        validated: held-out images of each set that the card's scores come from.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: a recipe that cannot be run, missing data, a last.pt of another recipe, or tasks whose sets
            do not divide by processes and parts.
    """
    if recipe.steps < 1 or not recipe.tasks or min(recipe.tasks.values()) < 1:
        raise FusionError(
            f"steps {recipe.steps}, tasks {recipe.tasks}: give 1 step or more, and 1 pair or more of some task"
        )
    check_tasks(recipe.tasks, accumulate)
    check_shard(recipe)
    recipe = replace(recipe, options=options_of(recipe))
    log = log if rank() == 0 else silent
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)  # late in a run, values that vanish would make each step several times slower
    torch.manual_seed(recipe.seed)
    gen = torch.Generator().manual_seed(recipe.seed)
    model = fresh_model(recipe).to(device).train()
    if not any(p.requires_grad for p in model.parameters()):
        raise FusionError(f"{recipe.model} has no weights that could be trained; give another model")
    equal_start(model)
    with first_alone():
        data = build_data(model, recipe, data_root, out, device, log)
    share_norms(model)
    strategy, ema = build_strategy(model, recipe), Ema(model, recipe.ema)
    strategy.accumulate = accumulate
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
    own_draws(recipe.seed, loop.first)
    for step in loop.steps():
        batches = own_parts([to_device(batch, device) for batch in make_batches(recipe, data, step, gen)])
        values = update(strategy, batches, learning_rate(recipe, step), recipe, torch.device(device))
        ema.update(model, step)
        loop.record(step, mean_values(values))
    shadow = whole(ema.shadow)
    if rank():
        wait_for_all()
        return out
    if loop.in_parts:  # the first process alone cannot run a model that is in parts
        model = fresh_model(recipe).to(device).train()
        build_strategy(model, replace(recipe, shard=False))  # adapters, as they were trained
    model.load_state_dict(shadow)
    merge_lora(model)
    export(model, recipe, data, out, loop.seconds, getattr(recipe.options, "scored", validated), log)
    wait_for_all()
    return out


def check_shard(recipe: Recipe) -> None:
    """Raises FusionError where a strategy does not train weights in parts."""
    if recipe.shard and recipe.strategy not in IN_PARTS:
        raise FusionError(f"shard=true is for the strategies {', '.join(IN_PARTS)}, not '{recipe.strategy}'")
    if recipe.shard and recipe.optimiser != "adamw":
        raise FusionError("shard=true needs optimiser=adamw")


def silent(line: str) -> None:
    """The log of every process but the first."""


def same_recipe(before: str, now: str) -> bool:
    """Whether a run of the recipe `before` goes on as `now`, both as JSON.

    Fields and settings that an older one lacks have their defaults; the steps count where the rate follows them.
    """
    old, new = (json.loads(json.dumps(asdict(Recipe("", {}, {})))) | json.loads(text) for text in (before, now))
    for recipe in (old, new):
        recipe["sets"] = [{"share": 1.0, "kind": "pairs", **s} for s in recipe["sets"]]
        try:
            options = settings_of(recipe["strategy"], recipe["options"] or {})
        except FusionError:  # of an older version, which has had other settings
            return False
        recipe["options"] = options and asdict(options)
        del recipe["shard"]  # a checkpoint is whole
        if recipe["schedule"] == "constant":
            del recipe["steps"]
    return bool(old == new)


__all__ = ["draw_tasks", "learning_rate", "same_recipe", "train"]
