"""What this DiTFuse has beyond the paper's network, each with a field of DiTFuseConfig that leaves it out.

    rope='grid'   rotary positions by row and column as well
    stretch       in training rotary positions lie farther apart, and the window of the fixed ones off the middle: small
                  crops teach the positions of large images
    aligned       each token of the target also gets a linear map of both images' latents at its place
    mix           the result is a share of each latent number of both images and of the noisy target, plus what is added
    detail        further output channels guide a path from the pixels around the codec: models/latent/detail.py
    mask          a head for segmentation: mask_head.py

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...arrays import Tensor, nn, torch
from ..latent.codec import LATENT
from ..latent.flow import mix_latents, velocity
from .config import DiTFuseConfig
from .sequence import FIRST, SECOND, sincos
from .transformer import Condition, Transformer, Velocity

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


@dataclass
class Extras:
    """What the additions take along with a condition."""

    local: Tensor | None  # (B, h*w, D), of `aligned`
    latents: Tensor | None  # (B, 2, 16, h, w) of the sources, for `mix`; zeros for an item without images
    shift: tuple[int, int]  # of the fixed positions, in tokens; drawn once per batch in training
    stretch: float  # of the rotary positions, likewise


class ExtendedTransformer(Transformer):
    """The paper's transformer with aligned tokens, positions of a grid and more output channels: latents, shares of x
    and of both sources (`mix`), guide (`detail`), in this order.
    """

    def __init__(self, c: DiTFuseConfig, latent: int = LATENT) -> None:
        super().__init__(c, latent, latent * (4 if c.mix else 1) + (c.guide if c.detail else 0))

    def embeddings(self, patch: int) -> None:
        """Also the map of `aligned`: both images' latents at a place -> token."""
        super().embeddings(patch)
        self.align = nn.Linear(2 * patch, self.config.width, bias=False) if self.config.aligned else None

    def extras(self, latents: Tensor | None, has_images: Tensor | None) -> Extras:
        """Draws the positions of a batch in training, and computes what `aligned` and `mix` need."""
        shift, stretch = draw_grid(self.config.stretch) if self.training else ((0, 0), 1.0)
        local = None
        if self.align is not None and latents is not None:
            local = self.align(torch.cat([self.patches(latents[:, k]) for k in (1, 0)], -1))
            local = local if has_images is None else local * has_images[:, None, None].to(local)
        if latents is not None and has_images is not None:
            latents = latents * has_images[:, None, None, None, None].to(latents)
        return Extras(local, latents, shift, stretch)

    def fixed_positions(self, size: tuple[int, int], extras: Extras) -> Tensor:
        """(h*w, D), of a window that training shifts."""
        return sincos(*size, self.config.width, extras.shift)

    def positions(
        self, token_types: Tensor, size: tuple[int, int], words: int, valid: Tensor, extras: Extras
    ) -> Tensor:
        """(1 or B, T, 3): along the sequence, or with rope 'grid' slot, row and column."""
        if self.config.rope == "line":
            return super().positions(token_types, size, words, valid, extras)
        return grid_positions(token_types, size, words, extras.stretch)

    def target_positions(self, token_types: Tensor, size: tuple[int, int], condition: Condition) -> Tensor:
        """As `positions`, of time and target alone."""
        if self.config.rope == "line":
            return super().target_positions(token_types, size, condition)
        return grid_positions(token_types, size, 0, condition.extras.stretch)

    def angles(self, positions: Tensor) -> Tensor:
        """(1 or B, T, d/2), of the sequence or of the grid."""
        if self.config.rope == "line":
            return super().angles(positions)
        return grid_angles(positions, self.config.width // self.config.heads)

    def target_tokens(self, x: Tensor, extras: Extras) -> Tensor:
        """(B, tokens, D), with the images' latents at their place."""
        y = super().target_tokens(x, extras)
        return y if extras.local is None else y + extras.local

    def predict(self, output: Tensor, tokens: Tensor, x: Tensor, t: Tensor, extras: Extras) -> Velocity:
        """The velocity, or with `mix` that to the shares of the latents; and the guide of the detail path."""
        c, n = self.config, self.latent
        v = output[:, :n]
        if c.mix:
            sources = extras.latents
            given = torch.zeros_like(x)[:, None].expand(-1, 2, -1, -1, -1) if sources is None else sources
            v = velocity(x, t, v + mix_latents(output[:, n : 4 * n], torch.cat([x[:, None], given], 1)))
        return Velocity(v, output[:, self.out_channels - c.guide :] if c.detail else None, tokens)


def build_transformer(c: DiTFuseConfig, latent: int = LATENT) -> Transformer:
    """The paper's transformer, with our additions where the configuration has any. latent: channels of a latent."""
    extended = c.mix or c.detail or c.aligned or c.rope == "grid" or c.stretch != 1
    return (ExtendedTransformer if extended else Transformer)(c, latent)
