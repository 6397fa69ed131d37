"""Measures of likeness: mutual information, a second witness of whether two images lie over each other; ranks."""

from __future__ import annotations

from ..arrays import Tensor, torch


def normalised_mutual_information(a: Tensor, b: Tensor, where: Tensor, levels: int = 32) -> float:
    """Normalised mutual information (Studholme, Hill, Hawkes 1999) of two planes (H, W) in [0, 1], from 1 to 2.

    where: (H, W) bool, the pixels that count; 1.0 where there are none.  levels: of each image.
    """
    x, y = ((plane[where] * (levels - 1)).round().long().clamp_(0, levels - 1) for plane in (a, b))
    if not len(x):
        return 1.0
    joint = torch.bincount(x * levels + y, minlength=levels * levels).double().view(levels, levels) / len(x)
    both = _entropy(joint.flatten())
    return 1.0 if both == 0 else (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both


def _entropy(shares: Tensor) -> float:
    return -float((shares * shares.clamp_min(1e-12).log()).sum())


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation of two flat tensors, -1 to 1; equal values have ranks in their order."""
    ranks = torch.stack([values.argsort().argsort().float() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])
