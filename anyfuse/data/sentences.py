"""Sentences as people type them, with what they mean: material for the network that reads (language/network.py).

    assets/sentences/whole.tsv    whole sentences: kind, text, tags of what is meant; ' | ' between readings as good
    assets/sentences/faults.tsv   words for a fault: fault, form, strength, text; {P} stands for a picture
        noun   what is to go        'that milky veil'
        state  what is wrong        '{P} looks as if it was taken through milk'
        do     what to do           'take the mist out of {P}'
        alone  either, without {P}  'focus was off'
        named  of one image alone   'brighten {P}'
    assets/sentences/frames.tsv   what stands around them: kind, label, text; {N} {M} nouns, {S} state, {D} what to do,
        {P} a picture, {C} things, {K} a colour, {A} {B} whole requests, {p} {f} numbers, {is} {has} {was} of {N}; and
        whole tones, tasks and what is out of scope

All was written by hand, by people who had not seen the reader.

    Sentences.of_package().draw(random.Random(0))
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from ..control import Control
from ..errors import FusionError
from ..language.instruction import parse_instruction
from .drawing import Drawing, Words
from .prompts import Prompt, typo
from .prompts import draw as draw_prompt

SHARES = {
    "whole": 0.26,
    "repair": 0.19,
    "two": 0.08,
    "each": 0.08,
    "tone": 0.04,
    "segment": 0.07,
    "task": 0.03,
    "nothing": 0.05,
    "other": 0.08,
    "near": 0.08,
    "bank": 0.08,
    "corrected": 0.03,
    "number": 0.03,
}
"""How often a kind is drawn. each: a fault of each image; near: out of scope, in words of what is in scope; bank: of
data/prompts.py; corrected: of two requests the latter counts; number: a strength as a number.
"""


@dataclass(frozen=True)
class Sentences:
    """What is drawn from."""

    whole: tuple[tuple[str, tuple[Control | None, ...]], ...]  # text and its readings
    faults: dict[str, dict[str, list[Words]]]  # fault -> form -> ways to say it
    frames: dict[str, dict[str, list[str]]]  # kind -> label -> texts
    digest: str  # of the files

    @property
    def count(self) -> int:
        """Rows of faults and frames."""
        tables: list[Any] = [*self.faults.values(), *self.frames.values()]
        return sum(len(own) for table in tables for own in table.values())

    @staticmethod
    @lru_cache(maxsize=1)
    def of_package() -> Sentences:
        """What the package holds."""
        folder = files("anyfuse") / "assets" / "sentences"
        contents = {
            name: (folder / f"{name}.tsv").read_text(encoding="utf-8") for name in ("whole", "faults", "frames")
        }
        digest = sha256("".join(contents.values()).encode()).hexdigest()
        faults: dict[str, dict[str, list[Words]]] = {}
        for fault, form, strength, text in rows(contents["faults"], 4):
            faults.setdefault(fault, {}).setdefault(form, []).append(Words(strength, text))
        frames: dict[str, dict[str, list[str]]] = {}
        for kind, label, text in rows(contents["frames"], 3):
            frames.setdefault(kind, {}).setdefault(label, []).append(text)
        whole = tuple((text, tuple(meanings(want))) for _, text, want in rows(contents["whole"], 3))
        return Sentences(whole, faults, frames, digest)

    def draw(self, rng: random.Random, kind: str = "") -> Prompt:
        """A sentence and what it means; `kind`: of SHARES."""
        kind = kind or rng.choices(list(SHARES), list(SHARES.values()))[0]
        if kind == "bank":
            prompt = draw_prompt(rng, rng.choice(("", "", "", "mixed", "other")))
            return Prompt(_typed(prompt.text, rng), prompt.control, kind)
        if kind == "whole":
            text, readings = rng.choice(self.whole)
            return Prompt(_typed(text, rng), readings[0], kind)
        drawn = Drawing(self.faults, self.frames, rng)
        text, control = drawn.request(kind)
        return Prompt(_typed(text, rng), control, kind)


def rows(content: str, count: int) -> list[list[str]]:
    """The rows of a table with tabs; lines that begin with # are remarks. FusionError for one of other than `count`
    fields.
    """
    lines = [line.split("\t") for line in content.splitlines() if line.strip() and not line.startswith("#")]
    wrong = [line for line in lines if len(line) != count]
    if wrong:
        raise FusionError(f"{wrong[0]}: has {len(wrong[0])} fields, not {count}")
    return lines


def meanings(want: str) -> list[Control | None]:
    """The readings that are right: tags, 'refuse' (None) or NOTHING, with ' | ' between."""
    named: dict[str, Control | None] = {"refuse": None, "NOTHING": Control()}
    return [named[one] if one in named else parse_instruction(one) for one in want.split(" | ")]


def _typed(text: str, rng: random.Random) -> str:
    """As fingers do it: letter case, marks at the end, and slips."""
    if rng.random() < 0.35:
        text = text.lower()
    elif rng.random() < 0.5:
        text = text[:1].upper() + text[1:]
    elif rng.random() < 0.04:
        text = text.upper()
    text = (
        text.rstrip(" .,;") + rng.choice(("", "", ".", "", "!", " please", ", thanks", "."))
        if rng.random() < 0.5
        else text
    )
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 1, 2)) if len(text) > 12 else 0):
        text = typo(text, rng)
    return text
