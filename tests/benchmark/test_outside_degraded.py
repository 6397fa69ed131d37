"""The degraded set of experiments/outside_degraded.py: its recipe, its operations and its tables."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import scene, to8

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("haze", {}),
    ("haze", {"depth": True}),
    ("rain", {"angle": -15}),
    ("rain", {"veil": True, "length": 12}),
    ("snow", {}),
    ("noise", {}),
    ("sensor_noise", {}),
    ("jpeg", {}),
    ("motion_blur", {"angle": 30}),
    ("motion_blur", {"curved": True}),
    ("defocus", {}),
    ("blur", {}),
    ("low_resolution", {}),
    ("low_exposure", {}),
    ("low_exposure", {"noisy": True}),
    ("high_exposure", {}),
    ("low_contrast", {}),
    ("stripes", {}),
    ("stripes", {"rows": True}),
    ("banding", {"rows": False}),
    ("dead_pixels", {}),
)


@pytest.fixture(scope="module")
def outside() -> Iterator[ModuleType]:
    """The script; it imports the operations that lie beside it."""
    sys.path.insert(0, str(EXPERIMENTS))
    yield importlib.import_module("outside_degraded")
    sys.path.remove(str(EXPERIMENTS))


def test_recipe(outside: ModuleType) -> None:
    cases = outside.read_cases()
    operations = importlib.import_module("outside_operations").OPERATIONS
    assert len({c.name for c in cases}) == len(cases) == 116
    kinds = Counter(c.kind for c in cases)
    assert kinds.pop("two or three") == 20
    assert len(kinds) == 16
    assert set(kinds.values()) == {6}
    used = set()
    for case in cases:
        assert case.sources
        assert set(case.sources) <= set(outside.PARTS[case.set])
        assert case.say not in ("", case.wrong)
        steps = [step for part in case.sources.values() for step in part]
        assert all(0 < step["strength"] <= 1 for step in steps)
        assert (len({step["op"] for step in steps}) > 1) == (case.kind == "two or three"), case.name
        used |= {step["op"] for step in steps}
    assert used == set(operations) == {name for name, _ in VARIANTS}
    assert [c.kind for c in outside.in_turn(cases)[:17]] == list(dict.fromkeys(c.kind for c in cases))


@pytest.mark.parametrize(("op", "options"), VARIANTS)
def test_operation(outside: ModuleType, op: str, options: dict[str, Any]) -> None:
    grey = 0.15 + 0.6 * scene(48, 64, 3)
    for image in (to8(grey), to8(np.stack([grey, grey**1.2, 0.9 * grey], -1))):
        before = image.copy()
        harm = []
        for strength in (0.2, 0.55, 1.0):
            steps = [{"op": op, "strength": strength, "seed": 5, "options": options}]
            made = outside.degrade(image, steps)
            assert made.shape == image.shape
            assert made.dtype == np.uint8
            harm.append(np.abs(made.astype(float) - image).mean())
        np.testing.assert_array_equal(made, outside.degrade(image, steps))
        assert 0 < harm[0] < harm[1] < harm[2], harm
        np.testing.assert_array_equal(image, before)


def test_shots_differ_but_in_haze(outside: ModuleType) -> None:
    image = to8(scene(48, 64, 3))
    for op, same in (("haze", True), ("rain", False), ("noise", False)):
        options = {"depth": True} if op == "haze" else {}
        steps = [{"op": op, "strength": 0.8, "seed": 5, "options": options}]
        assert np.array_equal(outside.degrade(image, steps, 0), outside.degrade(image, steps, 1)) == same


def test_curved_motion_moves_nothing_on_the_whole(outside: ModuleType) -> None:
    image = np.zeros((61, 61), np.uint8)
    image[28:33, 28:33] = 255
    steps = [{"op": "motion_blur", "strength": 0.8, "seed": 2, "options": {"curved": True}}]
    light = importlib.import_module("outside_operations").to_linear(outside.degrade(image, steps) / 255)
    y, x = np.mgrid[:61, :61]
    assert abs((light * y).sum() / light.sum() - 30) < 0.3
    assert abs((light * x).sum() / light.sum() - 30) < 0.3


def test_pair_is_the_middle(outside: ModuleType, tmp_path: Path) -> None:
    from PIL import Image

    case = next(c for c in outside.read_cases() if c.kind == "noise" and set(c.sources) == {"vis"})
    wide = np.tile(np.arange(400) % 256, (100, 1)).astype(np.uint8)
    for part in ("ir", "vis"):
        (tmp_path / "test" / case.set / part).mkdir(parents=True)
        pixels = wide if part == "ir" else np.stack([wide] * 3, -1)
        Image.fromarray(pixels).save(tmp_path / "test" / case.set / part / f"{case.stem}.png")
    clean = outside.read_pair(tmp_path, case)
    assert [image.shape for image in clean] == [(100, 320), (100, 320, 3)]
    np.testing.assert_array_equal(clean[0], wide[:, 40:360])
    spoilt = case.spoilt(clean)
    np.testing.assert_array_equal(spoilt[0], clean[0])
    assert outside.digest(clean, spoilt) != outside.digest(clean, clean)


def test_measures(outside: ModuleType) -> None:
    truth = np.full((32, 32, 3), 100, np.uint8)
    same = outside.compare(truth, truth, truth)
    assert (same["psnr"], same["ssim"], same["light"]) == (60, 1, 0)
    brighter = outside.compare(truth + np.uint8(10), truth, truth)
    assert brighter["psnr"] == pytest.approx(20 * np.log10(255 / 10))
    assert brighter["light"] == pytest.approx(10)


def test_tables(outside: ModuleType) -> None:
    cases = outside.read_cases()[:2]
    plain = {"psnr": 20.0, "ssim": 0.5, "light": 0.0}
    better, worse = plain | {"psnr": 22.0, "light": 8.0}, plain | {"psnr": 19.0, "light": -6.0}
    rows = {
        cases[0].name: {"default": plain, "words": better | {"understood": "[RESTORE] haze"}, "nothing": better}
        | {"wrong": {"refused": "no such thing"}, "repair nothing": plain},
        cases[1].name: {"default": plain, "words": worse, "nothing": plain, "wrong": worse, "repair nothing": plain},
    }
    text = outside.tables(cases, json.loads(json.dumps(rows)))
    head = f"| haze | {cases[0].set} | 2 |"
    assert f"{head} 20.00 / 0.500 | 20.50 / 0.500 | 21.00 / 0.500 | 19.00 / 0.500 (1) | 20.00 / 0.500 |" in text
    assert (
        f"{head} +0.50 / +1.0 / 1 / 1 | +1.00 / +4.0 / 0 / 1 | -1.00 / -6.0 / 1 / 1 (1) | +0.00 / +0.0 / 0 / 0 |"
        in text
    )
    assert f'{cases[0].name}, wrong: "{cases[0].wrong}": no such thing' in text
