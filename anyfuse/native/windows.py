"""Blocks of window attention by compiled code (windows.c), for the tensors that `takes` lets through."""

from __future__ import annotations

from ..arrays import Tensor, torch
from . import Kernels

MOST_SIZE = 16
"""Channels of a head, at most."""


def packed(*tensors: Tensor) -> Tensor:
    """Weights one after the other, as the kernels read them."""
    return torch.cat([t.detach().flatten() for t in tensors])


def added(bias: Tensor, masks: Tensor | None) -> Tensor:
    """What is added to scores: bias (heads, 64 queries, 64 keys) of places, plus masks (4, 64, 64) of shifted windows
    -> (1 or 4, heads, 64 keys, 64 queries)."""
    kinds = bias[None] if masks is None else bias + masks[:, None]
    return kinds.detach().transpose(-1, -2).contiguous()


def swin_block(found: Kernels, x: Tensor, heads: int, shift: int, weights: Tensor, extra: Tensor) -> None:
    """`models.tita.windows.SwinBlock` over all windows of features (B, H, W, C), in place.

    shift: of the windows, in pixels. weights: `packed`. extra: of `added`, (1 or 4, heads, 64, 64).

    Raises:
        MemoryError: there is no memory for a window.
    """
    if found.run("swin_block", x, *x.shape, heads, shift, weights, extra):
        raise MemoryError


def isf_block(
    found: Kernels,
    x: Tensor,
    y: Tensor,
    heads: int,
    shift: int,
    flags: tuple[bool, bool, bool],
    weights: Tensor,
    extra: Tensor,
) -> None:
    """`models.tita.isf.ISF` over all windows of the features of two sources (B, H, W, C), in place.

    flags: each source attends to itself; there is an IPA; its phi is a sigmoid. weights: `packed`. extra: of `added`
    for x and for y, (2, 1 or 4, heads, 64, 64). Raises MemoryError as `swin_block`.
    """
    if found.run("isf_block", x, y, *x.shape, heads, shift, *map(int, flags), weights, extra):
        raise MemoryError
