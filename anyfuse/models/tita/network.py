"""The network of TITA: task-invariant interaction, task-specific adaptation (ICCV 2025, arXiv 2504.05164).

Origin: written from the paper's formulas and measured facts about its network; no code was copied. Licence: Apache-2.0.

    stem         two convolutions, the same for both sources; one LayerNorm, used again before each following stage
    extract      Swin blocks, own ones for each source (windows.py)
    interact     ISF blocks: windowed cross attention, IPA, MLP (isf.py, ipa.py)
    adapt        OAF: high-pass, additive and multiplicative operations on each source, six weights (oaf.py)
    rebuild      Swin blocks, three convolutions

ISF, IPA and OAF bear the paper's names; the numbers of its equations are not known to us.

The network is not symmetric: its source A is the visible, or the brighter, image. anyfuse gives grey before colour and
darker before brighter (`ordered`, see image/roles.py), in training and in use, so sources[:, 0] is B and
sources[:, 1] is A.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from ...arrays import Tensor, nn, torch
from .config import TITAConfig
from .isf import ISF
from .oaf import OAF
from .windows import SHIFT, Mlp, SwinBlock, over_windows, shift_masks


def convolutions(*channels: int, last: bool) -> nn.Sequential:
    """3x3 convolutions, each followed by a leaky ReLU, the last one too if `last`."""
    layers: list[nn.Module] = []
    for cin, cout in pairwise(channels):
        layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*(layers if last else layers[:-1]))


class TITANetwork(nn.Module):
    """Luma of two sources -> fused luma, without bounds."""

    hidden: Tensor

    def __init__(self, cfg: TITAConfig) -> None:
        super().__init__()
        self.config = cfg
        c, h = cfg.channels, cfg.heads
        self.stem = convolutions(1, c // 2, c, last=True)
        self.stem_b = convolutions(1, c // 2, c // 2, last=True) if cfg.second_stem else None
        self.embed = nn.LayerNorm(c)
        rates = torch.linspace(0, cfg.drop_path, cfg.extract, device="cpu").tolist()
        self.extract_a = nn.ModuleList([SwinBlock(c, h, r) for r in rates])
        self.extract_b = nn.ModuleList([SwinBlock(c, h, r) for r in rates])
        self.extract_norm = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        rates = torch.linspace(0, cfg.drop_path, sum(cfg.interact), device="cpu").tolist()
        intra = [cfg.attention == "intra" or (cfg.attention == "mixed" and i // 2 % 2 == 0) for i in range(len(rates))]
        self.interact = nn.ModuleList([ISF(cfg, r, own) for r, own in zip(rates, intra, strict=True)])
        self.shifts = [SHIFT * (i % 2) for depth in cfg.interact for i in range(depth)]  # starts anew in each group
        self.interact_norm = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        n = len(cfg.branches)
        self.adapt = nn.ModuleList([OAF(c, cfg.branches) for _ in range(2)]) if n else None
        self.weigh = Mlp(2 * c, c, 2 * n) if n else None
        self.rebuild = nn.ModuleList(
            [SwinBlock(c, h, r) for r in torch.linspace(0, cfg.drop_path, cfg.rebuild, device="cpu").tolist()]
        )
        self.rebuild_norm = nn.LayerNorm(c)
        self.head = convolutions(c, c // 2, c // 4, 1, last=False)
        self.register_buffer("hidden", shift_masks(), persistent=False)
        self.apply(_initialise)

    def _whole(self) -> bool:
        return self.training or torch.is_grad_enabled()

    def _swin(self, blocks: nn.ModuleList, x: Tensor) -> Tensor:
        x = x.clone() if not self._whole() else x  # compiled blocks work in place
        for i, block in enumerate(blocks):
            shift = SHIFT * (i % 2)
            assert isinstance(block, SwinBlock)
            if self._whole() or not block.compiled(x, shift, self.hidden):
                (x,) = over_windows(block, [x], shift, self.hidden, self._whole())
        return x

    def _features(self, sources: Tensor, explained: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """sources (B, 2, 1, H, W) -> features of A and of B before OAF, (B, H, W, C) each; fills `explained`."""
        both = torch.cat([sources[:, 1], sources[:, 0]]).to(self.embed.weight.dtype)
        x, y = self.embed(self.stem(both).movedim(1, -1)).chunk(2)
        x = self.embed(self.extract_norm[0](self._swin(self.extract_a, x)))
        y = self.embed(self.extract_norm[1](self._swin(self.extract_b, y)))
        for block, shift in zip(self.interact, self.shifts, strict=True):
            assert isinstance(block, ISF)
            if explained is None and not self._whole() and block.compiled(x, y, shift, self.hidden):
                continue
            run = block if explained is None else partial(block, explain=True)
            x, y, *maps = over_windows(run, [x, y], shift, self.hidden, self._whole())
            if explained is not None:
                explained += maps
        return self.interact_norm[0](x), self.interact_norm[1](y)

    def _weigh(self, means: Tensor) -> Tensor:
        """Means of the features (B, 2C), A's first -> weights (B, 2 branches, 1, 1): A's, then B's; they sum to 1"""
        if self.weigh is None:
            return means.new_full((len(means), 2, 1, 1), 0.5)
        return self.weigh(means).softmax(-1)[..., None, None]

    def _adapt(self, x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features of A and B -> fused features (B, H, W, C) and the weights (B, 6, 1, 1), computed where None."""
        w = self._weigh(torch.cat([x, y], -1).mean((1, 2))) if weights is None else weights
        if self.adapt is None:
            return w[:, :1] * x + w[:, 1:] * y, w
        wa, wb = w.chunk(2, 1)
        return self.adapt[0](x, wa) + self.adapt[1](y, wb), w

    def reconstruct(self, sources: Tensor, weights: Tensor | None = None) -> Tensor:
        """sources (B, 2, 1, H, W) in [0, 1], H and W multiples of 8 -> fused (B, 1, H, W), not clamped

        weights: of OAF (B, 6, 1, 1); None: they come from the mean of these sources' features.
        """
        x, _ = self._adapt(*self._features(sources), weights)
        x = self.rebuild_norm(self._swin(self.rebuild, self.embed(x)))
        return self.head(x.movedim(-1, 1)).float()


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
