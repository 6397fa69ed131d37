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
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import F, Tensor, torch
from ..errors import FusionError
from ..image.colour import to_luma
from ..image.cover import Window, dilate
from ..image.filters import box, gaussian_blur
from ..image.frame import Frame, Store, in_memory
from .ghosts import Deghosted, Ghosts, ghost_notes
from .information import rank_correlation
from .intensity_map import IntensityMap, fit_gains, fit_maps, map_frame
from .moved import CLIPPED, CRUSHED, LENS, moved_in_bracket, moved_in_focus
from .regions import regions
from .settings import DEGHOST_MODES, check_mode

__all__ = ["DEGHOST_MODES", "Deghosted", "Ghosts", "check_mode", "deghost", "ghost_notes"]

SIDE = 640  # longer side in pixels at which frames are compared
BRACKET = 1.15  # brightest over darkest mean from which frames are exposures, not a focus stack
SAME, LEAST_SAME = 0.78, 0.4  # rank correlation, or share of EQUAL values, of neighbours of one kind: mean, least
EQUAL = 0.08  # difference of values that are equal, in frames that are equally bright
CLEARLY = 0.02  # share of what moved that another frame must show better to be the one that shows it
MOST = 0.4  # share of a frame beyond which the frames are not of one scene
STRIP = 1 << 20  # pixels that are replaced together
SEAM = 3  # pixels at `SIDE` over which the replacement fades


def deghost(
    frames: Sequence[Frame], mode: str = "auto", store: Store = in_memory, reference: int | None = None
) -> Deghosted:
    """The frames with what moved taken from one of them.

    Args:
        frames: of one scene and one size, aligned.
        mode: 'auto' leaves frames of different sensors alone, and a frame that differs too much; 'on' takes all as
            exposures or as a focus stack; 'off' does nothing.
        store: where the pixels of changed frames go.
        reference: index of the frame that shows the moved things; None: the best exposed one, or of a focus stack the
            sharpest one at each place.

    Raises:
        FusionError: an unknown mode, or no such frame.
    """
    check_mode(mode)
    if reference is not None and not -len(frames) <= reference < len(frames):
        raise FusionError(f"deghost_reference {reference} is not one of the {len(frames)} images; count from 0")
    reference = None if reference is None else reference % len(frames)
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
    if bracket:
        patches = _in_bracket(small, visible, lit, most, reference)
        better = _better_where_moved(small, lit, patches) if reference is None else None
        if better is not None:
            patches = _in_bracket(small, visible, lit, most, better)
    else:
        patches = _in_focus(small, visible, reference)
    return _apply(frames, patches, most, store)


@dataclass(frozen=True)
class _Patch:
    """A frame shows another one where the mask says so."""

    frame: int
    source: int
    maps: list[IntensityMap]  # of each channel and of luma, from the source to the frame
    mask: Tensor  # (h, w) in [0, 1] at the size of the comparison


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


def _soft(mask: Tensor) -> Tensor:
    """1 on the mask, falling to 0 within `SEAM` pixels outside it."""
    wide = dilate(mask.float()[None], SEAM)
    return gaussian_blur(wide[None], SEAM / 2, SEAM)[0, 0].clamp(0, 1) * wide[0] if bool(mask.any()) else mask.float()


def best_exposed(small: Sequence[Tensor], lit: Sequence[float]) -> int:
    """Which frame of a bracket clips least and is of middle brightness; of three or more not the first or the last."""

    def quality(k: int) -> float:
        luma = to_luma(small[k])
        return float(((luma > 0.04) & (luma < 0.96)).float().mean()) - abs(lit[k] - 0.45)

    return max(_inner(lit), key=lambda k: (quality(k), -k))


def _inner(lit: Sequence[float]) -> list[int]:
    """The frames by brightness; of three or more without the first and the last."""
    order = sorted(range(len(lit)), key=lambda k: (lit[k], k))
    return order[1:-1] or order


