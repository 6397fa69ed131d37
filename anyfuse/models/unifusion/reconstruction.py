"""Reconstructors R of UniFusion (CVPR 2026, arXiv 2603.14214): features z of one input -> the input itself.

The lower level of training: L_rec = 1/2 |I_A - R_A(z_A)| + 1/2 |I_B - R_B(z_B)|, by phi (adapters and reconstructors).
Fusion does not need them. The numbers of the paper's equations are not known to us; figure 1 shows the two levels.

Origin: rewritten from the paper and from facts about its released code; none of that code is here. Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import F, Tensor, nn
from .attention import Pointwise, RestormerBlock
from .config import UniFusionConfig


class Reconstructor(nn.Module):
    """Features of one input -> the input itself."""

    def __init__(self, c: UniFusionConfig) -> None:
        super().__init__()
        self.blocks = nn.Sequential(RestormerBlock(c.width, c.heads), RestormerBlock(c.width, c.heads))
        self.out = Pointwise(c.width, 12 if c.half else 3, bias=True)
        self.fold = 2 if c.half else 1

    def forward(self, z: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, 3, H, W)"""
        return F.pixel_shuffle(self.out(self.blocks(z)), self.fold)
