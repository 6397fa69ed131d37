"""The sequence of DiTFuse (arXiv 2512.07170), which is OmniGen's (arXiv 2409.11340): what its tokens are, who attends
to whom, and where each token stands.

    sequence   text | image 1 | image 2 | time token | target
    mask       text is causal; tokens of one image attend to each other and to all before them; the time token attends
               to the condition; the target attends to everything
    positions  rotary, along the sequence (arXiv 2104.09864); and fixed sines and cosines of row and column, added to
               the tokens of images and target

Origin: written from the facts of OmniGen; no code was copied. Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import F, Tensor, torch
from ..latent.positions import Rotary

TEXT, FIRST, SECOND, TIME, TARGET = range(5)
"""Token types."""
TABLE, BASE = 192, 64
"""The fixed positions are a grid of 192 x 192 tokens whose coordinates run over 64; an image has the middle of it."""


def attention_mask(token_types: Tensor, valid: Tensor | None = None) -> Tensor:
    """Which token (row) attends to which (column).

    token_types: (T,), see TEXT to TARGET.
    valid: (B, T) bool, False for padding. Among padding a token attends to itself alone, so that no row is empty.
    Returns (1 or B, 1, T, T) bool.
    """
    order = torch.arange(len(token_types), device=token_types.device)
    causal = order[:, None] >= order[None]
    same_image = (token_types[:, None] == token_types[None]) & (token_types[:, None] != TEXT)
    mask = (causal | same_image)[None, None]
    if valid is not None:
        mask = (mask & valid[:, None, None]) | torch.eye(len(token_types), dtype=torch.bool, device=token_types.device)
    return mask


def sincos(height: int, width: int, dim: int, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Fixed positions (h*w, dim): sines and cosines of the column, then of the row.

    height, width: of the window in the middle of the grid, in tokens.
    shift: rows and columns that the window is moved by.
    """

    def along(count: int, off: int) -> Tensor:
        place = (torch.arange(count, dtype=torch.float64) + (TABLE - count) // 2 + off) * BASE / TABLE
        frequency = 10_000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
        angles = place[:, None] * frequency
        return torch.cat([angles.sin(), angles.cos()], 1).float()  # (count, dim/2)

    rows, cols = along(height, shift[0]), along(width, shift[1])
    return torch.cat([cols[None].expand(height, -1, -1), rows[:, None].expand(-1, width, -1)], -1).flatten(0, 1)


def line_positions(valid: Tensor) -> Tensor:
    """(B, T, 3) for valid tokens (B, T): the place in the sequence, padding not counted; no row, no column."""
    order = (valid.cumsum(1) - 1).clamp_min(0)
    return F.pad(order[..., None].float(), (0, 2))


def line_angles(positions: Tensor, dim: int) -> Tensor:
    """(B, T, dim/2): all channels of a head turn with the place in the sequence (positions (B, T, 3))."""
    pairs = dim // 2
    return positions[..., :1] * 10_000 ** -(torch.arange(pairs, device=positions.device) / pairs)


def rotary(angles: Tensor) -> Rotary:
    """Angles (B, T, dim/2) -> cosines and sines (B, 1, T, dim) for `latent.positions.rotate`."""
    angles = angles.repeat(1, 1, 2)[:, None]
    return angles.cos(), angles.sin()
