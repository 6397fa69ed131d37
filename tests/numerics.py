"""How far two results of the same float32 arithmetic may lie apart, where a library may order its sums otherwise."""

from __future__ import annotations

import torch
from torch import nn

UNIT = torch.finfo(torch.float32).eps / 2
"""Largest relative error of one rounded operation."""


def longest_sum(model: nn.Module) -> int:
    """Terms of the longest sum that a linear layer or a convolution of the model computes."""
    return max(p[0].numel() for p in model.parameters() if p.ndim > 1)


def rounding(terms: int, magnitude: float = 1.0) -> float:
    """Bound on the rounding error of a sum of products whose magnitudes add up to `magnitude`: terms x unit x
    magnitude.

    Higham, Accuracy and Stability of Numerical Algorithms, section 3.1. The order of the terms decides the error, and
    batch size, threads and instruction set decide the order.
    """
    return terms * UNIT * magnitude
