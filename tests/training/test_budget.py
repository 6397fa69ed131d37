"""Packed data; training for a number of seconds: its state in parts, going on from them, its export."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene, to8

from anyfuse.data.batches import DataSet, TrainingData
from anyfuse.data.pack import PackedData, pack
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.registry import build_model, load_model
from anyfuse.training import budget, state
from anyfuse.training.budget import Budget, as_arrays, from_arrays, train_for
from anyfuse.training.recipes import RECIPES, VARIED, WIDE, Recipe
from anyfuse.training.state import load_state, read_facts, save_state
from anyfuse.training.steps import learning_rate, tensors_of
from anyfuse.training.strategies.table import build_strategy

SETS = (
    DataSet("ivf", ("ivif/ir", "ivif/vis"), 2.0),
    DataSet("ivf", ("more/ir", "more/vis")),
    DataSet("mef", ("scenes/*",)),
    DataSet("natural", ("natural",)),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("ivif/ir", "ivif/vis", "more/ir", "more/vis", "natural")):
        (top / name).mkdir(parents=True)
        for index in range(11):
            write_image(top / name / f"{index:02d}.png", to8(scene(40, 56, 100 * number + index)))
    for index in range(10):
        (top / "scenes" / f"s{index}").mkdir(parents=True)
        base = scene(40, 56, 900 + index)
        for exposure in range(4):
            write_image(top / "scenes" / f"s{index}" / f"{exposure + 1}.png", to8(base * (exposure + 1) / 4))
        write_image(top / "scenes" / f"s{index}" / "label.png", to8(base))
    return top


@pytest.fixture(scope="module")
def packed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(root, SETS, tmp_path_factory.mktemp("packed") / "all.pack", log=lambda _: None)


def small(model: str, **changes: object) -> Recipe:
    tasks = {"ivf": 1, "mef": 1, "mff": 1}
    return replace(RECIPES[model], tasks=tasks, crop=16, sets=SETS, warmup=2, clip=1.0, lr=1e-3, **changes)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- packed data


def test_packed_data_give_the_same_batches_as_folders(root: Path, packed: Path) -> None:
    folders, file = TrainingData(root, SETS, ordered=True), PackedData(packed, SETS)
    assert file.files == folders.files
    assert list(file.validation) == list(folders.validation)
    for name, groups in folders.validation.items():
        for a, b in zip(groups, file.validation[name], strict=True):
            np.testing.assert_array_equal(a, b)
    for task in ("ivf", "mef", "mff"):
        one, two = (d.batch(task, 4, 2, 16, torch.Generator().manual_seed(3)) for d in (folders, file))
        assert torch.equal(one.sources, two.sources)
        assert torch.equal(one.clean, two.clean)


def test_sequences_leave_the_label_out_and_keep_their_order(root: Path) -> None:
    data = TrainingData(root, (SETS[2],), ordered=True)
    assert [len(stack) for stack in data.train["mef"][0]] == [4] * 9
    for seed in range(5):
        pair = data.crop("mef", 16, torch.Generator().manual_seed(seed))
        assert pair.shape == (2, 16, 16)
        assert pair[0].mean() < pair[1].mean()


def test_webp_is_smaller_and_near(root: Path, packed: Path, tmp_path: Path) -> None:
    lossy = pack(root, SETS[:1], tmp_path / "lossy.pack", quality=90, side=32, log=lambda _: None)
    data = PackedData(lossy, SETS[:1])
    assert data.train["ivf"][0][0].shape == (2, 23, 32)
    assert lossy.stat().st_size < packed.stat().st_size / 4
    assert data.manifest != PackedData(packed, SETS[:1]).manifest


def test_what_is_not_there_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="no set mif/a"):
        PackedData(packed, (DataSet("mif", ("mif/a",)),))
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(FusionError, match="not a file of packed data"):
        PackedData(tmp_path / "other", SETS)


# ---------------------------------------------------------------------- training


def test_the_rate_follows_the_time() -> None:
    recipe = small("tita", schedule="cosine")
    assert learning_rate(recipe, 0, 0.0) == pytest.approx(5e-4)
    assert learning_rate(recipe, 9, 0.5) == pytest.approx(1e-3 * 0.51)
    assert learning_rate(recipe, 9, 1.0) == pytest.approx(2e-5)
    assert learning_rate(replace(recipe, schedule="constant"), 9, 0.9) == 1e-3


@pytest.mark.parametrize("model", ["tita-small", "unifusion-small", "anyfuse"])
def test_three_steps_then_two_more(model: str, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)  # packed data need none
    monkeypatch.setattr(state, "PART", 400_000)
    recipe = replace(small(model), crop=32 if model == "anyfuse" else 16)
    said: list[str] = []
    for out, steps, before in (("one", 3, None), ("two", 2, tmp_path / "one")):
        plan = Budget(1e6, workers=0, steps=steps)
        train_for(recipe, packed, tmp_path / out, plan, device="cpu", resume=before, log=said.append)
    assert read_facts(tmp_path / "two")["steps"] == 5
    assert len(list((tmp_path / "two").glob("state.*"))) > 1
    assert any("resumes at step 3" in line for line in said)
    assert (tmp_path / "two" / "sample.png").exists()
    assert f"steps 5, crop {recipe.crop}" in (tmp_path / "two" / "README.md").read_text()
    fused = load_model(tmp_path / "two")(torch.rand(1, 2, 1, 32, 32))
    assert fused.isfinite().all()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few small images for each set of the recipes."""
    top = tmp_path_factory.mktemp("everything")
    for number, folder in enumerate(dict.fromkeys(f for data_set in (*WIDE, *VARIED) for f in data_set.folders)):
        for index in range(10):
            image = to8(scene(40, 56, 10 * number + index))
            if folder.endswith("/*"):
                for exposure in range(3):
                    place = top / folder.removesuffix("*") / f"s{index}" / f"{exposure + 1}.png"
                    write_image(place, image // (3 - exposure))
            else:
                write_image(top / folder / f"{index}.png", image % 12 if folder.endswith("labels") else image)
    return top


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("tita", ["--crop", "16"]),
        ("unifusion-dinov2", ["--crop", "32", "--random-backbone"]),
        ("anyfuse", ["--crop", "32"]),
    ],
)
def test_the_script_takes_steps_on_a_cpu(
    preset: str, options: list[str], everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "experiments" / "gpu_train.py"))
    call = [preset, "--data", str(everything), "--out", str(tmp_path), "--device", "cpu", "--steps", "5"]
    script["main"]([*call, "--workers", "0", "--batch", "1", *options])
    assert "5 steps in" in capsys.readouterr().out
    assert read_facts(tmp_path)["steps"] == 5
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 5
    assert np.isfinite(rows[-1]["loss"])
    if preset == "anyfuse":
        logged = {name for row in rows for name in row}
        assert {"mff/reconstruction", "ivf/hot", "ivf/lit"} <= logged
    card = (tmp_path / "README.md").read_text()
    assert f"experiments/gpu_train.sh {preset}" in card
    assert (tmp_path / "sample.png").exists()


