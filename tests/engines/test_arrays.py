"""What stands in for PyTorch on NumPy arrays gives what PyTorch gives, on random data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyfuse.arrays import fft, functional, functions, linalg
from anyfuse.arrays.tensor import Tensor, wrap

Call = Callable[[Any, Any, Any], Any]
"""A call of what is named torch, of what is named F, and of a random tensor (2, 3, 37, 50)."""


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def both(call: Call, array: np.ndarray) -> tuple[Any, Any]:
    """What the stand-ins give, and what PyTorch gives."""
    return call(functions, functional, wrap(array.copy())), call(torch, F, torch.from_numpy(array.copy()))


def check(call: Call, array: np.ndarray, tolerance: float = 2e-6) -> None:
    found, expected = both(call, array)
    if not isinstance(found, tuple | list):
        found, expected = [found], [expected]
    for one, other in zip(found, expected, strict=True):
        if not isinstance(other, torch.Tensor):
            assert one == other
            continue
        values = other.numpy()
        assert isinstance(one, Tensor)
        assert one.dtype == values.dtype
        assert one.shape == values.shape
        np.testing.assert_allclose(one.numpy(), values, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------------- planes

RESIZED: dict[str, Call] = {
    "bilinear up": lambda t, F, x: F.interpolate(x, (61, 83), mode="bilinear", align_corners=False),
    "bilinear down": lambda t, F, x: F.interpolate(x, (20, 31), mode="bilinear", align_corners=False),
    "bilinear, scale": lambda t, F, x: F.interpolate(x, scale_factor=3.0, mode="bilinear", align_corners=False),
    "bicubic up": lambda t, F, x: F.interpolate(x, (61, 83), mode="bicubic", align_corners=False),
    "bicubic down": lambda t, F, x: F.interpolate(x, (20, 31), mode="bicubic", align_corners=False),
    "bilinear, antialias": lambda t, F, x: F.interpolate(x, (20, 31), mode="bilinear", antialias=True),
    "bilinear up, antialias": lambda t, F, x: F.interpolate(x, (45, 99), mode="bilinear", antialias=True),
    "bicubic, antialias": lambda t, F, x: F.interpolate(x, (20, 31), mode="bicubic", antialias=True),
    "nearest": lambda t, F, x: F.interpolate(x, (20, 83), mode="nearest"),
}
POOLED: dict[str, Call] = {
    "squares": lambda t, F, x: F.avg_pool2d(x, 4),
    "overlap": lambda t, F, x: F.avg_pool2d(x, 3, 1),
    "lines": lambda t, F, x: F.avg_pool2d(x, (5, 1), 1),
    "apart": lambda t, F, x: F.avg_pool2d(x, 3, 2),
    "to the end": lambda t, F, x: F.avg_pool2d(x, 4, ceil_mode=True, count_include_pad=False),
    "adaptive": lambda t, F, x: F.adaptive_avg_pool2d(x, (7, 12)),
    "adaptive, finer": lambda t, F, x: F.adaptive_avg_pool2d(x, (40, 50)),
    "adaptive, three axes": lambda t, F, x: F.adaptive_avg_pool2d(x[0], (5, 5)),
    "largest": lambda t, F, x: F.max_pool2d(x, 3),
    "largest around": lambda t, F, x: F.max_pool2d(x - 2, 7, 1, 3),
    "largest in lines": lambda t, F, x: F.max_pool2d(x - 2, (11, 1), 1, (5, 0)),
    "filter": lambda t, F, x: F.conv2d(x[:, :1], t.tensor([[[[0.5, -1.0, 2.0], [1.0, 0.25, 0.0]]]])),
    "zeros": lambda t, F, x: F.pad(x, (1, 2, 0, 3)),
    "cut": lambda t, F, x: F.pad(x, (-1, 2, 3, -4)),
    "cut and repeated": lambda t, F, x: F.pad(x, (-1, 2, 3, -4), mode="replicate"),
    "repeated": lambda t, F, x: F.pad(x, (1, 2, 4, 3), mode="replicate"),
    "mirrored": lambda t, F, x: F.pad(x, (1, 2, 4, 3), mode="reflect"),
}


@pytest.mark.parametrize("name", RESIZED)
def test_sizes(name: str) -> None:
    check(RESIZED[name], drawn(2, 3, 37, 50), 1e-5)


@pytest.mark.parametrize("name", POOLED)
def test_pools_and_pads(name: str) -> None:
    check(POOLED[name], drawn(2, 3, 37, 50))


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(37, 50), (1, 9), (2, 2)], ids=str)
def test_places(mode: str, padding: str, size: tuple[int, int]) -> None:
    points = drawn(2, 23, 31, 2, seed=1) * 3 - 1.5  # some of them outside

    def call(t: Any, F: Any, x: Any) -> Any:
        return F.grid_sample(x, t.from_numpy(points), mode=mode, padding_mode=padding, align_corners=False)

    check(call, drawn(2, 3, *size), 2e-5)


def test_places_in_a_volume() -> None:
    points = drawn(1, 1, 9, 8, 3, seed=1) * 2.4 - 1.2

    def call(t: Any, F: Any, x: Any) -> Any:
        return F.grid_sample(x, t.from_numpy(points), padding_mode="border", align_corners=True)

    check(call, drawn(1, 1, 5, 7, 6), 1e-5)


@pytest.mark.parametrize("size", [(37, 50), (60, 64), (40, 600)], ids=str)
def test_spectra(size: tuple[int, int]) -> None:
    array = drawn(2, 3, 37, 50) - np.float32(0.5)
    found, expected = fft.rfft2(wrap(array), size), torch.fft.rfft2(torch.from_numpy(array), size)
    assert found.dtype == np.complex64
    assert np.abs(found.numpy() - expected.numpy()).max() < 1e-4
    back = fft.irfft2(found, size)
    assert back.dtype == np.float32
    assert np.abs(back.numpy()[..., :37, :50] - array).max() < 1e-5


def test_matrices() -> None:
    matrix = drawn(3, 3).astype(np.float64)
    np.testing.assert_allclose(linalg.inv(wrap(matrix)), torch.linalg.inv(torch.from_numpy(matrix)))
    assert float(linalg.det(wrap(matrix))) == pytest.approx(float(torch.linalg.det(torch.from_numpy(matrix))))


# ---------------------------------------------------------------------- values

VALUES: dict[str, Call] = {
    "largest along": lambda t, F, x: tuple(x.max(1)),
    "sums so far": lambda t, F, x: x.cumsum(1).cumsum(2),
    "whole sums so far": lambda t, F, x: (x > 0.5).long().cumsum(3),
    "differences": lambda t, F, x: (x.diff(dim=1), x.diff()),
    "length": lambda t, F, x: x.norm(dim=1),
    "deviation": lambda t, F, x: x.std(3),
    "ranks": lambda t, F, x: x[0, 0].argsort().argsort(),
    "gather": lambda t, F, x: x.gather(3, (x[..., :4] * 49).long()),
    "select": lambda t, F, x: x.index_select(2, t.tensor([3, 0, 0, 36])),
    "take": lambda t, F, x: x.take(t.tensor([[3, 99], [100, 2]])),
    "unfold": lambda t, F, x: x.unfold(2, 5, 2).unfold(3, 8, 1),
    "parts": lambda t, F, x: x.unfold(2, 5, 1).unfold(3, 5, 1)[:, :, t.tensor([0, 9])[:, None], t.tensor([4, 7])[None]],
    "masked": lambda t, F, x: x.masked_fill_(x > 0.5, 2.0),
    "in place": lambda t, F, x: x.sub_(0.5).mul_(2).add_(x.abs(), alpha=3),
    "clamp": lambda t, F, x: (x.clamp_max(0.5), x.clamp(0.2, 0.4), x.clamp_min(0.7)),
    "functions": lambda t, F, x: (x.exp(), x.log(), (x * 9).ceil(), (x * 9).int(), (x * 9 - 4).long(), x.isfinite()),
    "products": lambda t, F, x: (x.mul(3).round().div(1000), x.expand_as(x[:1].expand(2, -1, -1, -1))),
    "views": lambda t, F, x: (x.flatten().view_as(x), x.view([2, -1])),
    "mix": lambda t, F, x: t.lerp(x, x * 2, x),
    "counts": lambda t, F, x: t.bincount((x.flatten() * 9).long(), minlength=12),
    "correlation": lambda t, F, x: t.corrcoef(x[0, 0, :3]),
    "places": lambda t, F, x: t.nonzero(x > 0.9),
    "equal": lambda t, F, x: (t.equal(x, x + 0), t.equal(x, x[:1]), t.equal(x, x + 1)),
    "new": lambda t, F, x: (t.eye(3, dtype=t.float64), t.ones_like(x), t.zeros_like(x, dtype=t.bool)),
    "evenly": lambda t, F, x: (t.arange(-3, 4), t.arange(5, dtype=t.float64), t.linspace(0, 9, 4)),
}
FORMATS: dict[str, Call] = {
    "whole and float": lambda t, F, x: t.arange(4) + 0.5,
    "whole over whole": lambda t, F, x: t.arange(4) / 3,
    "whole and floats": lambda t, F, x: x[0, 0, 0, :4] - t.arange(4),
    "single double": lambda t, F, x: x * t.tensor(2.0, dtype=t.float64),
    "single whole": lambda t, F, x: x * t.tensor(3),
    "doubles": lambda t, F, x: x + x.double(),
    "a number of NumPy": lambda t, F, x: x * np.float64(0.3),
    "true and false": lambda t, F, x: x * (x > 0.5),
    "sums of bytes": lambda t, F, x: ((x * 9).to(t.uint8).sum(), (x * 9).int().sum(1, keepdim=True), (x > 0.5).sum(3)),
    "functions of bytes": lambda t, F, x: ((x * 9).to(t.uint8).exp(), ((x + 1) * 9).int().log(), (x * 9).long().sqrt()),
    "bytes": lambda t, F, x: (x * 9).long() * (x > 0.5) + 1,
    "smaller": lambda t, F, x: t.maximum(x, x.mean()),
    "compared": lambda t, F, x: t.arange(4) > 1.5,
    "powers": lambda t, F, x: (t.arange(-2, 3) / 1.5) ** 2,
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    check(VALUES[name], drawn(2, 3, 37, 50))


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str) -> None:
    check(FORMATS[name], drawn(2, 3, 37, 50))


def test_a_view_stays_a_view() -> None:
    x = wrap(drawn(4, 4))
    x[1:].add_(1.0)
    x += 1
    assert float(x[3, 3]) > 2
