"""Training of the codec and of MMAIF on images made here: the pool, the losses, words, resuming to the bit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import scene, to8
from depth_anything import save_depth_anything
from torch import Tensor

from anyfuse.data.batches import DataSet, TrainingData
from anyfuse.degradation.depth import estimated_depth
from anyfuse.degradation.operation import to_encoded, to_linear
from anyfuse.degradation.plan import DegradationPlan, Step
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.losses import closeness, sobel
from anyfuse.models.latent.codec import Codec, TinyCodec, cosines
from anyfuse.models.latent.flow import draw_times, flow_loss, velocity
from anyfuse.models.registry import build_model, load_model
from anyfuse.training import train
from anyfuse.training.parts.codec import (
    CODEC_PLANS,
    CodecPlan,
    Images,
    codec_loss,
    fidelity,
    spread_of_cosines,
    train_codec,
)
from anyfuse.training.pools import degraded_pairs
from anyfuse.training.pools.degraded_pairs import DegradedPairs, LatentBatch
from anyfuse.training.recipes import RECIPES, Recipe, override
from anyfuse.training.strategies import latent
from anyfuse.training.strategies.latent import Latent, LatentSettings

SMALL = {"width": 32, "layers": 2, "heads": 2, "hidden": 16, "rank": 4, "text": 4, "random_codec": True}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("latent")
    for index in range(10):
        for name, seed in (("ivif/ir", index), ("ivif/vis", 100 + index), ("natural", 200 + index)):
            write_image(root / name / f"{index}.png", to8(scene(72, 80, seed)))
    return root


def small(name: str = "mmaif-tiny", **changes: Any) -> Recipe:
    recipe = replace(
        RECIPES[name],
        tasks={"ivf": 2, "mef": 1, "mff": 1},
        sets=(DataSet("ivf", ("ivif/ir", "ivif/vis")), DataSet("natural", ("natural",))),
        crop=64,
        steps=4,
        warmup=1,
        config=SMALL,
        options=LatentSettings(pool=9),
    )
    return replace(recipe, **changes)


def quiet(text: str) -> None: ...


def pairs(folders: Path, folder: Path, recipe: Recipe | None = None) -> DegradedPairs:
    recipe = recipe or small()
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config, training=True).train()
    return DegradedPairs(folders, recipe, model, folder, log=quiet)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pool(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> DegradedPairs:
    return pairs(folders, tmp_path_factory.mktemp("pool"))


def batches(pool: DegradedPairs, seed: int = 0) -> list[LatentBatch]:
    gen = torch.Generator().manual_seed(seed)
    return [pool.batch(task, 2, 2, 64, gen) for task in ("ivf", "mef", "mff")]


def test_pairs_are_what_they_say(pool: DegradedPairs) -> None:
    assert pool.pixels.shape == (9, 5, 64, 64)
    touched = 0
    for index in range(9):
        bad, clean = pool.pixels[index, :2].astype(int), pool.pixels[index, 2:4].astype(int)
        for k in range(2):
            if pool.plans[index][k]:
                touched += 1
                assert np.abs(bad[k] - clean[k]).max() > 2
            elif index % 3 == 0:  # real pairs have no noise of their own
                assert np.array_equal(bad[k], clean[k])
        if index % 3:
            assert bad[0].mean() <= bad[1].mean() + 0.5
    assert touched > 3
    ivf = batches(pool)[0]
    target = load_model(pool.teacher)(ivf.clean[:, :, None])[:, 0]
    assert (target - ivf.truth).abs().max() < 3 / 255
    codec = Codec("tiny", random=True)
    assert (codec.encode(ivf.sources[:, 0]) - ivf.latents[:, :16]).abs().max() < 2e-2
    assert (codec.encode(ivf.truth[:, None]) - ivf.goal).abs().max() < 2e-2


def test_pool_is_shared_and_goes_on(pool: DegradedPairs, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut back to 4 pairs it comes out the same; found whole, nothing is made."""
    before, plans = pool.pixels.copy(), (pool.folder / "plans.jsonl").read_text()
    codes = pool.codes.copy()
    pool.pixels[4:] = 0
    (pool.folder / "pool.json").write_text('{"done": 4}')
    for note in pool.folder.glob("latents-*.json"):
        note.write_text('{"done": 0}')
    again = pairs(folders, pool.folder.parent)
    assert np.array_equal(again.pixels, before)
    assert np.array_equal(again.codes, codes)
    assert (pool.folder / "plans.jsonl").read_text() == plans
    monkeypatch.setattr(DegradedPairs, "pair", None)
    assert np.array_equal(pairs(folders, pool.folder.parent).pixels, before)
    monkeypatch.undo()
    assert pairs(folders, pool.folder.parent, small(options=LatentSettings(pool=6))).folder != pool.folder


