from __future__ import annotations

from dataclasses import dataclass, replace

from ...errors import FusionError
from . import prompt as ditfuse_prompt


@dataclass(frozen=True)
class DiTFuseConfig:
    """codec: see latent/codec.py; it decides whether the model takes luma or RGB. width, layers, heads, hidden (of
    SwiGLU), patch: of the transformer. vocabulary: rows of the table of words.

    steps: Euler steps. branches: 3; 2: without v_neg (s_img = 1); 1: v_full alone. text_scale, image_scale: s_txt and
    s_img. detail: mix the sources' pyramids in; guide: channels that the transformer gives that path. mask: with the
    head for segmentation. tags: prompts begin with a line of tags. rope: 'grid' turns keys by row, column and piece,
    'line' by the place in the sequence, as the paper does. stretch: in training, places turn up to so many times as far
    apart ('grid'). aligned: each token of the target also gets a linear map of both images' latents at its place (ours;
    it learns several times faster). mix: the result is a share of each latent number of both images and of the noisy
    target, and what is added (ours); else the transformer gives the velocity, as the paper's. random_codec: the
    untrained codec, for tests.
    """

    codec: str = "tiny"
    width: int = 256
    layers: int = 8
    heads: int = 8
    hidden: int = 704
    patch: int = 2
    vocabulary: int = 1024
    steps: int = 8
    branches: int = 3
    text_scale: float = 2.0
    image_scale: float = 1.6
    detail: bool = True
    guide: int = 16
    mask: bool = True
    tags: bool = True
    rope: str = "grid"
    stretch: float = 4.0
    aligned: bool = True
    mix: bool = True
    random_codec: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "hidden", "guide"):
            if getattr(self, name) < 1:
                raise FusionError(f"{name} {getattr(self, name)}: give 1 or more")
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


TINY = DiTFuseConfig(width=192, layers=6, heads=6, hidden=512)
FAST = replace(TINY, steps=2, branches=1)
