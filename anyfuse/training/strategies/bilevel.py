"""Bilevel training (UniFusion, CVPR 2026): a lower problem for the features, an upper one for their fusion.

    lower   phi   <- phi   - eta_L grad_phi   L_rec(phi)              reconstruction of the sources from their features
    upper   theta <- theta - eta_U grad_theta L_fuse(theta; phi)      fusion of the features, which are held fixed

First order: the upper step does not look through the lower one. Both steps are taken by the recipe's
optimiser. The frozen part of the model sees a batch once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from ...data.batches import Batch
from ...errors import FusionError
from ...losses import self_reconstruction
from ...models.base import FusionModel
from ..distributed import mean_gradients, mean_logs, mean_of_all, parts_of
from ..objectives import OF_FEATURES, clipped_step, make_optimiser, set_rate, split_losses
from ..recipe import Recipe, StrategySettings


class TwoLevels(Protocol):
    """What a model needs for this strategy; features are any list of tensors."""

    def lower_parameters(self) -> Iterable[nn.Parameter]:
        """phi, all parameters of the features and of the reconstruction."""

    def upper_parameters(self) -> Iterable[nn.Parameter]:
        """theta, all parameters of the fusion."""

    def observe(self, sources: Tensor) -> list[Tensor]:
        """The part that is never trained."""

    def encode(self, sources: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """Features, a function of phi."""

    def reconstruct(self, features: list[Tensor]) -> Tensor:
        """Sources again, a function of phi."""

    def decode(self, features: list[Tensor]) -> Tensor:
        """The fused image (B, C, H, W), a function of theta."""


class Seen(NamedTuple):
    """A part of a step's batches."""

    sources: Tensor  # (B, N, C, H, W) of all tasks
    maps: list[Tensor]  # what the frozen part makes of them
    batches: list[Batch]


@dataclass(frozen=True)
class BilevelSettings(StrategySettings):
    """Settings of strategy 'bilevel'."""

    ratio: float = 2.0  # eta_L / eta_U, above 0; eta_U is the rate of the schedule; ours, the paper says above 1
    lower_steps: int = 1  # per step of the run, 1 or more; the paper's algorithm
    upper_steps: int = 1  # per step of the run, 1 or more; the paper's algorithm
    joint: bool = False  # one optimiser for all parameters on L_fuse + L_rec: the paper's ablation, and its code
    leak: float = 0.0  # share of L_fuse that the lower loss gets too, so that fusion shapes features; ours
    angle_every: int = 50  # steps between measurements of the angle between both losses' gradients; 0: never; ours

    def __post_init__(self) -> None:
        if not self.ratio > 0:
            raise FusionError(f"options.ratio {self.ratio:g}: give more than 0, eta_L / eta_U")


