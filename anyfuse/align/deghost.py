"""What moved between the frames of a bracket or a focus stack is taken from one frame.

kind       frames of one kind are recognised by the order of their brightness; those of other sensors are left
           alone
map        each frame is predicted from its neighbour by a rising map of intensities, with its spread (a bracket), or
           by a gain (a focus stack, compared where lens blur cannot tell them apart)
mask       what differs from the prediction by more than the spread and the values around can explain; by hysteresis
replace    there the frame shows its neighbour, mapped: the same scene at its own exposure, so nothing steps

A bracket is chained from its best exposed frame to darker and to brighter ones. In a focus stack each moved region is
taken from the frame that is sharpest there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import FusionError
from ..image.colour import to_luma
from ..image.cover import Window, dilate
from ..image.filters import box, extreme3, gaussian_blur
from ..image.stack import Frame, Store, in_memory
from .evening import Evened
from .field import field
from .information import rank_correlation
from .regions import grown, regions

DEGHOST_MODES = ("off", "auto", "on")
SIDE = 640  # longer side in pixels at which frames are compared
BRACKET = 1.15  # brightest over darkest mean from which frames are exposures, not a focus stack
SAME, LEAST_SAME = 0.78, 0.4  # rank correlation, or share of EQUAL values, of neighbours of one kind: mean, least
EQUAL = 0.08  # difference of values that are equal, in frames that are equally bright
STRONG = 0.10  # how far beyond the expected interval some of a moved thing lies, in a bracket
FOCUS_STRONG = 0.12  # the same in a focus stack
WEAK = 0.03  # how far beyond it all of a moved thing lies
EDGES = 0.5  # agreement of the edges from which nothing has moved
BACK = 3.0  # how much more a difference counts in the other frame's values
AROUND = 7  # pixels at `SIDE` within which edges are compared
NEAR = 16  # pixels at `SIDE` around different values within which different edges count
CLOSE = 8  # pixels at `SIDE`: gaps of up to twice this within a moved thing belong to it
NOISE, HUES = 0.03, 0.10  # by which the expected interval of luma, and of channels, is widened
PLAY = 0.02  # tolerance of the source's values before they are mapped
FAIR, BLIND = 0.92, 0.99  # values of the source up to which channels are mapped alone, and from which by luma
CLIPPED, CRUSHED = 0.94, 0.04  # values of the source beyond which the target may have any
BINS, LEVELS = 64, 256  # steps of the values that are mapped, and of those that they become
SMOOTH = np.array([1, 2, 3, 2, 1]) / 9  # of neighbouring values of the map
SPREAD = 3.7  # how many half distances of the quartiles are expected: 2.5 deviations
LENS = 10  # pixels at `SIDE`: frames of a focus stack are compared with details up to this size blurred away
LEAST = 24  # pixels at `SIDE` that a moved thing has
HOLE = 0.05  # share of the picture that may be enclosed by a moved thing and belong to it
MOST = 0.4  # share of a frame beyond which the frames are not of one scene
STRIP = 1 << 20  # pixels that are replaced together
SEAM = 3  # pixels at `SIDE` over which the replacement fades


@dataclass(frozen=True)
class Ghosts:
    """What was replaced in one frame, for the report."""

    name: str  # of the frame
    source: str  # of the frame that shows the moved things; 'several' where regions have their own
    replaced: float  # share of the pixels
    trusted: bool = True  # False: too much differs, and the frame was left as it is

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "source": self.source, "replaced": round(self.replaced, 5), "trusted": self.trusted}


@dataclass(frozen=True)
class Deghosted:
    """Frames in which each thing is at one place.

    mask: (H, W) bool, where some frame was replaced; None: nowhere.
    evened: what was done before to the light of a focus stack.
    """

    frames: list[Frame]
    ghosts: list[Ghosts]
    mask: np.ndarray | None = None
    evened: Sequence[Evened] = ()


def check_mode(mode: str) -> None:
    """Raises FusionError for an unknown mode."""
    if mode not in DEGHOST_MODES:
        raise FusionError(f"--deghost {mode}: give {', '.join(DEGHOST_MODES)}")


def deghost(
    frames: Sequence[Frame], mode: str = "auto", store: Store = in_memory, shown: int | None = None
) -> Deghosted:
    """The frames with what moved taken from one of them.

    Args:
        frames: of one scene and one size, aligned.
        mode: 'auto' leaves frames of different sensors alone, and a frame that differs too much; 'on' takes all as
            exposures or as a focus stack; 'off' does nothing.
        store: where the pixels of changed frames go.
        shown: index of the frame that shows the moved things; None: the best exposed one, or of a focus stack the
            sharpest one at each place.

    Raises:
        FusionError: an unknown mode, or no such frame.
    """
    check_mode(mode)
    if shown is not None and not -len(frames) <= shown < len(frames):
        raise FusionError(f"deghost_reference {shown} is not one of the {len(frames)} images; count from 0")
    shown = None if shown is None else shown % len(frames)
    alone = Deghosted(list(frames), [])
    if mode == "off" or len(frames) < 2 or min(frames[0].height, frames[0].width) < 16:
        return alone
    lit = [frame.brightness for frame in frames]
    bracket = max(lit) > BRACKET * max(min(lit), 1e-3)
    if mode == "auto" and len({frame.is_grey for frame, mean in zip(frames, lit, strict=True) if mean > 0.02}) > 1:
        return alone
    small = [_reduced(frame) for frame in frames]
    if mode == "auto" and not _of_one_kind(small, lit, bracket):
        return alone
    visible = [_visible(frame) for frame in frames]
    most = MOST if mode == "auto" else 1.0
    patches = _in_bracket(small, visible, lit, most, shown) if bracket else _in_focus(small, visible, shown)
    return _apply(frames, patches, most, store)


@dataclass(frozen=True)
class _Patch:
    """A frame shows another one where the mask says so."""

    frame: int
    source: int
    curves: list[_Curve]  # of each channel and of luma, from the source to the frame
    mask: Tensor  # (h, w) in [0, 1] at the size of the comparison


class _Curve(NamedTuple):
    """What values become, at BINS + 1 knots over [0, 1]."""

    middle: np.ndarray  # rising
    spread: np.ndarray  # around it


def _reduced(frame: Frame) -> Tensor:
    """(C, h, w) in [0, 1]: means of squares of pixels, as many as bring the longer side to `SIDE` at most."""
    step = _step(frame)
    rows = max(step, (1 << 20) // frame.width // step * step)
    parts = []
    for top in range(0, frame.height, rows):
        planes = frame.read((slice(top, top + rows), slice(None)))
        right, below = -planes.shape[2] % step, -planes.shape[1] % step
        planes = F.pad(planes[None], (0, right, 0, below), mode="replicate")
        parts.append(F.avg_pool2d(planes, step)[0])
    small = torch.cat(parts, 1)
    return small.mean(0, keepdim=True) if frame.is_grey else small


def _visible(frame: Frame) -> Tensor:
    """(h, w) bool at the size of `_reduced`: opaque throughout."""
    step = _step(frame)
    if frame.is_opaque:
        return torch.ones(-(-frame.height // step), -(-frame.width // step), dtype=torch.bool)
    gone = F.pad((frame.cover() < 0.99).float()[None], (0, -frame.width % step, 0, -frame.height % step))
    return F.max_pool2d(gone, step)[0, 0] < 0.5


def _step(frame: Frame) -> int:
    """Pixels of a side that become one."""
    return -(-max(frame.height, frame.width) // SIDE)


def _of_one_kind(small: Sequence[Tensor], lit: Sequence[float], bracket: bool) -> bool:
    """Whether the frames show the same values but for exposure, or for focus: neighbours do, as a rule."""
    order = sorted(range(len(small)), key=lambda k: (lit[k], k)) if bracket else list(range(len(small)))
    found = []
    for a, b in itertools.pairwise(order):
        one, other = (_thumbnail(to_luma(small[k])) for k in (a, b))
        use = (one > 0.02) & (other > 0.02) & (one < 0.98) & (other < 0.98)
        if int(use.sum()) < 64:
            continue  # nothing to tell by: the maps are open there too
        one, other = one[use], other[use]
        if bracket:
            found.append(rank_correlation(one, other))
        else:
            found.append(float(((one - other).abs() < EQUAL).float().mean()))
    return not found or (sum(found) / len(found) >= SAME and min(found) > LEAST_SAME)


def _thumbnail(plane: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(plane[None], (min(48, plane.shape[-2]), min(64, plane.shape[-1]))).flatten()


def _curve(source: Tensor, target: Tensor) -> _Curve:
    """What values of one plane become in another, both flat, by the quartiles of each value; to either end in
    proportion.
    """
    pairs = (source * BINS).round().long().mul_(LEVELS).add_((target * (LEVELS - 1)).round().long())
    joint = torch.bincount(pairs, minlength=(BINS + 1) * LEVELS).view(BINS + 1, LEVELS).numpy()
    counts, shares = joint.sum(1), joint.cumsum(1)
    known = np.flatnonzero(counts >= 8)
    if not len(known):
        return _Curve(np.linspace(0, 1, BINS + 1), np.ones(BINS + 1))
    low, middle, high = (
        np.array([np.searchsorted(shares[k], share * counts[k]) for k in known]) / (LEVELS - 1)
        for share in (0.25, 0.5, 0.75)
    )
    knots = np.arange(BINS + 1)
    spread = np.interp(knots, known, SPREAD * (high - low) / 2)
    middle = _rising(middle, counts[known])
    most = min(1.0, middle[-1] * BINS / max(known[-1], 1))
    middle = np.interp(knots, [-1, *known, BINS + 1], [0.0, *middle, max(most, middle[-1])])
    smooth = np.convolve(np.pad(middle, 2, mode="reflect", reflect_type="odd"), SMOOTH, mode="valid")
    return _Curve(np.maximum.accumulate(smooth.clip(0.0, 1.0)), np.minimum(spread, 0.5))


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


def _through(curve: np.ndarray, plane: Tensor) -> Tensor:
    """A plane through a curve, by straight lines between its knots."""
    knots = torch.from_numpy(curve).to(plane.dtype)
    place = plane.clamp(0.0, 1.0).mul_(BINS)
    low = place.long().clamp_(max=BINS - 1)
    return torch.lerp(knots.take(low), knots.take(low + 1), place - low)


def _beyond(source: Tensor, target: Tensor, curves: Sequence[_Curve], reach: int) -> Tensor:
    """How far a frame leaves what the source lets expect within `reach` pixels, (h, w).

    Where the source is clipped the target may be brighter than expected, where it is crushed darker. Luma decides.
    Colours count where nothing is clipped, and with more play, since a camera renders each exposure a little
    differently.
    """
    brightest = source.amax(0)
    clipped = _extreme(brightest, torch.maximum, reach) > CLIPPED
    crushed = _extreme(brightest, torch.minimum, reach) < CRUSHED
    below, above = _left(to_luma(source)[0], to_luma(target)[0], curves[-1], reach, NOISE)
    worst = torch.maximum(below.masked_fill_(crushed, 0.0), above.masked_fill_(clipped, 0.0))
    if len(source) > 1:
        for x, y, curve in zip(source, target, curves, strict=False):
            beyond = torch.maximum(*_left(x, y, curve, reach, HUES))
            worst = torch.maximum(worst, beyond.masked_fill_(clipped | crushed, 0.0))
    return worst


def _left(x: Tensor, y: Tensor, curve: _Curve, reach: int, slack: float) -> tuple[Tensor, Tensor]:
    """How far plane y lies below and above what x, within `reach` pixels and PLAY, becomes by the curve."""
    lowest, highest = curve.middle - curve.spread - slack, curve.middle + curve.spread + slack
    below = _through(lowest, _extreme(x, torch.minimum, reach) - PLAY) - y
    above = y - _through(highest, _extreme(x, torch.maximum, reach) + PLAY)
    return below, above


def _mapped(frame: Tensor, curves: Sequence[_Curve]) -> Tensor:
    """A frame (C, h, w) through the curves of its channels. Where it is clipped, its luma through luma's curve and its
    colours in their ratio, since a clipped channel would change the hue.
    """
    luma = to_luma(frame)
    ratio = frame * (_through(curves[-1].middle, luma) / luma.clamp_min(1 / 255))
    own = curves[:-1] if len(curves) == len(frame) + 1 else [curves[-1]] * len(frame)
    each = torch.stack([_through(curve.middle, plane) for curve, plane in zip(own, frame, strict=True)])
    share = ((frame.amax(0, keepdim=True) - FAIR) / (BLIND - FAIR)).clamp_(0.0, 1.0)
    return torch.lerp(each, ratio, share).clamp_(0.0, 1.0)


def _extreme(plane: Tensor, choose: Callable[[Tensor, Tensor], Tensor], reach: int) -> Tensor:
    """The least or the largest value within `reach` pixels."""
    for _ in range(reach):
        plane = extreme3(plane, choose)
    return plane


def _curves(source: Tensor, target: Tensor, use: Tensor) -> list[_Curve]:
    """Of each channel, and of luma at the end, from the pixels to use (h, w) bool."""
    planes = [*zip(source, target, strict=True), (to_luma(source)[0], to_luma(target)[0])]
    return [_curve(x[use], y[use]) for x, y in planes]


def _gains(source: Tensor, target: Tensor, use: Tensor) -> list[_Curve]:
    """As `_curves`, each a straight line, for frames that should be equally bright."""
    gains = (target[:, use].mean(1) / source[:, use].mean(1).clamp_min(1e-3)).tolist()
    knots = np.linspace(0, 1, BINS + 1)
    return [_Curve((gain * knots).clip(0, 1), 0 * knots) for gain in [*gains, sum(gains) / len(gains)]]


def _moved_in_bracket(source: Tensor, target: Tensor, use: Tensor) -> Tensor:
    """(h, w) bool: what two exposures (C, h, w) do not have in common, by maps of the pixels to use (h, w).

    A moved thing leaves each frame beyond what the other lets expect, and its edges differ: both, since a frame in
    which little is lit foretells badly what a brighter one shows. From there it
    reaches as far as values differ, and around that as far as edges do.
    """
    there = _beyond(source, target, _curves(source, target, use), 1)
    back = _beyond(target, source, _curves(target, source, use), 1)
    seeds = torch.minimum(there, BACK * back) > STRONG
    if not bool(seeds.any()):
        return seeds
    differ = _edges_differ(source, target)
    sure = grown(seeds & differ, torch.maximum(there, back) > WEAK)
    near = dilate(sure.float()[None], NEAR)[0] > 0
    return _whole(grown(sure, sure | (near & differ & ~_dull(source) & ~_dull(target))), LEAST)


def _moved_in_focus(source: Tensor, target: Tensor, use: Tensor) -> Tensor:
    """(h, w) bool: what two frames (C, h, w) of a focus stack do not have in common, with details blurred away."""
    there = _beyond(source, target, _gains(source, target, use), LENS)
    back = _beyond(target, source, _gains(target, source, use), LENS)
    worst = torch.maximum(there, back)
    seeds = torch.zeros_like(worst, dtype=torch.bool)
    seeds[LENS:-LENS, LENS:-LENS] = worst[LENS:-LENS, LENS:-LENS] > FOCUS_STRONG  # what lies outside blurs in
    return _whole(grown(seeds, worst > WEAK), LENS**2)


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
    places = (plane.clamp(0.0, 1.0) * 1023).round().long()
    counts = torch.bincount(places.flatten(), minlength=1024).float()
    return ((counts.cumsum(0) - counts / 2) / counts.sum())[places]


def _soft(mask: Tensor) -> Tensor:
    """1 on the mask, falling to 0 within `SEAM` pixels outside it."""
    wide = dilate(mask.float()[None], SEAM)
    return gaussian_blur(wide[None], SEAM / 2, SEAM)[0, 0].clamp(0, 1) * wide[0] if bool(mask.any()) else mask.float()


def best_exposed(small: Sequence[Tensor], lit: Sequence[float]) -> int:
    """Which frame of a bracket clips least and is of middle brightness; of three or more not the first or the last."""
    order = sorted(range(len(small)), key=lambda k: (lit[k], k))
    inner = order[1:-1] or order

    def quality(k: int) -> float:
        luma = to_luma(small[k])
        return float(((luma > 0.04) & (luma < 0.96)).float().mean()) - abs(lit[k] - 0.45)

    return max(inner, key=lambda k: (quality(k), -k))


def _in_bracket(
    small: Sequence[Tensor], visible: Sequence[Tensor], lit: Sequence[float], most: float, shown: int | None
) -> list[_Patch]:
    """From the frame that is shown on, or else the best exposed one, each frame against the neighbour nearer to it.

    A frame that differs in a share of more than `most` stays as it is, and the next one is compared past it.
    """
    order = sorted(range(len(small)), key=lambda k: (lit[k], k))
    middle = order.index(best_exposed(small, lit) if shown is None else shown)
    patches = []
    for path in (order[middle:], order[middle::-1]):
        near, last = path[0], small[path[0]]
        for k in path[1:]:
            source, target = _alike(last, small[k])
            both = visible[near] & visible[k]
            moved = _moved_in_bracket(source, target, both) & both
            if bool(moved.any()):  # again, by maps to which the moved things add nothing
                moved = _moved_in_bracket(source, target, both & ~moved) & both
            if bool(moved.any()):
                curves, soft = _curves(source, target, both & ~moved), _soft(moved) * both
                patches.append(_Patch(k, near, curves, soft))
                if float(soft.mean()) > most:
                    continue
                target = torch.lerp(target, _mapped(source, curves), soft)
            near, last = k, target
    return patches


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two frames (1 or 3, h, w) with as many channels each."""
    count = max(len(a), len(b))
    return a.expand(count, -1, -1), b.expand(count, -1, -1)


