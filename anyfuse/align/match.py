"""Blocks of one field found in another: where each lies, to a part of a pixel, and how much it counts."""

from __future__ import annotations

import math

from ..arrays import F, Tensor, torch
from .field import fast_size

Points = tuple[Tensor, Tensor, Tensor]  # centres (K, 2), where they are found (K, 2), weights (K,)


class Blocks:
    """Blocks of a reference's field, ready to be found in others.

    Args:
        planes: field (2, H, W).
        block, stride: side and distance of the blocks in pixels.
        reach: how far a block is searched for, in pixels.
        starts: rows and columns where blocks begin; None: by the stride.
    """

    def __init__(
        self, planes: Tensor, block: int, stride: int, reach: int, starts: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self.reach, self.block = reach, min(block, *planes.shape[1:])
        self.rows, self.cols = starts or tuple(_starts(side, self.block, stride) for side in planes.shape[1:])
        parts = _cut(planes[None], self.rows, self.cols, self.block)  # (1, 2, R, C, block, block)
        self.own = parts[0].square().sum((0, 3, 4)).flatten()
        self.size = fast_size(self.block + 2 * reach)
        self.spectrum = torch.fft.rfft2(parts, (self.size, self.size)).conj()
        middle = (self.block - 1) / 2
        grid = torch.meshgrid(self.rows.float() + middle, self.cols.float() + middle, indexing="ij")
        self.centres = torch.stack([grid[1].flatten(), grid[0].flatten()], 1)

    def find(self, planes: Tensor) -> list[Points]:
        """Where the blocks are in each of J fields (J, 2, H, W) of the reference's size."""
        return [self._points(s.flatten(0, 1)) for s in self.scores(planes)]

    def scores(self, planes: Tensor) -> Tensor:
        """How well each block agrees with each of J fields (J, 2, H, W) under each shift: (J, R, C, span, span)."""
        reach, block = self.reach, self.block
        padded = F.pad(planes, (reach,) * 4)
        parts = _cut(padded, self.rows, self.cols, block + 2 * reach)
        spectrum = torch.fft.rfft2(parts, (self.size, self.size))
        cross = torch.fft.irfft2((self.spectrum * spectrum).sum(1), (self.size, self.size))
        span = 2 * reach + 1
        cross = cross[..., :span, :span]  # (J, R, C, span, span)
        energy = _box_sums(padded.square().sum(1), self.rows, self.cols, block, span)
        own = self.own.view(len(self.rows), len(self.cols), 1, 1)
        return cross / (own * energy.clamp_min(1e-6)).sqrt().clamp_min(1e-6)

    def _points(self, score: Tensor) -> Points:
        """Peaks of the scores (K, span, span), to a part of a pixel by parabolas."""
        span = score.shape[2]
        flat = score.flatten(1)
        peak, index = flat.max(1)
        row, col = index // span, index % span
        inner = (row > 0) & (row < span - 1) & (col > 0) & (col < span - 1)
        keep = inner & (self.own > 0.1 * self.own.mean()) & (peak > 0.05)
        score, flat, peak, row, col = score[keep], flat[keep], peak[keep], row[keep], col[keep]
        item = torch.arange(len(score))
        dx = _vertex(score[item, row, col - 1], peak, score[item, row, col + 1])
        dy = _vertex(score[item, row - 1, col], peak, score[item, row + 1, col])
        if not len(flat):
            return torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0)
        spread = flat.std(1).clamp_min(1e-6)
        weights = ((peak - flat.mean(1)) / spread - 1.5).clamp(0, 4) * peak.clamp(0, 1)
        centres = self.centres[keep]
        return centres, centres + torch.stack([col + dx - self.reach, row + dy - self.reach], 1), weights


def _starts(side: int, block: int, stride: int) -> Tensor:
    """Where blocks begin, evenly, at both ends too."""
    count = max(1, math.ceil((side - block) / stride)) + 1 if side > block else 1
    return torch.tensor([round(k * (side - block) / max(1, count - 1)) for k in range(count)])


def _cut(planes: Tensor, rows: Tensor, cols: Tensor, size: int) -> Tensor:
    """Planes (J, C, H, W) -> their parts (J, C, R, K, size, size) that begin at rows and columns."""
    windows = planes.unfold(2, size, 1).unfold(3, size, 1)  # a view
    return windows[:, :, rows[:, None], cols[None]]


def _box_sums(energy: Tensor, rows: Tensor, cols: Tensor, block: int, span: int) -> Tensor:
    """Sums of energy (J, H, W) over blocks, for each of span x span shifts -> (J, R, C, span, span)."""
    total = F.pad(energy.cumsum(1).cumsum(2), (1, 0, 1, 0))
    shift = torch.arange(span)
    ys, xs = rows[:, None] + shift, cols[:, None] + shift  # (R, span), (C, span)
    strips = total[:, ys + block] - total[:, ys]  # (J, R, span, W)
    sums = strips[..., xs + block] - strips[..., xs]  # (J, R, span, C, span)
    return sums.permute(0, 1, 3, 2, 4)


def _vertex(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """Where the parabola through three values has its top, from the middle one."""
    bend = (left - 2 * middle + right).clamp_max(-1e-6)
    return ((left - right) / (2 * bend)).clamp(-0.5, 0.5)
