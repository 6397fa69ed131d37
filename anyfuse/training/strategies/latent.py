"""Training in latent space on degraded pairs: strategy 'latent', for models with the parts of MMAIF (ICCV 2025, arXiv
2503.14944).

    pool        clean pairs of every task, their target, and the pair degraded by one to three operations
                (degradation/plan.py); made once, kept on disk with the latents of the codec, shared by all runs beside
                each other that ask for the same one
    target      the truth where there is one (synthetic focus), else what the default model makes of the clean pair; the
                paper takes SwinFusion's and DeFuse's results
    regression  L1 in latent space, each channel by what it does to the image
    flow        squared error of x_1, by channel as well, at x_t = (1 - t) noise + t x_1, t = sigmoid of a normal
                number, or 0; without config.mix that of v
    decoded     the recipe's losses, of the image that decoder and detail path make; the decoder is frozen, gradients
                pass through it
    balance     the router's loss; `words` make instructions of the degradations; a share of the pairs has none

What a pair needs at each step is read, not computed: a step costs the transformer and one decoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...control import DEGRADATIONS, STRENGTHS
from ...data.batches import Batch
from ...degradation.plan import FAULT_OF, DegradationPlan
from ...errors import FusionError
from ...models.base import FusionModel
from ...models.latent.flow import draw_times, flow_loss
from ...models.mmaif.instruction import WIDTH
from ...models.mmaif.mmaif import MMAIF
from ..objectives import SingleLossStrategy, make_optimiser, split_losses
from ..pools.degraded_pairs import LatentBatch, PairSettings, Words
from ..recipe import Recipe

# ---------------------------------------------------------------------- the strategy


@dataclass(frozen=True)
class LatentSettings(PairSettings):
    """Settings of strategy 'latent' and of its pool; all are ours where no paper is named."""

    drop: float = 0.15  # share of the pairs without an instruction, 0 to 1
    latent: float = 1.0  # weight of the latent loss, 0 or more
    balance: float = 0.01  # weight of the router's loss, 0 or more
    decoded: float = 0.3  # share of each batch that is decoded, 0 to 1
    image: float = 1.0  # weight of the losses of decoded images, 0 or more
    even: bool = False  # all latent channels count alike, instead of by what each does to the image
    at_start: float = 0.25  # share of t = 0 in flow, 0 to 1


class Latent(SingleLossStrategy):
    """One AdamW step on the latent, the decoded and the balance loss; options are LatentSettings.

    words: makes vectors of what was done to a pair; None: the numbers of models/mmaif/instruction.py where they fit the
    model, else no instructions.
    """

    model: MMAIF

    def __init__(self, model: FusionModel, recipe: Recipe, words: Words | None = None) -> None:
        if not isinstance(model, MMAIF):
            raise FusionError(f"strategy 'latent' needs a model of latents, as mmaif-tiny, not {type(model).__name__}")
        fits = model.config.text == WIDTH
        self.model, self.recipe, self.words = model, recipe, words or (plan_vectors if fits else None)
        self.options = recipe.settings(LatentSettings)
        model.mark()
        self.gains = 1.0 if self.options.even else model.gains()
        self.optimiser = make_optimiser(model.parameters(), recipe, fused=True)

    def loss(self, batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """The sum of all losses, and each for the log."""
        given = [b for b in batches if isinstance(b, LatentBatch) and b.latents is not None and b.goal is not None]
        if len(given) != len(batches):
            raise FusionError("strategy 'latent' needs pairs with latents: see training.pools.degraded_pairs")
        latents = torch.cat([b.latents for b in given if b.latents is not None])
        goal = torch.cat([b.goal for b in given if b.goal is not None])
        text = self._text([plans for b in given for plans in b.plans], latents)
        if self.model.config.flow:
            t = draw_times(goal, self.options.at_start)
            noise = torch.randn(goal.shape).to(goal)
            now = (1 - t)[:, None, None, None] * noise + t[:, None, None, None] * goal
            predicted = self.model.dit(torch.cat([now, latents], 1), t, text)
            near = flow_loss(predicted.latents, goal - noise, t, self.gains, self.model.config.mix)
            result = now + (1 - t)[:, None, None, None] * predicted.latents
        else:
            predicted = self.model.predict(latents, text)
            near = (self.gains * (predicted.latents - goal).abs()).mean()
            result = predicted.latents
        total = self.options.latent * near + self.options.balance * predicted.balance
        log = {"latent": float(near.detach())}
        if predicted.load.numel():
            log |= {"balance": float(predicted.balance.detach()), "busiest": float(predicted.load.amax(1).mean())}
        if self.options.decoded and self.options.image:
            losses, more = self._decoded(given, result, predicted.guide, text)
            total, log = total + self.options.image * losses.mean(), log | more
        return total, log

    def _text(self, plans: list[tuple[DegradationPlan, ...]], like: Tensor) -> Tensor | None:
        """Embeddings (B, E); rows of zeros where the words are dropped."""
        if self.words is None:
            return None
        return self.words(plans).to(like) * (torch.rand(len(plans), 1) >= self.options.drop).to(like)

    def _decoded(
        self, batches: list[LatentBatch], result: Tensor, guide: Tensor | None, text: Tensor | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """The recipe's losses (tasks,) of a share of each batch, decoded."""
        chosen: list[int] = []
        parts: list[Batch] = []
        start = 0
        for b in batches:
            count = max(1, math.ceil(len(b.sources) * self.options.decoded))
            chosen += range(start, start + count)
            start += len(b.sources)
            parts.append(
                Batch(b.task, b.sources[:count], b.clean[:count], None if b.truth is None else b.truth[:count])
            )
        sources = torch.cat([b.sources for b in parts]).expand(-1, -1, self.model.channels, -1, -1)
        instructions = None if text is None else text[chosen]
        fused = self.model.render(result[chosen], None if guide is None else guide[chosen], sources, instructions)
        losses, log = split_losses(fused, parts, self.recipe.losses)
        with torch.no_grad():
            truth = torch.cat([b.truth for b in parts if b.truth is not None])
            wrong = (fused.clamp(0, 1).mean(1) - truth).square().mean((1, 2))
            each = (-10 * wrong.clamp_min(1e-8).log10()).split([len(b.sources) for b in parts])
            log |= {f"{b.task}/psnr": p.mean() for b, p in zip(parts, each, strict=True)}
        return losses, log


def plan_vectors(plans: Sequence[tuple[DegradationPlan, ...]]) -> Tensor:
    """(B, 31): what was done to the sources of B pairs, as a user would say it.

    A strength is, in a third of the pairs each, what it was; the nearest of 0.25, 0.5 and 1, as in words; 0.5, as of a
    user who names none. Of some pairs both sources get all degradations. Draws from torch's global generator.
    """
    out = torch.zeros(len(plans), WIDTH)
    for row, pair in zip(out, plans, strict=True):
        way, both = int(torch.randint(3, ())), bool(torch.rand(()) < 0.3)
        for place, plan in enumerate(pair):
            for step in plan:
                k = DEGRADATIONS.index(FAULT_OF.get(step.op, step.op))
                level = (step.strength, min(STRENGTHS, key=lambda v: abs(v - step.strength)), 0.5)[way]
                for at in (0, 1) if both else (place,):
                    row[1 + at * len(DEGRADATIONS) + k] = max(level, float(row[1 + at * len(DEGRADATIONS) + k]))
        row[0] = 1
    return out
