"""From images to the stack that a model sees.

read -> mask -> place (position tags, georeference) -> resize -> align -> match brightness -> deghost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .align.ghosts import Deghosted, ghost_notes
from .budget import scratch_for
from .errors import FusionError
from .image.frame import Frame, Store, in_memory
from .image.resize import place, resize_to_reference
from .image.roles import Roles, find_roles
from .image.stack import Stack
from .io.frames import read_frames
from .io.geo import to_one_grid
from .io.masks import with_masks
from .io.profiles import to_one_profile
from .io.scratch import Scratch
from .models.base import FusionModel
from .options import Engine, Options
from .unused import unused_notes

if TYPE_CHECKING:
    from .align.stage import Step


@dataclass(frozen=True)
class Prepared:
    """A stack, and how it was made."""

    stack: Stack  # two frames or more of one size
    given_count: int  # how many of its frames were given: 1 where a single image stands twice
    steps: Sequence[Step]  # what alignment did, a frame each; none: nothing was aligned
    deghosted: Deghosted  # its frames, and what was replaced
    aligned: Sequence[Frame] | None  # the frames before brightness matching, where they are to be written
    scratch: Scratch | None  # where the arrays lie if not in memory
    notes: Sequence[str]  # warnings of alignment and deghosting, and of options that did nothing


def prepare(images: Sequence[Any], engine: Engine, options: Options, alone: bool = False) -> Prepared:
    """The stack of a set of images.

    Args:
        images: paths, arrays, PIL images or tensors of one scene, as `Fuser.run` says.
        engine: the model whose memory counts.
        options: what is chosen for this set.
        alone: a single image is enough; it then stands twice in the stack.

    Raises:
        FusionError: an image that cannot be read, too few of them, or sizes that differ.
    """
    engine.progress("read", 0.0)
    frames, scratch = read_set(images, engine, options)
    store = in_memory if scratch is None else scratch.store
    if len(frames) == 1 and alone:
        check_set(frames * 2, options.reference, 1, engine.model)
        placed = place(frames * 2, store)
        return Prepared(Stack(tuple(placed), options.reference), 1, [], Deghosted(placed, []), None, scratch, [])
    check_set(frames, options.reference, len(frames), engine.model)
    placed = to_one_grid(place(frames, store), options.reference, store)
    placed = resize_to_reference(placed, options.reference, store) if options.resize else placed
    engine.progress("align", 0.0)
    aligned, steps, notes = align(placed, options, store)
    stack = Stack(tuple(aligned), options.reference)  # of one size, or an error that says what to do
    engine.progress("deghost", 0.0)
    deghosted = match_and_deghost(aligned, options, store)
    notes = [*notes, *ghost_notes(deghosted.ghosts)]
    notes += unused_notes(frames, steps, deghosted.ghosts, options, has_roles=engine.model.ordered)
    stack = replace(stack, frames=tuple(deghosted.frames))
    written = None if options.align.aligned_out is None else aligned  # else their memory is free again
    return Prepared(stack, len(frames), steps, deghosted, written, scratch, notes)


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
        deghosted=options.deghost != "off",
    )
    store = in_memory if scratch is None else scratch.store
    levels = (options.white, options.black, options.range, options.pages)
    frames = read_frames(images, *levels, store, options.pseudocolour)
    return with_masks(to_one_profile(frames, options.reference, store), options.masks, store), scratch


def check_set(frames: Sequence[Frame], reference: int, given: int, model: FusionModel) -> None:
    """Raises FusionError for fewer than two frames, or a reference that is none of those given."""
    if len(frames) < 2:
        alone = " (a single image is enough with a class to segment, as 'show the cars')" if model.has_masks else ""
        pages = next((f"; {note}" for f in frames for note in f.warnings if "--pages" in note), "")
        raise FusionError(f"fusion needs at least two images of one scene, and got {len(frames)}{alone}{pages}")
    if not isinstance(reference, int) or not -given <= reference < given:
        raise FusionError(f"reference {reference} is not one of the {given} images; count from 0")


def align(frames: list[Frame], options: Options, store: Store = in_memory) -> tuple[list[Frame], list[Step], list[str]]:
    """The frames laid over the reference, what was done, and a warning for each that may not be aligned.

    Raises FusionError for a frame of another size whose place is not sure.
    """
    if not options.align.is_on:
        return list(frames), [], []
    from .align.stage import align_frames, alignment_notes

    aligned, steps = align_frames(frames, options.align, options.reference, store)
    first = aligned[options.reference]
    for frame in aligned:
        if (frame.height, frame.width) != (first.height, first.width):
            raise FusionError(
                f"{frame.name} is {frame.width}x{frame.height} but {first.name} is {first.width}x{first.height}, and "
                "no place of one in the other is sure; give --points, or --resize reference if both show the same field"
            )
    return aligned, steps, alignment_notes(steps)


def match_and_deghost(frames: list[Frame], options: Options, store: Store = in_memory) -> Deghosted:
    """Aligned frames, of one brightness if they are a focus stack, in which each thing is at one place."""
    if options.deghost == "off":
        return Deghosted(frames, [])
    from .align.brightness import match_brightness
    from .align.deghost import deghost

    matched, brightness = match_brightness(frames, options.reference, store)
    return replace(deghost(matched, options.deghost, store, options.deghost_reference), brightness=brightness)


def roles_for(stack: Stack, model: FusionModel, options: Options) -> tuple[Roles, list[int]]:
    """The roles of the sources and their order for the model; as given where it has no roles, or the user keeps it."""
    if options.infrared is not None and not 0 <= options.infrared < stack.n:
        raise FusionError(f"infrared {options.infrared} is not one of the {stack.n} images; count from 0")
    if not model.ordered or (options.keep_order and options.infrared is None):
        return Roles(list(range(stack.n)), None, None), list(range(stack.n))
    roles = find_roles(stack.frames, options.infrared)
    return roles, roles.order
