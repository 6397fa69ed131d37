"""TITA against a slow reference written from its formulas, and its parts, options and roles."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import scene, to8
from tile_runs import run_in_tiles
from tita_reference import TINY, perturbed, reference, textured
from torch import Tensor

from anyfuse.api import Fuser, fuse
from anyfuse.cli import main
from anyfuse.errors import FusionError
from anyfuse.image.stack import order_of_roles
from anyfuse.io.frames import from_arrays
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.models.registry import MODELS, build_model, is_there, load_model
from anyfuse.models.tita.released import from_released, load_released, to_released
from anyfuse.models.tita.tita import MEDIUM, SMALL, TITA, TITAConfig
from anyfuse.models.tita.windows import attend

OPTIONS = {
    "paper": {},
    "sigmoid": {"phi": "sigmoid"},
    "no noise": {"noise": False},
    "no interaction": {"interaction": False},
    "two branches": {"branches": ("hpf", "mul")},
    "one branch": {"branches": ("mul",)},
    "no branches": {"branches": ()},
    "intra": {"attention": "intra"},
    "mixed": {"attention": "mixed"},
    "24 channels": {"channels": 24},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_reference(name: str) -> None:
    model = perturbed(replace(TINY, **OPTIONS[name]))
    sources = textured(24, 40, batch=2)
    expected = torch.stack([reference(model, pair[1, 0], pair[0, 0]) for pair in sources])[:, None]
    assert expected.std() > 0.01
    bound = 1e-5 * max(1.0, float(expected.abs().max()))
    with torch.no_grad():  # a few windows at a time
        assert (model(sources) - expected.clamp(0, 1)).abs().max() < bound
    still = TITA(replace(model.config, drop_path=0.0))
    still.load_state_dict(model.state_dict())
    assert (still.train()(sources) - expected).abs().max() < bound  # with gradients, in one go, not clamped


def test_bound_between_the_sources_in_use_alone() -> None:
    sources = textured(24, 40)
    free, bound = perturbed(), perturbed(replace(TINY, bound=True))
    low, high = sources.amin(1), sources.amax(1)
    with torch.no_grad():
        assert ((free(sources) < low) | (free(sources) > high)).float().mean() > 0.1
        assert torch.equal(bound(sources), free(sources).clamp(low, high))
        assert torch.equal(bound(sources[:, :1].expand(-1, 2, -1, -1, -1)), sources[:, 0])  # equal images come back
    torch.manual_seed(0)
    trained = bound.train()(sources)
    torch.manual_seed(0)
    assert torch.equal(trained, free.train()(sources))


def test_one_window_is_enough() -> None:
    model = perturbed()
    sources = textured(8, 8)
    expected = reference(model, sources[0, 1, 0], sources[0, 0, 0])
    with torch.no_grad():
        assert (model(sources)[0, 0] - expected.clamp(0, 1)).abs().max() < 1e-5


def test_every_part_matters() -> None:
    """Each parameter but the keys' bias changes the result, so that agreement with the reference says something of
    each.
    """
    model = perturbed()
    sources = textured(16, 24)
    plain = TITA(replace(TINY, drop_path=0.0))
    plain.load_state_dict(model.state_dict())
    plain.train()(sources).square().mean().backward()
    for name, p in plain.named_parameters():
        assert p.grad is not None, name
        parts = p.grad.chunk(3) if name.endswith("in_proj_bias") else (p.grad,)
        for index, part in enumerate(parts):  # query, key, value
            assert (part.abs().max() > 1e-9) == (len(parts) == 1 or index != 1), name


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (TITAConfig(second_stem=True), 1_386_865),
        (TITAConfig(), 1_378_435),
        (MEDIUM, 300_679),
        (replace(MEDIUM, second_stem=True), 303_793),
        (replace(SMALL, second_stem=True), 148_825),
        (SMALL, 147_397),
        (replace(SMALL, extract=1, interact=(2,), rebuild=1, second_stem=True), 91_927),
        (replace(SMALL, heads=4, second_stem=True), 142_525),
    ],
)
def test_parameter_counts(config: TITAConfig, count: int) -> None:
    assert sum(p.numel() for p in TITA(config).parameters()) == count


def test_roles_are_not_symmetric() -> None:
    model, sources = perturbed(), textured(16, 16)
    with torch.no_grad():
        assert (model(sources) - model(sources.flip(1))).abs().max() > 1e-3


# ---------------------------------------------------------------------- size and tiles


def run(model: TITA, x: Tensor, tile: int, explained: dict[str, Tensor] | None = None) -> tuple[Tensor, int]:
    fused, maps, count = run_in_tiles(model, x, tile, explain=explained is not None)
    if explained is not None:
        explained.update(maps)
    return fused, count


def test_tiles_equal_the_whole() -> None:
    model = perturbed(size=0.1)
    x = textured(203, 331)[0]
    told_whole: dict[str, Tensor] = {}
    told: dict[str, Tensor] = {}
    whole, one = run(model, x, 4096, told_whole)
    tiled, many = run(model, x, 64, told)
    assert (one, many) == (1, 24)
    assert (whole - tiled).abs().max() < 2e-5
    assert told.keys() == told_whole.keys()
    assert all((told[k] - told_whole[k]).abs().max() < 1e-4 for k in told)


def test_halo_is_not_too_small_and_needed() -> None:
    """Changing a far pixel must not reach beyond the halo; the weights of the whole image are held."""
    model = perturbed(size=0.1)
    x = textured(8, 256)
    with torch.no_grad():
        context = model.context(model.global_features(x))
        before = model(x, context=context)
        x[..., 128:] = 1 - x[..., 128:]
        changed = (model(x, context=context) - before).abs().amax((0, 1, 2))
    assert model.halo is not None
    assert changed[: 128 - model.halo].max() == 0
    assert changed[128 - model.halo : 128 - model.halo + 8].max() > 0


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 64), (33, 31), (61, 66)])
def test_any_size(size: tuple[int, int]) -> None:
    out, _ = run(perturbed(), textured(96, 96)[0][..., : size[0], : size[1]], 4096)
    assert out.shape[1:] == size
    assert out.isfinite().all()
    assert 0 <= out.min() <= out.max() <= 1


def test_branch_weights_sum_to_one() -> None:
    x = textured(40, 40)
    for branches in (("hpf", "add", "mul"), ("add",), ()):
        told = perturbed(replace(TINY, branches=branches)).explain(x)
        numbers = [float(v) for v in told.values() if v.ndim == 1]
        assert len(numbers) == max(2, 2 * len(branches))
        assert sum(numbers) == pytest.approx(1, abs=1e-5)
        maps = {k: v for k, v in told.items() if v.ndim == 3}
        assert len(maps) == 4 * sum(TINY.interact)
        for name, m in maps.items():
            assert m.shape == (1, 40, 40)
            low = 1 / TINY.channels if name.startswith("phi") else 0
            assert low - 1e-6 <= m.min() <= m.max() <= 1 + 1e-6


def test_maps_lie_where_they_belong() -> None:
    """A change of the right half leaves the maps at the far left as they are."""
    model, x = perturbed(replace(TINY, extract=1, interact=(1,))), textured(16, 96)
    before = model.explain(x)["cross first 01"]
    x[..., 64:] = 1 - x[..., 64:]
    after = model.explain(x)["cross first 01"]
    assert (before - after)[..., :40].abs().max() < 1e-6
    assert (before - after)[..., 64:].abs().max() > 1e-4


# ---------------------------------------------------------------------- roles and the pipeline


def test_order_rule() -> None:
    dark, bright = np.full((8, 8), 40, np.uint8), np.full((8, 8), 200, np.uint8)
    colour = np.dstack([np.zeros((8, 8)), np.full((8, 8), 9), np.zeros((8, 8))]).astype(np.uint8)
    assert order_of_roles(from_arrays([bright, dark])) == [1, 0]
    assert order_of_roles(from_arrays([dark, bright])) == [0, 1]
    assert order_of_roles(from_arrays([colour, bright])) == [1, 0], "grey first, though brighter"
    assert order_of_roles(from_arrays([dark, dark.copy()])) == [0, 1], "equals keep their order"
    wide = bright.astype(np.uint16) * 257
    assert order_of_roles(from_arrays([wide, dark])) == [1, 0], "by share of white, not by number"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    perturbed(size=0.1).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_order_given_does_not_matter_unless_kept(saved: Path) -> None:
    fuser = Fuser(str(saved))
    thermal, visible = to8(scene(40, 48, 1)), to8(scene(40, 48, 2, 3))
    one, other = fuser([thermal, visible]), fuser([visible, thermal])
    assert np.array_equal(one, other)
    kept = fuser([visible, thermal], keep_order=True)
    assert not np.array_equal(kept, one)
    assert np.array_equal(fuser([thermal, visible], keep_order=True), one)
    report = fuser.run([visible, thermal]).report
    assert report["order"] == ["image 2", "image 1"]
    assert report["reference"] == "image 1"


def test_reference_stays_the_first_given(saved: Path, tmp_path: Path) -> None:
    """Grey comes first to the network; metadata and depth of the result are still those of the first file."""
    write_image(tmp_path / "v.png", to8(scene(40, 48, 2, 3)), dpi=(300.0, 300.0))
    write_image(tmp_path / "t.png", to8(scene(40, 48, 1)), dpi=(72.0, 72.0))
    fuse([tmp_path / "v.png", tmp_path / "t.png"], model=str(saved), out=tmp_path / "f.png")
    dpi = read_image(tmp_path / "f.png").dpi
    assert dpi is not None
    assert round(dpi[0]) == 300


def test_three_images_are_refused(saved: Path) -> None:
    with pytest.raises(FusionError, match=r"exactly 2 images, not 3.*anyfuse"):
        Fuser(str(saved))([to8(scene(16, 16, i)) for i in range(3)])


# ---------------------------------------------------------------------- command line


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_explain(capsys: pytest.CaptureFixture[str], saved: Path, tmp_path: Path) -> None:
    for k in range(2):
        write_image(tmp_path / f"{k}.png", to8(scene(40, 48, k)))
    inputs = (tmp_path / "0.png", tmp_path / "1.png")
    code, _, err = call(
        capsys,
        "fuse",
        *inputs,
        "-o",
        tmp_path / "f.png",
        "--model",
        saved,
        "--explain",
        tmp_path / "why",
        "--report",
        tmp_path / "r.json",
    )
    assert code == 0, err
    content = json.loads((tmp_path / "why" / "explain.json").read_text())
    assert sum(content["numbers"].values()) == pytest.approx(1, abs=1e-4)
    assert set(content["numbers"]) == {f"{s} {b}" for s in ("first", "second") for b in ("hpf", "add", "mul")}
    assert sorted(content["order"]) == sorted(map(str, inputs))
    assert len(content["maps"]) == 12
    for row in content["maps"].values():
        assert read_image(tmp_path / "why" / row["file"]).pixels.shape == (40, 48, 1)
        assert row["min"] <= row["mean"] <= row["max"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["order"] == content["order"]
    code, _, err = call(
        capsys, "fuse", *inputs, "-o", tmp_path / "g.png", "--model", "laplacian", "--explain", tmp_path / "no"
    )
    assert code == 2
    assert "explains nothing" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "g.png").exists()


def test_presets_without_weights_say_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bare = [n for n, s in MODELS.items() if not is_there(s) and not s.fetch]
    for name in bare:
        with pytest.raises(FusionError, match=f"'{name}' comes without weights.*anyfuse train {name}"):
            load_model(name)
    if bare:
        for k in range(2):
            write_image(tmp_path / f"{k}.png", to8(scene(16, 16, k)))
        code, _, err = call(
            capsys, "fuse", tmp_path / "0.png", tmp_path / "1.png", "-o", tmp_path / "f.png", "--model", bare[0]
        )
        assert code == 2
        assert err.count("\n") == 1
        assert not (tmp_path / "f.png").exists()
    code, text, _ = call(capsys, "models", "--verbose")
    assert code == 0
    assert "tita: 1,378,435 parameters, 1,378,435 trainable" in text


# ---------------------------------------------------------------------- checkpoints


def test_own_layout_round_trip(saved: Path) -> None:
    model, again = perturbed(size=0.1), load_model(str(saved))
    assert again.config == model.config
    x = textured(16, 24)
    with torch.no_grad():
        assert torch.equal(model(x), again(x))


@pytest.mark.filterwarnings("ignore")
def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    """Any bytes: cut off, changed, random. Nothing but a FusionError comes out."""
    path, rng = tmp_path / "wrong.pth", random.Random(0)
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    legacy = path.read_bytes()
    torch.save({"a": torch.ones(3)}, path)
    for whole in (path.read_bytes(), legacy):
        for _ in range(60):
            changed = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
            for _ in range(3 if changed else 0):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            path.write_bytes(changed)
            with pytest.raises(FusionError):
                load_released(path)
    path.write_bytes(rng.randbytes(99))
    with pytest.raises(FusionError, match="not a checkpoint of tensors"):
        load_released(path)
    with pytest.raises(FusionError, match="not a checkpoint of tensors"):
        load_released(tmp_path / "nothing.pth")


def test_released_layout_round_trip(tmp_path: Path) -> None:
    config = replace(TINY, second_stem=True)
    model = perturbed(config)
    state = to_released(model)
    assert len(state) == len(model.state_dict()) + 2 * 2 * sum(TINY.interact)  # q and kv for qkv, weight and bias
    assert "layers_Fusion.1.residual_group.blocks.0.attn_B.kv.weight" in state
    state["layers_Re.0.residual_group.blocks.1.attn_mask"] = torch.zeros(1)
    torch.save({"params": state}, tmp_path / "released.pth")
    again = load_released(tmp_path / "released.pth", config)
    x = textured(16, 24)
    with torch.no_grad():
        assert torch.equal(model(x), again(x))
    back = to_released(again)
    assert all(torch.equal(back[k], state[k]) for k in back)
    first = next(iter(back))
    back["surplus"] = back.pop(first)
    with pytest.raises(FusionError, match=f"2 keys don't fit.*missing {first}.*unexpected surplus"):
        from_released(back, config)


def test_bad_configurations() -> None:
    with pytest.raises(FusionError, match="foo"):
        TITAConfig(branches=("hpf", "foo"))
    blocks = ({"heads": 0}, {"heads": -6}, {"extract": -1}, {"interact": (-2, 2)}, {"interact": ()}, {"rebuild": -1})
    for wrong in ({"phi": "max"}, {"attention": "both"}, {"channels": 22}, {"drop_path": 1.0}, *blocks):
        with pytest.raises(FusionError, match=next(iter(wrong))):
            replace(TINY, **wrong)


def test_build_with_changes() -> None:
    model = build_model("tita-small", {"phi": "sigmoid"})
    assert model.config == replace(SMALL, phi="sigmoid")


def test_folders_and_keep_order(capsys: pytest.CaptureFixture[str], saved: Path, tmp_path: Path) -> None:
    for k in range(2):
        write_image(tmp_path / "bright" / f"{k}.png", to8(0.5 + 0.5 * scene(24, 32, k)))
        write_image(tmp_path / "dark" / f"{k}.png", to8(0.5 * scene(24, 32, 9 + k)))
    arguments = ("fuse", tmp_path / "bright", tmp_path / "dark", "--model", saved, "--quiet")
    for name, extra in (("by-rule", ()), ("kept", ("--keep-order",))):
        call_extra = (*extra, "--explain", tmp_path / f"why-{name}")
        code, _, err = call(capsys, *arguments, "-o", tmp_path / name, *call_extra)
        assert code == 0, err
        content = json.loads((tmp_path / f"why-{name}" / "1" / "explain.json").read_text())
        first = "dark" if name == "by-rule" else "bright"
        assert Path(content["order"][0]).parent.name == first
    rule, kept = (read_image(tmp_path / name / "0.png").pixels for name in ("by-rule", "kept"))
    assert not np.array_equal(rule, kept)


def test_bench_keeps_roles_that_luma_cannot_tell(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The visible image is darker than the infrared: by luma alone it would come first."""
    from anyfuse.benchmark.run import bench
    from anyfuse.metrics import to_grey

    monkeypatch.chdir(tmp_path)
    visible, thermal = to8(0.4 * scene(40, 48, 2, 3)), to8(0.5 + 0.5 * scene(40, 48, 1))
    write_image(tmp_path / "set" / "vis" / "0.png", visible)
    write_image(tmp_path / "set" / "ir" / "0.png", thermal)
    bench(tmp_path / "set", "ivf", ["model"], tmp_path / "out", metrics=["mi"])
    luma = to_grey(torch.from_numpy(visible).movedim(-1, 0).double(), "opencv").numpy().astype(np.uint8)
    expected = Fuser("model")([thermal, luma], keep_order=True)
    assert np.array_equal(read_image(tmp_path / "out/fused/model/0.png").pixels[..., 0], expected)
    assert order_of_roles(from_arrays([thermal, luma])) == [1, 0]  # what darkness alone would say


