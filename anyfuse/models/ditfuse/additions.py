"""What this DiTFuse has beyond the paper's network, each with a field of DiTFuseConfig that leaves it out.

    rope='grid'   rotary positions by row and column as well, and a drawn stretch in training: small crops teach the
                  positions of large images
    aligned       each token of the target also gets a linear map of both images' latents at its place
    mix           the result is a share of each latent number of both images and of the noisy target, plus what is added
    mask          a head for segmentation: mask_head.py
    detail        a path from the pixels around the codec: models/latent/detail.py

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .sequence import FIRST, SECOND

SHIFT = 40
"""In training the window of the fixed positions lies up to so many tokens off the middle."""


def draw_grid(stretch: float) -> tuple[tuple[int, int], float]:
    """For one batch of training: shift of the fixed positions in tokens, stretch of the rotary ones (1 to
    `stretch`).
    """
    rows, cols = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
    return (rows, cols), stretch ** float(torch.rand(()))


def grid_positions(token_types: Tensor, size: tuple[int, int], words: int, stretch: float) -> Tensor:
    """(1, T, 3): slot, row and column of each token.

    token_types: (T,) of words, images, time token and target, or of the last two alone.
    size: rows and columns of a grid of tokens.
    words: number of words in front. Their slots are -1, -2 ... from the last one; 1 and 2 are the images, 3 and 4 time
        and target.
    stretch: factor of rows and columns.
    """
    count, device = size[0] * size[1], token_types.device
    slot = token_types.float()
    slot[:words] = torch.arange(-words, 0, device=device)
    rows = torch.arange(size[0], device=device).repeat_interleave(size[1]) * stretch
    cols = torch.arange(size[1], device=device).repeat(size[0]) * stretch
    grid = torch.stack([rows, cols], 1).float()
    images = int((token_types == FIRST).sum()) // count + int((token_types == SECOND).sum()) // count
    middle = [grid.new_zeros(words, 2), *[grid] * images, grid.new_zeros(1, 2), grid]
    return torch.cat([slot[:, None], torch.cat(middle)], 1)[None]


def grid_angles(positions: Tensor, dim: int) -> Tensor:
    """(B, T, dim/2): a quarter of a head's channels turns with the slot, the rest evenly with row and column."""
    pairs = dim // 2
    slots = pairs // 4
    rows = (pairs - slots) // 2
    parts = []
    for axis, count in enumerate((slots, rows, pairs - slots - rows)):
        frequency = 100 ** -(torch.arange(count, device=positions.device) / count)
        parts.append(positions[..., axis, None] * frequency)
    return torch.cat(parts, -1)
