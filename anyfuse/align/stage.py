"""Aligned frames: each is laid over the reference, neighbour by neighbour, or left alone where no answer is sure.

A moved frame is transparent where it shows nothing, and so has no say there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Tensor, torch
from ..errors import FusionError
from ..image.frame import Frame, Store, in_memory
from .estimate import STILL, Alignment, Scene, clearer, estimate_scenes, still
from .files import read_locals, read_points, read_transforms
from .full import at_full_size, scene_of
from .local import Local, local_along
from .optics import guesses, says_other
from .resample import cut, moved_frame
from .settings import AUTOMATIC, MODES, NO_ALIGNMENT, Align, as_align
from .slices import estimate_slices
from .tags import tag_matrix
from .transform import KINDS, Kind, resized
from .views import estimate_views

__all__ = [
    "AUTOMATIC",
    "MODES",
    "NO_ALIGNMENT",
    "Align",
    "Step",
    "align_frames",
    "alignment_notes",
    "are_slices",
    "as_align",
]

QUICK = 640  # longer side in pixels, or up to twice as much, at which large frames are first compared
TINY = 96  # shorter side in pixels of an image that is searched without being asked for
SLICE = 1024  # longer side in pixels of the largest slices
SMALL, BLACK, ALIKE = 320, 0.06, 0.8  # side, darkness and correlation by which slices of scanners are recognised
DRIFT = 1.0  # pixels to which small movements along a stack must sum up
BRACKET = 1.1  # mean brightness of an image over that of the next darker one from which frames are chained by it


@dataclass(frozen=True)
class Step:
    """What was done to one frame, for the report."""

    name: str  # of the frame
    kind: str  # reference, none, tags, shift, similarity, affine, homography, given
    size: list[int]  # width and height of the frame before
    matrix: list[list[float]]  # pixels of the reference -> pixels of the frame
    shift: float  # largest movement of a corner in pixels
    agreement: float | None  # of the edges, 0 to 1, with the transform
    before: float | None  # of the edges, without
    confidence: float | None  # share of the edges that the transform lays within 1.5 pixels at 320, 0 to 1
    residual: float | None  # of hand-picked points, root mean square in pixels
    kept: float  # share of the reference's pixels that the frame shows
    trusted: bool  # False: no sure answer, left as it was
    local: Local | None = None  # what it was displaced by, before the matrix

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `local` only where there is one."""
        values = {k: round(v, 4) if isinstance(v, float) else v for k, v in self.__dict__.items() if k != "local"}
        return values if self.local is None else values | {"local": self.local.as_dict()}


def align_frames(
    frames: Sequence[Frame], settings: Align, reference: int = 0, store: Store = in_memory
) -> tuple[list[Frame], list[Step]]:
    """The frames laid over frames[reference], and what was done.

    Args:
        frames: of one scene. A frame of another size is brought to the reference's size where its place is sure.
        settings: what to try, and what to keep.
        reference: index of the frame that stays.
        store: where the pixels of moved frames go.

    Raises:
        FusionError: a file without a matrix for each frame.
    """
    if not settings.is_on or len(frames) < 2:
        return list(frames), []
    reference %= len(frames)
    first = frames[reference]
    size = (first.height, first.width)
    found, locals_ = _answers(frames, reference, settings)
    out, steps = [], []
    common = np.ones(size, bool)
    for k, (frame, answer, local) in enumerate(zip(frames, found, locals_, strict=True)):
        moved, kept = frame, 1.0
        if k != reference and (answer.kind != "none" or local is not None):
            moved, inside = moved_frame(frame, answer.matrix, size, None if local is None else local.grid)
            if answer.kind != "tags" and (frame.height, frame.width) == size:
                common &= inside
            kept = float(inside.mean())
            if kept == 0.0:
                given = settings.transforms is not None or settings.points is not None
                remedy = "check the transform" if given else "leave it out, or add --align none"
                raise FusionError(f"{frame.name}: by its transform it shows nothing of {first.name}; {remedy}")
            moved = moved.stored(store)
        steps.append(replace(_step(frame, answer, kept, k == reference, settings), local=local))
        out.append(moved)
    return out if settings.keep_frame or common.all() else cut(out, frames, common, store), steps


