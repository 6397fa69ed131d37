"""A loaded model, kept for many sets of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from .align.settings import Align, as_align, check_mode
from .arrays import WITH_TORCH, torch
from .control import Control
from .device import pick_device, pick_dtype
from .engine_choice import check_engine, resolve
from .errors import FusionError, names_arguments
from .io.frames import as_list, to_kind
from .language.instruction import read_say
from .models.base import FusionModel
from .models.choice import CONTROLS, DEFAULT, RESTORES, asks_for_both
from .options import Engine, Options, Progress, silent
from .pansharpening.run import pansharpen_set
from .pipeline import run
from .result import NO_CLASS, FusionResult
from .runtime import check_argument, keep_memory, one_line_of, parse_bytes
from .stages import run_both


class Fuser:
    """A loaded model, its device and its memory limit. Several threads may use one Fuser.

    Args:
        model: name, folder, hub id or FusionModel. A given FusionModel is copied, so the caller's stays as it is.
        device: 'auto', 'cpu', 'cuda', 'cuda:1' ...
        dtype: 'auto', 'float32', 'bfloat16' or 'float16', of the network. Pixels stay float32.
        engine: what computes the network: 'torch', or 'onnx' for the default model on the CPU. 'auto': torch where that
            is installed.
        max_memory: limit in bytes for the whole process, or a string as '2G'. Tiles shrink to fit. Without a limit on
            the CPU, glibc is told to keep freed memory (up to 1 GiB of it); ANYFUSE_KEEP_MEMORY=0 prevents that.

    Raises:
        FusionError: the model, the device, the dtype or the engine is not available.
    """

    @names_arguments
    def __init__(
        self,
        model: str | Path | FusionModel = "anyfuse",
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_memory: int | str | None = None,
        engine: str = "auto",
    ) -> None:
        check_argument("model", model, str, Path, FusionModel)
        self.engine = _engine_for(model, engine)
        model = _full_name(model) if isinstance(model, str) else model
        self.name = model if isinstance(model, str) else str(getattr(model, "name", type(model).__name__))
        self.device = pick_device("cpu" if self.engine == "onnx" and device == "auto" else device)
        if self.engine == "onnx" and self.device.type != "cpu":
            raise FusionError(f"--engine onnx computes on the CPU, not on {self.device}; leave --device out")
        if self.engine == "onnx" and dtype not in ("auto", "float32"):
            raise FusionError(f"--engine onnx computes in float32, not in {dtype}; leave --dtype out")
        self.dtype = pick_dtype(dtype, self.device)
        self.max_memory = parse_bytes(max_memory)
        self._partner: Fuser | None = None
        self.jobs = 1  # sets at a time, which share the memory
        self.progress: Progress = silent  # hears the stages of each run
        if self.max_memory is None and self.device.type == "cpu":
            keep_memory()
        self.model = deepcopy(model) if isinstance(model, FusionModel) else _load(model, self.engine)
        if self.dtype != torch.float32 and not self.model.low_precision:
            raise FusionError(f"--dtype {dtype}: model {self.name} is exact in float32 only; leave --dtype out")
        self.model.to(self.device, self.dtype).eval()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @names_arguments
    def __call__(self, images: Sequence[Any], **options: Any) -> Any:
        """Fuses images; the result has the type of images[reference]. Options: see `run`."""
        images = as_list(images)
        result = self.run(images, **options)
        stack, frame = result.stack, result.stack.frames[result.stack.reference]
        like = images[stack.reference] if stack.reference < len(images) else None  # pages of one file
        return to_kind(result.pixels, like, alpha=stack.alpha, exif=frame.exif, icc=stack.icc)

    @names_arguments
    def run(
        self,
        images: Sequence[Any],
        *,
        reference: int = 0,
        resize: bool = False,
        white: float | str | Sequence[float | None] | None = None,
        with_weights: bool = False,
        keep_order: bool = False,
        explain: bool = False,
        say: str | Control | None = None,
        masks: Sequence[Any] | None = None,
        align: str | Align = "auto",
        black: float | str | Sequence[float | None] | None = None,
        range: str | tuple[float, float] | None = None,
        pages: str | None = None,
        deghost: str = "auto",
        deghost_reference: int | None = None,
        infrared: int | None = None,
        pseudocolour: str | Sequence[str | None] | None = None,
    ) -> FusionResult:
        """Fuses the images of one scene.

        Args:
            images: as in `fuse`.
            reference: as in `fuse`.
            resize: as in `fuse`.
            white: as in `fuse`.
            keep_order: as in `fuse`.
            masks: as in `fuse`.
            align: as in `fuse`.
            with_weights: also keeps the weight of each image at each pixel, for `FusionResult.save_weights`.
            explain: also keeps numbers and maps behind the result, for `FusionResult.save_explanation`.
            say: as in `fuse`. Classes that it names are painted into the result, and `FusionResult.save_masks` writes
                their masks. Then a single image is enough, and it keeps its pixels below the paint. A model that
                restores takes degradations from the instruction; without one it takes those that
                degradation/estimator.py estimates, and the report has them under `assumed`. 'repair nothing' turns the
                estimate off.
            black: as in `fuse`.
            range: as in `fuse`.
            pages: as in `fuse`.
            deghost: as in `fuse`.
            deghost_reference: as in `fuse`.
            infrared: as in `fuse`.
            pseudocolour: as in `fuse`.

        Returns:
            Pixels in the depth of the inputs, a report (`aligned` says what moved), and methods that save them.

        Raises:
            FusionError: one line that says what to change.
        """
        if not isinstance(reference, int):
            raise FusionError(f"reference {one_line_of(reference)} is not one of the images; count from 0")
        if isinstance(white, bool) or (isinstance(white, int | float) and not 0 < white < math.inf):
            raise FusionError(f"--white {white:g} cannot be; give more than 0")
        check_mode(deghost)
        if deghost == "off" and deghost_reference is not None:
            raise FusionError("--deghost-reference needs --deghost auto or on; leave one of them out")
        flags = {"resize": resize, "with_weights": with_weights, "keep_order": keep_order, "explain": explain}
        for name, value in flags.items():
            check_argument(name, value, bool)
        check_argument("pages", pages, str, type(None))
        check_argument("deghost_reference", deghost_reference, int, type(None))
        check_argument("infrared", infrared, int, type(None))
        images = as_list(images)
        if explain:
            self.check_explains()
        options = Options(
            reference=reference,
            resize=resize,
            white=white,
            with_weights=with_weights,
            keep_order=keep_order,
            explain=explain,
            say=say,
            masks=masks,
            align=as_align(align),
            black=black,
            range=range,
            pages=pages,
            deghost=deghost,
            deghost_reference=deghost_reference,
            infrared=infrared,
            pseudocolour=pseudocolour,
        )
        pair = pansharpen_set(images, self._engine, options)
        if pair is not None:
            return pair
        control = read_say(say)
        if asks_for_both(control) and (self.model.restores or self.model.controls):
            first, second = (self, self._other(CONTROLS)) if self.model.restores else (self._other(RESTORES), self)
            return run_both(images, first._engine, second._engine, options, control)
        return run(images, self._engine, options)

    @property
    def _engine(self) -> Engine:
        """The model and where it runs."""
        return Engine(
            self.model, self.name, self.device, self.dtype, self.max_memory, self.jobs, self.engine, self.progress
        )

    def _other(self, name: str) -> Fuser:
        """A Fuser of another model on the same device, for requests that need both; loaded once."""
        if self._partner is None:
            limit = self.max_memory
            self._partner = Fuser(name, device=str(self.device), max_memory=limit)
            self._partner.jobs = self.jobs
        return self._partner

    @names_arguments
    def check_instruction(self, say: str | Control | None) -> None:
        """Raises FusionError where the model cannot do what `say` asks for, whatever the images."""
        control = read_say(say)
        if not (asks_for_both(control) and (self.model.restores or self.model.controls)):
            self.model.condition(control, range(max(2, self.model.arity[0])))

    @names_arguments
    def check_masks(self, say: str | Control | None) -> list[str]:
        """The classes that `say` names; raises FusionError where there are none, or the model has no masks."""
        control = read_say(say)
        if not control.segment:
            raise FusionError(NO_CLASS)
        if not self.model.has_masks:
            from .models.registry import MODELS

            able = [name for name, spec in MODELS.items() if spec.cls.masks is not FusionModel.masks]
            raise FusionError(f"model {self.name} gives no masks; --mask-out is for --model {', '.join(able)}")
        return list(control.segment)

    @names_arguments
    def check_explains(self, say: str | Control | None = None) -> None:
        """Raises FusionError where the model explains nothing, or where there is too little memory to keep it.

        With `say`, also where this request leaves nothing to explain.
        """
        if type(self.model).explain is FusionModel.explain:
            from .models.registry import MODELS

            able = [name for name, spec in MODELS.items() if spec.cls.explain is not FusionModel.explain]
            raise FusionError(f"model {self.name} explains nothing; --explain is for --model {', '.join(able)}")
        if self.max_memory is not None:
            raise FusionError("--explain keeps many maps of the whole image; leave --max-memory out")
        if say is not None:
            self.model.check_explains(self.model.condition(read_say(say), range(2)))


def _engine_for(model: str | Path | FusionModel, engine: str) -> str:
    """'torch' or 'onnx'; FusionError where the model cannot run on the engine."""
    if not isinstance(model, FusionModel):
        return resolve(engine, WITH_TORCH)
    if check_engine(engine) == "onnx":
        raise FusionError("--engine onnx is for the default model by its name; leave it out")
    return "torch"


def _full_name(name: str) -> str:
    """The name of a model that a short name stands for."""
    if name == DEFAULT:
        return name
    from .models.registry import ALIASES

    return ALIASES.get(name, name)


def _load(model: str | Path, engine: str) -> FusionModel:
    """A model by its name, for an engine; its other models are loaded only where PyTorch is."""
    if engine == "onnx":
        from .engines.without_torch import load_without_torch

        return load_without_torch(model)
    from .models.registry import load_model

    return load_model(model)
