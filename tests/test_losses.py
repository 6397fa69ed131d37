"""Losses against plain definitions, and their behaviour."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyfuse import losses

NAMES = [
    "intensity",
    "base_max",
    "base_mean",
    "gradient",
    "ssim",
    "mef_ssim",
    "qabf",
    "vif",
    "mutual_information",
    "scd",
    "halo",
    "intensity_mean",
    "ssim_weighted",
]


def smooth(seed: int, *shape: int) -> Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.nn.functional.avg_pool2d(torch.rand(shape, generator=gen), 3, 1, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [2, 4])
def test_gradient_is_finite_and_useful(name: str, n: int) -> None:
    sources = smooth(0, 2, n, 64, 64)
    fused = (sources.mean(1) + 0.5 * smooth(1, 2, 64, 64) - 0.2).requires_grad_()
    loss = getattr(losses, name)(fused, sources)
    loss.backward()
    assert fused.grad is not None
    assert fused.grad.isfinite().all()
    assert fused.grad.abs().sum() > 0
    step = 1e-3 * fused.grad / fused.grad.abs().max()
    assert getattr(losses, name)(fused.detach() - step, sources) < loss


@pytest.mark.parametrize("name", NAMES)
def test_flat_images_do_no_harm(name: str) -> None:
    sources = torch.full((1, 2, 64, 64), 0.5)
    fused = torch.full((1, 64, 64), 0.5, requires_grad=True)
    loss = getattr(losses, name)(fused, sources)
    loss.backward()
    assert loss.isfinite()
    assert fused.grad is not None
    assert fused.grad.isfinite().all()


def test_window_mean_is_a_convolution() -> None:
    x, taps = smooth(0, 2, 3, 30, 41), losses.gaussian_taps(11, 1.5, torch.zeros(1))
    direct = torch.nn.functional.conv2d(x.view(6, 1, 30, 41), taps.outer(taps)[None, None]).view(2, 3, 20, 31)
    assert (losses.window_mean(x, taps) - direct).abs().max() < 1e-6


def test_ssim_of_equal_images_is_one() -> None:
    x = smooth(0, 1, 40, 40)
    assert losses.ssim(x, x[:, None].expand(-1, 2, -1, -1)).abs() < 1e-5


def test_copies_and_averages_have_no_halo() -> None:
    sources = smooth(0, 1, 2, 64, 64)
    assert losses.halo(sources[:, 0], sources) < 1e-6
    assert losses.halo(sources.mean(1), sources) < 1e-6
    blob = sources.mean(1).clone()
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    blob += 0.5 * torch.exp(-((y - 32) ** 2 + (x - 32) ** 2) / 200)
    assert losses.halo(blob, sources) > 0.05


def test_intensity_modes() -> None:
    sources = smooth(0, 1, 2, 16, 16)
    assert losses.intensity(sources.amax(1), sources) == 0
    assert losses.intensity(sources.mean(1), sources, "mean") == 0


def test_mef_ssim_prefers_the_stronger_structure() -> None:
    texture = smooth(0, 1, 64, 64)
    strong, weak = texture, 0.5 + 0.05 * (texture - 0.5)
    sources = torch.stack([strong, weak], 1)
    assert losses.mef_ssim(strong, sources) < losses.mef_ssim(sources.mean(1), sources) < losses.mef_ssim(weak, sources)


def test_mutual_information_of_a_copy_is_the_largest() -> None:
    sources = smooth(0, 1, 2, 64, 64)
    assert losses.mutual_information(sources[:, 0], sources) < losses.mutual_information(sources.mean(1), sources)


def test_reconstruction_is_zero_at_the_truth() -> None:
    truth = smooth(0, 1, 40, 40)
    assert losses.reconstruction(truth, truth) < 1e-5
    assert losses.reconstruction(truth + 0.1, truth) > 0.09


def test_ssim_weighted_follows_the_livelier_source() -> None:
    lively = smooth(0, 1, 40, 40)
    sources = torch.stack([lively, torch.full_like(lively, 0.5)], 1)
    assert losses.ssim_weighted(lively, sources) < 1e-4
    equal = torch.stack([lively, lively.flip(-1)], 1)
    assert losses.ssim_weighted(lively, equal) == pytest.approx(losses.ssim(lively, equal).item(), abs=1e-3)


def test_self_reconstruction_is_the_mean_over_sources() -> None:
    sources = smooth(0, 1, 2, 16, 16)[:, :, None]
    assert losses.self_reconstruction(sources, sources) == 0
    moved = sources + torch.tensor([0.1, 0.3]).view(1, 2, 1, 1, 1)
    assert losses.self_reconstruction(moved, sources) == pytest.approx(0.2, abs=1e-6)


def test_unsteadiness_counts_slow_differences_alone() -> None:
    gen = torch.Generator().manual_seed(0)
    one = torch.rand(2, 64, 64, generator=gen)
    assert float(losses.unsteadiness(one, one)) == 0
    assert float(losses.unsteadiness(one, one + 0.01)) == pytest.approx(0.01, rel=1e-4)
    fine = 0.01 * (torch.arange(64) % 2 * 2 - 1.0).expand(2, 64, 64)
    assert float(losses.unsteadiness(one, one + fine)) < 0.001