def _answers(frames: Sequence[Frame], reference: int, settings: Align) -> tuple[list[Alignment], list[Local | None]]:
    """How each frame lies, and what it is displaced by: from a file, from points, or found."""
    size = (frames[reference].height, frames[reference].width)
    if settings.transforms is not None:
        matrices = read_transforms(settings.transforms, [(frame.width, frame.height) for frame in frames])
        return [_given(matrix, size) for matrix in matrices], read_locals(settings.transforms, size)
    views = _Views(frames, reference)
    if settings.points is not None:
        found = _of_points(frames, settings, reference)
        known = [answer.kind != "none" for answer in found]
    else:
        found = _found(views, reference, settings)
        known = [answer.trusted for answer in found]
    if settings.mode != "local":
        return found, [None] * len(frames)
    placed = [answer.matrix if is_known else None for answer, is_known in zip(found, known, strict=True)]
    return found, _locals(views, placed, reference)


def _locals(views: _Views, matrices: Sequence[Tensor | None], reference: int) -> list[Local | None]:
    """Local displacements, along the same chains as the transforms; of frames of another size, by themselves.

    A frame whose matrix is not known has none.
    """
    frames = views.frames
    sizes = [(frame.height, frame.width) for frame in frames]
    alike = [k for k in range(len(frames)) if sizes[k] == sizes[reference]]
    paths = [*_paths(frames, alike, reference), *([k] for k in range(len(frames)) if k not in alike)]
    done: dict[int, Local] = {}
    for path in paths:
        done |= local_along(views.__getitem__, sizes, matrices, reference, path)
    return [done.get(k) for k in range(len(frames))]


def _step(frame: Frame, answer: Alignment, kept: float, is_reference: bool, settings: Align) -> Step:
    known = not is_reference and settings.transforms is None and settings.points is None
    return Step(
        frame.name,
        "reference" if is_reference else answer.kind,
        [frame.width, frame.height],
        answer.matrix.tolist(),
        answer.shift,
        _measured(answer.agreement) if known else None,
        _measured(answer.before) if known else None,
        _measured(answer.confidence) if known else None,
        answer.residual,
        kept,
        answer.trusted,
    )


def _measured(value: float) -> float | None:
    return None if math.isnan(value) else value


def alignment_notes(steps: Sequence[Step]) -> list[str]:
    """A warning for each frame that may not be aligned, or has one hand-picked point alone."""
    return [
        f"{step.name}: does not seem aligned, and no transform was sure; it was not moved"
        for step in steps
        if not step.trusted
    ] + [
        f"{step.name}: one pair of points gives a shift alone; two or more give rotation and scale"
        for step in steps
        if step.kind == "shift" and step.residual == 0.0
    ]


class _Views:
    """The frames as scenes of at most 1600 pixels, made when they are asked for; the last two and one more stay."""

    def __init__(self, frames: Sequence[Frame], kept: int) -> None:
        self.frames, self.kept = frames, kept
        self.scenes: dict[int, Scene] = {}
        self.quick: dict[int, Scene] = {}

    def are_still(self, one: int, two: int) -> Alignment | None:
        """An answer at once, for two large frames of one size that lie over each other already."""
        first, other = self.frames[one], self.frames[two]
        if (first.height, first.width) != (other.height, other.width) or max(first.height, first.width) < 2 * QUICK:
            return None
        scenes = [self.quick.get(k) or scene_of(self.frames[k], QUICK, quick=True) for k in (one, two)]
        self.quick = dict(zip((one, two), scenes, strict=True))
        answer = still(scenes[0], scenes[1], max(first.height, first.width))
        return None if answer is None else replace(answer, error=0.0)

    def __getitem__(self, k: int) -> Scene:
        if k not in self.scenes:
            old = [one for one in self.scenes if one != self.kept]
            if len(old) > 1:
                self.scenes.pop(old[0])
            self.scenes[k] = scene_of(self.frames[k])
        return self.scenes[k]


