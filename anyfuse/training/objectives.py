"""What all strategies share: the loss of a task, the optimiser of a recipe, and the rate of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .. import losses
from ..data.batches import Batch
from ..errors import FusionError
from ..plugins import Extended
from .distributed import average_gradients, mean_logs, parts_of
from .recipe import Recipe
from .sharded import clip_parts, has_parts

SUPERVISED = ("reconstruction",)
REGIONAL = ("hot", "lit")
"""Losses that look at regions, by the statistics of whole images."""
BATCH_WIDE = (*REGIONAL, "even", "ssim_weighted")
"""Losses that weigh by means over the whole batch; all others are means of what they are for each row."""
OF_FEATURES = "self_reconstruction"
"""A loss of features, not of the fused image: bilevel.py has what it needs."""


def as_loss(name: str, part: Any) -> Callable[..., Tensor]:
    """The loss that another package adds: a function (fused (B, H, W), clean (B, N, H, W)) -> scalar."""
    if not callable(part) or isinstance(part, type):
        raise FusionError(f"give a function, not {type(part).__name__}")
    function: Callable[..., Tensor] = part
    return function


LOSSES: Extended[Callable[..., Tensor]] = Extended({}, "anyfuse.losses", as_loss)
"""Losses of other packages, by name. A name of anyfuse.losses is always ours."""


def is_own_loss(name: str) -> bool:
    """Whether `anyfuse.losses` defines a public function of this name."""
    function = getattr(losses, name, None)
    return not name.startswith("_") and getattr(function, "__module__", "") == losses.__name__


def loss_of(name: str) -> Callable[..., Tensor]:
    """The function of a loss; FusionError: there is none of this name."""
    if is_own_loss(name):
        function: Callable[..., Tensor] = getattr(losses, name)
        return function
    if name in LOSSES:
        return LOSSES[name]
    raise FusionError(f"there is no loss '{name}'; see docs/training.md and docs/own_model.md")


def task_loss(fused: Tensor, batch: Batch, weights: dict[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one task.

    Always in float32: differences of squares, as in SSIM, have nothing left in bfloat16. Values stay where they are:
    reading a number waits for the device, so whoever logs reads.

    Args:
        fused: (B, H, W) in [0, 1].
        batch: what the losses compare with.
        weights: loss in anyfuse.losses -> weight; 0 leaves it out.

    Returns:
        The weighted sum, and each loss by name, without its weight.

    Raises:
        FusionError: a loss that needs what the batch or the strategy lacks.
    """
    with torch.autocast(fused.device.type, enabled=False):
        return _task_loss(fused.float(), batch, weights)


