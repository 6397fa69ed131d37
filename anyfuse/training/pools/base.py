"""Pools of training items on disk: made once, kept with the codec's latents, shared by all runs beside each other that
ask for the same one.

PREFIX-KEY/pixels.npy           (count, planes, S, S) uint8
PREFIX-KEY/NOTES.jsonl          per item what was done, a line of JSON
PREFIX-KEY/latents-CODEC.npy    (count, coded planes, 16, S/8, S/8) float16, a file per codec
...json beside them             progress: an interrupted run resumes
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...data.batches import DataSet, TrainingData
from ...errors import FusionError
from ...models.base import FusionModel
from ...models.ditfuse.omnigen import OmniGen
from ...models.latent.base import LatentModel
from ...models.latent.codec import STRIDE
from ...models.registry import load_model
from ..recipe import Recipe, StrategySettings

TOGETHER = 32
"""Items made at a time."""


@dataclass(frozen=True)
class PoolSettings(StrategySettings):
    """Settings of every strategy that learns from a pool."""

    pool: int = 8000  # items of the pool, one per task or kind or more
    pool_seed: int = -1  # seed of the items, so that runs of several seeds share a pool; -1: the run's


def teacher_of(model: LatentModel | OmniGen) -> str:
    """Name of the model that makes targets where there is no truth: the one whose fusion the detail path has."""
    return str(getattr(model.config, "reference", "anyfuse"))


class Pool(TrainingData):
    """TrainingData whose batches come from a pool.

    A kind of pool says how many planes an item has, which of them get latents, and makes items.

    held: task -> groups of the files held out for validation.
    """

    prefix: ClassVar[str]  # of the folder's name
    notes: ClassVar[str]  # name of the file with what was done to each item
    planes: ClassVar[int]  # of an item
    coded: ClassVar[tuple[int, ...]]  # places of the planes that get latents

    def __init__(self, root: str | Path, sets: Sequence[DataSet], size: int, count: int, stride: int) -> None:
        super().__init__(root, sets, ordered=True)
        self.size, self.count = size, count
        if size % stride:
            raise FusionError(f"crop {size}: give a multiple of {stride}")
        self.held: dict[str, list[list[np.ndarray]]] = {}
        for data_set in sets:
            name = data_set.folders[0].rpartition("/")[0] or data_set.folders[0]
            if name in self.validation:
                self.held.setdefault(data_set.task, []).append(self.validation[name])

    def item(self, index: int, teacher: FusionModel, device: str) -> tuple[Tensor, Any]:
        """Planes (planes, S, S) in [0, 1] and what was done, to be kept as JSON; the same for each index whenever it is
        made.
        """
        raise NotImplementedError

    def scores(self, model: FusionModel, device: str = "cpu") -> dict[str, dict[str, float]]:
        """Per name of a kind of held-out items: numbers for the model card."""
        raise NotImplementedError

    def fill(
        self, key: list[Any], model: LatentModel | OmniGen, folder: Path, device: str, log: Callable[[str], None]
    ) -> list[Any]:
        """Makes the pool, or what is missing of it, and sets `folder`, `pixels`, `codes` and `latent_channels`.

        Args:
            key: plain values that decide the items.
            model: has the codec.
            folder: the pool goes to a folder below it.
            device: where teacher and codec run.
            log: gets lines of progress.

        Returns:
            The notes of all items.
        """
        codec = model.codec
        self.latent_channels, self.teacher = codec.latent_channels, teacher_of(model)
        self.key = sha256(json.dumps(key).encode()).hexdigest()
        self.folder = folder / f"{self.prefix}-{self.key[:12]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pixels = self._pixels(device, log)
        self.codes = self._latents(model, device, log)
        return [json.loads(line) for line in (self.folder / self.notes).read_text().splitlines()]

    @torch.no_grad()
    def _pixels(self, device: str, log: Callable[[str], None]) -> np.ndarray:
        """(count, planes, S, S) uint8, made where it is not there yet"""
        note, lines = self.folder / "pool.json", self.folder / self.notes
        done = json.loads(note.read_text())["done"] if note.exists() else 0
        mode = "r+" if done else "w+"
        pixels = np.lib.format.open_memmap(
            self.folder / "pixels.npy", mode, np.uint8, (self.count, self.planes, self.size, self.size)
        )
        if done == self.count:
            return pixels
        known = lines.read_text().splitlines(keepends=True)[:done] if done else []
        lines.write_text("".join(known))
        with torch.random.fork_rng(devices=[]):  # what a run draws does not depend on whether the pool was there
            teacher = load_model(self.teacher).to(device)
        log(f"pool: {self.folder}")
        start = time.monotonic()
        for first in range(done, self.count, TOGETHER):
            part = range(first, min(first + TOGETHER, self.count))
            made = [self.item(index, teacher, device) for index in part]
            pixels[part.start : part.stop] = (torch.stack([x for x, _ in made]) * 255).round().to(torch.uint8).numpy()
            with lines.open("a") as file:
                file.writelines(json.dumps(what) + "\n" for _, what in made)
            write_done(note, part.stop)
            if first // TOGETHER % 10 == 0:
                log(f"{self.prefix}: {part.stop}/{self.count}, {time.monotonic() - start:.0f} s")
        return pixels

    def _latents(self, model: LatentModel | OmniGen, device: str, log: Callable[[str], None]) -> np.ndarray:
        """(count, coded, C, h, w) float16 of the planes that are coded; C as the codec has it."""

        def encode(part: slice) -> Tensor:
            return self.encoded(model, torch.from_numpy(self.pixels[part]).to(device).float() / 255)

        return self.latents(f"latents-{model.codec.fingerprint()}", len(self.coded), encode, log)

    def encoded(self, model: Any, pixels: Tensor) -> Tensor:
        """Planes (B, planes, S, S) in [0, 1] -> latents (B, coded, C, h, w) by the model's codec."""
        images = pixels[:, list(self.coded)]
        latents: Tensor = model.codec.encode(images.flatten(0, 1)[:, None])
        return latents.unflatten(0, (-1, len(self.coded)))

    @torch.no_grad()
    def latents(
        self,
        name: str,
        each: int,
        make: Callable[[slice], Tensor],
        log: Callable[[str], None],
        count: int | None = None,
    ) -> np.ndarray:
        """A file of latents beside the pool, made where it is not there yet.

        Args:
            name: of the file, without suffix.
            each: latents of an item.
            make: items -> (items, each, C, h, w), C as the codec has it.
            log: gets lines of progress.
            count: of the first N items; None: of all.

        Returns:
            (count, each, C, h, w) float16, mapped from the file.
        """
        side, count = self.size // STRIDE, count or self.count
        note = self.folder / f"{name}.json"
        done = json.loads(note.read_text())["done"] if note.exists() else 0
        mode = "r+" if done else "w+"
        codes = np.lib.format.open_memmap(
            self.folder / f"{name}.npy", mode, np.float16, (count, each, self.latent_channels, side, side)
        )
        start = time.monotonic()
        for first in range(done, count, TOGETHER):
            part = slice(first, min(first + TOGETHER, count))
            codes[part] = make(part).to("cpu", torch.float16).numpy()
            write_done(note, part.stop)
            if first // TOGETHER % 10 == 0:
                log(f"{name.partition('-')[0]}: {part.stop}/{count}, {time.monotonic() - start:.0f} s")
        return codes


def pool_seed(recipe: Recipe, options: PoolSettings) -> int:
    """What the items of a pool are drawn with: options.pool_seed, or the run's seed where that is negative."""
    return recipe.seed if options.pool_seed < 0 else options.pool_seed


def write_done(note: Path, count: int) -> None:
    """How much of a file of the pool is made; whole or not at all."""
    scratch = note.with_suffix(".tmp")
    scratch.write_text(json.dumps({"done": count}))
    os.replace(scratch, note)
