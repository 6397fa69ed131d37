"""Parts of a sentence that lean on the parts before: 'extremely so', 'the infrared just slightly', 'clean it up a lot',
'mark them in red'.
"""

from __future__ import annotations

from ..control import DEFAULT_STRENGTH, STRENGTH_WORDS
from .segments import CONTENT, Request, Segment
from .tokens import words

INTENSE = (
    "heavily compressed",
    "pitch",
    "strongly compressed",
    "badly compressed",
    "completely",
    "torrential",
    "cats and",
)
"""Phrases that hold a word of strength of their own."""
PRONOUNS = words("it its it's them they they're their these those that this")
_THINGS = (*CONTENT, "fix", "brighter", "darker", "brightness", "contrast", "low", "high", "?", "region", "not", "free")


def has_pronoun(segment: Segment) -> bool:
    """Whether it speaks of something named before, as 'clean it' does."""
    return any(item.text in PRONOUNS for item in segment.items)


def strength_of(segment: Segment) -> float | None:
    """The largest strength that is named in a segment; None where none is."""
    return max((STRENGTH_WORDS[i.tag] for i in segment.items if i.tag in STRENGTH_WORDS), default=None)


def put(request: Request, name: str, source: str, strength: float) -> None:
    """Adds a degradation. What was said of it before is not said again: 'noise in the infrared, denoise it'."""
    where = request.degradations.setdefault(name, {})
    request.last.append((name, source or "all"))
    if not source and where:
        if strength != DEFAULT_STRENGTH:
            where.update(dict.fromkeys(where, strength))
        request.last[-1:] = [(name, one) for one in where]
        return
    if source and source != "all" and name in request.unplaced:
        before = where.pop("all", DEFAULT_STRENGTH)
        strength = before if strength == DEFAULT_STRENGTH else strength
        request.unplaced.discard(name)
    if not source:
        request.unplaced.add(name)
    key = source or "all"
    if strength != DEFAULT_STRENGTH or key not in where:
        where[key] = strength


def amend(segment: Segment, request: Request) -> bool:
    """A segment that names no thing of its own changes how strong, or in which image, the last things are."""
    still = segment.action in ("keep", "nothing", "absent", "fuse", "touch") or segment.verb in ("segment", "up")
    if still or segment.negated or segment.has(*_THINGS):
        return False
    strength, own = strength_of(segment), [i.name for i in segment.of("source")]
    if not request.last:
        light = request.tone.get("LIGHT", "")
        doubled = bool(light) and strength == 1 and not own and not segment.verb
        if doubled:
            request.tone["LIGHT"] = light[0] * 2
        return doubled
    if own and segment.verb != "remove":
        return _other_source(segment, request, strength, own)
    for name, source in request.last if strength is not None else ():
        if source in request.degradations.get(name, {}):
            request.degradations[name][source] = strength or DEFAULT_STRENGTH
    return strength is not None


def _other_source(segment: Segment, request: Request, strength: float | None, own: list[str]) -> bool:
    """'The infrared just slightly', 'the second one too'."""
    too = segment.link in ("also", "as well", "as well as") or any(
        i.text in ("also", "as well", "too", "likewise", "same") for i in segment.items
    )
    if (strength is None and not too) or len(own) != 1:
        return False
    for name, source in list(request.last):
        value = request.degradations[name].get(source, DEFAULT_STRENGTH)
        request.degradations[name][own[0]] = value if strength is None else strength
    return True


def paint_last(segment: Segment, request: Request) -> bool:
    """'Mark them in orange': the classes named last, in this colour."""
    if segment.action != "segment" or not has_pronoun(segment) or segment.has("deg", "aspect", "?", "class"):
        return False
    if not request.segment:
        return False
    if segment.colour:
        name = list(request.segment)[-1]
        for other, colour in request.segment.items():
            if colour is None or other == name:
                request.segment[other] = segment.colour
    return True


def without_lone_scans(segments: list[Segment]) -> None:
    """A scan is any picture unless scans are to be fused, or another word says that they are medical."""
    items = [item for segment in segments for item in segment.items]
    medical = any(i.tag == "task:mif" and i.text not in ("scan", "scans") for i in items)
    if medical or any(i.kind == "fuse" for i in items):
        return
    for segment in segments:
        segment.items = [type(i)("o", i.text) if i.tag == "task:mif" else i for i in segment.items]
