"""Training runs, resumes to the bit, and writes what it should; on folders of images made here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene, to8
from PIL import Image

from anyfuse.data.batches import Batch, DataSet, TrainingData
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.registry import load_model
from anyfuse.training.loop import Ema
from anyfuse.training.objectives import task_loss
from anyfuse.training.recipes import RECIPES, Recipe, command, override
from anyfuse.training.strategies.famo import FamoSettings
from anyfuse.training.strategies.instruct import ReflowSettings
from anyfuse.training.strategies.table import options_of
from anyfuse.training.strategies.weighting import Plain
from anyfuse.training.train import learning_rate, train

training = sys.modules["anyfuse.training.train"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train")
    for index in range(10):
        for name, seed in (("ivif/ir", index), ("ivif/vis", 100 + index), ("natural", 200 + index)):
            write_image(root / name / f"{index}.png", to8(scene(80, 96, seed)))
    return root


def small(steps: int = 4) -> Recipe:
    return replace(
        RECIPES["anyfuse"],
        tasks={"ivf": 1, "mef": 1, "mff": 1},
        sets=(DataSet("ivf", ("ivif/ir", "ivif/vis")), DataSet("natural", ("natural",))),
        crop=64,
        steps=steps,
        warmup=1,
        stacks=2,
    )


def test_stacks_larger_than_the_real_sequences_are_made(folders: Path, tmp_path: Path) -> None:
    """Without exposures of their own, or with pairs alone, stacks of four come from single images."""
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    for index in range(10):
        write_image(tmp_path / "mef/under" / f"{index}.png", to8(scene(80, 96, index) // 2))
        write_image(tmp_path / "mef/over" / f"{index}.png", to8(scene(80, 96, index)))
    pairs = DataSet("mef", ("mef/under", "mef/over"))
    for sets in (small().sets, (*small().sets, pairs)):
        data = TrainingData(tmp_path, sets, varied=True)
        gen = torch.Generator().manual_seed(0)
        batch = data.batch("mef", 4, 4, 32, gen)
        assert batch.sources.shape[:2] == (4, 4)
        assert (batch.sources[:, 0] - batch.sources[:, 3]).abs().mean() > 0.05


def test_stop_and_resume_equal_one_run(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(small(), folders, tmp_path / "whole", log=lambda s: None)
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(small(), folders, tmp_path / "parts", save_every=2, log=lambda s: None)
    monkeypatch.setattr(torch, "save", save)
    messages: list[str] = []
    parts = train(small(), folders, tmp_path / "parts", log=messages.append)
    assert messages[0] == "resumed at step 2"
    a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_goes_on(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    whole = train(small(), folders, tmp_path / "whole", log=lambda s: None)
    rate, handler = training.learning_rate, signal.getsignal(number)

    def interrupt(recipe: Recipe, step: int) -> float:
        if step == 1:
            os.kill(os.getpid(), number)
        return rate(recipe, step)

    messages: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(training, "learning_rate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(small(), folders, tmp_path / "parts", log=messages.append)
    assert messages[-1].startswith("interrupted: step 2 is in")
    assert signal.getsignal(number) is handler
    messages.clear()
    parts = train(small(), folders, tmp_path / "parts", log=messages.append)
    assert messages[0] == "resumed at step 2"
    a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_senseless_numbers_are_refused_before_anything_is_loaded(folders: Path, tmp_path: Path) -> None:
    for wrong, text in (
        (replace(small(), steps=0), "steps 0"),
        (replace(small(), tasks={}), "tasks"),
        (replace(small(), crop=33), "multiple of"),
        (replace(small(), crop=0), "multiple of"),
    ):
        with pytest.raises(FusionError, match=text):
            train(wrong, folders, tmp_path / "run", log=lambda s: None)
    with pytest.raises(FusionError, match="0 or more"):
        override(RECIPES["tita-small"], ["tasks.ivf=-1"])
    with pytest.raises(FusionError, match="rate"):
        FamoSettings(rate=-1.0)


@pytest.mark.parametrize("name", RECIPES)
def test_the_cards_command_makes_the_same_recipe(name: str) -> None:
    assert command(RECIPES[name]) == f"anyfuse train {name}"
    changes = ["lr=0.002", "seed=3", "start=runs/x", "schedule=constant"]
    changes += [f"tasks.{task}=5" for task in list(RECIPES[name].tasks)[:1]]
    changed = override(RECIPES[name], changes)
    made = command(changed).split()
    assert made[:2] == ["anyfuse", "train"]
    assert override(RECIPES[made[2]], made[4::2]) == changed


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("unifusion-small", ["options.joint=1", "options.angle_every=7", "options.leak=0.25"]),
        ("unifusion-small", ["strategy=plain"]),
        ("tita-small", ["strategy=uncertainty", "options.rate=0.5"]),
        ("tita-small", ["options.rate=0.5", "strategy=uncertainty"]),
        ("ditfuse-tiny-medical", ["strategy=straighten", "options.ends=10"]),
        ("ditfuse-tiny-fast", ["options.even=yes", "options.pool=1e3"]),
        ("mmaif-tiny", ["options.clean=0", "options.pool=9.0"]),
    ],
)
def test_the_cards_command_keeps_options(name: str, changes: list[str]) -> None:
    changed = override(RECIPES[name], changes)
    made = command(changed).split()
    again = override(RECIPES[made[2]], made[4::2])
    assert (again.strategy, options_of(again)) == (changed.strategy, options_of(changed))
    assert replace(again, options=None) == replace(changed, options=None)


def test_another_strategy_keeps_what_was_chosen() -> None:
    changed = override(RECIPES["ditfuse-tiny-medical"], ["strategy=straighten"])
    assert changed.options == ReflowSettings(pool=2000, m3=0.30, pairs=0.30, control=0.20, segment=0.20, mask=0.5)
    with pytest.raises(FusionError, match="unknown strategy 'fam'"):
        override(RECIPES["tita-small"], ["strategy=fam"])
    with pytest.raises(FusionError, match=r"'2\.5' is no int"):
        override(RECIPES["mmaif-tiny"], ["options.pool=2.5"])
    with pytest.raises(FusionError, match="'2' is no bool"):
        override(RECIPES["mmaif-tiny"], ["options.even=2"])


def test_outputs_and_card(folders: Path, tmp_path: Path) -> None:
    out = train(small(2), folders, tmp_path / "run", log=lambda s: None)
    assert {p.name for p in out.iterdir()} >= {"model.safetensors", "config.json", "README.md", "log.jsonl", "last.pt"}
    card = (out / "README.md").read_text()
    data = TrainingData(folders, small().sets)
    assert data.manifest in card
    assert "seed 0" in card
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 2
    assert last["loss"] == pytest.approx(last["loss"])
    assert load_model(out).config == load_model("anyfuse").config


def test_another_recipe_does_not_resume(folders: Path, tmp_path: Path) -> None:
    train(small(1), folders, tmp_path / "run", log=lambda s: None)
    with pytest.raises(FusionError, match="another recipe"):
        train(replace(small(1), lr=1.0), folders, tmp_path / "run", log=lambda s: None)


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="ivif"):
        train(small(), tmp_path, tmp_path / "run", log=lambda s: None)


def test_holdout_is_never_drawn(folders: Path, tmp_path: Path) -> None:
    """Its pixels are of one level that no other image has, and no crop of any task shows it."""
    for path in sorted(folders.rglob("*.png")):
        image = np.asarray(Image.open(path)) // 2
        held = np.full_like(image, 255)
        write_image(tmp_path / path.relative_to(folders), held if path.name == "9.png" else image)
    data = TrainingData(tmp_path, small().sets)
    assert len(data.validation["natural"]) == 1
    assert len(data.train["natural"][0]) == 9
    gen = torch.Generator().manual_seed(0)
    for task in data.train:
        for _ in range(200):
            assert data.crop(task, 32, gen).max() < 0.51


def test_schedule() -> None:
    recipe = replace(RECIPES["anyfuse"], steps=1000, warmup=100, lr=1.0)
    assert learning_rate(recipe, 0) == pytest.approx(0.01)
    assert learning_rate(recipe, 100) == pytest.approx(1.0)
    assert learning_rate(recipe, 1000) == pytest.approx(0.02)


def test_ema_follows() -> None:
    layer = torch.nn.Linear(1, 1)
    ema = Ema(layer, 0.5)
    before = ema.shadow["weight"].clone()
    with torch.no_grad():
        layer.weight.add_(1.0)
    for step in range(50):
        ema.update(layer, step)
    assert (ema.shadow["weight"] - before - 1).abs().max() < 1e-4


def test_bfloat16_sees_weights_as_they_are(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside one step, a strategy that has changed its weights must not get results of the old ones (autocast keeps
    copies).
    """
    seen: list[torch.Tensor] = []

    def step(self: Plain, batches: list[Batch], lr: float) -> dict[str, float]:
        sources = batches[0].sources
        seen.append(self.model(sources).detach())
        with torch.no_grad():
            for p in self.model.parameters():
                if p.ndim > 1:
                    p.add_(0.05)
        seen.append(self.model(sources).detach())
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            seen.append(self.model(sources).detach())
        return {"loss": 0.0}

    monkeypatch.setattr(Plain, "step", step)
    train(replace(small(1), autocast=True), folders, tmp_path / "run", validated=1, log=lambda s: None)
    assert (seen[0] - seen[1]).abs().max() > 1e-3
    assert torch.equal(seen[1], seen[2])


