"""Fine-tuning of the full system's adapter on a tiny OmniGen: the items in colour, gradients, runs that resume to the
bit, what is saved, refusals.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli.test_cli import fails, run
from conftest import scene, to8
from tiny_omnigen import save_omnigen
from torch import Tensor

from anyfuse import Fuser
from anyfuse.control import CLASSES, Control
from anyfuse.data.batches import Batch, DataSet
from anyfuse.data.tones import apply_tones
from anyfuse.errors import FusionError
from anyfuse.image.colour import to_luma
from anyfuse.image.overlay import paint
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.models.ditfuse.omnigen import OmniGen
from anyfuse.models.registry import build_model, load_model
from anyfuse.training import card, train
from anyfuse.training.pools.colours import ColourPairs, fused_in_colour
from anyfuse.training.pools.instructions import InstructBatch
from anyfuse.training.recipes import RECIPES, Recipe, override
from anyfuse.training.strategies.adapt import Adapt
from anyfuse.training.strategies.instruct import Instruct

SETS = (
    DataSet("ivf", ("ivif/ir", "ivif/vis")),
    DataSet("mef", ("mef/under", "mef/over")),
    DataSet("natural", ("natural",)),
)
NAMES = ("ivif/ir", "ivif/vis", "mef/under", "mef/over", "natural", "camvid/images")


@pytest.fixture(scope="module")
def omnigen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_omnigen(tmp_path_factory.mktemp("omnigen"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 48x48, all but the infrared ones in colour."""
    root = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for index in range(10):
        for seed, name in enumerate(NAMES):
            write_image(root / name / f"{index}.png", to8(scene(48, 48, 100 * seed + index, 1 if "/ir" in name else 3)))
        classes = rng.integers(0, 12, (6, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        write_image(root / "camvid" / "labels" / f"{index}.png", classes)
    return root


def small(omnigen: Path, *settings: str, **config: Any) -> Recipe:
    given = {"source": str(omnigen), "rank": 3, "steps": 1, "branches": 1, "longest": 0, **config}
    recipe = replace(RECIPES["omnigen-lora"], sets=SETS, crop=32, steps=4, config=given)
    shares = [f"options.{kind}=0.25" for kind in ("m3", "pairs", "control", "segment")]
    return override(recipe, ["options.pool=20", "options.scored=1", *shares, *settings])


def fresh(recipe: Recipe) -> OmniGen:
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config, training=True).train()
    assert isinstance(model, OmniGen)
    return model


def quiet(text: str) -> None: ...


@pytest.fixture(scope="module")
def pool(folders: Path, omnigen: Path, tmp_path_factory: pytest.TempPathFactory) -> ColourPairs:
    recipe = small(omnigen)
    return ColourPairs(folders, recipe, fresh(recipe), tmp_path_factory.mktemp("pool"), log=quiet)


def batch(pool: ColourPairs, count: int = 2, seed: int = 0) -> InstructBatch:
    return pool.batch("instruct", count, 2, 32, torch.Generator().manual_seed(seed))


def shaken(model: OmniGen) -> OmniGen:
    """With an adapter that is nowhere 0."""
    with torch.no_grad():
        for p in model.adapters.parameters():
            p.normal_(0, 0.3)
    return model


# ---------------------------------------------------------------------- the items


def test_items_are_in_colour(pool: ColourPairs, omnigen: Path) -> None:
    """Targets are painted, toned and fused in colour; latents are those of the codec."""
    assert pool.pixels.shape == (20, 10, 32, 32)
    assert pool.codes.shape == (20, 3, 4, 4, 4)
    teacher, kinds = load_model(pool.teacher), Counter[str]()
    for planes, item in zip(torch.from_numpy(pool.pixels).float() / 255, pool.items, strict=True):
        sources, target, classes = planes[:6].unflatten(0, (2, 3)), planes[6:9], (planes[9] * 255).round()
        assert (target - target[:1]).abs().max() > 0.05
        kinds[item["kind"]] += 1
        if item["kind"] == "segment":
            mask = (classes == CLASSES.index(item["painted"][0])).float()
            blue = target[:, mask > 0]
            assert blue.numel() == 0 or (blue[2].min() > 0.49 and blue[:2].max() < 0.51)
            if torch.equal(sources[0], sources[1]):
                kinds["twins"] += 1
                assert (target - paint(sources[0], mask)).abs().max() < 2 / 255
        elif item["task"] in ("ivf", "mef"):
            fused = fused_in_colour(sources, teacher, "cpu")
            assert (to_luma(target) - apply_tones(to_luma(fused), item["tone"])).abs().max() < 4 / 255
            if not item["tone"]:
                assert (target - fused).abs().max() < 4 / 255
                kinds["real"] += 1
        elif item["kind"] == "m3":
            assert (sources - target).abs().amin(0).mean() < 0.05  # most places are clean in one of the two
    assert {"m3", "pairs", "control", "segment", "twins", "real"} <= kinds.keys()
    images = torch.from_numpy(pool.pixels[:2, :9]).float().unflatten(1, (3, 3)) / 255
    codes = fresh(small(omnigen)).encode(images.flatten(0, 1)).unflatten(0, (2, 3))
    assert (codes - torch.from_numpy(pool.codes[:2]).float()).abs().max() < 1e-2
    assert set(pool.validation) == {"ivif", "mef", "natural"}
    assert pool.validation["ivif"][0].shape == (2, 48, 48)


def test_prompts_are_those_of_the_full_system(pool: ColourPairs) -> None:
    given, segments = batch(pool, 60), 0
    assert not given.has_mask.any()
    for text, seen in zip(given.prompts, given.has_images.tolist(), strict=True):
        assert seen == (text != "<cfg>")
        assert not seen or ("<img><|image_1|></img>" in text and "<img><|image_2|></img>" in text)
        segments += "[SEG]. " in text
        assert "[SEG]. " not in text or " in blue." in text
    assert segments > 5
    assert len(set(given.prompts)) > 20


# ---------------------------------------------------------------------- gradients


def gradients(model: OmniGen, recipe: Recipe, given: Batch) -> tuple[float, list[Tensor]]:
    strategy = Adapt(model, recipe)
    model.zero_grad()
    torch.manual_seed(3)
    loss = strategy.loss([given])[0]
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.adapters.parameters() if p.grad is not None]


