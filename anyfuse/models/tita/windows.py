"""Attention inside windows of 8x8 pixels, every second time shifted by 4 (Swin), as networks of fusion use it, made for
CPUs.

Everything in a block happens inside a window or a pixel, so a whole block runs on a few windows at a time and stays in
the cache. Windows start at multiples of 8 from the top left corner of what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import native
from ...arrays import F, Tensor, nn, torch
from ...native import windows as compiled

WINDOW = 8
SHIFT = 4
CELLS = WINDOW * WINDOW
CPU_CHUNK, GPU_CHUNK = 16, 8192
"""Windows that pass through a block at a time in inference, at least one row of them: less to hold at a time."""


def to_windows(x: Tensor, shift: int) -> Tensor:
    """(B, H, W, C) -> (B, H/8, W/8, 64, C), after a cyclic shift to the left and up."""
    if shift:
        x = x.roll((-shift, -shift), (1, 2))
    b, h, w, c = x.shape
    x = x.reshape(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c).transpose(2, 3)
    return x.reshape(b, h // WINDOW, w // WINDOW, CELLS, c)


def from_windows(x: Tensor, shift: int) -> Tensor:
    """The inverse of `to_windows`."""
    b, h, w, _, c = x.shape
    x = x.view(b, h, w, WINDOW, WINDOW, c).transpose(2, 3).reshape(b, h * WINDOW, w * WINDOW, c)
    return x.roll((shift, shift), (1, 2)) if shift else x


def shift_masks() -> Tensor:
    """(4, 64, 64): added to the scores of a shifted window inside, at the right, at the bottom, in the corner: 0 or
    -100.

    The last window of a shifted row or column holds two bands from opposite sides of the image; they must not see each
    other.
    """
    half = torch.arange(WINDOW) >= WINDOW - SHIFT
    right, below = half.repeat(WINDOW), half.repeat_interleave(WINDOW)
    apart = [side[:, None] != side[None] for side in (right, below)]
    return torch.stack([torch.zeros_like(apart[0]), apart[0], apart[1], apart[0] | apart[1]]) * -100.0


def over_windows(
    block: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor], shift: int, masks: Tensor, whole: bool
) -> list[Tensor]:
    """Runs `block(*windows, mask)` over all windows of (B, H, W, C) tensors; windows are (B, n, 64, C).

    `whole`: all windows in one go, as training needs it. Else a few at a time, and results overwrite the windows they
    came from. What a block returns beyond its tensors, (B n, 64, K), comes after them as (B, H, W, K).

    Args:
        block: (windows (B, n, 64, C) of each tensor, mask) -> the same, and what else it gives, (B, n, 64, K).
        tensors: (B, H, W, C) each, H and W multiples of 8.
        shift: of the windows, 0 or SHIFT pixels.
        masks: of `shift_masks`.
        whole: all windows at once, as training needs it.
    """
    parts = [to_windows(x, shift) for x in tensors]
    nh, nw = parts[0].shape[1:3]
    kinds = torch.zeros(nh, nw, dtype=torch.long, device=masks.device)
    kinds[:, -1:] += 1
    kinds[-1:] += 2
    if whole:
        mask = masks[kinds].view(nh * nw, 1, CELLS, CELLS) if shift else None
        done = block(*[p.flatten(1, 2) for p in parts], mask)
        return [from_windows(x.unflatten(1, (nh, nw)), shift) for x in done]
    chunk = CPU_CHUNK if parts[0].device.type == "cpu" else GPU_CHUNK
    rows = [(0, nh - 1, 0), (nh - 1, nh, 2)] if shift else [(0, nh, 0)]
    columns = [(0, nw - 1, 0), (nw - 1, nw, 1)] if shift else [(0, nw, 0)]
    extra: list[Tensor] = []
    for top, bottom, below in rows:
        for left, right, beside in columns:
            if right == left:
                continue
            mask = masks[below + beside] if below + beside else None
            step = max(1, chunk // ((right - left) * len(parts[0])))
            for low in range(top, bottom, step):
                at = (slice(None), slice(low, min(low + step, bottom)), slice(left, right))
                results = block(*[p[at].flatten(1, 2) for p in parts], mask)
                if len(results) > len(parts) and not extra:
                    extra = [f.new_empty((*parts[0].shape[:4], f.shape[-1])) for f in results[len(parts) :]]
                for target, part in zip([*parts, *extra], results, strict=True):
                    target[at] = part.view(target[at].shape)
    return [from_windows(x, shift) for x in [*parts, *extra]]


def drop_scale(x: Tensor, rate: float, training: bool) -> Tensor | None:
    """Drop path: a factor per sample (first dimension of x), 0 for a share `rate` of them, 1 / (1 - rate) for the
    others; None outside training.
    """
    if not training or not rate:
        return None
    return (torch.rand((len(x), *[1] * (x.ndim - 1)), device=x.device) >= rate) / (1 - rate)


def scaled(x: Tensor, factor: Tensor | None) -> Tensor:
    """x times what `drop_scale` gave, in the precision of x."""
    return x if factor is None else x * factor.to(x.dtype)


class WindowAttention(nn.Module):
    """Attention inside windows with a relative position bias; keys and values from another tensor where one is
    given.
    """

    index: Tensor

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        y, x = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
        place = torch.stack([y.flatten(), x.flatten()])
        dy, dx = (place[:, :, None] - place[:, None, :] + WINDOW - 1).unbind(0)
        self.register_buffer("index", (dy * (2 * WINDOW - 1) + dx).flatten(), persistent=False)

    def forward(self, x: Tensor, other: Tensor | None, mask: Tensor | None) -> Tensor:
        """x, other (B, n, 64, C); mask (64, 64) or (n, 1, 64, 64)"""
        b, n, _, c = x.shape
        if other is None:
            parts = self.qkv(x).transpose(-1, -2).split(c, 2)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            kv = F.linear(other, weight[c:], bias[c:]).transpose(-1, -2)
            parts = (F.linear(x, weight[:c], bias[:c]).transpose(-1, -2), *kv.split(c, 2))
        # heads lie as (d, 64): matrix products of few rows and many columns are several times quicker than the reverse
        q, k, v = (p.reshape(b * n * self.heads, c // self.heads, CELLS) for p in parts)
        added = self.places()
        added = added if mask is None else added + mask.to(added.dtype)
        out = attend(q * (c // self.heads) ** -0.5, k, v, added, b)
        return self.proj(out.view(b, n, c, CELLS).transpose(-1, -2))

    def places(self) -> Tensor:
        """The bias of two places in a window, (heads, 64 queries, 64 keys)."""
        return self.table[self.index].view(CELLS, CELLS, self.heads).permute(2, 0, 1)


class _Attend(torch.autograd.Function):
    """Softmax attention whose scores are written once and whose gradients need no copies; works in the precision of its
    inputs.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, added: Tensor, batch: int) -> Tensor:
        weights = _weights(q, k, added, batch)
        ctx.save_for_backward(q, k, v, weights)
        ctx.added = added.shape
        return v @ weights.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        q, k, v, weights = ctx.saved_tensors
        inner = torch._softmax_backward_data(grad.transpose(1, 2) @ v, weights, -1, weights.dtype)
        heads, n = ctx.added[-3], weights.shape[0] // ctx.added[-3]
        added = inner.view(n, heads, CELLS, CELLS)
        if len(ctx.added) == 4:
            added = added.view(-1, *ctx.added)
        return k @ inner.transpose(1, 2), q @ inner, grad @ weights, added.sum(0), None


