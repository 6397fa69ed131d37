"""Training of the full system's adapter (DiTFuse, arXiv 2512.07170; OmniGen, arXiv 2409.11340) on a mixture of
instructions in colour (pools/colours.py): strategy 'adapt'.

    flow      t = sigmoid(normal), x_t = t x_1 + (1 - t) x_0; the mean squared error of the velocity x_1 - x_0 in the
              latents of the frozen codec, and nothing else
    adapter   alone gets gradients; `checkpoint` keeps only the inputs of each layer and computes it twice
    item      one after the other, as each prompt has its length: condition and target are two passes, joined by keys
              and values, through which gradients go

Origin: ours, from the paper's description and the formulas. Licence: Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...data.batches import Batch
from ...errors import FusionError
from ...models.base import FusionModel
from ...models.ditfuse.omnigen import OmniGen
from ...models.latent.flow import draw_times, flow_loss
from ..objectives import SingleLossStrategy, make_optimiser
from ..pools.instructions import InstructBatch, MixtureSettings
from ..recipe import Recipe


@dataclass(frozen=True)
class AdaptSettings(MixtureSettings):
    """Settings of strategy 'adapt' and of its pool."""

    wordless: float = 0.0  # as in MixtureSettings; the paper drops the whole condition alone
    checkpoint: bool = True  # each layer is computed again in the backward pass, which keeps its inputs alone
    scored: int = 2  # held-out items of each kind, and images of each set, that the card looks at, 1 or more


class Adapt(SingleLossStrategy):
    """One step on the velocity, for the adapter alone; options are AdaptSettings."""

    model: OmniGen

    def __init__(self, model: FusionModel, recipe: Recipe) -> None:
        if not isinstance(model, OmniGen):
            raise FusionError(f"strategy 'adapt' needs OmniGen, as recipe omnigen-lora, not {type(model).__name__}")
        self.model, self.recipe = model, recipe
        model.checkpointing = recipe.settings(AdaptSettings).checkpoint
        self.optimiser = make_optimiser(model.parameters(), recipe)

    def loss(self, batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """The squared error of the velocity, the mean over the items."""
        if len(batches) != 1 or not isinstance(batches[0], InstructBatch):
            raise FusionError("strategy 'adapt' needs items of a pool, see training.pools.colours.ColourPairs")
        batch = batches[0]
        goal, size = batch.goal, (batch.goal.shape[-2], batch.goal.shape[-1])
        t, origin = draw_times(goal, 0.0), torch.randn(goal.shape).to(goal)
        share = t[:, None, None, None]
        now = share * goal + (1 - share) * origin
        velocities = []
        for k, (prompt, time) in enumerate(zip(batch.prompts, t.tolist(), strict=True)):
            pair = batch.latents[k]
            images = [pair[1:], pair[:1]] if batch.has_images[k] else []  # as in OmniGen.generate
            velocities.append(
                self.model.velocity(now[k : k + 1], time, self.model.encode_condition(prompt, images, size))
            )
        loss = flow_loss(torch.cat(velocities), goal - origin, t, 1.0, of_result=False)
        return loss, {"velocity": loss.detach()}
