"""FAMO: fast adaptive multitask optimisation (Liu, Feng, Stone, Liu, NeurIPS 2023), as TITA uses it.

Tasks whose loss falls fast lose weight, so that all fall at a similar rate; one backward pass a step, whatever the
number of tasks.

    z = softmax(xi)                              weights of the tasks, xi starts at 0
    D_i = l_i - b + eps                          losses above a bound b
    L = (1 / c) sum_i z_i log D_i                c = sum_i z_i / D_i, a constant: the gradient is a convex combination
                                                 of the tasks' gradients
    the network takes a step on L
    delta_i = log D_i - log D'_i                 D' from a second evaluation of the same batches
    xi takes an Adam step on J_softmax^T delta   with weight decay gamma
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...data.batches import Batch
from ...errors import FusionError
from ...models.base import FusionModel
from ..distributed import at_value, mean_logs, parts_of, pooled
from ..objectives import clipped_step, make_optimiser, set_rate, task_losses
from ..recipe import Recipe, StrategySettings


@dataclass(frozen=True)
class FamoSettings(StrategySettings):
    """Settings of strategy 'famo', all of the weights of the tasks."""

    rate: float = 0.025  # of the logits' Adam, above 0; FAMO's code
    gamma: float = 1e-3  # weight decay of the logits, 0 or more; FAMO tunes it per data set
    bound: float = 0.0  # b, below every loss, in units of the losses; FAMO assumes 0
    eps: float = 1e-8  # added to each loss less the bound, above 0; FAMO's code

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise FusionError(f"options.rate={self.rate:g}: give a rate above 0")


class Balance:
    """The logits and what moves them, for any tasks and any losses; the network's step is the caller's.

    `checked` False leaves losses unread, which a graph of the device needs; then losses that are not finite leave the
    logits as they are.
    """

    def __init__(self, tasks: tuple[str, ...], options: FamoSettings, device: torch.device | str = "cpu") -> None:
        self.tasks, self.bound, self.eps = tasks, options.bound, options.eps
        self.checked = True
        self.logits = torch.zeros(len(tasks), device=device, requires_grad=True)
        self.optimiser = torch.optim.Adam(
            [self.logits], lr=options.rate, weight_decay=options.gamma, capturable=self.logits.is_cuda
        )

    def weights(self) -> Tensor:
        """(tasks,) that sum to 1"""
        return self.logits.detach().softmax(0)

    def above(self, losses: Tensor) -> Tensor:
        """losses (tasks,) less the bound, of which logarithms are taken; FusionError where one is not above it."""
        above = losses - self.bound + self.eps
        if not self.checked:
            return above
        if not bool(losses.isfinite().all()):
            worst = int(losses.isfinite().int().argmin())
            raise FusionError(
                f"the loss of task '{self.tasks[worst]}' is {float(losses[worst].detach())}: lower lr, or set clip"
            )
        if not bool((above > 0).all()):
            worst = int(torch.where(above > 0, torch.inf, 0.0).argmin())
            raise FusionError(
                f"FAMO takes the logarithm of losses, and that of task '{self.tasks[worst]}' is "
                f"{float(losses[worst].detach()):.4g}, "
                f"not above {self.bound:g}: leave out losses that can be negative (mutual_information, scd), or set "
                "options.bound "
                "below them"
            )
        return above

    def combine(self, losses: Tensor) -> Tensor:
        """losses (tasks,) -> the scalar to step on"""
        above, z = self.above(losses), self.weights()
        c = (z / above.detach()).sum()
        return (z * above.log()).sum() / c

    def update(self, before: Tensor, after: Tensor) -> None:
        """Moves the logits by what the step has done to the losses, (tasks,) each."""
        delta = self.above(before.detach()).log() - self.above(after.detach()).log()
        z = self.weights()
        grad = z * (delta - (z * delta).sum())
        self.logits.grad = grad if self.checked else grad.nan_to_num(0.0, 0.0, 0.0)
        self.optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Logits, and the state of their optimiser."""
        return {"logits": self.logits.detach().clone(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self.optimiser.load_state_dict(state["optimiser"])


class Famo:
    """FAMO behind the calls of weighting.Strategy; options are FamoSettings.

    The second evaluation is in training mode, without gradients. Losses are those of the whole batch: of all processes,
    and of all parts, which a first pass without gradients goes through where there are several.
    """

    accumulate = 1

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.optimiser = make_optimiser(model.parameters(), recipe)
        self.balance = Balance(tuple(recipe.tasks), recipe.settings(FamoSettings), next(model.parameters()).device)

    def step(self, batches: list[Batch], lr: float | Tensor) -> dict[str, Any]:
        """See weighting.Strategy; logs the weight of each task too.

        Raises:
            FusionError: a step without a batch of each task, or a loss that is not above the bound.
        """
        tasks = self.balance.tasks
        if tuple(b.task for b in batches) != tasks:
            raise FusionError(
                f"FAMO needs a batch of each of {', '.join(tasks)} in every step: set stacks=0 and one_task=false"
            )
        set_rate(self.optimiser, lr)
        parts = parts_of(batches, self.accumulate)
        if len(parts) == 1:
            before, log = task_losses(self.model, batches, self.recipe.losses)
            before = pooled(before)
            self.optimiser.zero_grad(set_to_none=True)
            self.balance.combine(before).backward()
        else:
            before, log = self.evaluate(parts)
            self.optimiser.zero_grad(set_to_none=True)
            for part in parts:
                each, _ = task_losses(self.model, part, self.recipe.losses)
                (self.balance.combine(at_value(each, before)) / len(parts)).backward()
        norm = clipped_step(self.optimiser, self.model.parameters(), self.recipe.clip)
        self.balance.update(before, self.evaluate(parts)[0])
        weights = {f"weight/{t}": w for t, w in zip(tasks, self.balance.weights().unbind(), strict=True)}
        return {"loss": before.detach().sum(), "norm": norm, **log, **weights}

    @torch.no_grad()
    def evaluate(self, parts: list[list[Batch]]) -> tuple[Tensor, dict[str, Any]]:
        """Losses (tasks,) of the whole batch, and each for the log."""
        done = [task_losses(self.model, part, self.recipe.losses) for part in parts]
        each = done[0][0] if len(done) == 1 else torch.stack([losses for losses, _ in done]).mean(0)
        return pooled(each), mean_logs([log for _, log in done])

    def state_dict(self) -> dict[str, Any]:
        """See weighting.Strategy."""
        return {"optimiser": self.optimiser.state_dict(), "balance": self.balance.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See weighting.Strategy."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.balance.load_state_dict(state["balance"])