def test_batches_pass_between_processes_whole(everything: Path) -> None:
    """Of every task, with truth and statistics; `clean` travels only where it is not the sources."""
    data = TrainingData(everything, VARIED, varied=True)
    gen = torch.Generator().manual_seed(0)
    given = [data.batch(task, 2, 3 if task == "mff" else 2, 32, gen) for task in ("ivf", "mef", "mff", "mif")]
    assert [batch.truth is not None for batch in given] == [False, False, True, False]
    for batch in given:
        kind, values = as_arrays(batch)
        again = from_arrays(kind, values, pin=False)
        assert (values["clean"] is None) == torch.equal(batch.clean, batch.sources[:, :, 0])
        assert tensors_of(again).keys() == tensors_of(batch).keys() >= {"sources", "clean", "statistics"}
        for name, tensor in tensors_of(batch).items():
            assert torch.equal(tensors_of(again)[name], tensor)


def test_worker_processes_make_the_same_batches(everything: Path) -> None:
    data, recipe = TrainingData(everything, VARIED, varied=True), replace(RECIPES["anyfuse"], crop=32)
    one, two = (budget.batches_from(data, recipe, 2, workers) for workers in (0, 2))
    for _ in range(2):  # the second is a stack
        for a, b in zip(next(one), next(two), strict=True):
            assert a.task == b.task
            assert all(torch.equal(x, tensors_of(b)[name]) for name, x in tensors_of(a).items())


def test_graphs_are_for_steps_of_one_shape() -> None:
    assert budget.fixed_shapes(RECIPES["tita"])
    assert not budget.fixed_shapes(RECIPES["anyfuse"])
    assert not budget.fixed_shapes(replace(RECIPES["anyfuse"], stacks=0))


def test_state_comes_back(packed: Path, tmp_path: Path) -> None:
    recipe = small("tita-small")
    data = PackedData(packed, SETS)
    gen = torch.Generator().manual_seed(0)
    pairs = []
    for _ in range(2):
        model = build_model("tita-small", training=True).train()
        pairs.append((model, build_strategy(model, recipe)))
    (model, strategy), (copy, other) = pairs
    batches = [data.batch(task, 1, 2, 16, gen) for task in recipe.tasks]
    strategy.step(batches, 1e-3)
    save_state(tmp_path, model, strategy, {"steps": 1})
    assert load_state(tmp_path, copy, other) == {"steps": 1}
    for a, b in zip(model.state_dict().values(), copy.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    mine, theirs = (s.state_dict()["optimiser"]["state"] for s in (strategy, other))
    torch.testing.assert_close(mine[0]["exp_avg"], theirs[0]["exp_avg"], rtol=1e-2, atol=1e-6)
    assert mine[0]["step"] == theirs[0]["step"]
