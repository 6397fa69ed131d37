"""Where pixels of two grids lie on each other, and what the filters between them do."""

from __future__ import annotations

import numpy as np
import pytest

from anyfuse.pansharpening.grid import Grid, mtf_sigma


def plane(height: int, width: int, top: float = 0.0, left: float = 0.0, step: float = 1.0) -> np.ndarray:
    """3 y + 2 x at the centres of pixels of a grid with that corner and pixel size, in fine pixels."""
    y, x = (np.arange(n) * step + (step - 1) / 2 + first for n, first in ((height, top), (width, left)))
    return (3 * y[:, None] + 2 * x[None]).astype(np.float32)


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("corner", [(0.0, 0.0), (1.5, -0.75)])
def test_phase(ratio: int, corner: tuple[float, float]) -> None:
    """The centre of coarse pixel i is r i + (r - 1) / 2 from the corner: a plane keeps its values both ways."""
    grid = Grid((20 * ratio, 24 * ratio), (20, 24), ratio, corner)
    fine, coarse = plane(20 * ratio, 24 * ratio), plane(20, 24, *corner, ratio)
    inner = slice(4, -4)
    assert grid.reduce(fine, 0.3)[inner, inner] == pytest.approx(coarse[inner, inner], abs=2e-2)
    inner = slice(4 * ratio, -4 * ratio)
    assert grid.enlarge(coarse)[inner, inner] == pytest.approx(fine[inner, inner], abs=1e-2)


def test_a_wrong_phase_would_show() -> None:
    grid = Grid((80, 80), (20, 20), 4)
    off = np.abs(grid.enlarge(plane(20, 20, 1.5, 1.5, 4)) - plane(80, 80))[20:60, 20:60].mean()
    assert off > 5  # corners on corners, as some take it: 1.5 rows and columns off


@pytest.mark.parametrize("gain", [0.15, 0.3])
@pytest.mark.parametrize("ratio", [3, 4])
def test_response_at_the_nyquist_frequency(gain: float, ratio: int) -> None:
    """A wave of two coarse pixels, its tops on their centres, comes out with that share of its height."""
    grid = Grid((60 * ratio, 8 * ratio), (60, 8), ratio)
    rows = np.cos(np.pi * (np.arange(60 * ratio) - (ratio - 1) / 2) / ratio)
    seen = grid.reduce(np.repeat(rows[:, None], 8 * ratio, 1).astype(np.float32), gain)[10:-10]
    assert np.abs(seen) == pytest.approx(gain, abs=0.01)
    assert mtf_sigma(4, 0.3) == pytest.approx(1.976, abs=1e-3)


def test_strips_are_the_whole() -> None:
    grid, image = Grid((30, 40), (10, 13), 3, (0.5, 0.0)), np.random.default_rng(0).random((10, 13)).astype(np.float32)
    whole = grid.enlarge(image)
    parts = np.concatenate([grid.enlarge(image, slice(a, a + 7)) for a in range(0, 30, 7)])
    assert np.array_equal(parts, whole)
    assert grid.covered().all()
    assert not Grid((30, 40), (5, 5), 3).covered()[-1].any()
