"""The default model: regions, normalised heads, the bound, and what people look at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import scene
from torch import Tensor

from anyfuse.losses import hot, hot_mask, lit, lit_mask, local_mask
from anyfuse.models.anyfuse import REGIONS, Anyfuse, AnyfuseConfig
from anyfuse.models.registry import load_model
from anyfuse.models.set_layers import Head
from anyfuse.tiling import fuse_whole


def street(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Night street: infrared and visible (2, 1, 160, 192), where a person stands, where a lamp is."""
    gen = torch.Generator().manual_seed(seed)
    texture = torch.from_numpy(scene(160, 192, seed + 5)).float()
    infrared = 0.25 + 0.1 * texture
    visible = 0.12 + 0.12 * texture + 0.02 * torch.randn(160, 192, generator=gen)
    person, lamp = torch.zeros(160, 192, dtype=torch.bool), torch.zeros(160, 192, dtype=torch.bool)
    person[60:108, 80:96] = True
    lamp[20:36, 150:166] = True
    infrared[person] = 0.9
    visible[lamp] = 0.97
    return torch.stack([infrared, visible.clamp(0, 1)])[:, None], person, lamp


def test_a_person_stays_bright_and_a_lamp_lit() -> None:
    model = load_model("anyfuse")
    for seed in range(4):
        x, person, lamp = street(seed)
        fused = fuse_whole(model, x)[0]
        inner = torch.zeros_like(person)
        inner[64:104, 83:93] = True
        assert fused[inner].mean() > 0.85 * 0.9
        assert fused[lamp].mean() > 0.9 * 0.97
        ring = fused[40:56, 70:106].mean()
        assert fused[inner].mean() - ring > 0.75 * (0.9 - x[0, 0, 40:56, 70:106].mean())


def test_hot_pixels_of_one_frame_do_not_survive() -> None:
    model = load_model("anyfuse")
    still = torch.from_numpy(scene(128, 128, 2)).float() * 0.6 + 0.1
    x = still.expand(3, 1, 128, 128).clone()
    places = [(20 + 9 * k, 15 + 8 * k) for k in range(11)]
    for row, column in places:
        x[1, 0, row, column] = 1.0
    fused = fuse_whole(model, x)[0]
    rise = torch.stack([fused[p] - still[p] for p in places])
    assert rise.abs().max() < 0.15


@pytest.mark.parametrize("n", [2, 5, 9])
def test_exposures_of_any_number(n: int) -> None:
    model = load_model("anyfuse")
    light = torch.from_numpy(scene(96, 128, 4)).float()
    x = torch.stack([(light * 2.0**k).clamp(0, 1) ** 0.45 for k in torch.linspace(-3, 1, n).tolist()])[:, None]
    fused = fuse_whole(model, x)[0]
    assert torch.corrcoef(torch.stack([fused.flatten(), light.flatten()]))[0, 1] > 0.8
    assert 0.2 < fused.mean() < 0.8


def test_statistics_of_a_crop_can_be_those_of_the_whole() -> None:
    """Given the whole image's statistics, a crop is decided as the whole image is."""
    torch.manual_seed(0)
    model = Anyfuse(REGIONS).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.2)
    x = street()[0][None, ..., :160, :160]
    with torch.inference_mode():
        plain = model(x)
        same = torch.tensor([[[0.3, 0.2], [0.2, 0.1]]])
        other = torch.tensor([[[0.8, 0.05], [0.2, 0.1]]])
        assert torch.equal(model(x, statistics=same), model(x, statistics=same))
        assert (model(x, statistics=same) - model(x, statistics=other)).abs().max() > 1e-4
        reduced = model.global_features(x)
        luma = reduced[:, :, REGIONS.eighth : REGIONS.eighth + 1]
        own = torch.stack([luma.mean((-3, -2, -1)), luma.flatten(2).std(2, correction=0)], 2)
        assert (model(x, statistics=own) - plain).abs().max() < 1e-5


def test_heads_see_features_of_unit_size() -> None:
    """Scaling all features leaves the logits alone, so they do not hang on small differences of large numbers."""
    head = Head(8, normalised=True)
    torch.nn.init.normal_(head.out.weight)
    x = torch.randn(1, 3, 8, 6, 6)
    first, second = head(x)[0], head(300 * x)[0]
    assert (first - second).abs().max() < 1e-2
    assert head(x[:, :1].expand(-1, 3, -1, -1, -1))[0].abs().max() < 1e-5


