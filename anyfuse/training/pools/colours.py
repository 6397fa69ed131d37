"""The mixture of instructions in colour, for DiTFuse (arXiv 2512.07170) with a codec of RGB: the full system, which is
OmniGen, and the small one with config.painted.

    m3        views of the natural image in its colours
    pairs     the default model's luma, with the chroma of the sources; synthetic focus in colour; exposures are real
    control   tones of luma; the chroma stays
    segment   the paper's overlay: half of blue over a class that is drawn once for the item, four in five times one
              that the crop has; of a class that is nowhere the target is the image

Origin: ours, from the paper's description. Licence: Apache-2.0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from ...control import CLASSES, Control
from ...data.batches import darkness
from ...data.synthetic import focus_scene
from ...data.tones import apply_tones
from ...image.colour import join, merge_chroma, to_chroma, to_luma
from ...image.frame import Frame
from ...image.overlay import paint
from ...image.random import integer, uniform
from ...losses import ssim_map
from ...models.base import FusionModel
from ...models.ditfuse.ditfuse import DiTFuse
from ...models.ditfuse.omnigen import OmniGen
from ...models.ditfuse.prompt import full_prompt, image_tag
from ..recipe import Recipe
from .instructions import UNLABELLED, InstructBatch, InstructPairs

COLOURS_VERSION = 1
"""Of the pool: to be raised where making it changes."""
CODED = 4
"""Images that go through the codec at a time."""


class ColourPairs(InstructPairs):
    """The mixture in colour, in FOLDER/colours-KEY. Batches are InstructBatch with sources (B, 2, 3, H, W), truth (B,
    3, H, W) and no masks.
    """

    prefix, planes, coded, colours = "colours", 10, (0, 1, 2), 3
    version: ClassVar[tuple[Any, ...]] = (COLOURS_VERSION,)

    def __init__(
        self,
        root: str | Path,
        recipe: Recipe,
        model: DiTFuse | OmniGen,
        folder: Path,
        device: str = "cpu",
        log: Callable[[str], None] = print,
    ) -> None:
        self.full = isinstance(model, OmniGen)
        super().__init__(root, recipe, model, folder, device, log)
        luma = {name: [to_luma8(stack) for stack in stacks] for name, stacks in self.validation.items()}
        self.validation = luma  # what the card's metrics look at

    @staticmethod
    def planes_of(frame: Frame) -> np.ndarray:
        """What is kept of an image, uint8: RGB (3, H, W)."""
        return (frame.read().expand(3, -1, -1) * 255).round().to(torch.uint8).numpy()

    # ------------------------------------------------------------------ items

    def drawn_tasks(self) -> tuple[str, ...]:
        """Those that there are real pairs of, and synthetic focus."""
        return tuple(task for task in super().drawn_tasks() if task == "mff" or task in self.train)

    def real(self, task: str, gen: Generator, teacher: FusionModel, device: str) -> tuple[Tensor, Tensor]:
        """A pair (2, 3, S, S) of a task, and its target (3, S, S)."""
        if task == "mff":
            return self.focus(gen)
        sources = self.crop(task, self.size, gen)
        return sources, fused_in_colour(sources, teacher, device)

    def focus(self, gen: Generator) -> tuple[Tensor, Tensor]:
        """A synthetic focus pair (2, 3, S, S), darker first, and the sharp image (3, S, S)."""
        sharp, state = self.natural(gen), gen.get_state()
        planes = []
        for plane in sharp:  # the same layers and lenses for each
            gen.set_state(state)
            planes.append(focus_scene(plane, 2, gen)[0])
        pair = torch.stack(planes, 1)
        pair = pair[darkness(to_luma(pair)[:, 0])]
        return (pair + uniform(0, 0.006, gen) * torch.randn(pair.shape, generator=gen)).clamp(0, 1), sharp

    def toned(self, target: Tensor, tones: Sequence[str]) -> Tensor:
        """A target (3, S, S) whose luma has other tones."""
        return join(apply_tones(to_luma(target), tones), to_chroma(target))

    def painted(self, target: Tensor, classes: Tensor, kind: str, gen: Generator) -> tuple[Tensor, dict[str, Any]]:
        """Of a segment item the target with half of blue over one class, whose name is noted."""
        if kind != "segment":
            return target, {}
        here = [k for k in classes.unique().int().tolist() if k != UNLABELLED]
        drawn = here if here and uniform(0, 1, gen) < 0.8 else list(range(UNLABELLED))
        chosen = drawn[integer(0, len(drawn) - 1, gen)]
        return paint(target, (classes == chosen).to(target)), {"painted": [CLASSES[chosen]]}

    def encoded(self, model: DiTFuse | OmniGen, pixels: Tensor) -> Tensor:
        """Planes (B, 10, S, S) in [0, 1] -> latents (B, 3, C, h, w) of sources and target."""
        images = pixels[:, :9].unflatten(1, (3, 3)).flatten(0, 1)
        return torch.cat([model.codec.encode(part) for part in images.split(CODED)]).unflatten(0, (-1, 3))

    # ------------------------------------------------------------------ batches

    def batch(self, task: str, count: int, n: int, size: int, gen: Generator) -> InstructBatch:
        """`count` items of the pool, kinds by their shares; `n` and `size` are the pool's. No masks: the target has the
        classes.
        """
        found = super().batch(task, count, n, size, gen)
        return replace(found, has_mask=torch.zeros_like(found.has_mask))

    def images_alone(self) -> str:
        """The prompt without words."""
        return f"{image_tag(1)} {image_tag(2)}" if self.full else super().images_alone()

    def prompt(self, control: Control, rng: random.Random) -> str:
        """A request in words, as the model reads it."""
        return full_prompt(control, rng) if self.full else super().prompt(control, rng)

    # ------------------------------------------------------------------ scores

    def score(
        self, model: FusionModel, teacher: FusionModel, planes: Tensor, item: dict[str, Any], device: str
    ) -> dict[str, float]:
        """Of one item: PSNR of all planes and SSIM of luma to the target, of the model and of the default model."""
        x = ((planes * 255).round() / 255).to(device)
        sources, target = x[:6].unflatten(0, (2, 3)), x[6:9]
        row: dict[str, float] = {}
        for name, fused in (
            ("", model(sources[None], condition=self.control(item))[0].to(target)),
            (f"_{self.teacher}", fused_in_colour(sources, teacher, device).to(target)),
        ):
            row[f"psnr{name}"] = float(-10 * (fused - target).square().mean().clamp_min(1e-8).log10())
            row[f"ssim{name}"] = float(ssim_map(to_luma(fused), to_luma(target)).mean())
        return row


def fused_in_colour(sources: Tensor, teacher: FusionModel, device: str) -> Tensor:
    """A pair (2, 3, S, S) -> its fusion (3, S, S): luma by a model of luma, chroma by saturation."""
    luma = teacher(to_luma(sources)[None].to(device))[0].cpu()
    return join(luma, merge_chroma(to_chroma(sources.cpu())))


def to_luma8(stack: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) uint8 -> luma (N, H, W) uint8"""
    return (to_luma(torch.from_numpy(stack).float() / 255)[:, 0] * 255).round().to(torch.uint8).numpy()


__all__ = ["ColourPairs"]
