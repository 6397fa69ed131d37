"""The run: fuse every set with every model, save, score and time; given images of others are scored beside them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import FusionError
from ..fuser import Fuser
from ..image.frame import Frame
from ..image.stack import Stack, order_of_roles
from ..io.atomic import unforeseen
from ..io.folders import list_images
from ..io.groups import Pairing
from ..io.read import read_image
from ..io.write import write_image
from ..metrics import METRICS, RULES, known_names, to_grey
from ..metrics import score as score_images
from ..models.wrapped import Wrapped
from ..runtime import peak_bytes
from .datasets import ROLE_FOLDERS, find_groups
from .protocol import Protocol, Row, hash_files
from .store import Store
from .versions import metric_versions, model_version

DEFAULT_METRICS = ("mi", "vif", "qabf", "ssim", "cc", "scd", "halo", "psnr", "en", "sd", "sf", "ag")
RANKED = ("mi", "vif", "qabf", "ssim", "cc", "scd", "halo", "mef_ssim")
"""Metrics of the mean rank, where present: what a fused image keeps of its sources, not how lively it is."""
SALIENT: dict[str, tuple[str, ...]] = {
    "ivf": ("target_contrast", "target_level", "lit_level", "blotch"),
    "mef": ("gradient_kept", "dark_noise", "blotch"),
    "mff": ("gradient_kept", "blotch"),
    "mif": ("gradient_kept", "blotch"),
}
"""Task -> measures of what people look at: shown beside the others, with a mean rank of their own."""
UNRANKED = ("target_level",)
"""Shown, but not in that mean rank: it tells the same as the target's contrast, and a brighter image has more of it."""


@dataclass
class Bench:
    """The result of a run."""

    protocol: Protocol
    rows: list[Row]
    groups: dict[str, tuple[Path, ...]]  # image -> files of its sources
    fused: dict[str, dict[str, Path]]  # method -> image -> file
    seconds: dict[str, list[float]] = field(default_factory=dict)  # method -> of each image that was fused
    failures: dict[str, str] = field(default_factory=dict)  # image, or image (method) -> reason
    skipped: dict[str, str] = field(default_factory=dict)  # image without all its sources -> reason
    threads: int = 0
    systems: dict[str, str] = field(default_factory=dict)  # method -> class of its model
    peak_mib: float = 0.0  # of the process


def ranked_groups(metrics: Sequence[str], task: str = "") -> dict[str, list[str]]:
    """Heading -> metrics of a mean rank, of those that a table has: what is kept, and what people look at."""
    known = SALIENT.get(task, tuple(sparse_metrics()))
    salient = [m for m in metrics if m in known and m not in UNRANKED]
    groups = {"rank": [m for m in RANKED if m in metrics], "seen": salient}
    return {heading: names for heading, names in groups.items() if names or heading == "rank"}


def sparse_metrics() -> set[str]:
    """Metrics that do not apply to every image: those of what people look at."""
    return {name for name, metric in METRICS.items() if metric.family == "saliency"}


TRIVIAL = re.compile(r"average|maximum|copy \d+")


def is_trivial(method: str) -> bool:
    """Whether a name is one of the rows that every table shows."""
    return TRIVIAL.fullmatch(method) is not None


def identity(fuser: Fuser) -> str:
    """Which code, configuration and weights a model has, for the origin column: rows of another one are not reused."""
    code = model_version(type(fuser.model))
    if isinstance(fuser.model, Wrapped):
        code += model_version(type(fuser.model.module))
    digest = hashlib.sha256(f"{code}{getattr(fuser.model, 'config', '')!r}".encode())
    for key, value in sorted(fuser.model.state_dict().items()):
        digest.update(key.encode() + value.detach().float().cpu().numpy().tobytes())
    return f"anyfuse {digest.hexdigest()[:8]}"


def levels(frame: Frame, grey: str) -> Tensor:
    """8-bit grey levels (H, W) float64 of an image of any depth."""
    return to_grey((frame.read() * 255).round(), grey)  # type: ignore[arg-type]


def labels(models: Sequence[str]) -> dict[str, str]:
    """Label in tables -> model: 'LABEL=MODEL' as given, a folder by its last part, a hub id with '-' for '/'."""
    out: dict[str, str] = {}
    for entry in models:
        label, equals, name = entry.partition("=")
        if not equals:
            label, name = (Path(entry).resolve().name if Path(entry).is_dir() else entry), entry
        label = label.replace("/", "-")
        if label in ("", ".", "..") or not name:
            raise FusionError(f"model '{entry}': give NAME, FOLDER or LABEL=MODEL")
        if label in out:
            raise FusionError(f"two models are called {label}; name one as LABEL={name}")
        if is_trivial(label) and label != name:
            raise FusionError(f"model '{entry}': every table has a row {label} of its own; give another label")
        out[label] = name
    return out


def check_given(names: Sequence[str], chosen: Sequence[str]) -> None:
    """Refuses a name of given images that another row has."""
    for index, name in enumerate(names):
        if is_trivial(name):
            raise FusionError(f"--fused {name}: every table has a row {name} of its own; give another name")
        if name in chosen or name in names[:index]:
            raise FusionError(f"--fused {name}: another row has this name; give another one")


