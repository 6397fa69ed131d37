"""Where the bands lie: a shift of less than two of their pixels, as between the sensors of one satellite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .detail import Coarse, Pair
from .grid import Grid


def registered(pair: Pair, reach: float = 2.0) -> tuple[Pair, float, float]:
    """The pair with the bands moved to where they explain the panchromatic image best; R squared before and after.

    Tries whole coarse pixels up to `reach`, then halves, quarters and eighths around the best, in the middle of the
    image. A move of less than half a fine pixel, or one that explains nothing more, is left out.
    """
    small = _middle(pair)
    tried: dict[tuple[float, float], float] = {}

    def fit(dy: float, dx: float) -> float:
        if (dy, dx) not in tried:
            corner = (small.grid.corner[0] + dy * pair.grid.ratio, small.grid.corner[1] + dx * pair.grid.ratio)
            tried[dy, dx] = Coarse.of(replace(small, grid=replace(small.grid, corner=corner))).regression()[1]
        return tried[dy, dx]

    step, best = 1.0, (0.0, 0.0)
    before = fit(*best)
    span = int(reach)
    around = [(float(y), float(x)) for y in range(-span, span + 1) for x in range(-span, span + 1)]
    best = max(around, key=lambda p: fit(*p))
    while step > 0.125:
        step /= 2
        around = [(best[0] + y * step, best[1] + x * step) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        best = max(around, key=lambda p: fit(*p))
    moved = max(map(abs, best)) * pair.grid.ratio
    after = fit(*best)
    if moved < 0.5 or after - before < 0.02 * (1 - before) or max(map(abs, best)) > reach:
        return pair, before, before
    corner = (pair.grid.corner[0] + best[0] * pair.grid.ratio, pair.grid.corner[1] + best[1] * pair.grid.ratio)
    return replace(pair, grid=replace(pair.grid, corner=corner)), before, after


def _middle(pair: Pair, side: int = 192) -> Pair:
    """At most `side` coarse pixels a side, and the fine pixels around them."""
    grid, parts, fine, corner = pair.grid, [], [], []
    for axis in (0, 1):
        inside = np.flatnonzero(grid.inside(axis))
        first = max(int(inside[0]), int(inside.mean()) - side // 2) if len(inside) else 0
        last = min(int(inside[-1]) + 1, first + side) if len(inside) else grid.coarse[axis]
        margin = 4 * grid.ratio
        low = max(0, int(first * grid.ratio + grid.corner[axis]) - margin)
        high = min(grid.fine[axis], int(last * grid.ratio + grid.corner[axis]) + margin)
        parts.append(slice(first, last))
        fine.append(slice(low, high))
        corner.append(first * grid.ratio + grid.corner[axis] - low)
    rows, columns = parts
    pan, ms = pair.pan[fine[0], fine[1]], pair.ms[rows, columns]
    cut = Grid(pan.shape, ms.shape[:2], grid.ratio, (corner[0], corner[1]))
    known = None if pair.known is None else pair.known[rows, columns]
    pan_known = None if pair.pan_known is None else pair.pan_known[fine[0], fine[1]]
    return replace(pair, pan=pan, ms=ms, grid=cut, known=known, pan_known=pan_known)
