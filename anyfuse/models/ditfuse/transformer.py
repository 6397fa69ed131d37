"""The transformer of DiTFuse (TPAMI 2025, arXiv 2512.07170): OmniGen's decoder (arXiv 2409.11340) over one sequence, at
sizes that train on a CPU.

    tokens   words; patches of the latents of image 1 and image 2; a token of the time; patches of the noisy target
    layer    x += attention(RMSNorm(x)), x += SwiGLU(RMSNorm(x)), no biases (Zhang and Sennrich 2019, Shazeer 2020)
    output   y = W (LN(x) (1 + scale(t)) + shift(t)) of the target's tokens (AdaLN: DiT, Peebles and Xie 2023)
    cache    the condition (text and images) never attends to time or target, so its keys and values are the same at
             each step
    M3       the paper's training pairs of masked, noisy and blurred tiles are in degradation/masked_pairs.py

Sequence, mask and positions are in sequence.py. What is ours, and is left out by DiTFuseConfig.paper(), is in
additions.py. Origin: written from formulas and the paper's facts; no code was copied. Licence: Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..latent.codec import LATENT
from ..latent.flow import mix_latents, velocity
from ..latent.positions import Rotary, rotate, sinusoid
from .additions import draw_grid, grid_angles, grid_positions
from .config import DiTFuseConfig
from .sequence import (
    FIRST,
    SECOND,
    TARGET,
    TEXT,
    TIME,
    attention_mask,
    line_angles,
    line_positions,
    rotary,
    sincos,
)

KeysValues = tuple[Tensor, Tensor]


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


@dataclass
class Condition:
    """What the target needs of text and images."""

    cache: list[KeysValues]  # keys and values of each layer, (B, heads, T, d)
    valid: Tensor | None  # (B, T) bool, False for padding; None: no padding
    start: Tensor  # (B,), the time token's place in the sequence
    local: Tensor | None  # (B, h*w, D), of `aligned`
    latents: Tensor | None  # (B, 2, 16, h, w) of the sources, for `mix`; zeros for an item without images
    grid: tuple[tuple[int, int], float]  # shift and stretch of the positions, drawn once per batch in training


@dataclass
class Velocity:
    """What the transformer predicts."""

    latents: Tensor  # v = x_1 - x_0, (B, 16, h, w)
    guide: Tensor | None  # (B, G, h, w), for the detail path
    tokens: Tensor  # (B, D, h/p, w/p), the target's after the last norm, for the mask head


class Transformer(nn.Module):
    """Words, latents of two images, time and noisy latents -> velocity.

    `encode_condition` and `velocity_cached` use a cache of keys and values; `velocity_full` runs one sequence.
    """

    def __init__(self, c: DiTFuseConfig) -> None:
        super().__init__()
        self.config = c
        self.out_channels = LATENT * (4 if c.mix else 1) + (c.guide if c.detail else 0)
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
        self.out = nn.Linear(c.width, self.out_channels * c.patch**2)
        self.initialise()

    def initialise(self) -> None:
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
        """(B, C, h, w) -> (B, tokens, p^2 C)"""
        return F.pixel_unshuffle(latents, self.config.patch).flatten(2).transpose(1, 2)

    def grid_of(self, latents: Tensor) -> tuple[int, int]:
        """Rows and columns of tokens of latents (..., h, w)."""
        return latents.shape[-2] // self.config.patch, latents.shape[-1] // self.config.patch

    def draw_grid(self) -> tuple[tuple[int, int], float]:
        """Shift of the fixed positions and stretch of the rotary ones: none outside of training."""
        return draw_grid(self.config.stretch) if self.training else ((0, 0), 1.0)

    def positions(
        self, token_types: Tensor, size: tuple[int, int], words: int, valid: Tensor, stretch: float
    ) -> Tensor:
        """Positions (1 or B, T, 3) of tokens (T,): along the sequence, or with rope 'grid' slot, row and column."""
        if self.config.rope == "line":
            return line_positions(valid)
        return grid_positions(token_types, size, words, stretch)

    def sequence(
        self,
        ids: Tensor,
        latents: Tensor | None,
        size: tuple[int, int],
        has_images: Tensor | None,
        shift: tuple[int, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of text and images (B, T, D); types (T + 1 + h*w,) of the whole sequence, with time and target; and
        which of it is valid (B, T + 1 + h*w).
        """
        batch, words = ids.shape
        count = size[0] * size[1]
        tokens, valid = [self.words(ids)], [ids > 0]
        token_types = [torch.full((words,), TEXT)]
        if latents is not None:
            table = sincos(*size, self.config.width, shift).to(tokens[0])
            visible = torch.ones(batch, dtype=torch.bool, device=ids.device) if has_images is None else has_images
            for token_type, source in ((FIRST, 1), (SECOND, 0)):
                tokens.append(self.enter_image(self.patches(latents[:, source])) + table)
                token_types.append(torch.full((count,), token_type))
                valid.append(visible[:, None].expand(-1, count))
        token_types += [torch.full((1,), TIME), torch.full((count,), TARGET)]
        valid.append(torch.ones(batch, 1 + count, dtype=torch.bool, device=ids.device))
        return torch.cat(tokens, 1), torch.cat(token_types).to(ids.device), torch.cat(valid, 1)

    def target(self, x: Tensor, t: Tensor, local: Tensor | None, shift: tuple[int, int]) -> Tensor:
        """Noisy latents (B, 16, h, w) and times (B,) -> time token and target tokens (B, 1 + tokens, D)"""
        y = self.enter_target(self.patches(x)) + sincos(*self.grid_of(x), self.config.width, shift).to(x)
        if local is not None:
            y = y + local
        token = self.time_token(sinusoid(t / 1000).to(x))
        return torch.cat([token[:, None], y], 1)

    def local(self, latents: Tensor | None, has_images: Tensor | None) -> Tensor | None:
        """What `aligned` adds to the target's tokens (B, tokens, D), or None."""
        if self.align is None or latents is None:
            return None
        y = self.align(torch.cat([self.patches(latents[:, k]) for k in (1, 0)], -1))
        return y if has_images is None else y * has_images[:, None, None].to(y)

    def finish(self, y: Tensor, x: Tensor, t: Tensor, sources: Tensor | None) -> Velocity:
        """The target's tokens after the last layer -> what is predicted.

        y: (B, tokens, D). x: noisy latents (B, 16, h, w). t: times (B,). sources: latents (B, 2, 16, h, w), for `mix`.
        """
        c = self.config
        size = self.grid_of(x)
        y = self.norm(y)
        shift, scale = self.modulate(F.silu(self.time(sinusoid(t / 1000).to(y))))[:, None].chunk(2, -1)
        tokens = y.transpose(1, 2).unflatten(2, size)
        z = self.out(self.last_norm(y) * (1 + scale) + shift).transpose(1, 2).unflatten(2, size)
        z = F.pixel_shuffle(z, c.patch)
        v = z[:, :LATENT]
        if c.mix:
            given = torch.zeros_like(x)[:, None].expand(-1, 2, -1, -1, -1) if sources is None else sources
            v = velocity(x, t, v + mix_latents(z[:, LATENT : 4 * LATENT], torch.cat([x[:, None], given], 1)))
        return Velocity(v, z[:, self.out_channels - c.guide :] if c.detail else None, tokens)

    # ------------------------------------------------------------------ with the cache, and in one sequence

    def encode_condition(
        self, ids: Tensor, latents: Tensor | None, size: tuple[int, int], has_images: Tensor | None = None
    ) -> Condition:
        """Keys and values of text and images.

        ids: words (B, T), 0 for padding. size: rows and columns of tokens of the target.
        latents: of the sources (B, 2, 16, h, w), or None. The second source is image 1: visible, over-exposed, far.
        has_images: (B,) bool, which items of the batch have images; None: all.
        """
        shift, stretch = self.draw_grid()
        x, token_types, valid = self.sequence(ids, latents, size, has_images, shift)
        count = x.shape[1]
        positions = self.positions(token_types, size, ids.shape[1], valid, stretch)
        unpadded = bool(valid.all())
        mask = attention_mask(token_types[:count], None if unpadded else valid[:, :count])
        turn = self._rotary(positions[:, :count], x)
        cache = []
        for layer in self.layers:
            x, own = layer(x, turn, mask)
            cache.append(own)
        start = valid[:, :count].sum(1)
        local, present = self.local(latents, has_images), _present(latents, has_images)
        return Condition(cache, None if unpadded else valid[:, :count], start, local, present, (shift, stretch))

    def velocity_cached(self, x: Tensor, t: Tensor, condition: Condition) -> Velocity:
        """Noisy latents (B, 16, h, w), times (B,) in [0, 1] -> velocity, with the keys and values of a condition"""
        shift, stretch = condition.grid
        size = self.grid_of(x)
        count, before = size[0] * size[1], condition.cache[0][0].shape[2]
        y = self.target(x, t, condition.local, shift)
        token_types = torch.cat([torch.full((1,), TIME), torch.full((count,), TARGET)]).to(x.device)
        if self.config.rope == "line":
            order = condition.start[:, None] + torch.arange(1 + count, device=x.device)
            positions = F.pad(order[..., None].float(), (0, 2))
        else:
            positions = grid_positions(token_types, size, 0, stretch)
        valid = condition.valid
        if valid is None:
            valid = torch.ones(1, before, dtype=torch.bool, device=x.device)
        earlier = valid[:, None, None].expand(-1, -1, 1 + count, -1)
        mask = torch.cat([earlier, attention_mask(token_types).expand(len(valid), -1, -1, -1)], -1)
        turn = self._rotary(positions, y)
        for layer, known in zip(self.layers, condition.cache, strict=True):
            y, _ = layer(y, turn, mask, known)
        return self.finish(y[:, 1:], x, t, condition.latents)

    def velocity_full(
        self, ids: Tensor, latents: Tensor | None, x: Tensor, t: Tensor, has_images: Tensor | None = None
    ) -> Velocity:
        """The same without a cache: one sequence, one mask."""
        shift, stretch = self.draw_grid()
        size = self.grid_of(x)
        before, token_types, valid = self.sequence(ids, latents, size, has_images, shift)
        y = torch.cat([before, self.target(x, t, self.local(latents, has_images), shift)], 1)
        mask = attention_mask(token_types, None if bool(valid.all()) else valid)
        turn = self._rotary(self.positions(token_types, size, ids.shape[1], valid, stretch), y)
        for layer in self.layers:
            y, _ = layer(y, turn, mask)
        return self.finish(y[:, before.shape[1] + 1 :], x, t, _present(latents, has_images))

    def _rotary(self, positions: Tensor, like: Tensor) -> Rotary:
        c = self.config
        angles = (line_angles if c.rope == "line" else grid_angles)(positions, c.width // c.heads)
        cos, sin = rotary(angles)
        return cos.to(like), sin.to(like)


def _present(latents: Tensor | None, has_images: Tensor | None) -> Tensor | None:
    """Latents (B, 2, 16, h, w), zeros for items without images."""
    if latents is None or has_images is None:
        return latents
    return latents * has_images[:, None, None, None, None].to(latents)


__all__ = ["Condition", "KeysValues", "Layer", "Transformer", "Velocity"]
