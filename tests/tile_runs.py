"""A model through the tiling, for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyfuse import tiling
from anyfuse.models.base import FusionModel


def run_in_tiles(
    model: FusionModel, x: Tensor, tile: int = 4096, condition: Any = None, explain: bool = False
) -> tuple[Tensor, dict[str, Tensor], int]:
    """x (N, C, H, W) -> fused (C, H, W), other maps and numbers by name, number of tiles.

    'weights' (N, H, W) is among the maps where the model has any, and what it explains where that is asked for. Checks
    that every pixel comes once.
    """
    _, c, h, w = x.shape
    grid = tiling.plan_tiles(model, len(x), c, h, w, tile=tile)
    whole: dict[str, Tensor] = {"fused": torch.full((c, h, w), torch.nan)}

    def step(sources: Tensor, context: Any) -> dict[str, Tensor]:
        maps = {"fused": model(sources, condition, context)}
        weights = model.weights(sources, condition, context)
        maps |= {} if weights is None else {"weights": weights}
        return maps | (model.explain(sources, condition, context) if explain else {})

    for window, maps in tiling.run_tiles(model, grid, lambda win: x[:, :, win[0], win[1]], step):
        for name, part in maps.items():
            if part.ndim == 0:
                whole[name] = part
                continue
            if name not in whole:
                whole[name] = torch.full((*part.shape[:-2], h, w), torch.nan)
            assert whole[name][..., window[0], window[1]].isnan().all(), "a pixel came twice"
            whole[name][..., window[0], window[1]] = part
    fused = whole.pop("fused")
    assert not fused.isnan().any(), "a pixel never came"
    return fused, whole, grid.count
