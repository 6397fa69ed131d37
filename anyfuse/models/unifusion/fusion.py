"""Fusion network F of UniFusion (CVPR 2026, arXiv 2603.14214): four rounds of paired cross blocks, then a decoder.

    x = cross_A(x, y), y = cross_B(y, x)             in each round; y sees the new x
    F = conv3x3(conv3x3(block(conv3x3 [x; y])))

Its parameters are theta, which the upper level of training updates:
theta <- theta - eta_U grad L_fuse(theta; phi), figure 1 (training/strategies/bilevel.py). The numbers of the paper's
equations are not known to us.

Sets of any number of inputs are ours: additions.py.

Origin: rewritten from the paper and from facts about its released code; none of that code is here. Licence: Apache-2.0.
"""

from __future__ import annotations

from typing import cast

from ...arrays import F, Tensor, nn, torch
from .attention import RestormerBlock
from .config import UniFusionConfig


class Fusion(nn.Module):
    """Rounds of cross blocks between the inputs' features, and a decoder. sides: cross blocks of a round."""

    def __init__(self, c: UniFusionConfig, sides: int = 2) -> None:
        super().__init__()
        self.rounds = nn.ModuleList(
            [nn.ModuleList(RestormerBlock(c.width, c.heads, True) for _ in range(sides)) for _ in range(c.rounds)]
        )
        self.join = nn.Conv2d(2 * c.width, c.width, 3, 1, 1)
        self.refine = RestormerBlock(c.width, c.heads)
        self.narrow = nn.Conv2d(c.width, c.width // 2, 3, 1, 1)
        self.fold = 2 if c.half else 1
        self.out = nn.Conv2d(c.width // 2, 3 * self.fold**2, 3, 1, 1)

    def forward(self, z: list[Tensor]) -> Tensor:
        """Features of each input (B, D, H, W) -> (B, 3, H, W), less the mean colour"""
        first, second = self.exchange(z)
        x = self.refine(self.join(torch.cat([first, second], 1)))
        return F.pixel_shuffle(self.out(self.narrow(x)), self.fold)

    def exchange(self, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The rounds: features of each input -> the two maps (B, D, H, W) that the decoder joins."""
        first, second = z
        for blocks in self.rounds:
            one, two = cast(nn.ModuleList, blocks)
            first = one(first, second)
            second = two(second, first)  # sees the first's new value
        return first, second
