"""Blocks of UniFusion (CVPR 2026, arXiv 2603.14214): attention between channels and gated feed forward, as Restormer
(CVPR 2022).

    attention  per head A = softmax(tau q k^T / (|q| |k|)), a small matrix between channels, summed over all pixels; A v
    block      x = x + attention(LN x, LN' y), x = x + feed forward(LN x); y = x, or another input in a cross block

The formulas are those of Restormer's MDTA and GDFN (Zamir et al. 2022, section 3.1 and 3.2); their numbers in the
paper of UniFusion are not known to us.

Origin: rewritten from the paper and from facts about its released code; none of that code is here. Licence: Apache-2.0.
"""

from __future__ import annotations

from ... import native
from ...arrays import F, Tensor, nn, torch
from ...native import restormer as compiled
from ..base import unflatten_set

SHIFTED = True
"""Whether compiled blocks make their 3x3 convolutions per channel of shifted products."""


class LayerNorm(nn.LayerNorm):
    """Over the channels of (B, C, H, W), per pixel; for channels_last memory this is the plain one without a copy."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """1x1 convolution, as a matrix product (three times faster on channels_last memory than the general one)."""

    def __init__(self, cin: int, cout: int, bias: bool = False) -> None:
        super().__init__(cin, cout, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, H, W)"""
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Attention between channels (Restormer, CVPR 2022): per head a small matrix, summed over all pixels.

    Softmax weights and the last 1x1 convolution are one matrix per image, so that the values are multiplied only once.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = Pointwise(width, width)
        self.q_near = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
        self.kv = Pointwise(width, 2 * width)
        self.kv_near = nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width, bias=False)
        self.out = Pointwise(width, width)

    def forward(self, x: Tensor, y: Tensor, n: int = 1) -> Tensor:
        """Queries from x, keys and values from y, both (B*N, C, H, W).

        With N > 1 each input looks at all the others of its set.
        """
        shape = x.shape
        q = pixels(near(self.q_near, self.q(x)), n)  # (B, N, HW, C)
        k, v = (pixels(t, n) for t in near(self.kv_near, self.kv(y)).chunk(2, 1))
        q_size, k_size = ((t * t).sum(2).clamp_min(1e-24).sqrt() for t in (q, k))  # (B, N, C)
        gram = q[:, :, None].transpose(-1, -2) @ k[:, None]  # (B, Nq, Nk, C, C)
        gram = gram / (q_size[:, :, None, :, None] * k_size[:, None, :, None, :])
        logits = (
            gram.unflatten(-1, (self.heads, -1)).unflatten(-3, (self.heads, -1)).diagonal(0, 3, 5)
        )  # (B, Nq, Nk, c, c, heads)
        logits = logits.permute(0, 1, 5, 3, 2, 4) * self.temperature[:, :, None]  # (B, Nq, heads, c, Nk, c)
        if n > 1:
            own = torch.eye(n, dtype=torch.bool, device=x.device).view(1, n, 1, 1, n, 1)
            logits = logits.masked_fill(own, -torch.inf)
        share = logits.flatten(-2).softmax(-1).view_as(logits)
        weight = self.out.weight.flatten(1).unflatten(1, (self.heads, -1))  # (C, heads, c)
        mix = torch.einsum("ohd,bqhdke->bqkheo", weight, share).flatten(3, 4)  # (B, Nq, Nk, C, C)
        result = v @ mix[:, :, 0] if n == 1 else (v[:, None] @ mix).sum(2)
        return result.flatten(0, 1).transpose(1, 2).view(shape)

    def added(self, found: native.Kernels, x: Tensor, y: Tensor, norms: tuple[nn.LayerNorm, nn.LayerNorm]) -> Tensor:
        """x plus the attention of its norm to the norm of y, by compiled code: (B, C, H, W), channels last."""
        near = (self.q.weight, self.q_near.weight, self.kv.weight, self.kv_near.weight)
        parts = [part for norm in norms for part in (norm.weight, norm.bias)] + [*near]
        weights = torch.cat([part.detach().flatten() for part in parts])
        value, gram, q_size, k_size = compiled.channel_gram(found, x, y, self.heads, weights)
        share = (gram / (q_size[..., None] * k_size[..., None, :]) * self.temperature).softmax(-1).float()
        weight = self.out.weight.flatten(1).unflatten(1, (self.heads, -1))  # (C, heads, c)
        return compiled.channel_mix(found, x, value, torch.einsum("ohd,bhde->bohe", weight, share).flatten(2))


def near(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 3x3 convolution per channel; when compiled, as nine shifted products, which the compiler joins with what is
    around them.
    """
    if not (torch.compiler.is_compiling() and SHIFTED):
        return layer(x)
    h, w = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    taps = layer.weight.flatten(1).to(x.dtype)  # (C, 9)
    out = padded[..., :h, :w] * taps[:, 0, None, None]
    for i in range(1, 9):
        out = out + padded[..., i // 3 : i // 3 + h, i % 3 : i % 3 + w] * taps[:, i, None, None]
    return out


def pixels(x: Tensor, n: int) -> Tensor:
    """(B*N, C, H, W) -> (B, N, HW, C); without a copy where memory is channels_last."""
    return unflatten_set(x.permute(0, 2, 3, 1).flatten(1, 2), n)


class FeedForward(nn.Module):
    """Gated: 1x1 to twice two halves, 3x3 per channel, GELU of one half times the other, 1x1 back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = Pointwise(width, 4 * width)
        self.near = nn.Conv2d(4 * width, 4 * width, 3, 1, 1, groups=4 * width, bias=False)
        self.down = Pointwise(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        gate, value = near(self.near, self.up(x)).chunk(2, 1)
        return self.down(F.gelu(gate) * value)


class RestormerBlock(nn.Module):
    """Attention to oneself, or with `cross` to others; then feed forward."""

    def __init__(self, width: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.norm_other = LayerNorm(width) if cross else None
        self.attention = Attention(width, heads)
        self.norm_feed = LayerNorm(width)
        self.feed = FeedForward(width)

    def forward(self, x: Tensor, other: Tensor | None = None, n: int = 1) -> Tensor:
        """(B*N, C, H, W) -> the same; `other`: what a cross block looks at, N: inputs of a set that look at
        each other.
        """
        return self._fed(self._attended(x, other, n))

    def _compiled(self, *features: Tensor) -> native.Kernels | None:
        """The compiled kernels, where they can do this block on such features."""
        if self.norm.weight.dtype != torch.float32 or features[0].shape[1] % compiled.PARTS:
            return None
        return native.takes_features(*features)

    def _attended(self, x: Tensor, other: Tensor | None, n: int) -> Tensor:
        """x with the attention, (B*N, C, H, W)"""
        looks, seen = self.norm_other, other
        if looks is None or seen is None:
            looks, seen = self.norm, x
        found = self._compiled(x, seen) if n == 1 else None
        if found is not None:
            return self.attention.added(found, x, seen, (self.norm, looks))
        y = self.norm(x)
        return x + self.attention(y, y if looks is self.norm else looks(seen), n)

    def _fed(self, x: Tensor) -> Tensor:
        """x with the feed forward, (B, C, H, W)"""
        feed, norm, found = self.feed, self.norm_feed, self._compiled(x)
        if found is None:
            return x + feed(norm(x))
        parts = (norm.weight, norm.bias, feed.up.weight, feed.near.weight, feed.down.weight)
        return compiled.gated_feed(found, x, torch.cat([part.detach().flatten() for part in parts]))
