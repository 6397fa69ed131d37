"""The detail path of MMAIF and DiTFuse: what a codec loses in the latents is taken from the images, where it still is.

Origin: ours; neither paper has one. Licence: Apache-2.0.
"""

from __future__ import annotations

import math

from ...arrays import F, Tensor, nn, torch
from ...errors import FusionError
from ...image.colour import join, to_luma_chroma
from ...image.pyramid import collapse, laplacian_pyramid
from ...weights import WEIGHTS_NAME, package_folder
from ..anyfuse import REGIONS, Anyfuse, AnyfuseConfig
from ..base import flatten_set, unflatten_set
from ..frozen import FrozenModule

LARGEST_GAIN = 4.0
BAND = 0.03  # band value at which the compression of what the path sees has reached one half
PYRAMID_LEVELS = 4
REFERENCES = {"anyfuse": REGIONS, "anyfuse-first": AnyfuseConfig()}
"""Default models whose fusion the detail path can have: name of the folder in the package -> configuration."""


def check_reference(name: str) -> None:
    """Raises FusionError where there is no such reference."""
    if name not in REFERENCES:
        raise FusionError(f"reference {name!r}: give one of {', '.join(REFERENCES)}")


class Reference(FrozenModule):
    """A default model, frozen. Its weights are read at the first use.

    name: one of `REFERENCES`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.ready = name, False
        self.net = Anyfuse(REFERENCES[name])
        self.freeze()

    @torch.no_grad()
    def forward(self, sources: Tensor) -> Tensor:
        """sources (B, 2, 1 or 3, H, W) in [0, 1] -> fused (B, 1 or 3, H, W); sides are filled up to what the model
        takes and cut back
        """
        if not self.ready:
            self.net.load_weights(package_folder(self.name) / WEIGHTS_NAME)
            self.ready = True
        x, (height, width) = flatten_set(sources), sources.shape[-2:]
        x = to_luma_chroma(x) if x.shape[1] == 3 else x
        unit = math.lcm(self.net.stride, self.net.context_scale or 1)
        x = F.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
        fused = self.net(unflatten_set(x, 2))[..., :height, :width]
        return join(fused[:, :1], fused[:, 1:]) if fused.shape[1] == 3 else fused


class Detail(nn.Module):
    """Mixes Laplacian pyramids by predicted weights: of the decoded image, of the default model's fusion of the
    sources, and of both sources.

    reference: name of the default model. restored: also of the default model's fusion of the sources after classical
    restoration. There are `PYRAMID_LEVELS` bands and the base. Each pixel and level has a softmax over the images, and
    for the sources a gain from 1/4 to 4; gains start at 1. Levels 0 and 1 read the images at half size and `guide`.
    Coarser levels read what is left of that, `guide` and the level itself.
    """

    def __init__(
        self, channels: int, guide: int, reference: str = "anyfuse", restored: bool = False, width: int = 16
    ) -> None:
        super().__init__()
        self.images = 5 if restored else 4
        self.each = (
            self.images + 2
        )  # per pixel and level: a logit for each image, the logarithm of a gain for each source
        planes = self.images * channels
        self.reference = Reference(reference)
        self.fold = nn.Conv2d(guide, 8 * 16, 1)
        self.enter = nn.Conv2d(8 + 9 * planes, width, 3, 1, 1)
        self.middle = nn.Conv2d(width, width, 3, 1, 1)
        self.out = nn.Conv2d(width, 5 * self.each, 3, 1, 1)  # four pixels of level 0, one of level 1
        self.before = nn.ModuleList(
            [nn.Conv2d(width + guide + planes, width, 3, 1, 1) for _ in range(PYRAMID_LEVELS - 1)]
        )
        self.coarse = nn.ModuleList([nn.Conv2d(width, self.each, 1) for _ in range(PYRAMID_LEVELS - 1)])
        first = range(self.images - 2)  # the decoded and the fused images have most of it at first
        fine = [4 * k + j for k in first for j in range(4)] + [4 * self.each + k for k in first]
        for places, last in [(fine, self.out), *((list(first), last) for last in self.coarse)]:
            assert isinstance(last.weight, Tensor)
            assert isinstance(last.bias, Tensor)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            with torch.no_grad():
                last.bias[places] = 1.0

    def shares(self, images: Tensor, levels: list[Tensor], guide: Tensor) -> list[Tensor]:
        """images (B, I, C, H, W), their pyramid (B, I C, ., .), guide (B, G, H/8, W/8) -> per level weights (B, I, 1,
        ., .)
        """
        compressed = [band / (band.abs() + BAND) for band in levels[:-1]] + [levels[-1] - 0.5]
        parts = [
            F.pixel_shuffle(self.fold(guide), 4),
            *(F.pixel_unshuffle(p, 2) for p in (images.flatten(1, 2) - 0.5, compressed[0])),
            compressed[1],
        ]
        x = F.relu(self.enter(torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)))
        x = x + F.relu(self.middle(x))
        fine = self.out(x)
        maps = [F.pixel_shuffle(fine[:, : 4 * self.each], 2), fine[:, 4 * self.each :]]
        for before, last, level in zip(self.before, self.coarse, compressed[2:], strict=True):
            x = F.avg_pool2d(x, 2)
            hint = F.interpolate(guide, level.shape[-2:], mode="bilinear", align_corners=False)
            maps.append(last(F.relu(before(torch.cat([x, hint, level], 1)))))
        shares = []
        for m in maps:
            gains = torch.exp(math.log(LARGEST_GAIN) * torch.tanh(m[:, self.images :]))
            share = m[:, : self.images].softmax(1)
            shares.append(torch.cat([share[:, :-2], share[:, -2:] * gains], 1)[:, :, None])
        return shares

    def forward(self, decoded: Tensor, sources: Tensor, guide: Tensor, restored: Tensor | None = None) -> Tensor:
        """-> image (B, C, H, W), not clamped

        decoded: (B, C, H, W), H and W multiples of 16. sources: (B, 2, C, H, W) in [0, 1].
        guide: (B, G, H/8, W/8), of the transformer. restored: (B, 2, C, H, W), or None where nothing was restored.
        """
        fused = [self.reference(sources)]
        if self.images == 5:
            fused.append(fused[0] if restored is None else self.reference(restored))
        images = torch.cat([torch.stack([decoded, *fused], 1), sources], 1)
        levels = laplacian_pyramid(images.flatten(1, 2), PYRAMID_LEVELS)
        shares = self.shares(images, levels, guide)
        return collapse([(s * x.unflatten(1, (self.images, -1))).sum(1) for s, x in zip(shares, levels, strict=True)])