def test_gradients_reach_the_adapter_alone_and_checkpoints_change_none(pool: ColourPairs, omnigen: Path) -> None:
    recipe, given = small(omnigen), batch(pool, 3)
    model = shaken(fresh(recipe))
    loss, with_checkpoints = gradients(model, recipe, given)
    assert model.checkpointing
    plain, without = gradients(model, override(recipe, ["options.checkpoint=no"]), given)
    assert not model.checkpointing
    assert loss == plain
    assert len(without) == len(list(model.adapters.parameters())) == 8
    assert all(torch.equal(a, b) for a, b in zip(with_checkpoints, without, strict=True))
    assert all(grad.abs().max() > 0 for grad in without)
    assert all(p.grad is None and not p.requires_grad for p in model.frozen.parameters())


def test_bfloat16_and_autocast(pool: ColourPairs, omnigen: Path) -> None:
    """The frozen parts in bfloat16, or the steps: adapters stay float32, gradients point to the same side."""
    recipe, given = small(omnigen), batch(pool, 2)
    model = shaken(fresh(recipe))
    exact = torch.cat([g.flatten() for g in gradients(model, recipe, given)[1]])
    with torch.autocast("cpu", torch.bfloat16):
        found = [gradients(model, recipe, given)[1]]
    low = shaken(fresh(small(omnigen, dtype="bfloat16")))
    low.adapters.load_state_dict(model.adapters.state_dict())
    assert low.frozen.transformer.dtype == torch.bfloat16
    for grads in [*found, gradients(low, recipe, given)[1]]:
        assert {g.dtype for g in grads} == {torch.float32}
        rough = torch.cat([g.flatten() for g in grads])
        assert float(torch.cosine_similarity(rough, exact, 0)) > 0.9


def test_forward_gives_gradients_in_training_alone(omnigen: Path) -> None:
    model, sources = shaken(fresh(small(omnigen))), torch.rand(1, 2, 3, 32, 32)
    model(sources, condition=Control(tone=("LIGHT+",))).mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.adapters.parameters())
    assert not model.eval()(sources).requires_grad


def test_the_loss_of_one_pair_falls(pool: ColourPairs, omnigen: Path) -> None:
    recipe = small(omnigen, "lr=2e-2")
    model, given = fresh(recipe), batch(pool, 1, seed=2)
    strategy = Adapt(model, recipe)

    @torch.no_grad()
    def loss() -> float:
        torch.manual_seed(5)
        return float(np.mean([float(strategy.loss([given])[0]) for _ in range(8)]))

    before = loss()
    for _ in range(30):
        strategy.step([given], 2e-2)
    assert loss() < 0.8 * before


# ---------------------------------------------------------------------- the small system


