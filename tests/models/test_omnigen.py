"""The full system on a tiny OmniGen saved here: mask and cache against diffusers' own forward, adapter, guidance,
sizes; counts at full size.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_omnigen import save_omnigen
from torch import Tensor

from anyfuse import Fuser
from anyfuse.control import Control
from anyfuse.errors import FusionError
from anyfuse.models.ditfuse.omnigen import (
    Adapter,
    OmniGen,
    OmniGenConfig,
    negative_prompt,
    read_adapter,
    token_ids,
    working_size,
)
from anyfuse.models.ditfuse.prompt import full_prompt
from anyfuse.models.registry import load_model

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
pytest.importorskip("tokenizers", reason="tokenizers is not installed")

QUICK = OmniGenConfig(steps=2, longest=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_omnigen(tmp_path_factory.mktemp("omnigen"))


@pytest.fixture(scope="module")
def model(folder: Path) -> OmniGen:
    torch.manual_seed(1)
    model = OmniGen(replace(QUICK, source=str(folder), rank=3, alpha=6)).eval()
    shake(model)
    return model


def shake(model: OmniGen) -> None:
    for p in model.adapters.parameters():
        torch.nn.init.normal_(p, 0, 0.3)


def pair(height: int = 32, width: int = 48, count: int = 1) -> Tensor:
    return torch.rand(count, 2, 3, height, width, generator=torch.Generator().manual_seed(3))


def own_forward(net: Any, ids: list[int], pieces: list[int], images: list[Tensor], x: Tensor, t: float) -> Tensor:
    """diffusers' forward, with the mask and spans that its processor makes."""
    from diffusers.pipelines.omnigen.processor_omnigen import OmniGenCollator

    collator = OmniGenCollator(hidden_size=16)
    spans = [[pieces.index(k), pieces.index(k) + pieces.count(k)] for k in (1, 2) if k in pieces]
    attention = torch.ones(1, len(ids), dtype=torch.long)
    count = x.shape[-2] * x.shape[-1] // 4
    places = collator.create_position(attention, [count])
    mask, _ = collator.create_mask(attention, [count])
    mask = collator.adjust_attention_for_input_images(mask, {0: spans} if spans else {})
    return net(
        x, torch.tensor([t]), torch.tensor([ids]), images, {0: spans} if spans else {}, mask, places, return_dict=False
    )[0]


@pytest.mark.parametrize("images", [True, False])
def test_cached_passes_are_diffusers_forward(folder: Path, images: bool) -> None:
    model = OmniGen(replace(QUICK, source=str(folder), rank=0)).eval()
    latents = list(torch.randn(2, 1, 4, 4, 6)) if images else []
    text = full_prompt(Control("ivf", tone=("LIGHT+",))) if images else "bad, blurry"
    x = torch.randn(1, 4, 4, 6)
    with torch.no_grad():
        found = model.velocity(x, 0.3, model.encode_condition(text, latents, (4, 6)))
        ids, pieces = token_ids(model.tokenizer, text, 6)
        expected = own_forward(model.frozen.transformer, ids, pieces, latents, x, 0.3)
    assert expected.abs().max() > 0.1
    assert (found - expected).abs().max() < 1e-4


def test_prompt_has_two_spans(model: OmniGen) -> None:
    text = full_prompt(Control("mef", tone=("LIGHT++",), segment={"car": "red"}))
    assert text.startswith(
        "[FUSION]. <MULTI-EXPOSURE>. [CONTROL]. <LIGHT++>. [SEG]. The overexposed image is <img><|im"
    )
    assert "highlight the car in red." in text
    assert full_prompt(Control(tone=("LIGHT+",))).startswith("[CONTROL]. <LIGHT+>. The first image")
    ids, pieces = token_ids(model.tokenizer, text, 6)
    assert len(ids) == len(pieces)
    assert [pieces.count(k) for k in (1, 2)] == [6, 6]
    assert all(i == 0 for i, p in zip(ids, pieces, strict=True) if p)
    assert ids.count(1) == 1
    assert "low quality" in negative_prompt()


def test_fused_adapter_is_the_split_one(folder: Path, model: OmniGen) -> None:
    """Beside the projections, and merged into diffusers' three: down shared, up cut by rows."""
    plain = OmniGen(replace(QUICK, source=str(folder), rank=3, alpha=6)).eval()
    x = pair()
    without = plain(x)
    plain.adapters.load_state_dict(model.adapters.state_dict())
    beside = plain(x)
    assert (beside - without).abs().max() > 1e-3
    before = plain.frozen.transformer.layers[0].self_attn.to_k.weight.clone()
    plain.merge()
    assert (plain(x) - beside).abs().max() < 1e-4
    a = model.adapters[0]
    change = plain.frozen.transformer.layers[0].self_attn.to_k.weight - before
    assert (change - 2.0 * a.qkv_up[16:32] @ a.qkv_down).abs().max() < 1e-5


