"""DiTFuse: counts, mask, positions, cache, guidance, prompts, masks of classes, any size, storage."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from ditfuse_tags import control_of
from numerics import longest_sum, rounding
from tile_runs import run_in_tiles
from torch import Tensor

from anyfuse import Fuser, tiling
from anyfuse.control import CLASSES, TONES, Control
from anyfuse.errors import FusionError
from anyfuse.language.instruction import parse_instruction
from anyfuse.models.base import parameter_counts
from anyfuse.models.ditfuse import prompt as ditfuse_prompt
from anyfuse.models.ditfuse.additions import grid_angles
from anyfuse.models.ditfuse.config import DiTFuseConfig
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.ditfuse.sequence import (
    FIRST,
    SECOND,
    TARGET,
    TEXT,
    TIME,
    attention_mask,
    line_angles,
    rotary,
    sincos,
)
from anyfuse.models.latent.flow import noise
from anyfuse.models.latent.lora import LoRA, add_lora, merge_lora
from anyfuse.models.latent.positions import rotate
from anyfuse.models.registry import MODELS, describe, is_there, load_model

SMALL = DiTFuseConfig(width=32, layers=2, heads=2, hidden=48, vocabulary=128, guide=4, steps=2, random_codec=True)
BRIGHT = Control("ivf", tone=("LIGHT++",))


def build(config: DiTFuseConfig = SMALL, seed: int = 0) -> DiTFuse:
    """With no weight at 0, as after training."""
    torch.manual_seed(seed)
    model = DiTFuse(config).eval()
    with torch.no_grad():
        for p in model.dit.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return model


def textured(n: int = 2, channels: int = 1, height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
    x = torch.rand((1, n * channels, height // 4, width // 4), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(x, (height, width), mode="bilinear").view(1, n, channels, height, width)


def ids_of(*texts: str) -> Tensor:
    return ditfuse_prompt.encode(texts)


# ---------------------------------------------------------------------- counts


def counted(width: int, layers: int, hidden: int) -> int:
    """Of the transformer, from its description."""
    layer = 4 * width**2 + 3 * width * hidden + 2 * width
    patches = 2 * (64 * width + width)
    times = 2 * (256 * width + width + width**2 + width)
    ends = width + 2 * width**2 + 2 * width + 320 * (width + 1)
    return 1024 * width + patches + 128 * width + times + layers * layer + ends


COUNTS = {"ditfuse-tiny": 3_655_611, "ditfuse-tiny-fast": 3_655_611, "ditfuse-small": 7_407_695}


@pytest.mark.parametrize("name", COUNTS)
def test_presets(name: str) -> None:
    model = DiTFuse(MODELS[name].config)
    total, trained = parameter_counts(model)
    reference = {"anyfuse": 243_840, "anyfuse-first": 255_224}[model.config.reference]
    assert (total - trained, trained) == (1_119_168 + reference, COUNTS[name])
    c = model.config
    assert parameter_counts(model.dit)[0] == counted(c.width, c.layers, c.hidden)
    row = describe(name)
    assert (row["inputs"], row["channels"]) == ("2", "luma")
    if not is_there(MODELS[name]):
        with pytest.raises(FusionError, match=f"anyfuse train {name}"):
            load_model(name)


def test_adapter_of_the_small_one() -> None:
    """Rank 8 on queries, keys, values and the output of 8 layers of width 256: 98,304."""
    model = DiTFuse(replace(MODELS["ditfuse-small"].config, random_codec=True))
    assert add_lora(model.dit.layers, 8, ("qkv", "out")) == 98_304
    with pytest.raises(FusionError, match="no linear layer"):
        add_lora(model, 8, ("nothing",))


# ---------------------------------------------------------------------- sequence, mask, positions


def test_mask_is_the_papers() -> None:
    """Token by token: text is causal, an image is one piece, the condition never sees time or target, the target sees
    all.
    """
    pieces = [TEXT] * 2 + [FIRST] * 2 + [SECOND] * 2 + [TIME] + [TARGET] * 2
    expected = """
        1 0 0 0 0 0 0 0 0
        1 1 0 0 0 0 0 0 0
        1 1 1 1 0 0 0 0 0
        1 1 1 1 0 0 0 0 0
        1 1 1 1 1 1 0 0 0
        1 1 1 1 1 1 0 0 0
        1 1 1 1 1 1 1 0 0
        1 1 1 1 1 1 1 1 1
        1 1 1 1 1 1 1 1 1
    """
    rows = torch.tensor([[int(v) for v in line.split()] for line in expected.strip().splitlines()], dtype=torch.bool)
    assert torch.equal(attention_mask(torch.tensor(pieces))[0, 0], rows)
    padded = attention_mask(torch.tensor(pieces), torch.tensor([[False] + [True] * 8]))[0, 0]
    assert torch.equal(padded[1:, 1:], rows[1:, 1:])
    assert not padded[1:, 0].any()
    assert padded[0].tolist() == [True] + [False] * 8


def test_nothing_flows_where_the_mask_forbids() -> None:
    """A change of image 2, which is the first source, leaves the keys of the words and of image 1."""
    model, x = build(), textured()
    latents = model.encode_pair(x)
    other = latents.clone()
    other[:, 0] += 1  # image 2 of the sequence
    ids = ids_of(ditfuse_prompt.prompt(BRIGHT))
    words = ids.shape[1]
    with torch.no_grad():
        a, b = (model.dit.encode_condition(ids, each, (3, 4)).cache[-1][0] for each in (latents, other))
    assert torch.equal(a[:, :, : words + 12], b[:, :, : words + 12])
    assert (a[:, :, words + 12 :] - b[:, :, words + 12 :]).abs().max() > 1e-3


def test_fixed_positions() -> None:
    """The window in the middle of a grid of 192 whose coordinates run over 64: the first half of the channels is the
    column's.
    """
    table = sincos(3, 4, 16).view(3, 4, 16)
    assert torch.equal(table[0, :, :8], table[2, :, :8])
    assert torch.equal(table[:, 0, 8:], table[:, 3, 8:])
    place = torch.tensor((192 - 4) // 2 + 1) * 64 / 192
    assert (table[0, 1, 0] - place.sin()).abs() < 1e-4
    assert (table[0, 1, 4] - place.cos()).abs() < 1e-4
    assert (table[0, 1, 1] - (place / 10).sin()).abs() < 1e-4
    moved = sincos(3, 4, 16, (1, 0)).view(3, 4, 16)
    assert torch.equal(moved[0, :, 8:], table[1, :, 8:])


@pytest.mark.parametrize("line", [True, False])
def test_rotary_depends_on_differences_alone(line: bool) -> None:
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0)).unbind(0)

    def score(a: list[float], b: list[float]) -> Tensor:
        angles = line_angles if line else grid_angles
        turned = (rotate(x, rotary(angles(torch.tensor([[place]]), 16))) for x, place in ((q, a), (k, b)))
        return (next(turned) * next(turned)).sum()

    near = score([4, 1, 2], [1, 3, 1])
    assert (near - score([6, 5, 7], [3, 7, 6])).abs() < 1e-4
    assert (near - score([7, 1, 2], [1, 3, 1])).abs() > 1e-3
    rows = (near - score([4, 2, 2], [1, 3, 1])).abs()
    assert rows == 0 if line else rows > 1e-3


# ---------------------------------------------------------------------- cache and guidance


@pytest.mark.parametrize("rope", ["grid", "line"])
@pytest.mark.parametrize("ours", [False, True])
def test_cache_equals_no_cache(rope: str, ours: bool) -> None:
    model, x = build(replace(SMALL, rope=rope, aligned=ours, mix=ours)), torch.cat([textured(), textured(seed=1)])
    with torch.inference_mode():
        cached = model(x, condition=BRIGHT)
        model.cache = False
        whole = model(x, condition=BRIGHT)
    assert (cached - whole).abs().max() < 1e-5
    assert (cached - model.eval()(x)).abs().max() > 1e-4


@pytest.mark.parametrize("rope", ["grid", "line"])
def test_padding_and_absent_images_change_nothing(rope: str) -> None:
    """A batch of prompts of several lengths, of which one has no images, is the same as each alone."""
    model = build(replace(SMALL, rope=rope))
    latents = model.encode_pair(torch.cat([textured(), textured(seed=1), textured(seed=2)]))
    x, t = torch.randn(3, 16, 6, 8), torch.tensor([0.1, 0.5, 0.9])
    texts = [ditfuse_prompt.prompt(BRIGHT), ditfuse_prompt.IMAGES, ditfuse_prompt.NOTHING]
    there = torch.tensor([True, True, False])
    with torch.no_grad():
        together = model.dit.velocity_cached(
            x, t, model.dit.encode_condition(ids_of(*texts), latents, (3, 4), there)
        ).latents
        whole = model.dit.velocity_full(ids_of(*texts), latents, x, t, there).latents
        assert (together - whole).abs().max() < 1e-4
        for k, text in enumerate(texts):
            given = latents[k : k + 1] if there[k] else None
            condition = model.dit.encode_condition(ids_of(text), given, (3, 4))
            alone = model.dit.velocity_cached(x[k : k + 1], t[k : k + 1], condition).latents
            assert (together[k] - alone[0]).abs().max() < 1e-4


def test_guidance_formula() -> None:
    model, x = build(), textured()
    model.steps = 1
    latents = model.encode_pair(x)
    start, t = noise(latents), torch.zeros(1)
    with torch.no_grad():

        def branch(text: str, images: bool) -> Tensor:
            condition = model.dit.encode_condition(ids_of(text), latents if images else None, (3, 4))
            return model.dit.velocity_cached(start, t, condition).latents

        bad, seen = branch(ditfuse_prompt.NOTHING, False), branch(ditfuse_prompt.IMAGES, True)
        full = branch(ditfuse_prompt.prompt(BRIGHT), True)
        model.text_scale, model.image_scale = 2.5, 1.3
        v = bad + 1.3 * (seen - bad) + 2.5 * (full - seen)
        assert (model.generate(latents, BRIGHT)[0] - start - v).abs().max() < 1e-4
        model.branches = 2
        assert (model.generate(latents, BRIGHT)[0] - start - seen - 2.5 * (full - seen)).abs().max() < 1e-4
        model.branches = 1
        assert (model.generate(latents, BRIGHT)[0] - start - full).abs().max() < 1e-5
    assert [len(model.plan(None)) for model.branches in (1, 2, 3)] == [1, 2, 3]


def test_at_first_the_result_is_the_mean_of_the_sources() -> None:
    """Shares are one half before training, whatever the noise and the number of steps; without images nothing is there
    to share.
    """
    model, x = DiTFuse(replace(SMALL, branches=1)).eval(), textured()
    latents = model.encode_pair(x)
    with torch.no_grad():
        for model.steps in (1, 3):
            assert (model.generate(latents)[0] - latents.mean(1)).abs().max() < 1e-5
        start, t = noise(latents), torch.full((1,), 0.5)
        blind = model.dit.velocity_cached(
            start, t, model.dit.encode_condition(ids_of(ditfuse_prompt.NOTHING), None, (3, 4))
        ).latents
        assert (start + 0.5 * blind).abs().max() < 1e-5


def test_euler_follows_a_known_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """v = x_1 - x_0 is constant along a straight path, so any number of steps ends in x_1."""
    model = build(replace(SMALL, branches=1))
    latents, goal = torch.randn(2, 2, 16, 4, 4), torch.randn(2, 16, 4, 4)
    times: list[float] = []

    def field(x: Tensor, t: Tensor, condition: object) -> object:
        from anyfuse.models.ditfuse.transformer import Velocity

        times.append(float(t[0]))
        share = t[:, None, None, None]
        return Velocity(goal - (x - share * goal) / (1 - share), None, torch.zeros(()))

    monkeypatch.setattr(model.dit, "velocity_cached", field)
    for model.steps in (1, 4):
        assert (model.generate(latents)[0] - goal).abs().max() < 1e-4
    assert times == [0, 0, 0.25, 0.5, 0.75]


@pytest.mark.numerics
def test_the_same_each_time_and_for_each_image() -> None:
    """In a batch, sums may be ordered otherwise; images lie in [0, 1], so the longest sum bounds the difference."""
    model, x = build(), textured()
    with torch.inference_mode():
        one = model(x)
        assert torch.equal(one, model(x))
        assert (model(x.expand(3, -1, -1, -1, -1))[2] - one[0]).abs().max() < rounding(longest_sum(model))
        model.seed = 1
        assert (model(x) - one).abs().max() > 1e-4


# ---------------------------------------------------------------------- prompts


def test_prompts_come_back() -> None:
    """Through ids, as the Control of their tags, and as what parse_instruction reads in their words."""
    for task in (None, "ivf", "mef", "mff"):
        for tone in ((), *((t,) for t in TONES), ("LIGHT-", "CONTRAST+")):
            for segment in ({}, {"car": None}, {"road": None, "sky": None}):
                control = Control(task, tone=tone, segment=segment)
                for rng in (None, random.Random(1), random.Random(2), random.Random(3)):
                    text = ditfuse_prompt.prompt(control, rng)
                    assert ditfuse_prompt.decode(ids_of(text, "<cfg>")) == [text, "<cfg>"]
                    assert control_of(text) == control
                    assert parse_instruction(ditfuse_prompt.request(control, rng)) == control
    plain = ditfuse_prompt.prompt(BRIGHT, tagged=False)
    assert "[" not in plain
    assert "brighter" in plain
    assert ditfuse_prompt.prompt(Control("mif")) == ditfuse_prompt.prompt()


def test_vocabulary_is_closed() -> None:
    assert len(set(ditfuse_prompt.WORDS)) == len(ditfuse_prompt.WORDS) <= 128
    assert ids_of("brighter", "make it darker")[0].tolist()[:2] == [0, 0]
    with pytest.raises(FusionError, match="'zebra' is not in"):
        ids_of("show the zebra")
    with pytest.raises(FusionError, match="does not restore"):
        build()(textured(), condition=parse_instruction("remove the haze"))


def test_words_count() -> None:
    model, x = build(), textured()
    with torch.inference_mode():
        nothing = model(x)
        asked = model(x, condition=BRIGHT)
        assert (nothing - asked).abs().max() > 1e-4
        assert torch.equal(model(x), nothing)  # the model keeps nothing of it
        plain = build(replace(SMALL, tags=False))
        assert (plain(x, condition=BRIGHT) - asked).abs().max() > 1e-4
        each = model.generate(model.encode_pair(torch.cat([x, x])), [Control(), BRIGHT])[0]
        alone = model.generate(model.encode_pair(x), BRIGHT)[0]
        assert (each[1] - alone[0]).abs().max() < 1e-4
        assert (each[0] - alone[0]).abs().max() > 1e-3


# ---------------------------------------------------------------------- masks


def test_masks_follow_the_word_and_the_pixels() -> None:
    model, x = build(), textured()
    with torch.inference_mode():
        found = model.masks(x, ["car", "sky"])
        assert list(found) == ["car", "sky"]
        assert found["car"].shape == (1, 48, 64)
        assert 0 <= found["car"].min() <= found["car"].max() <= 1
        assert (found["car"] - found["sky"]).abs().max() > 1e-6
        every = torch.stack(list(model.masks(x, CLASSES).values()))
        assert (every.sum(0) - 1).abs().max() < 1e-5
        other = model.masks(x, ["car", "road"])["car"]  # as many words
        assert (found["car"] - other).abs().max() > 1e-4
        found = model.masks(x, ["car"])
        fused = model(x)
        cars = Control(segment={"car": "red"})
        assert torch.equal(model(x, cars), fused)
        assert torch.equal(model.explain(x, cars)["mask car"], found["car"])
        model.dit.words.weight.zero_()
        one, two = (model.masks(x, ["car", name])["car"] for name in ("sky", "road"))
        assert torch.equal(one, two)
    with pytest.raises(FusionError, match=r"unknown class 'zebra': known are sky.*"):
        model.masks(x, ["zebra"])
    with pytest.raises(FusionError, match="no head for segmentation"):
        build(replace(SMALL, mask=False)).masks(x, ["car"])
    assert set(CLASSES) <= set(ditfuse_prompt.WORDS)


def test_mask_head_learns_a_shape_at_full_size() -> None:
    """From pixels alone, in a few steps: where the first source is bright."""
    model, x = build(), textured()
    truth = 3 * (x[:, 0, 0] > x.mean()).long()
    tokens = torch.randn(1, 32, 3, 4)
    assert model.mask_head is not None
    optimiser = torch.optim.Adam(model.mask_head.parameters(), 1e-2)
    for _ in range(60):
        loss = F.cross_entropy(model.mask_head(tokens, x), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (model.mask_head(tokens, x).argmax(1) == truth).float().mean() > 0.9


def test_mask_of_pixels_of_any_size() -> None:
    """Each class has a share, of sides that four halvings do not divide too; the tokens play no part."""
    model = build(replace(SMALL, mask_pixels=4))
    x = torch.rand(1, 2, 1, 48, 80)
    with torch.inference_mode():
        found = torch.stack(list(model.masks(x, CLASSES).values()))
        assert found.shape == (len(CLASSES), 1, 48, 80)
        assert (found.sum(0) - 1).abs().max() < 1e-5
        swapped = torch.stack(list(model.masks(x.flip(1), CLASSES).values()))
        assert (found - swapped).abs().max() > 1e-6
        model.dit.words.weight.zero_()
        assert torch.equal(torch.stack(list(model.masks(x, CLASSES).values())), found)
    with pytest.raises(FusionError, match="mask_pixels -1: give 0 or more"):
        replace(SMALL, mask_pixels=-1)


# ---------------------------------------------------------------------- options, sizes, storage


OPTIONS = {
    "plain": {},
    "line": {"rope": "line"},
    "not aligned": {"aligned": False},
    "velocity": {"mix": False},
    "no detail": {"detail": False},
    "no mask": {"mask": False},
    "mask of pixels": {"mask_pixels": 4},
    "no tags": {"tags": False},
    "patch 1": {"patch": 1},
    "one branch": {"branches": 1, "steps": 1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str, tmp_path: Path) -> None:
    model, x = build(replace(SMALL, **OPTIONS[name])), textured()
    with torch.inference_mode():
        fused = model(x)
    assert fused.shape == (1, 1, 48, 64)
    assert 0 <= fused.min() <= fused.max() <= 1
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    with torch.inference_mode():
        assert torch.equal(again(x), fused)
    assert again.steps == model.config.steps


def test_lora_is_the_formula_and_merges() -> None:
    torch.manual_seed(0)
    layer = LoRA(torch.nn.Linear(6, 4), 2, alpha=3)
    torch.nn.init.normal_(layer.up)
    x = torch.randn(5, 6)
    expected = layer.base(x) + 1.5 * x @ layer.down.T @ layer.up.T
    assert (layer(x) - expected).abs().max() < 1e-5
    model, x = build(), textured()
    before = model(x)
    add_lora(model.dit.layers, 2, ("qkv", "out"))
    assert torch.equal(model(x), before)
    for p in model.dit.layers.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, 0, 0.3)
    adapted = model(x)
    assert (adapted - before).abs().max() > 1e-3
    assert merge_lora(model) == 4
    assert (model(x) - adapted).abs().max() < 1e-4
    assert model.state_dict().keys() == build().state_dict().keys()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (33, 31), (50, 64)])
def test_any_size_whole_or_refused(size: tuple[int, int]) -> None:
    model, (h, w) = build(), size
    x = textured(2, 1, 64, 64)[0][..., :h, :w]
    cars = Control(segment={"car": None})
    out, explained, count = run_in_tiles(model, x, tile=16, condition=cars, explain=True)
    assert count == 1
    assert out.isfinite().all()
    assert explained["mask car"].shape == (h, w)
    with pytest.raises(FusionError, match="max-memory"):
        tiling.plan_tiles(model, 2, 1, 8000, 9000, budget=2**30)


def test_colour_goes_around_the_network_and_words_reach_it() -> None:
    grey, colour = textured()[0, 0, 0], textured(1, 3, seed=1)[0, 0]
    fuser = Fuser(build())
    assert fuser([grey[None], colour]).shape == (3, 48, 64)
    plain = fuser.run([grey[None], colour]).pixels
    told = fuser.run([grey[None], colour], say="much brighter, show the cars, and keep the road", explain=True)
    assert told.report["understood"].startswith("[CONTROL] <LIGHT++> [SEG] car")
    assert any("keep road" in w for w in told.report["warnings"])
    assert told.explained["mask car"].shape == (48, 64)
    assert abs(told.pixels - plain).max() > 1e-4
    assert (fuser.run([grey[None], colour]).pixels == plain).all()
    with pytest.raises(FusionError, match="use model mmaif"):
        fuser.run([grey[None], colour], say="remove the haze")
    with pytest.raises(FusionError, match="no head for segmentation"):
        Fuser(build(replace(SMALL, mask=False))).run([grey[None], colour], say="show the cars")


def test_wrong_options() -> None:
    for changes, message in (
        ({"patch": 4}, "1 or 2"),
        ({"width": 36}, "heads"),
        ({"steps": 0}, "1 or more"),
        ({"branches": 4}, "1, 2 or 3"),
        ({"rope": "helix"}, "grid or line"),
        ({"vocabulary": 10}, "or more"),
    ):
        with pytest.raises(FusionError, match=message):
            replace(SMALL, **changes)  # type: ignore[arg-type]
