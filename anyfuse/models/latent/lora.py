"""Low-rank adapters of linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685): y = W x + alpha / r B A x, W frozen.

Origin: written from the formula; no code was copied. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import FusionError


class LoRA(nn.Module):
    """A linear layer and its adapter: down (r, in), normal with deviation 1/r; up (out, r), zero at first. alpha: None
    is r.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float | None = None) -> None:
        super().__init__()
        if rank < 1:
            raise FusionError(f"lora {rank}: give a rank of 1 or more")
        self.base = base.requires_grad_(False)
        self.scale = (rank if alpha is None else alpha) / rank
        like = base.weight
        self.down = nn.Parameter(torch.randn(rank, base.in_features, dtype=like.dtype).to(like.device) / rank)
        self.up = nn.Parameter(like.new_zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)"""
        return self.base(x) + self.scale * F.linear(F.linear(x, self.down), self.up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain layer with W + alpha / r B A."""
        self.base.weight.add_(self.scale * (self.up @ self.down))
        return self.base.requires_grad_(True)


def add_lora(model: nn.Module, rank: int, names: Sequence[str]) -> int:
    """Freezes `model` and gives an adapter to each linear layer whose last name is one of `names`; returns how many
    numbers are trained.

    Raises FusionError where there is no such layer.
    """
    model.requires_grad_(False)
    layers = [(m, n) for m in model.modules() for n, c in m.named_children() if n in names and isinstance(c, nn.Linear)]
    if not layers:
        raise FusionError(f"{type(model).__name__} has no linear layer {' or '.join(names)} to adapt")
    for module, name in layers:
        setattr(module, name, LoRA(getattr(module, name), rank))
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def merge_lora(model: nn.Module) -> int:
    """Puts every adapter into its layer, which takes its place again; returns how many there were."""
    adapters = [(m, n) for m in model.modules() for n, c in m.named_children() if isinstance(c, LoRA)]
    for module, name in adapters:
        setattr(module, name, getattr(module, name).merged())
    return len(adapters)
