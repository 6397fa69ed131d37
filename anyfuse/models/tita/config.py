"""Configuration of TITA (ICCV 2025, arXiv 2504.05164)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import FusionError

BRANCHES = ("hpf", "add", "mul")
"""Operations of OAF: high-pass filter, addition, multiplication."""


@dataclass(frozen=True)
class TITAConfig:
    """The defaults are the paper's. The field marked 'ours' is not in it; `paper()` leaves it out."""

    channels: int = 60  # of the features, C in the paper
    extract: int = 4  # Swin blocks of each source's extractor
    interact: tuple[int, ...] = (4, 4)  # ISF blocks of each group
    rebuild: int = 4  # Swin blocks of the reconstruction
    heads: int = 6  # of attention
    phi: Literal["softmax", "sigmoid"] = "softmax"  # gate of IPA over channels, as the paper; or one per channel
    noise: bool = True  # learned vectors n_k, n_v added to the keys of IPA
    interaction: bool = True  # IPA (ablation)
    branches: tuple[str, ...] = BRANCHES  # operations of OAF (ablation); with none the result is the sources' mean
    # of ISF: to the other source (the paper), to itself, or in turn (ablations)
    attention: Literal["inter", "intra", "mixed"] = "inter"
    drop_path: float = 0.1  # largest share of samples whose block is left out in training
    second_stem: bool = False  # also the released network's stem for B, which nothing uses
    bound: bool = False  # ours: outside training no pixel leaves the range between the sources' pixels there

    @classmethod
    def paper(cls) -> TITAConfig:
        """The published network: 1,378,435 parameters (1,386,865 with the second stem, which nothing uses)."""
        return cls()

    def __post_init__(self) -> None:
        object.__setattr__(self, "interact", tuple(self.interact))
        unknown = [b for b in self.branches if b not in BRANCHES]
        if unknown:
            raise FusionError(f"branch '{unknown[0]}': give some of {', '.join(BRANCHES)}, or none")
        object.__setattr__(self, "branches", tuple(b for b in BRANCHES if b in self.branches))
        if self.heads < 1:
            raise FusionError(f"heads {self.heads}: give 1 or more")
        if min(self.extract, self.rebuild, *self.interact, 0) < 0 or not self.interact:
            raise FusionError(
                f"extract {self.extract}, interact {self.interact}, rebuild {self.rebuild}: give numbers of blocks, "
                "0 or more"
            )
        if self.channels < 4 or self.channels % 4 or self.channels % self.heads:
            raise FusionError(f"channels {self.channels} must divide by 4 and by the {self.heads} heads")
        if self.phi not in ("softmax", "sigmoid"):
            raise FusionError(f"phi '{self.phi}': give softmax or sigmoid")
        if self.attention not in ("inter", "intra", "mixed"):
            raise FusionError(f"attention '{self.attention}': give inter, intra or mixed")
        if not 0 <= self.drop_path < 1:
            raise FusionError(f"drop_path {self.drop_path}: give 0 or more, less than 1")


SMALL = TITAConfig(channels=24, extract=2, interact=(2, 2), rebuild=2, bound=True)
MEDIUM = TITAConfig(channels=36, extract=2, interact=(2, 2), rebuild=2, bound=True)
