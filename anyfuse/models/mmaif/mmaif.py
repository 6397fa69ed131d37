"""MMAIF (ICCV 2025, arXiv 2503.14944): one transformer of latents that repairs and fuses degraded pairs of every task,
told in words what to repair.

Origin: the authors have released neither code nor weights; this is written from the paper's description, and what it
leaves open is said in docs/systems/mmaif.md. Code and weights: Apache-2.0; codecs other than `tiny`: see
latent/codec.py.

    codec        frozen: each source -> 16 channels at 1/8; the result's latents -> image
    transformer  latents of both sources (flow: and the noisy result), concatenated on channels, patches of 2, L layers:
                 per-block position table, NAF
                 block, value-residual attention with 2-D RoPE, experts (blocks.py); a text embedding and the time
                 modulate (AdaLN)
    regression   one pass gives the latents of the result
    flow         x_t = (1 - t) noise + t x_1; the transformer gives x_1, and with it v = (x_1 - x_t) / (1 - t); a few
                 Euler steps from fixed noise
    detail       ours: the decoded image's Laplacian pyramid is mixed with those of the sources by predicted weights
                 (detail.py), and with that of
                 the default model's fusion of them; config.mend: also of what the classical restoration that is asked
                 for makes of them (classical_restore.py)

Attention runs over all tokens of the image, so the model cannot be tiled (halo None): a large image is done in one
piece or refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...control import Control
from ...errors import FusionError
from ..base import Context
from ..latent.base import LatentModel
from ..latent.codec import LATENT
from ..latent.detail import Detail
from ..latent.flow import mix_latents, noise, velocity
from ..latent.positions import rotary, sinusoid
from .blocks import Block
from .classical_restore import mend
from .instruction import WIDTH, wish_vector


@dataclass(frozen=True)
class MMAIFConfig:
    """codec: see latent/codec.py; it decides whether the model takes luma or RGB. width, layers, heads, patch: of the
    transformer. hidden: of an expert; experts: routed ones, active: how many of them see a token. rank: of AdaLN's
    low-rank part. table: side of the position tables. text: width of what is said (instruction.py), or of a sentence's
    vector.

    flow: flow matching in `steps` Euler steps instead of regression. detail: mix the sources' bands into the decoded
    image; guide: channels that the transformer gives that path; mend: it has classical restoration too (with detail,
    and where wishes are numbers: text 31). mix: the result is a share of each source's latents (flow: and of the noisy
    ones) and what is added, not what the transformer gives alone, which for flow is then the velocity. moe (else one
    GLU of the same cost), rope, value_residual, naf: the paper's ablations. stretch: in training, places turn up to so
    many times as far apart, for images larger than the crops.
    random_codec: the untrained codec, for tests.
    """

    codec: str = "tiny"
    width: int = 256
    layers: int = 8
    heads: int = 8
    patch: int = 2
    hidden: int = 256
    experts: int = 4
    active: int = 1
    rank: int = 32
    table: int = 8
    text: int = WIDTH
    flow: bool = False
    steps: int = 4
    detail: bool = True
    guide: int = 16
    mend: bool = False
    mix: bool = True
    moe: bool = True
    rope: bool = True
    value_residual: bool = True
    naf: bool = True
    stretch: float = 4.0
    random_codec: bool = False

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


@dataclass
class Predicted:
    """latents (B, 16, h, w): of the result, or with flow its velocity. guide (B, G, h, w) for the detail path, or None.
    balance: loss of the router, mean over blocks, 1 where all experts get alike; load (blocks, experts): shares of the
    tokens. Both are empty without experts.
    """

    latents: Tensor
    guide: Tensor | None
    balance: Tensor
    load: Tensor


class DiT(nn.Module):
    """The transformer: latents of both sources (and of the noisy result), time and text -> latents."""

    def __init__(self, c: MMAIFConfig) -> None:
        super().__init__()
        self.config = c
        self.inputs = 3 if c.flow else 2
        self.gives = LATENT * (1 + self.inputs if c.mix else 1) + (c.guide if c.detail else 0)
        self.embed = nn.Linear(self.inputs * LATENT * c.patch**2, c.width)
        self.time = nn.Sequential(nn.Linear(256, c.width), nn.SiLU(), nn.Linear(c.width, c.width)) if c.flow else None
        self.text = nn.Sequential(nn.Linear(c.text, c.width), nn.SiLU(), nn.Linear(c.width, c.width))
        self.no_text = nn.Parameter(torch.zeros(c.width))
        self.shared = nn.Linear(c.width, 6 * c.width)
        self.blocks = nn.ModuleList(
            [
                Block(
                    c.width,
                    c.heads,
                    c.hidden,
                    c.rank,
                    c.table,
                    c.experts if c.moe else 0,
                    c.active,
                    c.naf,
                    c.value_residual and index > 0,
                )
                for index in range(c.layers)
            ]
        )
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.last = nn.Linear(c.width, 2 * c.width)
        self.out = nn.Linear(c.width, self.gives * c.patch**2)
        nn.init.normal_(self.no_text, 0, 0.02)
        for layer in (self.shared, self.last, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor, time: Tensor | None = None, text: Tensor | None = None) -> Predicted:
        """latents (B, 32, h, w), with flow (B, 48, h, w), h and w multiples of the patch; time (B,) in [0, 1), for
        flow; text (B, E) -> what is predicted.

        A row of zeros in `text` means no instruction, as None does for all.
        """
        c = self.config
        x = self.embed(F.pixel_unshuffle(latents, c.patch).permute(0, 2, 3, 1))  # (B, h/p, w/p, D)
        size = x.shape[1:3]
        condition = F.silu(self._condition(len(x), time, text))
        shared, turns = self.shared(condition), self._rotary(size, x)
        values: Tensor | None = None
        routed: list[tuple[Tensor, Tensor]] = []
        for block in self.blocks:
            x, values, found = block(x, condition, shared, values if c.value_residual else None, turns)
            routed += [found] if found is not None else []
        scale, shift = self.last(condition)[:, None, None].chunk(2, -1)
        y = F.pixel_shuffle(self.out(self.norm(x) * (1 + scale) + shift).permute(0, 3, 1, 2), c.patch)
        balance = torch.stack([b for b, _ in routed]).mean() if routed else x.new_zeros(())
        load = torch.stack([f for _, f in routed]) if routed else x.new_zeros((0, 0))
        guide = y[:, self.gives - c.guide :] if c.detail else None
        result = y[:, :LATENT]
        if c.mix:
            shares = y[:, LATENT : (1 + self.inputs) * LATENT]
            result = result + mix_latents(shares, latents.unflatten(1, (self.inputs, LATENT)))
            if c.flow and time is not None:
                result = velocity(latents[:, :LATENT], time, result)
        return Predicted(result, guide, balance, load)

    def _condition(self, count: int, time: Tensor | None, text: Tensor | None) -> Tensor:
        """(B, D)"""
        condition = self.no_text.expand(count, -1)
        if text is not None:
            if text.shape[-1] != self.config.text:
                raise FusionError(
                    f"the instruction's embedding has {text.shape[-1]} numbers, and this model takes {self.config.text}"
                )
            told = text.abs().amax(-1, keepdim=True) > 0
            condition = torch.where(told, self.text(text), condition)
        if self.time is not None:
            if time is None:
                raise TypeError("a flow model needs the time")
            condition = condition + self.time(sinusoid(time).to(condition.dtype))
        return condition

    def _rotary(self, size: torch.Size, like: Tensor) -> tuple[Tensor, Tensor] | None:
        c = self.config
        if not c.rope:
            return None
        stretch = c.stretch ** float(torch.rand(())) if self.training else 1.0
        cos, sin = rotary(size[0], size[1], c.width // c.heads, stretch)
        return cos.to(like), sin.to(like)


class MMAIF(LatentModel):
    """The whole system. Training takes it in its parts (`encode`, `dit`, `render`); forward joins them.

    Its condition is the embedding (1 or B, E) of an instruction; None: no instruction. steps: Euler steps of flow.
    """

    def __init__(self, config: MMAIFConfig | None = None) -> None:
        c = config or MMAIFConfig()
        super().__init__(c.codec, c.random_codec)
        self.config = c
        self.dit = DiT(c)
        self.mends = c.mend and c.detail and c.text == WIDTH
        self.detail = Detail(self.channels, c.guide, self.mends) if c.detail else None
        self.working_bytes = (210 if self.mends else 160) if self.channels == 1 else 1500
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
            return euler(self, latents, text)
        return self.dit(latents, None, text)

    def render(self, latents: Tensor, guide: Tensor | None, sources: Tensor, text: Tensor | None = None) -> Tensor:
        """Latents (B, 16, h, w) of the result, guide and sources (B, 2, C, 8h, 8w), text (B, E) -> image (B, C, 8h,
        8w), not clamped
        """
        decoded = self.codec.decode(latents)
        if self.detail is None or guide is None:
            return decoded
        return self.detail(decoded, sources, guide, mend(sources, text) if self.mends and text is not None else None)

    def forward(self, sources: Tensor, condition: Tensor | None = None, context: Context | None = None) -> Tensor:
        """sources (B, 2, C, H, W) in [0, 1], condition (1 or B, E) or None -> fused (B, C, H, W), in [0, 1] outside of
        training
        """
        text = None if condition is None else condition.to(sources).expand(len(sources), -1)
        sources = sources.expand(-1, -1, self.channels, -1, -1)
        found = self.predict(self.encode(sources), text)
        fused = self.render(found.latents, found.guide, sources, text)
        return fused if self.training else fused.clamp(0, 1)

    def condition(self, control: Control, order: Sequence[int]) -> Tensor | None:
        """The instruction as numbers (1, E), see instruction.py; None for a model of sentence embeddings."""
        if control.tone or control.segment:
            requests = ", ".join([*control.tone, *(f"show {name}" for name in control.segment)])
            raise FusionError(f"MMAIF restores and fuses; it cannot do this: {requests}")
        if control.degradations and not self.restores:
            raise FusionError(
                "this MMAIF was trained on sentence embeddings: give it one in Python, model(sources, condition=vector)"
            )
        return wish_vector(control, order)[None] if self.restores else None

    def ignored(self, control: Control) -> list[str]:
        return [f"the request to keep {thing} has no effect with MMAIF" for thing in control.keep]


def euler(model: MMAIF, latents: Tensor, text: Tensor | None) -> Predicted:
    """x += v / n for t = 0, 1/n, ..., (n-1)/n, from noise to the latents of the result."""
    x = noise(latents)
    for index in range(model.steps):
        time = latents.new_full((len(latents),), index / model.steps)
        found = model.dit(torch.cat([x, latents], 1), time, text)
        x = x + found.latents / model.steps
    found.latents = x
    return found
