"""TITA: task-invariant interaction, task-specific adaptation (ICCV 2025, arXiv 2504.05164).

Origin: written from the paper's formulas and measured facts about its network; no code was copied. Licence: Apache-2.0.

    stem         two convolutions, the same for both sources; one LayerNorm, used again before each following stage
    extract      Swin blocks, own ones for each source
    interact     windowed cross attention between the sources, then per-pixel attention over two keys (IPA), then an MLP
    adapt        OAF: high-pass, additive and multiplicative operands of each source, summed with six weights of the
                 whole image
    rebuild      Swin blocks, three convolutions

Roles. The network is not symmetric: its source A is the visible, or the brighter, image, as in the paper. anyfuse gives
grey before colour and darker before brighter (`ordered`, see stack.py), in training and in use, so sources[:, 0] is B
and sources[:, 1] is A.

Tiling. The weights of OAF come from the mean of all features. `reduce` keeps the features' means over 8x8 pixels and
`context` makes the weights of them, so tiles get those of the whole image, at the price of a second pass. Windows start
at multiples of 8, as tiles do, and `halo` covers what a pixel can see, so tiled and whole results are the same up to
rounding errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import FusionError
from ..base import Context, FusionModel
from .windows import SHIFT, WINDOW, Mlp, SwinBlock, WindowAttention, drop_scale, over_windows, scaled, shift_masks

BRANCHES = ("hpf", "add", "mul")


@dataclass(frozen=True)
class TITAConfig:
    """Channels, blocks per stage, heads; then what an ablation switches.

    phi: gate over channels as the paper has it, or a sigmoid per channel. noise: learned vectors added to IPA's keys.
    interaction: IPA at all. branches: operands of OAF; with none the result is the mean of both sources. attention: of
    the interaction's blocks; inter: each source asks the other (the paper's choice), intra: itself, mixed: two blocks
    intra, two inter, and so on.
    second_stem: also builds the released network's stem for B, which nothing uses. bound: ours; outside training no
    pixel leaves the range between the sources' pixels there, so equal images come back unchanged and black stays black.
    """

    channels: int = 60
    extract: int = 4
    interact: tuple[int, ...] = (4, 4)
    rebuild: int = 4
    heads: int = 6
    phi: Literal["softmax", "sigmoid"] = "softmax"
    noise: bool = True
    interaction: bool = True
    branches: tuple[str, ...] = BRANCHES
    attention: Literal["inter", "intra", "mixed"] = "inter"
    drop_path: float = 0.1
    second_stem: bool = False
    bound: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "interact", tuple(self.interact))
        unknown = [b for b in self.branches if b not in BRANCHES]
        if unknown:
            raise FusionError(f"branch '{unknown[0]}': give some of {', '.join(BRANCHES)}, or none")
        object.__setattr__(self, "branches", tuple(b for b in BRANCHES if b in self.branches))
        if self.heads < 1:
            raise FusionError(f"heads {self.heads}: give 1 or more")
        if min(self.extract, self.rebuild, *self.interact, 0) < 0 or not self.interact:
            raise FusionError(
                f"extract {self.extract}, interact {self.interact}, rebuild {self.rebuild}: give numbers of blocks, "
                "0 or more"
            )
        if self.channels < 4 or self.channels % 4 or self.channels % self.heads:
            raise FusionError(f"channels {self.channels} must divide by 4 and by the {self.heads} heads")
        if self.phi not in ("softmax", "sigmoid"):
            raise FusionError(f"phi '{self.phi}': give softmax or sigmoid")
        if self.attention not in ("inter", "intra", "mixed"):
            raise FusionError(f"attention '{self.attention}': give inter, intra or mixed")
        if not 0 <= self.drop_path < 1:
            raise FusionError(f"drop_path {self.drop_path}: give 0 or more, less than 1")


SMALL = TITAConfig(channels=24, extract=2, interact=(2, 2), rebuild=2, bound=True)
MEDIUM = TITAConfig(channels=36, extract=2, interact=(2, 2), rebuild=2, bound=True)


# ---------------------------------------------------------------------- parts


class PairAttention(nn.Module):
    """Multi-head attention of one query over two keys, for every pixel by itself.

    A softmax over two is a sigmoid of the scores' difference, so the keys enter by their difference alone, and the bias
    of the keys (kept for its place in checkpoints) cancels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, keys: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """query, keys (first less second), two values (..., C) -> result (..., C), share of the first value (...,
        heads)
        """
        wq, wk, wv = self.in_proj_weight.chunk(3)
        bq, _, bv = self.in_proj_bias.chunk(3)
        score = F.linear(query, wq, bq) * F.linear(keys, wk)
        score = score.unflatten(-1, (self.heads, -1)).sum(-1) / math.sqrt(query.shape[-1] // self.heads)
        share = score.sigmoid()
        each = F.linear(first - second, wv).unflatten(-1, (self.heads, -1)) * share[..., None]
        return self.out_proj(F.linear(second, wv, bv) + each.flatten(-2)), share


class PixelInteraction(nn.Module):
    """IPA: every pixel of a source attends to itself and to the same pixel of the other source.

    phi = gate(own, other); keys n_k + own - own phi and n_v + own + own phi, values own and other; the result is added
    to own.
    """

    def __init__(self, config: TITAConfig) -> None:
        super().__init__()
        c = config.channels
        self.sigmoid = config.phi == "sigmoid"
        self.gate = Mlp(2 * c, c, c)
        self.attend = nn.ModuleList([PairAttention(c, config.heads) for _ in range(2)])
        self.noise_k = nn.Parameter(torch.randn(2, c)) if config.noise else None
        self.noise_v = nn.Parameter(torch.randn(2, c)) if config.noise else None

    def _phi(self, own: Tensor, other: Tensor) -> Tensor:
        first = self.gate.first
        hidden = F.linear(own, first.weight[:, : own.shape[-1]], first.bias)
        hidden = hidden + F.linear(other, first.weight[:, own.shape[-1] :])  # saves joining the two
        gate = self.gate.second(F.gelu(hidden))
        return gate.sigmoid() if self.sigmoid else gate.softmax(-1)

    def _direction(self, index: int, own: Tensor, other: Tensor, show: bool) -> tuple[Tensor, ...]:
        """-> own after the interaction (..., C); if `show`, also (..., 2): strength of phi, share of the other
        source
        """
        phi = self._phi(own, other)
        keys = own * phi * -2
        if self.noise_k is not None and self.noise_v is not None:
            keys = keys + (self.noise_k[index] - self.noise_v[index])
        out, share = self.attend[index](own, keys, own, other)
        if not show:
            return (own + out,)
        strength = phi.mean(-1) if self.sigmoid else phi.amax(-1)
        return own + out, torch.stack([strength, 1 - share.mean(-1)], -1)

    def forward(self, x: Tensor, y: Tensor, show: bool = False) -> tuple[Tensor, ...]:
        x1, *shown1 = self._direction(0, x, y, show)
        y1, *shown2 = self._direction(1, y, x, show)
        return (x1, y1, torch.cat([*shown1, *shown2], -1)) if show else (x1, y1)


class InteractionBlock(nn.Module):
    """Windowed cross attention both ways from the old x and y, IPA, then an MLP for each source."""

    def __init__(self, config: TITAConfig, rate: float, intra: bool) -> None:
        super().__init__()
        c = config.channels
        self.rate, self.intra = rate, intra
        self.norm1 = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        self.norm2 = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        self.attn = nn.ModuleList([WindowAttention(c, config.heads) for _ in range(2)])
        self.mlp = nn.ModuleList([Mlp(c, 2 * c, c) for _ in range(2)])
        self.ipa = PixelInteraction(config) if config.interaction else None

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None, show: bool = False) -> tuple[Tensor, ...]:
        return self.body(x, y, mask, show, *[drop_scale(x, self.rate, self.training) for _ in range(4)])

    def body(
        self, x: Tensor, y: Tensor, mask: Tensor | None, show: bool, *factors: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The block with given factors of drop path: the part that is worth compiling."""
        nx, ny = self.norm1[0](x), self.norm1[1](y)
        xa = self.attn[0](nx, None if self.intra else ny, mask)
        ya = self.attn[1](ny, None if self.intra else nx, mask)
        shown: tuple[Tensor, ...] = ()
        if self.ipa is not None:
            xa, ya, *maps = self.ipa(xa, ya, show)
            shown = tuple(maps)
        x = x + scaled(xa, factors[0])
        y = y + scaled(ya, factors[1])
        x = x + scaled(self.mlp[0](self.norm2[0](x)), factors[2])
        y = y + scaled(self.mlp[1](self.norm2[1](y)), factors[3])
        return (x, y, *shown)


class Operands(nn.Module):
    """OAF for one source: operands made from the features themselves, and the features under them.

    hpf: x less its mean under nine weights per pixel, the same for all channels; add: x + a; mul: x * m.
    """

    hamming: Tensor

    def __init__(self, channels: int, branches: Sequence[str]) -> None:
        super().__init__()
        self.make = nn.Conv2d(channels, channels, 1)
        sizes = {"hpf": 9, "add": channels, "mul": channels}
        self.branches = nn.ModuleDict({b: nn.Conv2d(channels, sizes[b], 3, padding=1) for b in branches})
        taps = torch.tensor([0.08, 1.0, 0.08])
        self.register_buffer("hamming", taps.outer(taps).flatten(), persistent=False)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x (B, H, W, C), weights (B, branches, 1, 1) -> their weighted sum (B, H, W, C)"""
        g = self.make(x.movedim(-1, 1))
        shares = dict(zip(self.branches, weights.unbind(1), strict=True))
        plain = sum((s for b, s in shares.items() if b != "mul"), torch.zeros_like(weights[:, 0]))
        out = x * plain[..., None]
        for name, share in shares.items():
            made = self.branches[name](g).movedim(1, -1)  # (B, H, W, 9 or C)
            term = self._low(x, made) if name == "hpf" else x * made if name == "mul" else made
            out = out + (-share if name == "hpf" else share)[..., None] * term
        return out

    def _low(self, x: Tensor, logits: Tensor) -> Tensor:
        """Mean of 3x3 pixels under softmax weights times a Hamming window, border reflected; nine shifted products."""
        k = logits.softmax(-1) * self.hamming.to(logits.dtype)
        k = k / k.sum(-1, keepdim=True)
        h, w = x.shape[1:3]
        padded = torch.cat([x[:, 1:2], x, x[:, -2:-1]], 1)
        padded = torch.cat([padded[:, :, 1:2], padded, padded[:, :, -2:-1]], 2)
        low = padded[:, :h, :w] * k[..., :1]
        for i in range(1, 9):
            low = torch.addcmul(low, padded[:, i // 3 : i // 3 + h, i % 3 : i % 3 + w], k[..., i : i + 1])
        return low


def convolutions(*channels: int, last: bool) -> nn.Sequential:
    """3x3 convolutions, each followed by a leaky ReLU, the last one too if `last`."""
    layers: list[nn.Module] = []
    for cin, cout in pairwise(channels):
        layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*(layers if last else layers[:-1]))


# ---------------------------------------------------------------------- the network


class TITA(FusionModel):
    """See the module's text.

    Exactly two sources; luma only. The result is bound and clamped to [0, 1] except in training.
    """

    stride = WINDOW
    margin = 8
    arity = (2, 2)
    channels = 1
    ordered = True
    low_precision = False  # the network makes the pixels themselves, and bfloat16 has no 8 bits to spare
    context_scale = WINDOW
    hidden: Tensor

    def __init__(self, config: TITAConfig | None = None) -> None:
        super().__init__()
        self.config = cfg = config or TITAConfig()
        c, h = cfg.channels, cfg.heads
        self.stem = convolutions(1, c // 2, c, last=True)
        self.stem_b = convolutions(1, c // 2, c // 2, last=True) if cfg.second_stem else None
        self.embed = nn.LayerNorm(c)
        rates = torch.linspace(0, cfg.drop_path, cfg.extract).tolist()
        self.extract_a = nn.ModuleList([SwinBlock(c, h, r) for r in rates])
        self.extract_b = nn.ModuleList([SwinBlock(c, h, r) for r in rates])
        self.extract_norm = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        rates = torch.linspace(0, cfg.drop_path, sum(cfg.interact)).tolist()
        intra = [cfg.attention == "intra" or (cfg.attention == "mixed" and i // 2 % 2 == 0) for i in range(len(rates))]
        self.interact = nn.ModuleList([InteractionBlock(cfg, r, own) for r, own in zip(rates, intra, strict=True)])
        self.shifts = [SHIFT * (i % 2) for depth in cfg.interact for i in range(depth)]  # starts anew in each group
        self.interact_norm = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        n = len(cfg.branches)
        self.adapt = nn.ModuleList([Operands(c, cfg.branches) for _ in range(2)]) if n else None
        self.weigh = Mlp(2 * c, c, 2 * n) if n else None
        self.rebuild = nn.ModuleList(
            [SwinBlock(c, h, r) for r in torch.linspace(0, cfg.drop_path, cfg.rebuild).tolist()]
        )
        self.rebuild_norm = nn.LayerNorm(c)
        self.head = convolutions(c, c // 2, c // 4, 1, last=False)
        self.register_buffer("hidden", shift_masks(), persistent=False)
        self.apply(_initialise)
        # what a pixel can see: 4 per block, up to 7 more for the first block of the way back and after OAF, six
        # convolutions
        self.halo = 4 * (cfg.extract + sum(cfg.interact) + cfg.rebuild) + 12
        self.working_bytes = 28 * c + 250
        self.stored_bytes = 4 * c + 8

    def _whole(self) -> bool:
        return self.training or torch.is_grad_enabled()

    def _swin(self, blocks: nn.ModuleList, x: Tensor) -> Tensor:
        for i, block in enumerate(blocks):
            (x,) = over_windows(block, [x], SHIFT * (i % 2), self.hidden, self._whole())
        return x

    def _features(self, sources: Tensor, shown: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """sources (B, 2, 1, H, W) -> features of A and of B before OAF, (B, H, W, C) each; fills `shown` where it is
        given
        """
        both = torch.cat([sources[:, 1], sources[:, 0]]).to(self.embed.weight.dtype)
        x, y = self.embed(self.stem(both).movedim(1, -1)).chunk(2)
        x = self.embed(self.extract_norm[0](self._swin(self.extract_a, x)))
        y = self.embed(self.extract_norm[1](self._swin(self.extract_b, y)))
        for block, shift in zip(self.interact, self.shifts, strict=True):
            run = block if shown is None else partial(block, show=True)
            x, y, *maps = over_windows(run, [x, y], shift, self.hidden, self._whole())
            if shown is not None:
                shown += maps
        return self.interact_norm[0](x), self.interact_norm[1](y)

    def _weigh(self, means: Tensor) -> Tensor:
        """Means of the features (B, 2C), A's first -> weights (B, 2 branches, 1, 1): A's, then B's; they sum to 1"""
        if self.weigh is None:
            return means.new_full((len(means), 2, 1, 1), 0.5)
        return self.weigh(means).softmax(-1)[..., None, None]

    def global_features(self, sources: Tensor) -> Tensor:
        x = torch.stack(self._features(sources), 1)  # (B, 2, H, W, C)
        x = x.unflatten(2, (-1, WINDOW)).unflatten(4, (-1, WINDOW)).mean((3, 5))
        return x.movedim(-1, 2).float()

    def context(self, reduced: Tensor) -> Context:
        """-> the weights of OAF alone, (B, 6, 1, 1)"""
        return Context((self._weigh(reduced.mean((-2, -1)).flatten(1).to(self.embed.weight.dtype)),))

    def _adapt(self, x: Tensor, y: Tensor, context: Context | None) -> tuple[Tensor, Tensor]:
        """-> fused features (B, H, W, C) and the weights (B, 6, 1, 1)"""
        w = self._weigh(torch.cat([x, y], -1).mean((1, 2))) if context is None else context.maps[0]
        if self.adapt is None:
            return w[:, :1] * x + w[:, 1:] * y, w
        wa, wb = w.chunk(2, 1)
        return self.adapt[0](x, wa) + self.adapt[1](y, wb), w

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        x, _ = self._adapt(*self._features(sources), context)
        x = self.rebuild_norm(self._swin(self.rebuild, self.embed(x)))
        fused = self.head(x.movedim(-1, 1)).float()
        if self.training:
            return fused
        if self.config.bound:
            fused = torch.minimum(torch.maximum(fused, sources.amin(1)), sources.amax(1))
        return fused.clamp(0, 1)

    @torch.no_grad()
    def explain(self, sources: Tensor, condition: None = None, context: Context | None = None) -> dict[str, Tensor]:
        """Weights of OAF, (B,) each, and two maps (B, H, W) for each block and source.

        phi: the largest phi of a pixel (its mean if a sigmoid); cross: share of the other source in IPA's values, mean
        over heads. `first` and `second` are the sources in the order they were given to the model.
        """
        shown: list[Tensor] = []
        _, w = self._adapt(*self._features(sources, shown), context)
        names = self.config.branches or ("mean",)
        out = {f"{s} {b}": w[:, i, 0, 0] for i, (s, b) in enumerate((s, b) for s in ("second", "first") for b in names)}
        for k, maps in enumerate(shown, 1):
            for name, m in zip(
                ("phi second", "cross second", "phi first", "cross first"), maps.unbind(-1), strict=True
            ):
                out[f"{name} {k:02d}"] = m.float()
        return out


def _initialise(module: nn.Module) -> None:
    """Linear layers truncated normal with deviation 0.02, convolutions of OAF Xavier uniform, biases 0; other
    convolutions as PyTorch's.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Operands):
        for part in module.modules():
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)
