"""UniFusion (CVPR 2026, arXiv 2603.14214): a frozen DINO backbone, adapters that reconstruct their inputs, and a fusion
network.

Origin: rewritten from the paper and from facts about its released code; none of that code is here. Code: Apache-2.0.
Weights of the trained part: Apache-2.0; of the backbone: see backbone.py.

    features   one frozen ViT for all inputs: blocks 2, 5, 8, 11, final norm, patch tokens only
    adapter    one per input: a ladder from 1/16 to full size, joined by a 3x3 convolution of the image itself ("skip")
    lower      reconstruction of each input from its adapter's output; trains adapters and reconstructors (phi)
    upper      four rounds of paired cross-attention blocks and a decoder (theta); attention is between channels and
               sums over all
               pixels, so a result at one pixel depends on the whole image: it cannot be tiled (halo None)

Options beyond the paper: luma in and out, other norms, fusion at half size, one adapter for all, sets of any number of
inputs. docs/systems/unifusion.md says what differs and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import FusionError
from ..base import Context, FusionModel, flatten_set, unflatten_set
from .backbone import PAPER_MEAN, Backbone

SHIFTED = True
"""Whether compiled blocks make their 3x3 convolutions per channel of shifted products."""
CHOICES = {
    "colour": ("rgb", "luma"),
    "norm": ("batch", "running", "group"),
    "inputs": ("two", "shared", "set"),
}


@dataclass(frozen=True)
class UniFusionConfig:
    """backbone: see backbone.py. width: channels D of adapters and fusion. rounds: of paired cross blocks.

    colour: 'rgb' as the paper, or 'luma' (chroma goes around the network). norm of the adapters: 'batch' as the paper;
    'running': batch norm that uses its running statistics in training too; 'group'. inputs: 'two' as the paper;
    'shared': one adapter for both; 'set': everything is shared, any number in any order. half: the fusion works at half
    size. adapter: False leaves the ladder out (ablation).
    reconstructors: build them (training needs them, fusion does not). random_backbone: fixed random weights (ablation).
    scaled: the backbone gets its own normalisation; the paper's code takes the mean off and no more.
    """

    backbone: str = "dinov3-s"
    width: int = 64
    heads: int = 8
    rounds: int = 4
    colour: str = "rgb"
    norm: str = "batch"
    inputs: str = "two"
    half: bool = False
    adapter: bool = True
    reconstructors: bool = False
    random_backbone: bool = False
    scaled: bool = False

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise FusionError(f"{name} is '{getattr(self, name)}', not one of {', '.join(known)}")
        if self.width % self.heads:
            raise FusionError(f"width {self.width} is not a multiple of {self.heads} heads")


# ---------------------------------------------------------------------- adapters


class RunningNorm(nn.BatchNorm2d):
    """Batch norm with running statistics in training as in use, so that small batches of mixed tasks do not disturb it.

    Each pass in training updates the statistics first: their plain mean over the first 100 passes, then a moving
    average.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                share = (1 / (1 + self.num_batches_tracked)).clamp_min(0.01)
                var, mean = torch.var_mean(x.float(), (0, 2, 3))
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(var, share)
                self.num_batches_tracked += 1
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def make_norm(kind: str, channels: int) -> nn.Module:
    """The norm of a name, with a scale and a shift per channel."""
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return RunningNorm(channels) if kind == "running" else nn.BatchNorm2d(channels)


class UpConv(nn.Module):
    """Bilinear doubling (unless `up` is False), 3x3 convolution, norm, ReLU."""

    def __init__(self, cin: int, cout: int, norm: str, up: bool = True) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(cin, cout, 3, 1, 1, bias=False)
        self.norm = make_norm(norm, cout)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(self.norm(self.conv(x)))


