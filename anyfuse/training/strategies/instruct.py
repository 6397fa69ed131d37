"""Training of DiTFuse (arXiv 2512.07170) on a mixture of instructions (pools/instructions.py): strategies 'instruct'
and 'straighten'.

    instruct    flow matching: t = sigmoid(normal) or 0, x_t = t x_1 + (1 - t) x_0, squared error of x_1 (without
                config.mix: of v = x_1 - x_0), each channel by what it does to the image; beside it the recipe's losses
                of the decoded one-step estimate x_t + (1 - t) v, and cross entropy of the classes; options.lora adapts
                with low rank and all else frozen
    straighten  rectified flow (Liu et al. 2022, arXiv 2209.03003): the trained model of `start` makes x_1 from noise in
                many guided steps, the student learns the straight line between the two, so that few steps without
                guidance give the same

What an item needs at each step is read from the pool, not computed: a step costs the transformer and one decoder.
Origin: ours, from the paper's description and the formulas. Licence: Apache-2.0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data.batches import Batch
from ...errors import FusionError
from ...models.base import FusionModel
from ...models.ditfuse.ditfuse import DiTFuse
from ...models.ditfuse.prompt import encode
from ...models.latent.flow import draw_times, flow_loss
from ...models.latent.lora import add_lora
from ..objectives import SingleLossStrategy, make_optimiser, split_losses
from ..pools.instructions import InstructBatch, MixtureSettings, TeacherSettings
from ..recipe import Recipe
from ..sharded import shard


@dataclass(frozen=True)
class FlowSettings(MixtureSettings):
    """What 'instruct' and 'straighten' have in common, with the mixture; ours where the paper is not named."""

    decoded: float = 0.3  # share of each batch that is decoded, 0 to 1
    image: float = 0.5  # weight of the losses of decoded images, 0 or more
    mask: float = 0.3  # weight of the loss of masks, 0 or more
    lora: int = 0  # rank of the adapters, 1 or more; 0: everything is trained. The paper adapts a large model so
    even: bool = False  # all latent channels count alike, instead of by what each does to the image


@dataclass(frozen=True)
class InstructSettings(FlowSettings):
    """Settings of strategy 'instruct' and of its pool."""

    at_start: float = 0.25  # share of t = 0, 0 to 1; ours


@dataclass(frozen=True)
class ReflowSettings(TeacherSettings, FlowSettings):
    """Settings of strategy 'straighten' and of its pool: the student always gets a condition."""

    drop: float = 0.0  # as in MixtureSettings
    wordless: float = 0.0  # as in MixtureSettings


class Instruct(SingleLossStrategy):
    """One AdamW step on the velocity, the decoded losses and the classes; options are InstructSettings."""

    model: DiTFuse
    kind: ClassVar[type[FlowSettings]] = InstructSettings

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        if not isinstance(model, DiTFuse):
            raise FusionError(
                f"strategy '{recipe.strategy}' needs a DiTFuse, as ditfuse-tiny, not {type(model).__name__}"
            )
        self.model, self.recipe = model, recipe
        self.options = recipe.settings(self.kind)
        model.mark()
        self.gains = 1.0 if self.options.even else model.gains()
        if self.options.lora:
            if not recipe.start:
                raise FusionError("options.lora adapts a trained model: give its folder, --set start=runs/ditfuse-m3")
            layers = model.dit.layers
            model.requires_grad_(False)
            add_lora(layers, self.options.lora, ("qkv", "out"))
        if recipe.shard:
            shard(model.dit.layers, next(model.parameters()).device)
        self.optimiser = make_optimiser(model.parameters(), recipe, fused=True)

    def times(self, batch: InstructBatch) -> Tensor:
        """(B,) logit-normal, or 0; 0 for half of those that name a class, as masks are read there."""
        assert isinstance(self.options, InstructSettings)
        t = draw_times(batch.goal, self.options.at_start)
        start = (torch.rand(len(t)) < 0.5).to(t.device) & batch.has_mask
        return t.masked_fill(start, 0.0)

    def origin(self, batch: InstructBatch) -> Tensor:
        """x_0 (B, 16, h, w)"""
        return torch.randn(batch.goal.shape).to(batch.goal)

    def loss(self, batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """The sum of all losses, and each for the log."""
        if len(batches) != 1 or not isinstance(batches[0], InstructBatch):
            raise FusionError(
                f"strategy '{self.recipe.strategy}' needs items of a pool, see "
                "training.pools.instructions.InstructPairs"
            )
        batch = batches[0]
        latents, goal, has_images = batch.latents, batch.goal, batch.has_images
        model, t, origin = self.model, self.times(batch), self.origin(batch)
        share = t[:, None, None, None]
        now = share * goal + (1 - share) * origin
        size = (goal.shape[-2] // model.config.patch, goal.shape[-1] // model.config.patch)
        condition = model.dit.encode_condition(encode(batch.prompts).to(goal.device), latents, size, has_images)
        predicted = model.dit.velocity_cached(now, t, condition)
        total = flow_loss(predicted.latents, goal - origin, t, self.gains, model.config.mix)
        log: dict[str, Any] = {"velocity": float(total.detach())}
        sources = batch.sources.expand(-1, -1, model.channels, -1, -1)
        chosen = has_images.nonzero()[:, 0][: max(1, math.ceil(len(goal) * self.options.decoded))]
        if self.options.image and self.options.decoded and len(chosen):
            assert batch.truth is not None
            result = (now + (1 - share) * predicted.latents)[chosen]
            fused = model.render(result, None if predicted.guide is None else predicted.guide[chosen], sources[chosen])
            part = Batch(batch.task, batch.sources[chosen], batch.clean[chosen], batch.truth[chosen])
            losses, more = split_losses(fused, [part], self.recipe.losses)
            total, log = total + self.options.image * losses.mean(), log | more
            with torch.no_grad():
                truth = batch.truth[chosen]
                wrong = (fused.clamp(0, 1) - truth if truth.ndim == 4 else fused.clamp(0, 1).mean(1) - truth).square()
                wrong = wrong.flatten(1).mean(1)
                log["psnr"] = float((-10 * wrong.clamp_min(1e-8).log10()).mean())
        masks = self.mask_loss(predicted.tokens, sources, batch)
        if masks is not None:
            total = total + self.options.mask * masks
            log |= {"mask": float(masks.detach())} if bool(batch.has_mask.any()) else {}
        return total, log

    def mask_loss(self, tokens: Tensor, sources: Tensor, batch: InstructBatch) -> Tensor | None:
        """Cross entropy of the classes where the prompt names some; None where there is nothing to learn.

        A head that sees pixels gets every item, with or without classes: its batch norms are shared by all processes,
        which so have to call it at the same time. Where it is frozen, nothing else learns from masks.
        """
        head, by_pixels, named = self.model.mask_head, bool(self.model.config.mask_pixels), batch.has_mask
        if head is None or not self.options.mask:
            return None
        if by_pixels:
            if not next(head.parameters()).requires_grad:
                return None
            logits = head(None, sources)
            if not bool(named.any()):
                return logits.sum() * 0
            return F.cross_entropy(logits[named], batch.classes[named], ignore_index=-1)
        if not bool(named.any()):
            return None
        return F.cross_entropy(head(tokens[named], sources[named]), batch.classes[named], ignore_index=-1)


class Reflow(Instruct):
    """The student of a trained model: velocity x_1 - x_0 between a noise and what the teacher makes of it, at the times
    that few steps visit.

    t is 0 half of the time, else evenly one of 1/4, 1/2, 3/4. No guidance: `branches` is 1 in the student's
    configuration. Options are ReflowSettings.
    """

    kind = ReflowSettings

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        if not recipe.start:
            raise FusionError("strategy 'straighten' needs a trained model: give its folder, --set start=runs/...")
        super().__init__(model, recipe)

    def times(self, batch: InstructBatch) -> Tensor:
        """(B,) 0 half of the time, else 1/4, 1/2 or 3/4"""
        t = torch.randint(1, 4, (len(batch.goal),)) / 4
        return (t * (torch.rand(len(t)) < 0.5)).to(batch.goal)

    def origin(self, batch: InstructBatch) -> Tensor:
        """x_0 (B, 16, h, w), from which the teacher made the goal"""
        if batch.origin is None:
            raise FusionError("strategy 'straighten' needs a pool with the teacher's results")
        return batch.origin


Straighten = Reflow
"""The name of version 0.1."""
