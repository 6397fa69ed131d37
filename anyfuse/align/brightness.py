"""Brightness matching of focus stacks: each frame is brought to the brightness of the reference.

gain      means of cells against those of the reference, as a smooth field: one factor, or one with a slope and a bowl
          for vignetting, fitted robustly, since defocus carries light from one cell into the next
stack     frames are a focus stack where one frame is sharper here and another there; a bracket's are not
match     values over the field. Where a frame is clipped, at least what the reference shows

A frame whose field stays within 1 % is not touched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..arrays import F, Tensor, torch
from ..image.colour import to_luma
from ..image.filters import gaussian_blur
from ..image.frame import Frame, Store, in_memory
from .estimate import Scene
from .full import scene_of
from .information import rank_correlation

SIDE = 640  # longer side in pixels, or up to twice as much, at which frames are compared
CELLS = 40  # along the longer side
LEAST = 64  # cells that must be known in both frames
DARK, CLIPPED = 0.02, 0.97  # values beyond which a cell's mean says nothing of the gain
SAME = 0.01  # of a gain that is not worth a change
LIMITS = 0.55, 1.8  # of gains within a focus stack
RANKS = 0.9  # rank correlation of the means of frames of one kind, once matched
STEP, RICHER = 0.06, 0.1  # shares of the residual that one factor, and a richer field, must save
SPREAD = 0.02  # of the logarithm of a cell's gain, scale of the Cauchy weights
TEXTURE = 0.01  # deviation, as a share of the mean, from which a cell tells how sharp it is
SHARPER, FINER = 0.35, 0.1  # logarithms of deviations, and of fine ones over middle ones, from blurred to sharp
SHARE = 0.05  # of telling cells that must be sharper in one frame, and as many in the other
BEYOND = 0.1  # share of a field's range by which it may go on where the frames do not tell
COMPARED = 9  # frames of a stack that are compared in pairs
BAD = 0.02  # share of a cell's pixels that may be dark, clipped or transparent
FLOOR = 1e-4  # of deviations that are compared
STRIP = 1 << 20  # values matched together


@dataclass(frozen=True)
class BrightnessMatch:
    """What was done to the brightness of one frame, for the report."""

    name: str  # of the frame
    least: float  # of the factors that its values were multiplied by
    most: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "least": round(self.least, 4), "most": round(self.most, 4)}


def match_brightness(
    frames: Sequence[Frame], reference: int = 0, store: Store = in_memory
) -> tuple[list[Frame], list[BrightnessMatch]]:
    """The frames of a focus stack as bright as frames[reference], and what was done; others as they are.

    Args:
        frames: of one scene and one size, aligned.
        reference: index of the frame whose brightness stays.
        store: where the pixels of changed frames go.
    """
    if not _may_be_stack(frames):
        return list(frames), []
    cells = [_cells(frame) for frame in frames]
    gains = [_gain(cells[reference], one) for one in cells]
    if any(gain is None for gain in gains) or not any(gain.matters for gain in gains if gain is not None):
        return list(frames), []
    if not _is_focus_stack(frames):
        return list(frames), []
    out, done = list(frames), []
    for k, gain in enumerate(gains):
        if gain is not None and gain.matters:
            out[k] = _matched(frames[k], frames[reference], gain).stored(store)
            done.append(BrightnessMatch(frames[k].name, 1 / gain.most, 1 / gain.least))
    return out, done


class _Cells(NamedTuple):
    """A frame as a grid of cells, each (h, w)."""

    mean: Tensor  # of luma, 0 to 1
    deviation: Tensor  # of luma
    known: Tensor  # bool: opaque, neither clipped nor dark
    where: Tensor  # (h, w, 2) x and y of the centres, -1 to 1 along the longer side


class _Details(NamedTuple):
    """How sharp a frame is, as a grid of cells, each (h, w)."""

    mean: Tensor  # of luma, 0 to 1
    fine: Tensor  # deviation of details of about 2 pixels
    middle: Tensor  # deviation of details of about 5 pixels
    known: Tensor  # bool: opaque, neither clipped nor dark


class _Gain(NamedTuple):
    """How much brighter than the reference a frame is, as a smooth field."""

    weights: np.ndarray  # of the terms of `_terms`, for the logarithm
    least: float  # of the field, where the frames tell
    most: float

    @property
    def matters(self) -> bool:
        """Whether it is anywhere worth a change."""
        return self.least < 1 - SAME or self.most > 1 + SAME


def _may_be_stack(frames: Sequence[Frame]) -> bool:
    """Whether the frames are of one size and one kind, and no slices of scanners."""
    first = frames[0]
    size = (first.height, first.width)
    if len(frames) < 2 or min(size) < 64 or any((frame.height, frame.width) != size for frame in frames):
        return False
    return len({frame.is_grey for frame in frames}) == 1 and all(frame.metadata.header is None for frame in frames)


def _cells(frame: Frame) -> _Cells:
    """The cells of a frame at `SIDE` pixels."""
    scene = scene_of(frame, SIDE, quick=True)
    height, width = scene.shape
    luma = scene.luma[None]
    mean, power, bad = _averaged(torch.stack([luma, luma.square(), _bad(scene)], 1))
    size = _size(height, width)
    rows = (torch.arange(mean.shape[0]) + 0.5) * size - height / 2
    columns = (torch.arange(mean.shape[1]) + 0.5) * size - width / 2
    where = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], 2) * (2 / max(height, width))
    return _Cells(mean, (power - mean.square()).clamp_min(0.0).sqrt(), bad < BAD, where)


def _details(frame: Frame) -> _Details:
    """The details of a frame at `SIDE` pixels."""
    scene = scene_of(frame, SIDE, quick=True)
    luma = scene.luma[None, None]
    one = gaussian_blur(luma, 1.0, 3)
    fine, middle = luma - one, one - gaussian_blur(one, 2.5, 7)
    planes = torch.cat([luma, fine.square(), middle.square(), _bad(scene)[None]], 1)
    mean, power, coarser, bad = _averaged(planes)
    return _Details(mean, power.sqrt(), coarser.sqrt(), bad < BAD)


def _bad(scene: Scene) -> Tensor:
    """(1, h, w): 1 where luma is dark, clipped or not opaque, else 0."""
    bad = ((scene.luma > CLIPPED) | (scene.luma < DARK)).float()
    return (bad if scene.valid is None else torch.maximum(bad, (scene.valid < 0.99).float()))[None]


def _averaged(planes: Tensor) -> Tensor:
    """Planes (1, C, h, w) as means of cells (C, rows, columns)."""
    return F.avg_pool2d(planes, _size(planes.shape[2], planes.shape[3]))[0]


def _size(height: int, width: int) -> int:
    """Side of a cell in pixels."""
    return max(4, math.ceil(max(height, width) / CELLS))


def _gain(reference: _Cells, cells: _Cells) -> _Gain | None:
    """The gain of a frame over the reference; None where they are not two frames of one focus stack."""
    use = reference.known & cells.known
    if int(use.sum()) < LEAST:
        return None
    mean, other = reference.mean[use], cells.mean[use]
    ratio = (other / mean).log().double().numpy()
    rough = torch.maximum(reference.deviation[use] / mean, cells.deviation[use] / other).double().numpy()
    trust = 1 / (SPREAD**2 + rough**2)
    x, y = reference.where[use].double().numpy().T
    best, field, residual = np.zeros(1), np.zeros(len(ratio)), _residual(ratio, trust)
    for terms in (1, 4, 7):
        basis = _terms(x, y)[:terms].T
        weights = _robust(basis, ratio, trust)
        wrong = ratio - basis @ weights
        left, plain = _residual(wrong, trust), np.abs(wrong).mean() < np.abs(ratio - field).mean()
        if plain and left < (1 - (STEP if terms == 1 else RICHER)) * residual:
            best, field, residual = weights, basis @ weights, left
    gain = _Gain(best, math.exp(field.min()), math.exp(field.max()))
    matched = other / torch.from_numpy(np.exp(field)).float()
    alike = rank_correlation(mean, matched) >= RANKS
    return gain if alike and LIMITS[0] < gain.least and gain.most < LIMITS[1] else None


def _terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(7, ...) what fields are sums of: a factor; a slope and a bowl; an oval bowl, and one steep at its rim."""
    square = x * x + y * y
    return np.stack([np.ones_like(square), x + 0 * y, y + 0 * x, square, x * x - y * y, x * y, square * square])