class Adapter(nn.Module):
    """Maps of the backbone and the image -> features of `width` channels at full size (half size with `half`)."""

    def __init__(self, c: UniFusionConfig, maps: int) -> None:
        super().__init__()
        self.fold = 2 if c.half else 1
        self.maps, self.ladder = maps, c.adapter and maps > 0
        pixels = 3 * self.fold**2
        if not c.adapter:
            self.skip: nn.Module = Pointwise(pixels, c.width)
            self.out = Pointwise(4 * maps, c.width, bias=True) if maps else None
            return
        thin = maps // 16 if maps else 24
        self.skip = UpConv(pixels, thin, c.norm, up=False)
        self.out = Pointwise(2 * thin if maps else thin, c.width, bias=True)
        if maps:
            self.deep = UpConv(maps, maps // 2, c.norm)  # taps 8 and 11, added
            self.middle = UpConv(maps, maps // 2, c.norm)
            self.shallow = UpConv(maps, maps // 2, c.norm)
            self.deep4 = UpConv(maps // 2, maps // 4, c.norm)
            self.shallow4 = UpConv(maps // 2, maps // 4, c.norm)
            self.join2 = UpConv(maps // 4, maps // 8, c.norm)
            self.join1 = UpConv(maps // 8, thin, c.norm, up=not c.half)

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor:
        """image (B, 3, H, W) less its mean, maps four times (B, E, H/16, W/16) -> (B, D, H, W)"""
        if self.fold > 1:
            image = F.pixel_unshuffle(image, self.fold)
        z = self.skip(image)
        if not self.ladder:
            if self.maps:
                assert self.out is not None
                scale = (z.shape[-2] / maps[0].shape[-2], z.shape[-1] / maps[0].shape[-1])
                return z + F.interpolate(self.out(torch.cat(maps, 1)), scale_factor=scale, mode="bilinear")
            return z if self.out is None else self.out(z)
        assert self.out is not None
        shallow, middle, deep, deepest = maps
        x = self.deep4(self.deep(deep + deepest) + self.middle(middle)) + self.shallow4(self.shallow(shallow))
        return self.out(torch.cat([self.join1(self.join2(x)), z], 1))


# ---------------------------------------------------------------------- channel attention


class LayerNorm(nn.LayerNorm):
    """Over the channels of (B, C, H, W), per pixel; for channels_last memory this is the plain one without a copy."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """1x1 convolution, as a matrix product (three times faster on channels_last memory than the general one)."""

    def __init__(self, cin: int, cout: int, bias: bool = False) -> None:
        super().__init__(cin, cout, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Attention between channels (Restormer, CVPR 2022): per head a small matrix, summed over all pixels.

    Softmax weights and the last 1x1 convolution are one matrix per image, so that the values are multiplied only once.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = Pointwise(width, width)
        self.q_near = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
        self.kv = Pointwise(width, 2 * width)
        self.kv_near = nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width, bias=False)
        self.out = Pointwise(width, width)

    def forward(self, x: Tensor, y: Tensor, n: int = 1) -> Tensor:
        """Queries from x, keys and values from y, both (B*N, C, H, W).

        With N > 1 each input looks at all the others of its set.
        """
        shape = x.shape
        q = pixels(near(self.q_near, self.q(x)), n)  # (B, N, HW, C)
        k, v = (pixels(t, n) for t in near(self.kv_near, self.kv(y)).chunk(2, 1))
        q_size, k_size = ((t * t).sum(2).clamp_min(1e-24).sqrt() for t in (q, k))  # (B, N, C)
        gram = q[:, :, None].transpose(-1, -2) @ k[:, None]  # (B, Nq, Nk, C, C)
        gram = gram / (q_size[:, :, None, :, None] * k_size[:, None, :, None, :])
        logits = (
            gram.unflatten(-1, (self.heads, -1)).unflatten(-3, (self.heads, -1)).diagonal(0, 3, 5)
        )  # (B, Nq, Nk, c, c, heads)
        logits = logits.permute(0, 1, 5, 3, 2, 4) * self.temperature[:, :, None]  # (B, Nq, heads, c, Nk, c)
        if n > 1:
            own = torch.eye(n, dtype=torch.bool, device=x.device).view(1, n, 1, 1, n, 1)
            logits = logits.masked_fill(own, -torch.inf)
        share = logits.flatten(-2).softmax(-1).view_as(logits)
        weight = self.out.weight.flatten(1).unflatten(1, (self.heads, -1))  # (C, heads, c)
        mix = torch.einsum("ohd,bqhdke->bqkheo", weight, share).flatten(3, 4)  # (B, Nq, Nk, C, C)
        result = v @ mix[:, :, 0] if n == 1 else (v[:, None] @ mix).sum(2)
        return result.flatten(0, 1).transpose(1, 2).view(shape)


def near(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 3x3 convolution per channel; when compiled, as nine shifted products, which the compiler joins with what is
    around them.
    """
    if not (torch.compiler.is_compiling() and SHIFTED):
        return layer(x)
    h, w = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    taps = layer.weight.flatten(1).to(x.dtype)  # (C, 9)
    out = padded[..., :h, :w] * taps[:, 0, None, None]
    for i in range(1, 9):
        out = out + padded[..., i // 3 : i // 3 + h, i % 3 : i % 3 + w] * taps[:, i, None, None]
    return out


def pixels(x: Tensor, n: int) -> Tensor:
    """(B*N, C, H, W) -> (B, N, HW, C); without a copy where memory is channels_last."""
    return unflatten_set(x.permute(0, 2, 3, 1).flatten(1, 2), n)


class FeedForward(nn.Module):
    """Gated: 1x1 to twice two halves, 3x3 per channel, GELU of one half times the other, 1x1 back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = Pointwise(width, 4 * width)
        self.near = nn.Conv2d(4 * width, 4 * width, 3, 1, 1, groups=4 * width, bias=False)
        self.down = Pointwise(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = near(self.near, self.up(x)).chunk(2, 1)
        return self.down(F.gelu(gate) * value)


class Block(nn.Module):
    """Attention to oneself, or with `cross` to others; then feed forward."""

    def __init__(self, width: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.norm_other = LayerNorm(width) if cross else None
        self.attention = Attention(width, heads)
        self.norm_feed = LayerNorm(width)
        self.feed = FeedForward(width)

    def forward(self, x: Tensor, other: Tensor | None = None, n: int = 1) -> Tensor:
        """(B*N, C, H, W) -> the same; `other`: what a cross block looks at, N: inputs of a set that look at
        each other.
        """
        y = self.norm(x)
        x = x + self.attention(y, y if self.norm_other is None or other is None else self.norm_other(other), n)
        return x + self.feed(self.norm_feed(x))


class Reconstructor(nn.Module):
    """Features of one input -> the input itself."""

    def __init__(self, c: UniFusionConfig) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(c.width, c.heads), Block(c.width, c.heads))
        self.out = Pointwise(c.width, 12 if c.half else 3, bias=True)
        self.fold = 2 if c.half else 1

    def forward(self, z: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, 3, H, W)"""
        return F.pixel_shuffle(self.out(self.blocks(z)), self.fold)


class Fusion(nn.Module):
    """Rounds of cross blocks between the inputs' features, and a decoder."""

    def __init__(self, c: UniFusionConfig) -> None:
        super().__init__()
        self.set = c.inputs == "set"
        sides = 1 if self.set else 2
        self.rounds = nn.ModuleList(
            [nn.ModuleList(Block(c.width, c.heads, True) for _ in range(sides)) for _ in range(c.rounds)]
        )
        self.join = nn.Conv2d(2 * c.width, c.width, 3, 1, 1)
        self.refine = Block(c.width, c.heads)
        self.narrow = nn.Conv2d(c.width, c.width // 2, 3, 1, 1)
        self.fold = 2 if c.half else 1
        self.out = nn.Conv2d(c.width // 2, 3 * self.fold**2, 3, 1, 1)

    def forward(self, z: list[Tensor]) -> Tensor:
        """Features of each input (B, D, H, W) -> (B, 3, H, W), less the mean colour"""
        if self.set:
            n = len(z)
            x = torch.stack(z, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            for blocks in self.rounds:
                x = cast(nn.ModuleList, blocks)[0](x, x, n)
            parts = unflatten_set(x, n)
            first, second = parts.mean(1), parts.amax(1)
        else:
            first, second = z
            for blocks in self.rounds:
                one, two = cast(nn.ModuleList, blocks)
                first = one(first, second)
                second = two(second, first)  # sees the first's new value
        x = self.refine(self.join(torch.cat([first, second], 1)))
        return F.pixel_shuffle(self.out(self.narrow(x)), self.fold)


# ---------------------------------------------------------------------- the system


class UniFusion(FusionModel):
    """The whole system.

    Training takes it in its parts: observe, encode, reconstruct, decode; forward joins what fusion needs.
    """

    stride = 16
    margin = 8
    halo = None
    arity: tuple[int, int | None] = (2, 2)
    low_precision: ClassVar[bool] = False
    ordered = True
    mean: Tensor
    backbone_print: Tensor

    def __init__(self, config: UniFusionConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or UniFusionConfig()
        self.channels: Literal[1, 3] = 3 if c.colour == "rgb" else 1
        if c.inputs == "set":
            self.arity, self.ordered = (2, None), False
        self.working_bytes = (
            (80 if c.inputs == "set" else 64) * c.width // (4 if c.half else 1)
        )  # experiments/unifusion_parts.py
        self.backbone = Backbone(c.backbone, random=c.random_backbone, scaled=c.scaled)
        copies = 2 if c.inputs == "two" else 1
        self.adapters = nn.ModuleList([Adapter(c, self.backbone.width) for _ in range(copies)])
        self.fusion = Fusion(c)
        self.reconstructors = nn.ModuleList([Reconstructor(c) for _ in range(copies)] if c.reconstructors else [])
        self.register_buffer("mean", torch.tensor(PAPER_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("backbone_print", torch.zeros(8, dtype=torch.uint8))
        self.printed = False
        self.register_load_state_dict_post_hook(_without_backbone)

    # ------------------------------------------------------------------ the parts

    def lower_parameters(self) -> Iterator[nn.Parameter]:
        """phi: adapters and reconstructors"""
        return chain(self.adapters.parameters(), self.reconstructors.parameters())

    def upper_parameters(self) -> Iterator[nn.Parameter]:
        """theta: the fusion network"""
        return self.fusion.parameters()

    def observe(self, sources: Tensor) -> list[Tensor]:
        """sources (B, N, 1 or 3, H, W) -> what the frozen backbone sees in them, four times (B, N, E, H/16, W/16)"""
        maps = self.backbone.features(flatten_set(sources).expand(-1, 3, -1, -1))
        if self.training and not self.printed:  # once: looking at a value on a GPU waits for it
            self.backbone_print.copy_(self._print())
            self.printed = True
        return [unflatten_set(m, sources.shape[1]) for m in maps]

    def encode(self, sources: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """-> features of each input, N times (B, D, H, W)"""
        images = (sources.expand(-1, -1, 3, -1, -1) - self.mean).to(self.fusion.out.weight.dtype)
        if len(self.adapters) == 1:  # all inputs at once
            n = sources.shape[1]
            whole = self.adapters[0](channels_last(flatten_set(images)), [channels_last(flatten_set(m)) for m in maps])
            return [channels_last(z) for z in unflatten_set(whole, n).unbind(1)]
        return [
            adapter(channels_last(images[:, i]), [channels_last(m[:, i]) for m in maps])
            for i, adapter in enumerate(self.adapters)
        ]

    def reconstruct(self, features: list[Tensor]) -> Tensor:
        """Features of each input -> the inputs again (B, N, C, H, W), not clamped"""
        if not self.reconstructors:
            raise TypeError("this UniFusion was built without reconstructors; see UniFusionConfig")
        branches = list(self.reconstructors) * (len(features) // len(self.reconstructors))
        return torch.stack([self._colour(r(z)) for r, z in zip(branches, features, strict=True)], 1)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Features of each input -> fused (B, C, H, W), not clamped"""
        return self._colour(self.fusion(features) + self.mean.to(features[0].dtype))

    def _colour(self, image: Tensor) -> Tensor:
        return image if self.channels == 3 else image.mean(1, keepdim=True)

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        fused = self.decode(self.encode(sources, self.observe(sources)))
        return fused if self.training else fused.clamp(0, 1)

    # ------------------------------------------------------------------ weights

    def prepare(self) -> None:
        self.backbone.load()

    def load_weights(self, path: str | Path) -> None:
        """As FusionModel; reconstructors in the file are passed over where this model has none.

        The backbone must be the one of training.
        """
        super().load_weights(path)
        self.prepare()
        if self.backbone_print.any() and not torch.equal(self.backbone_print.cpu(), self._print()):
            raise FusionError(
                f"{path}: was trained with other weights of backbone {self.backbone.name} than those that are here"
            )

    def accepts(self, key: str) -> bool:
        return bool(self.reconstructors) or not key.startswith("reconstructors.")

    def _print(self) -> Tensor:
        return torch.tensor(list(bytes.fromhex(self.backbone.fingerprint())) or [0] * 8, dtype=torch.uint8)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _without_backbone(module: nn.Module, incompatible: Any) -> None:
    """The backbone is in no state dict, so its keys are not missed."""
    incompatible.missing_keys[:] = [k for k in incompatible.missing_keys if not k.startswith("backbone.")]
