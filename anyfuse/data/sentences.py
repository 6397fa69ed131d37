"""Sentences as people type them, with what they mean: material for the network that reads (language/network.py).

    assets/sentences/whole.tsv    whole sentences: kind, text, tags of what is meant; ' | ' between readings as good
    assets/sentences/faults.tsv   words for a fault: fault, form, strength, text; {P} stands for a picture
        noun   what is to go        'that milky veil'
        state  what is wrong        '{P} looks as if it was taken through milk'
        do     what to do           'take the mist out of {P}'
        alone  either, without {P}  'focus was off'
        named  of one image alone   'brighten {P}'
    assets/sentences/frames.tsv   what stands around them: kind, label, text; {N} {M} nouns, {S} state, {D} what to do,
        {P} a picture, {C} things, {K} a colour, {A} {B} whole requests; and whole tones, tasks and what is out of scope

All was written by hand, by people who had not seen the reader.

    Sentences.of_package().draw(random.Random(0))
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

from ..control import Control
from ..errors import FusionError
from ..language.instruction import parse_instruction
from ..language.lexicon import DEGRADATION_WORDS, split
from .prompts import OTHER_THINGS, Prompt, together, typo
from .prompts import draw as draw_prompt

STRENGTH = {"-": 0.5, "slight": 0.25, "strong": 1.0}
NAMED = ("infrared", "visible", "first", "second")
SHARES = {
    "whole": 0.28,
    "repair": 0.22,
    "two": 0.1,
    "each": 0.06,
    "tone": 0.04,
    "segment": 0.08,
    "task": 0.03,
    "nothing": 0.03,
    "other": 0.08,
    "near": 0.08,
    "bank": 0.08,
}
"""How often a kind is drawn. each: a fault of each image; near: out of scope, in words of what is in scope; bank: of
data/prompts.py.
"""
NEAR = (
    "fault of a thing",
    "unknown thing",
    "unknown colour",
    "place",
    "removed thing",
    "contradiction",
    "wanted fault",
    "purpose",
)
"""Kinds of what is near."""
UNKNOWN_COLOURS = ("purple", "brown", "grey", "black", "gold", "beige", "silver", "violet", "olive", "any other colour")
PLACES = (
    "only in the upper half",
    "just on the left side",
    "but only in the sky",
    "around the car only",
    "in the bottom right corner",
    "only where the people are",
    "in the background alone",
    "at the edges only",
    "just for the face",
    "only inside the box",
    "of the road area and nowhere else",
    "in the centre of the frame only",
)


class Words(NamedTuple):
    """A way to say a fault."""

    strength: str
    text: str


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
        drawn = _Drawing(self, rng)
        text, control = drawn.request(kind)
        return Prompt(_typed(text, rng), control, kind)


ON = ("from", "on", "in", "around", "behind", "near", "over", "only on", "in front of")
ONE_IS = (
    "{X} isn't {J}, {Y} is",
    "{X} is not {J} but {Y} is",
    "{X} isn't {J}. {Y} is.",
    "{X} is fine, {Y} is {J}",
    "{Y} is {J}, {X} isn't",
    "{Y} is {J} and {X} is not",
    "only {Y} is {J}, {X} is not",
    "{D} and leave {X} as it is",
    "{D}, leave {X} alone",
    "{D} but don't touch {X}",
    "leave {X} as it is and {D}",
    "{X} may stay as it is; {D}",
    "{X}: nothing. {Y}: {J}.",
)
"""{Y} has a fault, and {X} has not; {J} an adjective, {D} what to do about {Y}."""


def bare(noun: str) -> str:
    """A noun without its article."""
    return re.sub(r"^(the|that|those|these|all the|all those|a|an|some) ", "", noun)


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


class _Drawing:
    """One sentence in the making."""

    def __init__(self, material: Sentences, rng: random.Random) -> None:
        self.material, self.rng = material, rng

    def frame(self, kind: str, label: str = "-") -> str:
        return self.rng.choice(self.material.frames[kind][label])

    def request(self, kind: str) -> tuple[str, Control | None]:
        rng = self.rng
        if kind in ("two", "each"):
            return self.two() if kind == "two" else self.each()
        if kind == "near":
            return self.told(self.near(), 0.1), None
        if kind == "other":
            named = rng.random() < 0.08
            text = self.frame("other", "named" if named else "-")
            text = text.replace("{P}", self.picture(rng.choice((*NAMED, "all"))))
            if rng.random() < 0.15:
                known = self.part()[0]
                text = self.frame("join").replace("{A}", known).replace("{B}", text)
            return self.told(text, 0.1), None
        if kind == "nothing":
            denied = rng.random() < 0.4
            text = self.frame("deny").replace("{N}", self.other_noun("")) if denied else self.frame("nothing")
            return self.told(text, 0.1), Control()
        if kind == "repair":
            text, control = self.repair()
            return self.told(self.denied(text, control) if rng.random() < 0.12 else text, 0.35), control
        text, control = self.wish(kind)
        return self.told(text, 0.15), control

    def told(self, text: str, share: float) -> str:
        """With a story or a purpose around it, at times."""
        rng = self.rng
        if rng.random() < share:
            story = self.frame("story")
            text = f"{story}{self.mark(story)} {text}" if rng.random() < 0.65 else f"{text}{self.mark(text)} {story}"
        if rng.random() < 0.2 * share:
            text = f"{text} {self.frame('purpose')}"
        return text

    def mark(self, text: str) -> str:
        return "" if text[-1:] in ".,;:!?" else self.rng.choice((".", ",", ".", "!", " -", ";", ":", "..."))

    def picture(self, source: str) -> str:
        return self.frame("source", source)

    def part(self) -> tuple[str, Control]:
        """A request of any kind that is in scope."""
        kind = self.rng.choices(("repair", "tone", "segment", "task"), (6, 2, 2, 1))[0]
        return self.repair() if kind == "repair" else self.wish(kind)

    def two(self) -> tuple[str, Control]:
        """Two requests, of now and then three, in one sentence."""
        joined = None
        while joined is None:
            parts = [self.part() for _ in range(2 if self.rng.random() < 0.85 else 3)]
            joined = together([control for _, control in parts])
        text = parts[0][0]
        for other, _ in parts[1:]:
            text = self.frame("join").replace("{A}", text.rstrip(" .!?")).replace("{B}", other)
        return self.told(text, 0.15), joined

    def each(self) -> tuple[str, Control]:
        """A fault of each image, of all and of one, or of one and not of the other."""
        rng = self.rng
        if rng.random() < 0.4:
            return self.one_is()
        sources = rng.choice((["first", "second"], ["infrared", "visible"], ["all", rng.choice(NAMED)]))
        rng.shuffle(sources)
        names = rng.sample(list(self.material.faults), 2)
        parts = [self.repair(name, source) for name, source in zip(names, sources, strict=True)]
        joined = together([control for _, control in parts])
        assert joined is not None
        (first, _), (second, _) = parts
        if rng.random() < 0.6:
            mark = rng.choice((" and ", ", ", "; ", ", and ", " while ", ". "))
            return f"{first.rstrip(' .!?')}{mark}{second}", joined
        return self.frame("join").replace("{A}", first.rstrip(" .!?")).replace("{B}", second), joined

    def one_is(self) -> tuple[str, Control]:
        """One image has a fault, and the other has not."""
        rng = self.rng
        pair = rng.choice((["first", "second"], ["infrared", "visible"]))
        rng.shuffle(pair)
        fault, (other, source) = rng.choice(list(self.material.faults)), pair
        strength, done = rng.choice(self.material.faults[fault]["do"])
        named = self.picture(source)
        text = rng.choice(ONE_IS).replace("{X}", self.picture(other)).replace("{Y}", named)
        if "{D}" not in text:
            strength = "-"
        adjective = rng.choice([w for w in split(DEGRADATION_WORDS[fault][1], "known") if " " not in w] or ["bad"])
        text = text.replace("{J}", adjective).replace("{D}", done.replace("{P}", named))
        return text, Control(None, {fault: {source: STRENGTH[strength]}})

    def near(self) -> str:
        """A request that no model fulfils, in the words of those that are fulfilled."""
        rng, frames = self.rng, self.material.frames
        kind = rng.choice(NEAR)
        if kind == "purpose":
            return self.frame("purpose")
        if kind == "wanted fault":
            return self.frame("other", "fault").replace("{N}", self.other_noun(""))
        thing = "the " + rng.choice(split(OTHER_THINGS, "known"))
        if kind == "unknown thing":
            colour = self.frame("colour", rng.choice(list(frames["colour"])))
            return self.frame(rng.choice(("mark", "markcolour"))).replace("{C}", thing).replace("{K}", colour)
        own = self.frame("class", rng.choice(list(frames["class"])))
        return self.near_thing(kind, own, thing)

    def near_thing(self, kind: str, own: str, thing: str) -> str:
        """The same of the other kinds; own: a class that can be marked, thing: one that cannot."""
        rng = self.rng
        if kind == "unknown colour":
            return self.frame("markcolour").replace("{C}", own).replace("{K}", rng.choice(UNKNOWN_COLOURS))
        if kind == "fault of a thing":
            text = self.noun("-", self.other_noun(""), "all", "it")[1]
            return f"{text.rstrip(' .!?')} {rng.choice(ON)} {rng.choice((own, own, thing))}"
        if kind == "removed thing":
            noun = rng.choice((own, own, thing))
            frame = self.frame("asknoun").replace("{N}", noun).replace("{n}", bare(noun))
            return frame.replace("{P}", self.picture("all"))
        if kind == "place":
            text = self.repair()[0] if rng.random() < 0.7 else self.wish("tone")[0]
            return f"{text.rstrip(' .!?')} {rng.choice(PLACES)}"
        up, down = rng.choice((("LIGHT+", "LIGHT-"), ("LIGHT++", "LIGHT--"), ("CONTRAST+", "CONTRAST-")))
        pair = [self.frame("tone", tone).replace("{P}", self.picture("all")) for tone in (up, down)]
        rng.shuffle(pair)
        return self.frame("join").replace("{A}", pair[0].rstrip(" .!?")).replace("{B}", pair[1])

    def repair(self, fault: str = "", source: str = "") -> tuple[str, Control]:
        """A request to repair; the fault and the source are drawn where they are not given."""
        rng = self.rng
        fault = fault or rng.choice(list(self.material.faults))
        source = source or (rng.choice(NAMED) if rng.random() < 0.45 else "all")
        form = rng.choices(("noun", "state", "do", "alone"), (3, 3, 2.5, 1.5))[0]
        if source != "all" and "named" in self.material.faults[fault] and rng.random() < 0.5:
            form = "named"
        strength, text = rng.choice(self.material.faults[fault][form])
        picture = self.picture(source)
        if form == "noun":
            if source == "all" and rng.random() < 0.18:
                return self.instead(fault, strength, text)
            strength, text = self.noun(strength, text, source, picture)
        elif form == "alone" and source != "all":
            text = rng.choice(
                (f"{picture}: {text}", f"{text} ({picture})", f"{text}, {picture}", f"{picture} - {text}")
            )
        else:
            text = text.replace("{P}", picture)
        if form == "state" and rng.random() < 0.5:
            text = self.frame("askstate").replace("{S}", text)
        if form in ("do", "named") and not text.startswith(picture) and rng.random() < 0.5:
            text = self.frame("askdo").replace("{D}", text)
        return text, Control(None, {fault: {source: STRENGTH[strength]}})

    def noun(self, strength: str, noun: str, source: str, picture: str) -> tuple[str, str]:
        """A request about a noun: the strength that is said, and the text."""
        rng = self.rng
        kind = "asknoun"
        if strength == "-" and rng.random() < 0.25:
            strength = rng.choice(("slight", "strong"))
            kind += strength
        frame = self.frame(kind)
        if source != "all" and "{P}" not in frame:
            frame = rng.choice((frame + " in {P}", "in {P}, " + frame, "{P}: " + frame, frame + " from {P}"))
            if frame.startswith("in ") or frame.endswith("{P}"):
                frame = frame.replace("?", "").replace("!", "")
        return strength, frame.replace("{N}", noun).replace("{n}", bare(noun)).replace("{P}", picture)

    def instead(self, fault: str, strength: str, noun: str) -> tuple[str, Control]:
        """'It is not {N} but {M}.'"""
        text = self.frame("contrast").replace("{M}", noun).replace("{N}", self.other_noun(fault))
        return text, Control(None, {fault: {"all": STRENGTH[strength]}})

    def other_noun(self, fault: str) -> str:
        other = self.rng.choice([f for f in self.material.faults if f != fault])
        return self.rng.choice([w.text for w in self.material.faults[other]["noun"] if w.strength == "-"])

    def denied(self, text: str, control: Control) -> str:
        """With another fault that is not there, or is to stay."""
        clause = self.frame("deny").replace("{N}", self.other_noun(next(iter(control.degradations))))
        if self.rng.random() < 0.5:
            return f"{clause}{self.rng.choice((', but ', '; ', '. ', ', '))}{text}"
        return f"{text}{self.rng.choice((', but ', '; ', '. ', ', '))}{clause}"

    def wish(self, kind: str) -> tuple[str, Control]:
        rng, frames = self.rng, self.material.frames
        if kind == "tone":
            tone = rng.choice(list(frames["tone"]))
            return self.frame("tone", tone).replace("{P}", self.picture("all")), Control(tone=(tone,))
        if kind == "task":
            task = rng.choice(list(frames["task"]))
            return self.frame("task", task), Control(task)
        names = rng.sample(list(frames["class"]), rng.choices((1, 2, 3, 4), (13, 5, 1, 1))[0])
        things = [self.frame("class", name) for name in names]
        colour = rng.choice(list(frames["colour"])) if rng.random() < 0.55 else None
        if colour is None:
            text = self.frame("mark").replace("{C}", rng.choice((" and ", ", ", " plus ")).join(things))
            return text, Control(segment=dict.fromkeys(names))
        frame, segment = self.frame("markcolour"), dict.fromkeys(names, colour)
        text = frame.replace("{C}", things[0]).replace("{K}", self.frame("colour", colour))
        if len(names) == 2 and rng.random() < 0.75:
            other = rng.choice(list(frames["colour"]))
            segment[names[1]] = other
            word = self.frame("colour", other)
            again = rng.choice((f"{things[1]} {word}", f"{things[1]} in {word}", self.frame("markcolour")))
            again = again.replace("{C}", things[1]).replace("{K}", word)
            text = f"{text.rstrip(' .!?')}{rng.choice((' and ', ', ', '; ', ', and '))}{again}"
        else:
            text = frame.replace("{C}", " and ".join(things)).replace("{K}", self.frame("colour", colour))
        return text, Control(segment=segment)


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
