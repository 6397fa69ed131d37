"""DiTFuse's head for segmentation (ours): the paper's network paints classes into the result, this one keeps them
apart.

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import F, Tensor, nn, torch
from ...control import CLASSES
from ..unet import UNet


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


class PixelMaskHead(UNet):
    """Both sources -> logits of CamVid's classes at full size, by a U-Net that sees pixels alone.

    Tokens of 16x16 pixels lose what is small; here words choose among the classes and nothing else.
    """

    SIDE = 32
    """Sides of what it works on are multiples of this."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__(2 * channels, (base, 2 * base, 3 * base, 4 * base, 4 * base), len(CLASSES))

    def forward(self, tokens: Tensor | None, sources: Tensor) -> Tensor:
        """sources (B, 2, C, H, W) in [0, 1], infrared first where there is one -> logits (B, 11, H, W); tokens are not
        used
        """
        height, width = sources.shape[-2:]
        wanted = (0, -width % self.SIDE, 0, -height % self.SIDE)
        return self.logits(F.pad(sources.flatten(1, 2), wanted, mode="replicate"))[..., :height, :width]
