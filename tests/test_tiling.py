from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyfuse import Fuser, tiling
from anyfuse.errors import FusionError
from anyfuse.image.pyramid import collapse, expand, laplacian_pyramid, reduce
from anyfuse.models.registry import MODELS, is_there, load_model


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([32, 64, 160, 1024]),
    st.sampled_from(["laplacian", "tita-small"]),
)
def test_tiles_cover_every_pixel_once(height: int, width: int, side: int, name: str) -> None:
    model = load_model(name)
    layout = tiling.plan_tiles(model, 2, 1, height, width, tile=side)
    assert (model.margin > 0) == (name == "tita-small")
    hits = torch.zeros(height, width, dtype=torch.int32)
    count = 0
    for tile in layout.tiles():
        hits[tile.inner] += 1
        count += 1
        for inner, outer, cut in zip(tile.inner, tile.outer, tile.cut, strict=True):
            assert outer.start + cut.start == inner.start + model.margin
            assert cut.stop - cut.start == inner.stop - inner.start
            assert outer.start % 8 == 0
            assert (outer.stop - outer.start) % 8 == 0
    assert (hits == 1).all()
    assert count == layout.count


def test_reflection() -> None:
    assert tiling.reflect(slice(0, 8), 3).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert tiling.reflect(slice(0, 3), 1).tolist() == [0, 0, 0]
    x = torch.arange(12.0).view(1, 1, 3, 4)
    padded = tiling.read_padded(lambda w: x[..., w[0], w[1]], (slice(0, 8), slice(0, 8)), 3, 4)
    assert padded[0, 0, 3].tolist() == [4, 5, 6, 7, 6, 5, 4, 5]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 12))
def test_margin_is_the_image_reflected_on_all_sides(height: int, width: int, margin: int) -> None:
    x = torch.rand(1, 1, height, width)
    window = (slice(0, height + 2 * margin), slice(0, width + 2 * margin))
    padded = tiling.read_padded(lambda w: x[..., w[0], w[1]], window, height, width, margin).numpy()
    sides = ((0, 0), (0, 0), (margin, margin), (margin, margin))
    assert (padded == np.pad(x.numpy(), sides, mode="reflect")).all()


def test_a_margin_makes_no_slivers() -> None:
    model = load_model("tita-small")
    assert tiling.plan_tiles(model, 2, 1, 1024, 1024).count == 1
    for size in (2048, 3072):
        layout = tiling.plan_tiles(model, 2, 1, size, size)
        assert layout.count == (size // 1024) ** 2
        assert min(t.inner[0].stop - t.inner[0].start for t in layout.tiles()) > 900


@pytest.mark.parametrize("name", ["tita-small", "anyfuse", "laplacian"])
def test_fuse_whole_is_what_users_get(name: str) -> None:
    model, x = load_model(name), torch.rand(2, 1, 37, 50, generator=torch.Generator().manual_seed(0))
    fuser = Fuser(model)
    fused = fuser([x[0], x[1]], keep_order=True)
    assert (tiling.fuse_whole(fuser.model, x) - fused).abs().max() < 1e-6


def test_budget_makes_tiles_smaller_or_says_what_is_needed() -> None:
    model = load_model("anyfuse")
    free = tiling.plan_tiles(model, 2, 3, 4000, 6000)
    tight = tiling.plan_tiles(model, 2, 3, 4000, 6000, budget=600 * 2**20)
    assert tight.side < free.side
    with pytest.raises(FusionError, match="MiB"):
        tiling.plan_tiles(model, 2, 3, 4000, 6000, budget=2**20)


@pytest.mark.parametrize("size", [(8, 8), (64, 40), (2, 6)])
def test_pyramid_rebuilds_and_fast_path_agrees(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    levels = 1 if min(size) < 8 else 3
    assert (collapse(laplacian_pyramid(x, levels)) - x).abs().max() < 1e-6
    with torch.no_grad():
        fast = expand(x)
    slow = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert (fast - slow).abs().max() < 1e-6
    assert torch.allclose(reduce(torch.full((1, 1, 8, 8), 0.3)), torch.tensor(0.3))
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    direct = torch.nn.functional.conv2d(padded, kernel.outer(kernel)[None, None], stride=2)
    assert (reduce(x).flatten(0, 1)[:, None] - direct).abs().max() < 1e-6


BY_ATTENTION = ("unifusion", "mmaif", "ditfuse")
"""Models whose results depend on the number of threads: by 4e-7 at most, which rounds one value of 25,000 otherwise.
What is taken of a restoration follows in its last digits, so that mmaif's may move by a sixteenth of an 8-bit level.
"""


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if is_there(spec)])
def test_threads_change_nothing(name: str) -> None:
    gen = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 48, 64, generator=gen) for _ in range(2)]
    fuser, before = Fuser(name, device="cpu"), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = fuser(images)
        with ThreadPoolExecutor(8) as pool:
            assert all(torch.equal(one, other) for other in pool.map(lambda _: fuser(images), range(8)))
        torch.set_num_threads(2)
        two = fuser(images)
    finally:
        torch.set_num_threads(before)
    if name.startswith(BY_ATTENTION):
        limit = 1 / 16 / 255 if name.startswith("mmaif") else 1e-6
        assert (one - two).abs().max() <= limit, "products of large matrices are summed in another order"
    else:
        assert torch.equal(one, two)
