"""The Python call: `fuse` for one set of images, `Fuser` to keep a model loaded for many."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from .control import Control
from .errors import FusionError
from .image.stack import Stack, order_of_roles, resize_to_reference
from .io.frames import as_list, read_frames, to_kind
from .language.instruction import read_say
from .models.base import FusionModel
from .models.registry import MODELS, SHORT, load_model
from .pipeline import fuse_stack, least_bytes
from .result import NO_CLASS, Result, check_output
from .runtime import parse_bytes, peak_bytes, pick_device, pick_dtype, resident_bytes


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
            from .degradation.estimator import estimate_stack

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
