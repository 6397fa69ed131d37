"""DiTFuse (TPAMI 2025, arXiv 2512.07170): two images and an instruction in one sequence; one transformer denoises the
fused image beside them.

Origin: written from the paper's description and the facts of its base, OmniGen (arXiv 2409.11340); no code was copied.
The system at full size, which is OmniGen with an adapter, is omnigen.py. Code and weights: Apache-2.0; codecs other
than `tiny`: see latent/codec.py.

    codec        frozen, deterministic: each source -> 16 channels at 1/8; patches of 2, so a token is 16x16 pixels
    prompt.py    tags and words of a closed vocabulary
    sequence.py, transformer.py
                 [text | image 1 | image 2 | time | target]; image 1 is the second source: visible, over-exposed, far
    flow         x_t = t x_1 + (1 - t) x_0; the velocity is v = x_1 - x_0; Euler steps from noise with a fixed seed
    guidance.py  v = v_neg + s_img (v_img - v_neg) + s_txt (v_full - v_img)
    additions.py, mask_head.py, latent/detail.py
                 ours: positions by row and column, aligned tokens, shares of latents, segmentation, detail path

Attention runs over all tokens of the image, so the model cannot be tiled (halo None): a large image is done in one
piece or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...arrays import F, Tensor, torch
from ...control import CLASSES, Control
from ...errors import FusionError
from ..base import Context
from ..latent.base import LatentModel
from ..latent.detail import Detail
from ..latent.flow import noise
from . import prompt as ditfuse_prompt
from .additions import build_transformer
from .config import DiTFuseConfig
from .guidance import Branch, euler, guidance
from .mask_head import MaskHead, PixelMaskHead
from .transformer import Condition, Velocity

BLUE = "blue"
"""What the network paints classes with, where it does."""


class DiTFuse(LatentModel):
    """The whole system.

    Training uses its parts (`encode_pair`, `dit`, `render`, `mask_head`); forward joins them.

    Its condition is a Control; None: nothing beyond fusion. steps, branches, text_scale, image_scale: as in the
    configuration, and may be set. cache: whether the condition's keys and values are computed once per image (else at
    each step: slower, and the same result within rounding). seed: of the noise.
    """

    def __init__(self, config: DiTFuseConfig | None = None) -> None:
        c = config or DiTFuseConfig()
        super().__init__(c.codec, c.random_codec)
        self.config = c
        if c.painted and self.channels != 3:
            raise FusionError(f"painted: codec {c.codec} has no colours; give one of RGB, as config.codec=sdxl")
        self.working_bytes = 240 if self.channels == 1 else 1500
        self.dit = build_transformer(c, self.latent_channels)
        self.detail = Detail(self.channels, c.guide, c.reference) if c.detail else None
        self.mask_head: MaskHead | PixelMaskHead | None = None
        if c.mask:
            pixels = c.mask_pixels
            self.mask_head = (
                PixelMaskHead(self.channels, pixels) if pixels else MaskHead(self.channels, c.width, c.patch)
            )
        self.steps, self.branches = c.steps, c.branches
        self.text_scale, self.image_scale = c.text_scale, c.image_scale
        self.cache, self.seed = True, 0

    controls = True

    def condition(self, control: Control, order: Sequence[int]) -> Control | None:
        """As FusionModel; refuses degradations, and classes where the model has no head for them."""
        ditfuse_prompt.check(control)
        if control.segment and self.mask_head is None and not self.config.painted:
            raise FusionError("this model has no head for segmentation: train one with config.mask=true")
        return None if control.empty else control

    def ignored(self, control: Control) -> list[str]:
        """As FusionModel: what it shall preserve has no effect, nor have colours where the network paints."""
        others = [
            name for name, colour in control.segment.items() if self.config.painted and colour not in (None, BLUE)
        ]
        return ditfuse_prompt.ignored(control) + [f"this model paints the {name} blue" for name in others]

    @property
    def has_masks(self) -> bool:
        """As FusionModel: not where the network paints."""
        return not self.config.painted

    # ------------------------------------------------------------------ the flow

    def plan(self, control: Control | Sequence[Control] | None) -> list[tuple[float, Branch]]:
        """Passes of the guidance with their shares of the velocity, which sum to 1; the full one comes last.

        control: one for all images, or one for each.
        """
        requests = [control or Control()] if isinstance(control, Control | None) else list(control)
        if not self.config.painted:  # the head segments
            requests = [replace(request, segment={}) for request in requests]
        texts = [ditfuse_prompt.prompt(request, tagged=self.config.tags) for request in requests]
        return guidance(texts, self.branches, self.text_scale, self.image_scale)

    def start(self, latents: Tensor, branch: Branch) -> Condition:
        """Keys and values of a branch for latents (B, 2, 16, h, w)."""
        ids = branch.ids.to(latents.device).expand(len(latents), -1)
        return self.dit.encode_condition(ids, latents if branch.images else None, self.dit.grid_of(latents))

    def velocity(
        self, x: Tensor, t: Tensor, latents: Tensor, branch: Branch, condition: Condition | None = None
    ) -> Velocity:
        """Of one branch at x (B, 16, h, w) and times (B,); condition: its keys and values, None: without a cache."""
        if condition is not None:
            return self.dit.velocity_cached(x, t, condition)
        ids = branch.ids.to(latents.device).expand(len(latents), -1)
        return self.dit.velocity_full(ids, latents if branch.images else None, x, t)

    def generate(
        self, latents: Tensor, control: Control | Sequence[Control] | None = None, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The flow: latents of the result (B, 16, h, w), and the guide of the last step for the detail path.

        latents: of the sources (B, 2, 16, h, w).
        start: noise (B, 16, h, w); None: that of `seed`, the same for each image.
        """
        branches = self.plan(control)
        caches = [self.start(latents, branch) if self.cache else None for _, branch in branches]
        guide: Tensor | None = None

        def guided(x: Tensor, t: Tensor) -> Tensor:
            nonlocal guide
            v = torch.zeros_like(x)
            for (share, branch), condition in zip(branches, caches, strict=True):
                predicted = self.velocity(x, t, latents, branch, condition)
                v, guide = v + share * predicted.latents, predicted.guide
            return v

        x = euler(noise(latents, self.seed, self.latent_channels) if start is None else start, guided, self.steps)
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
        `masks`, or with config.painted in the image.

        Raises FusionError where the condition asks for restoration, which DiTFuse does not do.
        """
        sources = sources.expand(-1, -1, self.channels, -1, -1)
        latents, guide = self.generate(self.encode_pair(sources), condition)
        return self.render(latents, guide, sources).clamp(0, 1)

    # ------------------------------------------------------------------ segmentation

    def masks(self, sources: Tensor, classes: Iterable[str] = ()) -> dict[str, Tensor]:
        """sources (B, 2, C, H, W) in [0, 1] -> probability of each pixel (B, H, W) for each of `classes`, among all
        that the head knows.

        One pass for all. With config.mask_pixels the head sees the sources alone. Else it reads the tokens at t = 0:
        the target is noise, so what they know of the classes comes from text and images. Raises FusionError for an
        unknown class or a model without the head.
        """
        request = Control(segment=dict.fromkeys(classes))
        if not request.segment or self.config.painted:
            return {}
        if self.mask_head is None:
            raise FusionError("this model has no head for segmentation: train one with config.mask=true")
        sources = sources.expand(-1, -1, self.channels, -1, -1)
        tokens = None if self.config.mask_pixels else self._tokens(sources, request)
        shares = self.mask_head(tokens, sources).softmax(1)
        shares = F.avg_pool2d(shares, 5, 1, 2, count_include_pad=False)  # edges and specks of single pixels
        return {name: shares[:, CLASSES.index(name)] for name in request.segment}

    def _tokens(self, sources: Tensor, request: Control) -> Tensor:
        """(B, D, H/16, W/16) at t = 0, of sources (B, 2, C, H, W)."""
        latents = self.encode_pair(sources)
        x, t = noise(latents, self.seed, self.latent_channels), sources.new_zeros(len(sources))
        prompt = ditfuse_prompt.prompt(request, tagged=self.config.tags)
        branch = Branch(ditfuse_prompt.encode([prompt]), True)
        return self.velocity(x, t, latents, branch, self.start(latents, branch)).tokens

    def explain(
        self, sources: Tensor, condition: Control | None = None, context: Context | None = None
    ) -> dict[str, Tensor]:
        """The masks of the classes that the condition names, as 'mask CLASS' (B, H, W)."""
        classes = condition.segment if condition is not None else {}
        return {f"mask {name}": mask for name, mask in self.masks(sources, classes).items()}

    def check_explains(self, condition: Control | None = None) -> None:
        """Raises FusionError where the condition names no class: masks are all that there is to explain."""
        if self.config.painted:
            raise FusionError("this DiTFuse paints classes itself and explains nothing; leave --explain out")
        if condition is None or not condition.segment:
            raise FusionError(
                "DiTFuse explains the classes that it segments: add --say 'highlight the cars', or leave --explain out"
            )
