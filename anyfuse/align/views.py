"""Images of different sizes and fields of view: the smaller view is searched for within the larger one, whichever is
the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..arrays import Tensor, torch
from .estimate import EFFORTS, Alignment, Scene, estimate_near, estimate_scenes
from .transform import Kind, Size, resized, warp

CANVAS = 640  # longer side in pixels at which views are compared
VIEWS = (1.0, 1.4, 2.0, 2.8, 4.0)  # how many times as wide as the image the reference may see
SURE = 0.12  # agreement of the edges that an answer needs


def estimate_views(
    reference: Scene, other: Scene, most: Kind, start: Tensor | None = None, guesses: Sequence[Tensor] = ()
) -> Alignment:
    """The transform from the reference to an image of another size or field of view.

    Args:
        reference: what stays.
        other: the image.
        most: the richest kind to try.
        start: a matrix near the answer, as tags give it; it stays where nothing better is sure.
        guesses: matrices to search around before others are tried, as focal lengths give them.
    """
    answer = _searched(reference, other, most, start, guesses)
    if answer.trusted:
        return answer
    back = _searched(other, reference, most)  # the reference may be the smaller view
    if not back.trusted:
        return answer
    matrix = torch.linalg.inv(back.matrix)
    matrix = matrix / matrix[2, 2]
    return replace(back, matrix=matrix, shift=_moved(matrix, reference))


def _searched(
    reference: Scene, other: Scene, most: Kind, start: Tensor | None = None, guesses: Sequence[Tensor] = ()
) -> Alignment:
    """As `estimate_views`, of an image that sees no more than the reference does."""
    small = _scene(reference, CANVAS)
    size = (small.luma.shape[0], small.luma.shape[1])
    views = [start] if start is not None else [*guesses, *(_view(reference, other, ratio) for ratio in VIEWS)]
    found: list[Alignment] = []
    for view in views:
        base = resized(view, (_size(reference), size), (_size(other), _size(other)))
        canvas, visible, share = _laid(other, base, size)
        if share < 0.02:
            continue
        answer = _compared(small, Scene(canvas, visible), most, start is not None)
        matrix = base @ answer.matrix
        found.append(replace(answer, matrix=resized(matrix, (size, _size(reference)), (_size(other), _size(other)))))
        if answer.trusted and answer.agreement > 3 * SURE:
            break
    sure = [a for a in found if a.trusted and (a.agreement > SURE or start is not None)]
    if sure:
        best = max(sure, key=lambda a: a.agreement)
        kind = "similarity" if best.kind == "none" else best.kind  # it lay as a view in the middle does
        return replace(best, kind=kind, shift=_moved(best.matrix, reference))
    if start is not None:
        return Alignment(start, "tags", _moved(start, reference), 0.0, 0.0, math.nan, True, 0.0)
    return Alignment(torch.eye(3).double(), "none", 0.0, 0.0, 0.0, math.nan, False, 0.0)


def _compared(a: Scene, b: Scene, most: Kind, near: bool) -> Alignment:
    """The transform between two scenes of one size; near: only what is around the identity."""
    if not near:
        answer = estimate_scenes(a, b, most, (EFFORTS[1],))
        return answer if answer.kind != "none" or answer.agreement > SURE else replace(answer, trusted=False)
    answer = estimate_near(a, b, torch.eye(3).double(), most)
    return replace(answer, trusted=True, kind="tags") if not answer.trusted else replace(answer, kind="tags")


def _view(reference: Scene, other: Scene, ratio: float) -> Tensor:
    """The matrix that lays the image into the middle of the reference, which sees `ratio` times as much."""
    (height, width), (rows, columns) = _size(reference), _size(other)
    scale = max(columns / width, rows / height) * ratio
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = scale
    matrix[0, 2], matrix[1, 2] = (columns - 1) / 2 - scale * (width - 1) / 2, (rows - 1) / 2 - scale * (height - 1) / 2
    return matrix


def _laid(other: Scene, matrix: Tensor, size: Size) -> tuple[Tensor, Tensor, float]:
    """Luma of the image on the reference's grid, where it counts, and its share; shrunk first where that is coarser."""
    scale = math.sqrt(abs(float(torch.linalg.det(matrix[:2, :2]))))
    scene = _scene(other, round(other.side / scale)) if scale > 1.0 else other
    mapped = resized(matrix, (size, size), (_size(other), _size(scene)))
    counted = torch.ones_like(scene.luma) if scene.valid is None else scene.valid
    planes, inside = warp(torch.stack([scene.luma, counted]), mapped, *size)
    visible = inside * (planes[1] > 0.99)
    return planes[0], visible, float(visible.mean())


def _scene(scene: Scene, side: int) -> Scene:
    """The scene with a longer side of `side` pixels at most."""
    return Scene(scene.at(side), scene.counted(side)) if side < scene.side else scene


def _size(scene: Scene) -> Size:
    return scene.luma.shape[0], scene.luma.shape[1]


def _moved(matrix: Tensor, reference: Scene) -> float:
    """Largest movement of the reference's corners, in pixels of the image."""
    height, width = _size(reference)
    corners = torch.tensor([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]).double()
    moved = corners @ matrix.T
    return float((moved[:, :2] / moved[:, 2:] - corners[:, :2]).norm(dim=1).max())
