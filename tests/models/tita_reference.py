"""TITA written slowly from its formulas: loops, no tricks; and models and images to compare it on."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from conftest import scene
from torch import Tensor, nn

from anyfuse.models.tita.tita import TITA, TITAConfig

TINY = TITAConfig(channels=12, extract=2, interact=(2, 1), rebuild=2, heads=6)


def perturbed(config: TITAConfig = TINY, seed: int = 0, size: float = 0.2) -> TITA:
    """All weights moved: at the initial values several wrong readings of the paper hardly change the result."""
    torch.manual_seed(seed)
    model = TITA(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(size * torch.randn(p.shape))
    return model


def textured(height: int, width: int, seed: int = 0, batch: int = 1) -> Tensor:
    return torch.stack(
        [
            torch.stack([torch.from_numpy(scene(height, width, seed + 10 * b + k)).float()[None] for k in range(2)])
            for b in range(batch)
        ]
    )


def norm(x: Tensor, layer: nn.Module) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / (((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5).sqrt() * layer.weight + layer.bias


def linear(x: Tensor, layer: nn.Module) -> Tensor:
    return x @ layer.weight.T + layer.bias


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def mlp(x: Tensor, m: nn.Module) -> Tensor:
    return linear(gelu(linear(x, m.first)), m.second)


def window_attention(q_from: Tensor, kv_from: Tensor, m: nn.Module, shift: int) -> Tensor:
    """(H, W, C) of one image, pair of pixels by pair of pixels as far as bearable: window by window, head by head."""
    height, width, c = q_from.shape
    heads, d = m.heads, c // m.heads
    q = linear(q_from, m.qkv)[..., :c].roll((-shift, -shift), (0, 1))
    k, v = linear(kv_from, m.qkv)[..., c:].roll((-shift, -shift), (0, 1)).chunk(2, -1)
    region = torch.zeros(height, width, dtype=torch.long)
    if shift:
        for i, rows in enumerate((slice(0, -8), slice(-8, -shift), slice(-shift, None))):
            for j, cols in enumerate((slice(0, -8), slice(-8, -shift), slice(-shift, None))):
                region[rows, cols] = 3 * i + j
    bias = torch.empty(heads, 64, 64)
    for a in range(64):
        for b in range(64):
            dy, dx = a // 8 - b // 8 + 7, a % 8 - b % 8 + 7
            bias[:, a, b] = m.table[dy * 15 + dx]
    out = torch.empty_like(q_from)
    for top in range(0, height, 8):
        for left in range(0, width, 8):
            at = (slice(top, top + 8), slice(left, left + 8))
            ids = region[at].flatten()
            mask = torch.where(ids[:, None] == ids[None], 0.0, -100.0)
            window = []
            for h in range(heads):
                qh, kh, vh = (t[at][..., h * d : (h + 1) * d].reshape(64, d) for t in (q, k, v))
                window.append((qh @ kh.T / math.sqrt(d) + bias[h] + mask).softmax(-1) @ vh)
            out[at] = torch.cat(window, -1).view(8, 8, c)
    return linear(out.roll((shift, shift), (0, 1)), m.proj)


def pixel_attention(ipa: nn.Module, index: int, own: Tensor, other: Tensor, config: TITAConfig) -> Tensor:
    """The two keys by the formula, through PyTorch's own multi-head attention, a sequence of 1 against 2 for each
    pixel.
    """
    c = own.shape[-1]
    gate = mlp(torch.cat([own, other], -1), ipa.gate)
    phi = gate.softmax(-1) if config.phi == "softmax" else gate.sigmoid()
    n_k = ipa.noise_k[index] if config.noise else 0
    n_v = ipa.noise_v[index] if config.noise else 0
    keys = torch.stack([n_k + own - own * phi, n_v + own + own * phi]).view(2, -1, c)
    values = torch.stack([own, other]).view(2, -1, c)
    mha = nn.MultiheadAttention(c, config.heads)
    source = ipa.attend[index]
    mha.load_state_dict({k: v.detach() for k, v in source.state_dict().items()})
    return own + mha(own.reshape(1, -1, c), keys, values)[0].view_as(own)


def operands(block: nn.Module, x: Tensor, weights: list[Tensor], branches: tuple[str, ...]) -> Tensor:
    """(C, H, W): the branches by their definitions, the high-pass with an unfold of 9 C channels."""
    g = F.conv2d(x[None], block.make.weight, block.make.bias)
    out = torch.zeros_like(x)
    for name, w in zip(branches, weights, strict=True):
        made = F.conv2d(g, block.branches[name].weight, block.branches[name].bias, padding=1)[0]
        if name == "hpf":
            line = torch.tensor([0.08, 1.0, 0.08])
            k = made.softmax(0) * line.outer(line).flatten()[:, None, None]
            k = k / k.sum(0)
            unfolded = F.unfold(F.pad(x[None], (1, 1, 1, 1), mode="reflect"), 3).view(len(x), 9, *x.shape[1:])
            out = out + w * (x - (unfolded * k).sum(1))
        elif name == "add":
            out = out + w * (x + made)
        else:
            out = out + w * (x * made)
    return out


def swin(x: Tensor, blocks: nn.ModuleList) -> Tensor:
    for i, b in enumerate(blocks):
        n = norm(x, b.norm1)
        x = x + window_attention(n, n, b.attn, 4 * (i % 2))
        x = x + mlp(norm(x, b.norm2), b.mlp)
    return x


def convolve(x: Tensor, layers: nn.Sequential, last: bool) -> Tensor:
    convs = [m for m in layers if isinstance(m, nn.Conv2d)]
    for i, conv in enumerate(convs):
        x = F.conv2d(x[None], conv.weight, conv.bias, padding=1)[0]
        if last or i + 1 < len(convs):
            x = torch.where(x > 0, x, 0.2 * x)
    return x


@torch.no_grad()
def reference(model: TITA, a: Tensor, b: Tensor) -> Tensor:
    """The whole network for one pair (H, W), A the brighter or visible one -> (H, W), unclamped."""
    config = model.config
    x, y = (norm(convolve(s[None], model.stem, True).movedim(0, -1), model.embed) for s in (a, b))
    x = norm(norm(swin(x, model.extract_a), model.extract_norm[0]), model.embed)
    y = norm(norm(swin(y, model.extract_b), model.extract_norm[1]), model.embed)
    number = 0
    for depth in config.interact:
        for i in range(depth):
            block = model.interact[number]
            nx, ny = norm(x, block.norm1[0]), norm(y, block.norm1[1])
            intra = config.attention == "intra" or (config.attention == "mixed" and number // 2 % 2 == 0)
            xa = window_attention(nx, nx if intra else ny, block.attn[0], 4 * (i % 2))
            ya = window_attention(ny, ny if intra else nx, block.attn[1], 4 * (i % 2))
            if config.interaction:
                xa, ya = (
                    pixel_attention(block.ipa, 0, xa, ya, config),
                    pixel_attention(block.ipa, 1, ya, xa, config),
                )
            x, y = x + xa, y + ya
            x = x + mlp(norm(x, block.norm2[0]), block.mlp[0])
            y = y + mlp(norm(y, block.norm2[1]), block.mlp[1])
            number += 1
    x, y = norm(x, model.interact_norm[0]), norm(y, model.interact_norm[1])
    if config.branches:
        w = list(mlp(torch.cat([x.mean((0, 1)), y.mean((0, 1))]), model.weigh).softmax(0))
        n = len(config.branches)
        fused = operands(model.adapt[0], x.movedim(-1, 0), w[:n], config.branches)
        fused = fused + operands(model.adapt[1], y.movedim(-1, 0), w[n:], config.branches)
        fused = fused.movedim(0, -1)
    else:
        fused = (x + y) / 2
    z = norm(swin(norm(fused, model.embed), model.rebuild), model.rebuild_norm)
    return convolve(z.movedim(-1, 0), model.head, False)[0]