@dataclass(frozen=True)
class _Job:
    """One row to be: how to make the grey levels that are scored, and where the picture is."""

    method: str
    origin: str
    make: Callable[[], Tensor]
    image: Path | None = None


@dataclass
class _Methods:
    """The methods of a run: models by label, and files of other methods by label and image."""

    fusers: dict[str, Fuser]
    given: dict[str, dict[str, Path]]

    def __post_init__(self) -> None:
        self.origins = {name: identity(fuser) for name, fuser in self.fusers.items()}
        self.contents = {
            (name, stem): _content(path) for name, files in self.given.items() for stem, path in files.items()
        }

    def current(self, row: Row) -> bool:
        """Whether a stored row is of this code, these weights and files, or of a method that is not in this run."""
        if row.method in self.origins:
            return row.origin == self.origins[row.method]
        return row.method not in self.given or row.origin == self.contents.get((row.method, row.image))

    def jobs(self, stem: str, scene: _Scene, result: Bench, out: Path, grey: str) -> list[_Job]:
        """The rows of one image: models, given files, trivial rows."""
        jobs = []
        for name, fuser in self.fusers.items():
            target = out / "fused" / name / f"{stem}.png"
            seconds = result.seconds.setdefault(name, [])
            make = partial(_fuse, fuser, scene.stack, scene.roles, target, grey, seconds)
            jobs.append(_Job(name, self.origins[name], make, target))
        for name, files in self.given.items():
            path = files.get(stem)
            make = partial(_given, path, f"{name} has no {stem}", scene.lumas[0], grey)
            jobs.append(_Job(name, self.contents.get((name, stem), ""), make, path))
        return jobs + [_Job(name, "trivial", make) for name, make in _trivial(scene.lumas) if name not in self.fusers]


@dataclass(frozen=True)
class _Scene:
    """The sources of one image: what the models see, the order of their roles, and their grey levels (H, W)."""

    stack: Stack
    roles: list[int]
    lumas: list[Tensor]


def _read_scene(paths: Sequence[Path], grey: str, inputs: str) -> _Scene:
    stack = Stack(tuple(read_image(p) for p in paths))
    lumas = [levels(f, grey) for f in stack.frames]
    roles = order_of_roles(stack.frames)  # of the files: their colour tells the roles, and luma has none
    if inputs == "luma":
        pixels = [luma.to(torch.uint8).numpy()[..., None] for luma in lumas]
        stack = Stack(tuple(Frame(x, name=p.name) for x, p in zip(pixels, paths, strict=True)))
    return _Scene(stack, roles, lumas)


def _check_choice(task: str, grey: str, inputs: str) -> None:
    if task not in ROLE_FOLDERS:
        raise FusionError(f"--task {task or repr(task)}: give one of {', '.join(ROLE_FOLDERS)}")
    if grey not in RULES:
        raise FusionError(f"--grey {grey}: give one of {', '.join(RULES)}")
    if inputs not in ("luma", "colour"):
        raise FusionError(f"--inputs {inputs}: give luma or colour")


def bench(
    data: str | Path,
    task: str,
    models: Sequence[str],
    out: str | Path,
    *,
    fused: dict[str, Path] | None = None,
    metrics: Sequence[str] = (),
    strict: bool = True,
    grey: str = "opencv",
    inputs: str = "luma",
    device: str = "auto",
    limit: int | None = None,
    pairing: Pairing | None = None,
    step: Callable[[str], None] = lambda text: None,
    check: Callable[[Protocol, dict[str, tuple[Path, ...]]], None] = lambda protocol, groups: None,
) -> Bench:
    """Runs the benchmark on one data set and writes OUT/scores.csv (after each image) and OUT/fused/METHOD/STEM.png.

    A second run with the same protocol, model code and weights scores only what is missing, and rows of earlier runs
    stay in the file; the result holds those of this run. A set that fails is reported in `failures`, one that lacks
    sources in `skipped`.

    Args:
        data: folder of the data set.
        task: ivf, mef, mff or mif.
        models: names, folders or LABEL=MODEL.
        out: folder of the results.
        fused: method -> folder with its results.
        metrics: names; empty: the default ones.
        strict: images too small for one of the `metrics` fail; else, and for the default metrics, its score is NaN.
        grey: rule for grey levels: matlab, pil or opencv.
        inputs: 'luma' (8-bit grey, as in papers) or 'colour' (the files), what models get.
        device: auto, cpu or cuda.
        limit: only the first N images.
        pairing: how files are put together.
        step: called with a line for each step.
        check: called with the protocol and the sources before anything is fused.

    Raises:
        FusionError: a choice or a folder that is wrong, or scores of another protocol in OUT.
    """
    out, fused = Path(out), fused or {}
    _check_choice(task, grey, inputs)
    chosen = labels(models)
    check_given(list(fused), list(chosen))
    given = {name: {p.stem: p for p in list_images(folder)} for name, folder in fused.items()}
    every, lacking = find_groups(data, task, pairing)
    groups = dict(list(every.items())[:limit])
    names = known_names(metrics or DEFAULT_METRICS + (("mef_ssim",) if task == "mef" else ()) + SALIENT[task])
    sources = hash_files(every)
    protocol = Protocol(Path(data).resolve().name, task, sources, grey, inputs, metrics=metric_versions(names))
    store = Store(out / "scores.csv", protocol, list(every))
    check(protocol, groups)
    result = Bench(protocol, [], groups, {}, threads=torch.get_num_threads())
    result.skipped = {stem: f"not in {', '.join(map(str, where))}" for stem, where in lacking.items()}
    methods = _Methods({label: Fuser(name, device=device) for label, name in chosen.items()}, given)
    result.systems = {label: type(fuser.model).__name__ for label, fuser in methods.fusers.items()}
    store.retain(methods.current)
    for index, (stem, paths) in enumerate(groups.items()):
        step(f"{index + 1}/{len(groups)} {stem}")
        try:
            scene = _read_scene(paths, grey, inputs)
        except FusionError as error:
            result.failures[stem] = str(error)
            continue
        except Exception as error:  # one set never stops the others, whatever is wrong with it
            result.failures[stem] = unforeseen(error)
            continue
        for job in methods.jobs(stem, scene, result, out, grey):
            _score_job(job, stem, scene, store, result, names, strict=strict and bool(metrics))
        store.save()
    result.peak_mib = peak_bytes() / 2**20
    if not result.rows:
        first = next(iter({**result.failures, **result.skipped}.items()), ("", "no images"))
        raise FusionError(f"{data}: nothing could be scored; {first[0]}: {first[1]}")
    return result


