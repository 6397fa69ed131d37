"""A small grey image within a large one, as a thermal image in a photograph, at the level of what is around it.

Its border cannot be seen then, and what is warm in it stays brighter than its surroundings.

Along the border both images are compared. The difference there is carried inwards, by place and by value (a bilateral
grid: Chen, Paris, Durand 2007), so that sky and wall get their own. Above the median of the field the change never
falls, so that whatever is brighter than most of the field keeps all of its excess, as far as there is room below white:
in bright surroundings all that is above the median is drawn together, and keeps its order and its detail.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import F, Tensor, torch
from .cover import Window, dilate

CELLS = 96  # longer side of the field, in cells, at which both images are compared
LEAST = 32  # shorter side in pixels of a field that is levelled
GONE, RIM = 0.2, 0.03  # share of the picture that the field leaves free at least; where it is free all around
FILLED = 0.85  # share of the field's rectangle that it covers at least: no mask drawn by hand
RING = 0.06  # width of what is compared along the border, of the field's shorter side
NEAR, ALIKE = 0.3, 0.25  # how far a difference reaches: of the field's longer side, and of the range of values
NODES, BINS = 24, 17  # of the grid, along a side and along the values
CEILING, TOP = 0.92, 0.998  # level of what is brightest at most; share of the field's values that count for it
FLATTEST = 0.2  # least share of an excess that is kept
FAR = 1e-6  # weight of what is not near, relative to what is
OTHER = 1e-3  # weight of other values


@dataclass(frozen=True)
class Levelling:
    """What is added to the values of one frame, by place and by value."""

    box: Window  # where the frame shows something
    grid: Tensor  # (BINS, NODES, NODES): change of a value at a place of the box, rows and columns

    def apply(self, planes: Tensor, window: Window) -> Tensor:
        """The planes (C, h, w) in [0, 1] of a window (rows and columns, as starts and stops) at their new level."""
        coordinates = []
        for part, whole in zip(window, self.box, strict=True):
            index = torch.arange(part.start, part.stop, dtype=torch.float64)
            coordinates.append(((index - whole.start) / max(1, whole.stop - whole.start - 1) * 2 - 1).float())
        rows, columns = torch.meshgrid(*coordinates, indexing="ij")
        luma = planes.mean(0)
        points = torch.stack([columns, rows, luma * 2 - 1], -1)[None, None]  # (1, 1, h, w, 3)
        change = F.grid_sample(self.grid[None, None], points, padding_mode="border", align_corners=True)
        return (planes + change[0, 0]).clamp_(0.0, 1.0)


def field_of(cover: Tensor, step: int) -> Window | None:
    """The rectangle in pixels that a frame covers, if it is a field within a larger picture.

    Args:
        cover: (h, w) in [0, 1], of a picture reduced by `step`.
        step: pixels of a side that became one.
    """
    covered = cover > 0.5
    rows, columns = (covered.any(axis).nonzero() for axis in (1, 0))
    if not len(rows):
        return None
    free, (bottom, right) = 1 - float(covered.float().mean()), (size - 1 for size in covered.shape)
    amid = min(int(rows[0]), int(columns[0]), bottom - int(rows[-1]), right - int(columns[-1])) > 0
    if free < (RIM if amid else GONE):
        return None
    box = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in (rows, columns))
    if float(covered[box].float().mean()) < FILLED or min(part.stop - part.start for part in box) * step < LEAST:
        return None
    return slice(box[0].start * step, box[0].stop * step), slice(box[1].start * step, box[1].stop * step)


def levelling(own: Tensor, around: Tensor, cover: Tensor, box: Window) -> Levelling | None:
    """How a field is brought to the level of what is around it.

    Args:
        own: (h, w) in [0, 1], luma of the frame in cells, some of them around the field.
        around: (h, w) in [0, 1], luma of the other frames.
        cover: (h, w) in [0, 1], of the frame.
        box: the place of the field in the picture, for `Levelling`.

    Returns:
        None where the field has no border within the picture.
    """
    inside = cover > 0.99
    where = [at.nonzero().flatten() for at in (inside.any(1), inside.any(0))]
    if not len(where[0]):
        return None
    top, left = int(where[0][0]), int(where[1][0])
    height, width = int(where[0][-1]) - top + 1, int(where[1][-1]) - left + 1
    wide = max(1, round(RING * min(height, width)))
    edge = dilate((~inside).float()[None], wide + 1)[0] > 0
    rows, columns = (edge & inside).nonzero(as_tuple=True)
    if not len(rows):
        return None
    side = max(height, width)
    values = own[rows, columns].double()
    change = around[rows, columns].double() - values
    y, x = (rows - top).double() / side, (columns - left).double() / side
    down = torch.linspace(0, height / side, NODES, dtype=torch.float64)
    right = torch.linspace(0, width / side, NODES, dtype=torch.float64)
    bins = torch.linspace(0, 1, BINS, dtype=torch.float64)
    distance = (down[:, None, None] - y).square() + (right[None, :, None] - x).square()
    near = torch.exp(-distance / (2 * NEAR**2)) + FAR  # (NODES, NODES, K)
    alike = torch.exp(-(bins[:, None] - values).square() / (2 * ALIKE**2)) + OTHER  # (BINS, K)
    grid = torch.einsum("yxk,bk->byx", near * change, alike) / torch.einsum("yxk,bk->byx", near, alike)
    middle = int((own[inside].median() * (BINS - 1)).floor())
    grid[middle:] = grid[middle:].cummax(0).values
    shown = own[inside]
    brightest = float(shown[shown.argsort()[round(TOP * (len(shown) - 1))]])
    grid[middle:] = _with_room(grid[middle:], bins[middle:], brightest)
    return Levelling(box, grid.float())


def _with_room(change: Tensor, bins: Tensor, top: float) -> Tensor:
    """Changes (K, ...) of values (K,), the first one the median, so that `top` comes to no more than CEILING."""
    levels = bins[:, None, None] + change
    last = min(int((top - float(bins[0])) * (BINS - 1) + 1), len(bins) - 1)
    base, peak = levels[0], levels[last]
    share = ((CEILING - base) / (peak - base).clamp_min(1e-6)).clamp(FLATTEST, 1.0)
    return base + share * (levels - base) - bins[:, None, None]
