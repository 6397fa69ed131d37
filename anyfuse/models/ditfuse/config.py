"""Configuration of DiTFuse (TPAMI 2025, arXiv 2512.07170)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...errors import FusionError
from ..latent.detail import check_reference
from . import prompt as ditfuse_prompt


@dataclass(frozen=True)
class DiTFuseConfig:
    """Fields marked 'ours' are not in the paper; `paper()` leaves them out."""

    codec: str = "tiny"  # see latent/codec.py; it decides whether the model takes luma or RGB
    width: int = 256  # channels of a token
    layers: int = 8  # of the transformer
    heads: int = 8  # of attention; each has width / heads channels, a multiple of 8
    hidden: int = 704  # channels inside SwiGLU
    patch: int = 2  # side of a token, in latents of 1/8
    vocabulary: int = 1024  # rows of the table of words
    steps: int = 8  # Euler steps
    branches: int = 3  # passes of guidance: 3; 2 without v_neg; 1 is v_full alone
    text_scale: float = 2.0  # s_txt of the guidance
    image_scale: float = 1.6  # s_img
    detail: bool = True  # ours: mix the sources' pyramids in (latent/detail.py)
    guide: int = 16  # ours: channels that the transformer gives to that path
    reference: str = "anyfuse"  # ours: the default model whose fusion that path has, and which makes targets
    mask: bool = True  # ours: with the head for segmentation (mask_head.py)
    painted: bool = False  # classes are painted into the result by the network, as in the paper; of RGB codecs
    mask_pixels: int = 0  # ours: channels of a U-Net over the sources that this head is; 0: it reads the tokens
    tags: bool = True  # prompts begin with a line of tags
    rope: str = "grid"  # 'line': rotary positions along the sequence, as the paper; 'grid': ours (additions.py)
    # ours: in training, grid positions lie up to so many times as far apart, and the window of the fixed positions
    # off the middle
    stretch: float = 4.0
    aligned: bool = True  # ours: target tokens get both images' latents at their place; learns several times faster
    mix: bool = True  # ours: predict shares of the latents; False: the velocity, as the paper
    random_codec: bool = False  # an untrained codec with the channels of `codec`, where its weights are not there

    @classmethod
    def paper(cls, random_codec: bool = False) -> DiTFuseConfig:
        """The published system without our additions, at the small size: RGB, 4 latent channels at 1/8 as SDXL's codec
        has them, 50 steps, three branches.

        The paper's network has 3.8 billion parameters and a tokenizer of its own; that one is OmniGenConfig. Codec
        `sdxl` is fetched at the first use; its posterior's mode is taken, where the released code draws a sample.

        Args:
            random_codec: build with an untrained codec of the same channels, where no weights can be had.
        """
        return cls(
            codec="sdxl",
            steps=50,
            detail=False,
            mask=False,
            painted=True,
            rope="line",
            stretch=1.0,
            aligned=False,
            mix=False,
            random_codec=random_codec,
        )

    def __post_init__(self) -> None:
        check_reference(self.reference)
        for name in ("width", "layers", "heads", "hidden", "guide"):
            if getattr(self, name) < 1:
                raise FusionError(f"{name} {getattr(self, name)}: give 1 or more")
        if self.mask_pixels < 0:
            raise FusionError(f"mask_pixels {self.mask_pixels}: give 0 or more")
        if self.painted and self.mask:
            raise FusionError("painted and mask: give one of them, config.painted=true with config.mask=false")
        if self.patch not in (1, 2):
            raise FusionError(f"patch {self.patch}: give 1 or 2")
        if self.width % self.heads or self.width // self.heads % 8 or self.width % 4:
            raise FusionError(f"width {self.width} must give each of {self.heads} heads a multiple of 8 channels")
        if self.vocabulary < len(ditfuse_prompt.WORDS):
            raise FusionError(f"vocabulary {self.vocabulary}: give {len(ditfuse_prompt.WORDS)} or more")
        if self.steps < 1:
            raise FusionError(f"steps {self.steps}: give 1 or more")
        if self.branches not in (1, 2, 3):
            raise FusionError(f"branches {self.branches}: give 1, 2 or 3")
        if self.rope not in ("grid", "line"):
            raise FusionError(f"rope {self.rope}: give grid or line")


TINY = DiTFuseConfig(width=192, layers=6, heads=6, hidden=512, reference="anyfuse-first", mask_pixels=16)
FAST = replace(TINY, steps=2, branches=1, reference="anyfuse")
