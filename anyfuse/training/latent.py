"""Training in latent space on degraded pairs: strategy 'latent', for models with the parts of MMAIF (ICCV 2025, arXiv 2503.14944).

    pool        clean pairs of every task, their target, and the pair degraded by one to three operations (data/degrade.py); made once, kept on
                disk with the latents of the codec, shared by all runs beside each other that ask for the same one
    target      the truth where there is one (synthetic focus), else what the default model makes of the clean pair; the paper takes SwinFusion's
                and DeFuse's results
    regression  L1 in latent space, each channel by what it does to the image
    flow        squared error of x_1, by channel as well, at x_t = (1 - t) noise + t x_1, t = sigmoid of a normal number, or 0; without config.mix that of v
    decoded     the recipe's losses, of the image that decoder and detail path make; the decoder is frozen, gradients pass through it
    balance     the router's loss; `words` tell of the degradations, and are left out for a share of the pairs

What a pair needs at each step is read, not computed: a step costs the transformer and one decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Generator, Tensor

from ..data.batches import Batch, darkness
from ..data.degrade import OPERATIONS, Plan, Step, apply, derive, draw, generator
from ..data.depth import plausible_depth
from ..data.synthetic import integer, uniform
from ..errors import FusionError
from ..losses import ssim_map
from ..models import MODELS, load_model
from ..models.base import FusionModel
from ..models.latent_model import draw_times, flow_loss
from ..models.mmaif import MMAIF
from ..models.wishes import WIDTH, plan_vectors
from .pool import TEACHER, Pool, pool_seed
from .recipes import Recipe
from .tasks import Descent, make_optimiser, read_options, split_losses

VERSION = 2
"""Of the pool: to be raised where making it changes."""
LARGEST = 5
"""Weather is that of a picture up to so many times as high as the crop."""
DEFAULTS: dict[str, float] = {
    "pool": 8000, "clean": 0.15, "drop": 0.15, "latent": 1.0, "balance": 0.01, "decoded": 0.3, "image": 1.0,
    "even": 0.0, "at_start": 0.25, "pool_seed": -1,
}  # fmt: skip
"""pool: pairs; clean: share that is not degraded; drop: share without words; weights of the latent loss, of the balance loss and (image) of the
decoded losses; decoded: share of each batch that is decoded; even: 1 lets all latent channels count alike, 0 by what each does to the image; at_start: share of t = 0
in flow; pool_seed: of the pairs, so that runs of several seeds share a pool; -1: the run's."""


@dataclass
class LatentBatch(Batch):
    """Batch of degraded sources: clean are the sources before, truth the target; latents (B, 32, h, w) of the sources, goal (B, 16, h, w)
    of the target; plans: per pair what was done to each source."""

    latents: Tensor | None = None
    goal: Tensor | None = None
    plans: Sequence[tuple[Plan, ...]] = ()


class Words(Protocol):
    """Tells a model of degradations."""

    def __call__(self, plans: Sequence[tuple[Plan, ...]]) -> Tensor:
        """Per pair what was done to each source -> embeddings (B, E); what is drawn comes from torch's global generator."""


# ---------------------------------------------------------------------- the pool


