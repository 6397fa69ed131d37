"""UniFusion (CVPR 2026, arXiv 2603.14214): a frozen DINO backbone, adapters that reconstruct their inputs, and a fusion
network.

Origin: rewritten from the paper and from facts about its released code; none of that code is here. Code: Apache-2.0.
Weights of the trained part: Apache-2.0; of the backbone: see backbone.py.

    backbone.py        one frozen ViT for all inputs: blocks 2, 5, 8, 11, final norm, patch tokens only
    adapter.py         one per input: a ladder from 1/16 to full size, joined by a convolution of the image itself
    reconstruction.py  lower level: each input again from its adapter's output; trains phi (adapters, reconstructors)
    fusion.py          upper level: paired cross blocks and a decoder (theta). Attention is between channels and sums
                       over all pixels, so a pixel depends on the whole image: it cannot be tiled (halo None)
    additions.py       ours: luma in and out, other norms, fusion at half size, one adapter for all, sets of inputs

docs/systems/unifusion.md says what differs and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ...arrays import Tensor, nn, torch
from ...errors import FusionError
from ..base import Context, FusionModel, flatten_set, unflatten_set
from .adapter import Adapter
from .additions import RunningNorm, SetFusion
from .attention import Attention, RestormerBlock
from .backbone import PAPER_MEAN, Backbone
from .config import UniFusionConfig
from .fusion import Fusion
from .reconstruction import Reconstructor


class UniFusion(FusionModel):
    """The whole system.

    Training uses its parts: observe, encode, reconstruct, decode; forward joins what fusion needs.
    """

    stride = 16
    margin = 8
    halo = None
    arity: tuple[int, int | None] = (2, 2)
    low_precision: bool = False
    ordered = True
    mean: Tensor
    backbone_print: Tensor

    def __init__(self, config: UniFusionConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or UniFusionConfig()
        self.channels: Literal[1, 3] = 3 if c.colour == "rgb" else 1
        if c.inputs == "set":
            self.arity, self.ordered = (2, None), False
        self.working_bytes = (
            (80 if c.inputs == "set" else 64) * c.width // (4 if c.half else 1)
        )  # experiments/unifusion_parts.py
        self.backbone = Backbone(c.backbone, random=c.random_backbone, scaled=c.scaled)
        copies = 2 if c.inputs == "two" else 1
        self.adapters = nn.ModuleList([Adapter(c, self.backbone.width) for _ in range(copies)])
        self.fusion = SetFusion(c) if c.inputs == "set" else Fusion(c)
        self.reconstructors = nn.ModuleList([Reconstructor(c) for _ in range(copies)] if c.reconstructors else [])
        self.register_buffer("mean", torch.tensor(PAPER_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("backbone_print", torch.zeros(8, dtype=torch.uint8))
        self.printed = False
        self.register_load_state_dict_post_hook(_without_backbone)

    # ------------------------------------------------------------------ the parts

    def lower_parameters(self) -> Iterator[nn.Parameter]:
        """phi: adapters and reconstructors"""
        return chain(self.adapters.parameters(), self.reconstructors.parameters())

    def upper_parameters(self) -> Iterator[nn.Parameter]:
        """theta: the fusion network"""
        return self.fusion.parameters()

    def observe(self, sources: Tensor) -> list[Tensor]:
        """sources (B, N, 1 or 3, H, W) -> what the frozen backbone sees in them, four times (B, N, E, H/16, W/16)"""
        maps = self.backbone.features(flatten_set(sources).expand(-1, 3, -1, -1))
        if self.training and not self.printed:  # once: looking at a value on a GPU waits for it
            self.backbone_print.copy_(self._print())
            self.printed = True
        return [unflatten_set(m, sources.shape[1]) for m in maps]

    def encode(self, sources: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """-> features of each input, N times (B, D, H, W)"""
        images = (sources.expand(-1, -1, 3, -1, -1) - self.mean).to(self.fusion.out.weight.dtype)
        if len(self.adapters) == 1:  # all inputs at once
            n = sources.shape[1]
            whole = self.adapters[0](channels_last(flatten_set(images)), [channels_last(flatten_set(m)) for m in maps])
            return [channels_last(z) for z in unflatten_set(whole, n).unbind(1)]
        return [
            adapter(channels_last(images[:, i]), [channels_last(m[:, i]) for m in maps])
            for i, adapter in enumerate(self.adapters)
        ]

    def reconstruct(self, features: list[Tensor]) -> Tensor:
        """Features of each input -> the inputs again (B, N, C, H, W), not clamped"""
        if not self.reconstructors:
            raise TypeError("this UniFusion was built without reconstructors; see UniFusionConfig")
        branches = list(self.reconstructors) * (len(features) // len(self.reconstructors))
        return torch.stack([self._colour(r(z)) for r, z in zip(branches, features, strict=True)], 1)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Features of each input -> fused (B, C, H, W), not clamped"""
        return self._colour(self.fusion(features) + self.mean.to(features[0].dtype))

    def _colour(self, image: Tensor) -> Tensor:
        return image if self.channels == 3 else image.mean(1, keepdim=True)

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        """sources (B, N, 1 or 3, H, W) in [0, 1], sides multiples of 16 -> fused (B, C, H, W), clamped outside of
        training
        """
        fused = self.decode(self.encode(sources, self.observe(sources)))
        return fused if self.training else fused.clamp(0, 1)

    # ------------------------------------------------------------------ weights

    def prepare(self) -> None:
        """Reads the backbone's weights; FusionError where they are not there."""
        self.backbone.load()

    def load_weights(self, path: str | Path) -> None:
        """As FusionModel; reconstructors in the file are passed over where this model has none.

        The backbone must be the one of training.
        """
        super().load_weights(path)
        self.prepare()
        if self.backbone_print.any() and not torch.equal(self.backbone_print.cpu(), self._print()):
            raise FusionError(
                f"{path}: was trained with other weights of backbone {self.backbone.name} than those that are here"
            )

    def accepts(self, key: str) -> bool:
        """Passes over reconstructors where this model has none."""
        return bool(self.reconstructors) or not key.startswith("reconstructors.")

    def _print(self) -> Tensor:
        return torch.tensor(list(bytes.fromhex(self.backbone.fingerprint())) or [0] * 8, dtype=torch.uint8)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W), laid out with the channels last."""
    return x.contiguous(memory_format=torch.channels_last)


def _without_backbone(module: nn.Module, incompatible: Any) -> None:
    """The backbone is in no state dict, so its keys are not missed."""
    incompatible.missing_keys[:] = [k for k in incompatible.missing_keys if not k.startswith("backbone.")]


__all__ = [
    "Adapter",
    "Attention",
    "Fusion",
    "Reconstructor",
    "RestormerBlock",
    "RunningNorm",
    "UniFusion",
    "UniFusionConfig",
]
