"""Training of DiTFuse on images made here: the pool, its mixture and prompts, losses, adaptation, straightening,
resuming to the bit.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import scene, to8
from ditfuse_tags import control_of
from torch import Tensor

from anyfuse.control import CLASSES
from anyfuse.data.batches import DataSet
from anyfuse.data.tones import apply_tones
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.ditfuse.prompt import IMAGES, NOTHING
from anyfuse.models.ditfuse.transformer import Condition, Velocity
from anyfuse.models.latent.codec import Codec
from anyfuse.models.registry import build_model, load_model
from anyfuse.training import card, train
from anyfuse.training.pools.instructions import LAYOUT, InstructBatch, InstructPairs, drawn_tones
from anyfuse.training.recipes import RECIPES, Recipe, override
from anyfuse.training.strategies.instruct import Instruct, InstructSettings, Reflow
from anyfuse.training.strategies.table import settings_of

SMALL = {"width": 32, "layers": 2, "heads": 2, "hidden": 48, "steps": 2, "random_codec": True}
SETS = (
    DataSet("ivf", ("ivif/ir", "ivif/vis")),
    DataSet("mef", ("mef/under", "mef/over")),
    DataSet("natural", ("natural",)),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("instruct")
    rng = np.random.default_rng(0)
    for index in range(10):
        for seed, name in enumerate(("ivif/ir", "ivif/vis", "mef/under", "mef/over", "natural", "camvid/images")):
            write_image(root / name / f"{index}.png", to8(scene(72, 80, 100 * seed + index)))
        classes = rng.integers(0, 12, (9, 10)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        write_image(root / "camvid" / "labels" / f"{index}.png", classes)
    return root


def small(name: str = "ditfuse-tiny", **changes: Any) -> Recipe:
    options = {"pool": 40, "m3": 0.25, "pairs": 0.25, "control": 0.25, "segment": 0.25, **changes.pop("options", {})}
    recipe = replace(
        RECIPES[name],
        tasks={"instruct": 4},
        sets=SETS,
        crop=64,
        steps=4,
        warmup=1,
        config=SMALL,
        options=settings_of(RECIPES[name].strategy, options),
    )
    return replace(recipe, **changes)


def quiet(text: str) -> None: ...


def pairs(folders: Path, folder: Path, recipe: Recipe | None = None) -> InstructPairs:
    recipe = recipe or small()
    model = build_model(recipe.model, recipe.config, training=True).train()
    return InstructPairs(folders, recipe, model, folder, log=quiet)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pool(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> InstructPairs:
    return pairs(folders, tmp_path_factory.mktemp("pool"))


@pytest.fixture(autouse=True)
def few_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InstructPairs, "scored", 1)


def batch(pool: InstructPairs, count: int = 8, seed: int = 0) -> InstructBatch:
    found = pool.batch("instruct", count, 2, 64, torch.Generator().manual_seed(seed))
    assert isinstance(found, InstructBatch)
    return found


def fresh(recipe: Recipe | None = None) -> DiTFuse:
    recipe = recipe or small()
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config, training=True).train()
    assert isinstance(model, DiTFuse)
    return model


# ---------------------------------------------------------------------- the pool


def test_items_are_what_they_say(pool: InstructPairs) -> None:
    assert pool.pixels.shape == (40, 4, 64, 64)
    assert Counter(LAYOUT) == {"m3": 8, "control": 5, "segment": 4, "pairs": 3}
    teacher = load_model(pool.teacher)
    plain, toned = 0, 0
    for index, item in enumerate(pool.items):
        x = torch.from_numpy(pool.pixels[index]).float() / 255
        classes = (x[3] * 255).round()
        assert item["kind"] == LAYOUT[index % len(LAYOUT)]
        assert (classes == len(CLASSES)).all() == (item["kind"] != "segment")
        assert bool(item["tone"]) == (item["kind"] == "control")
        if item["kind"] == "m3":
            assert (x[:2] - x[2]).abs().amin(0).mean() < 0.05  # most places are clean in one of the two
        if item["kind"] in ("pairs", "control") and item["task"] == "ivf":
            target = teacher(x[None, :2, None])[0, 0]
            assert (apply_tones(target, item["tone"]) - x[2]).abs().max() < 8 / 255
            plain, toned = plain + (not item["tone"]), toned + bool(item["tone"])
    assert plain
    assert toned
    first = torch.from_numpy(pool.pixels[:4, :3]).float() / 255
    codes = Codec("tiny", random=True).encode(first.flatten(0, 1)[:, None]).unflatten(0, (4, 3))
    assert (codes - torch.from_numpy(pool.codes[:4]).float()).abs().max() < 2e-2


def test_each_contrast_comes_more_often_than_each_light() -> None:
    gen = torch.Generator().manual_seed(0)
    drawn = Counter(drawn_tones(gen) for _ in range(4000))
    assert len(drawn) == 6 + 8
    for light in ("LIGHT++", "LIGHT+", "LIGHT-", "LIGHT--"):
        assert drawn[(light,)] / 4000 == pytest.approx(3 / 32, abs=0.02)
    for contrast in ("CONTRAST+", "CONTRAST-"):
        assert drawn[(contrast,)] / 4000 == pytest.approx(3 / 16, abs=0.025)


def test_pool_goes_on_and_is_shared(pool: InstructPairs, folders: Path) -> None:
    before = pool.pixels.copy()
    pool.pixels[4:] = 0
    (pool.folder / "pool.json").write_text('{"done": 4}')
    again = pairs(folders, pool.folder.parent, small(options={"m3": 1.0, "pairs": 0.0}))
    assert again.folder == pool.folder
    assert np.array_equal(again.pixels, before)
    assert again.items == pool.items
    assert pairs(folders, pool.folder.parent, small(options={"complements": 1.0})).folder != pool.folder
    other = small(seed=1, options={"pool_seed": 0})
    assert pairs(folders, pool.folder.parent, other).folder == pool.folder
    assert pairs(folders, pool.folder.parent, replace(other, options=InstructSettings(pool=20))).folder != pool.folder


def test_mixture_and_ablations(folders: Path, pool: InstructPairs) -> None:
    kinds: Counter[str] = Counter()
    given = batch(pool, 400)
    for text, has_images in zip(given.prompts, given.has_images.tolist(), strict=True):
        assert has_images == (text != NOTHING)
        control = control_of(text)
        kinds[
            "none"
            if text in (NOTHING, IMAGES)
            else "segment"
            if control.segment
            else "tone"
            if control.tone
            else "plain"
        ] += 1
    assert kinds["none"] == pytest.approx(75, abs=35)
    assert kinds["segment"] == pytest.approx(81, abs=35)
    assert kinds["tone"] == pytest.approx(90, abs=35)
    for options, expected in (
        ({"pairs": 0, "control": 0, "segment": 0}, {None}),
        ({"m3": 0, "control": 0, "segment": 0}, {"ivf", "mef", "mff"}),
    ):
        told = {"drop": 0, "wordless": 0, "untold": 0}
        only = pairs(folders, pool.folder.parent, small(options={**options, **told}))
        assert {control_of(text).task for text in batch(only, 60).prompts} <= expected
        some = pairs(folders, pool.folder.parent, small(options={**options, **told, "untold": 0.5}))
        unsaid = [control_of(text).task is None for text in batch(some, 100).prompts]
        assert np.mean(unsaid) == pytest.approx(1.0 if expected == {None} else 0.5, abs=0.2)
    silent = {**SMALL, "tags": False}
    words = pairs(folders, pool.folder.parent, small(config=silent, options={"drop": 0, "wordless": 0}))
    assert not any("[" in text for text in batch(words, 60).prompts)


def test_classes_go_with_prompts_that_name_some(pool: InstructPairs) -> None:
    given = batch(pool, 200)
    named = []
    for text, has_mask, labels, pixels in zip(
        given.prompts, given.has_mask.tolist(), given.classes, given.truth, strict=True
    ):
        names = list(control_of(text).segment)
        assert has_mask == bool(names)
        if not has_mask:
            continue
        item = next(
            k for k in range(40) if np.array_equal(pool.pixels[k, 2], (pixels * 255).round().to(torch.uint8).numpy())
        )
        classes = torch.from_numpy(pool.pixels[item, 3].astype(np.int64))
        assert torch.equal(labels == -1, classes == len(CLASSES))
        assert torch.equal(labels[labels >= 0], classes[classes < len(CLASSES)])
        named.append((len(names), sum(bool((labels == CLASSES.index(name)).any()) for name in names)))
    assert {1, 2} <= {count for count, _ in named}
    assert not given.has_mask[(given.classes < 0).flatten(1).all(1)].any()
    assert sum(there for _, there in named) > 10


def test_scores_are_of_files_held_out(pool: InstructPairs) -> None:
    trained = pool.train
    found = pool.scores(fresh().eval())
    assert set(found) == {"m3", "pairs", "control", "segment"}
    assert {"psnr", f"psnr_{pool.teacher}", "ssim", "iou"} <= found["segment"].keys()
    assert found["pairs"][f"psnr_{pool.teacher}"] > found["pairs"]["psnr"]
    assert pool.train is trained


# ---------------------------------------------------------------------- the losses


@pytest.mark.parametrize("mix", [False, True])
def test_velocity_loss(mix: bool, pool: InstructPairs, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the true velocity the loss is 0, and what is decoded is the target as the codec gives it."""
    recipe = small(config={**SMALL, "detail": False, "mix": mix}, options={"mask": 0, "decoded": 1.0})
    model, given = fresh(recipe), batch(pool)
    torch.manual_seed(0)
    zero = Instruct(model, recipe).loss([given])[1]["velocity"]
    if mix:  # an untrained model gives the mean of the sources that are there
        wrong = given.goal - given.latents.mean(1) * given.has_images[:, None, None, None]
        expected = float((model.gains() * wrong.square()).mean())
        assert zero == pytest.approx(expected, rel=1e-3)
    else:  # an untrained model gives 0
        each = given.goal.square().mean((0, 2, 3)) + 1
        assert zero == pytest.approx(float((model.gains().flatten() * each).mean()), rel=0.2)

    def field(x: Tensor, t: Tensor, condition: Condition) -> Velocity:
        share = t[:, None, None, None]
        return Velocity(given.goal - (x - share * given.goal) / (1 - share), None, torch.zeros(()))

    monkeypatch.setattr(model.dit, "velocity_cached", field)
    _, log = Instruct(model, recipe).loss([given])
    assert log["velocity"] < 1e-5
    assert log["psnr"] > 20


