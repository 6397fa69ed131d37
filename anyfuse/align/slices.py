"""Slices of different scanners, laid over each other by mutual information, where the user asks for it.

Their edges are those of different tissues, so the fields of `field.py` say little. What a value of one becomes in the
other is not known, only that it is the same thing throughout: normalised mutual information, less a prior of small
motion. A shift, or a similarity at most.
"""

from __future__ import annotations

import itertools
import math

from ..arrays import Tensor, torch
from .estimate import Scene
from .information import normalised_mutual_information
from .transform import warp

LEVELS = 24  # grey levels of each image
PRIOR = 0.1  # information that a motion of 1 costs, by its square: in sides, radians and logarithm of the scale
COARSE, SIDES = 64, (96, 160, 256)  # longer sides in pixels of the first search, and of those that refine it
SHIFTS, TURNS = (-0.06, -0.03, 0.0, 0.03, 0.06), (-0.08, 0.0, 0.08)  # of the first search, in sides and radians
STARTS = 6  # motions of it that are refined at the next size
STEP, FINEST = 0.02, 0.15  # first step of the refining search, and the last one, in pixels
GAIN = 0.01  # of information, that an answer needs

Motion = tuple[float, float, float, float]  # shift in x and y in sides, rotation in radians, logarithm of the scale


def estimate_slices(a: Scene, b: Scene, similarity: bool = True) -> tuple[Tensor, float] | None:
    """The matrix from one scene to another of its size, and the information gained; None: nothing is sure.

    Args:
        a: the reference.
        b: a slice of another scanner, of the same size.
        similarity: False: a shift alone.
    """
    turns = TURNS if similarity else (0.0,)
    tried = [(x, y, turn, 0.0) for x, y, turn in itertools.product(SHIFTS, SHIFTS, turns)]
    best: list[Motion] = sorted(tried, key=_Measure(a, b, COARSE), reverse=True)[:STARTS]
    for side in sorted({min(side, a.side) for side in SIDES}):
        measure = _Measure(a, b, side)
        best = [_climbed(one, measure, FINEST / side, 4 if similarity else 2) for one in best]
        best = [max(best, key=measure)]
    motion = best[0]
    gain = measure(motion) - measure((0.0, 0.0, 0.0, 0.0))
    return (matrix_of(motion, a.shape), gain) if gain > GAIN else None


def matrix_of(motion: Motion, shape: tuple[int, int]) -> Tensor:
    """The matrix, 3x3, of a motion about the middle of an image (H, W)."""
    (height, width), (x, y, turn, growth) = shape, motion
    cos, sin = math.exp(growth) * math.cos(turn), math.exp(growth) * math.sin(turn)
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre + max(shape) * torch.tensor([x, y], dtype=torch.float64)
    return matrix


class _Measure:
    """Information that two scenes share under a motion, less the prior, at one size."""

    def __init__(self, a: Scene, b: Scene, side: int) -> None:
        self.one, self.other = a.at(side), b.at(side)
        self.all = torch.ones_like(self.one, dtype=torch.bool)

    def __call__(self, motion: Motion) -> float:
        shape = (self.one.shape[0], self.one.shape[1])
        moved, _ = warp(self.other[None], matrix_of(motion, shape), *shape)
        shared = normalised_mutual_information(self.one, moved[0], self.all, LEVELS)
        return shared - PRIOR * sum(v * v for v in motion)


def _climbed(motion: Motion, measure: _Measure, finest: float, free: int) -> Motion:
    """A motion near this one that no small step makes better, by steps that halve."""
    best, step = measure(motion), STEP
    while step > finest:
        moved = False
        for k, sign in itertools.product(range(free), (1, -1)):
            tried: Motion = tuple(v + sign * step * (i == k) for i, v in enumerate(motion))  # type: ignore[assignment]
            value = measure(tried)
            if value > best + 1e-6:
                best, motion, moved = value, tried, True
        step = step if moved else step / 2
    return motion
