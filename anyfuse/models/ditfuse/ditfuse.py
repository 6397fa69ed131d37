"""DiTFuse (TPAMI 2025, arXiv 2512.07170): two images and an instruction in one sequence, the fused image denoised
beside them by one transformer.

Origin: written from the paper's description and the facts of its base, OmniGen (arXiv 2409.11340); no code was copied,
and what is ours is said in docs/systems/ditfuse.md. The full system, which is OmniGen with an adapter, is
models/ditfuse/omnigen.py. Code and weights: Apache-2.0; codecs other than `tiny`: see latent/codec.py.

    codec        frozen, deterministic: each source -> 16 channels at 1/8; patches of 2, so that a token stands for
                 16x16 pixels
    prompt       tags and words of a closed vocabulary (prompt.py)
    transformer  [text | image 1 | image 2 | time | target] (transformer.py); image 1 is the second source: visible,
                 overexposed, far
    flow         x_t = t x_1 + (1 - t) x_0; the transformer gives x_1, and with it v = (x_1 - x_t) / (1 - t); Euler
                 steps from noise with a fixed seed
    guidance     v = v_neg + s_img (v_img - v_neg) + s_txt (v_full - v_img), of no condition, images alone, all
    detail       ours, as MMAIF's: the pyramids of the sources and of the default model's fusion are mixed into that of
                 what the codec decodes
    mask         ours: a head on the target's tokens tells the class of each pixel, for those that the prompt names;
                 colours are painted afterwards

Attention runs over all tokens of the image, so the model cannot be tiled (halo None): a large image is done in one
piece or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...control import CLASSES, Control
from ...errors import FusionError
from ..base import Context
from ..latent.base import LatentModel
from ..latent.detail import Detail
from ..latent.flow import noise
from . import prompt as ditfuse_prompt
from .config import DiTFuseConfig
from .transformer import Condition, Transformer, Velocity


class MaskHead(nn.Module):
    """Tokens of the target and both sources -> logits of CamVid's classes at full size: tokens unfold to 1/4, pixels of
    the sources guide them there.
    """

    def __init__(self, channels: int, width: int, patch: int, hidden: int = 32, fine: int = 12) -> None:
        super().__init__()
        self.side = 2 * patch
        self.unfold = nn.Conv2d(width, 16 * self.side**2, 1)
        self.enter = nn.Conv2d(16 + 2 * channels * 16, hidden, 3, 1, 1)
        self.middle = nn.Conv2d(hidden, hidden, 3, 1, 1)
        self.refine = nn.Conv2d(hidden, 16 * fine, 3, 1, 1)
        self.out = nn.Conv2d(fine, len(CLASSES), 1)

    def forward(self, tokens: Tensor, sources: Tensor) -> Tensor:
        """tokens (B, D, H/16, W/16), sources (B, 2, C, H, W) -> logits (B, 11, H, W)"""
        coarse = F.pixel_shuffle(self.unfold(tokens), self.side)
        pixels = F.pixel_unshuffle(sources.flatten(1, 2) - 0.5, 4)
        x = F.relu(self.enter(torch.cat([coarse, pixels], 1).contiguous(memory_format=torch.channels_last)))
        return self.out(F.relu(F.pixel_shuffle(self.refine(x + F.relu(self.middle(x))), 4)))


class Branch(NamedTuple):
    """One pass of guidance: ids of its prompt (1 or B, T), and whether it sees the images."""

    ids: Tensor
    images: bool


class DiTFuse(LatentModel):
    """The whole system.

    Training takes it in its parts (`encode_pair`, `dit`, `render`, `mask_head`); forward joins them.

    Its condition is a Control; None: nothing beyond fusion. steps, branches, text_scale, image_scale: as in the
    configuration, and may be set. cache: whether the condition's keys and values are computed once per image (else at
    each step: slower, and the same result within rounding). seed: of the noise.
    """

    def __init__(self, config: DiTFuseConfig | None = None) -> None:
        c = config or DiTFuseConfig()
        super().__init__(c.codec, c.random_codec)
        self.config = c
        self.working_bytes = 240 if self.channels == 1 else 1500
        self.dit = Transformer(c)
        self.detail = Detail(self.channels, c.guide) if c.detail else None
        self.mask_head = MaskHead(self.channels, c.width, c.patch) if c.mask else None
        self.steps, self.branches = c.steps, c.branches
        self.text_scale, self.image_scale = c.text_scale, c.image_scale
        self.cache, self.seed = True, 0

    def condition(self, control: Control, order: Sequence[int]) -> Control | None:
        """As FusionModel; refuses degradations, and classes where the model has no head for them."""
        ditfuse_prompt.check(control)
        if control.segment and self.mask_head is None:
            raise FusionError("this model has no head for segmentation: train one with config.mask=true")
        return None if control.empty else control

    def ignored(self, control: Control) -> list[str]:
        return ditfuse_prompt.ignored(control)

    # ------------------------------------------------------------------ the flow

    def plan(self, control: Control | Sequence[Control] | None) -> list[tuple[float, Branch]]:
        """Branches with their shares of the velocity, which sum to 1; the full one comes last.

        One Control for all images, or one for each.
        """
        text, image = self.text_scale, self.image_scale
        if self.branches == 1:
            text = 1.0
        if self.branches < 3:
            image = 1.0
        wishes = [control or Control()] if isinstance(control, Control | None) else list(control)
        texts = [ditfuse_prompt.prompt(replace(wish, segment={}), tagged=self.config.tags) for wish in wishes]
        prompts = ditfuse_prompt.encode([ditfuse_prompt.NOTHING]), ditfuse_prompt.encode([ditfuse_prompt.IMAGES])
        shares = (
            (1 - image, Branch(prompts[0], False)),
            (image - text, Branch(prompts[1], True)),
            (text, Branch(ditfuse_prompt.encode(texts), True)),
        )
        return [(share, branch) for share, branch in shares if share]

    def start(self, latents: Tensor, branch: Branch) -> Condition:
        """Keys and values of a branch for latents (B, 2, 16, h, w)."""
        ids = branch.ids.to(latents.device).expand(len(latents), -1)
        return self.dit.begin(ids, latents if branch.images else None, self._grid(latents))

    def velocity(
        self, x: Tensor, t: Tensor, latents: Tensor, branch: Branch, condition: Condition | None = None
    ) -> Velocity:
        """Of one branch at x (B, 16, h, w) and times (B,); with the cache, or without one in one sequence."""
        if condition is not None:
            return self.dit.proceed(x, t, condition)
        ids = branch.ids.to(latents.device).expand(len(latents), -1)
        return self.dit.whole(ids, latents if branch.images else None, x, t)

    def generate(
        self, latents: Tensor, control: Control | Sequence[Control] | None = None, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Latents of the sources (B, 2, 16, h, w) -> those of the result (B, 16, h, w), and the guide of the last step.

        t = 0, 1/n, ..., (n - 1)/n; start: noise (B, 16, h, w) to begin with, else that of `seed`, the same for each
        image.
        """
        x = noise(latents, self.seed) if start is None else start
        branches = self.plan(control)
        caches = [self.start(latents, branch) if self.cache else None for _, branch in branches]
        guide: Tensor | None = None
        for step in range(self.steps):
            t = x.new_full((len(x),), step / self.steps)
            v = torch.zeros_like(x)
            for (share, branch), condition in zip(branches, caches, strict=True):
                found = self.velocity(x, t, latents, branch, condition)
                v, guide = v + share * found.latents, found.guide
            x = x + v / self.steps
        return x, guide

    def render(self, latents: Tensor, guide: Tensor | None, sources: Tensor) -> Tensor:
        """Latents (B, 16, h, w) of the result, guide and sources (B, 2, C, 8h, 8w) -> image (B, C, 8h, 8w), not
        clamped
        """
        decoded = self.codec.decode(latents)
        if self.detail is None or guide is None:
            return decoded
        return self.detail(decoded, sources, guide)

    def forward(self, sources: Tensor, condition: Control | None = None, context: Context | None = None) -> Tensor:
        """sources (B, 2, C, H, W) in [0, 1], H and W multiples of 16 -> fused (B, C, H, W) in [0, 1]; classes are in
        `masks`.

        Raises FusionError for repairs, which DiTFuse does not do.
        """
        sources = sources.expand(-1, -1, self.channels, -1, -1)
        latents, guide = self.generate(self.encode_pair(sources), condition)
        return self.render(latents, guide, sources).clamp(0, 1)

    # ------------------------------------------------------------------ segmentation

    def masks(self, sources: Tensor, classes: Iterable[str] = ()) -> dict[str, Tensor]:
        """sources (B, 2, C, H, W) in [0, 1] -> probability of each pixel (B, H, W) for each of `classes`, among all
        that the head knows.

        One pass for all, at t = 0: the target is noise, so what the tokens know of the classes comes from text and
        images. Raises FusionError for an unknown class or a model without the head.
        """
        asked = Control(segment=dict.fromkeys(classes))
        if not asked.segment:
            return {}
        if self.mask_head is None:
            raise FusionError("this model has no head for segmentation: train one with config.mask=true")
        sources = sources.expand(-1, -1, self.channels, -1, -1)
        latents = self.encode_pair(sources)
        x, t = noise(latents, self.seed), sources.new_zeros(len(sources))
        prompt = ditfuse_prompt.prompt(asked, tagged=self.config.tags)
        branch = Branch(ditfuse_prompt.encode([prompt]), True)
        tokens = self.velocity(x, t, latents, branch, self.start(latents, branch)).tokens
        shares = self.mask_head(tokens, sources).softmax(1)
        shares = F.avg_pool2d(shares, 5, 1, 2, count_include_pad=False)  # edges and specks of single pixels
        return {name: shares[:, CLASSES.index(name)] for name in asked.segment}

    def explain(
        self, sources: Tensor, condition: Control | None = None, context: Context | None = None
    ) -> dict[str, Tensor]:
        """The masks of the classes that the condition names, as 'mask CLASS' (B, H, W)."""
        classes = condition.segment if condition is not None else {}
        return {f"mask {name}": mask for name, mask in self.masks(sources, classes).items()}

    def check_explains(self, condition: Control | None = None) -> None:
        if condition is None or not condition.segment:
            raise FusionError(
                "DiTFuse explains the classes that it segments: add --say 'highlight the cars', or leave --explain out"
            )

    def _grid(self, latents: Tensor) -> tuple[int, int]:
        h, w = latents.shape[-2:]
        return h // self.config.patch, w // self.config.patch
