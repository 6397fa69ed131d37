"""One request for two models: 'remove the haze and make it brighter' is restored and fused first, then changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .align.settings import NO_ALIGNMENT
from .control import Control
from .image.stack import Frame
from .models.choice import appearance, restoration
from .options import Engine, Options
from .pipeline import run
from .result import FusionResult


def run_both(images: Sequence[Any], first: Engine, second: Engine, options: Options, control: Control) -> FusionResult:
    """Restores and fuses a set of images by one model, then changes light and contrast and paints classes by another.

    Args:
        images: as in `pipeline.run`.
        first: its model restores.
        second: its model follows instructions of light, contrast and classes.
        options: what is chosen for this set.
        control: the whole request.

    Returns:
        The second result, with the first one's stack and maps, and a report of both.

    Raises:
        FusionError: as `pipeline.run`.
    """
    repaired = run(images, first, replace(options, say=restoration(control)))
    frame = repaired.stack.frames[repaired.stack.reference]
    middle = Frame(repaired.pixels, white=repaired.stack.white, name=frame.name)
    rest = Options(say=appearance(control), align=NO_ALIGNMENT, deghost="off", keep_order=True)
    changed = run([middle, middle], second, rest)
    one, two = repaired.summary, changed.summary
    summary = replace(
        one,
        model=f"{one.model}, {two.model}",
        channels=two.channels,
        tiles=one.tiles + two.tiles,
        seconds=round(one.seconds + two.seconds, 4),
        shown=two.shown,
        peak_memory_mib=max(one.peak_memory_mib, two.peak_memory_mib),
        warnings=[*one.warnings, *(w for w in two.warnings if w not in one.warnings)],
        understood=None if options.say is None else str(control),
    )
    return replace(repaired, pixels=changed.pixels, summary=summary, masks=changed.masks)
