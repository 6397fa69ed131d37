"""Codecs: the small one's shapes, linear path, storage and errors; diffusers' ones on tiny configurations saved
here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import scene
from torch import Tensor
from typer.testing import CliRunner

from anyfuse.cli.main import app
from anyfuse.errors import FusionError
from anyfuse.models.latent import codec as autoencoders
from anyfuse.models.latent.codec import Codec, TinyCodec, TinyConfig, cosines, read_config, save_tiny

LITTLE = TinyConfig(quarter=8, eighth=16, encoder=(1, 1), decoder=(1, 1))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYFUSE_CACHE", str(tmp_path / "cache"))


def photo(height: int = 64, width: int = 96) -> Tensor:
    return torch.from_numpy(scene(height, width)).float()[None, None]


def test_counts_and_shapes() -> None:
    codec = Codec("tiny", random=True)
    assert sum(p.numel() for p in codec.parameters()) == 1_119_168
    assert not any(p.requires_grad for p in codec.parameters())
    latents = codec.encode(photo())
    assert latents.shape == (1, 16, 8, 12)
    assert codec.decode(latents).shape == (1, 1, 64, 96)
    assert torch.equal(latents, codec.encode(photo()))


def test_linear_path_is_a_cosine_transform() -> None:
    basis = cosines(1)
    assert (basis @ basis.T - torch.eye(16)).abs().max() < 1e-5
    assert (cosines(3) @ cosines(3).T - torch.eye(16)).abs().max() < 1e-5
    net = TinyCodec(LITTLE)
    net.start(torch.linspace(2, 0.1, 16))
    for conv in (net.leave, net.paint):
        torch.nn.init.zeros_(conv.weight)
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    smooth = (0.5 + 0.2 * torch.cos(torch.pi / 8 * x) + 0.1 * torch.cos(2 * torch.pi / 8 * y))[None, None]
    with torch.no_grad():
        assert (net.decode(net.encode(smooth)) - smooth).abs().max() < 1e-5
        fine = 0.5 + 0.2 * torch.cos(7 * torch.pi / 8 * x)[None, None]
        assert (net.decode(net.encode(fine)) - 0.5).abs().max() < 1e-5


def test_statistics_normalise_and_cancel(tmp_path: Path) -> None:
    net = TinyCodec(LITTLE)
    x = photo()
    with torch.no_grad():
        raw = net.encode(x)
        plain = net.decode(raw)
        net.mean.copy_(raw.mean((0, 2, 3)))
        net.std.copy_(raw.std((0, 2, 3)))
    save_tiny(net, tmp_path / "codec")
    codec = Codec(str(tmp_path / "codec"))
    latents = codec.encode(x)
    assert latents.mean((0, 2, 3)).abs().max() < 0.02
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.02
    assert (codec.decode(latents) - plain).abs().max() < 5e-3  # stored in float16


def test_gradients_pass_and_nothing_is_saved() -> None:
    codec = Codec("tiny", random=True).train()
    assert not codec.training
    latents = codec.encode(photo()).requires_grad_()
    codec.decode(latents).square().mean().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0
    assert torch.nn.ModuleList([codec]).state_dict() == {}


def test_wrong_images() -> None:
    codec = Codec("tiny", random=True)
    with pytest.raises(FusionError, match="multiples of 8, not 60x64"):
        codec.encode(torch.zeros(1, 1, 64, 60))
    with pytest.raises(FusionError, match="takes luma, not 3"):
        codec.encode(torch.zeros(1, 3, 64, 64))


def test_where_weights_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoders, "package_folder", lambda name: tmp_path / "package" / "assets" / "weights" / name)
    with pytest.raises(FusionError, match="anyfuse train codec-tiny"):
        Codec("tiny").load()
    save_tiny(TinyCodec(LITTLE), tmp_path / "little")
    assert read_config(tmp_path / "little") == LITTLE
    run = CliRunner().invoke
    assert isinstance(run(app, ["codec", "install", "tiny", str(tmp_path / "little")]).exception, FusionError)
    net = TinyCodec()
    save_tiny(net, tmp_path / "own")
    assert run(app, ["codec", "install", "tiny", str(tmp_path / "own")]).exit_code == 0
    codec = Codec("tiny")
    before = torch.get_rng_state()
    codec.load()
    assert torch.equal(before, torch.get_rng_state())
    assert (codec.encode(photo()) - net.encode(photo())).abs().max() < 2e-2
    assert str(tmp_path / "cache") in run(app, ["codec", "list"]).output
    assert codec.fingerprint() != Codec("tiny", random=True).fingerprint()


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    save_tiny(TinyCodec(LITTLE), tmp_path / "little")
    (tmp_path / "little" / "config.json").write_text('{"system": "TinyCodec", "quarter": 12}')
    with pytest.raises(FusionError, match="keys don't fit"):
        Codec(str(tmp_path / "little")).load()
    (tmp_path / "little" / "config.json").write_text('{"system": "TinyCodec", "channels": 2}')
    with pytest.raises(FusionError, match="1 or 3 channels"):
        Codec(str(tmp_path / "little"))


# ---------------------------------------------------------------------- diffusers


def saved(folder: Path, kind: str) -> Path:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    torch.manual_seed(0)
    if kind == "AutoencoderKL":
        net = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=16,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        )
    elif kind == "AutoencoderTiny":
        net = diffusers.AutoencoderTiny(
            latent_channels=16,
            encoder_block_out_channels=(8,) * 4,
            decoder_block_out_channels=(8,) * 4,
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
        )
    else:
        net = diffusers.AutoencoderKLCosmos(
            encoder_block_out_channels=(8,) * 4,
            decode_block_out_channels=(8,) * 4,
            num_layers=1,
            attention_resolutions=(32,),
            resolution=64,
        )
    net.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny", "AutoencoderKLCosmos"])
def test_diffusers_codecs(tmp_path: Path, kind: str) -> None:
    codec = Codec(str(saved(tmp_path / kind, kind)))
    assert codec.channels == 3
    x = photo(32, 48).expand(-1, 3, -1, -1)
    with torch.no_grad():
        latents = codec.encode(x)
        again = codec.decode(latents)
        assert latents.shape == (1, 16, 4, 6)
        assert again.shape == x.shape
        assert torch.equal(latents, codec.encode(photo(32, 48)))  # grey goes in as three channels; nothing is sampled
        net = codec.net
        if kind == "AutoencoderKL":
            raw = net.encode(2 * x - 1).latent_dist.mode()
            assert (latents - (raw - 0.1159) * 0.3611).abs().max() < 1e-5
            plain = net.decode(raw).sample
        elif kind == "AutoencoderTiny":
            plain = net.decode(net.encode(2 * x - 1).latents).sample
        else:
            plain = net.decode(net.encode((2 * x - 1)[:, :, None]).latent_dist.mode()).sample[:, :, 0]
    assert (2 * again - 1 - plain).abs().max() < 1e-4


def test_diffusers_codec_of_another_shape(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
    ).save_pretrained(tmp_path)
    with pytest.raises(FusionError, match="4 channels at 1/8"):
        Codec(str(tmp_path)).load()
    with pytest.raises(FusionError, match="unknown codec 'nothing'"):
        Codec("nothing").load()


def test_without_diffusers_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(FusionError, match=r"pip install 'anyfuse\[diffusers\]'"):
        Codec("flux").load()
