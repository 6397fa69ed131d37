"""ISF of TITA (ICCV 2025, arXiv 2504.05164): a block of task-invariant interaction between two sources.

    XA = W-MCA(Q = LN X1, K = V = LN X2), XB alike      windowed cross attention both ways (windows.py)
    XA, XB <- IPA(XA, XB)                               ipa.py
    X1 = X1 + XA, X1 = X1 + MLP(LN X1), X2 alike

All is made from the old X1 and X2. The block is SwinFusion's inter-domain block (Ma et al. 2022) with IPA in it; the
numbers of the paper's equations are not known to us.

Origin: written from the formulas; no code was copied. Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import Tensor, nn, torch
from ...native import windows as compiled
from .config import TITAConfig
from .ipa import IPA
from .windows import Mlp, WindowAttention, drop_scale, scaled, takes_block, weights_of


class ISF(nn.Module):
    """ISF: windowed cross attention both ways from the old x and y, IPA, then an MLP for each source."""

    def __init__(self, config: TITAConfig, rate: float, intra: bool) -> None:
        super().__init__()
        c = config.channels
        self.rate, self.intra = rate, intra
        self.norm1 = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        self.norm2 = nn.ModuleList([nn.LayerNorm(c) for _ in range(2)])
        self.attn = nn.ModuleList([WindowAttention(c, config.heads) for _ in range(2)])
        self.mlp = nn.ModuleList([Mlp(c, 2 * c, c) for _ in range(2)])
        self.ipa = IPA(config) if config.interaction else None

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None, explain: bool = False) -> tuple[Tensor, ...]:
        """Windows of both sources (B, n, 64, C) -> the same; if `explain`, also what IPA explains.

        mask: of shifted windows, see windows.shift_masks.
        """
        return self.body(x, y, mask, explain, *[drop_scale(x, self.rate, self.training) for _ in range(4)])

    def body(
        self, x: Tensor, y: Tensor, mask: Tensor | None, explain: bool, *factors: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The block with given factors of drop path: the part that is worth compiling."""
        nx, ny = self.norm1[0](x), self.norm1[1](y)
        xa = self.attn[0](nx, None if self.intra else ny, mask)
        ya = self.attn[1](ny, None if self.intra else nx, mask)
        explained: tuple[Tensor, ...] = ()
        if self.ipa is not None:
            xa, ya, *maps = self.ipa(xa, ya, explain)
            explained = tuple(maps)
        x = x + scaled(xa, factors[0])
        y = y + scaled(ya, factors[1])
        x = x + scaled(self.mlp[0](self.norm2[0](x)), factors[2])
        y = y + scaled(self.mlp[1](self.norm2[1](y)), factors[3])
        return (x, y, *explained)

    def compiled(self, x: Tensor, y: Tensor, shift: int, masks: Tensor) -> bool:
        """The block over all windows of both sources (B, H, W, C), in place, by compiled code; False where it cannot
        be, and nothing is done. masks: of `windows.shift_masks`.
        """
        attention = [part for part in self.attn if isinstance(part, WindowAttention)]
        found = takes_block(attention[0], x, y)
        if found is None:
            return False
        before = [weights_of(norm, part) for norm, part in zip(self.norm1, attention, strict=True)]
        between = [] if self.ipa is None else [self.ipa.packed()]
        after = [weights_of(norm, part) for norm, part in zip(self.norm2, self.mlp, strict=True)]
        extra = torch.stack([compiled.added(part.places(), masks if shift else None) for part in attention])
        flags = (self.intra, self.ipa is not None, self.ipa is not None and self.ipa.sigmoid)
        weights = compiled.packed(*before, *between, *after)
        compiled.isf_block(found, x, y, attention[0].heads, shift, flags, weights, extra)
        return True