def test_depth_model_gives_haze_its_depth(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the visible image, or of the target; without a model in the folder the run ends in one line."""
    hazy = ((), (Step("haze", 1.0),))
    monkeypatch.setattr(degraded_pairs, "draw", lambda task, n, gen: hazy)
    recipe = override(small(), [f"options.depth_model={save_depth_anything(tmp_path / 'model')}", "options.clean=0"])
    found = pairs(folders, tmp_path, override(recipe, ["options.pool=3"]))
    for index, row in enumerate(torch.from_numpy(found.pixels.astype(np.float32) / 255)):
        place = next(k for k in (0, 1) if found.plans[index][k])
        depth = estimated_depth(row[3 if index == 0 else 4][None], str(tmp_path / "model"))
        clear, light = torch.exp(-1.8 * depth), to_linear(row[2 + place])
        airlight = (to_linear(row[place]) - light * clear) / (1 - clear)  # the same everywhere
        assert float(airlight.mean()) == pytest.approx(float(airlight.median()), abs=0.02)
        assert 0.68 < float(airlight.mean()) < 1.02
        expected = to_encoded(light * clear + airlight.median() * (1 - clear))
        assert (expected - row[place]).abs().max() < 5 / 255
    made_up = pairs(folders, tmp_path, override(recipe, ["options.pool=3", "options.depth_model="]))
    assert made_up.folder != found.folder
    assert np.abs(made_up.pixels.astype(int) - found.pixels).max() > 20
    with pytest.raises(FusionError, match="no depth model"):
        pairs(folders, tmp_path, override(recipe, [f"options.depth_model={tmp_path}/none"]))


@pytest.fixture(autouse=True)
def few_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DegradedPairs, "scored", 2)


def test_scores_are_of_files_held_out(pool: DegradedPairs) -> None:
    """With the default model beside; what was trained on is left as it was."""
    seen: list[Tensor] = []
    trained = pool.train

    def keep(sources: Tensor) -> Tensor:
        seen.append(sources)
        return load_model("average")(sources)

    found = pool.scores(keep)  # type: ignore[arg-type]
    assert set(found) == {"ivf, degraded", "mef, degraded", "mff, degraded"}
    assert len(seen) == 6
    assert all(10 < row[f"psnr_{pool.teacher}"] < 70 and 0 < row["ssim"] < 1 for row in found.values())
    assert pool.train is trained
    assert pool.clean == 0.15
    assert pool.held["ivf"][0][0].shape == (2, 72, 80)
    assert all(pool.held["ivf"][0][0] is not group for group in trained["ivf"][0])


def test_regression_loss(pool: DegradedPairs) -> None:
    recipe = small(options=LatentSettings(pool=9, decoded=1.0))
    model = build_model(recipe.model, recipe.config, training=True).train()
    strategy = Latent(model, recipe)
    given = batches(pool)
    total, log = strategy.loss(given)
    goal, latents = torch.cat([b.goal for b in given]), torch.cat([b.latents for b in given])
    mean = (latents[:, :16] + latents[:, 16:]) / 2  # what an untrained model gives
    each = (mean - goal).abs().mean((0, 2, 3))
    assert log["latent"] == pytest.approx(float((model.gains().flatten() * each).mean()), rel=1e-4)
    even = Latent(model, small(options=LatentSettings(pool=9, even=True))).loss(given)[1]
    assert even["latent"] == pytest.approx(float(each.mean()), rel=1e-4)
    images = float(sum(log[f"{t}/reconstruction"] + 0.1 * log[f"{t}/closeness"] for t in ("ivf", "mef", "mff"))) / 3
    assert float(total.detach()) == pytest.approx(log["latent"] + 0.01 * log["balance"] + images, rel=1e-4)
    assert 0.25 <= log["busiest"] <= 1
    total.backward()
    assert model.detail.out.weight.grad.abs().sum() > 0
    assert model.dit.out.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.codec.parameters())


def test_flow_loss(pool: DegradedPairs, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the true velocity the loss is 0, and what is decoded is the target as the codec gives it."""
    recipe = small("mmaif-tiny-flow", options=LatentSettings(pool=9, decoded=1.0), config={**SMALL, "detail": False})
    model = build_model(recipe.model, recipe.config, training=True).train()
    given = batches(pool)
    goal = torch.cat([b.goal for b in given])

    def field(x: Tensor, time: Tensor, text: Tensor | None) -> latent.MMAIF:
        t = time[:, None, None, None]
        velocity = goal - (x[:, :16] - t * goal) / (1 - t)
        return mmaif_predicted(velocity)

    monkeypatch.setattr(model.dit, "forward", field)
    _, log = Latent(model, recipe).loss(given)
    assert log["latent"] < 1e-5
    decoded = model.codec.decode(goal[:2])[:, 0]
    expected = -10 * math.log10(float((decoded.clamp(0, 1) - given[0].truth).square().mean()))
    assert log["ivf/psnr"] == pytest.approx(expected, abs=1.0)


def test_flow_loss_is_of_the_velocity_or_of_the_result() -> None:
    gen = torch.Generator().manual_seed(0)
    goal, start, result = torch.randn(3, 2, 16, 4, 4, generator=gen).unbind(0)
    t = torch.tensor([0.0, 0.75])
    x = (1 - t)[:, None, None, None] * start + t[:, None, None, None] * goal
    v = velocity(x, t, result)
    assert (v[1] - 4 * (result - x)[1]).abs().max() < 1e-5
    gains = torch.arange(1.0, 17)[None, :, None, None]
    of_result = float((gains * (result - goal).square()).mean())
    assert float(flow_loss(v, goal - start, t, gains, True)) == pytest.approx(of_result, rel=1e-4)
    assert float(flow_loss(v, goal - start, t, 1.0, False)) == pytest.approx(float((v - goal + start).square().mean()))


def test_share_of_times_at_the_start() -> None:
    torch.manual_seed(0)
    t = draw_times(torch.zeros(4000), 0.25)
    assert float((t == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float(t[t > 0].median()) == pytest.approx(0.5, abs=0.03)
    assert not (draw_times(torch.zeros(4000), 0.0) == 0).any()
    with pytest.raises(FusionError, match="a share from 0 to 1"):
        draw_times(torch.zeros(2), 1.5)


def mmaif_predicted(latents: Tensor) -> Any:
    from anyfuse.models.mmaif.mmaif import Predicted

    return Predicted(latents, None, torch.zeros(()), torch.zeros(0, 0))


def test_words_and_their_dropout(pool: DegradedPairs) -> None:
    """The hook sees the plans of the batch; the model learns of it, except where words are dropped."""
    seen: list[Sequence[tuple[DegradationPlan, ...]]] = []

    def words(plans: Sequence[tuple[DegradationPlan, ...]]) -> Tensor:
        seen.append(plans)
        return torch.ones(len(plans), 4)

    recipe = small()
    model = build_model(recipe.model, recipe.config, training=True).train()
    for drop, expected in ((0.0, True), (1.0, False)):
        strategy = Latent(model, replace(recipe, options=LatentSettings(pool=9, drop=drop)), words)
        text = strategy._text([p for b in batches(pool) for p in b.plans], torch.zeros(1))
        assert text is not None
        assert bool(text.all()) is expected
        assert bool(text.any()) is expected
    assert list(seen[0]) == [p for b in batches(pool) for p in b.plans]
    assert Latent(model, recipe)._text([], torch.zeros(1)) is None


@pytest.mark.parametrize("name", ["mmaif-tiny", "mmaif-tiny-flow"])
def test_a_codec_of_four_channels_trains_too(name: str, folders: Path, tmp_path: Path) -> None:
    out = train.train(small(name, config={**SMALL, "codec": "sdxl"}), folders, tmp_path / name, log=quiet)
    assert load_model(out).state_dict()["codec_print"] is not None


@pytest.mark.parametrize("name", ["mmaif-tiny", "mmaif-tiny-flow"])
def test_stop_and_resume_equal_one_run(
    name: str, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train.train(small(name), folders, tmp_path / "whole", log=quiet)
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train.train(small(name), folders, tmp_path / "parts", save_every=2, log=quiet)
    monkeypatch.setattr(torch, "save", save)
    messages: list[str] = []
    parts = train.train(small(name), folders, tmp_path / "parts", log=messages.append)
    assert messages[0] == "resumed at step 2"
    a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert "codec_print" in a
    assert "ivf, degraded: psnr" in (parts / "README.md").read_text()
    last = json.loads((parts / "log.jsonl").read_text().splitlines()[-1])
    assert {"latent", "balance", "busiest", "ivf/psnr", "mff/reconstruction"} <= last.keys()


def test_it_learns(pool: DegradedPairs) -> None:
    recipe = small()
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config, training=True).train()
    strategy = Latent(model, recipe)
    first = float(strategy.loss(batches(pool))[0].detach())
    for _ in range(30):
        strategy.step(list(batches(pool)), 3e-3)
    assert float(strategy.loss(batches(pool))[0].detach()) < 0.8 * first


def test_wrong_recipes(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="multiple of 16"):
        pairs(folders, tmp_path, small(crop=40))
    with pytest.raises(FusionError, match="one pair per task"):
        pairs(folders, tmp_path, small(options=LatentSettings(pool=2)))
    with pytest.raises(FusionError, match="needs a model of latents"):
        Latent(build_model("tita-small"), small())
    model = build_model("mmaif-tiny", SMALL, training=True)
    plain = TrainingData(folders, small().sets).batch("ivf", 1, 2, 64, torch.Generator())
    with pytest.raises(FusionError, match="pairs with latents"):
        Latent(model, small()).loss([plain])
    with pytest.raises(FusionError, match="no option 'pol'"):
        Latent(model, override(small(), ["options.pol=3"]))


def test_closeness() -> None:
    sources = torch.rand(2, 2, 12, 12)
    fused = sources[:, 0]
    dx, dy = sobel(fused - sources[:, 1])
    other = (fused - sources[:, 1]).abs().mean() + (dx.abs() + dy.abs()).mean() / 8
    assert closeness(fused, sources) == pytest.approx(float(other), rel=1e-5)


# ---------------------------------------------------------------------- the codec


def codec_plan(**changes: Any) -> CodecPlan:
    plan = CodecPlan(folders=("natural", "ivif/ir", "nothing"), crop=32, batch=2, steps=4, warmup=1)
    return replace(plan, **changes)


def test_codec_resumes_to_the_bit(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_codec(codec_plan(), folders, tmp_path / "whole", log=quiet)
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train_codec(codec_plan(), folders, tmp_path / "parts", save_every=2, log=quiet)
    monkeypatch.setattr(torch, "save", save)
    messages: list[str] = []
    parts = train_codec(codec_plan(), folders, tmp_path / "parts", log=messages.append)
    assert messages[0] == "resumed at step 2"
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()
    card = (whole / "README.md").read_text()
    assert "natural: PSNR" in card
    assert "20 files" in card
    with pytest.raises(FusionError, match="another recipe"):
        train_codec(codec_plan(lr=1.0), folders, tmp_path / "parts", log=quiet)
    codec = Codec(str(whole))
    images = Images(folders, ("natural",))
    latents = torch.cat([codec.encode(images.batch(codec_plan(), torch.Generator().manual_seed(k))) for k in range(64)])
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.5


def test_codec_learns_from_the_cosines_on(folders: Path) -> None:
    """The start is the truncated cosine transform, and each coefficient has unit variance; training lowers the loss."""
    plan, images = codec_plan(), Images(folders, ("natural",))
    crops = torch.cat([images.batch(plan, torch.Generator().manual_seed(k)) for k in range(8)])
    torch.manual_seed(0)
    net = TinyCodec()
    net.start(spread_of_cosines(crops))
    with torch.no_grad():
        assert (net.encode(crops).std((0, 2, 3)) - 1).abs().max() < 0.1
        blocks = torch.nn.functional.pixel_unshuffle(crops - 0.5, 8)
        basis = cosines(1)
        kept = torch.einsum("kc,kd,bdhw->bchw", basis, basis, blocks)
        expected = torch.nn.functional.pixel_shuffle(kept, 8) + 0.5
        assert (net.decode(net.encode(crops)) - expected).abs().mean() < 5e-3
    before = float(codec_loss(net.decode(net.encode(crops)), crops, plan).detach())
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(15):
        loss = codec_loss(net.decode(net.encode(crops)), crops, plan)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.95 * before
    assert fidelity(net, images, "cpu", 1)["natural"]["psnr"] > 10


def test_codec_holds_files_out(folders: Path) -> None:
    images = Images(folders, ("natural", "ivif/ir"))
    assert [len(x) for x in images.train] == [9, 9]
    assert {k: len(v) for k, v in images.validation.items()} == {"natural": 1, "ivif/ir": 1}
    assert "codec-tiny" in CODEC_PLANS
    with pytest.raises(FusionError, match="--data"):
        Images(folders, ("nothing",))
    with pytest.raises(FusionError, match="multiple of 16"):
        train_codec(codec_plan(crop=40), folders, folders / "out", log=quiet)