def _found(views: _Views, reference: int, settings: Align) -> list[Alignment]:
    """The alignment of each frame: by tags, by a search for its view, or along a chain of frames of one size."""
    frames, first = views.frames, views.frames[reference]
    done: dict[int, Alignment] = {reference: _given(torch.eye(3, dtype=torch.float64))}
    leave = Alignment(torch.eye(3).double(), "none", 0.0, math.nan, math.nan, math.nan, True, math.nan)
    for k, frame in enumerate(frames):
        if k == reference:
            continue
        start = tag_matrix(first, frame)
        other = (frame.height, frame.width) != (first.height, first.width)
        if start is None and settings.mode == "tags":
            start = next((guess for guess in guesses(first, frame) if other or says_other(guess, first)), None)
        if settings.mode == "tags" and start is not None:
            done[k] = replace(leave, matrix=start, kind="tags", shift=_given(start, (first.height, first.width)).shift)
        elif settings.mode == "tags" or (
            settings.mode == "auto" and (is_placed(frame) or (start is None and is_tiny(frame)))
        ):
            done[k] = leave
        elif start is not None or other:
            done[k] = _across(views, reference, k, settings, start)
        elif settings.mode == "auto" and is_slice_pair(views, reference, k):
            done[k] = leave
    rest = [k for k in range(len(frames)) if k not in done or k == reference]
    if len(rest) > 1:
        done |= _chain(views, rest, reference, settings.most)
    for k in rest:
        if not done[k].trusted and any(says_other(guess, first) for guess in guesses(first, frames[k])):
            answer = _across(views, reference, k, settings, None)  # another field of view in an image of the same size
            done[k] = answer if answer.trusted else done[k]
        if not done[k].trusted and settings.mode in KINDS and is_slice_pair(views, reference, k):
            done[k] = _by_information(views, reference, k, settings.most, done[k])
    return [done[k] for k in range(len(frames))]


def _by_information(views: _Views, reference: int, k: int, most: Kind, left: Alignment) -> Alignment:
    """The alignment of a slice of another scanner, a similarity at most; `left` where nothing is sure."""
    answer = estimate_slices(views[reference], views[k], most != "shift")
    if answer is None:
        return left
    shift = _given(answer[0], views[k].shape).shift
    return replace(left, matrix=answer[0], kind="shift" if most == "shift" else "similarity", shift=shift, trusted=True)


def is_placed(frame: Frame) -> bool:
    """Whether the place of the frame is known: of a slice in the scanner (DICOM, NIfTI), of a map on the ground."""
    return frame.metadata.header is not None or bool(frame.metadata.geo)


def is_tiny(frame: Frame) -> bool:
    """Whether the frame has too few edges for a sure answer."""
    return min(frame.height, frame.width) < TINY


def is_slice_pair(views: _Views, reference: int, k: int) -> bool:
    """Whether two frames alone, and no large ones, look like slices of different scanners."""
    sides = [max(frame.height, frame.width) for frame in views.frames]
    return len(sides) == 2 and max(sides) < SLICE and are_slices(views[reference], views[k])


def are_slices(a: Scene, b: Scene) -> bool:
    """Whether two scenes look like slices of different scanners: black all around, and not alike within.

    Their edges are those of different tissues, so they say little about how the slices lie.
    """
    if any(_lit_border(scene.luma) > 0.6 for scene in (a, b)):  # most pictures: nothing need be made small
        return False
    small = [scene.at(SMALL) for scene in (a, b)]
    if any(_lit_border(luma) > 0.2 or float((luma < BLACK).float().mean()) < 0.3 for luma in small):
        return False
    if small[0].shape != small[1].shape:
        return False
    return float(torch.corrcoef(torch.stack([luma.flatten() for luma in small]))[0, 1]) < ALIKE


def _lit_border(luma: Tensor) -> float:
    """Share of the two outermost pixels on each side that are not black."""
    ring = torch.cat([luma[:2].flatten(), luma[-2:].flatten(), luma[:, :2].flatten(), luma[:, -2:].flatten()])
    return float((ring > BLACK).float().mean())


def _across(views: _Views, reference: int, k: int, settings: Align, start: Tensor | None) -> Alignment:
    """The alignment of a frame of another size or field of view."""
    a, b, one, two = views[reference], views[k], views.frames[reference], views.frames[k]
    sizes = ((one.height, one.width), a.shape), ((two.height, two.width), b.shape)
    begin = None if start is None else resized(start, *sizes)
    most = settings.most if settings.mode in KINDS else "similarity"
    tried = [resized(guess, *sizes) for guess in guesses(one, two)] if begin is None else []
    answer = estimate_views(a, b, most, begin, tried)
    matrix = resized(answer.matrix, (sizes[0][1], sizes[0][0]), (sizes[1][1], sizes[1][0]))
    if answer.kind == "none":
        return answer
    return replace(answer, matrix=matrix, shift=_given(matrix, (one.height, one.width)).shift)


def _chain(views: _Views, members: list[int], reference: int, most: Kind) -> dict[int, Alignment]:
    """The alignment of each member to the reference, over its neighbours.

    Where a link is not sure, the frame is tried against the reference itself.
    """
    done: dict[int, Alignment] = {reference: _given(torch.eye(3, dtype=torch.float64))}
    for path in _paths(views.frames, members, reference):
        done |= _along(views, reference, path, most)
    return done


