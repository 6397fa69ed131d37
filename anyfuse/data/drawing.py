"""One sentence in the making: words for faults in frames, of the material of sentences.py."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from ..control import Control
from ..language.lexicon import DEGRADATION_WORDS, split
from .prompts import OTHER_THINGS, together

STRENGTH = {"-": 0.5, "slight": 0.25, "strong": 1.0}
NAMED = ("infrared", "visible", "first", "second")
NEAR = (
    "fault of a thing",
    "unknown thing",
    "unknown colour",
    "place",
    "removed thing",
    "contradiction",
    "wanted fault",
    "purpose",
    "question",
    "question",
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


class Words(NamedTuple):
    """A way to say a fault."""

    strength: str
    text: str


class Drawing:
    """One sentence in the making."""

    def __init__(
        self, faults: dict[str, dict[str, list[Words]]], frames: dict[str, dict[str, list[str]]], rng: random.Random
    ) -> None:
        self.faults, self.frames, self.rng = faults, frames, rng

    def frame(self, kind: str, label: str = "-") -> str:
        return self.rng.choice(self.frames[kind][label])

    def request(self, kind: str) -> tuple[str, Control | None]:
        rng = self.rng
        ways = {"two": self.two, "each": self.each, "corrected": self.corrected, "number": self.number}
        if kind in ways:
            return ways[kind]()
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
            text = self.frame("nothing") if rng.random() < 0.4 else self.absent("")
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
        if rng.random() < 0.5:
            return self.one_is()
        sources = rng.choice((["first", "second"], ["infrared", "visible"], ["all", rng.choice(NAMED)]))
        rng.shuffle(sources)
        names = rng.sample(list(self.faults), 2)
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
        fault, (other, source) = rng.choice(list(self.faults)), pair
        strength, done = rng.choice(self.faults[fault]["do"])
        named = self.picture(source)
        adjectives = [w for w in split(DEGRADATION_WORDS[fault][1], "known") if " " not in w]
        frame = rng.choice([frame for frame in ONE_IS if adjectives or "{J}" not in frame])
        text = frame.replace("{X}", self.picture(other)).replace("{Y}", named)
        if "{D}" not in text:
            strength = "-"
        text = text.replace("{J}", rng.choice(adjectives or [""])).replace("{D}", done.replace("{P}", named))
        return text, Control(None, {fault: {source: STRENGTH[strength]}})

    def near(self) -> str:
        """A request that no model fulfils, in the words of those that are fulfilled."""
        rng, frames = self.rng, self.frames
        kind = rng.choice(NEAR)
        if kind == "purpose":
            return self.frame("purpose")
        if kind == "question":
            return self.of_noun(self.frame("question"), self.other_noun(""))
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
        fault = fault or rng.choice(list(self.faults))
        source = source or (rng.choice(NAMED) if rng.random() < 0.45 else "all")
        form = rng.choices(("noun", "state", "do", "alone"), (3, 3, 2.5, 1.5))[0]
        if source != "all" and "named" in self.faults[fault] and rng.random() < 0.5:
            form = "named"
        strength, text = rng.choice(self.faults[fault][form])
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
        other = self.rng.choice([f for f in self.faults if f != fault])
        return self.rng.choice([w.text for w in self.faults[other]["noun"] if w.strength == "-"])

    def denied(self, text: str, control: Control) -> str:
        """With another fault that is not there, or is to stay."""
        clause = self.absent(next(iter(control.degradations)))
        if self.rng.random() < 0.5:
            return f"{clause}{self.rng.choice((', but ', '; ', '. ', ', '))}{text}"
        return f"{text}{self.rng.choice((', but ', '; ', '. ', ', '))}{clause}"

    def absent(self, fault: str) -> str:
        """That some other fault is not there, is to stay, or is over."""
        frame = self.frame("deny" if self.rng.random() < 0.5 else "over")
        return self.of_noun(frame, self.other_noun(fault))

    def of_noun(self, frame: str, noun: str) -> str:
        """A frame with a noun, and verbs of its number."""
        one = not noun.rstrip(" .,").endswith("s")
        for verb, more in (("is", "are"), ("has", "have"), ("was", "were")):
            frame = frame.replace(f"{{{verb}}}", verb if one else more)
        return (
            frame.replace("{N}", noun).replace("{n}", bare(noun)).replace("{P}", self.picture(self.rng.choice(NAMED)))
        )

    def order(self) -> tuple[str, Control]:
        """A short order: a repair without a strength, a tone or a colour."""
        rng = self.rng
        if rng.random() < 0.35:
            return self.wish(rng.choice(("tone", "segment")))
        fault = rng.choice(list(self.faults))
        source = rng.choice(NAMED) if rng.random() < 0.3 else "all"
        text = rng.choice([w.text for w in self.faults[fault]["do"] if w.strength == "-"])
        return text.replace("{P}", self.picture(source)), Control(None, {fault: {source: STRENGTH["-"]}})

    def corrected(self) -> tuple[str, Control]:
        """Of two orders the one that counts, and both."""
        (wrong, _), (right, control) = self.order(), self.order()
        frame = self.frame("corrected")
        return frame.replace("{A}", wrong.rstrip(" .!?")).replace("{B}", right), control

    def number(self) -> tuple[str, Control]:
        """A repair with a strength in numbers."""
        rng, fault = self.rng, self.rng.choice(list(self.faults))
        label = rng.choice(("percent", "percent", "share", "slight", "-", "strong"))
        known = label in STRENGTH
        strength = label if known else rng.choice(list(STRENGTH))
        low, high = {"slight": (5, 35), "-": (40, 65), "strong": (75, 100)}[strength]
        percent = rng.choice([p for p in range(low, high + 1) if p % 5 == 0 or rng.random() < 0.2])
        source = rng.choice(NAMED) if rng.random() < 0.25 else "all"
        forms = self.faults[fault]
        text = rng.choice([w.text for w in forms["do"] if w.strength == "-"]).replace("{P}", self.picture(source))
        if source == "all" and rng.random() < 0.4:
            noun = rng.choice([w.text for w in forms["noun"] if w.strength == "-"])
            text = rng.choice(("remove ", "reduce ", "take out ", "less ", "")) + rng.choice((noun, bare(noun)))
        frame = self.frame("number", label).replace("{p}", str(percent)).replace("{f}", f"{percent / 100:g}")
        return frame.replace("{A}", text.rstrip(" .!?")), Control(None, {fault: {source: STRENGTH[strength]}})

    def wish(self, kind: str) -> tuple[str, Control]:
        rng, frames = self.rng, self.frames
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