def test_losses_are_float32_under_autocast(folders: Path) -> None:
    data = TrainingData(folders, small().sets)
    batch = data.batch("ivf", 2, 2, 64, torch.Generator().manual_seed(0))
    fused = batch.sources.mean(1)[:, 0]
    plain, _ = task_loss(fused, batch, RECIPES["anyfuse-first"].losses["ivf"])
    with torch.autocast("cpu", torch.bfloat16):
        lower, _ = task_loss(fused, batch, RECIPES["anyfuse-first"].losses["ivf"])
    assert torch.equal(plain, lower)


@pytest.mark.parametrize("setting", ["lr=-1", "lr=nan", "ema=1", "warmup=-5", "options.gamma=nan"])
def test_values_out_of_range_are_refused(setting: str) -> None:
    with pytest.raises(FusionError, match=r"lr|ema|warmup|gamma"):
        override(RECIPES["tita-small"], [setting])


def test_what_differs_is_named(folders: Path, tmp_path: Path) -> None:
    train(small(1), folders, tmp_path / "run", validated=1, log=lambda s: None)
    with pytest.raises(FusionError, match=r"\(steps 1, now 2\)") as caught:
        train(small(2), folders, tmp_path / "run", log=lambda s: None)
    assert "another length" in str(caught.value)
    assert "give --steps 1" in str(caught.value)


def test_a_run_at_a_constant_rate_takes_more_steps(folders: Path, tmp_path: Path) -> None:
    def constant(steps: int) -> Recipe:
        return replace(small(steps), schedule="constant")

    whole = train(constant(3), folders, tmp_path / "whole", validated=1, log=lambda s: None)
    train(constant(1), folders, tmp_path / "parts", validated=1, log=lambda s: None)
    messages: list[str] = []
    parts = train(constant(3), folders, tmp_path / "parts", validated=1, log=messages.append)
    assert messages[0] == "resumed at step 1"
    assert "steps 3," in (parts / "README.md").read_text()
    a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    with pytest.raises(FusionError, match="has taken 3 steps; give --steps 3 or more"):
        train(constant(2), folders, tmp_path / "parts", log=lambda s: None)
