"""Measures of images of many bands: against torchmetrics, against their formulas, and at their ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional import image as theirs

from anyfuse.errors import FusionError
from anyfuse.metrics.spectral import d_lambda, d_s, ergas, q2n, qnr, sam, uqi


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


@pytest.fixture
def images() -> dict[str, Tensor]:
    """A reference, a result near it, and what they were made of, of one scene and ratio 3."""
    reference = noise(1, 4, 48, 60)
    fused = reference + 0.2 * noise(1, 4, 48, 60, seed=1)
    names = {"ms": (4, 16, 20), "pan": (1, 48, 60), "pan_low": (1, 16, 20)}
    others = {name: noise(1, *shape, seed=k) for k, (name, shape) in enumerate(names.items(), 2)}
    return {"reference": reference, "fused": fused, **others}


def test_as_torchmetrics(images: dict[str, Tensor]) -> None:
    fused, reference, ms = images["fused"], images["reference"], images["ms"]
    pan, low = (images[k].expand(-1, 4, -1, -1) for k in ("pan", "pan_low"))
    pairs = {
        "sam": (sam(fused, reference), torch.rad2deg(theirs.spectral_angle_mapper(fused, reference))),
        "ergas": (
            ergas(fused, reference, 3),
            theirs.error_relative_global_dimensionless_synthesis(fused, reference, 3),
        ),
        "uqi": (uqi(fused, reference).mean(), theirs.universal_image_quality_index(fused, reference)),
        "d_lambda": (d_lambda(fused, ms), theirs.spectral_distortion_index(fused, ms)),
        "d_s": (
            d_s(fused, ms, images["pan"], images["pan_low"]),
            theirs.spatial_distortion_index(fused, ms, pan, low),
        ),
        "qnr": (
            qnr(fused, ms, images["pan"], images["pan_low"]),
            theirs.quality_with_no_reference(fused, ms, pan, low),
        ),
    }
    for name, (own, other) in pairs.items():
        assert float(own) == pytest.approx(float(other), abs=1e-6), name  # theirs keeps some in float32


def hamilton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Products of quaternions, (4, n) each, as Hamilton has them."""
    a, b, c, d = x
    e, f, g, h = y
    rows = [a * e - b * f - c * g - d * h, a * f + b * e + c * h - d * g]
    rows += [a * g - b * h + c * e + d * f, a * h + b * g - c * f + d * e]
    return np.stack(rows)


def by_hand(fused: np.ndarray, reference: np.ndarray) -> float:
    """Q4 of one block (4, n) from the definition: |covariance| / spreads, times means, both scaled by the reference."""
    level, spread = reference.mean(1, keepdims=True), reference.std(1, ddof=1, keepdims=True)
    x, y = ((v - level) / spread + 1 for v in (reference, fused))
    star = np.array([1, -1, -1, -1])[:, None]
    n = x.shape[1]
    mean_x, mean_y = x.mean(1, keepdims=True), y.mean(1, keepdims=True)
    cross = n / (n - 1) * (hamilton(x, star * y).mean(1) - hamilton(mean_x, star * mean_y)[:, 0])
    spreads = sum(n / (n - 1) * ((v**2).sum(0).mean() - (m**2).sum()) for v, m in ((x, mean_x), (y, mean_y)))
    means = [np.linalg.norm(m) for m in (mean_x, mean_y)]
    return float(np.linalg.norm(cross) * 2 / spreads * 2 * means[0] * means[1] / (means[0] ** 2 + means[1] ** 2))


def test_q4_is_of_quaternions(images: dict[str, Tensor]) -> None:
    fused, reference = (images[k][:, :, :32, :32] for k in ("fused", "reference"))
    hand = by_hand(fused[0].reshape(4, -1).numpy(), reference[0].reshape(4, -1).numpy())
    assert float(q2n(fused, reference)) == pytest.approx(hand, abs=1e-9)


def test_q2n_of_one_band_is_the_index_of_wang_and_bovik(images: dict[str, Tensor]) -> None:
    x, y = (images[k][:, :1, :32, :32] for k in ("reference", "fused"))
    a, b = ((v - x.mean()) / x.std() + 1 for v in (x, y))
    cov = ((a - a.mean()) * (b - b.mean())).sum() / (a.numel() - 1)
    index = 4 * cov * a.mean() * b.mean() / ((a.var() + b.var()) * (a.mean() ** 2 + b.mean() ** 2))
    assert float(q2n(y, x)) == pytest.approx(abs(float(index)), abs=1e-9)


@pytest.mark.parametrize("count", [1, 3, 4, 8])
def test_perfect_results(count: int) -> None:
    x = noise(2, count, 40, 70, seed=count)
    assert q2n(x, x).tolist() == pytest.approx([1.0, 1.0])
    assert sam(x, x).tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
    assert ergas(x, x, 4).tolist() == [0.0, 0.0]
    assert uqi(x, x).flatten().tolist() == pytest.approx([1.0] * 2 * count)
    assert float(q2n(x.flip(1), x).max()) < 1 or count == 1


def test_values_by_hand() -> None:
    one, two = torch.zeros(1, 2, 12, 12), torch.zeros(1, 2, 12, 12)
    one[:, 0], two[:] = 2.0, 1.0
    assert float(sam(one, two)) == pytest.approx(45.0, abs=1e-4)
    assert float(ergas(two * 1.1, two, 4)) == pytest.approx(2.5, abs=1e-4)  # 100 / 4 * 0.1
    assert float(uqi(two * 3, two)[0, 0]) == pytest.approx(0.6)  # flat: 2 * 3 / (9 + 1)
    assert math.isnan(float(sam(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3))))


def test_the_scale_of_values_does_not_matter(images: dict[str, Tensor]) -> None:
    fused, reference = images["fused"], images["reference"]
    for measure in (sam, q2n, lambda a, b: ergas(a, b, 4)):
        assert float(measure(1000 * fused, 1000 * reference)) == pytest.approx(
            float(measure(fused, reference)), abs=1e-9
        )


def test_errors_are_one_line() -> None:
    x = noise(1, 3, 20, 20)
    with pytest.raises(FusionError, match="of one shape"):
        sam(x, x[:, :2])
    with pytest.raises(FusionError, match="smaller than a block"):
        q2n(x, x)
    with pytest.raises(FusionError, match="smaller than the window"):
        uqi(x[..., :9], x[..., :9])
    with pytest.raises(FusionError, match="2 bands or more"):
        d_lambda(x[:, :1], x[:, :1])
    with pytest.raises(FusionError, match="pan as fused"):
        d_s(x, x, x, x)
    with pytest.raises(FusionError, match="give floats"):
        ergas(x.int(), x.int(), 4)
