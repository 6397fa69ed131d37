"""The run: fuse every set with every model, save, score and time; given images of others are scored beside them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..api import Fuser, peak_bytes
from ..errors import FusionError
from ..io import read_image, write_image
from ..metrics import METRICS, to_grey
from ..metrics import score as score_images
from ..stack import Frame, Stack, order_of_roles
from .datasets import find_groups
from .protocol import Protocol, Row, hash_files, read_scores, write_scores

DEFAULT_METRICS = ("mi", "vif", "qabf", "ssim", "cc", "scd", "halo", "psnr", "en", "sd", "sf", "ag")
RANKED = ("mi", "vif", "qabf", "ssim", "cc", "scd", "halo", "mef_ssim")
"""Metrics of the mean rank, where present: what a fused image keeps of its sources, not how lively it is."""


@dataclass
class Bench:
    """What a run gives: rows, protocol, seconds by method and image, failures by image, groups of source files."""

    protocol: Protocol
    rows: list[Row]
    groups: dict[str, tuple[Path, ...]]
    fused: dict[str, dict[str, Path]]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    threads: int = 0
    peak_mib: float = 0.0


def metric_versions(names: Sequence[str]) -> dict[str, str]:
    """name -> hash of the code of its module, so that a change of a definition changes the protocol."""
    import inspect

    out = {}
    for name in names:
        module = inspect.getmodule(METRICS[name].function)
        text = inspect.getsource(module) if module is not None else name
        out[name] = hashlib.sha256(text.encode()).hexdigest()[:8]
    return out


def identity(fuser: Fuser) -> str:
    """Which weights a model has, for the origin column."""
    digest = hashlib.sha256(repr(fuser.model.config).encode())
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
        if not label or not name:
            raise FusionError(f"model '{entry}': give NAME, FOLDER or LABEL=MODEL")
        if label in out:
            raise FusionError(f"two models are called {label}; name one as LABEL={name}")
        out[label] = name
    return out


def bench(
    data: str | Path,
    task: str,
    models: Sequence[str],
    out: str | Path,
    *,
    fused: dict[str, Path] | None = None,
    metrics: Sequence[str] = (),
    grey: str = "opencv",
    inputs: str = "luma",
    device: str = "auto",
    limit: int | None = None,
    step: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Runs the benchmark on one data set and writes OUT/scores.csv and OUT/fused/METHOD/STEM.png.

    A second run with the same protocol and weights scores only what is missing. A set that fails is reported in `failures`.
    """
    out = Path(out)
    groups, lacking = find_groups(data, task)
    groups = dict(list(groups.items())[:limit])
    names = list(metrics or DEFAULT_METRICS + (("mef_ssim",) if task == "mef" else ()))
    unknown = [n for n in names if n not in METRICS]
    if unknown:
        raise FusionError(f"unknown metric {unknown[0]}; known: {', '.join(METRICS)}")
    protocol = Protocol(
        Path(data).resolve().name, task, hash_files(groups), grey, inputs, metrics=metric_versions(names)
    )
    known = _known_rows(out / "scores.csv", protocol)
    result = Bench(protocol, [], groups, {}, threads=torch.get_num_threads())
    result.failures = {stem: f"not in {', '.join(map(str, where))}" for stem, where in lacking.items()}
    chosen = labels(models)
    fusers = {label: Fuser(name, device=device) for label, name in chosen.items()}
    origins = {name: identity(fuser) for name, fuser in fusers.items()}
    given = {name: {p.stem: p for p in sorted(Path(folder).iterdir())} for name, folder in (fused or {}).items()}
    for index, (stem, paths) in enumerate(groups.items()):
        step(f"{index + 1}/{len(groups)} {stem}")
        try:
            stack = Stack(tuple(read_image(p) for p in paths))
            lumas = [levels(f, grey) for f in stack.frames]
        except FusionError as error:
            result.failures[stem] = str(error)
            continue
        roles = order_of_roles(stack.frames)  # of the files: their colour tells the roles, and luma has none
        if inputs == "luma":
            stack = Stack(
                tuple(
                    Frame(t.to(torch.uint8).numpy()[..., None], name=p.name) for t, p in zip(lumas, paths, strict=True)
                )
            )
        jobs: list[tuple[str, str, Callable[[], Tensor]]] = [
            (name, origins[name], partial(_fuse, fusers[name], stack, roles, out, name, stem, grey, result))
            for name in chosen
        ]
        jobs += [
            (name, "given", partial(_given, files, stem, name, lumas[0], grey, result)) for name, files in given.items()
        ]
        jobs += [(name, "trivial", make) for name, make in _trivial(lumas) if name not in chosen]
        for method, origin, make in jobs:
            saved = out / "fused" / method / f"{stem}.png"
            row = known.get((method, stem, origin))
            if row is not None and origin != "given" and (origin == "trivial" or saved.exists()):
                result.rows.append(row)
                if origin != "trivial":
                    result.fused.setdefault(method, {})[stem] = saved
                continue
            try:
                image = make()
                values = score_images(image, lumas, names, grey)  # type: ignore[arg-type]
            except FusionError as error:
                result.failures[f"{stem} ({method})"] = str(error)
                continue
            result.rows.append(Row(stem, method, origin, values))
    result.peak_mib = peak_bytes() / 2**20
    if not result.rows:
        first = next(iter(result.failures.items()), ("", "no images"))
        raise FusionError(f"{data}: nothing could be scored; {first[0]}: {first[1]}")
    write_scores(out / "scores.csv", protocol, result.rows)
    return result