def _robust(basis: np.ndarray, values: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Weights of the columns of a basis (n, m) that give values (n,), by least squares with Cauchy weights."""
    weights = np.zeros(basis.shape[1])
    weights[0] = np.median(values)
    for _ in range(12):
        wrong = values - basis @ weights
        share = np.sqrt(trust / (1 + (wrong / SPREAD) ** 2))
        weights = np.linalg.lstsq(basis * share[:, None], values * share, 1e-9)[0]
    return weights


def _residual(wrong: np.ndarray, trust: np.ndarray) -> float:
    """Mean robust distance from 0."""
    return float((trust * np.sqrt(np.log1p((wrong / SPREAD) ** 2))).sum() / trust.sum())


def _is_focus_stack(frames: Sequence[Frame]) -> bool:
    """Whether two of the frames are each sharper than the other in some place."""
    step = max(1.0, (len(frames) - 1) / (COMPARED - 1))
    chosen = [_details(frames[round(k * step)]) for k in range(min(len(frames), COMPARED))]
    return any(_sharp_in_turn(a, b) >= SHARE for a, b in itertools.combinations(chosen, 2))


def _sharp_in_turn(a: _Details, b: _Details) -> float:
    """Share of the telling cells that are sharper in one frame, or in the other: of both the smaller.

    Sharper: all details are stronger against the light there, and fine ones more than others. A curve of the camera
    changes all alike, and noise is stronger in a darker frame alone.
    """
    use = a.known & b.known
    use &= torch.maximum(a.middle / a.mean.clamp_min(1e-3), b.middle / b.mean.clamp_min(1e-3)) > TEXTURE
    if int(use.sum()) < LEAST // 2:
        return 0.0
    light = (b.mean[use] / a.mean[use]).log()
    fine, middle = (((y[use] + FLOOR) / (x[use] + FLOOR)).log() for x, y in ((a.fine, b.fine), (a.middle, b.middle)))
    sharper = [(s * (fine - light) > SHARPER) & (s * (fine - middle) > FINER) for s in (1, -1)]
    return min(float(one.float().mean()) for one in sharper)


def _matched(frame: Frame, reference: Frame, gain: _Gain) -> Frame:
    """The frame over the field, strip by strip, rounded to its depth; clipped values become what the reference shows,
    if that is more.
    """
    pixels = np.empty(frame.pixels.shape, frame.pixels.dtype)
    scale = 2 / max(frame.height, frame.width)
    x = ((np.arange(frame.width) + 0.5 - frame.width / 2) * scale)[None, :]
    rows = max(1, STRIP // frame.width)
    low, high = math.log(gain.least), math.log(gain.most)
    low, high = low - BEYOND * (high - low), high + BEYOND * (high - low)
    for top in range(0, frame.height, rows):
        window = (slice(top, min(top + rows, frame.height)), slice(0, frame.width))
        y = ((np.arange(top, window[0].stop) + 0.5 - frame.height / 2) * scale)[:, None]
        field = np.zeros((window[0].stop - top, frame.width))
        for weight, term in zip(gain.weights, _terms(x, y), strict=False):
            field += weight * term
        factor = torch.from_numpy(np.exp(-field.clip(low, high)).astype(np.float32))
        values = frame.read(window)
        full = values.amax(0, keepdim=True) > CLIPPED
        values *= factor
        other = reference.read(window)
        other = other if len(other) == len(values) else to_luma(other).expand_as(values)
        pixels[window] = frame.stored_values(torch.where(full, torch.maximum(values, other), values))
    return replace(frame, pixels=pixels)
