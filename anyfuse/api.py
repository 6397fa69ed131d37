"""The Python call: `fuse` for one set of images, `Fuser` to keep a model loaded for many."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image

from .control import CLASSES, Control, parse_instruction
from .errors import FusionError
from .files import target_of, write_whole
from .io import read_image, writable, write_image
from .models import MODELS, SHORT, FusionModel, load_model
from .pipeline import Fused, fuse_stack, least_bytes
from .stack import Frame, Stack, from_arrays, order_of_roles, resize_to_reference, to_kind

NO_CLASS = f"--mask-out needs a class to be shown, as --say 'highlight the cars'; known are {', '.join(CLASSES)}"
UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass
class Result:
    """What `Fuser.run` gives: the stack that was read, the fused pixels and the report."""

    stack: Stack
    fused: Fused
    report: dict[str, Any]

    def save(self, path: str | Path, *, overwrite: bool = False, quality: int = 95) -> list[str]:
        """Writes the image with the reference's metadata and alpha; returns warnings (also put into the report)."""
        stack, frame = self.stack, self.stack.frames[self.stack.reference]
        warnings = write_image(
            path, self.fused.pixels, alpha=stack.alpha, exif=frame.exif, icc=stack.icc, dpi=frame.dpi,
            white=stack.white, quality=quality, overwrite=overwrite, inputs=[f.name for f in stack.frames],
        )  # fmt: skip
        self.report["warnings"] += warnings
        self.report["output"] = str(path)
        return warnings

    def save_weights(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """One grey PNG per input in `folder`, named after it: white where that input makes up the whole result."""
        if self.fused.weights is None:
            raise FusionError(
                f"model {self.report['model']} has no weights per image; use --model anyfuse for --weights-out"
            )
        names = [f.name for f in self.stack.frames]
        paths = weight_paths(folder, names)
        for path, weights in zip(paths, self.fused.weights, strict=True):
            write_image(path, weights, overwrite=overwrite, inputs=names)
        return paths

    def save_masks(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """The classes that were to be shown, as 8-bit grey PNGs of the result's size, 255 where they are: `path`, or for several classes
        NAME-CLASS.png beside it."""
        if not self.fused.masks:
            raise FusionError(NO_CLASS)
        names = [f.name for f in self.stack.frames]
        paths = mask_paths(path, list(self.fused.masks))
        for target, mask in zip(paths, self.fused.masks.values(), strict=True):
            write_image(target, mask, overwrite=overwrite, inputs=names)
        return paths

    def save_explanation(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """explain.json with every number, and a grey PNG per map, stretched from its smallest to its largest value (both in the JSON)."""
        if not self.fused.explained:
            raise FusionError(
                "this result has no explanation: run(..., explain=True), with a model that explains, as tita-small"
            )
        names = [f.name for f in self.stack.frames]
        content: dict[str, Any] = {"model": self.report["model"], "order": self.report.get("order", names)}
        content |= {"numbers": {}, "maps": {}}
        paths = []
        for name, value in self.fused.explained.items():
            if value.ndim == 0:
                content["numbers"][name] = float(value)
                continue
            low, high = float(value.min()), float(value.max())
            path = Path(folder) / f"{name.replace(' ', '-')}.png"
            levels = (value - low) / max(high - low, 1e-12) * 255
            write_image(path, levels.round().to(torch.uint8).numpy(), overwrite=overwrite, inputs=names)
            content["maps"][name] = {"file": path.name, "min": low, "mean": float(value.mean()), "max": high}
            paths.append(path)
        target = Path(folder) / "explain.json"
        write_whole(target, [(json.dumps(content, indent=1) + "\n").encode()], overwrite=overwrite, inputs=names)
        return [target, *paths]


class Fuser:
    """A loaded model and the choices that go with it.

    model: name, folder, hub id or FusionModel. device: auto, cpu, cuda, cuda:1 ... dtype: auto, float32, bfloat16 or float16 for the
    network (pixels stay float32). max_memory: bytes for the whole process or a string as '2G'; tiles shrink to fit. threads: of torch.
    """

    def __init__(
        self,
        model: str | Path | FusionModel = "anyfuse",
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_memory: int | str | None = None,
    ) -> None:
        model = SHORT.get(model, model) if isinstance(model, str) else model
        self.name = model if isinstance(model, str) else str(getattr(model, "name", type(model).__name__))
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self.max_memory = parse_bytes(max_memory)
        self.model = model if isinstance(model, FusionModel) else load_model(model)
        if self.dtype != torch.float32 and not self.model.low_precision:
            raise FusionError(f"--dtype {dtype}: model {self.name} is exact in float32 only; leave --dtype out")
        self.model.to(self.device, self.dtype).eval()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        follows = (
            type(self.model).tell is not FusionModel.tell
        )  # then what is asked for is kept in the model while it fuses
        self._turn: AbstractContextManager[Any] = Lock() if follows else nullcontext()

    def __call__(self, images: Sequence[Any], **options: Any) -> Any:
        """See `fuse`."""
        images = as_list(images)
        result = self.run(images, **options)
        like = images[result.stack.reference]
        frame = result.stack.frames[result.stack.reference]
        return to_kind(result.fused.pixels, like, alpha=result.stack.alpha, exif=frame.exif, icc=result.stack.icc)

    def run(
        self,
        images: Sequence[Any],
        *,
        reference: int = 0,
        resize: bool = False,
        white: float | None = None,
        with_weights: bool = False,
        keep_order: bool = False,
        explain: bool = False,
        say: str | Control | None = None,
    ) -> Result:
        """As `fuse`, but gives the pixels in the stack's depth with a report and the means to save them.

        explain: also keeps what the model tells of its decisions, for `Result.save_explanation`. say: an instruction in words or tags
        (docs/language.md), for models that follow one. Classes that it wants to see are painted into the result, and `Result.save_masks`
        writes them; then one image alone will do, and keeps its pixels below the paint. Without words a model that repairs is told what
        estimate.py finds in the images, also beside words that speak of no repair, and the report has that under `assumed`; 'repair nothing'
        says that there is nothing to repair.
        """
        if explain:
            self.check_explains()
        control = read_say(say)
        frames = read_frames(images, white)
        single = len(frames) == 1 and bool(control.segment)
        if len(frames) < 2 and not single:
            alone = (
                " (one alone will do where a class is to be shown, as in 'show the cars')" if self.model.shows else ""
            )
            raise FusionError(f"fusion needs at least two images of one scene, and got {len(frames)}{alone}")
        if not isinstance(reference, int) or not -len(frames) <= reference < len(frames):
            raise FusionError(f"reference {reference} is not one of the {len(frames)} images; count from 0")
        frames = frames * 2 if single else frames
        stack = Stack(tuple(resize_to_reference(frames, reference) if resize else frames), reference)
        found = None
        silent = say is None or not (control.empty or control.degradations)
        if silent and self.model.repairs and stack.n == 2:
            from .estimate import estimate_stack

            order = [0, 1] if keep_order else order_of_roles(stack.frames)
            found = estimate_stack(stack, control.task, order=order)
            control = replace(control, degradations=found.control().degradations)
        budget = None
        if self.max_memory is not None:
            pixels = stack.height * stack.width
            channels = 3 if control.segment else stack.stored_channels
            out = pixels * (channels * stack.depth.itemsize * 2 + with_weights * stack.n + 6 * len(control.segment))
            used, least = resident_bytes() + out, least_bytes(stack, self.model)
            budget = self.max_memory - used
            if budget < least:
                raise FusionError(
                    f"--max-memory {self.max_memory / 2**20:.0f}M is too little: program, images and result take {used / 2**20:.0f} MiB and "
                    f"fusing takes {least / 2**20:.0f} MiB at least; give {(used + least) / 2**20 + 1:.0f}M or more"
                )
        with self._turn:
            fused = fuse_stack(
                stack, self.model, device=self.device, budget=budget, with_weights=with_weights, keep_order=keep_order,
                explain=explain, control=control,
            )  # fmt: skip
        notes = fused.report.pop("notes")
        if single:
            fused.report["inputs"], fused.report["order"] = fused.report["inputs"][:1], [stack.frames[0].name]
        report = {
            "model": self.name, "device": str(self.device), "dtype": str(self.dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
            **fused.report, "reference": stack.frames[reference].name, "peak_memory_mib": round(peak_bytes() / 2**20, 1),
            "warnings": [w for f in stack.frames[: 1 if single else None] for w in f.warnings] + notes,
        }  # fmt: skip
        if say is not None:
            report["understood"] = str(control)
        if found is not None:
            report["assumed"] = found.told([f.name for f in stack.frames])
        return Result(stack, fused, report)

    def check_masks(self, say: str | Control | None) -> list[str]:
        """The classes that `say` wants to see; raises FusionError where it is none, or the model has no masks."""
        control = read_say(say)
        if not control.segment:
            raise FusionError(NO_CLASS)
        if not self.model.shows:
            able = [name for name, spec in MODELS.items() if spec.cls.masks is not FusionModel.masks]
            raise FusionError(f"model {self.name} gives no masks; --mask-out is for --model {', '.join(able)}")
        return list(control.segment)

    def check_explains(self) -> None:
        """Raises FusionError where the model has nothing to tell, or too little memory to keep it."""
        if type(self.model).explain is FusionModel.explain:
            raise FusionError(f"model {self.name} explains nothing; --explain is for --model tita-small")
        if self.max_memory is not None:
            raise FusionError("--explain keeps many maps of the whole image; leave --max-memory out")


def fuse(
    images: Sequence[Any],
    *,
    model: str | Path | FusionModel = "anyfuse",
    out: str | Path | None = None,
    reference: int = 0,
    resize: bool = False,
    white: float | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_memory: int | str | None = None,
    overwrite: bool = False,
    keep_order: bool = False,
    say: str | Control | None = None,
) -> Any:
    """Fuses two or more images of one scene into one.

    images: paths, PIL images, numpy arrays (H, W[, 1, 3 or 4]) in uint8, uint16 or float [0, 1], tensors ([1,] C, H, W) in float [0, 1] or
    uint8; mixed kinds work. All of one size, or `resize=True` brings them to the size of images[reference].
    out: a file to write; then its path is returned. Otherwise the result is of the same kind as images[reference], and for a path a numpy
    array (H, W) or (H, W, 3) in the depth of the files.
    white: value that counts as 1.0 in 16-bit or float images, as 4095 for 12-bit data.
    keep_order: for models whose inputs have roles (tita, unifusion, mmaif, ditfuse): takes them as given, not grey before colour and darker before brighter.
    say: what to repair ("remove the haze", mmaif), or how light the result is and what it shows ("brighter, highlight the cars", ditfuse), for
    models that follow instructions; None: what the images seem to need. One image will do where a class is to be shown.

    Raises FusionError, one line that says what to change.
    """
    if out is not None:
        check_output(out, overwrite, as_list(images))
    fuser = Fuser(model, device=device, dtype=dtype, max_memory=max_memory)
    if out is None:
        return fuser(images, reference=reference, resize=resize, white=white, keep_order=keep_order, say=say)
    result = fuser.run(as_list(images), reference=reference, resize=resize, white=white, keep_order=keep_order, say=say)
    result.save(out, overwrite=overwrite)
    return Path(out)


def weight_paths(folder: str | Path, names: Sequence[str]) -> list[Path]:
    """Where the weight maps of the inputs `names` go: FOLDER/01-STEM.png ..."""
    stems = (re.sub(r"[^\w.-]+", "_", Path(name).stem) for name in names)
    return [Path(folder) / f"{index:02d}-{stem}.png" for index, stem in enumerate(stems, 1)]


def read_say(say: str | Control | None) -> Control:
    """What is asked for; FusionError for words that are not understood, and for what is no wish."""
    if say is None or isinstance(say, Control):
        return say or Control()
    if not isinstance(say, str):
        raise FusionError(f"say={say!r}: give an instruction in words, or a Control")
    return parse_instruction(say)


def mask_paths(path: str | Path, classes: Sequence[str]) -> list[Path]:
    """Where masks go: one class to `path`, several to NAME-CLASS.png each. Raises FusionError for a name that is not of a PNG."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FusionError(f"--mask-out {path}: give a name that ends in .png, or for folders a folder")
    return [path] if len(classes) == 1 else [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in classes]


def check_output(path: str | Path, overwrite: bool, inputs: Sequence[Any] = ()) -> None:
    """Raises FusionError, before any work is done, where an image could not be written to `path`."""
    if not str(path):
        raise FusionError("the name of the output is empty; name the image file to write")
    if not os.path.isdir(path):
        writable(path)
    target_of(os.fspath(path), overwrite, [i for i in inputs if isinstance(i, str | os.PathLike)])


def as_list(images: Sequence[Any]) -> list[Any]:
    """The images one by one; a single image or path instead of a list of them is a FusionError."""
    single = isinstance(images, str | Path | Image.Image | Frame)
    if single or (isinstance(images, np.ndarray | torch.Tensor) and images.ndim < 4):
        raise FusionError("give a list of two or more images, not one")
    return list(images)


def read_frames(images: Sequence[Any], white: float | None) -> list[Frame]:
    """Frames of paths and of images in memory; the same file given twice is a FusionError."""
    frames: list[Frame] = []
    seen: dict[tuple[int, int], str] = {}
    for index, image in enumerate(images):
        if isinstance(image, str | os.PathLike):
            frame = read_image(image, white)
            status = os.stat(image)
            key = (status.st_dev, status.st_ino)
            if key in seen:
                raise FusionError(f"{image}: is the same file as {seen[key]}; give each image once")
            seen[key] = str(image)
        else:
            frame = from_arrays([image], white, first=index + 1)[0]
        frames.append(frame)
    return frames


def pick_device(name: str) -> torch.device:
    """auto: CUDA where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise FusionError(f"--device {name}: no such device; give auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise FusionError(f"--device {name}: this machine or this build of torch has no CUDA; give cpu or auto")
    if device.type not in ("cpu", "cuda", "mps") or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise FusionError(f"--device {name}: not on this machine, or not supported; give auto, cpu or cuda")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """auto: float32."""
    known = {
        "auto": torch.float32,
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if name not in known:
        raise FusionError(f"--dtype {name}: give {', '.join(known)}")
    return known[name]


def parse_bytes(text: int | str | None) -> int | None:
    """'2G', '512MiB', 1073741824 -> bytes."""
    if text is None:
        return None
    if not isinstance(text, str):
        return int(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if match is None or float(match[1]) == 0:
        raise FusionError(f"--max-memory {text}: give a size as 2G, 512M or a number of bytes")
    return int(float(match[1]) * UNITS[match[2]])


def resident_bytes() -> int:
    """Memory that the process holds now; its peak where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """Most memory that the process has held."""
    try:
        import resource
    except ImportError:  # Windows has none
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
