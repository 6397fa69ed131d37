"""A small U-Net for classes of pixels: of the segmenter (segmenter.py) and of DiTFuse's head (ditfuse/mask_head.py)."""

from __future__ import annotations

from collections.abc import Sequence

from ..arrays import F, Tensor, nn, torch


class UNet(nn.Module):
    """Planes (B, C, H, W) in [0, 1], sides multiples of 2 to the number of `sizes` -> logits (B, classes, H, W).

    Works at half size: two convolutions a scale, skips by concatenation.

    Args:
        planes: C.
        sizes: channels at half size and after each further halving.
        classes: of the logits.
    """

    def __init__(self, planes: int, sizes: Sequence[int], classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList([_double(a, b) for a, b in zip([4 * planes, *sizes], sizes, strict=False)])
        coarser = reversed(range(len(sizes) - 1))
        self.up = nn.ModuleList([_double(sizes[k + 1] + sizes[k], sizes[k]) for k in coarser])
        self.out = nn.Conv2d(sizes[0], classes, 1)

    def logits(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes, H, W)"""
        x, skips = F.pixel_unshuffle(x - 0.5, 2), []
        for index, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if index else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear"), skip], 1))
        return F.interpolate(self.out(x), scale_factor=2, mode="bilinear")


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions 3x3, each with batch norm and ReLU."""
    parts = [
        (nn.Conv2d(size, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        for size in (inputs, outputs)
    ]
    return nn.Sequential(*parts[0], *parts[1])
