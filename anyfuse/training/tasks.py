"""What all strategies share: the loss of a task, the optimiser of a recipe, and the rate of a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import losses
from ..data.batches import Batch
from ..errors import FusionError
from ..models.base import FusionModel
from .recipes import Recipe

SUPERVISED = ("reconstruction",)


def task_loss(fused: Tensor, batch: Batch, weights: dict[str, float]) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the losses of one task for fused (B, H, W), and each term's value; a weight of 0 leaves a term out."""
    total, terms = fused.new_zeros(()), {}
    for name, weight in weights.items():
        if not weight:
            continue
        target = batch.truth if name in SUPERVISED else batch.clean
        if target is None:
            raise FusionError(f"loss '{name}' needs a truth, and task '{batch.task}' has none")
        value = getattr(losses, name)(fused, target)
        terms[name] = float(value.detach())
        total = total + weight * value
    return total, terms


def task_losses(
    model: nn.Module, batches: list[Batch], weights: dict[str, dict[str, float]]
) -> tuple[Tensor, dict[str, float]]:
    """One pass over the batches of all tasks: losses (tasks,) in their order, and 'task/loss' -> value."""
    fused = model(torch.cat([b.sources for b in batches]))[:, 0]
    totals: list[Tensor] = []
    log: dict[str, float] = {}
    for batch, part in zip(batches, fused.split([len(b.sources) for b in batches]), strict=True):
        loss, terms = task_loss(part, batch, weights[batch.task])
        totals.append(loss)
        log |= {f"{batch.task}/{name}": value for name, value in terms.items()}
    return torch.stack(totals), log


def make_optimiser(model: FusionModel, recipe: Recipe) -> torch.optim.Optimizer:
    """adamw: betas 0.9 and 0.98, no decay of vectors. adam: PyTorch's, decay (if any) as part of the gradient."""
    if recipe.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    if recipe.optimiser != "adamw":
        raise FusionError(f"unknown optimiser '{recipe.optimiser}'; known: adamw, adam")
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def clip_gradients(model: nn.Module, largest: float) -> float:
    """Norm of all gradients before clipping to `largest`; 0 does not clip."""
    return float(nn.utils.clip_grad_norm_(model.parameters(), largest or float("inf")))


def read_options(recipe: Recipe, defaults: dict[str, float]) -> dict[str, Any]:
    """The strategy's settings: `defaults` with the recipe's options; an unknown option is a FusionError."""
    unknown = sorted(recipe.options.keys() - defaults.keys())
    if unknown:
        raise FusionError(
            f"strategy '{recipe.strategy}' has no option '{unknown[0]}'; known: {', '.join(defaults) or 'none'}"
        )
    return defaults | recipe.options
