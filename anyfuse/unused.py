"""Options that were given and did nothing: a line for each, so that nobody relies on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .align.settings import Align
from .image.frame import Frame
from .options import Options

if TYPE_CHECKING:
    from .align.ghosts import Ghosts
    from .align.stage import Step


def unused_notes(
    frames: Sequence[Frame], steps: Sequence[Step], ghosts: Sequence[Ghosts], options: Options, *, has_roles: bool
) -> list[str]:
    """A line for each option that was given and changed nothing in this run.

    Args:
        frames: as they were read.
        steps: what alignment did.
        ghosts: what deghosting replaced.
        options: what was chosen.
        has_roles: the model's inputs have roles.
    """
    notes = align_notes(options.align, steps)
    if options.resize and len({(frame.height, frame.width) for frame in frames}) == 1:
        notes.append("--resize reference does nothing: all images have one size already")
    if options.deghost == "on" and not ghosts:
        notes.append("--deghost on does nothing: nothing that moved was found")
    if options.keep_order and not has_roles:
        notes.append("--keep-order does nothing: the order of the images does not matter to this model")
    return notes


def align_notes(align: Align, steps: Sequence[Step]) -> list[str]:
    """A line for each option of alignment that was given and changed nothing."""
    notes = []
    if not steps:
        why = "one image alone is not aligned" if align.is_on else "no image is aligned (--align none)"
        given = {
            f"--align {align.mode}": align.mode not in ("none", "auto"),
            "--use-transforms": align.transforms is not None,
            "--points": align.points is not None,
            "--keep-frame": align.keep_frame,
        }
        return [f"{option} does nothing: {why}" for option, is_given in given.items() if is_given]
    if align.transforms is not None or align.points is not None:
        if align.points is not None and all(step.kind in ("none", "reference") for step in steps):
            notes.append(f"--points does nothing: {align.points} has no point of an image other than the reference")
        if align.mode == "tags":
            notes.append("--align tags does nothing beside --points or --use-transforms")
        if align.mode == "local" and align.transforms is not None and all(step.local is None for step in steps):
            notes.append(f"--align local does nothing: {align.transforms} has no local displacements")
        return notes
    without = [step.name for step in steps if step.kind == "none"]
    if align.mode == "tags" and without:
        whose = "no image has tags that say" if len(without) == len(steps) - 1 else f"{', '.join(without)}: no tags say"
        notes.append(f"--align tags does nothing: {whose} how the images lie; --align auto searches")
    return notes
