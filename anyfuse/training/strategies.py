"""Optimisation strategies: how one update is made from the batches of all tasks.

Every strategy has the same three calls, so each can train every model that meets its needs, and an ablation is a flag of the recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .. import losses
from ..data.batches import Batch
from ..errors import FusionError
from ..models.base import FusionModel
from .bilevel import Bilevel
from .recipes import Recipe

SUPERVISED = ("reconstruction",)


def task_loss(fused: Tensor, batch: Batch, weights: dict[str, float]) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the losses of one task for fused (B, H, W), and each term's value."""
    total, terms = fused.new_zeros(()), {}
    for name, weight in weights.items():
        target = batch.truth if name in SUPERVISED else batch.clean
        if target is None:
            raise FusionError(f"loss '{name}' needs a truth, and task '{batch.task}' has none")
        value = getattr(losses, name)(fused, target)
        terms[name] = float(value.detach())
        total = total + weight * value
    return total, terms


class Strategy(Protocol):
    """One update of a model from a list of batches, one per task, all with the same number of inputs."""

    def step(self, batches: list[Batch], lr: float) -> dict[str, float]:
        """Updates the model with the rate `lr` of the recipe's schedule; returns 'loss', and what is worth logging."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Plain:
    """AdamW on the sum of the tasks' losses; gradients are clipped after the backward pass."""

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        decay = [p for p in model.parameters() if p.ndim > 1]
        rest = [p for p in model.parameters() if p.ndim <= 1]
        groups = [
            {"params": decay, "weight_decay": recipe.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))

    def step(self, batches: list[Batch], lr: float) -> dict[str, float]:
        """One update from a list of batches with the same number of inputs; returns 'task/loss' -> value."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        fused = self.model(torch.cat([b.sources for b in batches]))[:, 0]
        total = fused.new_zeros(())
        log: dict[str, float] = {}
        for batch, part in zip(batches, fused.split([len(b.sources) for b in batches]), strict=True):
            loss, terms = task_loss(part, batch, self.recipe.losses[batch.task])
            total = total + loss
            log |= {f"{batch.task}/{name}": value for name, value in terms.items()}
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimiser.step()
        return {"loss": float(total.detach()), "norm": float(norm), **log}

    def state_dict(self) -> dict[str, Any]:
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimiser.load_state_dict(state)


STRATEGIES: dict[str, Callable[[FusionModel, Recipe], Strategy]] = {"plain": Plain, "bilevel": Bilevel}
