"""The detail path of MMAIF and DiTFuse: what a codec loses in the latents is taken from the sources, where it still is.

Origin: ours; neither paper has one. Licence: Apache-2.0.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pyramid import collapse, laplacian_pyramid

LARGEST_GAIN = 4.0
BAND = 0.03  # band value at which the compression of what the path sees has reached one half
LEVELS = 4


class Detail(nn.Module):
    """Mixes the Laplacian pyramids of the decoded image and of both sources, `LEVELS` bands and the base, by predicted weights.

    Per pixel and level a softmax over (decoded, first, second), and for the sources a gain from 1/4 to 4. Levels 0 and 1 read the images at half
    size and `guide`, coarser ones what is left of that, `guide` and the level itself. At first the decoder has more than half and gains are 1,
    so equal images give that image.
    """

    def __init__(self, channels: int, guide: int, width: int = 16) -> None:
        super().__init__()
        self.fold = nn.Conv2d(guide, 8 * 16, 1)
        self.enter = nn.Conv2d(8 + 3 * channels * 9, width, 3, 1, 1)
        self.middle = nn.Conv2d(width, width, 3, 1, 1)
        self.out = nn.Conv2d(width, 5 * 5, 3, 1, 1)
        self.before = nn.ModuleList(
            [nn.Conv2d(width + guide + 3 * channels, width, 3, 1, 1) for _ in range(LEVELS - 1)]
        )
        self.coarse = nn.ModuleList([nn.Conv2d(width, 5, 1) for _ in range(LEVELS - 1)])
        for last in (self.out, *self.coarse):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            with torch.no_grad():
                last.bias[[0, 1, 2, 3, 20] if last is self.out else [0]] = 1.0  # the decoder's logits

    def shares(self, images: Tensor, levels: list[Tensor], guide: Tensor) -> list[Tensor]:
        """images (B, 3, C, H, W), their pyramid (B, 3 C, ., .), guide (B, G, H/8, W/8) -> per level weights (B, 3, 1, ., .)"""
        seen = [band / (band.abs() + BAND) for band in levels[:-1]] + [levels[-1] - 0.5]
        parts = [
            F.pixel_shuffle(self.fold(guide), 4),
            *(F.pixel_unshuffle(p, 2) for p in (images.flatten(1, 2) - 0.5, seen[0])),
            seen[1],
        ]
        x = F.relu(self.enter(torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)))
        x = x + F.relu(self.middle(x))
        fine = self.out(x)
        maps = [F.pixel_shuffle(fine[:, :20], 2), fine[:, 20:]]  # logits of three, logarithms of two gains
        for before, last, level in zip(self.before, self.coarse, seen[2:], strict=True):
            x = F.avg_pool2d(x, 2)
            hint = F.interpolate(guide, level.shape[-2:], mode="bilinear", align_corners=False)
            maps.append(last(F.relu(before(torch.cat([x, hint, level], 1)))))
        found = []
        for m in maps:
            gains = torch.exp(math.log(LARGEST_GAIN) * torch.tanh(m[:, 3:]))
            share = m[:, :3].softmax(1)
            found.append(torch.cat([share[:, :1], share[:, 1:] * gains], 1)[:, :, None])
        return found

    def forward(self, decoded: Tensor, sources: Tensor, guide: Tensor) -> Tensor:
        """decoded (B, C, H, W), sources (B, 2, C, H, W), guide (B, G, H/8, W/8) -> image (B, C, H, W); H and W multiples of 16"""
        images = torch.cat([decoded[:, None], sources], 1)
        levels = laplacian_pyramid(images.flatten(1, 2), LEVELS)
        shares = self.shares(images, levels, guide)
        return collapse([(s * x.unflatten(1, (3, -1))).sum(1) for s, x in zip(shares, levels, strict=True)])
