"""Fusion network F of UniFusion (CVPR 2026, arXiv 2603.14214): four rounds of paired cross blocks, then a decoder.

    x = cross_A(x, y), y = cross_B(y, x)             in each round; y sees the new x
    F = conv3x3(conv3x3(block(conv3x3 [x; y])))

Its parameters are theta, which the upper level of training updates:
theta <- theta - eta_U grad L_fuse(theta; phi) (training/strategies/bilevel.py).

inputs='set' is ours: one cross block for all, each input attends to all others; the decoder gets mean and maximum.

Origin: rewritten from the paper and from facts about its released code; none of that code is here. Licence: Apache-2.0.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base import unflatten_set
from .attention import RestormerBlock
from .config import UniFusionConfig


class Fusion(nn.Module):
    """Rounds of cross blocks between the inputs' features, and a decoder."""

    def __init__(self, c: UniFusionConfig) -> None:
        super().__init__()
        self.set = c.inputs == "set"
        sides = 1 if self.set else 2
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
        if self.set:
            n = len(z)
            x = torch.stack(z, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            for blocks in self.rounds:
                x = cast(nn.ModuleList, blocks)[0](x, x, n)
            parts = unflatten_set(x, n)
            first, second = parts.mean(1), parts.amax(1)
        else:
            first, second = z
            for blocks in self.rounds:
                one, two = cast(nn.ModuleList, blocks)
                first = one(first, second)
                second = two(second, first)  # sees the first's new value
        x = self.refine(self.join(torch.cat([first, second], 1)))
        return F.pixel_shuffle(self.out(self.narrow(x)), self.fold)
