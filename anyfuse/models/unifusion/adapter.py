"""Adapters of UniFusion (CVPR 2026, arXiv 2603.14214): features of the frozen backbone -> features at full size.

    a1 = Up(f8 + f11), a2 = Up(f5), a3 = Up(f2)      blocks 2, 5, 8, 11 of the ViT, at 1/16
    b1 = Up(a1 + a2), b2 = Up(a3), c = Up(b1 + b2), d = Up(c)
    z  = conv1x1 [d; s], s = a 3x3 convolution of the image itself
    Up = bilinear doubling, 3x3 convolution, norm, ReLU

Adapters and reconstructors are phi, which the lower level of training updates:
phi <- phi - eta_L grad L_rec(phi), figure 1 (training/strategies/bilevel.py). The numbers of the paper's equations
are not known to us; the figure of the network shows the ladder in its part (c).

Origin: rewritten from the paper and from facts about its released code; none of that code is here. Licence: Apache-2.0.
"""

from __future__ import annotations

import math

from ...arrays import F, Tensor, nn, torch
from .additions import RunningNorm
from .attention import Pointwise
from .config import UniFusionConfig


def make_norm(kind: str, channels: int) -> nn.Module:
    """The norm of a name, with a scale and a shift per channel: 'batch', the paper's; 'running' and 'group', ours."""
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return RunningNorm(channels) if kind == "running" else nn.BatchNorm2d(channels)


class UpConv(nn.Module):
    """Bilinear doubling (unless `up` is False), 3x3 convolution, norm, ReLU."""

    def __init__(self, cin: int, cout: int, norm: str, up: bool = True) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(cin, cout, 3, 1, 1, bias=False)
        self.norm = make_norm(norm, cout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, h, w) -> (B, cout, 2h, 2w), or (B, cout, h, w) without `up`"""
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(self.norm(self.conv(x)))


class Adapter(nn.Module):
    """Maps of the backbone and the image -> features of `width` channels at full size (half size with `half`)."""

    def __init__(self, c: UniFusionConfig, maps: int) -> None:
        super().__init__()
        self.fold = 2 if c.half else 1
        self.maps, self.ladder = maps, c.adapter and maps > 0
        pixels = 3 * self.fold**2
        if not c.adapter:
            self.skip: nn.Module = Pointwise(pixels, c.width)
            self.out = Pointwise(4 * maps, c.width, bias=True) if maps else None
            return
        thin = maps // 16 if maps else 24
        self.skip = UpConv(pixels, thin, c.norm, up=False)
        self.out = Pointwise(2 * thin if maps else thin, c.width, bias=True)
        if maps:
            self.deep = UpConv(maps, maps // 2, c.norm)  # taps 8 and 11, added
            self.middle = UpConv(maps, maps // 2, c.norm)
            self.shallow = UpConv(maps, maps // 2, c.norm)
            self.deep4 = UpConv(maps // 2, maps // 4, c.norm)
            self.shallow4 = UpConv(maps // 2, maps // 4, c.norm)
            self.join2 = UpConv(maps // 4, maps // 8, c.norm)
            self.join1 = UpConv(maps // 8, thin, c.norm, up=not c.half)

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor:
        """image (B, 3, H, W) less its mean, maps four times (B, E, H/16, W/16) -> (B, D, H, W)"""
        if self.fold > 1:
            image = F.pixel_unshuffle(image, self.fold)
        z = self.skip(image)
        if not self.ladder:
            if self.maps:
                assert self.out is not None
                scale = (z.shape[-2] / maps[0].shape[-2], z.shape[-1] / maps[0].shape[-1])
                return z + F.interpolate(self.out(torch.cat(maps, 1)), scale_factor=scale, mode="bilinear")
            return z if self.out is None else self.out(z)
        assert self.out is not None
        shallow, middle, deep, deepest = maps
        x = self.deep4(self.deep(deep + deepest) + self.middle(middle)) + self.shallow4(self.shallow(shallow))
        return self.out(torch.cat([self.join1(self.join2(x)), z], 1))
