"""What a strategy is, and two of them: the sum of the losses, and weights learned by uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor

from ... import losses
from ...data.batches import Batch
from ...models.base import FusionModel
from ..distributed import mean_logs, parts_of, pooled
from ..objectives import SingleLossStrategy, clipped_step, fused_of, make_optimiser, set_rate, split_losses, task_losses
from ..recipe import Recipe, StrategySettings

SENSOR_NOISE = 0.02  # largest deviation of the noise that a result should not follow


class Strategy(Protocol):
    """One update of a model from a list of batches, one per task, all with the same number of inputs.

    accumulate: parts that a batch is cut into, whose gradients are added before the update; it saves memory.
    """

    accumulate: int

    def step(self, batches: list[Batch], lr: float | Tensor) -> dict[str, Any]:
        """Updates the model with the rate `lr` of the recipe's schedule, a number or, in a graph of the device, a
        tensor; returns 'loss', and what is worth logging: numbers or tensors.
        """

    def state_dict(self) -> dict[str, Any]:
        """What it has learned beside the model, as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""


@dataclass(frozen=True)
class PlainSettings(StrategySettings):
    """Settings of strategy 'plain'."""

    steady: float = 0.0  # weight of `unsteadiness`, which one crop of each task is tried for; 0: none is


class Plain(SingleLossStrategy):
    """The sum of the tasks' losses, all with the same weight."""

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.steady = recipe.settings(PlainSettings).steady
        self.optimiser = make_optimiser(model.parameters(), recipe)

    def loss(self, batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """The sum of all losses, and each for the log."""
        fused = fused_of(self.model, batches)
        each, log = split_losses(fused, batches, self.recipe.losses)
        if not self.steady:
            return each.sum(), log
        firsts = [Batch(b.task, b.sources[:1], b.clean[:1], statistics=_first(b.statistics)) for b in batches]
        noisy = [replace(b, sources=with_sensor_noise(b.sources)) for b in firsts]
        places = list(accumulate([len(b.sources) for b in batches[:-1]], initial=0))
        value = losses.unsteadiness(fused_of(self.model, noisy)[:, 0], fused[places, 0])
        return each.sum() + self.steady * value, log | {"steady": value.detach()}


def _first(statistics: Tensor | None) -> Tensor | None:
    return None if statistics is None else statistics[:1]


def with_sensor_noise(sources: Tensor) -> Tensor:
    """Sources (B, N, C, H, W) with Gaussian noise of a deviation of up to 5 levels, drawn for each image."""
    spread = SENSOR_NOISE * torch.rand(*sources.shape[:2], 1, 1, 1, device=sources.device)
    return (sources + spread * torch.randn_like(sources)).clamp(0.0, 1.0)


@dataclass(frozen=True)
class UncertaintySettings(StrategySettings):
    """Settings of strategy 'uncertainty'."""

    rate: float = 1e-2  # of the Adam that learns the weights, above 0; ours, the paper learns them with the network


class Uncertainty:
    """Learned weights by homoscedastic uncertainty (Kendall, Gal, Cipolla, CVPR 2018, eq. 7): sum of exp(-s) L / 2 + s
    / 2.

    s is the logarithm of a task's variance, learned with the network at a rate of its own. Losses may have any sign,
    but a task whose loss stays negative gains weight without bound, so s is kept above -10.
    """

    accumulate = 1

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.optimiser = make_optimiser(model.parameters(), recipe)
        self.tasks = tuple(recipe.tasks)
        device = next(model.parameters()).device
        self.log_variance = torch.zeros(len(self.tasks), device=device, requires_grad=True)
        self.own = torch.optim.Adam([self.log_variance], lr=recipe.settings(UncertaintySettings).rate)

    def step(self, batches: list[Batch], lr: float | Tensor) -> dict[str, Any]:
        """See Strategy; logs the weight of each task too."""
        set_rate(self.optimiser, lr)
        logs = []
        for index, part in enumerate(parts_of(batches, self.accumulate)):
            each, log = task_losses(self.model, part, self.recipe.losses)
            each = pooled(each)
            s = torch.stack([self.log_variance[self.tasks.index(b.task)] for b in batches])
            if not index:
                self.optimiser.zero_grad(set_to_none=True)
                self.own.zero_grad(set_to_none=True)
            total = 0.5 * (torch.exp(-s) * each + s).sum()
            (total if self.accumulate == 1 else total / self.accumulate).backward()
            logs.append({"loss": each.detach().sum(), **log})
        means = mean_logs(logs)
        norm = clipped_step(self.optimiser, self.model.parameters(), self.recipe.clip)
        self.own.step()
        with torch.no_grad():
            self.log_variance.clamp_(min=-10)
        weights = {f"weight/{t}": 0.5 * w for t, w in zip(self.tasks, (-self.log_variance).exp().tolist(), strict=True)}
        return {"loss": means.pop("loss"), "norm": norm, **means, **weights}

    def state_dict(self) -> dict[str, Any]:
        """See Strategy."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "own": self.own.state_dict(),
            "log_variance": self.log_variance.detach().clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Strategy."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.own.load_state_dict(state["own"])
        with torch.no_grad():
            self.log_variance.copy_(state["log_variance"])
