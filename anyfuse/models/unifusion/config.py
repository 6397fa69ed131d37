"""Configuration of UniFusion (CVPR 2026, arXiv 2603.14214)."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import FusionError

CHOICES = {
    "colour": ("rgb", "luma"),
    "norm": ("batch", "running", "group"),
    "inputs": ("two", "shared", "set"),
}


@dataclass(frozen=True)
class UniFusionConfig:
    """The defaults are the paper's. Fields marked 'ours' are not in it; `paper()` leaves them out."""

    backbone: str = "dinov3-s"  # see backbone.py
    width: int = 64  # channels D of adapters and fusion
    heads: int = 8  # of attention between channels
    rounds: int = 4  # of paired cross blocks
    colour: str = "rgb"  # 'luma': ours, chroma goes around the network
    norm: str = "batch"  # of the adapters; 'running': ours, running statistics in training too; 'group': ours
    # adapters: one for each of two; 'shared': ours, one for both; 'set': ours, any number of inputs
    inputs: str = "two"
    half: bool = False  # ours: the fusion works at half size
    adapter: bool = True  # False leaves the ladder out (ablation)
    reconstructors: bool = False  # build them: training needs them, fusion does not
    random_backbone: bool = False  # fixed random weights (ablation)
    scaled: bool = False  # ours: the backbone's own normalisation; the paper's code subtracts the mean and no more

    @classmethod
    def paper(cls) -> UniFusionConfig:
        """The published network with its reconstructors, as bilevel training needs it."""
        return cls(reconstructors=True)

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise FusionError(f"{name} is '{getattr(self, name)}', not one of {', '.join(known)}")
        if self.width % self.heads:
            raise FusionError(f"width {self.width} is not a multiple of {self.heads} heads")
