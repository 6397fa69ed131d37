"""Degradations as they occur: their forms, their draws, and what is said of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from anyfuse.degradation.plan import (
    FAULT_OF,
    KNOWN,
    MENUS,
    OPERATIONS,
    VARIANTS,
    Step,
    apply,
    draw_varied,
    faults_done,
    find,
    forms,
    forms_of,
    generator,
)
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def picture(channels: int = 3) -> Tensor:
    image = read_image(EXAMPLES / "exposure" / "3.jpg").read()[:, 230:326, 350:478]
    return to_luma(image) if channels == 1 else image


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().clamp_min(1e-12).log10())


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_more_strength_is_more_of_it(name: str, channels: int) -> None:
    image = picture(channels)
    for seed in (0, 1, 2):
        values = [psnr(apply(image, [Step(name, s)], seed)[0], image) for s in (0.2, 0.5, 1.0)]
        assert all(a > b for a, b in itertools.pairwise(values)), values
        again, done = apply(image, [Step(name, 0.5)], seed)
        assert psnr(again, image) == values[1]
        assert len(done[0]) > 2, "it says what it did in physical parameters"
    assert torch.equal(apply(image, [Step(name, 0.0)], 0)[0], image)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 3, 5), (1, 1, 40), (3, 51, 33)])
def test_any_size(name: str, shape: tuple[int, int, int]) -> None:
    image = torch.rand(shape, generator=Generator().manual_seed(0))
    degraded = apply(image, [Step(name, 0.8)], 3)[0]
    assert degraded.shape == image.shape
    assert degraded.isfinite().all()
    assert 0 <= degraded.min() <= degraded.max() <= 1


def test_rain_comes_without_a_veil_and_from_any_side() -> None:
    dark = torch.full((1, 120, 160), 0.2)
    clear, angles = 0, []
    for seed in range(24):
        for name in ("rain_streaks", "rain_lines"):
            rainy, done = apply(dark, [Step(name, 0.6)], seed)
            clear += float(rainy.quantile(0.2)) < 0.205
            angles.append(abs(done[0]["angle_degrees"]))
    assert clear > 28, "the scene between the streaks stays as dark as it was"
    assert min(angles) < 10
    assert max(angles) > 50


def test_lines_go_along_columns_and_rows() -> None:
    flat = torch.full((1, 60, 90), 0.5)
    for name in ("line_offsets", "line_drift"):
        ways = set()
        for seed in range(12):
            image, done = apply(flat, [Step(name, 0.6)], seed)
            rows = done[0]["rows"]
            ways.add(rows)
            along = image if rows else image.transpose(1, 2)
            assert torch.equal(along, along[..., :1].expand_as(along))
            assert float(image.std()) > 0.01
        assert ways == {True, False}
    drift = apply(flat, [Step("line_drift", 1.0)], 1)[0]
    assert drift.diff(dim=2).abs().max() < 0.08
    assert drift.diff(dim=1).abs().max() < 0.08
    rows = apply(flat, [Step("row_stripes", 1.0)], 2)[0]
    assert torch.equal(rows, rows[..., :1].expand_as(rows))


def test_an_iris_is_as_wide_as_the_blur_of_its_strength() -> None:
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    for seed in range(6):
        spot, _ = apply(point, [Step("defocus", 0.6)], seed)
        weight = spot[0] / spot.sum()
        far = ((torch.arange(41) - 20) ** 2).float()
        deviation = float((weight.sum(1) * far).sum().sqrt())
        assert 0.6 * 1.8 < deviation < 1.5 * 1.8


def test_low_light_has_the_noise_of_its_sensor() -> None:
    image = torch.full((1, 200, 200), 0.6)
    grain = []
    for seed in range(8):
        dark, done = apply(image, [Step("low_light", 0.6)], seed)
        assert dark.mean() < 0.45
        assert float(dark.std()) == pytest.approx(done[0]["sigma"], rel=0.1)
        grain.append(done[0]["sigma"])
    assert max(grain) > 2 * min(grain)
    assert faults_done(done)["low_exposure"] == pytest.approx(-done[0]["stops"] / 4, abs=1e-6)


def test_qualities_reach_below_those_of_jpeg() -> None:
    worst = apply(picture(), [Step("low_jpeg", 1.0)], 0)[1]
    assert worst[0]["quality"] == 8
    assert faults_done(worst) == {"jpeg": 1.0}
    assert faults_done(apply(picture(), [Step("low_jpeg", 0.2)], 0)[1])["jpeg"] == pytest.approx((95 - 50) / 75)


def test_faults_are_named_as_in_instructions() -> None:
    assert find("rain lines") == "rain_lines"
    assert forms("rain") == ("rain", "rain_streaks", "rain_lines")
    assert forms_of("line_drift") == "dark_stripes"
    assert forms_of("haze") == "haze"
    plan = [Step("rain", 0.4), Step("rain_lines", 0.7), Step("sensor_noise", 0.5), Step("low_light", 0.9)]
    found = faults_done(apply(picture(), plan, 1)[1])
    assert found["rain"] == 0.7
    assert found["noise"] > 0
    assert {"low_exposure", "sensor_noise"} < set(found)


def test_draws_cover_every_form_and_any_order() -> None:
    seen, orders = set(), set()
    for task in MENUS:
        for seed in range(300):
            plans = draw_varied(task, 2, generator(seed, task))
            assert any(plans)
            for plan in plans:
                assert len(plan) <= 3
                assert all(0.15 <= step.strength <= 1 for step in plan)
                names = [forms_of(step.op) for step in plan]
                assert len({*names, "bright_stripes"}) >= len(names)
                places = [list(OPERATIONS).index(name) for name in names]
                orders.add(places == sorted(places))
                seen |= {step.op for step in plan}
    drawn = {form for menus in MENUS.values() for menu in menus.values() for op in menu for form in forms(op)}
    assert drawn <= seen
    assert set(VARIANTS) <= seen
    assert orders == {True, False}
    assert draw_varied("ivf", 2, generator(3)) == draw_varied("ivf", 2, generator(3))
    assert {FAULT_OF.get(op, op) for op in KNOWN} - {"sensor_noise"} == {
        FAULT_OF.get(op, op) for op in OPERATIONS if op != "sensor_noise"
    }