def _weights(q: Tensor, k: Tensor, added: Tensor, batch: int) -> Tensor:
    """(batch n heads, 64, 64)"""
    score = (q.transpose(1, 2) @ k).view(batch, -1, *added.shape[-3:])
    return score.add_(added).softmax(-1).view(-1, CELLS, CELLS)


def attend(q: Tensor, k: Tensor, v: Tensor, added: Tensor, batch: int) -> Tensor:
    """softmax(q^T k + added) of each window and head, applied to v: q, k, v (batch n heads, d, 64), added (heads, 64,
    64) or (n, heads, 64, 64).

    Under autocast all of it, the softmax too, is of the lower precision of q.
    """
    if not torch.is_grad_enabled() and not torch.is_autocast_enabled(q.device.type):
        return v @ _weights(q, k, added, batch).transpose(1, 2)
    if torch.compiler.is_compiling():  # the compiler joins the steps itself
        with torch.autocast(q.device.type, enabled=False):
            score = (q.transpose(1, 2) @ k).view(batch, -1, *added.shape[-3:]) + added.to(q.dtype)
            return v @ score.softmax(-1).view(-1, CELLS, CELLS).transpose(1, 2)
    with torch.autocast(q.device.type, enabled=False):
        return _Attend.apply(q, k, v, added.to(q.dtype), batch)


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, cin: int, hidden: int, cout: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(cin, hidden), nn.Linear(hidden, cout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., cin) -> (..., cout)"""
        return self.second(F.gelu(self.first(x)))


class SwinBlock(nn.Module):
    """Self attention in windows, then an MLP of twice the width."""

    def __init__(self, channels: int, heads: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads)
        self.mlp = Mlp(channels, 2 * channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor]:
        """Windows (B, n, 64, C), mask of shifted ones or None -> the same, in a tuple as `over_windows` wants it."""
        factors = [drop_scale(x, self.rate, self.training) for _ in range(2)]
        return (self.body(x, mask, *factors),)

    def body(self, x: Tensor, mask: Tensor | None, first: Tensor | None, second: Tensor | None) -> Tensor:
        """The block with given factors of drop path: the part that is worth compiling."""
        x = x + scaled(self.attn(self.norm1(x), None, mask), first)
        return x + scaled(self.mlp(self.norm2(x)), second)

    def compiled(self, x: Tensor, shift: int, masks: Tensor) -> bool:
        """The block over all windows of features (B, H, W, C), in place, by compiled code; False where it cannot be,
        and nothing is done. masks: of `shift_masks`.
        """
        found = takes_block(self.attn, x)
        if found is None:
            return False
        weights = weights_of(self.norm1, self.attn, self.norm2, self.mlp)
        extra = compiled.added(self.attn.places(), masks if shift else None)
        compiled.swin_block(found, x, self.attn.heads, shift, weights, extra)
        return True


def takes_block(attention: WindowAttention, *features: Tensor) -> native.Kernels | None:
    """The compiled kernels, where they can do a block with such attention on such features."""
    weight = attention.qkv.weight
    if weight.dtype != torch.float32 or weight.shape[1] // attention.heads > compiled.MOST_SIZE:
        return None
    return native.takes(*features)


def weights_of(*parts: nn.Module) -> Tensor:
    """Weights of LayerNorm, WindowAttention and Mlp one after the other, as compiled blocks read them."""
    found: list[Tensor] = []
    for part in parts:
        if isinstance(part, WindowAttention):
            found += [part.qkv.weight, part.qkv.bias, part.proj.weight, part.proj.bias]
        elif isinstance(part, Mlp):
            found += [part.first.weight, part.first.bias, part.second.weight, part.second.bias]
        elif isinstance(part, nn.LayerNorm):
            found += [part.weight, part.bias]
        else:
            raise TypeError(f"no weights of {type(part).__name__} are read by compiled blocks")
    return compiled.packed(*found)
