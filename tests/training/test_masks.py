"""Training of DiTFuse's head for segmentation by pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anyfuse.control import CLASSES
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.registry import load_model
from anyfuse.training.parts.masks import MasksPlan, class_weights, draw, read_streets, train_masks

PLAN = MasksPlan(steps=2, batch=2, base=4, height=32, width=48, warmup=1, boxed=0.0)


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """Ten frames: sky above a road, and a pedestrian of six pixels."""
    rng = np.random.default_rng(0)
    for k in range(10):
        labels = np.where(np.arange(60)[:, None] < 30, 0, 3) * np.ones((1, 80), int)
        labels[40:46, 10 + k] = 9
        labels[58:] = 11
        image = (60 + 10 * labels[..., None] + rng.integers(0, 20, (60, 80, 3))).clip(0, 255)
        write_image(tmp_path / "camvid/images" / f"{k}.png", image.astype(np.uint8))
        write_image(tmp_path / "camvid/labels" / f"{k}.png", labels.astype(np.uint8))
    return tmp_path


def test_crops(streets: Path) -> None:
    """Pairs and doubles come about as often as asked for, and rare classes are in half of the crops."""
    frames, held, _ = read_streets(streets)
    assert (len(frames), len(held)) == (9, 1)
    assert class_weights(frames)[9] == 5.0
    assert class_weights(frames)[8] == 1.0 > class_weights(frames)[0]
    found = {}
    for rare in (0.0, 1.0):
        gen, plan = torch.Generator().manual_seed(1), replace(PLAN, smallest=2.0, rare=rare)
        drawn = [draw(frames, plan, gen) for _ in range(150)]
        assert all(x.shape == (2, 32, 48) and 0 <= float(x.min()) <= float(x.max()) <= 1 for x, _ in drawn)
        assert 10 <= sum(torch.equal(x[0], x[1]) for x, _ in drawn) <= 50
        found[rare] = sum(bool((classes == 9).any()) for _, classes in drawn)
    assert found[1.0] > 2 * found[0.0]
    assert {int(k) for _, classes in drawn for k in classes.unique()} == {0, 3, 9, 11}


def test_the_rest_of_the_model_stays(streets: Path, tmp_path: Path) -> None:
    out = train_masks(PLAN, streets, tmp_path / "run", log=lambda line: None)
    given, made = load_model("ditfuse-tiny-fast"), load_model(str(out))
    assert isinstance(given, DiTFuse)
    assert isinstance(made, DiTFuse)
    assert made.config == replace(given.config, mask_pixels=4)
    x = torch.rand(1, 2, 1, 48, 64)
    with torch.inference_mode():
        assert (made(x) - given(x)).abs().max() < 1e-6
        assert list(made.masks(x, ["car"])) == ["car"]
    card = (out / "README.md").read_text()
    assert all(f"| {name} | 0." in card for name in CLASSES)
    assert "The rest of the model, from the card of ditfuse-tiny-fast" in card


def test_one_line_errors(streets: Path, tmp_path: Path) -> None:
    for plan, data, words in (
        (replace(PLAN, boxed=0.5), streets, "the pairs with boxes are not there; --set boxed=0 does without them"),
        (replace(PLAN, start="anyfuse"), streets, "give a DiTFuse, as ditfuse-tiny-fast, not Anyfuse"),
        (replace(PLAN, width=16), streets, "sides of 32 or more"),
        (PLAN, tmp_path / "nowhere", "the street images of 'ditfuse-masks' are not there"),
    ):
        with pytest.raises(FusionError, match=words):
            train_masks(plan, data, tmp_path / "run", log=lambda line: None)
