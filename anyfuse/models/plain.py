"""The default model's fusion of a whole pair at once: what a restoration is held against (degradation/gate.py)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from ..arrays import F, Tensor, torch
from ..control import Control
from ..image.colour import join, to_luma_chroma
from .base import FusionModel, flatten_set, unflatten_set

if TYPE_CHECKING:
    from ..degradation.estimator import Estimate

MOSTLY = 0.5
"""Share of a restoration below which a person who asked for it is told so."""


@lru_cache(maxsize=2)
def _default(device: str) -> FusionModel:
    from .registry import load_model

    return load_model("anyfuse").to(device)


@torch.inference_mode()
def plain_fusion(sources: Tensor) -> Tensor:
    """sources (B, N, 1 or 3, H, W) in [0, 1] of any size -> (B, 1 or 3, H, W) in [0, 1]; sides are filled up to what
    the model takes and cut back
    """
    model = _default(str(sources.device))
    x, (height, width) = flatten_set(sources.float()), sources.shape[-2:]
    x = to_luma_chroma(x) if x.shape[1] == 3 else x
    unit = math.lcm(model.stride, model.context_scale or 1)
    x = F.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
    fused = model(unflatten_set(x, sources.shape[1]))[..., :height, :width]
    return (join(fused[:, :1], fused[:, 1:]) if fused.shape[1] == 3 else fused).clamp(0, 1)


class Held:
    """Holds what a restoring model makes of a pair against the default model's fusion; passes on what others make.

    shares: after a call, how much of the restoration was taken, as the report has it; None: nothing was held.
    """

    def __init__(self, model: FusionModel, control: Control, estimate: Estimate | None) -> None:
        self.restores, self.control = model.restores, control
        self.estimate, self.told = estimate, estimate is None
        self.shares: dict[str, float] | None = None

    def __call__(self, sources: Tensor, result: Tensor) -> Tensor:
        """sources (1, 2, C, H, W) by role, result (1, C, H, W) of the model -> the same, as far as it helps"""
        if not self.restores:
            return result
        from ..degradation.estimator import roles_of
        from ..degradation.gate import harmless

        roles = roles_of(self.control, self.estimate)
        held, shares = harmless(sources, plain_fusion(sources), result, self.control, roles, self.told)
        self.shares = shares.as_dict()
        return held

    def notes(self) -> list[str]:
        """A line where little was taken of a restoration that a person asked for."""
        if self.shares is None or not (self.told and self.control.degradations):
            return []
        light, detail = self.shares["light"], self.shares["detail"]
        if max(light, detail) >= MOSTLY:
            return []
        return [
            f"the restoration was mostly left out ({light:.0%} of its light, {detail:.0%} of its detail): "
            "the fusion without it seemed better"
        ]
