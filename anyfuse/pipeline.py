"""The whole job on one page: prepare -> condition -> plan tiles -> run them -> join colour -> report.

In a run, only io/ reads and writes image files, only image/colour.py splits and joins luma and chroma, only tiling.py
lays out tiles, only image/overlay.py paints. Models see tensors in [0, 1]. Files are written by `result.Outputs`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from . import tiling
from .arrays import Tensor, torch
from .canvas import Canvas
from .control import Control
from .held import NOTHING, Held, engine_for, wanted
from .image import planes
from .image.cover import Window
from .image.stack import Stack
from .language.instruction import read_say
from .models.base import Context
from .options import Engine, Options
from .prepare import Prepared, prepare, roles_for
from .result import FusionResult, Report
from .runtime import peak_bytes


def run(images: Sequence[Any], engine: Engine, options: Options) -> FusionResult:
    """Fuses one set of images; with a single image, paints the classes that `options.say` names.

    Raises FusionError, one line that says what to change.
    """
    model, understood = engine.model, read_say(options.say)
    prepared = prepare(images, engine, options, alone=bool(understood.segment))
    stack, scratch, single = prepared.stack, prepared.scratch, prepared.given_count == 1
    model.check_arity(stack.n)
    roles, order = roles_for(stack, model, options)
    control = (wish := wanted(understood, options.say, stack, order, model)).control
    condition, ignored = model.condition(control, order), model.ignored(control)
    asked, engine = engine, engine_for(engine, control, stack.n)
    if engine is not asked:  # nothing to restore
        model, condition, order = engine.model, None, list(range(stack.n))
    if options.explain:
        model.check_explains(condition)

    rule = planes.colour_rule(stack, model.channels, model.carries_chroma)
    spill = scratch is not None  # large arrays lie in files
    start = time.perf_counter()
    grid = tile_grid(stack, rule, engine, result_bytes(stack, control, options, spill), spill)
    canvas = Canvas(stack, rule, order, control, scratch)

    def read(window: Window) -> Tensor:
        sources = planes.read(stack, window, rule)
        return sources[order] if model.ordered else sources

    untouched = single and not control.tone  # one image keeps its pixels below the paint
    held = Held(model, wish, grid)

    def step(sources: Tensor, context: Context | None) -> dict[str, Tensor]:
        maps = {"fused": sources[:, 0] if untouched else held(sources, model(sources, condition, context))}
        weights = model.weights(sources, condition, context) if options.with_weights else None
        maps |= {} if weights is None else {"weights": weights}
        maps |= model.explain(sources, condition, context) if options.explain else {}
        return maps | {f"class {name}": m for name, m in model.masks(sources, control.segment).items()}

    engine.progress("fuse", 0.0)
    tiles = tiling.run_tiles(model, grid, read, step, device=engine.device, scratch=scratch)
    for done, (window, maps) in enumerate(tiles, 1):
        canvas.write(window, maps)  # joins colour, paints classes, rounds
        engine.progress("fuse", done / grid.count)
    masks, notes = canvas.masks()
    seconds = time.perf_counter() - start
    given, names = stack.frames[: prepared.given_count], [f.name for f in stack.frames]
    said = [*notes, *prepared.notes, *roles.notes(names), *wish.notes(), *held.notes()]
    report = Report(
        **engine_facts(engine),
        **stack_facts(stack, prepared.given_count),
        **prepared_facts(prepared),
        channels=canvas.pixels.shape[2],
        colour_rule=rule,
        tiles=grid.count,
        seconds=round(seconds, 4),
        order=[names[k] for k in order[: len(given)]] if model.ordered or single else None,
        shown=canvas.shares(masks),
        peak_memory_mib=round(peak_bytes() / 2**20, 1),
        warnings=[*(w for f in given for w in f.warnings), *ignored, *said],
        restored=held.shares if engine is asked else NOTHING,
        understood=None if options.say is None else str(understood),
        assumed=None if wish.assumed is None else wish.assumed.as_dict(names),
    )
    ghosts, aligned = prepared.deghosted.mask, prepared.aligned
    return FusionResult(stack, canvas.pixels, report, canvas.weights, canvas.explained, masks, ghosts, aligned)


def tile_grid(stack: Stack, rule: planes.ColourRule, engine: Engine, result: int, spill: bool) -> tiling.TileGrid:
    """Tiles that fit the memory that `result` bytes of the result leave; `spill`: the context may be in files."""
    size = (stack.n, planes.plane_count(rule), stack.height, stack.width)
    budget = tiling.memory_left(engine.model, *size, engine.max_memory, result, engine.jobs, spill)
    return tiling.plan_tiles(engine.model, *size, budget, spill=spill)


def engine_facts(engine: Engine) -> dict[str, Any]:
    """The report's entries about model and device."""
    return {
        "model": engine.name,
        "engine": engine.runtime,
        "device": str(engine.device),
        "dtype": str(engine.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def stack_facts(stack: Stack, given_count: int) -> dict[str, Any]:
    """The report's entries about the first `given_count` images and their common size and depth."""
    return {
        "inputs": [f.facts for f in stack.frames[:given_count]],
        "width": stack.width,
        "height": stack.height,
        "depth": str(stack.depth),
        "reference": stack.frames[stack.reference].name,
    }


def prepared_facts(prepared: Prepared) -> dict[str, Any]:
    """The report's entries about alignment, light and what moved; None where nothing was done."""
    deghosted = prepared.deghosted
    return {
        "aligned": [step.as_dict() for step in prepared.steps] or None,
        "deghosted": [ghost.as_dict() for ghost in deghosted.ghosts] or None,
        "evened": [one.as_dict() for one in deghosted.brightness] or None,
    }


def result_bytes(stack: Stack, control: Control, options: Options, spill: bool = False) -> int:
    """Bytes that the result takes: pixels, masks, and weights unless they lie in files (`spill`)."""
    channels = 3 if control.segment else stack.stored_channels
    weights = stack.n if options.with_weights and not spill else 0
    each = channels * stack.depth.itemsize * 2 + weights + 6 * len(control.segment)
    return each * stack.height * stack.width