def _in_focus(small: Sequence[Tensor], visible: Sequence[Tensor], shown: int | None) -> list[_Patch]:
    """Each frame against the one that is shown, or else the middle one, and then each moved region comes from the frame
    that is sharpest there.
    """
    middle = shown if shown is not None else len(small) // 2 if len(small) > 2 else 0
    blurred = [gaussian_blur(x[None], LENS, 3 * LENS)[0] for x in small]
    union = torch.zeros(small[0].shape[1:], dtype=torch.bool)
    for k in range(len(small)):
        if k != middle:
            source, target = _alike(blurred[middle], blurred[k])
            both = visible[middle] & visible[k]
            union |= _moved_in_focus(source, target, both) & both
    if not bool(union.any()):
        return []
    numbers, sizes = regions(union)
    detail = [_detail(to_luma(x)[0]) for x in small]
    patches = []
    for number in range(1, len(sizes) + 1):
        mask = numbers == number
        sharpest = max(range(len(small)), key=lambda k: (float(detail[k][mask].mean()), -k))
        sharpest = sharpest if shown is None else shown
        for k in range(len(small)):
            if k != sharpest:
                source, target = _alike(small[sharpest], small[k])
                both = visible[k] & visible[sharpest]
                patches.append(_Patch(k, sharpest, _gains(source, target, both), _soft(mask) * both))
    return patches


