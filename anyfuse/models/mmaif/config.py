"""Configuration of MMAIF (ICCV 2025, arXiv 2503.14944)."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import FusionError
from .instruction import WIDTH

SENTENCE = 512
"""Width of a sentence's vector where no encoder is named: that of flan-t5-small."""


@dataclass(frozen=True)
class MMAIFConfig:
    """Fields marked 'ours' are not in the paper; `paper()` leaves them out."""

    codec: str = "tiny"  # see latent/codec.py; it decides whether the model takes luma or RGB
    width: int = 256  # channels of a token
    layers: int = 8
    heads: int = 8
    patch: int = 2  # side of a token, in latents of 1/8
    hidden: int = 256  # channels inside the GLU of an expert
    experts: int = 4  # routed experts
    active: int = 1  # how many of them see a token
    rank: int = 32  # of AdaLN's low-rank part
    table: int = 8  # side of the position tables
    text: int = WIDTH  # ours: 31 instruction numbers (instruction.py); else the width of a sentence's vector
    flow: bool = False  # flow matching instead of regression
    steps: int = 4  # Euler steps of the flow
    detail: bool = True  # ours: mix the sources' pyramids into the decoded image (latent/detail.py)
    guide: int = 16  # ours: channels that the transformer gives to that path
    mend: bool = False  # ours: classical restoration in that path (classical_restore.py); needs detail and text 31
    mix: bool = True  # ours: predict shares of the latents, and what is added; False: the latents or the velocity
    moe: bool = True  # experts; False: one GLU of the same cost (ablation)
    rope: bool = True  # rotary positions (ablation)
    value_residual: bool = True  # (ablation)
    naf: bool = True  # NAF block (ablation)
    stretch: float = 4.0  # ours: in training, rotary positions lie up to so many times as far apart
    random_codec: bool = False  # the untrained codec, for tests

    @classmethod
    def paper(cls, flow: bool = False, text: int = SENTENCE) -> MMAIFConfig:
        """The published system without our additions, at the small size; the paper gives no widths.

        flow: the variant with flow matching. text: width of the sentence embedding.
        """
        return cls(text=text, flow=flow, detail=False, mend=False, mix=False, stretch=1.0)

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "hidden", "experts", "rank", "table", "text", "guide"):
            if getattr(self, name) < 1:
                raise FusionError(f"{name} {getattr(self, name)}: give 1 or more")
        if self.patch not in (1, 2):
            raise FusionError(f"patch {self.patch}: give 1 or 2")
        if self.width % self.heads or self.width // self.heads % 4:
            raise FusionError(f"width {self.width} must give each of {self.heads} heads a multiple of 4 channels")
        if not 1 <= self.active <= self.experts:
            raise FusionError(f"active {self.active}: give 1 to {self.experts}, the number of experts")
        if self.steps < 1:
            raise FusionError(f"steps {self.steps}: give 1 or more")


SMALL = MMAIFConfig(mend=True)
TINY = MMAIFConfig(width=192, layers=6, heads=6, hidden=192, rank=24, mend=True)
