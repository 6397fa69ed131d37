"""MMAIF (ICCV 2025, arXiv 2503.14944): one transformer of latents restores and fuses degraded pairs of every task; an
instruction says what to restore.

Origin: the authors have released neither code nor weights; this is written from the paper's description, and what it
leaves open is said in docs/systems/mmaif.md. Code and weights: Apache-2.0; codecs other than `tiny`: see
latent/codec.py.

    codec            frozen: each source -> 16 channels at 1/8; the result's latents -> image
    dit.py           the paper's network; blocks.py has its parts: NAF block, value residual, RoPE, MoE GLU, low-rank
                     AdaLN
    additions.py     ours: the result as shares of the latents, channels for the detail path, stretched positions
    instruction.py   ours: an instruction as 31 numbers, in place of a sentence's vector
    latent/detail.py, classical_restore.py
                     ours: the decoded image's Laplacian pyramid is mixed with those of the sources, of the default
                     model's fusion, and of that after classical restoration

Attention runs over all tokens of the image, so the model cannot be tiled (halo None): a large image is done in one
piece or refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...arrays import Tensor
from ...control import Control
from ...errors import FusionError
from ..base import Context
from ..latent.base import LatentModel
from ..latent.detail import Detail
from .additions import build_dit
from .classical_restore import restore
from .config import SMALL, TINY, MMAIFConfig
from .dit import Predicted, euler
from .instruction import WIDTH, instruction_vector


class MMAIF(LatentModel):
    """The system: codec, transformer, detail path. Training takes its parts (`encode`, `dit`, `render`).

    Its condition is an instruction as numbers (1 or B, E); None: no instruction. steps: Euler steps of flow.
    """

    def __init__(self, config: MMAIFConfig | None = None) -> None:
        c = config or MMAIFConfig()
        super().__init__(c.codec, c.random_codec)
        self.config = c
        self.dit = build_dit(c, self.latent_channels)
        self.uses_restored = c.mend and c.detail and c.text == WIDTH
        self.detail = Detail(self.channels, c.guide, c.reference, self.uses_restored) if c.detail else None
        self.working_bytes = (210 if self.uses_restored else 160) if self.channels == 1 else 1500
        self.steps = c.steps
        self.restores = c.text == WIDTH

    # ------------------------------------------------------------------ the parts

    def encode(self, sources: Tensor) -> Tensor:
        """sources (B, 2, C, H, W) -> latents of both, one after the other (B, 32, H/8, W/8)"""
        return self.encode_pair(sources).flatten(1, 2)

    def predict(self, latents: Tensor, text: Tensor | None = None) -> Predicted:
        """Latents of both sources (B, 32, h, w) -> latents of the result: one pass, or the steps of the flow from fixed
        noise.
        """
        if self.config.flow:
            return euler(self.dit, latents, text, self.steps)
        return self.dit(latents, None, text)

    def render(self, latents: Tensor, guide: Tensor | None, sources: Tensor, text: Tensor | None = None) -> Tensor:
        """-> image (B, C, 8h, 8w), not clamped

        latents: of the result (B, 16, h, w). guide: (B, G, h, w), for the detail path. sources: (B, 2, C, 8h, 8w).
        text: instructions (B, E), for classical restoration.
        """
        decoded = self.codec.decode(latents)
        if self.detail is None or guide is None:
            return decoded
        restored = restore(sources, text) if self.uses_restored and text is not None else None
        return self.detail(decoded, sources, guide, restored)

    def forward(self, sources: Tensor, condition: Tensor | None = None, context: Context | None = None) -> Tensor:
        """sources (B, 2, C, H, W) in [0, 1], condition (1 or B, E) or None -> fused (B, C, H, W), in [0, 1] outside of
        training
        """
        text = None if condition is None else condition.to(sources).expand(len(sources), -1)
        sources = sources.expand(-1, -1, self.channels, -1, -1)
        predicted = self.predict(self.encode(sources), text)
        fused = self.render(predicted.latents, predicted.guide, sources, text)
        return fused if self.training else fused.clamp(0, 1)

    def condition(self, control: Control, order: Sequence[int]) -> Tensor | None:
        """The instruction as numbers (1, E), see instruction.py; None for a model of sentence embeddings."""
        if control.tone or control.segment:
            requests = ", ".join([*control.tone, *(f"segment {name}" for name in control.segment)])
            raise FusionError(f"MMAIF restores and fuses; it cannot do this: {requests}; use --model ditfuse")
        if control.degradations and not self.restores:
            raise FusionError(
                "this MMAIF was trained on sentence embeddings: give it one in Python, model(sources, condition=vector)"
            )
        return instruction_vector(control, order)[None] if self.restores else None

    def ignored(self, control: Control) -> list[str]:
        """As FusionModel: what it shall preserve has no effect."""
        return [f"the request to keep {thing} has no effect with MMAIF" for thing in control.keep]


__all__ = ["MMAIF", "SMALL", "TINY", "MMAIFConfig", "Predicted"]
