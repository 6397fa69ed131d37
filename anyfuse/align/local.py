"""A smooth local displacement on top of a transform: parallax, lenses that breathe, sensors that see from two places.

match     blocks of the fields around the nodes of a grid, forward and backward, from coarse to fine; each match counts
          by how sharp its peak is in each direction, so that a straight edge says nothing of a movement along it
smooth    a displacement near to the matches, with a penalty on its slope and Cauchy weights, by conjugate gradients
gate      it counts where two halves of the blocks agree on it and where the edges agree better with it; elsewhere it
          fades to the transform. If the whole does not agree better, there is none
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..arrays import F, Tensor, torch
from .estimate import Scene
from .field import agreement, field_under
from .match import Blocks
from .transform import Size, resized

SIDES = (320, 640, 1600)  # longer sides in pixels at which blocks are matched
BLOCK, STRIDE = 32, 16  # side and distance of the blocks in pixels
FINE, FINE_BLOCK, FINE_STRIDE = 800, 64, 40  # the same from a longer side of so many pixels on
REACH = 5  # pixels that a block may move in a round
ROUNDS = 2  # of each level; one of those from FINE on
STIFF, HOLD = 0.15, 0.01  # penalties on the slope and on the size of the displacement, against matches of weight 1
SPREAD = 0.75  # pixels: scale of the Cauchy weights of the matches
MISS = 1.0  # pixels by which the match forward and backward may differ
SLOPE = 0.35  # largest difference of displacements over their distance; more would tear
PLAY = 0.15  # pixels of a displacement that are noise
GAIN, SHARE = 0.004, 0.03  # by which the edges must agree better, and share of what is missing to 1
LOCAL_GAIN = 0.01  # the same around a node
STILL = 0.25  # pixels of the estimate: a largest displacement that is not worth it
DIGITS = 1000  # parts of a pixel that are kept


@dataclass(frozen=True)
class Local:
    """A smooth displacement over the reference, applied before the matrix."""

    grid: Tensor  # (2, R, C) float32: x and y in pixels of the reference, at the centres of R x C cells that cover it
    size: Size  # height and width of the reference

    @property
    def facts(self) -> dict[str, float]:
        """Largest and median displacement in pixels, the median and the share of where it is more than 0.1."""
        length = self.grid.norm(dim=0)
        moved = length[length > 0.1]
        median = float(moved.median()) if len(moved) else 0.0
        return {"largest": float(length.max()), "median": median, "share": len(moved) / length.numel()}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the rows of the grid are numbers with spaces between."""
        facts = {key: round(value, 3) for key, value in self.facts.items()}
        rows = ([" ".join(f"{v:.3f}" for v in row) for row in plane] for plane in self.grid.tolist())
        x, y = rows
        return {**facts, "width": self.size[1], "height": self.size[0], "x": x, "y": y}


def local_of(row: dict[str, Any]) -> Local:
    """The displacement of `Local.as_dict`. Raises ValueError, KeyError or TypeError where it is none."""
    planes = [[[float(v) for v in line.split()] for line in row[key]] for key in ("x", "y")]
    grid = torch.tensor(planes, dtype=torch.float32)
    if grid.ndim != 3 or min(grid.shape) < 1 or not bool(grid.isfinite().all()):
        raise ValueError("not a grid of displacements")
    return Local(grid, (int(row["height"]), int(row["width"])))


class View(NamedTuple):
    """A scene and how it lies under the reference, both at the size of the scenes."""

    scene: Scene
    matrix: Tensor  # 3x3, pixels of the reference's scene -> pixels of this scene
    bend: Tensor | None = None  # (2, R, C) in pixels of the reference's scene