def _detail(plane: Tensor) -> Tensor:
    return (plane - box(plane[None, None], 2)[0, 0]).abs()


def _apply(frames: Sequence[Frame], patches: Sequence[_Patch], most: float, store: Store) -> Deghosted:
    """The frames with the patches, in their order, at full size; a frame beyond a share of `most` stays."""
    out = list(frames)
    shares = [
        min(1.0, sum(float(patch.mask.mean()) for patch in patches if patch.frame == k)) for k in range(len(frames))
    ]
    mask = np.zeros((frames[0].height, frames[0].width), bool)
    ghosts = []
    for k, frame in enumerate(frames):
        sources = sorted({patch.source for patch in patches if patch.frame == k})
        if sources:
            source = frames[sources[0]].name if len(sources) == 1 else "several"
            ghosts.append(Ghosts(frame.name, source, shares[k], shares[k] <= most))
    for k in dict.fromkeys(patch.frame for patch in patches):  # one frame at a time is copied and held
        own = [patch for patch in patches if patch.frame == k and bool(patch.mask.any())]
        if shares[k] > most or not own:
            continue
        changed = replace(out[k], pixels=out[k].pixels.copy())
        for patch in own:
            window, soft = _at_full_size(patch.mask, frames[0])
            mask[window] |= (soft > 0.5).numpy()
            _patch(changed, out[patch.source], patch.curves, window, soft)
        out[k] = changed.stored(store)
        del changed
    return Deghosted(out, ghosts, mask if mask.any() else None)


