"""What a worker process does: looks at an upload, lists models, fuses a set."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..align.settings import Align
from ..errors import FusionError
from ..fuser import Fuser
from ..image.frame import FULL, Frame, convert_depth, icc_channels
from ..io.read import count_pages, page_sizes, read_image
from ..jobs.choices import suffix_of
from ..language.instruction import parse_instruction, read_say
from ..metrics import METRICS, score
from ..models.base import FusionModel
from ..models.choice import model_for
from ..models.registry import ALIASES, MODELS, describe_all, is_there
from ..options import Progress
from ..result import FusionResult
from .channel import Channel
from .names import names_for, renamed
from .request import AUTOMATIC, FuseRequest
from .store import folder_size
from .views import histogram, reduced, save_view, step_for

MEASURES = ("qabf", "ssim", "mi", "vif", "en", "sf")
"""Metrics of the page: edges, structure and information kept, and what the result itself has."""
MEASURED = 300_000  # pixels by which they are measured; larger results are reduced by whole numbers
KEPT = 2  # models that stay loaded
_loaded: dict[tuple[str, ...], Fuser] = {}


def inspect(task: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Writes the view of an upload; returns its facts."""
    path, folder = task["path"], Path(task["folder"])
    check_pixels([path], [task["name"]], task["pixels"])
    frame = read_image(path)
    save_frame(folder / "view.npy", frame, step_for(16, frame.height, frame.width))
    facts = {k: v for k, v in frame.facts.items() if k in ("width", "height", "depth", "colour")}
    return facts | {"pages": count_pages(path), "notes": list(frame.warnings)}


def check_pixels(paths: Sequence[str], names: Sequence[str], most: int, pages: str | None = None) -> None:
    """Raises FusionError, by the headers, for an image with more pixels than the server takes."""
    for path, name in zip(paths, names, strict=True):
        for size in page_sizes(path, pages or None, len(paths) == 1):
            if size is not None and size[0] * size[1] > most:
                limit = f"{most / 1e6:g} million pixels"
                raise FusionError(f"{name}: {size[1]}x{size[0]} is more than {limit}, the most that this server takes")


def models(task: dict[str, Any], channel: Channel) -> list[dict[str, Any]]:
    """The named models that can be used here, as `anyfuse models` describes them; none of the server's paths."""
    rows = []
    known = {row["name"]: row for row in describe_all()}
    for name, row in ((n, known[n]) for n, spec in MODELS.items() if n in known and is_there(spec)):
        cls = MODELS[name].cls
        rows.append(
            {
                **{k: row[k] for k in ("name", "system", "parameters", "inputs", "channels", "licence")},
                "weights": cls.weights is not FusionModel.weights,
                "restores": bool(cls.restores),
                "segments": cls.masks is not FusionModel.masks,
                "aliases": [short for short, long in ALIASES.items() if long == name],
            }
        )
    return rows


