"""`paper()` of each configuration: the published network without our additions builds, trains and fuses."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor, nn

from anyfuse.control import Control
from anyfuse.data.batches import Batch
from anyfuse.models.base import FusionModel, parameter_counts
from anyfuse.models.ditfuse.additions import ExtendedTransformer
from anyfuse.models.ditfuse.config import DiTFuseConfig
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.ditfuse.omnigen import OmniGenConfig
from anyfuse.models.ditfuse.prompt import encode, prompt
from anyfuse.models.ditfuse.transformer import Transformer
from anyfuse.models.mmaif.additions import ExtendedDiT
from anyfuse.models.mmaif.config import MMAIFConfig
from anyfuse.models.mmaif.dit import DiT
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
SDXL_LATENTS = LATENTS[:, :, :4]


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
    assert type(MMAIF(config).dit) is DiT  # builds without the codec's weights
    config = MMAIFConfig.paper(flow=flow, text=24, random_codec=True)
    torch.manual_seed(0)
    model = MMAIF(replace(config, width=32, layers=2, heads=2, hidden=16, rank=4))
    assert model.dit.out_channels == 16
    assert model.channels == 3
    assert model.codec.encode(torch.rand(1, 3, 64, 64)).shape == (1, 16, 8, 8)
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
    assert config.painted
    assert not (config.aligned)
    assert not (config.mix)
    assert (config.rope, config.branches, config.steps) == ("line", 3, 50)
    assert {k for k, v in asdict(config).items() if v != asdict(DiTFuseConfig())[k]} == {
        "codec",
        "steps",
        "detail",
        "mask",
        "painted",
        "rope",
        "stretch",
        "aligned",
        "mix",
    }
    assert type(DiTFuse(config).dit) is Transformer  # builds without the codec's weights
    config = DiTFuseConfig.paper(random_codec=True)
    torch.manual_seed(0)
    model = DiTFuse(replace(config, width=32, layers=2, heads=2, hidden=48, steps=2))
    assert model.dit.out_channels == 4
    assert model.channels == 3
    assert model.codec.encode(torch.rand(1, 3, 64, 64)).shape == (1, 4, 8, 8)
    assert model.mask_head is None
    every = torch.ones(2, dtype=torch.bool)
    batch = InstructBatch(
        "instruct",
        SOURCES,
        SOURCES[:, :, 0],
        SOURCES.mean(1)[:, 0],
        latents=SDXL_LATENTS[:, :2],
        goal=SDXL_LATENTS[:, 2],
        has_images=every,
        classes=torch.full((2, 64, 64), -1),
        has_mask=~every,
        prompts=[prompt(), prompt()],
    )
    trains_and_fuses(model, Instruct(model, small("ditfuse-tiny", options=None)), [batch])


def test_untrained_ditfuse_gives_its_noise() -> None:
    """Without `mix` an untrained network predicts a velocity of 0, so its result is the noise it starts from."""
    torch.manual_seed(0)
    model = DiTFuse(replace(DiTFuseConfig.paper(True), width=32, layers=1, heads=2, hidden=48)).eval()
    latents: Tensor = SDXL_LATENTS[:, :2]
    with torch.no_grad():
        result, guide = model.generate(latents, None, SDXL_LATENTS[:, 2])
    assert torch.equal(result, SDXL_LATENTS[:, 2])
    assert guide is None


def test_additions_that_are_all_off_change_nothing() -> None:
    """Our networks build on the papers': the same keys, and the same numbers where nothing is added."""
    torch.manual_seed(0)
    mmaif = replace(MMAIFConfig.paper(flow=True, text=24), width=32, layers=2, heads=2, hidden=16, rank=4)
    own, paper = ExtendedDiT(mmaif).eval(), DiT(mmaif).eval()
    shake(own)
    paper.load_state_dict(own.state_dict())
    x, t, text = torch.randn(2, 48, 8, 8), torch.tensor([0.2, 0.7]), torch.randn(2, 24)
    with torch.no_grad():
        assert torch.equal(own(x, t, text).latents, paper(x, t, text).latents)
    ditfuse = replace(DiTFuseConfig.paper(), width=32, layers=2, heads=2, hidden=48)
    ours, theirs = ExtendedTransformer(ditfuse, 4).eval(), Transformer(ditfuse, 4).eval()
    shake(ours)
    theirs.load_state_dict(ours.state_dict())
    ids = encode([prompt(), prompt(Control(tone=("LIGHT+",)))])
    x, latents = torch.randn(2, 4, 8, 8), SDXL_LATENTS[:, :2]
    with torch.no_grad():
        velocities = [net.velocity_full(ids, latents, x, t).latents for net in (ours, theirs)]
        cached = [
            net.velocity_cached(x, t, net.encode_condition(ids, latents, (4, 4))).latents for net in (ours, theirs)
        ]
    assert torch.equal(*velocities)
    assert torch.equal(*cached)


def shake(net: nn.Module) -> None:
    """So that no weight is 0."""
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape))


def test_omnigen() -> None:
    """The full system needs its 3.8 billion weights; the mechanism is tested on a small one in test_omnigen.py."""
    config = OmniGenConfig.paper()
    assert (config.steps, config.branches, config.rank, config.alpha) == (50, 3, 8, 8)
    assert (config.text_scale, config.image_scale, config.longest) == (2.0, 1.6, 1024)
