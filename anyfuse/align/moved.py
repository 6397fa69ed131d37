"""Where things moved between two frames: masks of what a frame shows and its neighbour does not let expect."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..arrays import Tensor, torch
from ..image.colour import to_luma
from ..image.cover import dilate
from ..image.filters import box, extreme3
from .field import field
from .intensity_map import INPUT_BINS, IntensityMap, apply_knots, fit_gains, fit_maps
from .regions import grown, regions

STRONG = 0.04  # how far beyond the expected interval some of a moved thing lies, in a bracket
FOCUS_STRONG = 0.12  # the same in a focus stack
WEAK = 0.03  # how far beyond it all of a moved thing lies
EDGES = 0.5  # agreement of the edges from which nothing has moved
BACK = 3.0  # how much more a difference counts in the other frame's values
ALONE = 0.15  # how much darker than it could be a thing before a clipped background is, whatever the way back says
AROUND = 7  # pixels at `SIDE` within which edges are compared
NEAR = 16  # pixels at `SIDE` around different values within which different edges count
CLOSE = 8  # pixels at `SIDE`: gaps of up to twice this within a moved thing belong to it
NOISE, HUES = 0.03, 0.10  # by which the expected interval of luma, and of channels, is widened
DARK, DIM = 0.3, 0.4  # in a bracket: share of these widths and of the limits at black, and value from which all counts
PLAY = 0.02  # tolerance of the source's values before they are mapped
CLIPPED, CRUSHED = 0.94, 0.04  # values of the source beyond which the target may have any
LENS = 10  # pixels at `SIDE`: frames of a focus stack are compared with details up to this size blurred away
LEAST = 24  # pixels at `SIDE` that a moved thing has
HOLE = 0.05  # share of the picture that may be enclosed by a moved thing and belong to it


def _beyond(source: Tensor, target: Tensor, maps: Sequence[IntensityMap], reach: int, dark: float = 1.0) -> Tensor:
    """How far a frame leaves what the source lets expect within `reach` pixels, (h, w); at black in units of `dark`.

    Where the source is clipped the target may be brighter than expected, where it is crushed darker. Luma decides.
    Colours count where nothing is clipped, and with more play, since a camera renders each exposure a little
    differently.
    """
    brightest = source.amax(0)
    clipped = _extreme(brightest, torch.maximum, reach) > CLIPPED
    crushed = _extreme(brightest, torch.minimum, reach) < CRUSHED
    below, above = _left(to_luma(source)[0], to_luma(target)[0], maps[-1], reach, NOISE, dark)
    worst = torch.maximum(below.masked_fill_(crushed, 0.0), above.masked_fill_(clipped, 0.0))
    if len(source) > 1:
        for x, y, one in zip(source, target, maps, strict=False):
            beyond = torch.maximum(*_left(x, y, one, reach, HUES, dark))
            worst = torch.maximum(worst, beyond.masked_fill_(clipped | crushed, 0.0))
    return worst


def _left(x: Tensor, y: Tensor, expected: IntensityMap, reach: int, slack: float, dark: float) -> tuple[Tensor, Tensor]:
    """How far plane y lies below and above what x, within `reach` pixels and PLAY, becomes by the map.

    Dark values of a bracket are close to each other, so there less counts for more: at black the slack is `dark` times
    as wide, and distances are in units of it.
    """
    width = expected.spread + slack * (dark + (1 - dark) * np.minimum(1.0, expected.middle / DIM))
    lowest, highest = expected.middle - width, expected.middle + width
    bright, black = math.floor(CLIPPED * INPUT_BINS), math.ceil(CRUSHED * INPUT_BINS)
    lowest[bright:] = np.maximum(lowest[bright:], lowest[bright])  # what is clipped is no darker than what nearly is
    highest[: black + 1] = np.minimum(highest[: black + 1], highest[black])
    below = apply_knots(lowest, _extreme(x, torch.minimum, reach) - PLAY) - y
    above = y - apply_knots(highest, _extreme(x, torch.maximum, reach) + PLAY)
    unit = (y / DIM).clamp_(max=1.0).mul_(1 - dark).add_(dark)
    return below / unit, above / unit


def _extreme(plane: Tensor, choose: Callable[[Tensor, Tensor], Tensor], reach: int) -> Tensor:
    """The least or the largest value within `reach` pixels."""
    for _ in range(reach):
        plane = extreme3(plane, choose)
    return plane


def moved_in_bracket(source: Tensor, target: Tensor, use: Tensor) -> Tensor:
    """(h, w) bool: what two exposures (C, h, w) do not have in common, by maps of the pixels to use (h, w).

    A moved thing leaves each frame beyond what the other lets expect, and its edges differ: both, since a frame in
    which little is lit foretells badly what a brighter one shows. Where the source is clipped, and the target far too
    dark for that, one direction is enough. From there it reaches as far as values differ, and around that as far as
    edges do.
    """
    forward = _beyond(source, target, fit_maps(source, target, use), 1, DARK)
    backward = _beyond(target, source, fit_maps(target, source, use), 1, DARK)
    seeds = torch.minimum(forward, BACK * backward) > STRONG
    seeds |= (forward > ALONE) & (_extreme(source.amax(0), torch.minimum, 1) > CLIPPED)
    if not bool(seeds.any()):
        return seeds
    differ = _edges_differ(source, target)
    sure = grown(seeds & differ, torch.maximum(forward, backward) > WEAK)
    near = dilate(sure.float()[None], NEAR)[0] > 0
    return _whole(grown(sure, sure | (near & differ & ~_dull(source) & ~_dull(target))), LEAST)


def moved_in_focus(source: Tensor, target: Tensor, use: Tensor) -> Tensor:
    """(h, w) bool: what two frames (C, h, w) of a focus stack do not have in common, with details blurred away.

    use: (h, w) bool, where both have pixels. What lies outside blurs in, so nothing begins near it.
    """
    forward = _beyond(source, target, fit_gains(source, target, use), LENS)
    backward = _beyond(target, source, fit_gains(target, source, use), LENS)
    worst = torch.maximum(forward, backward)
    seeds = torch.zeros_like(worst, dtype=torch.bool)
    seeds[LENS:-LENS, LENS:-LENS] = worst[LENS:-LENS, LENS:-LENS] > FOCUS_STRONG
    near = worst > WEAK
    if not bool(use.all()):
        inner = dilate((~use).float()[None], LENS)[0] < 0.5
        seeds, near = seeds & inner, near & inner
    return _whole(grown(seeds, near), LENS**2)


def _whole(mask: Tensor, least: int) -> Tensor:
    """The parts of a mask that have `least` pixels, closed, without small holes, and a little larger."""
    pieces, sizes = regions(mask)
    large = torch.from_numpy(np.append(0, sizes) >= least)[pieces]
    closed = -dilate(-dilate(large.float()[None], CLOSE), CLOSE)[0]
    holes, sizes = regions(closed < 0.5)
    small = torch.from_numpy(np.append(closed.numel(), sizes) < HOLE * closed.numel())[holes]
    return dilate(torch.maximum(closed, small.float())[None], 3)[0] > 0.5


def _dull(frame: Tensor) -> Tensor:
    """(h, w) bool: clipped or crushed, so that edges may be missing."""
    brightest = frame.amax(0)
    return (_extreme(brightest, torch.maximum, 2) > CLIPPED) | (_extreme(brightest, torch.minimum, 2) < CRUSHED)


def _edges_differ(source: Tensor, target: Tensor) -> Tensor:
    """(h, w) bool: around here one frame has edges that the other lacks."""
    a, b = (field(_equalised(to_luma(frame)[0])) for frame in (source, target))
    products = torch.stack([(a * b).sum(0), a.square().sum(0), b.square().sum(0)])
    common, own, its = box(products[None], AROUND)[0]
    more = torch.maximum(own, its)
    return (common < EDGES * more) & (more > 0.1 * more.mean())


def _equalised(plane: Tensor) -> Tensor:
    """The share of a plane's pixels that are darker, so that dark parts have edges too."""
    ranks = (plane.clamp(0.0, 1.0) * 1023).round().long()
    counts = torch.bincount(ranks.flatten(), minlength=1024).float()
    return ((counts.cumsum(0) - counts / 2) / counts.sum())[ranks]