def _better_where_moved(small: Sequence[Tensor], lit: Sequence[float], patches: Sequence[_Patch]) -> int | None:
    """A frame that clips and crushes clearly less than the best exposed one where things moved; None: there is none.

    People before a sunlit wall are to come from a frame that shows the wall.
    """
    if not patches:
        return None
    moved = torch.stack([patch.mask for patch in patches]).amax(0) > 0.5

    def shown(k: int) -> float:
        fair = (small[k].amax(0) <= CLIPPED) & (to_luma(small[k])[0] >= CRUSHED)
        return float((fair & moved).float().mean()) / max(float(moved.float().mean()), 1e-9)

    now, best = best_exposed(small, lit), max(_inner(lit), key=lambda k: (shown(k), -k))
    return best if shown(best) > shown(now) + CLEARLY else None


def _in_bracket(
    small: Sequence[Tensor], visible: Sequence[Tensor], lit: Sequence[float], most: float, reference: int | None
) -> list[_Patch]:
    """From the frame that is shown on, or else the best exposed one, each frame against the neighbour nearer to it.

    A frame that differs in a share of more than `most` stays as it is, and the next one is compared past it.
    """
    order = sorted(range(len(small)), key=lambda k: (lit[k], k))
    middle = order.index(best_exposed(small, lit) if reference is None else reference)
    patches = []
    for path in (order[middle:], order[middle::-1]):
        near, last = path[0], small[path[0]]
        for k in path[1:]:
            source, target = _alike(last, small[k])
            both = visible[near] & visible[k]
            moved = moved_in_bracket(source, target, both) & both
            if bool(moved.any()):  # again, by maps to which the moved things add nothing
                moved = moved_in_bracket(source, target, both & ~moved) & both
            if bool(moved.any()):
                maps, soft = fit_maps(source, target, both & ~moved), _soft(moved) * both
                patches.append(_Patch(k, near, maps, soft))
                if float(soft.mean()) > most:
                    continue
                target = torch.lerp(target, map_frame(source, maps), soft)
            near, last = k, target
    return patches


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two frames (1 or 3, h, w) with as many channels each."""
    count = max(len(a), len(b))
    return a.expand(count, -1, -1), b.expand(count, -1, -1)


def _in_focus(small: Sequence[Tensor], visible: Sequence[Tensor], reference: int | None) -> list[_Patch]:
    """Each frame against the one that is shown, or else the middle one, and then each moved region comes from the frame
    that is sharpest there.
    """
    middle = reference if reference is not None else len(small) // 2 if len(small) > 2 else 0
    blurred = [gaussian_blur(x[None], LENS, 3 * LENS)[0] for x in small]
    union = torch.zeros(small[0].shape[1:], dtype=torch.bool)
    for k in range(len(small)):
        if k != middle:
            source, target = _alike(blurred[middle], blurred[k])
            both = visible[middle] & visible[k]
            union |= moved_in_focus(source, target, both) & both
    if not bool(union.any()):
        return []
    numbers, sizes = regions(union)
    detail = [_detail(to_luma(x)[0]) for x in small]
    patches = []
    for number in range(1, len(sizes) + 1):
        mask = numbers == number
        sharpest = max(range(len(small)), key=lambda k: (float(detail[k][mask].mean()), -k))
        sharpest = sharpest if reference is None else reference
        for k in range(len(small)):
            if k != sharpest:
                source, target = _alike(small[sharpest], small[k])
                both = visible[k] & visible[sharpest]
                patches.append(_Patch(k, sharpest, fit_gains(source, target, both), _soft(mask) * both))
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
            _patch(changed, out[patch.source], patch.maps, window, soft)
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


def _patch(frame: Frame, source: Frame, maps: Sequence[IntensityMap], window: Window, soft: Tensor) -> None:
    """Writes the source's values, mapped, into the frame where `soft` says so within the window, in its depth."""
    pixels = frame.pixels
    top, step = window[0].start, max(1, STRIP // max(1, soft.shape[1]))
    for start in range(0, soft.shape[0], step):
        share = soft[start : start + step]
        part = (slice(top + start, top + start + len(share)), window[1])
        for one in (frame, source):  # the mask is of a smaller size, and reaches over the rim of what is opaque
            share = share if one.is_opaque else share * (one.cover(part)[0] > 0.99)
        own, other = _alike(frame.read(part), source.read(part))
        mixed = torch.lerp(own, map_frame(other, maps), share)
        if len(mixed) > frame.channels:
            mixed = mixed.mean(0, keepdim=True)
        changed = (share > 1e-3).numpy()
        pixels[part][changed] = frame.stored_values(mixed)[changed]
