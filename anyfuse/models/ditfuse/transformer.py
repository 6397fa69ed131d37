"""The transformer of DiTFuse (arXiv 2512.07170), a decoder over one sequence: text, image 1, image 2, time token,
target.

Sources: OmniGen (Xiao et al. 2024, arXiv 2409.11340) for the sequence and the mask; RMSNorm (Zhang and Sennrich 2019),
SwiGLU (Shazeer 2020), rotary positions (Su et al. 2021), AdaLN (DiT, Peebles and Xie 2023). Origin: written from their
formulas and the paper's facts; no code was copied. Licence: Apache-2.0.

    mask   text is causal; tokens of one image see each other and all before; the time token sees the condition; the
           target sees everything
    cache  the condition (text and images) never sees time or target, so its keys and values are the same at each step
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..latent.codec import LATENT
from ..latent.flow import mix_latents, velocity
from ..latent.positions import Rotary, rotate, sinusoid

if TYPE_CHECKING:
    from .config import DiTFuseConfig

TEXT, FIRST, SECOND, TIME, TARGET = range(5)
TABLE, BASE = 192, 64
"""The fixed positions: places of a grid of 192 x 192 tokens whose coordinates run over 64; an image has the middle of
it.
"""
SHIFT = 40
"""In training the window into the grid lies up to so many tokens off the middle, so that larger images have been seen.
"""

KeysValues = tuple[Tensor, Tensor]


def attention_mask(pieces: Tensor, valid: Tensor | None = None) -> Tensor:
    """pieces (T,): what each token belongs to; valid (B, T) bool: not padding -> who sees whom, (1 or B, 1, T, T) bool,
    rows see columns.

    A token that is padding sees itself alone of what is padding, so that no row is empty.
    """
    place = torch.arange(len(pieces), device=pieces.device)
    causal = place[:, None] >= place[None]
    together = (pieces[:, None] == pieces[None]) & (pieces[:, None] != TEXT)
    seen = (causal | together)[None, None]
    if valid is not None:
        seen = (seen & valid[:, None, None]) | torch.eye(len(pieces), dtype=torch.bool, device=pieces.device)
    return seen


def sincos(height: int, width: int, dim: int, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Fixed 2-D positions (h*w, dim): sines and cosines of the column, then of the row, of the window in the middle of
    the grid, shifted.
    """

    def along(count: int, off: int) -> Tensor:
        place = (torch.arange(count, dtype=torch.float64) + (TABLE - count) // 2 + off) * BASE / TABLE
        frequency = 10_000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
        angles = place[:, None] * frequency
        return torch.cat([angles.sin(), angles.cos()], 1).float()  # (count, dim/2)

    rows, cols = along(height, shift[0]), along(width, shift[1])
    return torch.cat([cols[None].expand(height, -1, -1), rows[:, None].expand(-1, width, -1)], -1).flatten(0, 1)


def turns(places: Tensor, dim: int, line: bool) -> Rotary:
    """Places (B, T, 3) of tokens in the sequence, the row and the column -> cosines and sines (B, 1, T, dim) for
    `rotate`.

    line: all of a head's channels turn with the first, as in the paper; else a quarter does, and the rest with row and
    column evenly.
    """
    pairs = dim // 2
    if line:
        angles = places[..., :1] * 10_000 ** -(torch.arange(pairs, device=places.device) / pairs)
    else:
        slots = pairs // 4
        rows = (pairs - slots) // 2
        parts = []
        for axis, count in enumerate((slots, rows, pairs - slots - rows)):
            parts.append(places[..., axis, None] * 100 ** -(torch.arange(count, device=places.device) / count))
        angles = torch.cat(parts, -1)
    angles = angles.repeat(1, 1, 2)[:, None]
    return angles.cos(), angles.sin()


# ---------------------------------------------------------------------- layers


class Attention(nn.Module):
    """Fused projection of queries, keys and values, no biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, turn: Rotary, mask: Tensor | None, before: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """x (B, T, D), keys and values of tokens before -> result (B, T, D), keys and values of these alone (B, heads,
        T, d)
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, own = rotate(q, turn), (rotate(k, turn), v)
        k, v = own if before is None else (torch.cat([b, o], 2) for b, o in zip(before, own, strict=True))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2)), own