def _score_job(
    job: _Job, stem: str, scene: _Scene, store: Store, result: Bench, names: list[str], *, strict: bool
) -> None:
    """Adds one row to the result, from the store where it is there already; a failure is noted instead."""
    row = store.find(stem, job.method, job.origin, names)
    if row is None or (job.image is not None and not job.image.exists()):
        try:
            grey: Any = result.protocol.grey
            values = score_images(job.make(), scene.lumas, names, grey, strict=strict)
        except FusionError as error:
            result.failures[f"{stem} ({job.method})"] = str(error)
            return
        except Exception as error:  # one score never stops the others
            result.failures[f"{stem} ({job.method})"] = unforeseen(error)
            return
        row = Row(stem, job.method, job.origin, values)
        store.add(row)
    result.rows.append(row)
    if job.image is not None:
        result.fused.setdefault(job.method, {})[stem] = job.image


def trivial_rows(stem: str, paths: Sequence[Path], metrics: Sequence[str], grey: str) -> list[Row]:
    """The trivial rows of one image alone."""
    lumas = [levels(read_image(p), grey) for p in paths]
    return [
        Row(stem, name, "trivial", score_images(make(), lumas, metrics, grey, strict=False))  # type: ignore[arg-type]
        for name, make in _trivial(lumas)
    ]


def _content(path: Path) -> str:
    """The origin of a given image: a hash of the file, so that a changed file is scored again."""
    try:
        return f"given {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    except OSError as error:
        raise FusionError(f"{path}: cannot be read ({error.strerror}); check the file") from None


def _trivial(lumas: list[Tensor]) -> list[tuple[str, Callable[[], Tensor]]]:
    """The rows that every table shows: rounded mean, maximum, and each source as it is."""
    images = torch.stack(lumas)
    out: list[tuple[str, Callable[[], Tensor]]] = [
        ("average", partial(torch.floor, images.mean(0) + 0.5)),
        ("maximum", partial(images.amax, 0)),
    ]
    return out + [(f"copy {k + 1}", partial(images.__getitem__, k)) for k in range(len(images))]


def _fuse(fuser: Fuser, stack: Stack, roles: list[int], target: Path, grey: str, seconds: list[float]) -> Tensor:
    """Fuses, times and saves; returns the grey levels of the saved image."""
    frames = [stack.frames[k] for k in roles] if fuser.model.ordered else list(stack.frames)
    if not seconds:  # the first call warms caches up
        fuser.run(frames, keep_order=True, align="none", deghost="off")
    start = time.perf_counter()
    fused = fuser.run(frames, keep_order=True, align="none", deghost="off").fused
    seconds.append(time.perf_counter() - start)
    if fused.pixels.dtype != np.uint8:
        raise FusionError(
            f"{target.stem}: the benchmark is on 8-bit results, and these are {fused.pixels.dtype}; use --inputs luma"
        )
    write_image(target, fused.pixels, overwrite=True)
    return levels(Frame(fused.pixels, name=target.stem), grey)


def _given(path: Path | None, missing: str, like: Tensor, grey: str) -> Tensor:
    """Grey levels of a fused image that somebody else made."""
    if path is None:
        raise FusionError(missing)
    image = levels(read_image(path), grey)
    if image.shape != like.shape:
        raise FusionError(f"{path} is {image.shape[1]}x{image.shape[0]}, its sources {like.shape[1]}x{like.shape[0]}")
    return image
