"""Large images: read in strips for the search at 1600 pixels, and refined at full size by blocks here and there."""

from __future__ import annotations

import math

import numpy as np

from ..arrays import F, Tensor, torch
from ..image.colour import KB, KG, KR, to_luma
from ..image.cover import Window
from ..image.frame import Frame
from .estimate import LARGEST, Scene
from .field import field
from .match import Blocks
from .sampling import grid_sample
from .transform import KINDS, Kind, apply, coordinates, robust_fit

STRIP = 1 << 22  # pixels read together
BLOCK, REACH, EDGE = 96, 5, 3  # side of a block, how far it may move, and what the field needs around it, in pixels
ACROSS = 12  # blocks along the longer side
CHANGE = 4.0  # pixels by which the refined transform may differ at a corner


def scene_of(frame: Frame, largest: int = LARGEST, quick: bool = False) -> Scene:
    """Luma of the frame with a longer side of `largest` pixels at most, and where the frame is opaque.

    quick: whole pixels are averaged alone, so the side is up to twice as long.
    """
    side = max(frame.height, frame.width)
    step = max(1, side // largest)  # whole pixels are averaged first, strip by strip
    rows = max(1, STRIP // (frame.width * step)) * step
    lumas, covers = [], []
    for top in range(0, frame.height, rows):
        window = (slice(top, min(top + rows, frame.height)), slice(0, frame.width))
        lumas.append(_averaged(_luma(frame, window), step))
        if not frame.is_opaque:
            covers.append(_averaged(frame.cover(window)[0], step))
    luma, cover = torch.cat(lumas), torch.cat(covers) if covers else None
    factor = min(1.0, largest / side)
    size = [max(8, round(v * factor)) for v in (frame.height, frame.width)]
    if factor < 1.0 and not quick:
        luma = _shrunk(luma, size)
        cover = None if cover is None else _shrunk(cover, size)
    return Scene(luma, cover)


def _luma(frame: Frame, window: Window) -> Tensor:
    """Luma (h, w) of a window in [0, 1]; pixel by pixel, which is faster than plane by plane."""
    block = frame.pixels[window].astype(np.float32)
    weights = np.array([KR, KG, KB] if frame.channels == 3 else [1.0], np.float32) / np.float32(frame.white)
    return torch.from_numpy(block @ weights).clamp_(0.0, 1.0)


def _averaged(x: Tensor, step: int) -> Tensor:
    """Means of step x step pixels; fewer at the ends."""
    return x if step == 1 else F.avg_pool2d(x[None, None], step, ceil_mode=True, count_include_pad=False)[0, 0]


def _shrunk(x: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(x[None, None], size, mode="bilinear", antialias=True, align_corners=False)[0, 0]


def at_full_size(reference: Frame, frame: Frame, matrix: Tensor, kind: str) -> Tensor:
    """The matrix, refined by blocks of the images at their own size; as it is where the blocks say nothing sure."""
    side = max(reference.height, reference.width)
    patch = BLOCK + 2 * (REACH + EDGE)
    if kind not in KINDS or side <= LARGEST or min(reference.height, reference.width) < 2 * patch:
        return matrix
    across = [max(2, round(ACROSS * v / side)) for v in (reference.height, reference.width)]
    tops, lefts = (
        [round((k + 0.5) * (v - patch) / n) for k in range(n)]
        for v, n in zip((reference.height, reference.width), across, strict=True)
    )
    corners, first, other = [], [], []
    for top in tops:
        for left in lefts:
            where = coordinates(matrix, patch, patch, top, left)
            values = _patch(frame, where)
            if values is not None:
                corners.append((left, top))
                window = (slice(top, top + patch), slice(left, left + patch))
                first.append(field(to_luma(reference.read(window))[0])[:, EDGE:-EDGE, EDGE:-EDGE])
                other.append(field(values)[:, EDGE:-EDGE, EDGE:-EDGE])
    if len(corners) < 12:
        return matrix
    source, target, weights = _matched(first, other, torch.tensor(corners, dtype=torch.float32))
    if len(source) < 12:
        return matrix
    chosen: Kind = kind
    better, _ = robust_fit(chosen, source, apply(matrix, target.double()), weights, 1.0)
    ends = torch.tensor([[0, 0], [reference.width, 0], [0, reference.height], [reference.width, reference.height]])
    change = float((apply(better, ends.double()) - apply(matrix, ends.double())).norm(dim=1).max())
    return better if change < CHANGE else matrix


def _patch(frame: Frame, where: Tensor) -> Tensor | None:
    """Luma of the frame at places (h, w, 2), read from a window around them; None where they leave the frame."""
    low = where.amin((0, 1)).floor().int().tolist()
    high = where.amax((0, 1)).ceil().int().tolist()
    if low[0] < 1 or low[1] < 1 or high[0] > frame.width - 3 or high[1] > frame.height - 3:
        return None
    window: Window = (slice(low[1] - 1, high[1] + 3), slice(low[0] - 1, high[0] + 3))
    luma = to_luma(frame.read(window))
    local = where - torch.tensor([low[0] - 1.0, low[1] - 1.0])
    grid = (local + 0.5) * torch.tensor([2.0 / luma.shape[2], 2.0 / luma.shape[1]]) - 1
    return grid_sample(luma[None], grid[None], mode="bicubic", padding_mode="border")[0, 0]


def _matched(first: list[Tensor], other: list[Tensor], corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where patches lie in others, all joined into one picture: points of the full image, and weights."""
    side = BLOCK + 2 * REACH
    across = math.ceil(math.sqrt(len(first)))
    down = math.ceil(len(first) / across)

    def joined(patches: list[Tensor]) -> Tensor:
        whole = torch.zeros(2, down * side, across * side)
        for k, one in enumerate(patches):
            y, x = k // across * side, k % across * side
            whole[:, y : y + side, x : x + side] = one
        return whole

    begins = torch.arange(down) * side + REACH, torch.arange(across) * side + REACH
    blocks = Blocks(joined(first), BLOCK, side, REACH, begins)
    source, target, weights = blocks.find(joined(other)[None])[0]
    index = (source[:, 1] // side).long() * across + (source[:, 0] // side).long()
    index = index.clamp_max(len(first) - 1)
    shift = corners[index] + EDGE - torch.stack([index % across, index // across], 1) * side
    return source + shift, target + shift, weights
