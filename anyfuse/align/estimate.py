"""How one image of a scene lies against another: a transform, found from coarse to fine, and whether to trust it.

coarse    fields at 128 pixels under five scales and five rotations, correlated by Fourier transform; at 192 pixels
          under more of them where that gives no sure answer
finer     at 160, 320, 640 and at most 1600 pixels: blocks of the fields are matched, and a transform is fitted to
          their shifts with Cauchy weights
ladder    shift, similarity, affine, homography: the next one only if it lowers the robust residual by 6 %
trust     it must agree better than no transform does, and with the way back within 4 pixels at 640; else the image is
          left alone
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..arrays import F, Tensor, torch
from .field import agreement, best_shifts, field, field_under
from .information import normalised_mutual_information
from .match import Blocks, Points
from .transform import KINDS, Kind, apply, kind_of, resized, robust_fit, scaled, warp

LOW, MIDDLE, LARGEST = 160, 320, 1600  # longer sides in pixels of the searches after the first
BLOCK, STRIDE = 48, 24
APART = 42  # pixels between the blocks that show whether anything has moved
FINE, WIDE = 500, 72  # from this size on: side of the blocks, at twice the stride
STARTS = 4  # places of the coarse search that are looked at closer
ROUNDS, SETTLED = 3, 1.0  # of each finer search, at most; fewer where the corners move by less than so many pixels
SETTLING = 4  # further rounds at 320 pixels for a way back that does not fit
REACH, NEAR = 6, 4  # pixels that blocks may move in the first round at 320 pixels, and in later ones
GAIN = 0.01  # by which a transform must agree better than none
FAR, FAR_GAIN = 0.02, 0.05  # the same where it moves a corner by more than this share of the side
LONG, LONG_GAIN = 0.1, 0.12  # the same in a small image, of few blocks
RETURN = 4.0  # pixels at 640 that the way forward and backward may miss
CLEAR, FINEST = 0.1, 640  # share by which a small movement must improve the agreement, and at how many pixels
SHARE, LEAST = 0.55, 16  # weight and number of blocks that must agree with the transform
SURE = 0.7  # weight of blocks with which the way back may miss by more
LYING = 0.65  # weight of blocks that must lie well, moved or not, where nothing is gained
STILL = 0.3  # pixels: a shift that is not worth resampling
STEADY = 0.8  # weight of blocks that must move as one for an answer at once
SLIGHT, SLIGHT_GAIN = 1.5, 0.05  # pixels at 640 by which such blocks may move, and the gain that is looked into
TWO = 1 / 200  # share of the side by which two answers differ that are both refined
ASTRAY = 0.02  # by which an answer before the last rounds must agree better than after them
STEP = 0.06  # share of the residual that a richer transform must save


@dataclass(frozen=True)
class Effort:
    """How widely the first search looks."""

    side: int  # longer side in pixels
    scales: tuple[float, ...]
    turns: tuple[float, ...]  # degrees


EFFORTS = (
    Effort(128, (1.0, 0.9, 0.95, 1.05, 1.1), (0.0, -3.0, -1.5, 1.5, 3.0)),
    Effort(
        192,
        (1.0, 0.85, 0.88, 0.91, 0.94, 0.97, 1.03, 1.06, 1.09, 1.13, 1.17),
        (0.0, -6.0, -4.5, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.5, 6.0),
    ),
    Effort(192, (0.7, 0.73, 0.76, 0.79, 0.82, 1.21, 1.26, 1.31, 1.36, 1.42), (0.0, -6.0, -4.0, -2.0, 2.0, 4.0, 6.0)),
)
"""The next one where the one before gives no sure answer."""


@dataclass(frozen=True)
class Alignment:
    """How an image lies against the reference."""

    matrix: Tensor  # 3x3 float64, pixels of the reference -> pixels of the image
    kind: str  # none, shift, similarity, affine, homography
    shift: float  # largest movement of a corner in pixels
    agreement: float  # of the fields, with the transform
    before: float  # of the fields, without
    error: float  # pixels at 640 by which the way forward and backward misses; nan: not measured
    trusted: bool  # False: the image was left alone, and may not be aligned
    confidence: float = 1.0  # share of the edges, by weight, that the transform lays within 1.5 pixels at 320
    residual: float | None = None  # of hand-picked points, root mean square in pixels
    found: Tensor | None = None  # what the images say where too little moves to be worth it; sums up along a chain


def estimate(
    reference: Tensor,
    other: Tensor,
    most: Kind = "homography",
    valid: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Alignment:
    """The transform that lays `other` over `reference`.

    Args:
        reference: luma (H, W) in [0, 1].
        other: luma of the same size.
        most: the richest kind to try.
        valid: where each counts, (H, W) in [0, 1].
    """
    return estimate_scenes(Scene(reference, valid[0]), Scene(other, valid[1]), most)


def estimate_scenes(
    a: Scene, b: Scene, most: Kind = "homography", efforts: tuple[Effort, ...] | None = None
) -> Alignment:
    """As `estimate`, of scenes, which keep their fields for further calls; efforts: searches to try in turn."""
    same = still(a, b, a.side)
    if same is not None:
        return same
    before = _agreement(a, b, torch.eye(3).double())
    answer = left = Alignment(torch.eye(3).double(), "none", 0.0, before, before, math.nan, False)
    for effort in EFFORTS if efforts is None else efforts:
        found = _attempt(a, b, most, effort, left)
        if not answer.trusted or (found.trusted and found.agreement > answer.agreement):
            answer = found
        if answer.trusted and (answer.kind == "none" or answer.confidence > SURE):
            break
    return answer


def estimate_near(a: Scene, b: Scene, start: Tensor, most: Kind = "homography") -> Alignment:
    """The transform near `start`, which stays where nothing better is sure; the sizes may differ."""
    shift = _largest_move(start, a.luma.shape)
    left = Alignment(start, "given", shift, _agreement(a, b, start), 0.0, math.nan, False)
    return _judged(a, b, most, [start], left)


def _attempt(a: Scene, b: Scene, most: Kind, effort: Effort, left: Alignment) -> Alignment:
    """A search, and whether its answer can be trusted; `left`: the answer that leaves the image alone."""
    return _judged(a, b, most, _coarse(a, b, effort, most == "shift"), left)


def _judged(a: Scene, b: Scene, most: Kind, starts: list[Tensor], left: Alignment) -> Alignment:
    """The best answer from several starts, if it can be trusted, or else `left`."""
    forward, backward = _rough(a, b, starts, most), _rough(b, a, [_inverse(m) for m in starts], most)
    matrix, kind = _better(a, b, forward, backward, most)
    error = _return_error(matrix, backward, a.luma.shape)
    halfway = error >= RETURN
    if halfway:  # the way back may only need more rounds
        backward = _settled(b, a, backward, most)
        matrix, kind = _better(a, b, matrix, backward, most)
        error = _return_error(matrix, backward, a.luma.shape)
    after, (share, count, least) = _agreement(a, b, matrix), _steady(a, b, matrix)
    shift = _largest_move(matrix, a.luma.shape)
    gain = after - left.before
    left = replace(left, error=error, confidence=share)
    near_none = left.kind == "none" and shift < FAR * a.side
    if near_none and error < RETURN and not clearer(a, b, matrix):  # little is gained: they lie well, or not at all
        if max(share, _steady(a, b, torch.eye(3).double())[0]) <= LYING:
            return left
        steady = share > SHARE and count >= least
        return replace(left, trusted=True, found=matrix if steady else None)
    near = error < RETURN or (error < 3 * RETURN and share > SURE and count > 2 * least and gain > 2 * FAR_GAIN)
    enough = gain > (FAR_GAIN if shift > FAR * a.side else GAIN)
    if least < LEAST and shift > LONG * a.side:  # few blocks agree by chance with one place of many
        enough = gain > LONG_GAIN
    certain = share > (SURE if halfway else SHARE) and count >= least
    if not (_plausible(matrix) and near and enough and certain):
        return left
    if shift < STILL:
        return replace(left, trusted=True, found=matrix)
    if left.kind == "none" and not _shares_more(a, b, matrix):
        return left
    return Alignment(matrix, kind, shift, after, left.before, error, True, share)


def _better(a: Scene, b: Scene, forward: Tensor, backward: Tensor, most: Kind) -> tuple[Tensor, str]:
    """The better of a matrix and the inverse of the way back, refined, and its kind."""
    middle = min(MIDDLE, a.side)
    other = _refine(a, b, scaled(_inverse(backward), middle / a.side), _kinds(most), middle)[0]
    other = scaled(other, a.side / middle)
    likely, less = sorted((forward, other), key=lambda m: -_agreement(a, b, m))
    matrix, kind = refined(a, b, likely, most)
    if _apart(likely, less, a.luma.shape) <= TWO * a.side:
        return matrix, kind
    found = [(0.0, matrix, kind), (0.0, *refined(a, b, less, most))]
    found += [(ASTRAY, m, kind_of(m)) for m in (likely, less)]  # few blocks may lead it astray
    return max(found, key=lambda one: _agreement(a, b, one[1], FINEST) - one[0])[1:]


def _settled(a: Scene, b: Scene, matrix: Tensor, most: Kind) -> Tensor:
    """The matrix at full size after further rounds at 320 pixels."""
    middle = min(MIDDLE, a.side)
    small = scaled(matrix, middle / a.side)
    for _ in range(SETTLING):
        small = _refine(a, b, small, _kinds(most), middle, REACH)[0]
    return scaled(small, a.side / middle)


def _shares_more(a: Scene, b: Scene, matrix: Tensor) -> bool:
    """Whether the images have no less mutual information at 320 pixels under the matrix than without it."""
    side = min(MIDDLE, a.side)
    one, other = a.at(side), b.at(side)
    if one.shape != other.shape:
        return True
    counted = b.counted(side)
    planes = torch.stack([other, torch.ones_like(other) if counted is None else counted])
    warped, inside = warp(planes, scaled(matrix, side / a.side), one.shape[0], one.shape[1])
    where = (inside > 0.99) & (warped[1] > 0.99) & (planes[1] > 0.99)
    moved, still = (normalised_mutual_information(one, plane, where) for plane in (warped[0], other))
    return moved >= still


def _steady(a: Scene, b: Scene, matrix: Tensor) -> tuple[float, int, int]:
    """At 320 pixels the weight and the number of blocks that the matrix leaves within 1.5 pixels, and how many must."""
    side = min(MIDDLE, a.side)
    blocks = a.blocks(side, STRIDE, 4)
    small = scaled(matrix, side / a.side)
    source, target, weights = blocks.find(field_under(b.field(side), small[None], *a.size(side)))[0]
    near = (target - source).norm(dim=1) < 1.5
    share = float((weights * near).sum() / weights.sum().clamp_min(1e-9)) if len(source) else 0.0
    return share, int(near.sum()), min(LEAST, (len(blocks.centres) + 1) // 2)


class Scene:
    """An image at the sizes of the search."""

    def __init__(self, luma: Tensor, valid: Tensor | None) -> None:
        self.luma, self.valid = luma.float(), valid
        self.side = max(luma.shape)
        self._lumas: dict[int, Tensor] = {}
        self._fields: dict[int, Tensor] = {}
        self._blocks: dict[tuple[int, int, int], Blocks] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.luma.shape[0], self.luma.shape[1]

    def size(self, side: int) -> tuple[int, int]:
        """Height and width with the longer side `side` (or its own, if that is smaller)."""
        factor = min(1.0, side / self.side)
        height, width = (max(8, round(v * factor)) for v in self.luma.shape)
        return height, width

    def at(self, side: int) -> Tensor:
        """Luma of that size."""
        side = min(side, self.side)
        if side not in self._lumas:
            larger = [s for s in self._lumas if s >= 2 * side]  # a short way down, from a size that is there
            self._lumas[side] = _resized(self._lumas[min(larger)] if larger else self.luma, self.size(side))
        return self._lumas[side]

    def field(self, side: int) -> Tensor:
        """Field (2, H, W) of that size."""
        side = min(side, self.side)
        if side not in self._fields:
            self._fields[side] = field(self.at(side), self.counted(side))
        return self._fields[side]

    def counted(self, side: int) -> Tensor | None:
        """Where luma of that size counts, 0 or 1; None: everywhere."""
        if self.valid is None:
            return None
        return (_resized(self.valid.float(), self.size(min(side, self.side))) > 0.99).float()

    def blocks(self, side: int, stride: int, reach: int) -> Blocks:
        """Blocks of the field of that size."""
        side = min(side, self.side)
        if (side, stride, reach) not in self._blocks:
            self._blocks[side, stride, reach] = Blocks(self.field(side), BLOCK if side < FINE else WIDE, stride, reach)
        return self._blocks[side, stride, reach]


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(x.shape) == size:
        return x
    return F.interpolate(x[None, None], size, mode="bilinear", antialias=True, align_corners=False)[0, 0]


def still(a: Scene, b: Scene, full: int) -> Alignment | None:
    """An answer at once where the images lie over each other already: no matched block has moved, or all by so little
    that nothing is gained.

    full: longer side in pixels of the images themselves.
    """
    if a.shape != b.shape:
        return None
    side = min(MIDDLE, a.side)
    source, target, weights = a.blocks(side, APART, 3).find(b.field(side)[None])[0]
    if len(source) < 8:
        return None
    matrix, _ = robust_fit("similarity", source, target, weights, 0.5)
    moved = _largest_move(matrix, torch.Size(a.size(side))) * full / side
    wrong = (target - apply(matrix, source.double())).norm(dim=1)
    if float((weights * (wrong < 0.75)).sum() / weights.sum()) < STEADY:
        return None
    own = torch.Size(a.size(side))
    found = resized(matrix, (a.size(side), a.shape), (a.size(side), a.shape)) if own != a.luma.shape else matrix
    if moved >= STILL and (moved * min(FINEST, full) / full > SLIGHT or clearer(a, b, found, SLIGHT_GAIN)):
        return None
    score = agreement(a.field(side), b.field(side))
    return Alignment(torch.eye(3).double(), "none", 0.0, score, score, math.nan, True, found=found)


def _kinds(most: Kind) -> tuple[Kind, ...]:
    return KINDS[: KINDS.index(most) + 1]


def _rough(a: Scene, b: Scene, starts: list[Tensor], most: Kind) -> Tensor:
    """The matrix at full size from a to b, found at 160 and 320 pixels from several starts."""
    low, middle = min(LOW, a.side), min(MIDDLE, a.side)
    matrix, _ = _best_start(a, b, [scaled(m, low / a.side) for m in starts], _kinds(most)[:2], low)
    if middle > low:
        matrix, _ = _refine(a, b, scaled(matrix, middle / low), _kinds(most), middle, REACH)
    return scaled(matrix, a.side / middle)


def refined(a: Scene, b: Scene, matrix: Tensor, most: Kind = "homography") -> tuple[Tensor, str]:
    """The matrix at full size, refined at 320, 640 and at most 1600 pixels, and its kind; trusted or not."""
    kind: str = "none"
    last = a.side
    for level in sorted({min(a.side, level) for level in (MIDDLE, 640, LARGEST)}):
        matrix, last = scaled(matrix, level / last), level
        for _ in range(ROUNDS):
            before = matrix
            matrix, kind = _refine(a, b, before, _kinds(most), level)
            if _apart(before, matrix, torch.Size(a.size(level))) < SETTLED:
                break
    return scaled(matrix, a.side / last), kind


def _best_start(a: Scene, b: Scene, starts: list[Tensor], kinds: tuple[Kind, ...], level: int) -> tuple[Tensor, str]:
    """The start that agrees best when its blocks are matched at `level` pixels, so refined."""
    height, width = a.size(level)
    blocks = a.blocks(level, STRIDE, 8)
    found: list[Tensor] = []
    for matrix, points in zip(
        starts, blocks.find(field_under(b.field(level), torch.stack(starts), height, width)), strict=True
    ):
        found.append(_laddered(matrix, points, kinds, False)[0])
    warped = field_under(b.field(level), torch.stack(found), height, width)
    scores = [agreement(a.field(level), one) for one in warped]
    best = max(range(len(found)), key=lambda k: (scores[k], -k))
    return _laddered(found[best], blocks.find(warped[best : best + 1])[0], kinds, False)


def _refine(
    a: Scene, b: Scene, matrix: Tensor, kinds: tuple[Kind, ...], level: int, reach: int = NEAR
) -> tuple[Tensor, str]:
    """A round of matching blocks and fitting, with images of `level` pixels."""
    height, width = a.size(level)
    blocks = a.blocks(level, STRIDE if max(height, width) < FINE else 2 * STRIDE, reach)
    points = blocks.find(field_under(b.field(level), matrix[None], height, width))[0]
    return _laddered(matrix, points, kinds, level >= min(MIDDLE, a.side))


def _laddered(matrix: Tensor, points: Points, kinds: tuple[Kind, ...], fine: bool) -> tuple[Tensor, str]:
    """The matrix, refined by what blocks under it have moved."""
    source, target, weights = points
    if len(source) < 6:
        return matrix, kinds[0]
    return _ladder(source, apply(matrix, target.double()), weights, kinds, fine)


def _ladder(source: Tensor, target: Tensor, weights: Tensor, kinds: tuple[Kind, ...], fine: bool) -> tuple[Tensor, str]:
    """The simplest transform that the points ask for; fine: a homography too."""
    best, residual = robust_fit(kinds[0], source, target, weights, 1.0)
    kind: str = kinds[0]
    count = len(source)
    for richer in kinds[1:]:
        if count < {"similarity": 8, "affine": 16, "homography": 24}[richer] or (richer == "homography" and not fine):
            break
        matrix, left = robust_fit(richer, source, target, weights, 1.0, best)
        if left < (1 - STEP) * residual:
            best, residual, kind = matrix, left, richer
    return best, kind


def _coarse(a: Scene, b: Scene, effort: Effort, shift_only: bool) -> list[Tensor]:
    """Similarities from a to b, the likeliest of the scales, rotations and shifts; none is among them."""
    side = min(effort.side, a.side)
    height, width = a.size(side)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    size_b = b.size(side)
    ratio = (size_b[1] / width + size_b[0] / height) / 2
    scales = (1.0,) if shift_only else effort.scales
    turns = (0.0,) if shift_only else effort.turns
    found: list[tuple[float, int, Tensor]] = []
    for scale in scales:
        tried = [_about(centre, scale * ratio, math.radians(turn)) for turn in turns]
        fields = field_under(b.field(side), torch.stack(tried), height, width)
        for matrix, (x, y, score) in zip(tried, best_shifts(a.field(side), fields, side // 4), strict=True):
            shift = torch.eye(3).double()
            shift[0, 2], shift[1, 2] = x, y
            found.append((-score, len(found), matrix @ shift))
    chosen = [_about(centre, ratio, 0.0)]
    for _, _, matrix in sorted(found):
        if all(_apart(matrix, other, torch.Size((height, width))) > side / 16 for other in chosen[1:]):
            chosen.append(matrix)
        if len(chosen) == STARTS + 1:
            break
    return [scaled(m, a.side / side) for m in chosen]


def _inverse(matrix: Tensor) -> Tensor:
    inverse = torch.linalg.inv(matrix)
    return inverse / inverse[2, 2]


def _apart(one: Tensor, other: Tensor, shape: torch.Size) -> float:
    """By how many pixels two matrices differ at the corners, at most."""
    corners = _corners(shape)
    return float((apply(one, corners) - apply(other, corners)).norm(dim=1).max())


def _about(centre: Tensor, scale: float, turn: float) -> Tensor:
    """Rotation and scale about a point."""
    matrix = torch.eye(3).double()
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    matrix[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    return matrix


def _corners(shape: torch.Size) -> Tensor:
    height, width = shape
    return torch.tensor([[0.0, 0.0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=torch.float64)


def _largest_move(matrix: Tensor, shape: torch.Size) -> float:
    corners = _corners(shape)
    return float((apply(matrix, corners) - corners).norm(dim=1).max())


def _return_error(forward: Tensor, backward: Tensor, shape: torch.Size) -> float:
    """Root mean square over a grid by which forward and backward miss, in pixels at 640."""
    height, width = shape
    ys, xs = torch.meshgrid(torch.linspace(0, height - 1, 5), torch.linspace(0, width - 1, 5), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten()], 1).double()
    wrong = apply(backward, apply(forward, points)) - points
    return float(wrong.square().sum(1).mean().sqrt()) * 640 / max(shape)


def _plausible(matrix: Tensor) -> bool:
    """No mirror, no collapse: the area changes by no more than 0.45 to 2.2."""
    return 0.45 < float(torch.linalg.det(matrix[:2, :2])) < 2.2 and bool(matrix.isfinite().all())


def clearer(a: Scene, b: Scene, matrix: Tensor, by: float = CLEAR) -> bool:
    """Whether the edges agree better under the matrix than without, by a share (a tenth) at 640 pixels."""
    before = _agreement(a, b, torch.eye(3).double(), FINEST)
    return _agreement(a, b, matrix, FINEST) > (1 + by) * max(before, 0.0)


def _agreement(a: Scene, b: Scene, matrix: Tensor, side: int = MIDDLE) -> float:
    """Of the fields, with a longer side of `side` pixels."""
    side = min(side, a.side)
    if a.shape == b.shape and torch.equal(matrix, torch.eye(3).to(matrix)):
        return agreement(a.field(side), b.field(side))
    small = scaled(matrix, side / a.side)
    return agreement(a.field(side), field_under(b.field(side), small[None], *a.size(side))[0])
