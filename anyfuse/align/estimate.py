"""How one image of a scene lies against another: a transform, found from coarse to fine, and whether to trust it.

coarse    fields at 96 pixels under five scales and five rotations, correlated by Fourier transform
finer     at 160, 320, 640 and the image's own size: blocks of the fields are matched, and a transform is fitted to
          their shifts with Cauchy weights
ladder    shift, similarity, affine, homography: the next one only if it lowers the robust residual by 6 %
trust     it must agree better than no transform does, and with the way back within 1.5 pixels; else the image is
          left alone
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from .field import agreement, best_shift, field
from .transform import KINDS, Kind, apply, robust_fit, scaled, warp

COARSE = 96  # longer side in pixels of the first search
LEVELS = (160, 320, 640)
BLOCK, STRIDE = 48, 24
GAIN = 0.01  # by which a transform must agree better than none
STARTS = 4  # places of the coarse search that are looked at closer
LARGEST = 1600  # longer side in pixels of the finest search
RETURN = 1.5  # pixels at 640 that the way there and back may miss
STILL = 0.3  # pixels: a shift that is not worth resampling
STEP = 0.06  # share of the residual that a richer transform must save


@dataclass(frozen=True)
class Alignment:
    """How an image lies against the reference."""

    matrix: Tensor  # 3x3 float64, pixels of the reference -> pixels of the image
    kind: str  # none, shift, similarity, affine, homography
    shift: float  # largest movement of a corner in pixels
    agreement: float  # of the fields, with the transform
    before: float  # of the fields, without
    error: float  # pixels at 640 by which the way there and back misses; nan: not measured
    trusted: bool  # False: the image was left alone, and may not be aligned


def estimate(
    reference: Tensor,
    other: Tensor,
    most: Kind = "homography",
    valid: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Alignment:
    """The transform that lays `other` over `reference`.

    Args:
        reference, other: luma (H, W) in [0, 1], of sizes that may differ a little.
        most: the richest kind to try.
        valid: where each counts, (H, W) in [0, 1].
    """
    pyramid_a, pyramid_b = Scene(reference, valid[0]), Scene(other, valid[1])
    still = _still(pyramid_a, pyramid_b)
    if still is not None:
        return still
    there, kind = _search(pyramid_a, pyramid_b, most)
    back, _ = _search(pyramid_b, pyramid_a, most, LEVELS[2])
    error = _return_error(there, back, reference.shape)
    before, after = _agreement(pyramid_a, pyramid_b, torch.eye(3).double()), _agreement(pyramid_a, pyramid_b, there)
    shift = _largest_move(there, reference.shape)
    if not _plausible(there) or error > RETURN or after < before + GAIN * abs(before):
        small = shift < 1.0 or (after < before + GAIN * abs(before) and error < RETURN)
        return Alignment(torch.eye(3).double(), "none", 0.0, before, before, error, small)
    if shift < STILL:
        return Alignment(torch.eye(3).double(), "none", 0.0, before, before, error, True)
    return Alignment(there, kind, shift, after, before, error, True)


class Scene:
    """An image at the sizes of the search."""

    def __init__(self, luma: Tensor, valid: Tensor | None) -> None:
        self.luma, self.valid = luma.float(), valid
        self.side = max(luma.shape)
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def at(self, side: int) -> tuple[Tensor, Tensor]:
        """Luma and where it counts, with the longer side `side` (or its own, if that is smaller)."""
        side = min(side, self.side)
        if side not in self._kept:
            size = [max(8, round(v * side / self.side)) for v in self.luma.shape]
            small = _resized(self.luma, size)
            counted = torch.ones(size) if self.valid is None else (_resized(self.valid.float(), size) > 0.99).float()
            self._kept[side] = small, counted
        return self._kept[side]


def _resized(x: Tensor, size: list[int]) -> Tensor:
    if list(x.shape) == size:
        return x
    return F.interpolate(x[None, None], size, mode="bilinear", antialias=True, align_corners=False)[0, 0]


def _field_under(scene: Scene, side: int, matrix: Tensor, height: int, width: int) -> Tensor:
    """The field at `side` of the scene, seen through a matrix (at that size) from a reference (height, width)."""
    luma, counted = scene.at(side)
    moved, inside = warp(torch.stack([luma, counted]), matrix, height, width)
    return field(moved[0], inside * (moved[1] > 0.99))


def _still(a: Scene, b: Scene) -> Alignment | None:
    """An answer at once where the images lie over each other already: no matched block has moved."""
    if a.luma.shape != b.luma.shape:
        return None
    side = min(320, a.side)
    fa, fb = (field(*scene.at(side)) for scene in (a, b))
    source, target, weights = _match(fa, fb, 3)
    if len(source) < 8:
        return None
    matrix, _ = robust_fit("similarity", source, target, weights, 0.5)
    factor = a.side / side
    moved = _largest_move(scaled(matrix, factor), a.luma.shape)
    wrong = (target - source).norm(dim=1)
    steady = float((weights * (wrong < 0.75)).sum() / weights.sum())
    if moved >= STILL or steady < 0.8:
        return None
    score = agreement(fa, fb)
    return Alignment(torch.eye(3).double(), "none", 0.0, score, score, math.nan, True)


def _search(a: Scene, b: Scene, most: Kind, finest: int = LARGEST) -> tuple[Tensor, str]:
    """The matrix at full size from a to b, and its kind; finest: longer side in pixels of the last search."""
    side = min(COARSE, a.side)
    kinds = KINDS[: KINDS.index(most) + 1]
    levels = [level for level in (*LEVELS, LARGEST) if level < min(a.side, finest)] + [min(a.side, finest)]
    tried: list[tuple[float, int, Tensor, str]] = []
    for start in _coarse(a, b, side, most == "shift"):
        matrix, kind = _refine(a, b, scaled(start, levels[0] / side), kinds[:2], levels[0], 8)
        tried.append((_score(a, b, matrix, levels[0]), len(tried), matrix, kind))
    _, _, matrix, kind = max(tried)
    for last, level in pairwise(levels):
        matrix, kind = _refine(a, b, scaled(matrix, level / last), kinds, level, 5)
    return scaled(matrix, a.side / levels[-1]), kind


def _refine(a: Scene, b: Scene, matrix: Tensor, kinds: tuple[Kind, ...], level: int, reach: int) -> tuple[Tensor, str]:
    """Two rounds of matching blocks and fitting, with images of `level` pixels."""
    height, width = a.at(level)[0].shape
    fa = field(*a.at(level))
    kind: str = kinds[0]
    for _ in range(2):
        source, target, weights = _match(fa, _field_under(b, level, matrix, height, width), reach)
        if len(source) < 6:
            break
        matrix, kind = _ladder(source, apply(matrix, target.double()), weights, kinds, level)
    return matrix, kind


def _score(a: Scene, b: Scene, matrix: Tensor, level: int) -> float:
    """How well the fields agree at a level, under a matrix of that level."""
    height, width = a.at(level)[0].shape
    return agreement(field(*a.at(level)), _field_under(b, level, matrix, height, width))


def _ladder(source: Tensor, target: Tensor, weights: Tensor, kinds: tuple[Kind, ...], level: int) -> tuple[Tensor, str]:
    """The simplest transform that the points ask for."""
    best, residual = robust_fit(kinds[0], source, target, weights, 1.0)
    kind: str = kinds[0]
    few = len(source)
    for richer in kinds[1:]:
        if few < {"similarity": 8, "affine": 16, "homography": 24}[richer] or (richer == "homography" and level < 300):
            break
        matrix, left = robust_fit(richer, source, target, weights, 1.0)
        if left < (1 - STEP) * residual:
            best, residual, kind = matrix, left, richer
    return best, kind


def _coarse(a: Scene, b: Scene, side: int, shift_only: bool) -> list[Tensor]:
    """Similarities at `side` from a to b, the likeliest of the scales, rotations and shifts; none is among them."""
    luma, counted = a.at(side)
    height, width = luma.shape
    fa = field(luma, counted)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    size_b = b.at(side)[0].shape
    fit_x, fit_y = size_b[1] / width, size_b[0] / height
    found: list[tuple[float, int, Tensor]] = []
    scales = (1.0,) if shift_only else (1.0, 0.9, 0.95, 1.05, 1.1)
    turns = (0.0,) if shift_only else (0.0, -3.0, -1.5, 1.5, 3.0)
    for scale in scales:
        for turn in turns:
            matrix = _about(centre, scale * (fit_x + fit_y) / 2, math.radians(turn))
            fb = _field_under(b, side, matrix, height, width)
            x, y, score = best_shift(fa, fb, side // 4)
            shift = torch.eye(3).double()
            shift[0, 2], shift[1, 2] = x, y
            found.append((-score, len(found), matrix @ shift))
    best = [matrix for _, _, matrix in sorted(found)]
    chosen = [_about(centre, (fit_x + fit_y) / 2, 0.0)]
    for matrix in best:
        if all(_apart(matrix, other, luma.shape) > 6 for other in chosen[1:]):
            chosen.append(matrix)
        if len(chosen) == STARTS + 1:
            break
    return chosen


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


def _match(fa: Tensor, fb: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the blocks of field a are in field b, both (H, W): centres (K, 2), where they are found (K, 2), weights.

    A block counts by its score, and by how much the peak stands out.
    """
    height, width = fa.shape
    block = min(BLOCK, height, width)
    size = block + 2 * reach
    if min(height, width) < 16:
        return torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0)
    padded = F.pad(torch.view_as_real(fb).movedim(-1, 0)[None], (reach,) * 4)
    planes = torch.view_as_real(fa).movedim(-1, 0)[None]
    stride = max(4, (STRIDE if max(height, width) < 500 else 2 * STRIDE) * block // BLOCK)
    rows, cols = _starts(height, block, stride), _starts(width, block, stride)
    parts_a = torch.stack([planes[0, :, y : y + block, x : x + block] for y in rows for x in cols])
    parts_b = torch.stack([padded[0, :, y : y + size, x : x + size] for y in rows for x in cols])
    a, b = torch.complex(parts_a[:, 0], parts_a[:, 1]), torch.complex(parts_b[:, 0], parts_b[:, 1])
    fft = torch.fft.fft2
    cross = torch.fft.ifft2(fft(a, (size, size)).conj() * fft(b)).real
    ones = fft(torch.ones(1, block, block), (size, size))
    energy = torch.fft.ifft2(ones.conj() * fft(b.abs().square())).real
    window = slice(0, 2 * reach + 1)
    cross, energy = cross[:, window, window], energy[:, window, window]
    own = a.abs().square().sum((1, 2))
    score = cross / (own[:, None, None] * energy.clamp_min(1e-6)).sqrt().clamp_min(1e-6)
    enough = own > 0.1 * own.mean()
    flat = score.flatten(1)
    peak, index = flat.max(1)
    row, col = index // (2 * reach + 1), index % (2 * reach + 1)
    inner = (row > 0) & (row < 2 * reach) & (col > 0) & (col < 2 * reach)
    keep = enough & inner & (peak > 0.05)
    if not bool(keep.any()):
        return torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0)
    score, peak, row, col = score[keep], peak[keep], row[keep], col[keep]
    item = torch.arange(len(score))
    dx = _vertex(score[item, row, col - 1], peak, score[item, row, col + 1])
    dy = _vertex(score[item, row - 1, col], peak, score[item, row + 1, col])
    spread = score.flatten(1).std(1).clamp_min(1e-6)
    weights = ((peak - score.flatten(1).mean(1)) / spread - 1.5).clamp(0, 4) * peak.clamp(0, 1)
    centres = torch.tensor([[x + (block - 1) / 2, y + (block - 1) / 2] for y in rows for x in cols])[keep]
    found = centres + torch.stack([col + dx - reach, row + dy - reach], 1)
    return centres, found, weights


