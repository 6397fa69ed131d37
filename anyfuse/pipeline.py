"""The whole job on one page: read -> condition -> plan tiles -> run them -> join colour -> report.

Only io/ touches files, only image/colour.py changes colour space, only tiling.py knows of tiles, only image/overlay.py
paints. Models see tensors in [0, 1]. Files are written by `result.Outputs`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from . import tiling
from .align.deghost import Deghosted, deghost
from .align.deghost import notes as differing
from .align.evening import even
from .align.stage import NO_ALIGNMENT, Align, Step, align_frames
from .align.stage import notes as unsure
from .budget import scratch_for
from .canvas import Canvas
from .control import Control
from .degradation.estimator import Estimate, estimate_stack
from .errors import FusionError
from .image import planes
from .image.stack import Frame, Keep, Stack, Window, in_memory, order_of_roles, place, resize_to_reference
from .io.frames import read_frames
from .io.masks import with_masks
from .io.profiles import to_one_profile
from .io.scratch import Scratch
from .language.instruction import read_say
from .models.base import Context, FusionModel
from .result import FusionResult, Report
from .runtime import peak_bytes
from .unused import unused_notes


@dataclass(frozen=True)
class Engine:
    """A loaded model and where it runs. max_memory: bytes for the whole process, None for no limit."""

    model: FusionModel  # in evaluation mode, on `device`
    name: str  # for reports
    device: torch.device  # where the network runs
    dtype: torch.dtype  # in which the network computes
    max_memory: int | None = None
    jobs: int = 1  # sets at a time in this process: each takes its share of the memory that is left


@dataclass(frozen=True)
class Options:
    """What may be chosen for one set of images; `Fuser.run` says what each field means."""

    reference: int = 0  # which image gives size, metadata and alpha, from 0
    resize: bool = False  # bring all to its size
    white: Any = None  # white level of 16-bit and float images: one, or one for each
    with_weights: bool = False  # also maps of each image's share
    keep_order: bool = False  # do not sort by role
    explain: bool = False  # also what the model explains
    say: str | Control | None = None
    masks: Sequence[Any] | None = None  # which pixels of each image count
    align: Align = NO_ALIGNMENT  # what lays the images over the reference
    black: Any = None  # black level of 16-bit and float images
    range: Any = None  # 'auto', 'none' or percentiles as 'p1,p99'
    pages: str | None = None  # of each file, as '3:40'
    deghost: str = "auto"  # what moved comes from one frame: 'auto' where such is found, 'on', 'off'


def run(images: Sequence[Any], engine: Engine, options: Options) -> FusionResult:
    """Fuses one set of images; with a single image, paints the classes that `options.say` names.

    Raises FusionError, one line that says what to change.
    """
    model, control = engine.model, read_say(options.say)
    frames, scratch = read_set(images, engine, options)
    keep = in_memory if scratch is None else scratch.keep
    single = len(frames) == 1 and bool(control.segment)
    stack, moves, still = make_stack(frames * 2 if single else frames, options, model, single, keep)
    model.check_arity(stack.n)
    order = order_of_roles(stack.frames) if model.ordered and not options.keep_order else list(range(stack.n))
    control, assumed = complete(control, stack, order, model, options)
    condition = model.condition(control, order)
    if options.explain:
        model.check_explains(condition)

    rule = planes.colour_rule(stack, model.channels, model.carries_chroma)
    count = planes.plane_count(rule)
    size = (stack.n, count, stack.height, stack.width)
    spill, result = scratch is not None, result_bytes(stack, control, options, scratch is not None)
    budget = tiling.memory_left(model, *size, engine.max_memory, result, engine.jobs, spill)
    start = time.perf_counter()
    grid = tiling.plan_tiles(model, *size, budget, spill=spill)
    canvas = Canvas(stack, rule, order, control, scratch)

    def read(window: Window) -> Tensor:
        sources = planes.read(stack, window, rule)
        return sources[order] if model.ordered else sources

    def step(sources: Tensor, context: Context | None) -> dict[str, Tensor]:
        untouched = single and not control.tone  # one image keeps its pixels below the paint
        maps = {"fused": sources[:, 0] if untouched else model(sources, condition, context)}
        weights = model.weights(sources, condition, context) if options.with_weights else None
        maps |= {} if weights is None else {"weights": weights}
        maps |= model.explain(sources, condition, context) if options.explain else {}
        return maps | {f"class {name}": m for name, m in model.masks(sources, control.segment).items()}

    for window, maps in tiling.run_tiles(model, grid, read, step, device=engine.device, scratch=scratch):
        canvas.write(window, maps)
    masks, notes = canvas.masks()
    seconds = time.perf_counter() - start
    before = unsure(moves) + differing(still.ghosts)
    before += unused_notes(
        frames,
        moves,
        still.ghosts,
        align=options.align,
        deghost=options.deghost,
        resize=options.resize,
        keep_order=options.keep_order,
        has_roles=model.ordered,
    )
    shown = 1 if single else stack.n
    report = Report(
        **engine_facts(engine),
        **stack_facts(stack, shown),
        channels=canvas.pixels.shape[2],
        colour_rule=rule,
        tiles=grid.count,
        seconds=round(seconds, 4),
        order=[stack.frames[k].name for k in order[:shown]] if model.ordered or single else None,
        shown=canvas.shares(masks),
        peak_memory_mib=round(peak_bytes() / 2**20, 1),
        warnings=[w for f in stack.frames[:shown] for w in f.warnings] + model.ignored(control) + notes + before,
        understood=None if options.say is None else str(control),
        assumed=None if assumed is None else assumed.as_dict([f.name for f in stack.frames]),
        aligned=[move.as_dict() for move in moves] or None,
        deghosted=[ghost.as_dict() for ghost in still.ghosts] or None,
        evened=[one.as_dict() for one in still.evened] or None,
    )
    return FusionResult(stack, canvas.pixels, report, canvas.weights, canvas.explained, masks, still.mask)


def read_set(images: Sequence[Any], engine: Engine, options: Options) -> tuple[list[Frame], Scratch | None]:
    """The frames of one set with their masks, in one colour profile; and where they lie if not in memory."""
    scratch = scratch_for(
        images,
        engine.model,
        engine.max_memory,
        jobs=engine.jobs,
        reference=options.reference,
        pages=options.pages,
        aligned=options.align.is_on,
    )
    keep = in_memory if scratch is None else scratch.keep
    frames = read_frames(images, options.white, options.black, options.range, options.pages, keep)
    return with_masks(to_one_profile(frames, options.reference, keep), options.masks, keep), scratch


def engine_facts(engine: Engine) -> dict[str, Any]:
    """The report's entries about model and device."""
    return {
        "model": engine.name,
        "device": str(engine.device),
        "dtype": str(engine.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def stack_facts(stack: Stack, shown: int) -> dict[str, Any]:
    """The report's entries about the first `shown` images and their common size and depth."""
    return {
        "inputs": [f.facts for f in stack.frames[:shown]],
        "width": stack.width,
        "height": stack.height,
        "depth": str(stack.depth),
        "reference": stack.frames[stack.reference].name,
    }


def make_stack(
    frames: list[Frame], options: Options, model: FusionModel, single: bool, keep: Keep = in_memory
) -> tuple[Stack, list[Step], Deghosted]:
    """The stack of two frames or more, placed, resized to the reference, aligned, evened and deghosted as the options
    say; what is made of them goes where `keep` puts it.
    """
    if len(frames) < 2:
        alone = " (a single image is enough with a class to segment, as 'show the cars')" if model.has_masks else ""
        pages = next((f"; {note}" for f in frames for note in f.warnings if "--pages" in note), "")
        raise FusionError(f"fusion needs at least two images of one scene, and got {len(frames)}{alone}{pages}")
    given, reference = 1 if single else len(frames), options.reference
    if not isinstance(reference, int) or not -given <= reference < given:
        raise FusionError(f"reference {reference} is not one of the {given} images; count from 0")
    frames = place(frames, keep)
    frames = resize_to_reference(frames, reference, keep) if options.resize else frames
    frames, moves = (frames, []) if single else align_frames(frames, options.align, reference, keep)
    stack = Stack(tuple(frames), reference)  # of one size, or an error that says what to do
    if single or options.deghost == "off":
        return stack, moves, Deghosted(frames, [])
    frames, evened = even(frames, reference, keep)
    still = replace(deghost(frames, options.deghost, keep), evened=evened)
    return replace(stack, frames=tuple(still.frames)), moves, still


def complete(
    control: Control, stack: Stack, order: list[int], model: FusionModel, options: Options
) -> tuple[Control, Estimate | None]:
    """The control, with estimated degradations where the model restores and the instruction names none."""
    silent = options.say is None or not (control.empty or control.degradations)
    if not (silent and model.restores and stack.n == 2):
        return control, None
    estimate = estimate_stack(stack, control.task, order=[0, 1] if options.keep_order else order_of_roles(stack.frames))
    return replace(control, degradations=estimate.control().degradations), estimate


def result_bytes(stack: Stack, control: Control, options: Options, spill: bool = False) -> int:
    """Bytes that the result takes: pixels, masks, and weights unless they lie in files (`spill`)."""
    channels = 3 if control.segment else stack.stored_channels
    weights = stack.n if options.with_weights and not spill else 0
    each = channels * stack.depth.itemsize * 2 + weights + 6 * len(control.segment)
    return each * stack.height * stack.width