def estimate_local(reference: Size, near: View, other: View) -> Tensor | None:
    """The displacement (2, R, C) of `other` that lays it over `near`, as the reference sees both; None: nothing sure.

    Args:
        reference: height and width of the reference's scene; displacements are in its pixels.
        near: the reference itself, or a neighbour that is laid over it.
        other: its bend is where the search starts.
    """
    side = max(reference)
    bend = torch.zeros(2, 2, 2) if other.bend is None else other.bend
    first, *finer = [*(level for level in SIDES if level < 0.75 * side), min(side, SIDES[-1])]
    pair = _Pair(reference, near, other, first / side)
    bend, found = pair.bent(bend)
    for level in finer:
        if level > FINE and not pair.clearer(bend):
            return None
        pair = _Pair(reference, near, other, level / side)
        bend, found = pair.bent(bend)
    return _gated(pair, bend, found)


def local_along(
    scene: Callable[[int], Scene],
    sizes: Sequence[Size],
    matrices: Sequence[Tensor | None],
    reference: int,
    path: Sequence[int],
) -> dict[int, Local]:
    """The displacements of the frames of a path that begins beside the reference, each against its neighbour.

    Args:
        scene: gives the frame of an index as a scene.
        sizes: height and width of each frame.
        matrices: pixels of the reference -> pixels of each frame; None: a frame whose place is not known.
        reference: index of the frame that stays.
        path: indices.

    Returns:
        A displacement for each frame that has one.
    """
    own = scene(reference)
    near = View(own, torch.eye(3, dtype=torch.float64))
    done: dict[int, Local] = {}
    for k in path:
        matrix = matrices[k]
        if matrix is None:
            continue
        other = scene(k)
        small = resized(matrix, (sizes[reference], own.shape), (sizes[k], other.shape))
        bend = estimate_local(own.shape, near, View(other, small, near.bend))
        near = View(other, small, bend)
        if bend is not None:
            done[k] = _at_full_size(bend, own.shape, sizes[reference])
    return done


def _at_full_size(bend: Tensor, small: Size, size: Size) -> Local:
    factors = torch.tensor([size[1] / small[1], size[0] / small[0]])[:, None, None]
    return Local((bend * factors).mul(DIGITS).round().div(DIGITS), size)


def _regrid(bend: Tensor, cells: Size) -> Tensor:
    if tuple(bend.shape[1:]) == cells:
        return bend
    return F.interpolate(bend[None], cells, mode="bicubic", align_corners=False)[0]


class Matches(NamedTuple):
    """Where the nodes of a grid are found."""

    place: Tensor  # (2, R, C) displacement in pixels of the reference's scene
    weight: Tensor  # (3, R, C) of xx, xy, yy