def _task_loss(fused: Tensor, batch: Batch, weights: dict[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    total, terms = fused.new_zeros(()), {}
    for name, weight in weights.items():
        if not weight:
            continue
        if name == OF_FEATURES:
            raise FusionError(
                f"loss '{name}' needs strategy=bilevel; leave it out with --set losses.{batch.task}.{name}=0"
            )
        target = batch.truth if name in SUPERVISED else batch.clean
        if name in REGIONAL and batch.statistics is None:
            raise FusionError(f"loss '{name}' needs statistics of whole images: --set varied=true")
        if target is None:
            raise FusionError(f"loss '{name}' needs what task '{batch.task}' has not")
        known = (batch.statistics,) if name in REGIONAL else ()
        value = loss_of(name)(fused, target, *known, **_whole(batch, name))
        terms[name] = value.detach()
        total = total + weight * value
    return total, terms


def _whole(batch: Batch, name: str) -> dict[str, Any]:
    """What a loss that is nonlinear in the batch needs of the batch that this one is a part of."""
    if batch.whole is None or name not in BATCH_WIDE:
        return {}
    clean = batch.whole.clean
    return {"whole": (clean, batch.whole.statistics) if name in REGIONAL else clean}


def task_losses(
    model: nn.Module, batches: list[Batch], weights: dict[str, dict[str, float]]
) -> tuple[Tensor, dict[str, Tensor]]:
    """One pass over the batches of all tasks.

    Args:
        model: takes all sources at once, with their statistics where every batch has them.
        batches: one a task, all with the same number of inputs.
        weights: task -> loss -> weight.

    Returns:
        Losses (tasks,) in the order of the batches, and 'task/loss' -> value.

    Raises:
        FusionError: as `task_loss`.
    """
    return split_losses(fused_of(model, batches), batches, weights)


def fused_of(model: nn.Module, batches: list[Batch]) -> Tensor:
    """What the model makes of all batches in one pass, (B, C, H, W); with their statistics where every batch has
    them.
    """
    sources = torch.cat([b.sources for b in batches])
    whole = [b.statistics for b in batches if b.statistics is not None]
    known = len(whole) == len(batches) and getattr(model, "takes_statistics", False)
    fused: Tensor = model(sources, statistics=torch.cat(whole)) if known else model(sources)
    return fused


def split_losses(
    fused: Tensor, batches: list[Batch], weights: dict[str, dict[str, float]]
) -> tuple[Tensor, dict[str, Tensor]]:
    """`task_losses` for a result (B, C, H, W) that is there already. Each colour channel counts as an image."""
    totals: list[Tensor] = []
    log: dict[str, Tensor] = {}
    channels = fused.shape[1]
    for batch, part in zip(batches, fused.split([len(b.sources) for b in batches]), strict=True):
        clean, truth = batch.clean, batch.truth
        if channels > 1:
            clean = clean.repeat_interleave(channels, 0)
            if truth is not None:  # (B, H, W), or (B, C, H, W) in colour
                truth = truth.flatten(0, 1) if truth.ndim == 4 else truth.repeat_interleave(channels, 0)
        targets = Batch(batch.task, batch.sources, clean, truth, statistics=batch.statistics, whole=batch.whole)
        loss, terms = task_loss(part.flatten(0, 1), targets, weights[batch.task])
        totals.append(loss)
        log |= {f"{batch.task}/{name}": value for name, value in terms.items()}
    return torch.stack(totals), log


def make_optimiser(
    parameters: Iterable[nn.Parameter], recipe: Recipe, fused: bool | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a recipe.

    Args:
        parameters: of which those that need a gradient are trained.
        recipe: optimiser, lr and weight_decay. adamw: betas 0.9 and 0.98, no decay of vectors. adam: PyTorch's, decay
            (if any) as part of the gradient.
        fused: adamw in one pass, for models of many parameters; None: as PyTorch chooses.

    Raises:
        FusionError: an unknown optimiser.
    """
    trained = [p for p in parameters if p.requires_grad]
    if recipe.optimiser == "adam":
        if (
            trained and trained[0].is_cuda
        ):  # one kernel for all, the rate on the device: a step can be captured in a graph
            rate = torch.tensor(recipe.lr, device=trained[0].device)
            return torch.optim.Adam(trained, lr=rate, weight_decay=recipe.weight_decay, fused=True, capturable=True)
        return torch.optim.Adam(trained, lr=recipe.lr, weight_decay=recipe.weight_decay)
    if recipe.optimiser != "adamw":
        raise FusionError(f"unknown optimiser '{recipe.optimiser}'; known: adamw, adam")
    groups = decay_groups(trained, recipe.weight_decay)
    if has_parts(trained):  # one kernel cannot take weights in parts beside whole ones
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), foreach=False)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), fused=fused)


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Groups for AdamW: decay of matrices and kernels, none of vectors."""
    every = list(parameters)
    return [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]


def set_rate(optimiser: torch.optim.Optimizer, lr: float | Tensor) -> None:
    """The rate of all groups; one that is a tensor stays the same tensor."""
    for group in optimiser.param_groups:
        if not isinstance(group["lr"], Tensor):
            group["lr"] = lr
        elif isinstance(lr, Tensor):
            group["lr"].copy_(lr)
        else:
            group["lr"].fill_(lr)


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Norm of all gradients before clipping to `largest`; 0 does not clip."""
    parameters, largest = list(parameters), largest or float("inf")
    if has_parts(parameters):
        return clip_parts(parameters, largest)
    return nn.utils.clip_grad_norm_(parameters, largest).detach()


def clipped_step(optimiser: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Averages the gradients of all processes, clips them and takes a step; returns the norm.

    A fused optimiser, as on GPUs, leaves out a step whose gradients are not finite.
    """
    parameters = list(parameters)
    average_gradients(parameters)
    norm = clip_gradients(parameters, largest)
    if optimiser.defaults.get("fused"):
        optimiser.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
    optimiser.step()
    return norm


class SingleLossStrategy:
    """A strategy with one optimiser and one loss, which a subclass defines; its `__init__` sets model, recipe and
    optimiser.
    """

    model: nn.Module
    recipe: Recipe
    optimiser: torch.optim.Optimizer
    accumulate: int = 1  # parts of a step's batches, whose gradients are added

    def loss(self, batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """The loss, and values for the log."""
        raise NotImplementedError

    def step(self, batches: list[Batch], lr: float | Tensor) -> dict[str, Any]:
        """One update with the rate `lr`, gradients clipped after the backward pass; returns 'loss', 'norm' and what
        `loss` logs.
        """
        set_rate(self.optimiser, lr)
        logs = []
        for index, part in enumerate(parts_of(batches, self.accumulate)):
            total, log = self.loss(part)
            if not index:
                self.optimiser.zero_grad(set_to_none=True)
            (total if self.accumulate == 1 else total / self.accumulate).backward()
            logs.append({"loss": total.detach(), **log})
        norm = clipped_step(self.optimiser, self.model.parameters(), self.recipe.clip)
        means = mean_logs(logs)
        return {"loss": means.pop("loss"), "norm": norm, **means}

    def state_dict(self) -> dict[str, Any]:
        """See weighting.Strategy."""
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See weighting.Strategy."""
        self.optimiser.load_state_dict(state)