def test_the_small_system_paints_too(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With config.painted it learns painted targets in colour, paints what is named, and has no masks."""
    monkeypatch.setattr(card, "validate", lambda *given: {})
    monkeypatch.setattr(ColourPairs, "scored", 1)
    sizes = {"width": 32, "layers": 2, "heads": 2, "hidden": 48, "steps": 2, "detail": False}
    colours = {"codec": "sdxl", "random_codec": True, "mask": False, "painted": True}
    recipe = replace(
        RECIPES["ditfuse-tiny"],
        tasks={"instruct": 4},
        sets=SETS,
        crop=32,
        steps=3,
        warmup=1,
        config={**sizes, **colours},
    )
    recipe = override(recipe, ["options.pool=20", "options.decoded=1"])
    out = train.train(recipe, folders, tmp_path / "run", log=quiet)
    assert "segment: psnr" in (out / "README.md").read_text()
    assert "instruct/reconstruction" in (out / "log.jsonl").read_text()
    images = [to8(scene(32, 48, 1)), to8(scene(32, 48, 2, 3))]
    fuser = Fuser(out)
    named, plain = fuser.run(images, say="highlight the cars"), fuser.run(images, say="fuse the images")
    assert named.pixels.shape == (32, 48, 3)
    assert not np.array_equal(named.pixels, plain.pixels)
    assert named.masks == {}
    red = fuser.run(images, say="highlight the cars in red")
    assert any("paints the car blue" in line for line in red.report["warnings"])
    with pytest.raises(FusionError, match="gives no masks"):
        fuser.check_masks("highlight the cars")
    with pytest.raises(FusionError, match="explains nothing"):
        fuser.check_explains("highlight the cars")
    with pytest.raises(FusionError, match="give one of them"):
        override(RECIPES["ditfuse-tiny"], ["config.painted=true"])
    with pytest.raises(FusionError, match="codec tiny has no colours"):
        build_model("ditfuse-tiny", {"painted": True, "mask": False})


# ---------------------------------------------------------------------- runs


def stop_and_go(recipe: Recipe, folders: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Interrupted at step 2 and resumed."""
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train.train(recipe, folders, out, save_every=2, log=quiet)
    messages: list[str] = []
    found = train.train(recipe, folders, out, log=messages.append)
    assert messages[0] == "resumed at step 2"
    return found


def test_a_run_resumes_to_the_bit_and_its_folder_fuses(
    folders: Path, omnigen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by a relative folder; what is saved is the adapter alone, and `start` goes on from it."""
    monkeypatch.chdir(omnigen.parent)
    monkeypatch.setattr(card, "SCORES", ("ssim",))
    recipe = small(omnigen, "lr=1e-2", source=omnigen.name)
    whole = train.train(recipe, folders, tmp_path / "whole", log=quiet)
    text = (whole / "README.md").read_text()
    assert "anyfuse train omnigen-lora" in text
    for kind in ("m3", "pairs", "control", "segment"):
        assert f"{kind}: psnr" in text
    monkeypatch.setattr(card, "validate", lambda *given: {})
    monkeypatch.setattr(ColourPairs, "scores", lambda self, model, device: {})
    parts = stop_and_go(recipe, folders, tmp_path / "parts", monkeypatch)
    a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
    assert a.keys() == fresh(recipe).adapters.state_dict(prefix="adapters.").keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(a[k].abs().max() > 0 for k in a if "_up" in k)
    for name, limit in (("model.safetensors", 10_000), ("last.pt", 60_000)):
        assert (whole / name).stat().st_size < limit
    further = small(omnigen, f"start={whole}", "steps=1", "lr=1e-12")
    again = load_model(train.train(further, folders, tmp_path / "further", log=quiet)).state_dict()
    assert all((again[k] - a[k]).abs().max() < 1e-6 for k in a)
    monkeypatch.chdir(tmp_path)
    for source, pixels in (("ir", scene(32, 48, 1)), ("visible", scene(32, 48, 2, 3))):
        write_image(tmp_path / f"{source}.png", to8(pixels))
    code, _, err = run(capsys, "fuse", "ir.png", "visible.png", "-o", "out.png", "--model", whole)
    assert (code, err) == (0, "")
    assert read_image("out.png").pixels.shape == (32, 48, 3)


def test_refusals(
    folders: Path, omnigen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line each, with a remedy."""
    command = ["train", "omnigen-lora", "--data", folders, "--out", tmp_path / "out", "--set"]
    assert "no such folder" in fails(capsys, *command, f"config.source={tmp_path}/nothing/here")
    assert "give a complete folder" in fails(capsys, *command, f"config.source={tmp_path}")
    assert "could be trained" in fails(capsys, *command, f"config.source={omnigen}", "--set", "config.rank=0")
    assert "give a multiple of 16" in fails(capsys, *command, f"config.source={omnigen}", "--set", "crop=40")
    recipe = small(omnigen)
    with pytest.raises(FusionError, match="needs OmniGen, as recipe omnigen-lora, not TITA"):
        Adapt(build_model("tita-small"), recipe)
    with pytest.raises(FusionError, match="needs a DiTFuse, as ditfuse-tiny, not OmniGen"):
        Instruct(fresh(recipe), override(recipe, ["strategy=instruct"]))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "pip install 'anyfuse[diffusers]'" in fails(capsys, *command, f"config.source={omnigen}")
