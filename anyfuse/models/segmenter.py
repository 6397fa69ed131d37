"""People and vehicles of a street: a small U-Net on luma, by which `anyfuse bench --section downstream` asks what a
fused image is worth to a machine.

Three networks are shipped, which differ in their seed. `anyfuse train segmenter` trains one
(training/parts/segmenter.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..control import OBJECTS
from ..errors import FusionError
from ..weights import WEIGHTS_NAME, check_fit, check_values, load_state, package_folder, read_config, save_folder
from .unet import UNet

"""Channels 1 and 2 of the network; 0 is everything else."""
SEEDS = (0, 1, 2)
"""Of the shipped networks."""


@dataclass(frozen=True)
class SegmenterConfig:
    """Channels of the network at half size and after each of three halvings."""

    first: int = 16
    second: int = 32
    third: int = 48
    fourth: int = 44


class Segmenter(UNet):
    """Luma (B, 1, H, W) in [0, 1], sides multiples of 16 -> logits (B, 3, H, W): other, person, vehicle."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__(1, (config.first, config.second, config.third, config.fourth), 1 + len(OBJECTS))
        self.config = config

    def forward(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 3, H, W)"""
        return self.logits(luma)

    @torch.inference_mode()
    def probabilities(self, luma: Tensor) -> Tensor:
        """(H, W) of any size -> (2, H, W): probability of OBJECTS at each pixel."""
        height, width = luma.shape
        padded = F.pad(luma[None, None], (0, -width % 16, 0, -height % 16), mode="replicate")
        return self(padded)[0, :, :height, :width].softmax(0)[1:]

    def save_pretrained(self, folder: Path) -> None:
        """config.json and model.safetensors in float16."""
        state = {k: v.half() if v.is_floating_point() else v for k, v in self.state_dict().items()}
        save_folder(folder, {"system": "Segmenter", **asdict(self.config)}, state)


def load_segmenter(folder: str | Path) -> Segmenter:
    """The network in a folder, strictly; FusionError where the folder holds none."""
    folder = Path(folder)
    try:
        raw = read_config(folder)
        values = {k: raw[k] for k in SegmenterConfig.__dataclass_fields__}
        check_values(SegmenterConfig, values)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FusionError(f"{folder}: holds no segmenter ({error}); make one with `anyfuse train segmenter`") from None
    config = SegmenterConfig(**values)
    check_fit(lambda: Segmenter(config), folder / WEIGHTS_NAME)
    net = Segmenter(config)
    load_state(net, folder / WEIGHTS_NAME)
    return net.eval().requires_grad_(False)


def segmenter_folder(seed: int) -> Path:
    """Where the package keeps the network of a seed."""
    return package_folder(f"segmenter-{seed}")