def _at_full_size(mask: Tensor, frame: Frame) -> tuple[Window, Tensor]:
    """The part of the frame where a mask (h, w) is not 0, and the mask there."""
    step = _step(frame)
    rows, columns = (torch.nonzero(mask.amax(dim) > 0)[:, 0].tolist() for dim in (1, 0))
    top, bottom = max(0, rows[0] - 1), min(mask.shape[0], rows[-1] + 2)
    left, right = max(0, columns[0] - 1), min(mask.shape[1], columns[-1] + 2)
    part = mask[None, None, top:bottom, left:right]
    if step > 1:
        part = F.interpolate(part, scale_factor=float(step), mode="bilinear", align_corners=False)
    window = (
        slice(top * step, min(bottom * step, frame.height)),
        slice(left * step, min(right * step, frame.width)),
    )
    height, width = window[0].stop - window[0].start, window[1].stop - window[1].start
    return window, part[0, 0, :height, :width].clamp(0.0, 1.0)


def _patch(frame: Frame, source: Frame, curves: Sequence[_Curve], window: Window, soft: Tensor) -> None:
    """Writes the source's values, mapped, into the frame where `soft` says so within the window, in its depth."""
    pixels = frame.pixels
    top, step = window[0].start, max(1, STRIP // max(1, soft.shape[1]))
    for start in range(0, soft.shape[0], step):
        share = soft[start : start + step]
        part = (slice(top + start, top + start + len(share)), window[1])
        own, other = _alike(frame.read(part), source.read(part))
        mixed = torch.lerp(own, _mapped(other, curves), share)
        if len(mixed) > frame.channels:
            mixed = mixed.mean(0, keepdim=True)
        changed = (share > 1e-3).numpy()
        pixels[part][changed] = frame.stored_values(mixed)[changed]


def ghost_notes(ghosts: Sequence[Ghosts]) -> list[str]:
    """A warning for each frame that differs too much from the others."""
    return [
        f"{ghost.name}: {ghost.replaced:.0%} of this image differs from "
        f"{'the other images' if ghost.source == 'several' else ghost.source}, so it was not deghosted and things may "
        "show twice; align the images, or leave this one out"
        for ghost in ghosts
        if not ghost.trusted
    ]
