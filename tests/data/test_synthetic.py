from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyfuse.data.synthetic import exposure_stack, focus_stack, random_depth
from anyfuse.image.random import smooth_field


def sharp_image(side: int = 96) -> Tensor:
    gen = torch.Generator().manual_seed(5)
    return torch.nn.functional.interpolate(torch.rand((1, 1, side // 2, side // 2), generator=gen), side)[0, 0]


def sharpness(x: Tensor) -> Tensor:
    detail = (
        4 * x[..., 1:-1, 1:-1] - x[..., 2:, 1:-1] - x[..., :-2, 1:-1] - x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
    ).abs()
    return torch.nn.functional.avg_pool2d(detail[:, None], 9, 1, 4)[:, 0]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_each_pixel_of_a_focus_stack_is_sharp_somewhere(n: int) -> None:
    truth = sharp_image()
    stack = focus_stack(truth, n, torch.Generator().manual_seed(n))
    assert stack.shape == (n, 96, 96)
    assert stack.min() >= 0
    assert stack.max() <= 1
    best = (stack - truth).abs().amin(0)
    assert best.median() < 0.02 < (stack[0] - truth).abs().median() * n, "most pixels are in focus in some frame"
    for image in stack:
        assert sharpness(image[None]).mean() < sharpness(truth[None]).mean(), "each frame is blurred somewhere"


@pytest.mark.parametrize("n", [2, 4])
def test_exposures_are_ordered_and_clipped(n: int) -> None:
    observed, clean = exposure_stack(sharp_image(), n, torch.Generator().manual_seed(n))
    assert observed.shape == clean.shape == (n, 96, 96)
    means = clean.mean((1, 2))
    steps = means.diff()
    assert (steps > 0).all() or (steps < 0).all()
    assert torch.equal((observed * 255).round() / 255, observed)
    assert (observed - clean).abs().mean() < 0.05


def test_same_seed_same_stack() -> None:
    a = focus_stack(sharp_image(), 3, torch.Generator().manual_seed(1))
    b = focus_stack(sharp_image(), 3, torch.Generator().manual_seed(1))
    c = focus_stack(sharp_image(), 3, torch.Generator().manual_seed(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_fields_and_depths() -> None:
    field = smooth_field(40, 60, 16, torch.Generator().manual_seed(0))
    assert field.shape == (40, 60)
    assert abs(float(field.mean())) < 1e-5
    for seed in range(12):
        depth = random_depth(48, 48, 4, torch.Generator().manual_seed(seed))
        assert depth.unique().tolist() == [0, 1, 2, 3]
