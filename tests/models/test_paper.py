"""`paper()` of each configuration: the published network without our additions builds, trains and fuses."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from anyfuse.data.batches import Batch
from anyfuse.models.base import FusionModel, parameter_counts
from anyfuse.models.ditfuse.config import DiTFuseConfig
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.ditfuse.prompt import prompt
from anyfuse.models.mmaif.config import MMAIFConfig
from anyfuse.models.mmaif.mmaif import MMAIF
from anyfuse.models.tita.config import TITAConfig
from anyfuse.models.tita.tita import TITA
from anyfuse.models.unifusion.config import UniFusionConfig
from anyfuse.models.unifusion.unifusion import UniFusion
from anyfuse.training.pools.degraded_pairs import LatentBatch
from anyfuse.training.pools.instructions import InstructBatch
from anyfuse.training.recipes import RECIPES, Recipe
from anyfuse.training.strategies.bilevel import Bilevel
from anyfuse.training.strategies.famo import Famo
from anyfuse.training.strategies.instruct import Instruct
from anyfuse.training.strategies.latent import Latent
from anyfuse.training.strategies.weighting import Strategy

SOURCES = torch.rand(2, 2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
LATENTS = torch.randn(2, 3, 16, 8, 8, generator=torch.Generator().manual_seed(1))


def trains_and_fuses(model: FusionModel, strategy: Strategy, batches: list[Batch], condition: object = None) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        untrained = model.eval()(SOURCES, condition=condition)
    model.train()
    values = strategy.step(batches, 1e-3)
    assert torch.isfinite(values["loss"])
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)
    with torch.no_grad():
        fused = model.eval()(SOURCES, condition=condition)
    assert fused.shape == (2, model.channels, 64, 64)
    assert 0 <= fused.min() <= fused.max() <= 1
    assert not torch.equal(fused, untrained)


def pairs() -> list[Batch]:
    return [Batch(task, SOURCES, SOURCES[:, :, 0]) for task in ("ivf", "mef", "mff")]


def small(name: str, **changes: object) -> Recipe:
    return replace(RECIPES[name], warmup=0, **changes)


def test_tita() -> None:
    config = TITAConfig.paper()
    assert not config.bound
    assert parameter_counts(TITA(config))[0] == 1_378_435
    torch.manual_seed(0)
    model = TITA(replace(config, channels=12, heads=2, extract=1, interact=(1, 1), rebuild=1))
    trains_and_fuses(model, Famo(model, small("tita-small")), pairs())


def test_unifusion() -> None:
    config = UniFusionConfig.paper()
    assert config.reconstructors
    assert replace(config, reconstructors=False) == UniFusionConfig()
    torch.manual_seed(0)
    model = UniFusion(replace(config, backbone="tiny", random_backbone=True, width=8, heads=2, rounds=1))
    trains_and_fuses(model, Bilevel(model, small("unifusion-small")), pairs())


@pytest.mark.parametrize("flow", [False, True])
def test_mmaif(flow: bool) -> None:
    config = MMAIFConfig.paper(flow=flow, text=24)
    assert not (config.detail)
    assert not (config.mend)
    assert not (config.mix)
    assert config.moe
    assert config.rope
    assert config.value_residual
    assert config.naf
    torch.manual_seed(0)
    model = MMAIF(replace(config, width=32, layers=2, heads=2, hidden=16, rank=4, random_codec=True))
    assert model.dit.out_channels == 16
    assert not any(name.startswith("detail.") for name in model.state_dict())
    recipe = small("mmaif-tiny", options=None)
    strategy = Latent(model, recipe, lambda plans: torch.ones(len(plans), 24))
    truth = SOURCES.mean(1)[:, 0]
    batch = LatentBatch(
        "ivf", SOURCES, SOURCES[:, :, 0], truth, LATENTS[:, :2].flatten(1, 2), LATENTS[:, 2], [((), ()), ((), ())]
    )
    trains_and_fuses(model, strategy, [batch], torch.ones(1, 24))


def test_ditfuse() -> None:
    config = DiTFuseConfig.paper()
    assert not (config.detail)
    assert not (config.mask)
    assert not (config.aligned)
    assert not (config.mix)
    assert (config.rope, config.branches, config.steps) == ("line", 3, 50)
    assert {k for k, v in asdict(config).items() if v != asdict(DiTFuseConfig())[k]} == {
        "steps",
        "detail",
        "mask",
        "rope",
        "stretch",
        "aligned",
        "mix",
    }
    torch.manual_seed(0)
    model = DiTFuse(replace(config, width=32, layers=2, heads=2, hidden=48, steps=2, random_codec=True))
    assert model.dit.out_channels == 16
    assert model.mask_head is None
    every = torch.ones(2, dtype=torch.bool)
    batch = InstructBatch(
        "instruct",
        SOURCES,
        SOURCES[:, :, 0],
        SOURCES.mean(1)[:, 0],
        latents=LATENTS[:, :2],
        goal=LATENTS[:, 2],
        has_images=every,
        classes=torch.full((2, 64, 64), -1),
        has_mask=~every,
        prompts=[prompt(), prompt()],
    )
    trains_and_fuses(model, Instruct(model, small("ditfuse-tiny", options=None)), [batch])


def test_untrained_ditfuse_gives_its_noise() -> None:
    """Without `mix` an untrained network predicts a velocity of 0, so its result is the noise it starts from."""
    torch.manual_seed(0)
    model = DiTFuse(replace(DiTFuseConfig.paper(), width=32, layers=1, heads=2, hidden=48, random_codec=True)).eval()
    latents: Tensor = LATENTS[:, :2]
    with torch.no_grad():
        result, guide = model.generate(latents, None, LATENTS[:, 2])
    assert torch.equal(result, LATENTS[:, 2])
    assert guide is None
