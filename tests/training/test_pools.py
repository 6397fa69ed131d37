"""Pools of training items, by a pool whose items are numbers: made once, resumed where they stopped, shared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import scene, to8
from torch import Tensor

from anyfuse.data.batches import DataSet
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.base import FusionModel
from anyfuse.training.pools.base import TOGETHER, Pool, PoolSettings, pool_seed, write_done
from anyfuse.training.recipes import RECIPES

COUNT, SIDE = TOGETHER + 6, 16


class Numbers(Pool):
    """Item k: a plane of k / 255, one of zeros, and a note of k."""

    prefix, notes, planes, coded = "numbers", "numbers.jsonl", 2, (0,)
    made: list[int]
    stop = -1

    def item(self, index: int, teacher: FusionModel, device: str) -> tuple[Tensor, Any]:
        assert isinstance(teacher, FusionModel)
        if index == self.stop:
            raise KeyboardInterrupt
        self.made.append(index)
        plane = torch.full((self.size, self.size), index / 255)
        return torch.stack([plane, torch.zeros_like(plane)]), {"index": index}


class Codec:
    """Sixteen channels of an image's mean, and a name."""

    latent_channels = 16

    def __init__(self, name: str = "first") -> None:
        self.name, self.calls = name, 0

    def fingerprint(self) -> str:
        return self.name

    def encode(self, images: Tensor) -> Tensor:
        self.calls += len(images)
        return images.mean((1, 2, 3))[:, None, None, None].expand(-1, 16, SIDE // 8, SIDE // 8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("data")
    for index in range(10):
        write_image(top / "natural" / f"{index}.png", to8(scene(24, 32, index)))
    return top


def pool(root: Path, size: int = SIDE) -> Numbers:
    made = Numbers(root, (DataSet("natural", ("natural",)),), size, COUNT, 8)
    made.made = []
    return made


def fill(
    made: Numbers, folder: Path, codec: Codec | None = None, key: str = "a", log: Callable[[str], None] = str
) -> list[Any]:
    model: Any = SimpleNamespace(codec=codec or Codec(), config=SimpleNamespace(reference="anyfuse"))
    return made.fill([key], model, folder, "cpu", log)


def test_items_are_made_once_and_shared(root: Path, tmp_path: Path) -> None:
    first, codec, lines = pool(root), Codec(), []
    notes = fill(first, tmp_path, codec, log=lines.append)
    assert first.made == list(range(COUNT))
    assert notes == [{"index": k} for k in range(COUNT)]
    assert first.pixels.shape == (COUNT, 2, SIDE, SIDE)
    assert [int(x) for x in first.pixels[:, 0, 0, 0]] == list(range(COUNT))
    assert first.codes.shape == (COUNT, 1, 16, SIDE // 8, SIDE // 8)
    assert float(first.codes[5, 0, 0, 0, 0]) == pytest.approx(5 / 255, abs=1e-4)
    assert lines[0] == f"pool: {first.folder}"
    assert first.folder.parent == tmp_path
    again = pool(root)
    assert fill(again, tmp_path, codec) == notes
    assert again.folder == first.folder
    assert again.made == []
    assert codec.calls == COUNT


def test_an_interrupted_pool_goes_on(root: Path, tmp_path: Path) -> None:
    whole, parts = pool(root), pool(root)
    fill(whole, tmp_path / "whole")
    parts.stop = TOGETHER + 2
    with pytest.raises(KeyboardInterrupt):
        fill(parts, tmp_path / "parts")
    assert json.loads((parts.folder / "pool.json").read_text()) == {"done": TOGETHER}
    again = pool(root)
    notes = fill(again, tmp_path / "parts")
    assert again.made == list(range(TOGETHER, COUNT)), "what was whole is not made again"
    assert np.array_equal(again.pixels, whole.pixels)
    assert np.array_equal(again.codes, whole.codes)
    assert notes == [{"index": k} for k in range(COUNT)]


def test_another_codec_and_another_key(root: Path, tmp_path: Path) -> None:
    first = pool(root)
    fill(first, tmp_path)
    other, codec = pool(root), Codec("second")
    fill(other, tmp_path, codec)
    assert (other.folder, other.made, codec.calls) == (first.folder, [], COUNT)
    assert {p.name for p in first.folder.glob("latents-*.npy")} == {"latents-first.npy", "latents-second.npy"}
    changed = pool(root)
    fill(changed, tmp_path, key="b")
    assert changed.folder != first.folder
    assert len(changed.made) == COUNT


def test_a_run_draws_the_same_whether_the_pool_was_there(root: Path, tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        fill(pool(root), tmp_path)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_latents_of_the_first_items(root: Path, tmp_path: Path) -> None:
    made = pool(root)
    fill(made, tmp_path)
    parts: list[slice] = []

    def make(part: slice) -> Tensor:
        parts.append(part)
        return torch.full((part.stop - part.start, 2, 16, SIDE // 8, SIDE // 8), float(part.start))

    codes = made.latents("ends-5", 2, make, str, 5)
    assert codes.shape == (5, 2, 16, SIDE // 8, SIDE // 8)
    assert np.array_equal(made.latents("ends-5", 2, make, str, 5), codes)
    assert parts == [slice(0, 5)]


def test_held_out_files_and_sizes(root: Path) -> None:
    made = pool(root)
    assert [len(groups) for groups in made.held["natural"]] == [1]
    assert len(made.train["natural"][0]) == 9
    with pytest.raises(FusionError, match="crop 20: give a multiple of 8"):
        pool(root, size=20)
    for call in (made.scores, lambda model: Pool.item(made, 0, model, "cpu")):
        with pytest.raises(NotImplementedError):
            call(None)  # type: ignore[arg-type]


def test_the_seed_of_a_pool(tmp_path: Path) -> None:
    recipe = RECIPES["mmaif-tiny"]
    assert pool_seed(recipe, PoolSettings()) == recipe.seed
    assert pool_seed(recipe, PoolSettings(pool_seed=0)) == 0
    assert pool_seed(recipe, PoolSettings(pool_seed=7)) == 7
    write_done(tmp_path / "pool.json", 4)
    assert [p.name for p in tmp_path.iterdir()] == ["pool.json"]
