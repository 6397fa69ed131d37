"""Fusion without training, against what the papers' formulas give by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyfuse.image.filters import box, guided_filter
from anyfuse.models.classical import strongest
from anyfuse.models.registry import load_model
from anyfuse.tiling import fuse_whole


def noise(n: int, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(seed))


def test_average_and_maximum() -> None:
    x = noise(3)
    assert torch.allclose(fuse_whole(load_model("average"), x), x.mean(0))
    assert torch.equal(fuse_whole(load_model("maximum"), x), x.amax(0))


def test_strongest_takes_the_largest_coefficient_with_its_sign() -> None:
    bands = torch.tensor([[1.0, -3.0, 0.5], [-2.0, 2.0, 0.5]])[None, :, None, None]
    assert strongest(bands).flatten().tolist() == [-2, -3, 0.5]


@pytest.mark.parametrize("name", ["laplacian", "guided", "mertens"])
def test_the_sharp_half_wins(name: str) -> None:
    """Focus: each source is sharp in one half; in the middle of a half the result is the sharp source."""
    sharp = noise(1, 64, 128)[0]
    soft = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(sharp[None], (4,) * 4, mode="reflect"), 9, 1)[0]
    left = torch.arange(128) < 64
    x = torch.stack([torch.where(left, sharp, soft), torch.where(left, soft, sharp)])
    fused = fuse_whole(load_model(name), x)
    inner = torch.cat([fused[..., 8:40] - sharp[..., 8:40], fused[..., 88:120] - sharp[..., 88:120]], -1)
    lost = torch.cat([soft[..., 8:40] - sharp[..., 8:40], soft[..., 88:120] - sharp[..., 88:120]], -1)
    assert inner.square().mean() < 0.1 * lost.square().mean()


def test_mertens_prefers_what_is_well_exposed() -> None:
    """Equation 3 of the paper: exp(-(v - 0.5)^2 / 0.08)."""
    texture = 0.05 * (noise(1)[0] - 0.5)
    x = torch.stack([0.5 + texture, 0.02 + texture.clamp_min(-0.02), 0.98 + texture.clamp_max(0.02)])
    weights = load_model("mertens").weights(x[None])
    assert weights is not None
    assert weights[0, 0].mean() > 0.8


def test_guided_filter_keeps_edges_that_the_guide_has() -> None:
    guide = (torch.arange(64) < 32).float().expand(1, 1, 64, 64)
    rough = guide + 0.3 * (noise(1)[None, 0] - 0.5)
    smooth = guided_filter(guide, rough, 8, 1e-4)
    assert (smooth - guide).abs().mean() < 0.1 * (rough - guide).abs().mean()
    assert (smooth[..., 30] - smooth[..., 33]).mean() > 0.9
    blurred = box(rough, 8)
    assert (blurred[..., 30] - blurred[..., 33]).mean() < 0.3
