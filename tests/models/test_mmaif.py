"""MMAIF: counts, the parts against plain formulas, ablations, the flow, the detail path, any size, storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from numerics import longest_sum, rounding
from tile_runs import run_in_tiles
from torch import Tensor

from anyfuse import Fuser, tiling
from anyfuse.control import Control
from anyfuse.errors import FusionError
from anyfuse.image.colour import to_chroma
from anyfuse.image.pyramid import collapse, laplacian_pyramid
from anyfuse.models.base import parameter_counts
from anyfuse.models.latent.codec import TinyCodec, TinyConfig, save_tiny
from anyfuse.models.latent.detail import PYRAMID_LEVELS, Detail
from anyfuse.models.latent.flow import noise
from anyfuse.models.latent.positions import resize_table, rotary, rotate
from anyfuse.models.mmaif.blocks import GLU, NAF, DiTBlock, MoEGLU, ValueResidualAttention, balance_loss
from anyfuse.models.mmaif.instruction import WIDTH, instruction_vector
from anyfuse.models.mmaif.mmaif import MMAIF, MMAIFConfig, Predicted
from anyfuse.models.registry import MODELS, describe, is_there, load_model

SMALL = MMAIFConfig(width=32, layers=2, heads=2, hidden=16, rank=4, table=4, text=6, guide=4, random_codec=True)


def build(config: MMAIFConfig = SMALL, seed: int = 0, shaken: bool = True) -> MMAIF:
    """`shaken`: with no weight at 0, as after training."""
    torch.manual_seed(seed)
    model = MMAIF(config).eval()
    if shaken:
        with torch.no_grad():
            for p in model.dit.parameters():
                p.add_(0.1 * torch.randn(p.shape))
    return model


def textured(n: int = 2, channels: int = 1, height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
    x = torch.rand((1, n * channels, height // 4, width // 4), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(x, (height, width), mode="bilinear").view(1, n, channels, height, width)


# ---------------------------------------------------------------------- counts


COUNTS = {
    "mmaif-tiny": 6_537_125,
    "mmaif-tiny-flow": 6_645_661,
    "mmaif-small": 15_081_327,
    "mmaif-small-flow": 15_243_239,
}


@pytest.mark.parametrize("name", COUNTS)
def test_presets(name: str) -> None:
    config = MODELS[name].config
    total, trained = parameter_counts(MMAIF(config))
    reference = {"anyfuse": 243_840, "anyfuse-first": 255_224}[config.reference]
    assert (total - trained, trained) == (1_119_168 + reference, COUNTS[name])
    row = describe(name)
    assert (row["inputs"], row["channels"]) == ("2", "luma")
    if not is_there(MODELS[name]):
        with pytest.raises(FusionError, match=f"anyfuse train {name}"):
            load_model(name)


def test_counts_of_a_block() -> None:
    """The numbers of the design at width 256: NAF 467 k, experts 988 k, low-rank AdaLN 59 k."""
    block = DiTBlock(MMAIFConfig(), residual=True)
    assert parameter_counts(block.naf)[0] == 467_200
    assert parameter_counts(block.experts)[0] == 987_908
    assert parameter_counts(block.modulation)[0] == 58_880
    assert parameter_counts(block.attention)[0] == 4 * 256 * 256 + 4 * 256 + 1


def test_ablations_change_the_parameters_as_they_should() -> None:
    full = parameter_counts(build().dit)[0]
    width, layers, hidden = SMALL.width, SMALL.layers, SMALL.hidden

    def without(**changes: object) -> int:
        return full - parameter_counts(build(replace(SMALL, **changes)).dit)[0]  # type: ignore[arg-type]

    assert without(rope=False) == 0
    assert without(value_residual=False) == layers - 1
    assert without(naf=False) == layers * parameter_counts(NAF(width))[0]
    experts = 5 * parameter_counts(GLU(width, hidden))[0] + 4 * width + 4
    assert without(moe=False) == layers * (experts - parameter_counts(GLU(width, 2 * hidden))[0])
    assert without(detail=False) == (width + 1) * SMALL.guide * 4
    shares = (width + 1) * 32 * 4
    assert without(mix=False) == shares
    flow = 16 * 4 * width + (width + 1) * 16 * 4 + 256 * width + width + width * width + width
    assert without(flow=True) == -flow
    assert without(flow=True, mix=False) == shares + (width + 1) * 16 * 4 - flow


# ---------------------------------------------------------------------- the parts


def test_rotary_depends_on_differences_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0)).unbind(0)
    cos, sin = (t.view(7, 9, 16) for t in rotary(7, 9, 16))

    def score(a: tuple[int, int], b: tuple[int, int]) -> Tensor:
        return (rotate(q, (cos[a][None], sin[a][None])) * rotate(k, (cos[b][None], sin[b][None]))).sum()

    near = score((1, 2), (3, 1))
    assert (near - score((4, 7), (6, 6))).abs() < 1e-4
    assert (near - score((1, 2), (3, 2))).abs() > 1e-3
    assert (near - score((1, 2), (4, 1))).abs() > 1e-3
    assert (rotate(q, (cos[5, 5][None], sin[5, 5][None])).norm() - q.norm()).abs() < 1e-5
    twice = rotary(3, 3, 16, stretch=2.0)[0].view(3, 3, 16)
    assert (twice[1, 1] - cos[2, 2]).abs().max() < 1e-6


def test_value_residual() -> None:
    torch.manual_seed(0)
    own = ValueResidualAttention(16, 2, residual=True)
    x, before = torch.randn(1, 5, 16), torch.randn(1, 2, 5, 8)
    with torch.no_grad():
        own.eta.fill_(0.3)
        y, values = own(x, before, None)
        q, k, v = own.qkv(x).chunk(3, -1)
        heads = [t.view(1, 5, 2, 8).transpose(1, 2) for t in (q, k, v)]
        mixed = 0.7 * heads[2] + 0.3 * before
        share = (heads[0] @ heads[1].transpose(-1, -2) / 8**0.5).softmax(-1)
        plain = own.out((share @ mixed).transpose(1, 2).reshape(1, 5, 16))
        assert (values - mixed).abs().max() < 1e-6
        assert (y - plain).abs().max() < 1e-5
        assert torch.equal(own(x, None, None)[1], heads[2])


def test_values_reach_the_next_block() -> None:
    model = build()
    x = model.encode(textured())
    with torch.no_grad():
        before = model.dit(x).latents
        model.dit.blocks[1].attention.eta.fill_(0.0)
        alone = model.dit(x).latents
    assert (before - alone).abs().max() > 1e-4
    assert model.dit.blocks[0].attention.eta is None


@pytest.mark.parametrize("active", [1, 2, 4])
def test_experts_are_the_plain_loop(active: int) -> None:
    torch.manual_seed(0)
    experts = MoEGLU(8, 6, 4, active)
    x = torch.randn(33, 8)
    with torch.no_grad():
        out, balance, load = experts(x)
        counts = torch.zeros(4)
        for token, result in zip(x, out, strict=True):
            p = experts.router(token).softmax(-1)
            best = sorted(range(4), key=lambda e: -float(p[e]))[:active]
            plain = experts.shared(token)
            for e in best:
                plain = plain + p[e] * experts.experts[e](token)
                counts[e] += 1
            assert (result - plain).abs().max() < 1e-5
        assert torch.allclose(load, counts / counts.sum())
        mean = experts.router(x).softmax(-1).mean(0)
        assert balance == pytest.approx(float(4 * (load * mean).sum()), abs=1e-5)


def test_balance_loss() -> None:
    even = torch.full((8, 4), 0.25)
    assert balance_loss(even, torch.full((4,), 0.25)) == pytest.approx(1.0)
    alone = F.one_hot(torch.zeros(8, dtype=torch.long), 4).float()
    assert balance_loss(alone, alone.mean(0)) == pytest.approx(4.0)


def test_router_learns() -> None:
    torch.manual_seed(0)
    experts = MoEGLU(8, 6, 4, 1)
    out, balance, _ = experts(torch.randn(40, 8))
    (out.square().mean() + balance).backward()
    assert experts.router.weight.grad.abs().sum() > 0


def test_blocks_begin_as_the_identity() -> None:
    model = build(shaken=False)
    x, condition = torch.randn(2, 4, 6, 32), torch.randn(2, 32)
    y, _, _ = model.dit.blocks[1](x, condition, model.dit.shared(condition), torch.randn(2, 2, 24, 16), None)
    assert torch.equal(x, y)
    latents = torch.randn(2, 32, 4, 6)
    with torch.no_grad():
        mean = (latents[:, :16] + latents[:, 16:]) / 2
        assert (model.predict(latents).latents - mean).abs().max() < 1e-6
        flow = build(replace(SMALL, flow=True), shaken=False)
        for flow.steps in (1, 4):
            assert (flow.predict(latents).latents - mean).abs().max() < 1e-5


def test_tables_are_resized() -> None:
    table = torch.randn(3, 4, 4)
    assert torch.equal(resize_table(table, 4, 4), table.permute(1, 2, 0))
    flat = resize_table(table[:, :1, :1].expand(3, 4, 4), 7, 2)
    assert flat.shape == (7, 2, 3)
    assert (flat - table[:, 0, 0]).abs().max() < 1e-6


# ---------------------------------------------------------------------- the system


OPTIONS = {
    "plain": {},
    "flow": {"flow": True},
    "flow of velocities": {"flow": True, "mix": False},
    "no experts": {"moe": False},
    "two experts": {"active": 2},
    "no rope": {"rope": False},
    "no value residual": {"value_residual": False},
    "no naf": {"naf": False},
    "no detail": {"detail": False},
    "no mix": {"mix": False},
    "patch 1": {"patch": 1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str, tmp_path: Path) -> None:
    model = build(replace(SMALL, **OPTIONS[name]))
    x, text = textured(), torch.randn(1, 6)
    with torch.inference_mode():
        fused = model(x, condition=text)
        assert torch.equal(fused, model(x, condition=text))
    assert fused.shape == (1, 1, 48, 64)
    assert 0 <= fused.min() <= fused.max() <= 1
    model.train()
    (model(x, condition=text).mean() + model(x).mean()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not [n for n in without if ".experts.experts." not in n]  # an expert may get no token
    model.eval().save_pretrained(tmp_path)
    again = load_model(tmp_path)
    with torch.inference_mode():
        assert torch.equal(again(x), model(x))


def test_gains_are_what_a_channel_does_to_the_image() -> None:
    model = MMAIF(MMAIFConfig(codec="tiny"))
    gains = model.gains().flatten()
    assert torch.equal(gains, model.gains().flatten())
    assert float(gains.mean()) == pytest.approx(1, rel=1e-5)
    assert gains[0] > 1.5 * gains[1:].max()  # the first channel is the mean of 8x8 pixels
    gen = torch.Generator().manual_seed(3)
    z, change = (torch.randn(8, 16, 12, 12, generator=gen) for _ in range(2))
    with torch.inference_mode():
        plain = model.codec.decode(z)
        one = [change * (torch.arange(16) == k)[:, None, None] for k in range(16)]
        each = torch.tensor([float((model.codec.decode(z + d) - plain).std()) for d in one])
    assert (each / each.mean() / gains - 1).abs().max() < 0.35


def test_switches_change_the_result() -> None:
    x = textured()
    with torch.inference_mode():
        full = build()(x)
        off = build(replace(SMALL, rope=False))  # the same weights, as it has no parameters
        assert (full - off(x)).abs().max() > 1e-4


@pytest.mark.numerics
def test_an_instruction_counts_and_zeros_are_none() -> None:
    """In a batch, sums may be ordered otherwise; images lie in [0, 1], so the longest sum bounds the difference."""
    model, x = build(), textured()
    with torch.inference_mode():
        nothing = model(x)
        assert torch.equal(nothing, model(x, condition=torch.zeros(1, 6)))
        told = model(x, condition=torch.ones(1, 6))
        assert (nothing - told).abs().max() > 1e-4
        assert torch.equal(model(x), nothing)  # the model keeps nothing of it
        pair = model(x.expand(2, -1, -1, -1, -1), condition=torch.tensor([[0.0] * 6, [1.0] * 6]))
        assert (pair - torch.cat([nothing, told])).abs().max() < rounding(longest_sum(model))
    with pytest.raises(FusionError, match="has 5 numbers, and this model takes 6"):
        model(x, condition=torch.ones(1, 5))


def test_flow_follows_a_known_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """v = x_1 - noise is constant along a straight path, so any number of steps ends in x_1."""
    model = build(replace(SMALL, flow=True))
    latents, goal = torch.randn(2, 32, 4, 4), torch.randn(2, 16, 4, 4)
    times: list[float] = []

    def field(x: Tensor, time: Tensor, text: Tensor | None) -> Predicted:
        times.append(float(time[0]))
        t = time[:, None, None, None]
        start = (x[:, :16] - t * goal) / (1 - t)
        assert torch.equal(x[:, 16:], latents)
        return Predicted(goal - start, None, torch.zeros(()), torch.zeros(0, 0))

    monkeypatch.setattr(model.dit, "forward", field)
    for steps in (1, 4):
        model.steps = steps
        assert (model.predict(latents).latents - goal).abs().max() < 1e-4
    assert times == [0, 0, 0.25, 0.5, 0.75]


@pytest.mark.numerics
def test_flow_noise_is_the_same_for_each_image() -> None:
    """In a batch, sums may be ordered otherwise; images lie in [0, 1], so the longest sum bounds the difference."""
    model = build(replace(SMALL, flow=True))
    x = textured()
    with torch.inference_mode():
        gap = (model(x.expand(3, -1, -1, -1, -1))[2] - model(x)[0]).abs().max()
        assert gap < rounding(longest_sum(model))
        model.steps = 1
        once = model(x)
        model.steps = 5
        assert (once - model(x)).abs().max() > 1e-4
    assert torch.equal(noise(torch.zeros(1, 32, 3, 5)), noise(torch.zeros(1, 1, 3, 5)))


def test_detail_path() -> None:
    torch.manual_seed(0)
    detail = Detail(1, 4)
    x, guide = textured(3, 1, 48, 64)[0], torch.randn(1, 4, 6, 8)
    same = x[:1].expand(2, -1, -1, -1)[None]

    def choose(numbers: list[int], levels: Sequence[int], value: float) -> None:
        """Sets numbers (logits of decoded, fused, first, second; gains of first, second) of some levels."""
        for level in levels:
            for number in numbers:
                if level == 0:
                    detail.out.bias[4 * number : 4 * number + 4] = value
                elif level == 1:
                    detail.out.bias[4 * detail.each + number] = value
                else:
                    detail.coarse[level - 2].bias[number] = value

    with torch.no_grad():
        fused = load_model("anyfuse")(F.pad(x[None, :2, 0], (0, 0, 0, 16), mode="replicate")[:, :, None])[..., :48, :]
        assert (detail.reference(x[None, :2]) - fused).abs().max() < 1e-3
        assert (detail(x[:1], same, guide) - x[:1]).abs().max() < 1e-3  # equal images come back
        pyramids = [laplacian_pyramid(image, PYRAMID_LEVELS) for image in (x[2:], fused, x[:1], x[1:2])]
        for image, pyramid in enumerate(pyramids):  # two bands of one image on the others' lower levels
            other = (image + 1) % 4
            choose([0, 1, 2, 3], range(PYRAMID_LEVELS + 1), -30.0)
            choose([image], [0, 1], 30.0)
            choose([other], range(2, PYRAMID_LEVELS + 1), 30.0)
            plain = collapse([*pyramid[:2], *pyramids[other][2:]])
            assert (detail(x[2:], x[None, :2], guide) - plain).abs().max() < 1e-3, image
        choose([0, 1, 2, 3], range(PYRAMID_LEVELS + 1), -30.0)
        choose([2], range(PYRAMID_LEVELS + 1), 30.0)
        choose([4], [PYRAMID_LEVELS], 30.0)  # a gain of 4 on the base of the first source
        lighter = collapse([*pyramids[2][:-1], 4 * pyramids[2][-1]])
        assert (detail(x[2:], x[None, :2], guide) - lighter).abs().max() < 1e-4


def test_detail_path_with_restoration() -> None:
    """Its third image is what the default model makes of the restored sources, or where nothing is restored of the
    sources themselves.
    """
    torch.manual_seed(0)
    detail = Detail(1, 4, restored=True)
    assert (detail.images, detail.each) == (5, 7)
    x, guide = textured(5, 1, 48, 64)[0], torch.randn(1, 4, 6, 8)
    sources, restored = x[None, :2], x[None, 2:4]
    with torch.no_grad():
        for bias in (detail.out.bias, *(last.bias for last in detail.coarse)):
            bias.fill_(-30.0)
            start = 8 if bias is detail.out.bias else 2
            bias[start : start + (4 if start == 8 else 1)] = 30.0
        detail.out.bias[4 * detail.each + 2] = 30.0
        assert (detail(x[4:], sources, guide, restored) - detail.reference(restored)).abs().max() < 1e-3
        assert (detail(x[4:], sources, guide) - detail.reference(sources)).abs().max() < 1e-3


@pytest.mark.parametrize("flow", [False, True])
def test_mending_reaches_the_result(flow: bool) -> None:
    model, x = build(replace(SMALL, mend=True, text=WIDTH, flow=flow)), textured()
    told = instruction_vector(Control(degradations={"low_contrast": 1.0}), (0, 1))[None]
    with torch.inference_mode():
        with_it = model(x, condition=told)
        model.uses_restored = False
        assert (with_it - model(x, condition=told)).abs().max() > 1e-2
        plain = model(x)
        model.uses_restored = True
        assert torch.equal(plain, model(x))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (33, 31), (50, 64)])
def test_any_size_whole_or_refused(size: tuple[int, int]) -> None:
    model, (h, w) = build(), size
    x = textured(2, 1, 64, 64)[0][..., :h, :w]
    out, _, count = run_in_tiles(model, x, tile=16)
    assert count == 1
    assert out.isfinite().all()
    with pytest.raises(FusionError, match="max-memory"):
        tiling.plan_tiles(model, 2, 1, 8000, 9000, budget=2**30)


def test_colour_goes_around_the_network() -> None:
    grey, colour = textured()[0, 0, 0], textured(1, 3, seed=1)[0, 0]
    fused = Fuser(build())([grey[None], colour])
    assert fused.shape == (3, 48, 64)
    inside = (fused > 0.02).all(0) & (fused < 0.98).all(0)  # where nothing had to be given up for the cube
    assert inside.float().mean() > 0.2
    assert (to_chroma(fused) - to_chroma(colour))[:, inside].abs().max() < 0.02


def test_a_codec_of_colours_makes_a_model_of_colours(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_tiny(TinyCodec(TinyConfig(channels=3, quarter=8, eighth=16)), tmp_path / "codec")
    model = build(replace(SMALL, codec=str(tmp_path / "codec"), random_codec=False))
    assert model.channels == 3
    x = textured(2, 3)
    with torch.inference_mode():
        assert model(x).shape == (1, 3, 48, 64)
        grey = model(x[:, :, :1])
        assert torch.equal(grey, model(x[:, :, :1].expand(-1, -1, 3, -1, -1)))


def test_another_codec_is_noticed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_tiny(TinyCodec(), tmp_path / "codec")
    model = build(replace(SMALL, codec=str(tmp_path / "codec"), random_codec=False)).train()
    model(textured())
    assert not [k for k in model.state_dict() if k.startswith("codec.")]
    model.eval().save_pretrained(tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model")(textured()), model(textured()))
    save_tiny(TinyCodec(), tmp_path / "codec")
    with pytest.raises(FusionError, match="other weights of codec"):
        load_model(tmp_path / "model")


def test_wrong_options() -> None:
    for changes, message in (
        ({"patch": 4}, "1 or 2"),
        ({"width": 30}, "heads"),
        ({"active": 5}, "1 to 4"),
        ({"steps": 0}, "1 or more"),
    ):
        with pytest.raises(FusionError, match=message):
            replace(SMALL, **changes)  # type: ignore[arg-type]
