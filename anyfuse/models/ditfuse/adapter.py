"""DiTFuse's low-rank adapter of OmniGen's attention (LoRA, Hu et al. 2021, arXiv 2106.09685), on the fused projections
that the released one has: queries, keys and values together, and the output.

Origin: written from the formula and the facts of the released files; no code was copied. Licence: Apache-2.0.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...arrays import F, Tensor, nn, torch
from ...errors import FusionError
from ...weights import read_tensors


class Adapter(nn.Module):
    """Of one layer: delta (q, k, v) = s B A x with A (r, D), B (3 D, r), and the same of the output with B (D, r); B is
    0 at first.
    """

    def __init__(self, width: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.qkv_down = nn.Parameter(torch.randn(rank, width) / rank)
        self.qkv_up = nn.Parameter(torch.zeros(3 * width, rank))
        self.out_down = nn.Parameter(torch.randn(rank, width) / rank)
        self.out_up = nn.Parameter(torch.zeros(width, rank))

    def qkv(self, x: Tensor) -> tuple[Tensor, ...]:
        """x (B, T, D) -> what is added to queries, keys and values (B, T, D) each"""
        return (self.scale * F.linear(F.linear(x, self.qkv_down), self.qkv_up)).chunk(3, -1)

    def out(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> what is added to the output"""
        return self.scale * F.linear(F.linear(x, self.out_down), self.out_up)

    @torch.no_grad()
    def merge(self, attention: Any) -> None:
        """Into to_q, to_k, to_v and to_out[0] of diffusers; then the adapter is 0."""
        for layer, up in zip((attention.to_q, attention.to_k, attention.to_v), self.qkv_up.chunk(3), strict=True):
            layer.weight.add_((self.scale * up @ self.qkv_down).to(layer.weight))
        attention.to_out[0].weight.add_((self.scale * self.out_up @ self.out_down).to(attention.to_out[0].weight))
        self.qkv_up.zero_()
        self.out_up.zero_()


FUSED = re.compile(r"layers\.(\d+)\.self_attn\.(qkv_proj|o_proj)\.lora_(A|B)(?:\.default)?\.weight$")


def read_adapter(path: str | Path) -> dict[str, Tensor]:
    """A safetensors file of an adapter of the fused projections, as peft names them -> names of `Adapter`, below the
    layer's number.

    Raises FusionError for a file without such keys, or with others.
    """
    weights: dict[str, Tensor] = {}
    state = read_tensors(Path(path))
    for key, value in state.items():
        match = FUSED.search(key)
        if match is None:
            raise FusionError(f"{path}: {key} is not of an adapter of qkv_proj and o_proj; give DiTFuse's LoRA")
        part = {"qkv_proj": "qkv", "o_proj": "out"}[match[2]] + {"A": "_down", "B": "_up"}[match[3]]
        weights[f"{match[1]}.{part}"] = value.float()
    if not weights:
        raise FusionError(f"{path}: holds no adapter")
    return weights