def _starts(side: int, block: int, stride: int) -> list[int]:
    """Where blocks begin, evenly, at both ends too."""
    count = max(1, math.ceil((side - block) / stride)) + 1 if side > block else 1
    return [round(k * (side - block) / max(1, count - 1)) for k in range(count)]


def _vertex(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """Where the parabola through three values has its top, from the middle one."""
    bend = (left - 2 * middle + right).clamp_max(-1e-6)
    return ((left - right) / (2 * bend)).clamp(-0.5, 0.5)


def _corners(shape: torch.Size) -> Tensor:
    height, width = shape
    return torch.tensor([[0.0, 0.0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=torch.float64)


def _largest_move(matrix: Tensor, shape: torch.Size) -> float:
    corners = _corners(shape)
    return float((apply(matrix, corners) - corners).norm(dim=1).max())


def _return_error(there: Tensor, back: Tensor, shape: torch.Size) -> float:
    """Root mean square over a grid by which there and back miss, in pixels at 640."""
    height, width = shape
    ys, xs = torch.meshgrid(torch.linspace(0, height - 1, 5), torch.linspace(0, width - 1, 5), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten()], 1).double()
    wrong = apply(back, apply(there, points)) - points
    return float(wrong.square().sum(1).mean().sqrt()) * 640 / max(shape)


def _plausible(matrix: Tensor) -> bool:
    """No mirror, no collapse: the area changes by no more than 0.6 to 1.7."""
    return 0.6 < float(torch.linalg.det(matrix[:2, :2])) < 1.7 and bool(matrix.isfinite().all())


def _agreement(a: Scene, b: Scene, matrix: Tensor) -> float:
    """Of the fields at 320 pixels."""
    side = min(320, a.side)
    height, width = a.at(side)[0].shape
    small = scaled(matrix, side / a.side)
    return agreement(field(*a.at(side)), _field_under(b, side, small, height, width))
