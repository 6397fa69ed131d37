"""Specks: single pixels that one image alone has."""

from __future__ import annotations

import pytest
import torch
from conftest import scene

from anyfuse.image.filters import SPECK, extreme3, without_specks


def still() -> torch.Tensor:
    return (0.2 + 0.5 * torch.from_numpy(scene(64, 80, 1)).float()).expand(1, 3, 1, 64, 80).clone()


def smooth() -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(still()[0], 5, 1, 2)[None]


def test_nothing_to_do_is_the_same_tensor() -> None:
    x = smooth()
    assert without_specks(x) is x
    one = x[:, :1]
    assert without_specks(one) is one
    tiny = x[..., :2, :]
    assert without_specks(tiny) is tiny


def test_hot_and_dead_pixels_of_one_image_go() -> None:
    x = smooth()
    clean = x.clone()
    x[0, 1, 0, 20, 30], x[0, 2, 0, 40, 50] = 1.0, 0.0
    found = without_specks(x)
    assert (found - clean).abs().max() < 0.05
    assert torch.equal(found[0, 0], x[0, 0])


def test_what_all_images_have_stays() -> None:
    """A star, a lamp: every image shows it."""
    x = smooth()
    x[:, :, 0, 20, 30] = 1.0
    assert torch.equal(without_specks(x), x)


def test_pairs_of_pixels_lines_and_edges_stay() -> None:
    x = smooth()
    x[0, 1, 0, 20, 30:32] = 1.0
    x[0, 1, 0, 40] = 1.0
    x[0, 2, 0, :, 60:] = 0.0
    assert torch.equal(without_specks(x), x)


def test_chroma_goes_with_luma() -> None:
    x = smooth().expand(1, 3, 3, 64, 80).clone()
    x[:, :, 1:] = 0.0
    x[0, 1, :, 20, 30] = torch.tensor([1.0, 0.3, -0.3])
    assert (without_specks(x)[:, :, 1:] == 0).all()


def test_colour_alone_is_enough() -> None:
    x = smooth().expand(1, 3, 3, 64, 80).clone()
    x[:, :, 1:] = 0.0
    x[0, 1, 2, 20, 30] = 0.3
    x[0, 2, 1, 40, 50] = -0.2
    assert (without_specks(x)[:, :, 1:] == 0).all()
    x[0, 0, 2, 20, 30] = 0.3  # what two images show is there
    assert without_specks(x)[0, :2, 2, 20, 30].tolist() == pytest.approx([0.3, 0.3])


def test_faint_ones_stay() -> None:
    x = torch.full((1, 2, 1, 9, 9), 0.5)
    x[0, 0, 0, 4, 4] += SPECK * 0.9
    assert torch.equal(without_specks(x), x)


def test_points_in_texture_stay() -> None:
    """The points of a fine texture, as in an MRI scan, are what the image shows, not a fault of its sensor."""
    grain = torch.rand((1, 2, 1, 256, 256), generator=torch.Generator().manual_seed(0))
    grain[0, 0, 0, 19:22, 29:32] = torch.tensor([[0.1, 0.6, 0.2], [0.5, 1.0, 0.4], [0.3, 0.1, 0.6]])
    found = without_specks(grain)
    assert found[0, 0, 0, 20, 30] == 1.0
    assert (found != grain).float().mean() < 0.005


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 1), (40, 51)])
def test_extremes_of_3x3_are_those_of_pooling(size: tuple[int, int]) -> None:
    x = torch.randn((2, 1, *size), generator=torch.Generator().manual_seed(0))
    assert torch.equal(extreme3(x, torch.maximum), torch.nn.functional.max_pool2d(x, 3, 1, 1))
    assert torch.equal(extreme3(x, torch.minimum), -torch.nn.functional.max_pool2d(-x, 3, 1, 1))
