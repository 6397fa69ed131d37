"""The transformer of DiTFuse (TPAMI 2025, arXiv 2512.07170): OmniGen's decoder (arXiv 2409.11340) over one sequence, at
sizes that train on a CPU.

    tokens   words; patches of the latents of image 1 and image 2; a token of the time; patches of the noisy target
    layer    x += attention(RMSNorm(x)), x += SwiGLU(RMSNorm(x)), no biases (Zhang and Sennrich 2019, Shazeer 2020)
    output   y = W (LN(x) (1 + scale(t)) + shift(t)) of the target's tokens (AdaLN: DiT, Peebles and Xie 2023)
    cache    the condition (text and images) never attends to time or target, so its keys and values are the same at
             each step
    M3       the paper's training pairs of masked, noisy and blurred tiles are in degradation/masked_pairs.py

The numbers of the paper's equations are not known to us; parts that it takes from others are cited beside them.

Sequence, mask and positions are in sequence.py. What is ours is in additions.py, which builds on this network: it
overrides `embeddings` to `predict` below. Origin: written from formulas and the paper's facts; no code was copied.
Licence: Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...arrays import F, Tensor, nn, torch
from ..latent.codec import LATENT
from ..latent.positions import Rotary, rotate, sinusoid
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
        self, x: Tensor, rotation: Rotary, mask: Tensor | None, before: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """x (B, T, D), keys and values of tokens before -> result (B, T, D), keys and values of these alone (B, heads,
        T, d)
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, own = rotate(q, rotation), (rotate(k, rotation), v)
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
        """(B, T, D) -> (B, T, D)"""
        gate, up = self.enter(x).chunk(2, -1)
        return self.leave(F.silu(gate) * up)


