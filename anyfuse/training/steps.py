"""What every training of a recipe does in a step, whatever ends the run: the model, batches, the rate, the update."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from ..data.batches import Batch, TrainingData
from ..errors import FusionError
from ..image.random import integer
from ..models.base import FusionModel
from ..models.registry import build_model
from ..weights import WEIGHTS_NAME
from .loop import cosine_share
from .recipe import Recipe
from .strategies.weighting import Strategy


def fresh_model(recipe: Recipe) -> FusionModel:
    """The model of a recipe, on the CPU, with fresh weights or those of `start`.

    Raises:
        FusionError: crop or stacks that the model cannot take, or no weights in `start`.
    """
    model = build_model(recipe.model, recipe.config, training=True)
    if recipe.crop < 1 or recipe.crop % model.stride:
        raise FusionError(f"crop {recipe.crop}: give a multiple of {model.stride}")
    if recipe.start:
        model.load_weights(Path(recipe.start) / WEIGHTS_NAME)
    if recipe.stacks and model.arity[1] is not None:
        raise FusionError(f"model '{recipe.model}' takes {model.arity[1]} images, and stacks have more: set stacks=0")
    return model


def learning_rate(recipe: Recipe, step: int, progress: float | None = None) -> float:
    """Linear warm-up, then a cosine from lr to lr/50 at the end, or lr to the end.

    Args:
        recipe: lr, warmup, steps and schedule.
        step: from 0.
        progress: share of the run that is over, 0 to 1; None: by the recipe's steps after the warm-up.
    """
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    if recipe.schedule == "constant":
        return recipe.lr
    if progress is None:
        progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * cosine_share(math.pi * min(1.0, progress))


def draw_tasks(recipe: Recipe, step: int, gen: Generator) -> tuple[int, dict[str, int]]:
    """Images a set and sets a task of one step: now and then a stack of three to five, and one task alone if so set."""
    n = 2 if not recipe.stacks or (step + 1) % recipe.stacks else integer(3, 5, gen)
    tasks = dict(recipe.tasks) if n == 2 else {t: c for t, c in recipe.tasks.items() if t in ("mef", "mff")}
    if recipe.one_task:
        drawn = list(tasks)[integer(0, len(tasks) - 1, gen)]
        tasks = {drawn: tasks[drawn]}
    return n, tasks


def make_batches(recipe: Recipe, data: TrainingData, step: int, gen: Generator) -> list[Batch]:
    """The batches of one step, one a task, on the CPU."""
    n, tasks = draw_tasks(recipe, step, gen)
    return [data.batch(task, count, n, recipe.crop, gen) for task, count in tasks.items()]


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """The fields of a batch that are tensors, by name."""
    parts = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: value for name, value in parts.items() if isinstance(value, Tensor)}


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """The batch with all its tensors on a device; from pinned memory without waiting."""
    moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in tensors_of(batch).items()}
    return replace(batch, **moved)


def update(
    strategy: Strategy, batches: list[Batch], lr: float | Tensor, recipe: Recipe, device: torch.device
) -> dict[str, Any]:
    """One step of the strategy, in bfloat16 if the recipe says so; returns what it logs."""
    # no cache: a strategy looks at its weights again after it has changed them
    with torch.autocast(device.type, torch.bfloat16, recipe.autocast, cache_enabled=False):
        return strategy.step(batches, lr)
