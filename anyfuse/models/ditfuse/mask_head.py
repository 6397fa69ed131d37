"""DiTFuse's head for segmentation (ours): the paper's network paints classes into the result, this one keeps them
apart.

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import F, Tensor, nn, torch
from ...control import CLASSES


class MaskHead(nn.Module):
    """Tokens of the target and both sources -> logits of CamVid's classes at full size.

    Tokens unfold to a quarter of the size; there pixels of the sources guide them.
    """

    def __init__(self, channels: int, width: int, patch: int, hidden: int = 32, fine: int = 12) -> None:
        super().__init__()
        self.side = 2 * patch
        self.unfold = nn.Conv2d(width, 16 * self.side**2, 1)
        self.enter = nn.Conv2d(16 + 2 * channels * 16, hidden, 3, 1, 1)
        self.middle = nn.Conv2d(hidden, hidden, 3, 1, 1)
        self.refine = nn.Conv2d(hidden, 16 * fine, 3, 1, 1)
        self.out = nn.Conv2d(fine, len(CLASSES), 1)

    def forward(self, tokens: Tensor, sources: Tensor) -> Tensor:
        """tokens (B, D, H/16, W/16), sources (B, 2, C, H, W) in [0, 1] -> logits (B, 11, H, W)"""
        coarse = F.pixel_shuffle(self.unfold(tokens), self.side)
        pixels = F.pixel_unshuffle(sources.flatten(1, 2) - 0.5, 4)
        x = F.relu(self.enter(torch.cat([coarse, pixels], 1).contiguous(memory_format=torch.channels_last)))
        return self.out(F.relu(F.pixel_shuffle(self.refine(x + F.relu(self.middle(x))), 4)))


class PixelMaskHead(nn.Module):
    """Both sources -> logits of CamVid's classes at full size, by a U-Net that sees pixels alone.

    Tokens of 16x16 pixels lose what is small; here words choose among the classes and nothing else. Works at half size:
    four halvings, two convolutions a scale, skips by concatenation.
    """

    SIDE = 32
    """Sides of what it works on are multiples of this."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        sizes = [base, 2 * base, 3 * base, 4 * base, 4 * base]
        self.down = nn.ModuleList([_double(a, b) for a, b in zip([8 * channels, *sizes], sizes, strict=False)])
        self.up = nn.ModuleList([_double(sizes[k + 1] + sizes[k], sizes[k]) for k in (3, 2, 1, 0)])
        self.out = nn.Conv2d(base, len(CLASSES), 1)

    def forward(self, tokens: Tensor | None, sources: Tensor) -> Tensor:
        """sources (B, 2, C, H, W) in [0, 1], infrared first where there is one -> logits (B, 11, H, W); tokens are not
        used
        """
        height, width = sources.shape[-2:]
        wanted = (0, -width % self.SIDE, 0, -height % self.SIDE)
        x = F.pixel_unshuffle(F.pad(sources.flatten(1, 2), wanted, mode="replicate") - 0.5, 2)
        skips: list[Tensor] = []
        for index, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if index else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear"), skip], 1))
        return F.interpolate(self.out(x), scale_factor=2, mode="bilinear")[..., :height, :width]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions 3x3, each with batch norm and ReLU."""
    parts = [
        (nn.Conv2d(size, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        for size in (inputs, outputs)
    ]
    return nn.Sequential(*parts[0], *parts[1])
