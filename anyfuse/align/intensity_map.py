"""Intensity mapping functions: what the values of one exposure become in another one, with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..arrays import Tensor, torch
from ..image.colour import to_luma

FAIR, BLIND = 0.92, 0.99  # values of the source up to which channels are mapped alone, and from which by luma
INPUT_BINS, OUTPUT_BINS = 64, 256  # steps of the values that are mapped, and of those that they become
SMOOTH = np.array([1, 2, 3, 2, 1]) / 9  # of neighbouring values of the map
SPREAD = 3.7  # how many half distances of the quartiles are expected: 2.5 deviations


class IntensityMap(NamedTuple):
    """What values become, at INPUT_BINS + 1 knots over [0, 1]."""

    middle: np.ndarray  # rising
    spread: np.ndarray  # around it


def fit_map(source: Tensor, target: Tensor) -> IntensityMap:
    """What values of one plane become in another, both flat, by the quartiles of each value; to either end in
    proportion.
    """
    pairs = (source * INPUT_BINS).round().long().mul_(OUTPUT_BINS).add_((target * (OUTPUT_BINS - 1)).round().long())
    joint = torch.bincount(pairs, minlength=(INPUT_BINS + 1) * OUTPUT_BINS).view(INPUT_BINS + 1, OUTPUT_BINS).numpy()
    counts, shares = joint.sum(1), joint.cumsum(1)
    known = np.flatnonzero(counts >= 8)
    if not len(known):
        return IntensityMap(np.linspace(0, 1, INPUT_BINS + 1), np.ones(INPUT_BINS + 1))
    low, middle, high = (
        np.array([np.searchsorted(shares[k], share * counts[k]) for k in known]) / (OUTPUT_BINS - 1)
        for share in (0.25, 0.5, 0.75)
    )
    knots = np.arange(INPUT_BINS + 1)
    spread = np.interp(knots, known, SPREAD * (high - low) / 2)
    middle = _rising(middle, counts[known])
    most = min(1.0, middle[-1] * INPUT_BINS / max(known[-1], 1))
    middle = np.interp(knots, [-1, *known, INPUT_BINS + 1], [0.0, *middle, max(most, middle[-1])])
    smooth = np.convolve(np.pad(middle, 2, mode="reflect", reflect_type="odd"), SMOOTH, mode="valid")
    return IntensityMap(np.maximum.accumulate(smooth.clip(0.0, 1.0)), np.minimum(spread, 0.5))


def _rising(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rising values nearest to the given ones by weighted squares: neighbours that fall are pooled."""
    pools: list[tuple[float, float, int]] = []  # value, weight, how many
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            before = pools.pop()
            total = before[1] + pool[1]
            pool = ((before[0] * before[1] + pool[0] * pool[1]) / total, total, before[2] + pool[2])
        pools.append(pool)
    return np.repeat([value for value, _, _ in pools], [count for _, _, count in pools])


def apply_knots(knots: np.ndarray, plane: Tensor) -> Tensor:
    """A plane (h, w) in [0, 1] through a curve of INPUT_BINS + 1 knots, by straight lines between them."""
    values = torch.from_numpy(knots).to(plane.dtype)
    place = plane.clamp(0.0, 1.0).mul_(INPUT_BINS)
    low = place.long().clamp_(max=INPUT_BINS - 1)
    return torch.lerp(values.take(low), values.take(low + 1), place - low)


def map_frame(frame: Tensor, maps: Sequence[IntensityMap]) -> Tensor:
    """A frame (C, h, w) through the maps of its channels. Where it is clipped, its luma through luma's map and its
    colours in their ratio, since a clipped channel would change the hue.
    """
    luma = to_luma(frame)
    ratio = frame * (apply_knots(maps[-1].middle, luma) / luma.clamp_min(1 / 255))
    own = maps[:-1] if len(maps) == len(frame) + 1 else [maps[-1]] * len(frame)
    each = torch.stack([apply_knots(one.middle, plane) for one, plane in zip(own, frame, strict=True)])
    share = ((frame.amax(0, keepdim=True) - FAIR) / (BLIND - FAIR)).clamp_(0.0, 1.0)
    return torch.lerp(each, ratio, share).clamp_(0.0, 1.0)


def fit_maps(source: Tensor, target: Tensor, use: Tensor) -> list[IntensityMap]:
    """Of each channel, and of luma at the end, from the pixels to use (h, w) bool."""
    planes = [*zip(source, target, strict=True), (to_luma(source)[0], to_luma(target)[0])]
    return [fit_map(x[use], y[use]) for x, y in planes]


def fit_gains(source: Tensor, target: Tensor, use: Tensor) -> list[IntensityMap]:
    """As `fit_maps`, each a straight line, for frames that should be equally bright."""
    gains = (target[:, use].mean(1) / source[:, use].mean(1).clamp_min(1e-3)).tolist()
    knots = np.linspace(0, 1, INPUT_BINS + 1)
    return [IntensityMap((gain * knots).clip(0, 1), 0 * knots) for gain in [*gains, sum(gains) / len(gains)]]
