"""TITA: task-invariant interaction, task-specific adaptation (ICCV 2025, arXiv 2504.05164).

Origin: written from the paper's formulas and measured facts about its network; no code was copied. Licence: Apache-2.0.

    stem         two convolutions, the same for both sources; one LayerNorm, used again before each following stage
    extract      Swin blocks, own ones for each source (windows.py)
    interact     ISF blocks: windowed cross attention, IPA, MLP (ipa.py)
    adapt        OAF: high-pass, additive and multiplicative operations on each source, six weights (oaf.py)
    rebuild      Swin blocks, three convolutions
    bound        ours: outside training no pixel leaves the range between the sources' pixels there, so equal images
                 come back unchanged and black stays black

Roles. The network is not symmetric: its source A is the visible, or the brighter, image, as in the paper. anyfuse
gives grey before colour and darker before brighter (`ordered`, see image/stack.py), in training and in use, so
sources[:, 0] is B and sources[:, 1] is A.

Tiling. The weights of OAF come from the mean of all features. `global_features` keeps the features' means over 8x8
pixels and `context` makes the weights of them, so tiles get those of the whole image, at the price of a second pass.
Windows start at multiples of 8, as tiles do, and `halo` covers what a pixel can see, so tiled and whole results are the
same up to rounding errors.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..base import Context, FusionModel
from .config import BRANCHES, MEDIUM, SMALL, TITAConfig
from .ipa import IPA, ISF
from .oaf import OAF
from .windows import SHIFT, WINDOW, Mlp, SwinBlock, over_windows, shift_masks


def convolutions(*channels: int, last: bool) -> nn.Sequential:
    """3x3 convolutions, each followed by a leaky ReLU, the last one too if `last`."""
    layers: list[nn.Module] = []
    for cin, cout in pairwise(channels):
        layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*(layers if last else layers[:-1]))


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
        self.interact = nn.ModuleList([ISF(cfg, r, own) for r, own in zip(rates, intra, strict=True)])
        self.shifts = [SHIFT * (i % 2) for depth in cfg.interact for i in range(depth)]  # starts anew in each group
        self.interact_norm = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        n = len(cfg.branches)
        self.adapt = nn.ModuleList([OAF(c, cfg.branches) for _ in range(2)]) if n else None
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
            run = block if shown is None else partial(block, explain=True)
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
    elif isinstance(module, OAF):
        for part in module.modules():
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)


__all__ = ["BRANCHES", "IPA", "ISF", "MEDIUM", "OAF", "SMALL", "TITA", "TITAConfig"]
