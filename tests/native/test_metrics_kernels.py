"""Compiled parts of metrics against NumPy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyfuse import native
from anyfuse.metrics import fmi, phase


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmi, "kernels", lambda: None)
    monkeypatch.setattr(phase, "kernels", lambda: None)


def scene(n: int, height: int, width: int) -> torch.Tensor:
    """Rough grey images with a flat part, and a part of single points on black."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 255, (n, height, width)).astype(np.float64)
    images[:, : height // 3] = 40
    dots = rng.random((n, height - height * 2 // 3, width)) < 0.08
    images[:, height * 2 // 3 :] = 255 * dots
    images[1:, -4:] = images[:1, -4:]
    return torch.from_numpy(images)


@pytest.mark.parametrize("size", [(48, 64), (31, 45), (9, 3), (12, 10)])
@pytest.mark.parametrize("feature", ["pixel", "gradient"])
def test_mutual_information(
    found: native.Kernels, size: tuple[int, int], feature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = scene(4, *size)
    calls = [
        lambda published=published: float(fmi.fmi(images[:1], images[None, 1:], None, feature, published))
        for published in (False, True)
    ]
    compiled = [call() for call in calls]
    without(monkeypatch)
    assert compiled == pytest.approx([call() for call in calls], rel=1e-12)
    assert feature == "gradient" or size[0] <= 12 or compiled[0] != compiled[1]


@pytest.mark.parametrize("size", [(48, 64), (33, 45), (5, 4)])
def test_phase_congruency(found: native.Kernels, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    images = scene(3, *size)
    compiled = [phase.qp(images[:1], images[None, 1:]), *phase.phase_congruency(images)]
    without(monkeypatch)
    for one, two in zip(
        compiled, [phase.qp(images[:1], images[None, 1:]), *phase.phase_congruency(images)], strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11, equal_nan=True)


def test_the_strongest_of_equal_ones_is_the_last() -> None:
    maps = torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.5, 2.0, 0.0]])[None, :, None]
    assert phase._strongest(maps).flatten().tolist() == [1, 2, 2]