def test_released_names(folder: Path, model: OmniGen, tmp_path: Path) -> None:
    names = {
        "qkv_down": "qkv_proj.lora_A",
        "qkv_up": "qkv_proj.lora_B",
        "out_down": "o_proj.lora_A",
        "out_up": "o_proj.lora_B",
    }
    state = {
        f"base_model.model.llm.layers.{k.split('.')[0]}.self_attn.{names[k.split('.')[1]]}.weight": v
        for k, v in model.adapters.state_dict().items()
    }
    save_file(state, tmp_path / "lora.safetensors")
    assert read_adapter(tmp_path / "lora.safetensors").keys() == model.adapters.state_dict().keys()
    loaded = OmniGen(
        replace(QUICK, source=str(folder), rank=3, alpha=6, lora=str(tmp_path / "lora.safetensors"))
    ).eval()
    assert torch.equal(loaded(pair()), model(pair()))
    loaded.save_pretrained(tmp_path / "saved")
    (tmp_path / "lora.safetensors").unlink()
    assert torch.equal(load_model(tmp_path / "saved")(pair()), model(pair()))
    assert (tmp_path / "saved" / "model.safetensors").stat().st_size < 20_000
    save_file({**state, "other": torch.zeros(1)}, tmp_path / "wrong.safetensors")
    with pytest.raises(FusionError, match="other is not of an adapter"):
        read_adapter(tmp_path / "wrong.safetensors")
    save_file(state, tmp_path / "rank.safetensors")
    with pytest.raises(FusionError, match="does not fit rank 5"):
        OmniGen(replace(QUICK, source=str(folder), rank=5, lora=str(tmp_path / "rank.safetensors")))


def test_guidance_and_cache(model: OmniGen, monkeypatch: pytest.MonkeyPatch) -> None:
    x = pair()
    full = model(x)
    assert torch.equal(full, model(x))
    monkeypatch.setattr(model, "cache", False)
    assert (model(x) - full).abs().max() < 1e-5
    monkeypatch.setattr(model, "cache", True)
    latents = model.encode(x[0])
    monkeypatch.setattr(model, "steps", 1)
    start = torch.randn(1, *latents.shape[1:], generator=torch.Generator().manual_seed(0))
    shared = {"size": (4, 6)}
    images = [latents[1:], latents[:1]]
    with torch.no_grad():
        bad = model.velocity(start, 0, model.encode_condition(negative_prompt(), [], **shared))
        seen = model.velocity(
            start, 0, model.encode_condition("<img><|image_1|></img> <img><|image_2|></img>", images, **shared)
        )
        told = model.velocity(start, 0, model.encode_condition(full_prompt(), images, **shared))
        expected = start + bad + 1.6 * (seen - bad) + 2.0 * (told - seen)
        assert (model.generate(latents) - expected).abs().max() < 1e-4
        monkeypatch.setattr(model, "branches", 2)
        assert (model.generate(latents) - (start + seen + 2.0 * (told - seen))).abs().max() < 1e-4
        monkeypatch.setattr(model, "branches", 1)
        assert (model.generate(latents) - (start + told)).abs().max() < 1e-4


def test_sizes_and_words(folder: Path, model: OmniGen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "branches", 1)
    assert model(pair(16, 32, 2)).shape == (2, 3, 16, 32)
    assert (model(pair(), condition=Control(tone=("LIGHT--",))) - model(pair())).abs().max() > 1e-4
    assert working_size(480, 640, 1024) == (768, 1024)
    assert working_size(487, 641, 0) == (487, 641)
    assert working_size(10, 4000, 1024) == (16, 1024)
    small = load_model(folder)
    assert isinstance(small, OmniGen)
    small.steps, small.branches = 1, 1
    small.config = replace(small.config, longest=64)
    grey = torch.rand(33, 50).numpy()
    assert Fuser(small)([grey, torch.rand(33, 50, 3).numpy()]).shape[:2] == (33, 50)
    assert small(pair(32, 160)).shape == (1, 3, 32, 160)
    two = [grey, 1 - grey]
    assert Fuser(small)(two).shape == (33, 50)
    shown = Fuser(small).run(two, say="highlight the cars").fused
    assert shown.pixels.shape == (33, 50, 3)  # it paints itself, in colour though both are grey
    assert np.ptp(shown.pixels, axis=2).max() > 0
    assert shown.masks == {}
    assert Fuser(small).run([grey], say="highlight the cars").pixels.shape == (33, 50, 3)
    with pytest.raises(FusionError, match="gives no masks; save_masks is for model ditfuse-small"):
        Fuser(small).check_masks("highlight the cars")


def test_bfloat16(folder: Path) -> None:
    low = OmniGen(replace(QUICK, source=str(folder), dtype="bfloat16", branches=1)).eval()
    low.to(torch.float32)
    assert low.frozen.transformer.dtype == torch.bfloat16
    full = OmniGen(replace(QUICK, source=str(folder), branches=1)).eval()
    exact = full(pair())
    assert (low(pair()) - exact).abs().mean() < 0.05
    full.to(torch.bfloat16)
    assert (full(pair()) - exact).abs().mean() < 0.05


def test_full_size_counts() -> None:
    """3.762 billion, and an adapter of 4,718,592."""
    scaling = {"short_factor": [1.0] * 48, "long_factor": [1.0] * 48}
    with torch.device("meta"):
        net = diffusers.OmniGenTransformer2DModel(rope_scaling=scaling, pos_embed_max_size=8)
        adapters = [Adapter(3072, 8, 8) for _ in range(32)]
    assert sum(p.numel() for a in adapters for p in a.parameters()) == 4_718_592
    total = sum(p.numel() for p in net.parameters())
    assert round(total / 1e6) == 3762
    layer = sum(p.numel() for p in net.layers[0].parameters())
    assert layer == 4 * 3072**2 + 3 * 3072 * 8192 + 2 * 3072


def test_wrong_sources(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="no such folder"):
        OmniGen(OmniGenConfig(source=str(tmp_path / "nothing" / "here")))
    with pytest.raises(FusionError, match="could not be loaded"):
        OmniGen(OmniGenConfig(source=str(tmp_path)))
    with pytest.raises(FusionError, match="multiple of 16"):
        OmniGenConfig(longest=1000)