def test_the_bound_may_look_one_pixel_around() -> None:
    x = torch.stack([torch.from_numpy(scene(64, 64, k)).float() for k in (0, 1)])[None, :, None]
    x = torch.nn.functional.avg_pool3d(x, (1, 3, 3), 1, (0, 1, 1))  # no specks
    torch.manual_seed(0)
    for near in (False, True):
        model = Anyfuse(replace(REGIONS, near=near)).eval()
        for p in model.parameters():
            torch.nn.init.normal_(p, 0, 0.3)
        with torch.inference_mode():
            fused = model(x)[0, 0]
        high = torch.nn.functional.max_pool2d(x.amax(1), 3, 1, 1)[0, 0] if near else x.amax(1)[0, 0]
        assert (fused <= high + 1e-6).all()
        assert (fused > x.amax(1)[0, 0] + 1e-4).any() == near


def random_model(**changes: object) -> Anyfuse:
    torch.manual_seed(0)
    model = Anyfuse(replace(REGIONS, **changes)).eval()  # type: ignore[arg-type]
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    return model


def focus_pair() -> torch.Tensor:
    """One scene, sharp on the left in one image and on the right in the other: their smooth images agree."""
    sharp = 0.5 + 0.4 * (torch.from_numpy(scene(96, 96, 3)).float() - 0.5)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(sharp[None], (2, 2, 2, 2), "reflect"), 5, 1)[0]
    left = (torch.arange(96) < 48).float()
    return torch.stack([left * sharp + (1 - left) * blurred, (1 - left) * sharp + left * blurred])[None, :, None]


def test_the_bound_is_strict_where_sources_differ_in_detail_alone() -> None:
    x = focus_pair()
    high = x.amax(1)[0, 0]
    with torch.inference_mode():
        assert (random_model(strict=True)(x)[0, 0] <= high + 1e-6).all()
        assert (random_model(strict=False)(x)[0, 0] > high + 1e-4).any()
        dark = x * torch.tensor([1.0, 0.2])[None, :, None, None, None]  # smooth images are apart: the bound is near
        near, strict = (random_model(strict=strict)(dark) for strict in (False, True))
        apart = (dark[0, 0, 0] - dark[0, 1, 0]) > 0.4
        assert torch.equal(near[0, 0][apart], strict[0, 0][apart])
        assert apart.any()


def test_coarse_decisions_are_firmer_where_sources_differ_in_detail_alone() -> None:
    x = focus_pair()
    with torch.inference_mode():
        shares = [random_model(decisive=share).weights(x)[0, 0] for share in (0.0, 1.0)]
        soft, firm = ((one - 0.5).abs().mean() for one in shares)
        assert firm > 1.02 * soft
        model = random_model().train()
        assert torch.equal(model(x), random_model(decisive=0.0, strict=False).train()(x))  # in use alone


def test_the_first_version_still_loads() -> None:
    first = load_model("anyfuse-first")
    assert first.config == AnyfuseConfig()
    assert load_model("anyfuse").config == REGIONS


# ---------------------------------------------------------------------- the losses


def known(x: Tensor) -> Tensor:
    return torch.stack([x.mean((1, 2, 3)), x.flatten(1).std(1)], 1)[None]


def test_masks_are_where_people_look() -> None:
    x, person, lamp = street()
    sources = x[None, :, 0]
    target, lamps = hot_mask(sources, known(x))[0], lit_mask(sources)[0]
    assert target[person].mean() > 0.9
    assert target[~person].mean() < 0.02
    assert lamps[lamp].mean() > 0.9
    assert lamps[~lamp].mean() < 0.02


def test_a_small_warm_man_counts_by_his_contrast() -> None:
    """No hotter than a wall elsewhere, he is in no mask of levels, and still missed where he is gone."""
    infrared = torch.full((128, 128), 0.3)
    infrared[:, 80:] = 0.8  # the wall
    infrared[60:74, 20:26] = 0.6
    sources = torch.stack([infrared, torch.full_like(infrared, 0.25)])[None]
    statistics = torch.stack([sources.mean((2, 3)), sources.std((2, 3))], -1)
    erased = sources[:, 0].clone()
    erased[:, 60:74, 20:26] = 0.3
    assert hot_mask(sources, statistics)[0, 66, 23] == 0
    assert local_mask(sources, statistics)[0, 66, 23] > 0.1
    assert hot(erased, sources, statistics) > hot(sources[:, 0], sources, statistics) + 0.03


def test_losses_rise_where_targets_and_lamps_fade() -> None:
    x, person, lamp = street()
    sources, statistics = x[None, :, 0], known(x)
    best = sources.amax(1)
    assert hot(best, sources, statistics) < 0.05
    assert lit(best, sources, statistics) < 0.1
    erased, dimmed = best.clone(), best.clone()
    erased[0][person] = 0.3
    dimmed[0][lamp] = 0.5
    assert hot(erased, sources, statistics) > hot(best, sources, statistics) + 0.3
    assert lit(dimmed, sources, statistics) > 5 * lit(best, sources, statistics)
    assert lit(erased, sources, statistics) < 0.15
