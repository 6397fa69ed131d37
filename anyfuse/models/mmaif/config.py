"""Configuration of MMAIF (ICCV 2025, arXiv 2503.14944)."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import FusionError
from ..latent.detail import check_reference
from .instruction import WIDTH

SENTENCE = 512
"""Width of a sentence's vector where no encoder is named: that of flan-t5-small."""


@dataclass(frozen=True)
class MMAIFConfig:
    """Fields marked 'ours' are not in the paper; `paper()` leaves them out."""

    codec: str = "tiny"  # see latent/codec.py; it decides whether the model takes luma or RGB
    width: int = 256  # channels of a token
    layers: int = 8  # blocks of the transformer
    heads: int = 8  # of attention; each has width / heads channels, a multiple of 4
    patch: int = 2  # side of a token, in latents of 1/8
    hidden: int = 256  # channels inside the GLU of an expert
    experts: int = 4  # routed experts
    active: int = 1  # how many of them see a token
    rank: int = 32  # of AdaLN's low-rank part
    table: int = 8  # side of the position tables
    # numbers of an instruction; 31: ours (instruction.py), another number: the width of a sentence's vector
    text: int = WIDTH
    flow: bool = False  # flow matching instead of regression
    steps: int = 4  # Euler steps of the flow
    detail: bool = True  # ours: mix the sources' pyramids into the decoded image (latent/detail.py)
    guide: int = 16  # ours: channels that the transformer gives to that path
    reference: str = "anyfuse"  # ours: the default model whose fusion that path has, and which makes targets
    # ours: classical restoration in that path (classical_restore.py); needs detail and text 31. The name stands in
    # config.json of shipped weights
    mend: bool = False
    mix: bool = True  # ours: predict shares of the latents, and what is added; False: the latents or the velocity
    moe: bool = True  # experts; False: one GLU of the same cost (ablation)
    rope: bool = True  # rotary positions (ablation)
    value_residual: bool = True  # (ablation)
    naf: bool = True  # NAF block (ablation)
    stretch: float = 4.0  # ours: in training, rotary positions lie up to so many times as far apart
    random_codec: bool = False  # an untrained codec with the channels of `codec`, where its weights are not there

    @classmethod
    def paper(cls, flow: bool = False, text: int = SENTENCE, random_codec: bool = False) -> MMAIFConfig:
        """The published system without our additions: RGB, 16 latent channels at 1/8 as Cosmos has them.

        Widths are those of our small size, as the paper gives none. The paper's Cosmos CI8x8 has no class in diffusers;
        codec `cosmos` is its sibling for video, and is fetched at the first use.

        Args:
            flow: the variant with flow matching.
            text: width of the sentence embedding.
            random_codec: build with an untrained codec of the same channels, where no weights can be had.
        """
        return cls(
            codec="cosmos",
            text=text,
            flow=flow,
            detail=False,
            mend=False,
            mix=False,
            stretch=1.0,
            random_codec=random_codec,
        )

    def __post_init__(self) -> None:
        check_reference(self.reference)
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
