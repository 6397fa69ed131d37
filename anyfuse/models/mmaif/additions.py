"""What this MMAIF has beyond the paper's transformer, each with a field of MMAIFConfig that leaves it out.

    mix       a latent of the result is a share of each latent of the input, plus what is added; shares begin at 1/2
    detail    further output channels guide a path from the pixels around the codec: models/latent/detail.py
    stretch   in training rotary positions lie farther apart: small crops teach the distances of large images

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import Tensor, torch
from ..latent.codec import LATENT
from ..latent.flow import mix_latents, velocity
from .config import MMAIFConfig
from .dit import DiT, Predicted


class ExtendedDiT(DiT):
    """The paper's transformer with more output channels: latents, shares (`mix`), guide (`detail`), in this order."""

    def __init__(self, c: MMAIFConfig, latent: int = LATENT) -> None:
        inputs = 3 if c.flow else 2
        super().__init__(c, latent, latent * (1 + inputs if c.mix else 1) + (c.guide if c.detail else 0))

    def forward(self, latents: Tensor, time: Tensor | None = None, text: Tensor | None = None) -> Predicted:
        """As DiT, with shares of the latents and the guide of the detail path."""
        c, n = self.config, self.latent
        output, balance, load = self.transform(latents, time, text)
        guide = output[:, self.out_channels - c.guide :] if c.detail else None
        result = output[:, :n]
        if c.mix:
            shares = output[:, n : (1 + self.inputs) * n]
            result = result + mix_latents(shares, latents.unflatten(1, (self.inputs, n)))
            if c.flow and time is not None:
                result = velocity(latents[:, :n], time, result)
        return Predicted(result, guide, balance, load)

    def stretch(self) -> float:
        """1; in training drawn from 1 to the configuration's, evenly in the logarithm."""
        return self.config.stretch ** float(torch.rand(())) if self.training else 1.0


def build_dit(c: MMAIFConfig, latent: int = LATENT) -> DiT:
    """The paper's transformer, with our additions where the configuration has any. latent: channels of a latent."""
    return (ExtendedDiT if c.mix or c.detail or c.stretch != 1 else DiT)(c, latent)