class _Pair:
    """Two fields as the reference sees them at one size, and the grid of nodes on them."""

    def __init__(self, reference: Size, near: View, other: View, factor: float) -> None:
        self.factor, self.reference = factor, reference
        self.size = (max(8, round(reference[0] * factor)), max(8, round(reference[1] * factor)))
        self.block, stride = (FINE_BLOCK, FINE_STRIDE) if max(self.size) > FINE else (BLOCK, STRIDE)
        self.cells = (max(2, round(self.size[0] / stride)), max(2, round(self.size[1] / stride)))
        self.spacing = self.size[1] / self.cells[1] / factor  # of the nodes, in pixels of the reference's scene
        self.near, self.other = near, other
        self.own = self.warped(near, near.bend)
        self.starts = tuple(
            ((torch.arange(n) + 0.5) * side / n).round().long() for n, side in zip(self.cells, self.size, strict=True)
        )
        self.blocks = self._blocks(self.own)

    def warped(self, view: View, bend: Tensor | None) -> Tensor:
        """The field (2, h, w) of a scene as the reference sees it."""
        scene, matrix = view.scene, view.matrix
        scale = abs(float(torch.linalg.det(matrix[:2, :2]))) ** 0.5
        level = max(8, min(scene.side, round(scene.side / max(scale, 1e-3) * self.factor)))
        planes = scene.field(level)
        size = (planes.shape[1], planes.shape[2])
        small = resized(matrix, (self.reference, self.size), (scene.shape, size))
        return field_under(planes, small[None], *self.size, bend=None if bend is None else bend * self.factor)[0]

    def _blocks(self, planes: Tensor) -> Blocks:
        half = self.block // 2
        return Blocks(F.pad(planes, (half,) * 4), self.block, 0, REACH, (self.starts[0], self.starts[1]))

    def bent(self, bend: Tensor) -> tuple[Tensor, Matches]:
        """A displacement, refined by matches at this size, and the last of them."""
        bend = _regrid(bend, self.cells)
        for _ in range(ROUNDS if max(self.size) < FINE else 1):
            found = self.matched(bend)
            bend = smooth(found, self)
        return bend, found

    def matched(self, bend: Tensor) -> Matches:
        """The matches under a displacement, forward and backwardward."""
        warped = self.warped(self.other, bend)
        half = (self.block // 2,) * 4
        forward = _peaks(self.blocks.scores(F.pad(warped, half)[None])[0], self.blocks)
        back_blocks = self._blocks(warped)
        backward = _peaks(back_blocks.scores(F.pad(self.own, half)[None])[0], back_blocks)
        step = (forward.place - backward.place) / 2
        weight = forward.weight * (torch.minimum(forward.sure, backward.sure) / forward.sure.clamp_min(1e-6))
        miss = forward.place + backward.place
        wrong = _length(miss, forward.weight / forward.sure.clamp_min(1e-6))
        weight = weight * (wrong < MISS)
        return Matches(bend + step / self.factor, weight)

    def clearer(self, bend: Tensor) -> bool:
        """Whether the edges agree better under a displacement than without."""
        before, after = (agreement(self.own, self.warped(self.other, one)) for one in (None, bend))
        return after - before > max(GAIN, SHARE * (1 - before))


class _Peaks(NamedTuple):
    place: Tensor  # (2, R, C) shift in pixels
    weight: Tensor  # (3, R, C)
    sure: Tensor  # (R, C) weight of the direction that is best known


def _peaks(score: Tensor, blocks: Blocks) -> _Peaks:
    """Peaks of scores (R, C, span, span), to a part of a pixel by a paraboloid."""
    rows, columns, span, _ = score.shape
    flat = score.flatten(2)
    peak, index = flat.max(2)
    row, col = index // span, index % span
    inner = (row > 0) & (row < span - 1) & (col > 0) & (col < span - 1)
    row, col = row.clamp(1, span - 2), col.clamp(1, span - 2)
    at = [[flat.gather(2, ((row + y) * span + col + x)[..., None])[..., 0] for x in (-1, 0, 1)] for y in (-1, 0, 1)]
    xx, yy = (2 * at[1][1] - at[1][0] - at[1][2]).clamp_min(1e-6), (2 * at[1][1] - at[0][1] - at[2][1]).clamp_min(1e-6)
    xy = -(at[2][2] - at[2][0] - at[0][2] + at[0][0]) / 4
    limit = 0.95 * (xx * yy).sqrt()
    xy = torch.maximum(torch.minimum(xy, limit), -limit)
    gx, gy = (at[1][2] - at[1][0]) / 2, (at[2][1] - at[0][1]) / 2
    det = xx * yy - xy * xy
    dx, dy = ((yy * gx - xy * gy) / det).clamp(-0.7, 0.7), ((xx * gy - xy * gx) / det).clamp(-0.7, 0.7)
    spread = flat.std(2).clamp_min(1e-6)
    sure = ((peak - flat.mean(2)) / spread - 1.5).clamp(0, 4) * peak.clamp(0, 1)
    own = blocks.own.view(rows, columns)
    sure = sure * (inner & (own > 0.1 * own.mean()) & (peak > 0.05))
    largest = (xx + yy) / 2 + ((xx - yy) ** 2 / 4 + xy * xy).sqrt()
    place = torch.stack([col + dx, row + dy]) - blocks.reach
    return _Peaks(place, torch.stack([xx, xy, yy]) / largest * sure, sure)


def _length(vector: Tensor, weight: Tensor) -> Tensor:
    """(R, C): length of vectors (2, R, C) as weights (3, R, C) see it."""
    x, y = vector
    return (weight[0] * x * x + 2 * weight[1] * x * y + weight[2] * y * y).clamp_min(0).sqrt()


def smooth(found: Matches, pair: _Pair, keep: Tensor | None = None) -> Tensor:
    """A smooth displacement (2, R, C) near the matches, whose slope stays below SLOPE.

    keep: (R, C) bool, the matches that count.
    """
    weight = found.weight if keep is None else found.weight * keep
    stiff = STIFF
    while True:
        bend = _solved(found.place, weight, stiff)
        for _ in range(4):
            sure = weight.amax(0).clamp_min(1e-6)
            wrong = _length(found.place - bend, weight / sure)
            bend = _solved(found.place, weight / (1 + (wrong * pair.factor / SPREAD) ** 2), stiff, bend)
        if steepest(bend) < SLOPE * pair.spacing or stiff > 1e4:
            return bend
        stiff *= 2


def _solved(place: Tensor, weight: Tensor, stiff: float, start: Tensor | None = None) -> Tensor:
    """The displacement with the least sum of weighted squares and penalties, by conjugate gradients."""

    def applied(d: Tensor) -> Tensor:
        out = _weighted(weight, d) + HOLD * d
        for dim in (1, 2):
            step = stiff * d.diff(dim=dim)
            low, high = [0, 0, 0, 0], [0, 0, 0, 0]
            low[2 * (2 - dim)], high[2 * (2 - dim) + 1] = 1, 1
            out = out + F.pad(step, low) - F.pad(step, high)
        return out

    d = torch.zeros_like(place) if start is None else start
    left = _weighted(weight, place) - applied(d)
    way, square = left, float((left * left).sum())
    for _ in range(80):
        if square < 1e-8:
            break
        turned = applied(way)
        length = square / max(float((way * turned).sum()), 1e-12)
        d, left = d + length * way, left - length * turned
        last, square = square, float((left * left).sum())
        way = left + square / last * way
    return d


def _weighted(weight: Tensor, d: Tensor) -> Tensor:
    return torch.stack([weight[0] * d[0] + weight[1] * d[1], weight[1] * d[0] + weight[2] * d[1]])


def steepest(bend: Tensor) -> float:
    """Largest difference between neighbouring nodes."""
    return max(float(bend.diff(dim=dim).norm(dim=0).max()) for dim in (1, 2))


def _gated(pair: _Pair, bend: Tensor, found: Matches) -> Tensor | None:
    """The displacement where it can be trusted, fading elsewhere; None where too little is left of it."""
    odd = (torch.arange(pair.cells[0])[:, None] + torch.arange(pair.cells[1])) % 2 == 0
    doubt = (smooth(found, pair, odd) - smooth(found, pair, ~odd)).square().sum(0)
    doubt = _blurred(doubt) + (PLAY / pair.factor) ** 2
    length = bend.square().sum(0)
    bend = bend * (length / (length + doubt))
    plain = pair.warped(pair.other, None)
    better = _around(pair, pair.own, pair.warped(pair.other, bend)) - _around(pair, pair.own, plain)
    gate = ((better - LOCAL_GAIN / 2) / LOCAL_GAIN).clamp(0, 1)
    bend = bend * _blurred(torch.minimum(gate, -F.max_pool2d(-gate[None], 3, 1, 1)[0] + 0.5))
    while steepest(bend) >= SLOPE * pair.spacing:
        bend = torch.stack([_blurred(plane) for plane in bend])
    moves = float(bend.norm(dim=0).max()) * pair.factor > STILL
    return bend if moves and pair.clearer(bend) else None


def _around(pair: _Pair, a: Tensor, b: Tensor) -> Tensor:
    """(R, C): how well two fields agree around each node."""
    products = torch.stack([(a * b).sum(0), a.square().sum(0), b.square().sum(0)])
    both, own, its = torch.stack([_blurred(p) for p in F.adaptive_avg_pool2d(products, pair.cells)])
    return both / (own * its).sqrt().clamp_min(1e-3 * float(own.mean()) + 1e-9)


def _blurred(plane: Tensor) -> Tensor:
    """Means over 3 x 3 nodes of (R, C)."""
    return F.avg_pool2d(F.pad(plane[None, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0, 0]