def say(task: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """How an instruction is understood."""
    control = parse_instruction(task["text"])
    return {"tags": str(control), "request": control.as_dict()}


def warm(task: dict[str, Any], channel: Channel) -> bool:
    """Loads a model before the first job."""
    fuser_for(task)
    return True


def fuser_for(task: dict[str, Any]) -> Fuser:
    """The loaded model of a task; the last `KEPT` stay loaded."""
    key = (task["model"], task["device"], str(task["memory"]))
    fuser = _loaded.pop(key, None)
    if fuser is None:
        while len(_loaded) >= KEPT:
            _loaded.pop(next(iter(_loaded)))
        fuser = Fuser(task["model"], device=task["device"], max_memory=task["memory"])
    _loaded[key] = fuser
    return fuser


def fuse(task: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Fuses one set: writes the result, the report and the views into the job's folder; returns what is there."""
    request, folder = FuseRequest(**task["request"]), Path(task["folder"])
    paths, names = task["paths"], list(task["names"].values())
    last = [0.0]

    def tell(stage: str, share: float) -> None:
        now = time.monotonic()
        if share in (0.0, 1.0) or now - last[0] > 0.1:
            last[0] = now
            channel.send(stage=stage, share=round(share, 4))

    tell("load", 0.0)
    model = model_for(read_say(request.say or None)) if request.model == AUTOMATIC else request.model
    fuser = fuser_for(task | {"model": model})
    fuser.progress = tell
    check_pixels(paths, names, task["pixels"], request.pages)
    with_weights = request.weights and type(fuser.model).weights is not FusionModel.weights
    result = fuser.run(
        paths,
        reference=request.reference,
        resize=request.resize,
        white=request.white or None,
        black=request.black or None,
        range=request.range or None,
        pages=request.pages or None,
        with_weights=with_weights,
        keep_order=request.keep_order,
        say=request.say or None,
        align=Align(request.align, keep_frame=request.keep_frame),
        deghost=request.deghost,
    )
    tell("write", 0.0)
    frames = tuple(replace(f, name=names_for(f.name, task["names"])) for f in result.stack.frames)
    result = replace(result, stack=replace(result.stack, frames=frames))
    return written(result, request, task["names"], folder, tell)


def written(
    result: FusionResult, request: FuseRequest, names: dict[str, str], folder: Path, tell: Progress
) -> dict[str, Any]:
    """Writes what a job leaves; returns what the server tells of it."""
    stack, count = result.stack, len(result.summary.inputs)
    step = step_for(2 * count, stack.height, stack.width)
    first = stack.frames[stack.reference]
    suffix = suffix_of(Path(first.name), None) if request.format == "auto" else f".{request.format}"
    save_views(result, folder, step)
    report = renamed(result.report, names)
    result, notes = in_depth(result, request.depth)
    report["warnings"] += notes + result.save(folder / f"result{suffix}", quality=request.quality)
    report["warnings"] = [renamed(w, {str(folder / f"result{suffix}"): "the result"}) for w in report["warnings"]]
    report["output"] = f"fused{suffix}"
    tell("measure", 0.0)
    report["metrics"] = measured(folder, count, step) if request.metrics and count > 1 else None
    for path in names:
        Path(path).unlink(missing_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return {
        "file": f"result{suffix}",
        "bytes": folder_size(folder),
        "width": report["width"],
        "height": report["height"],
        "channels": report["channels"],
        "inputs": [f.name for f in stack.frames[:count]],
        "weights": 0 if result.weights is None else count,
        "step": step,
        "histograms": histograms(folder, count),
        "report": report,
    }


def in_depth(result: FusionResult, depth: str) -> tuple[FusionResult, list[str]]:
    """The result in 8 or 16 bits, and a note where that adds nothing."""
    kind = {"auto": result.pixels.dtype.name, "8": "uint8", "16": "uint16"}[depth]
    if kind == result.pixels.dtype.name:
        return result, []
    notes = ["the inputs have 8 bits: 16 bits of the result hold no more"] if kind == "uint16" else []
    notes = [] if result.pixels.dtype != np.uint8 else notes
    stack = result.stack
    pixels = convert_depth(result.pixels, kind, stack.white)
    frames = tuple(
        replace(f, pixels=convert_depth(f.pixels, kind, f.white), white=FULL[kind], alpha=_alpha(f, kind), valid=None)
        for f in stack.frames
    )
    return replace(result, pixels=pixels, stack=replace(stack, frames=frames)), notes


def _alpha(frame: Frame, kind: str) -> np.ndarray | None:
    """What hides the frame, in another depth."""
    return None if frame.opacity is None else convert_depth(frame.opacity, kind)


def save_views(result: FusionResult, folder: Path, step: int) -> None:
    """The views of the result, of the aligned inputs and of their weights; `step` reduces all but the first."""
    stack, count = result.stack, len(result.summary.inputs)
    save_view(folder / "result.npy", result.pixels, stack.white, stack.alpha)
    save_profile(folder / "result.icc", stack.icc, result.pixels.shape[2])
    for index, frame in enumerate(stack.frames[:count]):
        save_frame(folder / f"input-{index}.npy", frame, step)
    for index, weights in enumerate([] if result.weights is None else result.weights):
        save_view(folder / f"weights-{index}.npy", weights, 255.0, step=step)


def save_frame(path: Path, frame: Frame, step: int) -> None:
    """The view of an image with its profile."""
    save_view(path, frame.pixels, frame.white, frame.opacity, step)
    save_profile(path.with_suffix(".icc"), frame.icc, frame.channels)


def save_profile(path: Path, icc: bytes | None, channels: int) -> None:
    """A colour profile beside its view, where it fits the channels."""
    if icc and icc_channels(icc) == channels:
        path.write_bytes(icc)


def opened(path: Path) -> tuple[np.ndarray, int]:
    """A view, and how many channels it has without alpha."""
    view = np.load(path, mmap_mode="r")
    return view, view.shape[2] - (view.shape[2] in (2, 4))


def histograms(folder: Path, count: int) -> dict[str, list[list[int]]]:
    """Of the result and of each input."""
    files = {"result": folder / "result.npy"} | {str(k): folder / f"input-{k}.npy" for k in range(count)}
    return {name: histogram(*opened(path)) for name, path in files.items()}


def measured(folder: Path, count: int, step: int) -> dict[str, Any]:
    """A few metrics of the result, and by how much it was reduced for them."""
    factors: list[int] = []
    fused, channels = opened(folder / "result.npy")
    images = [reduced(fused[::step, ::step], channels, MEASURED, factors.append)]
    images += [reduced(*opened(folder / f"input-{k}.npy"), MEASURED) for k in range(count)]
    values = score(images[0], images[1:], MEASURES, strict=False)
    rows = [
        {"name": name, "value": round(value, 4) if math.isfinite(value) else None, "better": METRICS[name].better}
        for name, value in values.items()
    ]
    return {"values": rows, "reduced": factors[0] * step}


TASKS = {"inspect": inspect, "models": models, "say": say, "warm": warm, "fuse": fuse}