class Layer(nn.Module):
    """x += attention(RMSNorm(x)), x += SwiGLU(RMSNorm(x))"""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.attention = Attention(width, heads)
        self.glu = SwiGLU(width, hidden)

    def forward(
        self, x: Tensor, rotation: Rotary, mask: Tensor | None = None, before: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """As Attention."""
        y, own = self.attention(self.norm1(x), rotation, mask, before)
        x = x + y
        return x + self.glu(self.norm2(x)), own


@dataclass
class Condition:
    """What the target needs of text and images."""

    cache: list[KeysValues]  # keys and values of each layer, (B, heads, T, d)
    valid: Tensor | None  # (B, T) bool, False for padding; None: no padding
    start: Tensor  # (B,), the time token's place in the sequence
    extras: Any = None  # what additions.py takes along; None for the paper's network


@dataclass
class Velocity:
    """What the transformer predicts."""

    latents: Tensor  # v = x_1 - x_0, (B, 16, h, w)
    guide: Tensor | None  # of additions.py: for the detail path, (B, G, h, w); None from the paper's network
    tokens: Tensor  # (B, D, h/p, w/p), the target's after the last norm


class Transformer(nn.Module):
    """Words, latents of two images, time and noisy latents -> velocity.

    `encode_condition` and `velocity_cached` use a cache of keys and values; `velocity_full` runs one sequence.

    latent: channels of a latent. out_channels: of the output; None: those of a latent, as in the paper.
    """

    def __init__(self, c: DiTFuseConfig, latent: int = LATENT, out_channels: int | None = None) -> None:
        super().__init__()
        self.config, self.latent = c, latent
        self.out_channels = latent if out_channels is None else out_channels
        self.embeddings(latent * c.patch**2)
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

    def sequence(
        self,
        ids: Tensor,
        latents: Tensor | None,
        size: tuple[int, int],
        has_images: Tensor | None,
        extras: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of text and images (B, T, D); types (T + 1 + h*w,) of the whole sequence, with time and target; and
        which of it is valid (B, T + 1 + h*w).
        """
        batch, words = ids.shape
        count = size[0] * size[1]
        tokens, valid = [self.words(ids)], [ids > 0]
        token_types = [torch.full((words,), TEXT)]
        if latents is not None:
            table = self.fixed_positions(size, extras).to(tokens[0])
            visible = torch.ones(batch, dtype=torch.bool, device=ids.device) if has_images is None else has_images
            for token_type, source in ((FIRST, 1), (SECOND, 0)):
                tokens.append(self.enter_image(self.patches(latents[:, source])) + table)
                token_types.append(torch.full((count,), token_type))
                valid.append(visible[:, None].expand(-1, count))
        token_types += [torch.full((1,), TIME), torch.full((count,), TARGET)]
        valid.append(torch.ones(batch, 1 + count, dtype=torch.bool, device=ids.device))
        return torch.cat(tokens, 1), torch.cat(token_types).to(ids.device), torch.cat(valid, 1)

    def target(self, x: Tensor, t: Tensor, extras: Any) -> Tensor:
        """Noisy latents (B, 16, h, w) and times (B,) -> time token and target tokens (B, 1 + tokens, D)"""
        token = self.time_token(sinusoid(t / 1000).to(x))
        return torch.cat([token[:, None], self.target_tokens(x, extras)], 1)

    def finish(self, y: Tensor, x: Tensor, t: Tensor, extras: Any) -> Velocity:
        """The target's tokens after the last layer -> what is predicted.

        y: (B, tokens, D). x: noisy latents (B, 16, h, w). t: times (B,).
        """
        size = self.grid_of(x)
        y = self.norm(y)
        shift, scale = self.modulate(F.silu(self.time(sinusoid(t / 1000).to(y))))[:, None].chunk(2, -1)
        tokens = y.transpose(1, 2).unflatten(2, size)
        z = self.out(self.last_norm(y) * (1 + scale) + shift).transpose(1, 2).unflatten(2, size)
        return self.predict(F.pixel_shuffle(z, self.config.patch), tokens, x, t, extras)

    # ------------------------------------------------------------------ what additions.py overrides

    def embeddings(self, patch: int) -> None:
        """Builds the table of words and the linear embeddings of patches of `patch` numbers."""
        c = self.config
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.enter_target = nn.Linear(patch, c.width)
        self.enter_image = nn.Linear(patch, c.width)

    def extras(self, latents: Tensor | None, has_images: Tensor | None) -> Any:
        """What the steps below need besides: nothing in the paper. Called once per condition."""
        return None

    def fixed_positions(self, size: tuple[int, int], extras: Any) -> Tensor:
        """(h*w, D): added to the tokens of images and target."""
        return sincos(*size, self.config.width)

    def positions(self, token_types: Tensor, size: tuple[int, int], words: int, valid: Tensor, extras: Any) -> Tensor:
        """Positions (1 or B, T, 3) of the whole sequence: types (T,), valid (B, T), `words` words in front."""
        return line_positions(valid)

    def target_positions(self, token_types: Tensor, size: tuple[int, int], condition: Condition) -> Tensor:
        """Positions (1 or B, 1 + h*w, 3) of time and target after a condition."""
        order = condition.start[:, None] + torch.arange(len(token_types), device=token_types.device)
        return F.pad(order[..., None].float(), (0, 2))

    def angles(self, positions: Tensor) -> Tensor:
        """(1 or B, T, d/2): angles by which the d channels of a head are turned."""
        return line_angles(positions, self.config.width // self.config.heads)

    def target_tokens(self, x: Tensor, extras: Any) -> Tensor:
        """Noisy latents (B, 16, h, w) -> (B, tokens, D)"""
        return self.enter_target(self.patches(x)) + self.fixed_positions(self.grid_of(x), extras).to(x)

    def predict(self, output: Tensor, tokens: Tensor, x: Tensor, t: Tensor, extras: Any) -> Velocity:
        """Output (B, out_channels, h, w) and tokens of the target -> what is predicted: the output is the velocity."""
        return Velocity(output, None, tokens)

    # ------------------------------------------------------------------ with the cache, and in one sequence

    def encode_condition(
        self, ids: Tensor, latents: Tensor | None, size: tuple[int, int], has_images: Tensor | None = None
    ) -> Condition:
        """Keys and values of text and images.

        ids: words (B, T), 0 for padding. size: rows and columns of tokens of the target.
        latents: of the sources (B, 2, 16, h, w), or None. The second source is image 1: visible, over-exposed, far.
        has_images: (B,) bool, which items of the batch have images; None: all.
        """
        extras = self.extras(latents, has_images)
        x, token_types, valid = self.sequence(ids, latents, size, has_images, extras)
        count = x.shape[1]
        positions = self.positions(token_types, size, ids.shape[1], valid, extras)
        unpadded = bool(valid.all())
        mask = attention_mask(token_types[:count], None if unpadded else valid[:, :count])
        rotation = self._rotary(positions[:, :count], x)
        cache = []
        for layer in self.layers:
            x, own = layer(x, rotation, mask)
            cache.append(own)
        start = valid[:, :count].sum(1)
        return Condition(cache, None if unpadded else valid[:, :count], start, extras)

    def velocity_cached(self, x: Tensor, t: Tensor, condition: Condition) -> Velocity:
        """Noisy latents (B, 16, h, w), times (B,) in [0, 1] -> velocity, with the keys and values of a condition"""
        size = self.grid_of(x)
        count, before = size[0] * size[1], condition.cache[0][0].shape[2]
        y = self.target(x, t, condition.extras)
        token_types = torch.cat([torch.full((1,), TIME), torch.full((count,), TARGET)]).to(x.device)
        valid = condition.valid
        if valid is None:
            valid = torch.ones(1, before, dtype=torch.bool, device=x.device)
        earlier = valid[:, None, None].expand(-1, -1, 1 + count, -1)
        mask = torch.cat([earlier, attention_mask(token_types).expand(len(valid), -1, -1, -1)], -1)
        rotation = self._rotary(self.target_positions(token_types, size, condition), y)
        for layer, cached in zip(self.layers, condition.cache, strict=True):
            y, _ = layer(y, rotation, mask, cached)
        return self.finish(y[:, 1:], x, t, condition.extras)

    def velocity_full(
        self, ids: Tensor, latents: Tensor | None, x: Tensor, t: Tensor, has_images: Tensor | None = None
    ) -> Velocity:
        """The same without a cache: one sequence, one mask."""
        extras = self.extras(latents, has_images)
        size = self.grid_of(x)
        before, token_types, valid = self.sequence(ids, latents, size, has_images, extras)
        y = torch.cat([before, self.target(x, t, extras)], 1)
        mask = attention_mask(token_types, None if bool(valid.all()) else valid)
        rotation = self._rotary(self.positions(token_types, size, ids.shape[1], valid, extras), y)
        for layer in self.layers:
            y, _ = layer(y, rotation, mask)
        return self.finish(y[:, before.shape[1] + 1 :], x, t, extras)

    def _rotary(self, positions: Tensor, like: Tensor) -> Rotary:
        cos, sin = rotary(self.angles(positions))
        return cos.to(like), sin.to(like)


__all__ = ["Condition", "KeysValues", "Layer", "Transformer", "Velocity"]
