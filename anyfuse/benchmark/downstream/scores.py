"""From counts of every picture to recall, precision, F1 and average precision, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .detectors import THRESHOLDS

MIDDLE = THRESHOLDS.index(0.5)
DRAWS = 1000
POINTS = np.linspace(0, 1, 101)
"""Recalls at which the average precision takes the precision, as COCO does."""


@dataclass(frozen=True)
class Score:
    """Mean over detectors with a 95 % bootstrap interval over scenes, and the least and largest of the detectors."""

    value: float
    low: float
    high: float
    least: float
    most: float


def recall(counts: np.ndarray) -> np.ndarray:
    """Counts (..., thresholds, 3) -> share of what is there that is found at threshold 0.5; NaN where nothing is."""
    return _ratio(counts[..., MIDDLE, 0], counts[..., MIDDLE, 2])


def precision(counts: np.ndarray) -> np.ndarray:
    """Share of the finds that are right at threshold 0.5; NaN without a find."""
    return _ratio(counts[..., MIDDLE, 0], counts[..., MIDDLE, 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """Harmonic mean of both at threshold 0.5: 2 right / (finds + what is there)."""
    return _ratio(2 * counts[..., MIDDLE, 0], counts[..., MIDDLE, 1] + counts[..., MIDDLE, 2])


def average_precision(counts: np.ndarray) -> np.ndarray:
    """Mean over POINTS of the best precision of any threshold whose recall is at least that; 0 where none is."""
    recalls = _ratio(counts[..., 0], counts[..., 2])[..., None, :]  # (..., 1, thresholds)
    precisions = np.nan_to_num(_ratio(counts[..., 0], counts[..., 1]))[..., None, :]
    best = np.where(recalls >= POINTS[:, None] - 1e-12, precisions, 0).max(-1)  # (..., points)
    return np.where(counts[..., 0, 2] > 0, best.mean(-1), math.nan)


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "ap": average_precision,
}


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.maximum(below, 1), math.nan)


def draws_of(scenes: int, seed: int = 0) -> np.ndarray:
    """(DRAWS, scenes): how often each scene is in each draw. Methods share them, so that differences are paired."""
    return np.random.default_rng(seed).multinomial(scenes, np.full(scenes, 1 / scenes), DRAWS)


@dataclass(frozen=True)
class Measured:
    """A measure of a method."""

    each: np.ndarray  # (detectors,), on all scenes
    drawn: np.ndarray  # (DRAWS,), mean over detectors


def measure(counts: np.ndarray, name: str, draws: np.ndarray) -> Measured:
    """A measure of a method, on all scenes and on each draw.

    Args:
        counts: (detectors, scenes, thresholds, 3).
        name: of MEASURES.
        draws: of draws_of.
    """
    function = MEASURES[name]
    drawn = [function(np.tensordot(draws.astype(float), own.astype(float), 1)) for own in counts]
    return Measured(function(counts.sum(1)), np.stack(drawn).mean(0))


def score(own: Measured, against: Measured | None = None) -> Score:
    """A measure with its interval, or its difference to that of another method; NaN where it is not defined."""
    each = own.each - against.each if against else own.each
    drawn = own.drawn - against.drawn if against else own.drawn
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(each).all() or not len(drawn):
        return Score(*[math.nan] * 5)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Score(float(np.nanmean(each)), float(low), float(high), float(np.nanmin(each)), float(np.nanmax(each)))