class SwiGLU(nn.Module):
    """W_o (SiLU(W_g x) * W_u x), no biases"""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 2 * hidden, bias=False)
        self.leave = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.enter(x).chunk(2, -1)
        return self.leave(F.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.attention = Attention(width, heads)
        self.glu = SwiGLU(width, hidden)

    def forward(
        self, x: Tensor, turn: Rotary, mask: Tensor | None = None, before: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        y, own = self.attention(self.norm1(x), turn, mask, before)
        x = x + y
        return x + self.glu(self.norm2(x)), own


# ---------------------------------------------------------------------- the whole


@dataclass
class Condition:
    """What the target needs of text and images: keys and values (B, heads, T, d) of each layer; valid (B, T) bool,
    None: all; start (B,): the place of the time token; local (B, h*w, D): of `aligned`; latents (B, 2, 16, h, w): of
    the sources, for `mix`, 0 where there are none; grid: shift and stretch of the positions, drawn once per batch in
    training.
    """

    cache: list[KeysValues]
    valid: Tensor | None
    start: Tensor
    local: Tensor | None
    latents: Tensor | None
    grid: tuple[tuple[int, int], float]


@dataclass
class Velocity:
    """latents (B, 16, h, w): v = x_1 - x_0; guide (B, G, h, w) for the detail path, or None; tokens (B, D, h/2, w/2),
    normalised, for the mask.
    """

    latents: Tensor
    guide: Tensor | None
    tokens: Tensor


class Transformer(nn.Module):
    """Words, latents of two images, time and noisy latents -> velocity.

    `begin` and `proceed` go by the cache, `whole` in one sequence.
    """

    def __init__(self, c: DiTFuseConfig) -> None:
        super().__init__()
        self.config = c
        self.gives = LATENT * (4 if c.mix else 1) + (c.guide if c.detail else 0)
        patch = LATENT * c.patch**2
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.enter_target = nn.Linear(patch, c.width)
        self.enter_image = nn.Linear(patch, c.width)
        self.align = nn.Linear(2 * patch, c.width, bias=False) if c.aligned else None
        self.time_token = nn.Sequential(nn.Linear(256, c.width), nn.SiLU(), nn.Linear(c.width, c.width))
        self.time = nn.Sequential(nn.Linear(256, c.width), nn.SiLU(), nn.Linear(c.width, c.width))
        self.layers = nn.ModuleList([Layer(c.width, c.heads, c.hidden) for _ in range(c.layers)])
        self.norm = nn.RMSNorm(c.width, eps=1e-5)
        self.last_norm = nn.LayerNorm(c.width, elementwise_affine=False, eps=1e-6)
        self.modulate = nn.Linear(c.width, 2 * c.width)
        self.out = nn.Linear(c.width, self.gives * c.patch**2)
        self.start_weights()

    def start_weights(self) -> None:
        """Xavier for linear layers, N(0, 0.02) for words and times, zero for modulation and output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.words.weight, 0, 0.02)
        for mlp in (self.time_token, self.time):
            for index in (0, 2):
                nn.init.normal_(mlp[index].weight, 0, 0.02)  # type: ignore[arg-type]
        for layer in (self.modulate, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    # ------------------------------------------------------------------ parts of the sequence

    def patches(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, tokens, 4 C)"""
        return F.pixel_unshuffle(latents, self.config.patch).flatten(2).transpose(1, 2)

    def draw_grid(self) -> tuple[tuple[int, int], float]:
        """Shift of the fixed positions and stretch of the rotary ones: drawn in training, else none."""
        if not self.training:
            return (0, 0), 1.0
        rows, cols = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
        return (rows, cols), self.config.stretch ** float(torch.rand(()))

    def places(self, pieces: Tensor, size: tuple[int, int], words: int, valid: Tensor, stretch: float) -> Tensor:
        """(B, T, 3): place in the sequence, row, column of tokens (T,) of pieces, grids of `size`.

        With rope 'grid', place is -1, -2 ... for words from the last one, 1 and 2 for the images, 3 and 4 for time and
        target; with 'line', the place among tokens that are not padding.
        """
        count, device = size[0] * size[1], pieces.device
        if self.config.rope == "line":
            order = (valid.cumsum(1) - 1).clamp_min(0)
            return F.pad(order[..., None].float(), (0, 2))
        slot = pieces.float()
        slot[:words] = torch.arange(-words, 0, device=device)
        rows = torch.arange(size[0], device=device).repeat_interleave(size[1]) * stretch
        cols = torch.arange(size[1], device=device).repeat(size[0]) * stretch
        grid = torch.stack([rows, cols], 1).float()
        images = int((pieces == FIRST).sum()) // count + int((pieces == SECOND).sum()) // count
        middle = [grid.new_zeros(words, 2), *[grid] * images, grid.new_zeros(1, 2), grid]
        return torch.cat([slot[:, None], torch.cat(middle)], 1)[None]

    def sequence(
        self, ids: Tensor, latents: Tensor | None, size: tuple[int, int], there: Tensor | None, shift: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of text and images (B, T, D), the pieces (T + 1 + h*w,) of the whole sequence, and which of it is
        valid (B, T + 1 + h*w).
        """
        batch, words = ids.shape
        count = size[0] * size[1]
        tokens, valid = [self.words(ids)], [ids > 0]
        pieces = [torch.full((words,), TEXT)]
        if latents is not None:
            table = sincos(*size, self.config.width, shift).to(tokens[0])
            for piece, source in ((FIRST, 1), (SECOND, 0)):
                tokens.append(self.enter_image(self.patches(latents[:, source])) + table)
                pieces.append(torch.full((count,), piece))
                seen = torch.ones(batch, dtype=torch.bool, device=ids.device) if there is None else there
                valid.append(seen[:, None].expand(-1, count))
        pieces += [torch.full((1,), TIME), torch.full((count,), TARGET)]
        valid.append(torch.ones(batch, 1 + count, dtype=torch.bool, device=ids.device))
        return torch.cat(tokens, 1), torch.cat(pieces).to(ids.device), torch.cat(valid, 1)

    def target(self, x: Tensor, t: Tensor, local: Tensor | None, shift: tuple[int, int]) -> Tensor:
        """Noisy latents (B, 16, h, w) and times (B,) -> time token and target tokens (B, 1 + h*w/4, D)"""
        size = (x.shape[-2] // self.config.patch, x.shape[-1] // self.config.patch)
        y = self.enter_target(self.patches(x)) + sincos(*size, self.config.width, shift).to(x)
        if local is not None:
            y = y + local
        token = self.time_token(sinusoid(t / 1000).to(x))
        return torch.cat([token[:, None], y], 1)

    def local(self, latents: Tensor | None, there: Tensor | None) -> Tensor | None:
        """What `aligned` adds to the target's tokens (B, h*w, D), or None."""
        if self.align is None or latents is None:
            return None
        y = self.align(torch.cat([self.patches(latents[:, k]) for k in (1, 0)], -1))
        return y if there is None else y * there[:, None, None].to(y)

    def finish(self, y: Tensor, x: Tensor, t: Tensor, sources: Tensor | None) -> Velocity:
        """Target tokens after the last layer (B, h*w, D), noisy latents (B, 16, h, w), latents of the sources (B, 2,
        16, h, w) -> what is predicted
        """
        c = self.config
        size = (x.shape[-2] // c.patch, x.shape[-1] // c.patch)
        y = self.norm(y)
        shift, scale = self.modulate(F.silu(self.time(sinusoid(t / 1000).to(y))))[:, None].chunk(2, -1)
        tokens = y.transpose(1, 2).unflatten(2, size)
        z = self.out(self.last_norm(y) * (1 + scale) + shift).transpose(1, 2).unflatten(2, size)
        z = F.pixel_shuffle(z, c.patch)
        v = z[:, :LATENT]
        if c.mix:
            given = torch.zeros_like(x)[:, None].expand(-1, 2, -1, -1, -1) if sources is None else sources
            v = velocity(x, t, v + mix_latents(z[:, LATENT : 4 * LATENT], torch.cat([x[:, None], given], 1)))
        return Velocity(v, z[:, self.gives - c.guide :] if c.detail else None, tokens)

    # ------------------------------------------------------------------ by the cache, and whole

    def begin(
        self, ids: Tensor, latents: Tensor | None, size: tuple[int, int], there: Tensor | None = None
    ) -> Condition:
        """Words (B, T), latents of the sources (B, 2, 16, h, w) or None, size of a grid of tokens, there (B,) bool:
        whose images count -> keys and values of the condition. The second source is image 1: visible, overexposed, far.
        """
        shift, stretch = self.draw_grid()
        x, pieces, valid = self.sequence(ids, latents, size, there, shift)
        count = x.shape[1]
        places = self.places(pieces, size, ids.shape[1], valid, stretch)
        every = bool(valid.all())
        mask = attention_mask(pieces[:count], None if every else valid[:, :count])
        turn = self._turns(places[:, :count], x)
        cache = []
        for layer in self.layers:
            x, own = layer(x, turn, mask)
            cache.append(own)
        start = valid[:, :count].sum(1)
        local, seen = self.local(latents, there), _present(latents, there)
        return Condition(cache, None if every else valid[:, :count], start, local, seen, (shift, stretch))

    def proceed(self, x: Tensor, t: Tensor, condition: Condition) -> Velocity:
        """Noisy latents (B, 16, h, w), times (B,) in [0, 1] -> velocity, with the cached keys and values"""
        shift, stretch = condition.grid
        size = (x.shape[-2] // self.config.patch, x.shape[-1] // self.config.patch)
        count, before = size[0] * size[1], condition.cache[0][0].shape[2]
        y = self.target(x, t, condition.local, shift)
        pieces = torch.cat([torch.full((1,), TIME), torch.full((count,), TARGET)]).to(x.device)
        if self.config.rope == "line":
            order = condition.start[:, None] + torch.arange(1 + count, device=x.device)
            places = F.pad(order[..., None].float(), (0, 2))
        else:
            ones = torch.ones(len(x), 1 + count, dtype=torch.bool, device=x.device)
            places = self.places(pieces, size, 0, ones, stretch)
        valid = condition.valid
        if valid is None:
            valid = torch.ones(1, before, dtype=torch.bool, device=x.device)
        earlier = valid[:, None, None].expand(-1, -1, 1 + count, -1)
        mask = torch.cat([earlier, attention_mask(pieces).expand(len(valid), -1, -1, -1)], -1)
        turn = self._turns(places, y)
        for layer, known in zip(self.layers, condition.cache, strict=True):
            y, _ = layer(y, turn, mask, known)
        return self.finish(y[:, 1:], x, t, condition.latents)

    def whole(self, ids: Tensor, latents: Tensor | None, x: Tensor, t: Tensor, there: Tensor | None = None) -> Velocity:
        """The same without a cache: one sequence, one mask."""
        shift, stretch = self.draw_grid()
        size = (x.shape[-2] // self.config.patch, x.shape[-1] // self.config.patch)
        before, pieces, valid = self.sequence(ids, latents, size, there, shift)
        y = torch.cat([before, self.target(x, t, self.local(latents, there), shift)], 1)
        mask = attention_mask(pieces, None if bool(valid.all()) else valid)
        turn = self._turns(self.places(pieces, size, ids.shape[1], valid, stretch), y)
        for layer in self.layers:
            y, _ = layer(y, turn, mask)
        return self.finish(y[:, before.shape[1] + 1 :], x, t, _present(latents, there))

    def _turns(self, places: Tensor, like: Tensor) -> Rotary:
        c = self.config
        cos, sin = turns(places, c.width // c.heads, c.rope == "line")
        return cos.to(like), sin.to(like)


def _present(latents: Tensor | None, there: Tensor | None) -> Tensor | None:
    """Latents (B, 2, 16, h, w), zeros where `there` (B,) says that an item has no images."""
    return latents if latents is None or there is None else latents * there[:, None, None, None, None].to(latents)


__all__ = ["Condition", "Layer", "Transformer", "Velocity", "attention_mask", "sincos", "turns"]
