"""The degraded pairs that models of latents learn from, from a pool on disk; strategies/latent.py trains on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Generator, Tensor

from ...data.batches import Batch, darkness
from ...degradation.depth import estimated_depth, plausible_depth
from ...degradation.plan import KNOWN, DegradationPlan, Step, apply, derive, draw, draw_varied, generator
from ...errors import FusionError
from ...image.random import integer, uniform
from ...losses import ssim_map
from ...models.base import FusionModel
from ...models.mmaif.mmaif import MMAIF
from ...models.registry import MODELS, load_model
from ..recipe import Recipe
from .base import Pool, PoolSettings, pool_seed, teacher_of

PAIRS_VERSION = 2
"""Of the pool: to be raised where making it changes."""
LARGEST = 5
"""Weather is drawn for a picture up to N times as high as the crop."""


@dataclass(frozen=True)
class PairSettings(PoolSettings):
    """What decides the pairs of a pool."""

    clean: float = 0.15  # share of the pairs that is not degraded, 0 to 1; ours
    varied: float = 0.0  # share of the degraded pairs with degradations as they occur (plan.draw_varied), 0 to 1; ours
    depth_model: str = ""  # folder or hub id of Depth Anything, which gives weather its depth; empty: it is made up


@dataclass
class LatentBatch(Batch):
    """Batch of degraded sources; `clean` are the sources before, `truth` the target."""

    latents: Tensor | None = None  # of the sources, (B, 2 * C, h, w)
    goal: Tensor | None = None  # latents of the target, (B, C, h, w)
    plans: Sequence[tuple[DegradationPlan, ...]] = ()  # per pair: the degradations of each source


class Words(Protocol):
    """Makes instructions of degradations."""

    def __call__(self, plans: Sequence[tuple[DegradationPlan, ...]]) -> Tensor:
        """Per pair what was done to each source -> embeddings (B, E); what is drawn comes from torch's global
        generator.
        """


# ---------------------------------------------------------------------- the pool


class DegradedPairs(Pool):
    """TrainingData whose batches come from a pool of degraded pairs in FOLDER/pairs-KEY.

    An interrupted run resumes; another codec gets its own file of latents there. scored: pairs per task in
    `scores`.
    """

    prefix, notes, planes, coded = "pairs", "plans.jsonl", 5, (0, 1, 4)
    scored: ClassVar[int] = 16

    def __init__(
        self,
        root: str | Path,
        recipe: Recipe,
        model: MMAIF,
        folder: Path,
        device: str = "cpu",
        log: Callable[[str], None] = print,
    ) -> None:
        options = recipe.settings(PairSettings)
        super().__init__(root, recipe.sets, recipe.crop, options.pool, model.stride)
        self.clean, self.tasks, self.seed = float(options.clean), tuple(recipe.tasks), pool_seed(recipe, options)
        self.as_they_occur, self.depth_model = float(options.varied), options.depth_model
        if self.count < len(self.tasks):
            raise FusionError(f"options.pool={self.count}: give one pair per task or more")
        key = [
            PAIRS_VERSION,
            self.size,
            self.count,
            self.clean,
            self.tasks,
            self.seed,
            self.manifest,
            MODELS[teacher_of(model)].sha256,
            *([self.as_they_occur] if self.as_they_occur else []),
            *([f"depth {model_digest(self.depth_model)}"] if self.depth_model else []),
        ]
        filled = self.fill(key, model, folder, device, log)
        self.plans = [tuple(tuple(Step(*s) for s in plan) for plan in plans) for plans in filled]

    def item(self, index: int, teacher: FusionModel, device: str) -> tuple[Tensor, tuple[DegradationPlan, ...]]:
        """See `pair`."""
        return self.pair(index, teacher, device)

    def pair(self, index: int, teacher: FusionModel, device: str) -> tuple[Tensor, tuple[DegradationPlan, ...]]:
        """(5, S, S) in [0, 1]: degraded sources, clean sources, target; and what was done to each source."""
        gen = generator(self.seed, "pair", index)
        task = self.tasks[index % len(self.tasks)]
        place = index // len(self.tasks) % 2  # of exposures, every other pair is a synthetic one
        batch = super().batch(task, 2, 2, self.size, gen)
        sources, clean = batch.sources[place, :, 0], batch.clean[place]
        if batch.truth is not None:
            target = batch.truth[place]
        else:
            target = teacher(clean[None, :, None].to(device))[0, 0].cpu()
        plans: tuple[DegradationPlan, ...] = ((), ())
        if uniform(0, 1, gen) >= self.clean:
            varied = self.as_they_occur > 0 and uniform(0, 1, gen) < self.as_they_occur
            plans = (draw_varied if varied else draw)(task, 2, gen)
        seed = derive(self.seed, "degrade", index)
        frame = integer(self.size, LARGEST * self.size, gen)  # the crop is a part of a picture, as far as weather goes
        top, left = integer(0, frame - self.size, gen), integer(0, frame * 4 // 3 - self.size, gen)
        depth = None
        if any(KNOWN[step.op].depth for plan in plans for step in plan):
            if self.depth_model:  # of what both sources show: the visible one, else the target
                depth = estimated_depth((clean[1] if task == "ivf" else target)[None], self.depth_model)
            else:
                depth = plausible_depth(frame, frame * 4 // 3, gen)[top : top + self.size, left : left + self.size]
        bad = torch.cat(
            [
                apply(x[None], plan, seed, depth=depth, source=k, frame=frame)[0]
                for k, (x, plan) in enumerate(zip(sources, plans, strict=True))
            ]
        )
        order = darkness(bad).tolist() if task != "ivf" else [0, 1]  # roles go by what the model will see
        return torch.cat([bad[order], clean[order], target[None]]), tuple(plans[k] for k in order)

    def batch(self, task: str, count: int, n: int, size: int, gen: Generator) -> LatentBatch:
        """`count` pairs of the pool; `n` and `size` are the pool's."""
        turn = self.tasks.index(task)
        each = len(range(turn, self.count, len(self.tasks)))
        index = (torch.randint(0, each, (count,), generator=gen) * len(self.tasks) + turn).numpy()
        pixels = torch.from_numpy(self.pixels[index]).float() / 255
        codes = torch.from_numpy(self.codes[index]).float()
        plans = [self.plans[k] for k in index.tolist()]
        return LatentBatch(
            task, pixels[:, :2, None], pixels[:, 2:4], pixels[:, 4], codes[:, :2].flatten(1, 2), codes[:, 2], plans
        )

    @torch.inference_mode()
    def scores(self, model: FusionModel, device: str = "cpu") -> dict[str, dict[str, float]]:
        """On degraded pairs of held-out files, per task: PSNR and SSIM to the target, of the model (without an
        instruction) and of the default model.
        """
        scores: dict[str, dict[str, float]] = {}
        teacher, trained = load_model(self.teacher).to(device), self.train
        for turn, task in enumerate(self.tasks):
            if ("ivf" if task == "ivf" else "natural") not in self.held:
                continue
            self.train, clean, self.clean = self.held, self.clean, 0.0
            try:
                first = self.count // len(self.tasks) + 1  # past the pool, so other draws
                made = [self.pair((first + k) * len(self.tasks) + turn, teacher, device)[0] for k in range(self.scored)]
            finally:
                self.train, self.clean = trained, clean
            x = ((torch.stack(made) * 255).round() / 255).to(device)
            row: dict[str, float] = {}
            for name, fuse in (("", model), (f"_{self.teacher}", teacher)):
                fused = torch.cat([fuse(pair[None, :2, None]).mean(1) for pair in x])
                wrong = (fused - x[:, 4]).square().mean((1, 2)).clamp_min(1e-8)
                row[f"psnr{name}"] = float((-10 * wrong.log10()).mean())
                row[f"ssim{name}"] = float(ssim_map(fused, x[:, 4]).mean())
            scores[f"{task}, degraded"] = row
        return scores


def model_digest(model: str) -> str:
    """Stands for a depth model: a digest of the weights in its folder, or its hub id."""
    files = sorted(Path(model).glob("*.safetensors"))
    digests = [sha256(file.read_bytes()).hexdigest() for file in files]
    return sha256("".join(digests).encode()).hexdigest() if files else model