class DegradedPairs(Pool):
    """TrainingData whose batches come from a pool of degraded pairs in FOLDER/pairs-KEY.

    Interrupted, its making goes on; another codec gets its own file of latents there. scored: pairs per task in `scores`.
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
        options = read_options(recipe, DEFAULTS)
        super().__init__(root, recipe.sets, recipe.crop, int(options["pool"]), model.stride)
        self.clean, self.tasks, self.seed = options["clean"], tuple(recipe.tasks), pool_seed(recipe, options)
        if self.count < len(self.tasks):
            raise FusionError(f"options.pool={self.count}: give one pair per task or more")
        key = [VERSION, self.size, self.count, self.clean, self.tasks, self.seed, self.manifest, MODELS[TEACHER].sha256]
        found = self.fill(key, model, folder, device, log)
        self.plans = [tuple(tuple(Step(*s) for s in plan) for plan in plans) for plans in found]

    def item(self, index: int, teacher: FusionModel, device: str) -> tuple[Tensor, tuple[Plan, ...]]:
        return self.pair(index, teacher, device)

    def pair(self, index: int, teacher: FusionModel, device: str) -> tuple[Tensor, tuple[Plan, ...]]:
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
        plans: tuple[Plan, ...] = ((), ())
        if uniform(0, 1, gen) >= self.clean:
            plans = draw(task, 2, gen)
        seed = derive(self.seed, "degrade", index)
        frame = integer(self.size, LARGEST * self.size, gen)  # the crop is a part of a picture, as far as weather goes
        top, left = integer(0, frame - self.size, gen), integer(0, frame * 4 // 3 - self.size, gen)
        depth = None
        if any(OPERATIONS[step.op].depth for plan in plans for step in plan):
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
        """On degraded pairs of held-out files, per task: PSNR and SSIM to the target, of the model (told nothing) and of the default model."""
        found: dict[str, dict[str, float]] = {}
        teacher, trained = load_model(TEACHER).to(device), self.train
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
            for name, fuse in (("", model), (f"_{TEACHER}", teacher)):
                fused = torch.cat([fuse(pair[None, :2, None]).mean(1) for pair in x])
                wrong = (fused - x[:, 4]).square().mean((1, 2)).clamp_min(1e-8)
                row[f"psnr{name}"] = float((-10 * wrong.log10()).mean())
                row[f"ssim{name}"] = float(ssim_map(fused, x[:, 4]).mean())
            found[f"{task}, degraded"] = row
        return found


# ---------------------------------------------------------------------- the strategy


class Latent(Descent):
    """One AdamW step on the latent, the decoded and the balance loss; options as in DEFAULTS.

    words: makes vectors of what was done to a pair; None: the numbers of models/wishes.py where they fit the model, else no instructions.
    """

    model: MMAIF
    DEFAULTS: ClassVar[dict[str, float]] = DEFAULTS

    def __init__(self, model: FusionModel, recipe: Recipe, words: Words | None = None) -> None:
        if not isinstance(model, MMAIF):
            raise FusionError(f"strategy 'latent' needs a model of latents, as mmaif-tiny, not {type(model).__name__}")
        fits = model.config.text == WIDTH
        self.model, self.recipe, self.words = model, recipe, words or (plan_vectors if fits else None)
        self.options = read_options(recipe, DEFAULTS)
        model.mark()
        self.gains = 1.0 if self.options["even"] else model.gains()
        self.optimiser = make_optimiser(model.parameters(), recipe, fused=True)

    def loss(self, batches: list[Batch]) -> tuple[Tensor, dict[str, Any]]:
        """The sum of all losses, and each for the log."""
        given = [b for b in batches if isinstance(b, LatentBatch) and b.latents is not None and b.goal is not None]
        if len(given) != len(batches):
            raise FusionError("strategy 'latent' needs pairs with latents: see training.latent.DegradedPairs")
        latents = torch.cat([b.latents for b in given if b.latents is not None])
        goal = torch.cat([b.goal for b in given if b.goal is not None])
        text = self._text([plans for b in given for plans in b.plans], latents)
        if self.model.config.flow:
            t = draw_times(goal, self.options["at_start"])
            noise = torch.randn(goal.shape).to(goal)
            now = (1 - t)[:, None, None, None] * noise + t[:, None, None, None] * goal
            found = self.model.dit(torch.cat([now, latents], 1), t, text)
            near = flow_loss(found.latents, goal - noise, t, self.gains, self.model.config.mix)
            result = now + (1 - t)[:, None, None, None] * found.latents
        else:
            found = self.model.predict(latents, text)
            near = (self.gains * (found.latents - goal).abs()).mean()
            result = found.latents
        total = self.options["latent"] * near + self.options["balance"] * found.balance
        log = {"latent": float(near.detach())}
        if found.load.numel():
            log |= {"balance": float(found.balance.detach()), "busiest": float(found.load.amax(1).mean())}
        if self.options["decoded"] and self.options["image"]:
            losses, more = self._decoded(given, result, found.guide, text)
            total, log = total + self.options["image"] * losses.mean(), log | more
        return total, log

    def _text(self, plans: list[tuple[Plan, ...]], like: Tensor) -> Tensor | None:
        """Embeddings (B, E); rows of zeros where the words are dropped."""
        if self.words is None:
            return None
        return self.words(plans).to(like) * (torch.rand(len(plans), 1) >= self.options["drop"]).to(like)

    def _decoded(
        self, batches: list[LatentBatch], result: Tensor, guide: Tensor | None, text: Tensor | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """The recipe's losses (tasks,) of a share of each batch, decoded."""
        chosen: list[int] = []
        parts: list[Batch] = []
        start = 0
        for b in batches:
            count = max(1, math.ceil(len(b.sources) * self.options["decoded"]))
            chosen += range(start, start + count)
            start += len(b.sources)
            parts.append(
                Batch(b.task, b.sources[:count], b.clean[:count], None if b.truth is None else b.truth[:count])
            )
        sources = torch.cat([b.sources for b in parts]).expand(-1, -1, self.model.channels, -1, -1)
        told = None if text is None else text[chosen]
        fused = self.model.render(result[chosen], None if guide is None else guide[chosen], sources, told)
        losses, log = split_losses(fused, parts, self.recipe.losses)
        with torch.no_grad():
            truth = torch.cat([b.truth for b in parts if b.truth is not None])
            wrong = (fused.clamp(0, 1).mean(1) - truth).square().mean((1, 2))
            each = (-10 * wrong.clamp_min(1e-8).log10()).split([len(b.sources) for b in parts])
            log |= {f"{b.task}/psnr": p.mean() for b, p in zip(parts, each, strict=True)}
        return losses, log
