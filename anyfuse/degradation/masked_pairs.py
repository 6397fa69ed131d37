"""Multi-degradation masked pairs from one image, the self-supervision of DiTFuse (arXiv 2512.07170).

The image is cut into tiles. Each tile is degraded in one of two views, so that every place is clean in exactly one of
them, and a fusion model has to find it: the target is the image itself. Tile sizes are 16, 32, 64 in the paper, 32, 64,
128 in its code.

By default two things differ from the released code. There each tile is blurred by itself, which leaves seams at
tile borders that a model can learn to look for; here the whole image is blurred and the tile pasted from it
(`M3(local_blur=True)`: as there). And both views always share their tones there, so that a model only learns to copy
the clean tile; `M3(complements=True)` changes the tones of one view, as two sensors differ.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..errors import FusionError
from ..image.colour import to_luma
from ..image.random import integer, uniform
from .operation import mirror, separable, surroundings

PAPER_TILES = (16, 32, 64)
CODE_TILES = (32, 64, 128)
KERNELS = (3, 5, 7, 9, 11)


@dataclass(frozen=True)
class M3:
    """Settings of masked pairs."""

    tiles: tuple[int, ...] = PAPER_TILES  # sizes in pixels, one drawn per image; the paper's, CODE_TILES in its code
    both: float = 0.0  # share of tiles degraded in both views, 0 to 1, at least one tile if not 0; 0.25 in the code
    local_blur: bool = False  # each tile is blurred by itself, which leaves seams, as in the code
    complements: bool = False  # one view has other tones, as two sensors differ; ours


def m3_pair(image: Tensor, gen: Generator, config: M3 = M3()) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Image (1 or 3, H, W) in [0, 1] of any size -> views (2, C, H, W) in [0, 1], degraded (2, H, W) bool, what was
    done.

    degraded: where each view is degraded: in exactly one at each place, but in both in the tiles drawn for
    `config.both`. Tiles at the right and lower border are cut off. With `complements` the tones of one view are changed
    first, and its clean tiles have those tones. Deterministic given the state of the CPU generator. Raises FusionError
    for other shapes and settings.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise FusionError(f"m3: shape {tuple(image.shape)} is no image; give (1 or 3, H, W)")
    if not config.tiles or min(config.tiles) < 1:
        raise FusionError(f"m3: tiles of {config.tiles} pixels; give one or more sizes of at least 1, as 16, 32, 64")
    if not 0 <= config.both <= 1:
        raise FusionError(
            f"m3: both = {config.both:g} is not in 0 to 1; give the share of tiles degraded in both views"
        )
    height, width = image.shape[-2:]
    size = config.tiles[integer(0, len(config.tiles) - 1, gen)]
    bases, tones = complement(image, gen) if config.complements else (torch.stack([image, image]), None)
    views = bases.clone()
    degraded = torch.zeros((2, height, width), dtype=torch.bool, device=image.device)
    corners = [(top, left) for top in range(0, height, size) for left in range(0, width, size)]
    shared = max(1, int(config.both * len(corners))) if config.both else 0
    twice = set(torch.randperm(len(corners), generator=gen)[:shared].tolist())
    counts: Counter[str] = Counter()
    for index, (top, left) in enumerate(corners):
        place = slice(top, min(top + size, height)), slice(left, min(left + size, width))
        name, first = ("mask", "noise", "blur")[integer(0, 2, gen)], integer(0, 1, gen)
        counts[name] += 1
        for view in (0, 1) if index in twice else (first,):
            views[view, :, place[0], place[1]] = degraded_tile(name, bases[view], place, gen, config.local_blur)
            degraded[view, place[0], place[1]] = True
    done: dict[str, Any] = {"tile": size, "tiles": len(corners), "both": shared, **counts}
    return views, degraded, done | ({"complement": tones} if tones else {})


def degraded_tile(
    name: str, image: Tensor, place: tuple[slice, slice], gen: Generator, local_blur: bool = False
) -> Tensor:
    """The tile `place` of an image (C, H, W), degraded by "mask", "noise" or "blur" with parameters drawn: (C, h, w).

    mask: uniform noise, nothing of the image. noise: Gaussian of 10 to 35 / 255, or 1 to 3 % of salt and pepper,
    evenly.
    blur: Gaussian (sigma 0.8 to 3), mean or median, evenly, over 3 to 11 pixels; the window is cut from the blurred
    whole image, or of the tile blurred alone.
    """
    tile = image[:, place[0], place[1]]
    channels, height, width = tile.shape
    if name == "mask":
        return torch.rand(tile.shape, generator=gen).to(image)
    if name == "noise" and uniform(0, 1, gen) < 0.5:
        return (tile + uniform(10, 35, gen) / 255 * torch.randn(tile.shape, generator=gen).to(image)).clamp(0, 1)
    if name == "noise":
        spots = int(uniform(0.01, 0.03, gen) * height * width)
        where = torch.randint(0, height * width, (spots,), generator=gen).to(
            image.device
        )  # with repetition, as in the code
        flat = tile.reshape(channels, -1).clone()
        flat[:, where[: spots // 2]], flat[:, where[spots // 2 :]] = 1.0, 0.0
        return flat.view_as(tile)
    side, kind, sigma = KERNELS[integer(0, len(KERNELS) - 1, gen)], integer(0, 2, gen), uniform(0.8, 3, gen)
    margin = side // 2
    padded = mirror(tile, margin) if local_blur else surroundings(image, *place, margin)
    if kind == 2:
        windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # (C, h, w, side, side)
        return windows.flatten(3).median(-1).values
    taps = torch.exp(-0.5 * ((torch.arange(side) - margin) / sigma) ** 2) if kind == 0 else torch.ones(side)
    return separable(padded, taps / taps.sum()).clamp(0, 1)  # taps that sum to 1 but for rounding


def complement(image: Tensor, gen: Generator) -> tuple[Tensor, dict[str, Any]]:
    """Image (C, H, W) -> two views (2, C, H, W) of it, one of them with other tones, and which: {"view", "tones",
    parameters}.

    Evenly drawn: contrast (values drawn to the mean by 0.4 to 0.7 and shifted), inversion (luma inverted, grey),
    thermal (grey, a smooth random curve of luma that need not rise). The two grey ones lack the colours, as an infrared
    image does.
    """
    view, kind = integer(0, 1, gen), ("contrast", "inversion", "thermal")[integer(0, 2, gen)]
    luma = to_luma(image).expand_as(image)
    done: dict[str, Any] = {"view": view, "tones": kind}
    if kind == "contrast":
        factor, shift = uniform(0.4, 0.7, gen), uniform(-0.15, 0.15, gen)
        other = (luma.mean() + shift + factor * (image - luma.mean())).clamp(0, 1)
        done |= {"factor": round(factor, 3), "shift": round(shift, 3)}
    elif kind == "inversion":
        other = 1 - luma
    else:
        knots = torch.rand(5, generator=gen)
        knots = (knots - knots.min()) / (knots.max() - knots.min()).clamp_min(1e-3) * 0.9 + 0.05
        table = F.interpolate(knots[None, None, :, None], (1024, 1), mode="bicubic", align_corners=True)
        level = (luma * 1023).clamp(0, 1023)
        low = level.floor().long().clamp_max(1022)
        curve = table.flatten().clamp(0, 1).to(image)
        other = curve[low] + (level - low) * (curve[low + 1] - curve[low])
        done["curve"] = [round(v, 3) for v in knots.tolist()]
    return torch.stack([other, image] if view == 0 else [image, other]), done
