"""The run: fuse every set with every model, save, score and time; given images of others are scored beside them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import FusionError
from ..fuser import Fuser
from ..io.folders import list_images
from ..io.groups import Pairing
from ..jobs.cluster import Cluster
from ..jobs.rows import SECONDS
from ..metrics import METRICS, RULES, known_names
from ..models.wrapped import Wrapped
from ..runtime import peak_bytes
from .bench_cluster import REPORT, Job, bench_rows
from .datasets import ROLE_FOLDERS, find_groups
from .protocol import Protocol, Row, hash_files
from .scene import ImageScores, Part, Scorer, content_of, is_trivial, trivial_names
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


def identity(fuser: Fuser) -> str:
    """Which code, configuration and weights a model has, for the origin column: rows of another one are not reused."""
    code = model_version(type(fuser.model))
    if isinstance(fuser.model, Wrapped):
        code += model_version(type(fuser.model.module))
    digest = hashlib.sha256(f"{code}{getattr(fuser.model, 'config', '')!r}".encode())
    for key, value in sorted(fuser.model.state_dict().items()):
        digest.update(key.encode() + value.detach().float().cpu().numpy().tobytes())
    return f"anyfuse {digest.hexdigest()[:8]}"


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


@dataclass
class _Methods:
    """The methods of a run: models by label, and files of other methods by label and image."""

    fusers: dict[str, Fuser]
    given: dict[str, dict[str, Path]]

    def __post_init__(self) -> None:
        self.origins = {name: identity(fuser) for name, fuser in self.fusers.items()}
        self.contents = {
            (name, stem): content_of(path) for name, files in self.given.items() for stem, path in files.items()
        }

    def current(self, row: Row) -> bool:
        """Whether a stored row is of this code, these weights and files, or of a method that is not in this run."""
        if row.method in self.origins:
            return row.origin == self.origins[row.method]
        return row.method not in self.given or row.origin == self.contents.get((row.method, row.image))

    def parts(self, stem: str, sources: int, out: Path) -> list[Part]:
        """The rows of one image: models, given files, trivial rows."""
        parts = []
        for name in self.fusers:
            target = out / "fused" / name / f"{stem}.png"
            parts.append(Part(name, "model", self.origins[name], str(target)))
        for name, files in self.given.items():
            origin = self.contents.get((name, stem), "")
            parts.append(Part(name, "given", origin, str(files[stem]) if stem in files else None))
        names = [name for name in trivial_names(sources) if name not in self.fusers]
        return parts + [Part(name, "trivial", "trivial") for name in names]


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
    cluster: Cluster | None = None,
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
        cluster: makes the rows there. scores.csv is written every 20 s then, and OUT/report.parquet has a row an image.

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
    result.seconds = {label: [] for label in methods.fusers}
    store.retain(methods.current)
    run = _Run(result, store, methods, groups, names, out)
    settings: dict[str, Any] = {
        "metrics": names,
        "strict": strict and bool(metrics),
        "grey": grey,
        "inputs": inputs,
    }
    if cluster is None:
        _score_here(run, Scorer(methods.fusers, **settings), step)
    else:
        _score_there(run, cluster, chosen, device, settings, step)
    run.collect()
    result.peak_mib = 0.0 if cluster else peak_bytes() / 2**20
    if not result.rows:
        first = next(iter({**result.failures, **result.skipped}.items()), ("", "no images"))
        raise FusionError(f"{data}: nothing could be scored; {first[0]}: {first[1]}")
    return result


@dataclass
class _Run:
    """A run, and what is known of each image."""

    result: Bench
    store: Store
    methods: _Methods
    groups: dict[str, tuple[Path, ...]]
    names: list[str]
    out: Path
    failures: dict[str, dict[str, str]] = field(default_factory=dict)  # image -> failures

    def missing(self, stem: str) -> list[Part]:
        """The rows of an image that are to be made."""
        return [part for part in self._parts(stem) if self._row(stem, part) is None]

    def add(self, stem: str, scores: ImageScores) -> None:
        """Takes the rows and the failures of an image."""
        for row in scores.rows:
            self.store.add(row)
        for name, seconds in scores.seconds.items():
            self.result.seconds[name].append(seconds)
        self.failures[stem] = scores.failures

    def collect(self) -> None:
        """Puts all rows into the result, in the order of the images."""
        for stem in self.groups:
            self.result.failures |= self.failures.get(stem, {})
            for part in self._parts(stem):
                row = self._row(stem, part)
                if row is None:
                    continue
                self.result.rows.append(row)
                if part.image is not None:
                    self.result.fused.setdefault(part.method, {})[stem] = Path(part.image)

    def _parts(self, stem: str) -> list[Part]:
        return self.methods.parts(stem, len(self.groups[stem]), self.out)

    def _row(self, stem: str, part: Part) -> Row | None:
        """The stored row, where its picture is there too."""
        if part.image is not None and not os.path.exists(part.image):
            return None
        return self.store.find(stem, part.method, part.origin, self.names)


def _score_here(run: _Run, scorer: Scorer, step: Callable[[str], None]) -> None:
    """Makes what is missing, image by image."""
    for index, (stem, paths) in enumerate(run.groups.items()):
        step(f"{index + 1}/{len(run.groups)} {stem}")
        missing = run.missing(stem)
        if missing:
            run.add(stem, scorer.score(stem, paths, missing))
        run.store.save()


def _score_there(
    run: _Run,
    cluster: Cluster,
    models: dict[str, str],
    device: str,
    settings: dict[str, Any],
    step: Callable[[str], None],
) -> None:
    """Makes what is missing, on a cluster."""
    jobs = []
    for stem, paths in run.groups.items():
        missing = run.missing(stem)
        if missing:
            jobs.append(Job(stem, [str(path) for path in paths], missing))
    rows = bench_rows(cluster, jobs, list(run.groups), models, device, settings, str(run.out / REPORT))
    saved = time.monotonic()
    try:
        for index, (stem, scores) in enumerate(rows):
            run.add(stem, scores)
            step(f"{index + 1}/{len(jobs)} {stem}")
            if time.monotonic() - saved > SECONDS:  # the whole file each time, so not after each image
                run.store.save()
                saved = time.monotonic()
    finally:
        run.store.save()
