"""Restormer's blocks by compiled code (restormer.c), for the tensors that `takes_features` lets through."""

from __future__ import annotations

from ..arrays import Tensor, torch
from . import Kernels

PARTS = 4
"""Channels are a multiple of this."""


def gated_feed(found: Kernels, x: Tensor, weights: Tensor) -> Tensor:
    """x plus `models.unifusion.attention.FeedForward` of its norm, (B, C, H, W), channels last; weights as restormer.c
    says.

    Raises:
        MemoryError: there is no memory for a strip.
    """
    b, c, h, w = x.shape
    out = torch.empty_like(x)
    if found.run("gated_feed", x, b, h, w, c, weights, out):
        raise MemoryError
    return out


def channel_gram(
    found: Kernels, x: Tensor, y: Tensor, heads: int, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first half of `models.unifusion.attention.Attention`: queries of the norm of x, keys and values of the norm
    of y, both (B, C, H, W), channels last; weights as restormer.c says.

    Returns:
        Values (B, C, H, W), channels last; products of queries and keys, summed over pixels, (B, heads, c, c); lengths
        of queries and of keys (B, heads, c). Raises MemoryError as `gated_feed`.
    """
    b, c, h, w = x.shape
    value = torch.empty_like(x)
    gram = torch.zeros(b, heads, c // heads, c // heads, dtype=torch.float64)
    squares = torch.zeros(b, 2, heads, c // heads, dtype=torch.float64)
    if found.run("channel_gram", x, y, b, h, w, c, heads, weights, value, gram, squares):
        raise MemoryError
    sizes = squares.clamp_min(1e-24).sqrt()
    return value, gram, sizes[:, 0], sizes[:, 1]


def channel_mix(found: Kernels, x: Tensor, value: Tensor, mix: Tensor) -> Tensor:
    """x + mix value of each pixel: x and value (B, C, H, W), channels last, mix (B, C, C) -> as x. Raises MemoryError
    as `gated_feed`."""
    b, c, h, w = x.shape
    out = torch.empty_like(x)
    if found.run("channel_mix", x, value, b, h * w, c, mix.contiguous(), out):
        raise MemoryError
    return out
