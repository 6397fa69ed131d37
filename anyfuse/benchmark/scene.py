"""One image of the benchmark: what each method makes of its sources, and the scores of it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import FusionError
from ..fuser import Fuser
from ..image.frame import Frame
from ..image.stack import Stack, order_of_roles
from ..io.atomic import unforeseen
from ..io.read import read_image
from ..io.write import write_image
from ..metrics import score as score_images
from ..metrics import to_grey
from ..metrics.grey import GreyRule
from .protocol import Row

TRIVIAL = re.compile(r"average|maximum|copy \d+")


def is_trivial(method: str) -> bool:
    """Whether a name is one of the rows that every table shows."""
    return TRIVIAL.fullmatch(method) is not None


def trivial_names(sources: int) -> list[str]:
    """Names of the trivial rows of an image with so many sources."""
    return ["average", "maximum", *(f"copy {k + 1}" for k in range(sources))]


def levels(frame: Frame, grey: GreyRule) -> Tensor:
    """8-bit grey levels (H, W) float64 of an image of any depth."""
    return to_grey((frame.read() * 255).round(), grey)


@dataclass(frozen=True)
class Part:
    """One row to be: a method, and where its picture is."""

    method: str
    kind: str  # model, given (by others) or trivial
    origin: str  # as in the table
    image: str | None = None  # file to write, or given file


@dataclass
class ImageScores:
    """What came of one image. Plain values, so that another machine can send it."""

    rows: list[Row] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # model -> of the fusion
    failures: dict[str, str] = field(default_factory=dict)  # image, or image (method) -> reason


@dataclass(frozen=True)
class Scorer:
    """Makes and scores the rows of one image.

    Args:
        fusers: models by label.
        metrics: names.
        strict: an image too small for a metric fails; else its score is NaN.
        grey: rule for grey levels.
        inputs: 'luma' or 'colour', what models get.
    """

    fusers: Mapping[str, Fuser]
    metrics: Sequence[str]
    strict: bool
    grey: GreyRule
    inputs: str
    warm: set[str] = field(default_factory=set)  # models that have run once

    def score(self, stem: str, paths: Sequence[Path], parts: Sequence[Part]) -> ImageScores:
        """The rows of one image; what fails is noted and stops nothing."""
        out = ImageScores()
        try:
            scene = _read_scene(paths, self.grey, self.inputs)
        except Exception as error:  # one set never stops the others, whatever is wrong with it
            out.failures[stem] = _reason(error)
            return out
        for part in parts:
            try:
                fused = self._make(part, stem, scene, out)
                values = score_images(fused, scene.lumas, self.metrics, self.grey, strict=self.strict)
            except Exception as error:  # one score never stops the others
                out.failures[f"{stem} ({part.method})"] = _reason(error)
                continue
            out.rows.append(Row(stem, part.method, part.origin, values))
        return out

    def _make(self, part: Part, stem: str, scene: _Scene, out: ImageScores) -> Tensor:
        """The grey levels that are scored."""
        if part.kind == "trivial":
            return _trivial(scene.lumas)[part.method]()
        if part.kind == "given":
            return _given(part, stem, scene.lumas[0], self.grey)
        assert part.image is not None
        return self._fuse(part.method, scene, Path(part.image), out)

    def _fuse(self, name: str, scene: _Scene, target: Path, out: ImageScores) -> Tensor:
        """Fuses, times and saves; returns the grey levels of the saved image."""
        fuser = self.fusers[name]
        frames = [scene.stack.frames[k] for k in scene.roles] if fuser.model.ordered else list(scene.stack.frames)
        if name not in self.warm:  # the first call warms caches up
            fuser.run(frames, keep_order=True, align="none", deghost="off")
            self.warm.add(name)
        start = time.perf_counter()
        fused = fuser.run(frames, keep_order=True, align="none", deghost="off").fused
        out.seconds[name] = time.perf_counter() - start
        if fused.pixels.dtype != np.uint8:
            raise FusionError(
                f"{target.stem}: the benchmark is on 8-bit results, and these are {fused.pixels.dtype}; "
                "use --inputs luma"
            )
        write_image(target, fused.pixels, overwrite=True)
        return levels(Frame(fused.pixels, name=target.stem), self.grey)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FusionError) else unforeseen(error)


@dataclass(frozen=True)
class _Scene:
    """The sources of one image: what the models see, the order of their roles, and their grey levels (H, W)."""

    stack: Stack
    roles: list[int]
    lumas: list[Tensor]


def _read_scene(paths: Sequence[Path], grey: GreyRule, inputs: str) -> _Scene:
    stack = Stack(tuple(read_image(p) for p in paths))
    lumas = [levels(f, grey) for f in stack.frames]
    roles = order_of_roles(stack.frames)  # of the files: their colour tells the roles, and luma has none
    if inputs == "luma":
        pixels = [luma.to(torch.uint8).numpy()[..., None] for luma in lumas]
        stack = Stack(tuple(Frame(x, name=p.name) for x, p in zip(pixels, paths, strict=True)))
    return _Scene(stack, roles, lumas)


def trivial_rows(stem: str, paths: Sequence[Path], metrics: Sequence[str], grey: GreyRule) -> list[Row]:
    """The trivial rows of one image alone."""
    lumas = [levels(read_image(p), grey) for p in paths]
    return [
        Row(stem, name, "trivial", score_images(make(), lumas, metrics, grey, strict=False))
        for name, make in _trivial(lumas).items()
    ]


def content_of(path: Path) -> str:
    """The origin of a given image: a hash of the file, so that a changed file is scored again."""
    try:
        return f"given {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror}); check the file") from None


def _trivial(lumas: list[Tensor]) -> dict[str, Callable[[], Tensor]]:
    """The rows that every table shows: rounded mean, maximum, and each source as it is."""
    images = torch.stack(lumas)
    made: list[Callable[[], Tensor]] = [
        partial(torch.floor, images.mean(0) + 0.5),
        partial(images.amax, 0),
        *(partial(images.__getitem__, k) for k in range(len(images))),
    ]
    return dict(zip(trivial_names(len(images)), made, strict=True))


def _given(part: Part, stem: str, like: Tensor, grey: GreyRule) -> Tensor:
    """Grey levels of a fused image that somebody else made."""
    if part.image is None:
        raise FusionError(f"{part.method} has no {stem}")
    image = levels(read_image(part.image), grey)
    if image.shape != like.shape:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise FusionError(f"{part.image} is {size}, its sources {like.shape[1]}x{like.shape[0]}")
    return image
