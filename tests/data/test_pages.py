"""Drawn pages."""

from __future__ import annotations

import pytest
import torch

from anyfuse.data.pages import page


@pytest.mark.parametrize("seed", range(12))
def test_a_page_is_a_picture_of_strokes(seed: int) -> None:
    x = page(96, 140, torch.Generator().manual_seed(seed))
    assert x.shape == (1, 96, 140)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert float(x.max() - x.min()) > 0.15
    steps = (x[:, :, 1:] - x[:, :, :-1]).abs()
    assert float((steps > 0.1).float().mean()) > 0.005


def test_the_seed_decides() -> None:
    one, again, other = (page(64, 64, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
