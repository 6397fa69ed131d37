"""UniFusion: the paper's counts, attention against a plain form, what fusion leaves out, options, missing weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tile_runs import run_in_tiles
from torch import Tensor, nn

from anyfuse import Fuser, tiling
from anyfuse.errors import FusionError
from anyfuse.image.colour import to_chroma
from anyfuse.models.base import parameter_counts
from anyfuse.models.registry import MODELS, describe, is_there, load_model
from anyfuse.models.unifusion.backbone import Vit, VitConfig, save_vit
from anyfuse.models.unifusion.unifusion import Attention, RunningNorm, UniFusion, UniFusionConfig

SMALL = UniFusionConfig(
    backbone="tiny", width=16, heads=4, rounds=2, colour="luma", norm="running", random_backbone=True
)


def build(config: UniFusionConfig = SMALL, seed: int = 0) -> UniFusion:
    torch.manual_seed(seed)
    return UniFusion(config).eval()


def textured(n: int = 2, channels: int = 1, height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
    x = torch.rand((1, n * channels, height // 4, width // 4), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(x, (height, width), mode="bilinear").view(1, n, channels, height, width)


def parts(model: UniFusion) -> list[int]:
    return [sum(p.numel() for p in m.parameters()) for m in (model.adapters, model.reconstructors, model.fusion)]


def test_counts_of_the_paper() -> None:
    model = UniFusion(UniFusionConfig(reconstructors=True))
    assert parts(model) == [4_759_568, 181_414, 501_451]
    assert parameter_counts(model) == (27_038_977, 5_442_433)


def test_counts_of_the_small_one() -> None:
    model = UniFusion(replace(MODELS["unifusion-small"].config, reconstructors=True))
    assert parts(model) == [298_804, 49_766, 135_563]
    assert parameter_counts(model) == (484_133 + 1_417_824, 484_133)


def test_attention_is_the_plain_one() -> None:
    torch.manual_seed(0)
    own = Attention(16, 4)
    nn.init.normal_(own.temperature)
    x, y = torch.randn(2, 2, 16, 6, 5).unbind(0)
    q = own.q_near(own.q(x)).unflatten(1, (4, 4)).flatten(3)  # (B, heads, c, HW)
    k, v = (t.unflatten(1, (4, 4)).flatten(3) for t in own.kv_near(own.kv(y)).chunk(2, 1))
    share = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2) * own.temperature).softmax(-1)
    plain = F.conv2d((share @ v).reshape(2, 16, 6, 5), own.out.weight)
    assert (own(x, y) - plain).abs().max() < 1e-5


def test_attention_of_a_set_of_two_is_pairwise() -> None:
    torch.manual_seed(0)
    own = Attention(16, 4)
    x = torch.randn(2, 2, 16, 6, 5)
    pair = torch.stack([own(x[:, 0], x[:, 1]), own(x[:, 1], x[:, 0])], 1)
    together = own(x.flatten(0, 1), x.flatten(0, 1), 2).view_as(pair)
    assert (pair - together).abs().max() < 1e-5


def test_fusion_without_reconstructors_is_the_same_to_the_bit(tmp_path: Path) -> None:
    full = build(replace(SMALL, reconstructors=True))
    full.save_pretrained(tmp_path / "full")
    bare = build(SMALL, seed=1)
    bare.load_weights(tmp_path / "full" / "model.safetensors")
    assert not bare.reconstructors
    x = textured()
    with torch.inference_mode():
        assert torch.equal(full(x), bare(x))
        assert full.reconstruct(full.encode(x, full.observe(x))).shape == x.shape
        with pytest.raises(TypeError, match="without reconstructors"):
            bare.reconstruct([])


def test_backbone_stays_frozen_and_unsaved() -> None:
    model = build().train()
    assert not any(m.training for m in model.backbone.modules())
    before = [p.clone() for p in model.backbone.parameters()]
    model(textured(height=32, width=32)).mean().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0).step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.backbone.parameters(), strict=True))
    assert not [k for k in model.state_dict() if k.startswith("backbone.")]


OPTIONS = {
    "rgb": {"colour": "rgb", "norm": "batch"},
    "group": {"norm": "group"},
    "shared": {"inputs": "shared"},
    "set": {"inputs": "set"},
    "half": {"half": True},
    "half set": {"half": True, "inputs": "set"},
    "no adapter": {"adapter": False},
    "no backbone": {"backbone": "none"},
    "nothing": {"backbone": "none", "adapter": False},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str, tmp_path: Path) -> None:
    model = build(replace(SMALL, reconstructors=True, **OPTIONS[name]))
    x = textured(2, model.channels)
    with torch.inference_mode():
        fused = model(x)
    assert fused.shape == (1, model.channels, 48, 64)
    assert 0 <= fused.min() <= fused.max() <= 1
    assert model.training is False
    model.train()
    features = model.encode(x, model.observe(x))
    assert model.reconstruct(features).shape == x.shape
    (model.decode(features).mean() + model.reconstruct(features).mean()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    model.eval().save_pretrained(tmp_path)
    again = load_model(tmp_path)
    with torch.inference_mode():
        assert torch.equal(again(x), model(x))


def test_sets_take_any_number_in_any_order() -> None:
    model = build(replace(SMALL, inputs="set"))
    assert model.arity == (2, None)
    assert not model.ordered
    x = textured(4)
    with torch.inference_mode():
        assert (model(x) - model(x[:, [2, 0, 3, 1]])).abs().max() < 1e-5
    assert build().arity == (2, 2)
    with pytest.raises(FusionError, match="exactly 2"):
        build().check_arity(3)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (33, 31), (50, 64)])
def test_any_size_whole_or_refused(size: tuple[int, int]) -> None:
    model, (h, w) = build(), size
    x = textured(2, 1, 64, 64)[0][..., :h, :w]
    out, _, count = run_in_tiles(model, x, tile=16)
    assert count == 1
    assert out.isfinite().all()
    with pytest.raises(FusionError, match="max-memory"):
        tiling.plan_tiles(model, 2, 1, 4000, 6000, budget=2**30)


def test_luma_mode_keeps_colour(tmp_path: Path) -> None:
    """The chroma of the visible image comes back in full, also where infrared is bright."""
    model = build()
    grey, colour = textured()[0, 0, 0], textured(1, 3, seed=1)[0, 0]
    fused = Fuser(model)([grey[None], colour])
    assert fused.shape == (3, 48, 64)
    inside = (fused > 0.02).all(0) & (fused < 0.98).all(0)  # where nothing had to be given up for the cube
    assert inside.float().mean() > 0.05
    assert (to_chroma(fused) - to_chroma(colour))[:, inside].abs().max() < 0.02
    again = Fuser(build(replace(SMALL, colour="rgb")))([grey[None], grey[None].flip(-1)])
    assert again.shape == (1, 48, 64)


def test_running_norm_is_the_same_in_training_and_use() -> None:
    norm = RunningNorm(4)
    x = torch.randn(8, 4, 6, 6) * 3 + 1
    trained = norm.train()(x)
    assert (norm.eval()(x) - trained).abs().max() < 1e-6
    assert (trained - F.batch_norm(x, None, None, training=True)).abs().max() < 1e-2
    for _ in range(20):
        norm.train()(x)
    assert (norm.running_mean - x.mean((0, 2, 3))).abs().max() < 1e-5


def test_another_backbone_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vit = Vit(VitConfig(width=96, heads=3, depth=4))
    save_vit(vit, tmp_path / "vit")
    config = replace(SMALL, backbone=str(tmp_path / "vit"), random_backbone=False)
    model = build(config).train()
    model(textured(height=32, width=32))
    model.eval().save_pretrained(tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model")(textured()), model(textured()))
    vit.initialise(5)
    save_vit(vit, tmp_path / "vit")
    with pytest.raises(FusionError, match="other weights of backbone"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("name", ["unifusion", "unifusion-dinov2", "unifusion-small"])
def test_presets_are_listed_and_never_random(name: str) -> None:
    row = describe(name)
    assert row["inputs"] == "2"
    assert row["channels"] == ("RGB" if name == "unifusion" else "luma")
    if row["fetch"] and not is_there(MODELS[name]):
        with pytest.raises(FusionError, match="anyfuse backbone fetch"):
            load_model(name)
    elif not is_there(MODELS[name]):
        assert row["weights"] == "not included"
        with pytest.raises(FusionError, match=f"anyfuse train {name}"):
            load_model(name)


def test_wrong_options() -> None:
    with pytest.raises(FusionError, match="norm is 'layer'"):
        UniFusionConfig(norm="layer")
    with pytest.raises(FusionError, match="multiple of"):
        UniFusionConfig(width=20)