def _paths(frames: Sequence[Frame], members: list[int], reference: int) -> tuple[list[int], list[int]]:
    """The members to both sides of the reference, from it on: by brightness in a bracket, else as given."""
    lit = {k: frames[k].brightness for k in members} if len(members) > 2 else dict.fromkeys(members, 1.0)
    spread = max(lit.values()) / max(min(lit.values()), 1e-3)
    bracket = spread > BRACKET ** (len(members) - 1) and len(members) > 2  # a stack that flickers stays in its order
    order = sorted(members, key=lambda k: (lit[k], k)) if bracket else members
    middle = order.index(reference)
    return order[middle + 1 :], order[:middle][::-1]


def _along(views: _Views, reference: int, path: list[int], most: Kind) -> dict[int, Alignment]:
    """The alignment of each frame on one side of the reference.

    Movements too small to matter between neighbours sum up, and count where the last frame has clearly moved by them.
    """
    done: dict[int, Alignment] = {}
    total, last, sure, any_moves = torch.eye(3, dtype=torch.float64), reference, True, False
    for k in path:
        link = _link(views, last, k, most)
        if last != reference and not (link.trusted and sure):
            link, total = _link(views, reference, k, most), torch.eye(3, dtype=torch.float64)
        step = link.matrix if link.kind != "none" or link.found is None else link.found
        total = step @ total / (step @ total)[2, 2]
        any_moves |= link.kind != "none"
        done[k] = _moved(link, total, views.frames[k])
        last, sure = k, link.trusted
    if not path or any_moves:
        return done
    drifts = done[last].shift > DRIFT and sure and clearer(views[reference], views[last], _reduced(views, last, total))
    return done if drifts else {k: _left(answer) for k, answer in done.items()}


def _reduced(views: _Views, k: int, matrix: Tensor) -> Tensor:
    """A matrix of whole frames for their scenes."""
    scene, frame = views[k], views.frames[k]
    sizes = (frame.height, frame.width), scene.shape
    return resized(matrix, sizes, sizes)


def _left(answer: Alignment) -> Alignment:
    return replace(answer, matrix=torch.eye(3).double(), kind="none", shift=0.0)


def _moved(link: Alignment, total: Tensor, frame: Frame) -> Alignment:
    """A link, as part of the way from the reference."""
    if not link.trusted:
        return link
    shift = _given(total, (frame.height, frame.width)).shift
    if shift < STILL:
        return _left(link)
    return replace(link, matrix=total, shift=shift, kind="similarity" if link.kind == "none" else link.kind)


def _link(views: _Views, last: int, k: int, most: Kind) -> Alignment:
    """The alignment of a frame to another of its size, at full size."""
    frame = views.frames[k]
    size = (frame.height, frame.width)
    same = views.are_still(last, k)
    if same is not None:
        quick = views.quick[k].shape
        found = None if same.found is None else resized(same.found, (quick, size), (quick, size))
        return replace(same, found=found)
    a, b = views[last], views[k]
    answer = estimate_scenes(a, b, most)
    if size == a.shape:
        return answer
    if answer.kind == "none":
        found = None if answer.found is None else resized(answer.found, (a.shape, size), (b.shape, size))
        return replace(answer, found=found)
    matrix = resized(answer.matrix, (a.shape, size), (b.shape, size))
    matrix = at_full_size(views.frames[last], frame, matrix, answer.kind)
    return replace(answer, matrix=matrix, shift=_given(matrix, size).shift)


def _given(matrix: Tensor, size: tuple[int, int] | None = None) -> Alignment:
    still = torch.equal(matrix, torch.eye(3, dtype=torch.float64))
    shift = 0.0
    if size is not None:
        height, width = size
        corners = torch.tensor([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]).double()
        moved = corners @ matrix.T
        shift = float((moved[:, :2] / moved[:, 2:] - corners[:, :2]).norm(dim=1).max())
    return Alignment(matrix, "none" if still else "given", shift, 1.0, 1.0, 0.0, True)


def _of_points(frames: Sequence[Frame], settings: Align, reference: int) -> list[Alignment]:
    """Transforms from hand-picked points; frames without points stay."""
    assert settings.points is not None
    names = [frame.name for frame in frames]
    out = []
    for answer in read_points(settings.points, names, reference, settings.most):
        if answer is None:
            out.append(_given(torch.eye(3, dtype=torch.float64)))
            continue
        matrix, kind, error = answer
        size = (frames[reference].height, frames[reference].width)
        out.append(replace(_given(matrix, size), kind=kind, residual=error))
    return out