class Bilevel:
    """The strategy; options are BilevelSettings.

    Per task `self_reconstruction` in the recipe's losses weighs L_rec (0 where it is left out); the rest is L_fuse.
    """

    accumulate = 1

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        if not all(hasattr(model, name) for name in ("lower_parameters", "upper_parameters", "encode", "reconstruct")):
            raise FusionError(f"strategy 'bilevel' needs a model with two levels, and {type(model).__name__} has one")
        self.model, self.recipe = cast(TwoLevels, model), recipe
        self.options = recipe.settings(BilevelSettings)
        self.steps = 0
        self.lower = list(self.model.lower_parameters())
        self.upper = list(self.model.upper_parameters())
        groups = [self.lower + self.upper] if self.options.joint else [self.lower, self.upper]
        self.optimisers = [make_optimiser(g, recipe) for g in groups]

    # ------------------------------------------------------------------ the two losses

    def lower_loss(self, features: list[Tensor], batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """Weighted reconstruction, and its peak signal-to-noise ratio."""
        restored = self.model.reconstruct(features).float()
        sources = torch.cat([b.sources for b in batches]).expand_as(restored)
        total, sizes = restored.new_zeros(()), [len(b.sources) for b in batches]
        for batch, part, own in zip(batches, restored.split(sizes), sources.split(sizes), strict=True):
            total = total + self.recipe.losses[batch.task].get(OF_FEATURES, 0.0) * self_reconstruction(part, own)
        error = (restored.detach() - sources).square().mean()
        return total, {"reconstruction_psnr": -10 * mean_of_all(error).clamp_min(1e-10).log10()}

    def upper_loss(self, features: list[Tensor], batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """Sum of the tasks' fusion losses."""
        weights = {task: {k: v for k, v in w.items() if k != OF_FEATURES} for task, w in self.recipe.losses.items()}
        each, log = split_losses(self.model.decode(features), batches, weights)
        return each.sum(), log

    # ------------------------------------------------------------------ one update

    def step(self, batches: list[Batch], lr: float | Tensor) -> dict[str, Any]:
        """See Strategy; returns both losses, the reconstruction's PSNR in dB and, where measured, the angle in
        degrees.
        """
        joint = self.options.joint
        for optimiser, rate in zip(self.optimisers, [lr] if joint else [self.options.ratio * lr, lr], strict=True):
            set_rate(optimiser, rate)
        parts = [self._seen(part) for part in parts_of(batches, self.accumulate)]
        log: dict[str, Any] = {}
        every = self.options.angle_every
        if every and self.steps % every == 0:
            log["angle"] = sum(self.angle(*part) for part in parts) / len(parts)
        log |= self._joint(parts) if joint else self._alternate(parts)
        self.steps += 1
        return {"loss": log["fusion"] + log["reconstruction"], **log}

    def _seen(self, batches: list[Batch]) -> Seen:
        sources = torch.cat([b.sources for b in batches])
        return Seen(sources, self.model.observe(sources), batches)

    def _alternate(self, parts: list[Seen]) -> dict[str, Any]:
        log: dict[str, Any] = {}
        for _ in range(self.options.lower_steps):
            log |= self._update(self.optimisers[0], self.lower, map(self._lower_of, parts), len(parts))
        with torch.no_grad():
            features = [self.model.encode(part.sources, part.maps) for part in parts]
        for _ in range(self.options.upper_steps):
            losses = (self._upper_of(*one) for one in zip(features, parts, strict=True))
            log |= self._update(self.optimisers[-1], self.upper, losses, len(parts))
        return log

    def _lower_of(self, part: Seen) -> tuple[Tensor, dict[str, Any]]:
        features = self.model.encode(part.sources, part.maps)
        loss, terms = self.lower_loss(features, part.batches)
        log = {"reconstruction": loss.detach(), **terms}
        if self.options.leak:
            loss = loss + self.options.leak * self.upper_loss(features, part.batches)[0]
        return loss, log

    def _upper_of(self, features: list[Tensor], part: Seen) -> tuple[Tensor, dict[str, Any]]:
        loss, terms = self.upper_loss(features, part.batches)
        return loss, {"fusion": loss.detach(), **terms}

    def _joint(self, parts: list[Seen]) -> dict[str, Any]:
        return self._update(self.optimisers[0], self.lower + self.upper, map(self._both_of, parts), len(parts))

    def _both_of(self, part: Seen) -> tuple[Tensor, dict[str, Any]]:
        features = self.model.encode(part.sources, part.maps)
        restored, quality = self.lower_loss(features, part.batches)
        fused, terms = self.upper_loss(features, part.batches)
        log = {"reconstruction": restored.detach(), "fusion": fused.detach(), **quality, **terms}
        return restored + fused, log

    def _update(
        self,
        optimiser: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        losses: Iterable[tuple[Tensor, dict[str, Any]]],
        count: int,
    ) -> dict[str, Any]:
        """One step of `parameters` down the mean of `count` losses; gradients of the others are not kept. Returns the
        means of what comes with the losses.
        """
        logs = []
        for loss, log in losses:
            gradients = torch.autograd.grad(loss if count == 1 else loss / count, parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is None:
                    continue
                odd = gradient.stride() != parameter.stride()  # a fused optimiser wants one layout
                new = torch.empty_like(parameter).copy_(gradient) if odd else gradient
                parameter.grad = new if parameter.grad is None else parameter.grad + new
            logs.append(log)
        clipped_step(optimiser, parameters, self.recipe.clip)
        optimiser.zero_grad(set_to_none=True)
        return mean_logs(logs)

    def angle(self, sources: Tensor, maps: list[Tensor], batches: list[Batch]) -> float:
        """Degrees between the gradients of L_rec and L_fuse in the encoder's parameters: below 90 they agree.

        Norms' statistics and random numbers are left as they were.
        """
        buffers = {k: v.clone() for k, v in cast(nn.Module, self.model).named_buffers()}
        features = self.model.encode(sources, maps)
        one = self._gradient(self.lower_loss(features, batches)[0])
        two = self._gradient(self.upper_loss(features, batches)[0])
        with torch.no_grad():
            for name, value in cast(nn.Module, self.model).named_buffers():
                value.copy_(buffers[name])
        shared = [(a.flatten(), b.flatten()) for a, b in zip(one, two, strict=True) if a is not None and b is not None]
        if not shared:
            return math.nan
        a, b = (torch.cat(x) for x in zip(*shared, strict=True))
        cosine = (a * b).sum() / (a.norm() * b.norm()).clamp_min(
            1e-20
        )  # a product of matrices may be of lower precision
        return math.degrees(math.acos(max(-1.0, min(1.0, float(cosine)))))

    def _gradient(self, loss: Tensor) -> list[Tensor | None]:
        return mean_gradients(torch.autograd.grad(loss, self.lower, retain_graph=True, allow_unused=True))

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """See weighting.Strategy."""
        return {"steps": self.steps, "optimisers": [o.state_dict() for o in self.optimisers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See weighting.Strategy."""
        self.steps = state["steps"]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
