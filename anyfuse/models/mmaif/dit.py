"""MMAIF's modernised DiT (ICCV 2025, arXiv 2503.14944, figure 3): latents of both sources -> latents of the result.

    input       latents of both sources (flow: and of the noisy result), concatenated on channels, patches of p
    condition   c = text + time; regression has no time. Text enters by AdaLN; the paper does not say how
    layer l     X + position table, NAF block, value-residual attention with 2-D RoPE, mixture of GLU experts; both
                modulated by low-rank AdaLN (blocks.py)
    output      W (LN(X) (1 + scale(c)) + shift(c)), patches back to latents
    regression  one pass gives the latents of the result
    flow        x_t = (1 - t) noise + t x_1; v = x_1 - noise; Euler steps x += v / n

The formulas of regression and flow are the usual ones; the numbers of the paper's equations are not known to us.

What is ours is in additions.py, which builds on this network. Origin: the authors have released neither code nor
weights; written from the paper's description. Licence: Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...arrays import F, Tensor, nn, torch
from ...errors import FusionError
from ..latent.codec import LATENT
from ..latent.flow import noise
from ..latent.positions import rotary, sinusoid
from .blocks import DiTBlock
from .config import MMAIFConfig


@dataclass
class Predicted:
    """What the transformer predicts."""

    latents: Tensor  # of the result, or with flow its velocity, (B, 16, h, w)
    guide: Tensor | None  # of additions.py: for the detail path, (B, G, h, w); None from the paper's network
    balance: Tensor  # loss of the router, mean over blocks; 1 where all experts get alike
    load: Tensor  # shares of the tokens, (blocks, experts); empty without experts


class DiT(nn.Module):
    """The transformer: latents of both sources (and of the noisy result), time and text -> latents.

    latent: channels of a latent. out_channels: of the output; None: those of a latent, as in the paper.
    """

    def __init__(self, c: MMAIFConfig, latent: int = LATENT, out_channels: int | None = None) -> None:
        super().__init__()
        self.config, self.latent = c, latent
        self.inputs = 3 if c.flow else 2
        self.out_channels = latent if out_channels is None else out_channels
        self.embed = nn.Linear(self.inputs * latent * c.patch**2, c.width)
        self.time = nn.Sequential(nn.Linear(256, c.width), nn.SiLU(), nn.Linear(c.width, c.width)) if c.flow else None
        self.text = nn.Sequential(nn.Linear(c.text, c.width), nn.SiLU(), nn.Linear(c.width, c.width))
        self.no_text = nn.Parameter(torch.zeros(c.width))
        self.shared = nn.Linear(c.width, 6 * c.width)
        self.blocks = nn.ModuleList([DiTBlock(c, residual=c.value_residual and index > 0) for index in range(c.layers)])
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.last = nn.Linear(c.width, 2 * c.width)
        self.out = nn.Linear(c.width, self.out_channels * c.patch**2)
        nn.init.normal_(self.no_text, 0, 0.02)
        for layer in (self.shared, self.last, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor, time: Tensor | None = None, text: Tensor | None = None) -> Predicted:
        """-> what is predicted: latents of the result in one pass; with flow, their velocity

        latents: of both sources (B, 32, h, w); flow: of the noisy result and both (B, 48, h, w). h and w are multiples
            of the patch.
        time: (B,) in [0, 1), for flow.
        text: instructions (B, E); a row of zeros is no instruction, None is none for all.
        """
        output, balance, load = self.transform(latents, time, text)
        return Predicted(output, None, balance, load)

    def transform(self, latents: Tensor, time: Tensor | None, text: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward` -> output (B, out_channels, h, w), balance loss and load of the experts, see Predicted."""
        c = self.config
        x = self.embed(F.pixel_unshuffle(latents, c.patch).permute(0, 2, 3, 1))  # (B, h/p, w/p, D)
        size = x.shape[1:3]
        condition = F.silu(self._condition(len(x), time, text))
        shared, positions = self.shared(condition), self._rotary(size, x)
        values: Tensor | None = None
        routed: list[tuple[Tensor, Tensor]] = []
        for block in self.blocks:
            x, values, routing = block(x, condition, shared, values if c.value_residual else None, positions)
            routed += [routing] if routing is not None else []
        scale, shift = self.last(condition)[:, None, None].chunk(2, -1)
        y = F.pixel_shuffle(self.out(self.norm(x) * (1 + scale) + shift).permute(0, 3, 1, 2), c.patch)
        balance = torch.stack([b for b, _ in routed]).mean() if routed else x.new_zeros(())
        load = torch.stack([f for _, f in routed]) if routed else x.new_zeros((0, 0))
        return y, balance, load

    def stretch(self) -> float:
        """Factor of the rotary positions, for one pass: 1 in the paper."""
        return 1.0

    def _condition(self, count: int, time: Tensor | None, text: Tensor | None) -> Tensor:
        """(B, D)"""
        condition = self.no_text.expand(count, -1)
        if text is not None:
            if text.shape[-1] != self.config.text:
                raise FusionError(
                    f"the instruction's embedding has {text.shape[-1]} numbers, and this model takes {self.config.text}"
                )
            has_text = text.abs().amax(-1, keepdim=True) > 0
            condition = torch.where(has_text, self.text(text), condition)
        if self.time is not None:
            if time is None:
                raise TypeError("a flow model needs the time")
            condition = condition + self.time(sinusoid(time).to(condition.dtype))
        return condition

    def _rotary(self, size: torch.Size, like: Tensor) -> tuple[Tensor, Tensor] | None:
        c = self.config
        if not c.rope:
            return None
        cos, sin = rotary(size[0], size[1], c.width // c.heads, self.stretch())
        return cos.to(like), sin.to(like)


def euler(net: DiT, latents: Tensor, text: Tensor | None, steps: int) -> Predicted:
    """x += v / n for t = 0, 1/n, ..., (n-1)/n, from fixed noise to the latents of the result."""
    x = noise(latents, channels=net.latent)
    for index in range(steps):
        time = latents.new_full((len(latents),), index / steps)
        predicted = net(torch.cat([x, latents], 1), time, text)
        x = x + predicted.latents / steps
    return Predicted(x, predicted.guide, predicted.balance, predicted.load)