def test_gradients_reach_all_parts(pool: InstructPairs) -> None:
    model = fresh()
    with torch.no_grad():
        for p in model.dit.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    total, log = Instruct(model, small(options={"decoded": 1.0})).loss([batch(pool, 16)])
    total.backward()
    assert {"velocity", "mask", "psnr", "instruct/reconstruction"} <= log.keys()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(p.grad is None for p in model.codec.parameters())


def test_an_image_without_a_known_class_asks_for_none(pool: InstructPairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "shares", {"segment": 1.0})
    void = pool.pixels.copy()
    void[:, 3] = len(CLASSES)
    monkeypatch.setattr(pool, "pixels", void)
    given = batch(pool)
    assert not given.has_mask.any()
    assert any(control_of(text).segment for text in given.prompts)
    total, log = Instruct(fresh(), small()).loss([given])
    assert total.isfinite()
    assert "mask" not in log


def test_it_learns(pool: InstructPairs) -> None:
    model, recipe = fresh(), small()
    strategy = Instruct(model, recipe)
    torch.manual_seed(1)
    losses = [strategy.step([batch(pool)], 3e-3)["velocity"] for _ in range(30)]
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:4])


# ---------------------------------------------------------------------- runs


def stop_and_go(recipe: Recipe, folders: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Interrupted at step 2 and resumed."""
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train.train(recipe, folders, out, save_every=2, log=quiet)
    monkeypatch.setattr(torch, "save", save)
    messages: list[str] = []
    found = train.train(recipe, folders, out, log=messages.append)
    assert messages[0] == "resumed at step 2"
    return found


def test_train_adapt_and_straighten(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resumed to the bit; an adapted model is a plain one, and only its attention has changed."""
    monkeypatch.setattr(card, "validate", lambda *given: {})
    first = train.train(small(), folders, tmp_path / "first", log=quiet)
    last = json.loads((first / "log.jsonl").read_text().splitlines()[-1])
    assert {"velocity", "psnr", "instruct/reconstruction"} <= last.keys()
    text = (first / "README.md").read_text()
    assert "segment: psnr" in text
    assert ", iou 0." in text
    monkeypatch.setattr(InstructPairs, "scores", lambda self, model, device: {})
    start = str(first)
    for name, recipe in {
        "plain": small(),
        "adapted": small(start=start, options={"lora": 4}, lr=1e-2),
        "fast": small("ditfuse-tiny-fast", start=start, options={"teacher_steps": 3, "ends": 20}),
    }.items():
        whole = first if name == "plain" else train.train(recipe, folders, tmp_path / name, log=quiet)
        parts = stop_and_go(recipe, folders, tmp_path / f"{name} in parts", monkeypatch)
        a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
        assert all(torch.equal(a[k], b[k]) for k in a)
        if name == "adapted":
            before = load_model(first).state_dict()
            changed = {k.rpartition(".layers.")[2][2:] for k in a if not torch.equal(a[k], before[k])}
            assert changed == {"attention.qkv.weight", "attention.out.weight"}


def test_a_codec_of_four_channels_trains_too(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's own codec, SDXL's, has 4 channels where the others have 16."""
    monkeypatch.setattr(card, "validate", lambda *given: {})
    monkeypatch.setattr(InstructPairs, "scores", lambda self, model, device: {})
    config = {**SMALL, "codec": "sdxl"}
    first = train.train(small(config=config), folders, tmp_path / "first", log=quiet)
    fast = small("ditfuse-tiny-fast", config=config, start=str(first), options={"teacher_steps": 2, "ends": 20})
    train.train(fast, folders, tmp_path / "fast", log=quiet)
    codes = [
        np.load(file, mmap_mode="r") for file in tmp_path.rglob("*.npy") if file.stem.startswith(("latents", "ends"))
    ]
    assert {code.shape[2] for code in codes} == {4}


def test_student_learns_what_the_teacher_makes(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goals are the teacher's results from the noise that goes with them, and one Euler step of a perfect student ends
    there.
    """
    monkeypatch.setattr(card, "validate", lambda *given: {})
    monkeypatch.setattr(InstructPairs, "scores", lambda self, model, device: {})
    first = train.train(small(), folders, tmp_path / "first", log=quiet)
    recipe = small(
        "ditfuse-tiny-fast",
        start=str(first),
        options={"teacher_steps": 3, "ends": 20, "image": 0, "mask": 0, "untold": 0},
    )
    pool = pairs(folders, tmp_path, recipe)
    given = batch(pool, 6)
    assert given.origin is not None
    teacher = load_model(first)
    assert isinstance(teacher, DiTFuse)
    teacher.steps = 3
    plain = [k for k, text in enumerate(given.prompts) if not control_of(text).tone and not control_of(text).task]
    k = plain[0]
    with torch.no_grad():
        goal = teacher.generate(given.latents[k : k + 1], None, given.origin[k : k + 1])[0]
    assert (goal - given.goal[k]).abs().max() < 2e-2
    model = fresh(recipe)
    strategy = Reflow(model, recipe)
    assert set(strategy.times(given).tolist()) <= {0.0, 0.25, 0.5, 0.75}
    monkeypatch.setattr(
        model.dit, "velocity_cached", lambda x, t, c: Velocity(given.goal - given.origin, None, torch.zeros(()))
    )
    assert strategy.loss([given])[1]["velocity"] == pytest.approx(0, abs=1e-6)


def test_wrong_recipes(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="multiple of 16"):
        pairs(folders, tmp_path, small(crop=40))
    with pytest.raises(FusionError, match="20 items or more"):
        pairs(folders, tmp_path, small(options={"pool": 2}))
    with pytest.raises(FusionError, match=r"give tasks\.instruct alone"):
        pairs(folders, tmp_path, small(tasks={"ivf": 2}))
    with pytest.raises(FusionError, match="are shares"):
        pairs(folders, tmp_path, small(options={"m3": 0, "pairs": 0, "control": 0, "segment": 0}))
    with pytest.raises(FusionError, match="adapts a trained model"):
        Instruct(fresh(), small(options={"lora": 4}))
    with pytest.raises(FusionError, match="needs a trained model"):
        Reflow(fresh(), small("ditfuse-tiny-fast"))
    with pytest.raises(FusionError, match="needs a DiTFuse"):
        Instruct(build_model("tita-small"), small())
    with pytest.raises(FusionError, match="no option 'pol'"):
        Instruct(fresh(), override(small(), ["options.pol=3"]))
    bare = tmp_path / "bare"
    (bare).mkdir()
    for name in ("ivif", "mef", "natural"):
        (bare / name).symlink_to(folders / name)
    with pytest.raises(FusionError, match=r"--set options\.segment=0"):
        pairs(bare, tmp_path, small())
    assert pairs(bare, tmp_path, small(options={"segment": 0})).members["segment"] == []
