"""Which model an instruction is for, and one that asks for two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import anyfuse
from anyfuse import Fuser, FusionError
from anyfuse.control import Control
from anyfuse.jobs.folders import Choices
from anyfuse.language.instruction import parse_instruction
from anyfuse.models.choice import appearance, asks_for_both, model_for, restoration


def scenes() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    ramp = np.linspace(30, 180, 64)[None] + np.zeros((48, 1))
    return [np.clip(ramp + rng.normal(0, 12, (48, 64)) + add, 0, 255).astype(np.uint8) for add in (0, 30)]


@pytest.mark.parametrize(
    ("say", "model"),
    [
        ("fuse them", "anyfuse"),
        ("remove the haze", "mmaif"),
        ("make it brighter", "ditfuse"),
        ("people in red", "ditfuse"),
        ("remove the haze and make it brighter", "mmaif"),
        ("", "anyfuse"),
    ],
)
def test_the_model_that_can(say: str, model: str) -> None:
    assert model_for(parse_instruction(say)) == model


def test_a_request_for_two_is_split() -> None:
    control = parse_instruction("remove the haze, keep the edges, make it brighter and show the cars in blue")
    assert asks_for_both(control)
    assert restoration(control) == Control(degradations={"haze": 0.5}, keep=("edges",))
    assert appearance(control) == Control(tone=("LIGHT+",), segment={"car": "blue"})
    assert not asks_for_both(restoration(control))
    assert not asks_for_both(appearance(control))


def test_choices_load_the_model_that_can() -> None:
    assert Choices(say="remove the noise").load().name == "mmaif-tiny"
    assert Choices().load().name == "anyfuse"
    assert Choices(model="average", say=None).load().name == "average"


def test_restored_first_then_changed() -> None:
    images = scenes()
    say = "remove the noise and make it much brighter"
    both = Fuser("mmaif").run(images, say=say, align="none")
    assert both.report["model"] == "mmaif-tiny, ditfuse-tiny-fast"
    assert both.report["understood"] == "[RESTORE] noise [CONTROL] <LIGHT++>"
    assert "restored" in both.report
    restored = Fuser("mmaif").run(images, say="remove the noise", align="none")
    assert both.pixels.shape == restored.pixels.shape
    assert both.pixels.mean() > restored.pixels.mean() + 8
    assert np.array_equal(anyfuse.fuse(images, say=say, align="none"), both.pixels[..., 0])
    other = Fuser("ditfuse").run(images, say=say, align="none")
    assert other.report["model"] == "mmaif-tiny, ditfuse-tiny-fast"
    assert np.array_equal(other.pixels, both.pixels)


def test_classes_are_painted_after_restoration(tmp_path: Path) -> None:
    result = Fuser("mmaif").run(scenes(), say="remove the noise and paint the sky in red", align="none")
    assert list(result.masks) == ["sky"]
    assert result.pixels.shape[2] == 3
    result.save(tmp_path / "out.png")


def test_a_refused_request_names_the_model() -> None:
    with pytest.raises(FusionError, match=r"use (--)?model ditfuse"):
        Fuser("mmaif").run(scenes(), say="make it brighter")
    with pytest.raises(FusionError, match=r"use (--)?model mmaif"):
        Fuser("ditfuse").run(scenes(), say="remove the noise")
    with pytest.raises(FusionError, match=r"mmaif restores.*ditfuse"):
        Fuser("anyfuse").run(scenes(), say="remove the noise and make it brighter")
