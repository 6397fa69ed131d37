"""Sentences as people write them: what is not wrong, degrees, which image, two wishes, and questions back."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from anyfuse.control import Control
from anyfuse.errors import FusionError
from anyfuse.language import nearest
from anyfuse.language.instruction import parse_instruction

OUTSIDE = Path(__file__).with_name("outside.tsv")


@pytest.mark.parametrize(
    ("say", "want"),
    [
        ("it is not hazy, only noisy", "[RESTORE] noise"),
        ("not hazy at all, only noisy", "[RESTORE] noise"),
        ("There is no noise, but the picture is blurred.", "[RESTORE] blur"),
        ("it is neither hazy nor rainy, just noisy", "[RESTORE] noise"),
        ("no haze here; the trouble is blur", "[RESTORE] blur"),
        ("It isn't blurry, it's just too dark", "[RESTORE] low_exposure"),
        ("make the fused image much brighter", "[CONTROL] <LIGHT++>"),
        ("make it a good deal brighter", "[CONTROL] <LIGHT++>"),
        ("brighten it up a lot", "[CONTROL] <LIGHT++>"),
        ("don't make it darker, make it brighter", "[CONTROL] <LIGHT+>"),
        ("turn up the contrast in the infrared", "[RESTORE] low_contrast infrared"),
        ("turn up the contrast", "[CONTROL] <CONTRAST+>"),
        ("increase the contrast of the fused image", "[CONTROL] <CONTRAST+>"),
        ("the infrared lacks contrast", "[RESTORE] low_contrast infrared"),
        ("remove the haze and make it brighter", "[RESTORE] haze [CONTROL] <LIGHT+>"),
        ("denoise the thermal one, then more contrast", "[RESTORE] noise infrared [CONTROL] <CONTRAST+>"),
        ("lift the shadows", "[RESTORE] low_exposure"),
        ("make it crisp", "[RESTORE] blur"),
        ("smooth it", "[RESTORE] noise"),
        ("despeckle", "[RESTORE] noise"),
        ("wipe away the raindrops", "[RESTORE] rain"),
        ("it was pouring", "[RESTORE] rain"),
        ("clean up the JPEG mess", "[RESTORE] jpeg"),
        ("clean up the compression artefacts", "[RESTORE] jpeg"),
        ("clean up the compression artifacts", "[RESTORE] jpeg"),
        ("upscale", "[RESTORE] downsample"),
        ("a noise-free picture, please", "[RESTORE] noise"),
        ("could you possibly get the fog out of there?", "[RESTORE] haze"),
        ("the first picture has a low resolution, improve it", "[RESTORE] downsample first"),
        ("people in red", "[SEG] pedestrian in red"),
        ("brighter, and people in red, cars in blue", "[CONTROL] <LIGHT+> [SEG] pedestrian in red, car in blue"),
        ("segment the cars but not the people", "[SEG] car"),
        ("make it brighter so I can see the people at night", "[CONTROL] <LIGHT+>"),
        ("nothing needs fixing", "[FUSION]"),
        ("leave everything as it is", "[FUSION]"),
        ("it is not hazy", "[FUSION]"),
    ],
)
def test_meaning(say: str, want: str) -> None:
    assert parse_instruction(say) == parse_instruction(want)


@pytest.mark.parametrize(
    "say",
    [
        "so I can see the people at night",
        "make the sky purple",
        "enhance the rain",
        "lower the contrast of the infrared",
        "add more snow",
    ],
)
def test_is_asked_back(say: str) -> None:
    with pytest.raises(FusionError, match="not understood"):
        parse_instruction(say)


def test_sentences_written_apart_are_read() -> None:
    """The half for development; the other half is measured by experiments/language.py."""
    rows = [line.split("\t") for line in OUTSIDE.read_text().splitlines() if not line.startswith("#")]
    assert len(rows) == 300
    wrong = []
    for kind, text, want in rows[::2]:
        try:
            got = str(parse_instruction(text))
        except FusionError:
            got = "refuse"
        if got not in [one if one == "refuse" else str(parse_instruction(one)) for one in want.split(" | ")]:
            wrong.append((kind, text, got))
    assert len(wrong) <= 2, wrong


# ---------------------------------------------------------------------- what the grammar cannot read


class Stub:
    """Vectors of words: texts with the same named thing are near each other."""

    near = ("drip", "raindrops"), ("gauze", "haze"), ("snowman", "snow")

    def encode(self, texts: list[str]) -> torch.Tensor:
        rows = []
        for text in texts:
            row = torch.full((4,), 0.05)
            for k, names in enumerate(self.near):
                row[k] += any(name in text for name in names)
            rows.append(row / row.norm())
        return torch.stack(rows)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    nearest._bank.cache_clear()
    monkeypatch.setattr(nearest, "installed", lambda: "stub")
    monkeypatch.setattr("anyfuse.language.encoder.load_encoder", lambda name: Stub())


@pytest.mark.usefixtures("stub")
def test_the_nearest_meaning_is_taken_where_it_is_sure() -> None:
    assert parse_instruction("there are drip marks on the visible picture") == Control(
        degradations={"rain": {"visible": 0.5}}
    )
    assert parse_instruction("very bad drip marks") == Control(degradations={"rain": 1.0})
    nearest._bank.cache_clear()


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("say", ["add a drip", "drip and gauze please", "a drip that is not there"])
def test_a_question_otherwise(say: str) -> None:
    with pytest.raises(FusionError) as caught:
        parse_instruction(say)
    assert "did you mean" in str(caught.value)
    nearest._bank.cache_clear()


def test_without_an_encoder_words_in_common_make_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "installed", lambda: None)
    with pytest.raises(FusionError, match=r"did you mean 'remove the snow'\?.*Ask for a repair") as caught:
        parse_instruction("add more snow")
    assert "\n" not in str(caught.value)
    with pytest.raises(FusionError) as caught:
        parse_instruction("sing a song about trains")
    assert "did you mean" not in str(caught.value)


def test_known_sentences_mean_what_they_are_said_to() -> None:
    for one in nearest.known_sentences():
        if one.tags:
            assert parse_instruction(one.text) == parse_instruction(one.tags), one
        else:
            with pytest.raises(FusionError):
                parse_instruction(one.text)


def test_the_encoder_is_there_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nearest.installed() in (None, "minilm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert nearest.installed() is None