def test_explain_refuses_a_memory_limit(saved: Path) -> None:
    with pytest.raises(FusionError, match="leave max_memory out"):
        Fuser(str(saved), max_memory="4G").run([to8(scene(16, 16, i)) for i in range(2)], explain=True)


def test_output_is_free_in_training_only() -> None:
    model, x = perturbed(size=0.6), textured(16, 16)
    with torch.no_grad():
        assert 0 <= model(x).min() <= model(x).max() <= 1
        free = model.train()(x)
    assert free.min() < 0 or free.max() > 1


def plain_attention(q: Tensor, k: Tensor, v: Tensor, added: Tensor, batch: int) -> Tensor:
    score = torch.einsum("bdi,bdj->bij", q, k).view(batch, -1, *added.shape[-3:]) + added
    return torch.einsum("bij,bdj->bdi", score.softmax(-1).view(-1, 64, 64), v)


@pytest.mark.parametrize("windows", [False, True])
def test_attention_and_its_gradients(windows: bool) -> None:
    """Two images, two windows, three heads of two numbers; with and without a mask of its own for each window."""
    gen = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(12, 2, 64, generator=gen, dtype=torch.float64, requires_grad=True) for _ in range(3))
    shape = (2, 3, 64, 64) if windows else (3, 64, 64)
    added = torch.randn(shape, generator=gen, dtype=torch.float64, requires_grad=True)
    out, wanted = attend(q, k, v, added, 2), plain_attention(q, k, v, added, 2)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)
    weight = torch.randn(out.shape, generator=gen, dtype=torch.float64)
    found = torch.autograd.grad((out * weight).sum(), (q, k, v, added))
    for mine, theirs in zip(found, torch.autograd.grad((wanted * weight).sum(), (q, k, v, added)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_autocast_is_close() -> None:
    """bfloat16 has 8 bits: the loss of a step may differ by that, and the gradient still points the same way."""
    torch.manual_seed(0)
    model = build_model("tita-small", training=True).eval()
    pair, target = torch.rand(1, 2, 1, 32, 32), torch.rand(1, 1, 32, 32)
    grads = []
    for lower in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            fused = model(pair)
        (fused.float() - target).square().mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert F.cosine_similarity(grads[0], grads[1], dim=0) > 0.97
    assert not torch.equal(grads[0], grads[1])
