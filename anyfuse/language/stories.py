"""Clauses that tell a story and ask for nothing: 'I fly at dusk', 'the tripod got bumped', 'taken from a train'.

They may have any words. Kept is what they say of an image ("in the first one I moved too fast" is about the first). A
clause is no story if it asks, wishes, orders or says what is wrong in the present, since its words may then be what a
user wants: "the horizon is crooked" is not left out.
"""

from __future__ import annotations

import re

from .segments import VERBS, Item
from .tokens import words

_PAST = words(
    """was were had did took shot went came got flew drove ran fell stood sat left found saw met made lost put kept
    began burnt bent blew broke brought bought caught drew felt fought froze gave grew held hit hung knew led let
    lit meant paid read rode said sent shook shone slept slid spent swung taught told thought threw woke wore won
    wrote didn't couldn't wasn't weren't hadn't forgot became set rose sold stuck swept"""
)
_COULD_NOT = words("couldn't can't cannot didn't wasn't")
_THIRD = words("""sits stands hangs moves flies looks works runs records films points watches faces rests drives""")
_NOT_PAST = words("red need feed speed bed seed indeed embed shed bleed breed instead infrared")
_FIRST = words("i we he she they my our it there")
_WISHES = words(
    """want wants need needs wish wishes would like i'd we'd should must shall let let's lets please can could may give
    make making turn have has get require requires prefer rather ought love hope expect 'd please"""
)
_SEEN = words("see notice find spot is are looks seems look have has")
_TAKEN = re.compile(
    r"(?:(?:photo|picture|image|photos|pictures|images|shot|shots|it|frame|frames|this|these|both|all) )?"
    r"(?:was |were )?"
    r"(?:taken|shot|filmed|recorded|captured|photographed|snapped|acquired)\b"
)
_FAULTS = words(
    """scratch scratches scratched crooked tilted slanted dirty dust dusty stain stains text writing tint cast
    distorted stretched cropped cut person face faces skin colours colors colour color background foreground horizon
    sky reflection reflections shadow shadows finger thumb bird sticker mark marks line lines spot spots ghost
    ghosting halo flare"""
)
_MARKS = ("deg", "fix", "task", "colour", "contrast", "aspect", "region", "low", "high", "brighter", "darker")


def without_stories(items: list[Item]) -> list[Item]:
    """The items without those of clauses that only tell a story; as they were if nothing else is said."""
    kept: list[Item] = []
    asked = False
    link = ""
    for clause, mark in _clauses(items):
        asks = mark is not None and mark.text == "?" and not _says(clause)
        told = not asks and _is_story(clause, link)
        link = mark.text if mark is not None else ""
        if told:
            sources = {i.name for i in clause if i.kind == "source"}
            kept += [i for i in clause if i.kind == "source"][:1] if len(sources) == 1 else []
        else:
            kept += clause
            asked |= _says(clause)
        if mark is not None:
            kept.append(mark)
    return kept if asked else items


def _clauses(items: list[Item]) -> list[tuple[list[Item], Item | None]]:
    """Runs of items between marks and conjunctions, each with what ends it."""
    found: list[tuple[list[Item], Item | None]] = []
    now: list[Item] = []
    for item in items:
        if item.tag in ("and", "but"):
            found.append((now, item))
            now = []
        else:
            now.append(item)
    return [*found, (now, None)]


def _says(clause: list[Item]) -> bool:
    """Whether there is something to act on."""
    return any(i.kind in (*_MARKS, "class", *VERBS[:8]) or i.tag in ("quality:dark", "quality:bright") for i in clause)


def _is_story(clause: list[Item], link: str) -> bool:
    """Whether a clause only tells something; `link`: the conjunction before it."""
    if not any(i.tag == "?" or i.kind in (*VERBS, "make") for i in clause) or any(i.kind in _MARKS for i in clause):
        return False
    said = [word for item in clause for word in item.text.split()]
    if not said or _FAULTS & {word for item in clause if item.kind != "source" for word in item.text.split()}:
        return False
    if _TAKEN.match(" ".join(said)) or said[0] in _COULD_NOT or (link == "while" and said[0].endswith("ing")):
        return True
    while said and said[0] in ("and", "now", "well", "because", "since", "as", "when", "so", "that", "also", "today"):
        said = said[1:]
    if not said or said[0] in _WISHES or (_WISHES - {"have", "has", "like", "make", "turn"}) & set(said):
        return False
    if clause[0].kind in (*VERBS, "fix", "make", "not") or "you" in said[:2]:
        return False
    return _tells(clause, said)


def _tells(clause: list[Item], said: list[str]) -> bool:
    """In the past, of oneself, or with a verb of a place: 'the camera hangs on a mast'."""
    past = any(w in _PAST or (w.endswith("ed") and w not in _NOT_PAST and len(w) > 4) for w in said[1:])
    if past:
        return not any(i.kind == "keep" for i in clause)
    own = said[0] in ("i", "we", "i'm", "we're", "i've", "i'll")
    named = any(i.kind == "quality" for i in clause)
    seen = set(said[2:] if said[1:2] == ["are"] else said)
    return (own and not named and not (_SEEN & seen)) or bool(_THIRD & set(said[1:]))
