"""Without PyTorch images are aligned, deghosted and brought to one brightness as with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines.aligned_cases import MOTIONS, cases, motion, results

from anyfuse import Fuser

pytest.importorskip("onnxruntime")
SCRIPT = Path(__file__).with_name("aligned_cases.py")
NAMES = [name for name, _, _ in cases()]
NEAR = 0.1  # pixels by which transforms may differ at a corner
SHARE, MOST = 0.999, 12  # of pixels that are within one level of 8 bits; levels by which none differs more


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return results("torch")


@pytest.fixture(scope="module", params=["1", "0"], ids=["kernels", "no kernels"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("aligned") / "found.npz"
    environment = os.environ | {"ANYFUSE_NATIVE": request.param}
    line = [sys.executable, str(SCRIPT), str(out), "no-torch"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


def corners(matrices: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Where the corners of an image go, (N, 4, 2)."""
    height, width = pixels.shape[:2]
    points = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    moved = points @ matrices.transpose(0, 2, 1)
    return moved[..., :2] / moved[..., 2:]


@pytest.mark.parametrize("name", NAMES)
def test_transforms(name: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    one, other = (values[f"{name}, matrices"] for values in (found, expected))
    assert one.shape == other.shape
    pixels = expected[name]
    assert np.abs(corners(one, pixels) - corners(other, pixels)).max() < NEAR


@pytest.mark.parametrize("name", NAMES)
def test_pixels(name: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    one, other = found[name], expected[name]
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    apart = np.abs(one.astype(np.float64) - other) * 255 / np.iinfo(one.dtype).max
    assert (apart <= 1).mean() >= SHARE
    assert apart.max() <= MOST


def alike(one: Any, other: Any) -> None:
    """The same words, truths and counts; numbers differ by little, and by any where no answer was sure."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            if one.get("trusted", True) or not isinstance(one[key], float):
                alike(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            alike(*pair)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=0.02, abs=0.02)
    elif not (isinstance(one, str) and one[:1] in "-0123456789"):  # rows of a local displacement
        assert one == other


@pytest.mark.parametrize("name", NAMES)
def test_reports(name: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    alike(*(json.loads(str(values[f"{name}, report"])) for values in (found, expected)))


def kinds(values: dict[str, np.ndarray], name: str) -> list[str]:
    return [step["kind"] for step in json.loads(str(values[f"{name}, report"]))["aligned"]]


def test_known_motions_are_found(found: dict[str, np.ndarray]) -> None:
    name = "hand-held bracket"
    frame = next(images for case, images, _ in cases() if case == name)[0]
    for matrix, values in zip(found[f"{name}, matrices"], MOTIONS, strict=True):
        true = np.linalg.inv(motion(frame.shape, *values))  # the rim moves the middle along
        assert np.abs(corners(matrix[None], frame) - corners(true[None], frame)).max() < 0.5
    moved = found["shifted pair, matrices"][1] @ (300, 200, 1)
    assert np.abs(moved[:2] / moved[2] - (291, 206)).max() < 1.5


def test_what_is_said(found: dict[str, np.ndarray]) -> None:
    said = {name: json.loads(str(found[f"{name}, report"])) for name in NAMES}
    assert {ghost["source"] for ghost in said["moving thing"]["deghosted"]} == {"image 2"}
    assert [one["name"] for one in said["flickering focus stack"]["evened"]] == ["image 2", "image 3"]
    assert any("does not seem aligned" in note for note in said["strangers"]["warnings"])
    assert kinds(found, "aligned pair") == ["reference", "none"]
    assert kinds(found, "slices")[1] != "none"
    assert 2 < said["local"]["aligned"][1]["local"]["largest"] < 4


def test_an_aligned_pair_keeps_its_pixels(found: dict[str, np.ndarray]) -> None:
    images = next(images for name, images, _ in cases() if name == "aligned pair")
    plain = Fuser(engine="onnx").run(images, align="none", deghost="off").pixels
    assert np.abs(found["aligned pair"].astype(int) - plain).max() <= 1
