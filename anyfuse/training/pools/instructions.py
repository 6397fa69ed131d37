"""The mixture of instructions that DiTFuse (arXiv 2512.07170) is trained on, from a pool on disk; instruct.py trains on
it.

    m3        two degraded views of a natural image (degradation/masked_pairs.py); the target is the image; prompt
              [FUSION]
    pairs     infrared and visible, exposures, synthetic focus, medical images where the recipe has a set of them; the
              target is the truth where there is one, else what the default model makes of them
    control   an M3 or a real pair whose target has another tone (data/tones.py); prompt [CONTROL]
    segment   a street image of CamVid, twice, as an M3 pair or beside a version in other tones; the target is the
              image, the mask that of a class

Items are luma here; pools/colours.py has them in colour, with classes painted into the target.

Origin: ours, from the paper's description; the shares of the mixture beside the 4.3 % of real pairs are ours. Licence:
Apache-2.0.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...control import CLASSES, TONES, Control
from ...data.batches import Batch, darkness
from ...data.tones import apply_tones
from ...degradation.masked_pairs import M3, complement, m3_pair
from ...degradation.plan import generator
from ...errors import FusionError
from ...image.colour import to_luma
from ...image.random import integer, uniform
from ...io.folders import pair_by_stem
from ...io.read import read_image
from ...losses import ssim_map
from ...models.base import FusionModel
from ...models.ditfuse.ditfuse import DiTFuse
from ...models.ditfuse.omnigen import OmniGen
from ...models.ditfuse.prompt import IMAGES, NOTHING, prompt
from ...models.latent.flow import noise
from ...models.registry import MODELS, load_model
from ...weights import WEIGHTS_NAME
from ..recipe import Recipe
from .base import Pool, PoolSettings, pool_seed, teacher_of

Street = TypeVar("Street")

INSTRUCTIONS_VERSION = 2
"""Of the pool: to be raised where making it changes."""
TASK = "instruct"
"""The one task of the recipes: a batch mixes kinds by their shares."""
LAYOUT = (
    "m3",
    "control",
    "m3",
    "segment",
    "pairs",
    "m3",
    "control",
    "m3",
    "segment",
    "control",
    "m3",
    "control",
    "m3",
    "segment",
    "pairs",
    "m3",
    "control",
    "m3",
    "segment",
    "pairs",
)
"""Kinds of the items of a pool, in turns of twenty: 8 m3, 5 control, 4 segment, 3 pairs."""
PAIRS = ("ivf", "mef", "mff")
CAMVID = ("camvid/images", "camvid/labels")
UNLABELLED = len(CLASSES)


@dataclass(frozen=True)
class MixtureSettings(PoolSettings):
    """What decides the mixture. The shares of kinds are relative to their sum: 0 or more, and one above 0."""

    m3: float = 0.70  # share of a batch; ours
    pairs: float = 0.043  # share of a batch; the paper's
    control: float = 0.157  # share of a batch; ours
    segment: float = 0.10  # share of a batch; ours
    both: float = 0.0  # share of M3's tiles degraded in both views, 0 to 1; the paper's command has 0.25
    complements: float = 0.0  # share of M3 pairs of which one view has other tones, 0 to 1
    drop: float = 0.1  # share of the items without any condition, 0 to 1
    wordless: float = 0.1  # share of the items with the images alone, 0 to 1
    untold: float = 0.3  # share of real pairs without a subtask in the prompt, as most users leave it out, 0 to 1


@dataclass(frozen=True)
class TeacherSettings(PoolSettings):
    """What a pool needs whose targets a teacher generates."""

    teacher_steps: int = 20  # steps of the teacher, guided as in its configuration, 1 or more; ours
    ends: int = 3000  # items of the pool that the teacher generates, 1 or more; ours


@dataclass(kw_only=True)
class InstructBatch(Batch):
    """Batch of pairs with prompts."""

    latents: Tensor  # of the sources, (B, 2, C, h, w)
    goal: Tensor  # latents of the target, (B, C, h, w)
    has_images: Tensor  # (B,) bool: the condition has images
    classes: Tensor  # (B, H, W): numbers in control.CLASSES, -1 where unknown
    has_mask: Tensor  # (B,) bool: the prompt names a class, and some pixel has a known one
    origin: Tensor | None = None  # the noise that belongs to the goal, (B, C, h, w), for 'straighten'
    prompts: Sequence[str]  # B


class InstructPairs(Pool):
    """The mixture, from a pool in FOLDER/instruct-KEY with sources, target and classes of each item. scored: held-out
    items per kind in `scores`.
    """

    prefix, notes, planes, coded = "instruct", "items.jsonl", 4, (0, 1, 2)
    colours: ClassVar[int] = 1
    """Planes C of an image; an item has two sources, the target and the classes."""
    version: ClassVar[tuple[Any, ...]] = ()
    """What else decides the items."""
    scored: int = 8

    def __init__(
        self,
        root: str | Path,
        recipe: Recipe,
        model: DiTFuse | OmniGen,
        folder: Path,
        device: str = "cpu",
        log: Callable[[str], None] = print,
    ) -> None:
        o = recipe.settings(MixtureSettings)
        super().__init__(root, recipe.sets, recipe.crop, o.pool, model.stride)
        if tuple(recipe.tasks) != (TASK,):
            raise FusionError(f"strategy '{recipe.strategy}' has one task: give tasks.{TASK} alone")
        if self.count < len(LAYOUT):
            raise FusionError(f"options.pool={self.count}: give {len(LAYOUT)} items or more")
        self.options, self.seed, self.tagged = o, pool_seed(recipe, o), getattr(model.config, "tags", True)
        self.shares = {kind: float(getattr(o, kind)) for kind in ("m3", "pairs", "control", "segment")}
        if min(self.shares.values()) < 0 or sum(self.shares.values()) <= 0:
            raise FusionError("options.m3, pairs, control and segment are shares: 0 or more, and one above 0")
        self.drawn, self.scored = self.drawn_tasks(), getattr(o, "scored", self.scored)
        self.streets = self._streets()
        key = [
            INSTRUCTIONS_VERSION,
            self.size,
            self.count,
            float(o.both),
            float(o.complements),
            self.seed,
            self.manifest,
        ]
        self.items = self.fill(
            [*key, MODELS[teacher_of(model)].sha256, len(self.streets[0]), *self.version], model, folder, device, log
        )
        kinds = [item["kind"] for item in self.items]
        self.members = {kind: [k for k, own_kind in enumerate(kinds) if own_kind == kind] for kind in self.shares}
        self.ends: np.ndarray | None = None
        if isinstance(o, TeacherSettings):
            self.ends = self._endpoints(recipe, o, device, log)
            self.members = {
                kind: [k for k in own_kind if k < len(self.ends)] for kind, own_kind in self.members.items()
            }

    def drawn_tasks(self) -> tuple[str, ...]:
        """Of real pairs and those made as if."""
        return (*PAIRS, *(["mif"] if "mif" in self.train else []))

    def _streets(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """CamVid's images with their classes (C + 1, H, W) uint8, to train on and, every tenth, to hold out; none where
        the share is 0.
        """
        folders = [self.root / name for name in CAMVID]
        if not all(folder.is_dir() for folder in folders):
            if self.shares["segment"]:
                raise FusionError(
                    f"{folders[0]}: street images with classes are not there; give them, or --set options.segment=0"
                )
            return [], []
        pairs = []
        for image, labels in pair_by_stem(folders)[0].values():
            known = (read_image(labels).read()[0] * 255).round().to(torch.uint8).numpy()
            planes = self.planes_of(read_image(image))
            pairs.append(np.concatenate([planes.reshape(-1, *known.shape), known[None]]))
        return trained_streets(pairs), pairs[9::10]

    def item(self, index: int, teacher: FusionModel, device: str) -> tuple[Tensor, dict[str, Any]]:
        """(3 C + 1, S, S) in [0, 1]: two sources in the order of roles, target, classes / 255; and its kind, task,
        tones and what else there is to say of it.
        """
        gen = generator(self.seed, "instruct", index)
        kind = LAYOUT[index % len(LAYOUT)]
        if kind == "segment" and not self.streets[0]:
            kind = "m3"
        task: str | None = None
        classes = torch.full((self.size, self.size), float(UNLABELLED))
        tones: tuple[str, ...] = ()
        if kind == "segment":
            target, classes = self.street(gen)
            sources = self.twins(target, gen)
        elif kind == "m3" or (kind == "control" and uniform(0, 1, gen) < 0.5):
            target = self.natural(gen)
            sources = self.m3(target, gen)
        else:
            task = self.drawn[integer(0, len(self.drawn) - 1, gen)]
            sources, target = self.real(task, gen, teacher, device)
        if kind == "control":
            tones = drawn_tones(gen)
            target = self.toned(target, tones)
        target, more = self.painted(target, classes, kind, gen)
        planes = torch.cat([sources.flatten(0, 1), target, classes[None] / 255])
        return planes, {"kind": kind, "task": task, "tone": tones, **more}

    def natural(self, gen: Generator) -> Tensor:
        """A crop of a natural image (C, S, S)."""
        return self.crop("natural", self.size, gen).flatten(0, -3)

    def real(self, task: str, gen: Generator, teacher: FusionModel, device: str) -> tuple[Tensor, Tensor]:
        """A pair (2, C, S, S) of a task, and its target (C, S, S)."""
        place = integer(0, 1, gen) if task == "mef" else 0  # every other one is synthetic
        batch = self.batch_of(task, 2, gen)
        sources = batch.sources[place]
        if batch.truth is not None:
            return sources, batch.truth[place][None]
        return sources, teacher(batch.clean[place][None, :, None].to(device))[0].cpu()

    def toned(self, target: Tensor, tones: Sequence[str]) -> Tensor:
        """A target (C, S, S) in other tones."""
        return apply_tones(target, tones)

    def painted(self, target: Tensor, classes: Tensor, kind: str, gen: Generator) -> tuple[Tensor, dict[str, Any]]:
        """A target (C, S, S) as it is to be learned, of an item with these classes (S, S); and what to note of it."""
        return target, {}

    def batch_of(self, task: str, count: int, gen: Generator) -> Batch:
        """Pairs as every other model has them."""
        return super().batch(task, count, 2, self.size, gen)

    def m3(self, image: Tensor, gen: Generator) -> Tensor:
        """(C, S, S) -> two degraded views (2, C, S, S), darker first"""
        other = uniform(0, 1, gen) < self.options.complements
        views, _, _ = m3_pair(image, gen, M3(both=self.options.both, complements=other))
        return views[darkness(to_luma(views)[:, 0])]

    def street(self, gen: Generator, held: bool = False) -> tuple[Tensor, Tensor]:
        """A crop of a street image (C, S, S) in [0, 1], and its classes (S, S)."""
        chosen = self.streets[1 if held else 0]
        stack = chosen[integer(0, len(chosen) - 1, gen)]
        h, w = stack.shape[1:]
        scale = uniform(1.0, max(1.0, min(h, w) / self.size), gen) if uniform(0, 1, gen) < 0.5 else 1.0
        take = min(int(self.size * scale), h, w)
        top, left = integer(0, h - take, gen), integer(0, w - take, gen)
        x = torch.from_numpy(stack[:, top : top + take, left : left + take]).float()
        size = (self.size, self.size)
        image = F.interpolate(x[None, :-1], size, mode="bilinear", antialias=True, align_corners=False)[0] / 255
        classes = F.interpolate(x[None, -1:], size, mode="nearest-exact")[0, 0]
        if uniform(0, 1, gen) < 0.5:
            image, classes = image.flip(-1), classes.flip(-1)
        return image.clamp(0, 1), classes

    def twins(self, image: Tensor, gen: Generator) -> Tensor:
        """(C, S, S) -> a pair (2, C, S, S): the image twice, half of the time; else M3 views, or one in other tones,
        first as infrared is.
        """
        drawn = uniform(0, 1, gen)
        if drawn < 0.5:
            return torch.stack([image, image])
        if drawn < 0.75:
            return self.m3(image, gen)
        views, done = complement(image, gen)
        return views if done["view"] == 0 else views.flip(0)

    def batch(self, task: str, count: int, n: int, size: int, gen: Generator) -> InstructBatch:
        """`count` items of the pool, kinds by their shares; `n` and `size` are the pool's."""
        names = [kind for kind in self.shares if self.shares[kind] and self.members[kind]]
        weights = torch.tensor([self.shares[kind] for kind in names])
        kinds = [names[k] for k in torch.multinomial(weights, count, replacement=True, generator=gen).tolist()]
        index = [self.members[kind][integer(0, len(self.members[kind]) - 1, gen)] for kind in kinds]
        pixels = torch.from_numpy(self.pixels[index]).float() / 255
        codes = torch.from_numpy(self.codes[index]).float()
        classes = (pixels[:, -1] * 255).round().long()
        classes[classes == UNLABELLED] = -1
        said = [self.say(self.items[item], labels, gen) for item, labels in zip(index, classes, strict=True)]
        prompts, has_images, has_mask = zip(*said, strict=True)
        sources, target, _ = pixels.split([2 * self.colours, self.colours, 1], 1)
        sources = sources.unflatten(1, (2, -1))
        batch = InstructBatch(
            task,
            sources,
            to_luma(sources)[:, :, 0],
            target.squeeze(1),
            latents=codes[:, :2],
            goal=codes[:, 2],
            has_images=torch.tensor(has_images),
            classes=classes,
            has_mask=torch.tensor(has_mask) & (classes >= 0).flatten(1).any(1),
            prompts=prompts,
        )
        if self.ends is not None:
            batch.goal = torch.from_numpy(self.ends[index, 0]).float()
            batch.origin = torch.cat([noise(codes[:1, 2], 1 + k, self.latent_channels) for k in index])
        return batch

    def say(self, item: dict[str, Any], classes: Tensor, gen: Generator) -> tuple[str, bool, bool]:
        """The prompt of an item, whether its images count, and whether it names classes.

        A tone always comes with words.
        """
        rng = random.Random(int(torch.randint(2**31 - 1, (), generator=gen)))
        if rng.random() < self.options.drop:
            return NOTHING, False, False
        if not item["tone"] and rng.random() < self.options.wordless:
            return self.images_alone(), True, False
        task = item["task"] if rng.random() >= self.options.untold else None
        control = replace(self.control(item), task=task)
        if item["kind"] == "segment" and not control.segment:
            here = [k for k in classes.unique().tolist() if k >= 0]
            count = rng.choice((1, 1, 1, 2, 3))
            drawn = [
                rng.choice(here) if here and rng.random() < 0.8 else rng.randrange(UNLABELLED) for _ in range(count)
            ]
            control = Control(segment=dict.fromkeys(CLASSES[k] for k in drawn))
        return self.prompt(control, rng), True, bool(control.segment)

    def images_alone(self) -> str:
        """The prompt without words."""
        return IMAGES

    def prompt(self, control: Control, rng: random.Random) -> str:
        """A request in words, as the model reads it."""
        return prompt(control, rng, self.tagged)

    @staticmethod
    def control(item: dict[str, Any]) -> Control:
        """What an item of the pool asks for."""
        return Control(item["task"], tone=tuple(item["tone"]), segment=dict.fromkeys(item.get("painted", ())))

    def _endpoints(
        self, recipe: Recipe, options: TeacherSettings, device: str, log: Callable[[str], None]
    ) -> np.ndarray:
        """(ends, 1, 16, h, w): what the model of `start` makes of the first items, in `teacher_steps` steps from noise
        of their own.
        """
        teacher = load_model(recipe.start).to(device)
        assert isinstance(teacher, DiTFuse)
        teacher.steps = options.teacher_steps
        digest = sha256((Path(recipe.start) / WEIGHTS_NAME).read_bytes()).hexdigest()[:12]

        def make(part: slice) -> Tensor:
            codes = torch.from_numpy(self.codes[part][:, :2]).float().to(device)
            items = self.items[part]
            controls = [self.control(item) for item in items]
            origin = torch.cat([noise(codes[:1, 0], 1 + k, self.latent_channels) for k in range(part.start, part.stop)])
            return teacher.generate(codes, controls, origin)[0][:, None]

        count = min(options.ends, self.count)
        return self.latents(f"ends-{count}-{teacher.steps}-{digest}", 1, make, log, count)

    @torch.inference_mode()
    def scores(self, model: FusionModel, device: str = "cpu") -> dict[str, dict[str, float]]:
        """On items of held-out files, per kind: PSNR and SSIM to the target, of the model with the item's prompt and of
        the default model; of segment also the mean IoU of the classes there at 0.5.
        """
        teacher, trained, streets = load_model(self.teacher).to(device), self.train, self.streets
        scores: dict[str, dict[str, float]] = {}
        for kind in self.shares:
            self.train, self.streets = self.held, (streets[1], streets[1])
            places = [k for k in range(len(LAYOUT)) if LAYOUT[k] == kind]
            start = math.ceil(self.count / len(LAYOUT)) * len(LAYOUT)  # past the pool, so other draws
            rows: list[dict[str, float]] = []
            try:
                if "natural" not in self.held or (kind == "segment" and not streets[1]):
                    continue
                for k in range(self.scored):
                    index = start + k // len(places) * len(LAYOUT) + places[k % len(places)]
                    planes, item = self.item(index, teacher, device)
                    rows.append(self.score(model, teacher, planes, item, device))
            except KeyError:
                continue  # a task without held-out files
            finally:
                self.train, self.streets = trained, streets
            names = [name for name in rows[0] if all(name in row for row in rows)]
            scores[kind] = {name: float(np.mean([row[name] for row in rows])) for name in names}
        return scores

    def score(
        self, model: FusionModel, teacher: FusionModel, planes: Tensor, item: dict[str, Any], device: str
    ) -> dict[str, float]:
        """Of one item of a pool."""
        assert isinstance(model, DiTFuse)
        x = ((planes * 255).round() / 255).to(device)
        control = self.control(item)
        row: dict[str, float] = {}
        for name, fused in (
            ("", model(x[None, :2, None], condition=control).mean(1)),
            (f"_{model.config.reference}", teacher(x[None, :2, None])[:, 0]),
        ):
            wrong = float((fused - x[None, 2]).square().mean().clamp_min(1e-8))
            row[f"psnr{name}"] = -10 * math.log10(wrong)
            row[f"ssim{name}"] = float(ssim_map(fused, x[None, 2]).mean())
        if item["kind"] == "segment" and model.mask_head is not None:
            classes = (x[3] * 255).round()
            here = [k for k in classes.unique().int().tolist() if k < UNLABELLED]
            masks = model.masks(x[None, :2, None], [CLASSES[k] for k in here])
            known, ious = classes != UNLABELLED, []
            for k in here:
                a, b = (masks[CLASSES[k]][0] > 0.5) & known, classes == k
                ious.append(float((a & b).sum() / (a | b).sum().clamp_min(1)))
            row["iou"] = float(np.mean(ious)) if ious else 1.0
        return row


def trained_streets(images: Sequence[Street]) -> list[Street]:
    """Of all street images in the order of their names those that are trained on: without every tenth, which `scores`
    looks at.
    """
    return [image for k, image in enumerate(images) if k % 10 != 9]


def drawn_tones(gen: Generator) -> tuple[str, ...]:
    """Light alone and contrast alone three times in eight each, so that either of the two contrasts, which changes an
    image less than light does, comes twice as often as each of the four lights; both together twice in eight.
    """
    light, contrast = TONES[integer(0, 3, gen)], TONES[integer(4, 5, gen)]
    drawn = integer(0, 7, gen)
    return (light,) if drawn < 3 else (contrast,) if drawn < 6 else (light, contrast)
