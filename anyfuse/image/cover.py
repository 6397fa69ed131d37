"""What a stack shows where frames are transparent: the other frames, with soft passages."""

from __future__ import annotations

from ..arrays import F, Tensor, torch

Window = tuple[slice, slice]

SEAM = 8  # pixels over which a fused place passes into one that a single frame shows
FADE = 32  # pixels over which a frame fades in beside a large transparent part
STROKE = 6  # half the width in pixels of what is a stroke, as of a logo or a scale, and not a large part


def widened(window: Window, margin: int, height: int, width: int) -> tuple[Window, Window]:
    """The window with a margin, as far as the image goes; and where the window lies in it."""
    wide, part = [], []
    for place, side in zip(window, (height, width), strict=True):
        first, last, _ = place.indices(side)
        start = max(0, first - margin)
        wide.append(slice(start, min(side, last + margin)))
        part.append(slice(first - start, last - start))
    return (wide[0], wide[1]), (part[0], part[1])


def ramp(mask: Tensor, width: int) -> Tensor:
    """(1, h, w) of 0 and 1 -> 0 on the mask, rising to 1 over `width` pixels outside it."""
    half = width // 2
    inner = F.pad(1 - dilate(mask, half)[None], (half,) * 4, mode="replicate")
    for size in ((2 * half + 1, 1), (1, 2 * half + 1)):
        inner = F.avg_pool2d(inner, size, 1)
    return inner[0] * (1 - mask)


def dilate(mask: Tensor, radius: int) -> Tensor:
    """(1, h, w): the largest value within a square of 2 radius + 1 pixels."""
    for size, pad in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        mask = F.max_pool2d(mask[None], size, 1, pad)[0]
    return mask


def fill_transparent(sources: Tensor, cover: Tensor, colour: Tensor) -> Tensor:
    """Mixes each frame by its cover with the mean of the others.

    Args:
        sources: (N, C, h, w).
        cover: (N, 1, h, w) in [0, 1].
        colour: (C, 1, 1), for places that no frame covers.
    """
    total = cover.sum(0, keepdim=True)
    weighted = (cover * sources).sum(0, keepdim=True)
    covered = total > 1e-6
    common = torch.where(covered, weighted / total.clamp_min(1e-6), colour)
    others = total - cover
    mean = torch.where(others > 1e-6, (weighted - cover * sources) / others.clamp_min(1e-6), common)
    return torch.where(covered, torch.lerp(mean, sources, cover), common)
