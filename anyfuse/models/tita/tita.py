"""TITA: task-invariant interaction, task-specific adaptation (ICCV 2025, arXiv 2504.05164).

    network.py   the paper's network; its parts: windows.py, isf.py, ipa.py, oaf.py
    below        tiling, explanations, and what is ours: `bound`, by which outside training no pixel leaves the range
                 between the sources' pixels there, so equal images come back unchanged and black stays black

Tiling. The weights of OAF come from the mean of all features. `global_features` keeps the features' means over 8x8
pixels and `context` makes the weights of them, so tiles get those of the whole image, at the price of a second pass.
Windows start at multiples of 8, as tiles do, and `halo` covers what a pixel can see, so tiled and whole results are the
same up to rounding errors.

Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import Tensor, torch
from ..base import Context, FusionModel
from .config import BRANCHES, MEDIUM, SMALL, TITAConfig
from .ipa import IPA
from .isf import ISF
from .network import TITANetwork
from .oaf import OAF
from .windows import WINDOW


class TITA(TITANetwork, FusionModel):
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

    def __init__(self, config: TITAConfig | None = None) -> None:
        cfg = config or TITAConfig()
        super().__init__(cfg)
        # what a pixel can see: 4 per block, up to 7 more for the first block of the way back and after OAF, six
        # convolutions
        self.halo = 4 * (cfg.extract + sum(cfg.interact) + cfg.rebuild) + 12
        self.working_bytes = 28 * cfg.channels + 250
        self.stored_bytes = 4 * cfg.channels + 8

    def global_features(self, sources: Tensor) -> Tensor:
        """Means of the features over 8x8 pixels, (B, 2, C, H/8, W/8), A's first."""
        x = torch.stack(self._features(sources), 1)  # (B, 2, H, W, C)
        x = x.unflatten(2, (-1, WINDOW)).unflatten(4, (-1, WINDOW)).mean((3, 5))
        return x.movedim(-1, 2).float()

    def context(self, reduced: Tensor) -> Context:
        """-> the weights of OAF alone, (B, 6, 1, 1)"""
        return Context((self._weigh(reduced.mean((-2, -1)).flatten(1).to(self.embed.weight.dtype)),))

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """sources (B, 2, 1, H, W) in [0, 1] -> fused (B, 1, H, W) in [0, 1], without bounds in training

        H and W are multiples of 8. context: of `context`.
        """
        fused = self.reconstruct(sources, None if context is None else context.maps[0])
        return fused if self.training else self._bound(fused, sources).clamp(0, 1)

    def _bound(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Ours: fused (B, 1, H, W), between the sources' pixels (B, 2, 1, H, W)."""
        if not self.config.bound:
            return fused
        return torch.minimum(torch.maximum(fused, sources.amin(1)), sources.amax(1))

    @torch.no_grad()
    def explain(self, sources: Tensor, condition: None = None, context: Context | None = None) -> dict[str, Tensor]:
        """Weights of OAF, (B,) each, and two maps (B, H, W) for each block and source.

        phi: the largest phi of a pixel (its mean if a sigmoid); cross: share of the other source in IPA's values, mean
        over heads. `first` and `second` are the sources in the order they were given to the model.
        """
        explained: list[Tensor] = []
        x, y = self._features(sources, explained)
        _, w = self._adapt(x, y, None if context is None else context.maps[0])
        names = self.config.branches or ("mean",)
        out = {f"{s} {b}": w[:, i, 0, 0] for i, (s, b) in enumerate((s, b) for s in ("second", "first") for b in names)}
        for k, maps in enumerate(explained, 1):
            for name, m in zip(
                ("phi second", "cross second", "phi first", "cross first"), maps.unbind(-1), strict=True
            ):
                out[f"{name} {k:02d}"] = m.float()
        return out


__all__ = ["BRANCHES", "IPA", "ISF", "MEDIUM", "OAF", "SMALL", "TITA", "TITAConfig"]
