from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyfuse.image import colour


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_split_and_join_give_the_image_back(seed: int) -> None:
    rgb = torch.rand((3, 7, 9), generator=torch.Generator().manual_seed(seed))
    again = colour.join(colour.to_luma(rgb), colour.to_chroma(rgb))
    assert (again - rgb).abs().max() < 1e-5


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_join_stays_in_gamut_and_keeps_luma(seed: int) -> None:
    gen = torch.Generator().manual_seed(seed)
    luma = torch.rand((1, 8, 8), generator=gen)
    chroma = torch.rand((2, 8, 8), generator=gen) - 0.5
    rgb = colour.join(luma, chroma)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert (colour.to_luma(rgb) - luma).abs().max() < 1e-5
    hue = torch.atan2(chroma[1], chroma[0])
    kept = colour.to_chroma(rgb)
    size = kept.square().sum(0).sqrt()
    turned = torch.atan2(kept[1], kept[0]) - hue
    turned = torch.atan2(turned.sin(), turned.cos()).abs()
    assert (turned[size > 1e-2] < 1e-2).all()


def test_known_colours() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    assert torch.allclose(colour.to_luma(red), torch.tensor(0.299))
    assert torch.allclose(colour.to_chroma(red).flatten(), torch.tensor([-0.168736, 0.5]), atol=1e-5)


def test_merge_of_one_coloured_source_is_its_chroma() -> None:
    chroma = torch.rand(2, 4, 4) - 0.5
    merged = colour.merge_chroma(torch.stack([chroma, torch.zeros_like(chroma)]))
    assert (merged - chroma).abs().max() < 1e-4
    assert colour.merge_chroma(torch.zeros(3, 2, 4, 4)).abs().max() == 0


def test_merge_follows_the_more_saturated() -> None:
    strong, weak = torch.full((2, 1, 1), 0.4), torch.full((2, 1, 1), -0.1)
    merged = colour.merge_chroma(torch.stack([strong, weak]))
    assert torch.allclose(merged, torch.full((2, 1, 1), (0.4 * 0.4 - 0.1 * 0.1) / 0.5))