def _trivial(lumas: list[Tensor]) -> list[tuple[str, Callable[[], Tensor]]]:
    """The rows that every table shows: rounded mean, maximum, and each source as it is."""
    images = torch.stack(lumas)
    out: list[tuple[str, Callable[[], Tensor]]] = [
        ("average", partial(torch.floor, images.mean(0) + 0.5)),
        ("maximum", partial(images.amax, 0)),
    ]
    return out + [(f"copy {k + 1}", partial(images.__getitem__, k)) for k in range(len(images))]


def _known_rows(path: Path, protocol: Protocol) -> dict[tuple[str, str, str], Row]:
    """Rows of an earlier run of the same protocol."""
    if not path.exists():
        return {}
    try:
        before, rows = read_scores(path)
    except FusionError:
        return {}
    if before != protocol:
        return {}
    return {(r.method, r.image, r.origin): r for r in rows}


def _fuse(
    fuser: Fuser, stack: Stack, roles: list[int], out: Path, name: str, stem: str, grey: str, result: Bench
) -> Tensor:
    """Fuses, times, saves and gives the grey levels of what was saved."""
    frames = [stack.frames[k] for k in roles] if fuser.model.ordered else list(stack.frames)
    if name not in result.seconds:  # the first call warms caches up
        fuser.run(frames, keep_order=True)
        result.seconds[name] = []
    start = time.perf_counter()
    fused = fuser.run(frames, keep_order=True).fused
    result.seconds[name].append(time.perf_counter() - start)
    target = out / "fused" / name / f"{stem}.png"
    pixels = fused.pixels if fused.pixels.dtype == np.uint8 else None
    if pixels is None:
        raise FusionError(
            f"{stem}: the benchmark is on 8-bit results, and these are {fused.pixels.dtype}; use --inputs luma"
        )
    write_image(target, pixels, overwrite=True)
    result.fused.setdefault(name, {})[stem] = target
    return levels(Frame(pixels, name=stem), grey)


def _given(files: dict[str, Path], stem: str, name: str, like: Tensor, grey: str, result: Bench) -> Tensor:
    """Grey levels of a fused image that somebody else made."""
    if stem not in files:
        raise FusionError(f"{name} has no {stem}")
    image = levels(read_image(files[stem]), grey)
    if image.shape != like.shape:
        raise FusionError(
            f"{files[stem]} is {image.shape[1]}x{image.shape[0]}, its sources {like.shape[1]}x{like.shape[0]}"
        )
    result.fused.setdefault(name, {})[stem] = files[stem]
    return image
