"""Tagged words -> segments: parts of a sentence with one verb at most, with what they do and of which image.

A sentence falls into segments at commas, conjunctions, full stops and further verbs. A segment without a verb of its
own goes on with the last one ("remove the haze and the noise"); together they are a list. A source or colour at the end
of a list holds for its members that have none ("the rain and the haze in the first image"), and so does the subject of
a statement ("the visible image is dark and noisy").
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..control import CLASSES, DEGRADATIONS
from ..errors import FusionError

VERBS = ("remove", "keep", "segment", "fuse", "up", "down", "brighter", "darker", "touch")
STATED = ("up", "brighter", "darker", "segment")
"""Actions that a degradation beside them has nothing to do with: it is a statement of its own."""
WISHED = ("make", "turn", "render", "give", "making", "want", "wants")
LIT = ("quality:dark", "quality:bright")
DISLIKED = ("want", "wants", "like", "need", "needs")
CONTENT = ("deg", "class", "aspect", "quality", "task", "colour")


@dataclass(frozen=True)
class Item:
    """A phrase of the sentence and its tag."""

    tag: str
    text: str

    @property
    def kind(self) -> str:
        """The tag before its colon: deg, class, quality, ..."""
        return self.tag.partition(":")[0]

    @property
    def name(self) -> str:
        """The tag after its colon; '' where it has none."""
        return self.tag.partition(":")[2]


@dataclass
class Request:
    """A request; the fields of a Control."""

    task: str | None = None
    degradations: dict[str, dict[str, float]] = field(default_factory=dict)
    tone: dict[str, str] = field(default_factory=dict)
    segment: dict[str, str | None] = field(default_factory=dict)
    keep: list[str] = field(default_factory=list)
    last: list[tuple[str, str]] = field(default_factory=list)  # degradations named last, with their sources
    unplaced: set[str] = field(default_factory=set)  # degradations named without an image
    pair: bool = False  # infrared and visible are named side by side


@dataclass
class Segment:
    """A part of a sentence with one verb at most."""

    items: list[Item] = field(default_factory=list)
    link: str = ""  # the conjunction before it
    hard: bool = False  # it begins a statement, so it takes over no action
    verb: str = ""  # one of VERBS or 'fix'; '': none
    negated: bool = False
    action: str = ""  # what it does, see `find_actions`
    first_of_list: bool = True  # False: it goes on with the action of the segment before
    source: str = ""  # that it speaks of; '': all
    trailing: bool = False  # the source stands behind the things
    colour: str | None = None  # of the classes to segment
    pair: bool = False  # infrared and visible stand side by side, and nothing is said of them

    def of(self, *kinds: str) -> list[Item]:
        """The items of these kinds, in their order."""
        return [item for item in self.items if item.kind in kinds]

    def has(self, *kinds: str) -> bool:
        """Whether there is an item of one of these kinds."""
        return bool(self.of(*kinds))

    @property
    def words(self) -> str:
        """The text, without what separates segments."""
        return " ".join(item.text for item in self.items)


class NotUnderstoodError(FusionError):
    """A request that has no meaning here."""


class RegionError(FusionError):
    """A part of the image seems to be meant."""


def cannot(what: str) -> NotUnderstoodError:
    """The error for a request that no model fulfils."""
    short = what if len(what) <= 100 else f"{what[:97]}..."
    return NotUnderstoodError(
        f"'{short}' is not understood: ask for a repair ({', '.join(DEGRADATIONS)}), 'keep ...', brighter or darker, "
        "more or less contrast, "
        f"to highlight a class ({', '.join(CLASSES)}), or for fusion of infrared, exposures, focus planes or medical "
        "images"
    )


def segments_of(items: list[Item]) -> list[Segment]:
    """Cuts at marks and conjunctions, and before a second verb; finds each one's verb and whether it is negated."""
    segments = [Segment(hard=True)]
    for place, given in enumerate(items):
        now, item = segments[-1], given
        pair = len(segments) > 1 and segments[-2].has("source") and not segments[-2].has("deg", "fix", *VERBS)
        if item.text == ":" and now.items and now.items[-1].kind in ("source", "o") and now.has("source") and not pair:
            item = Item("be", ":")  # 'visible: hazy'
        if item.text == ":" and now.verb and len(now.items) == 1:  # 'segment: sky, road'
            continue
        if item.tag in ("and", "but"):
            hard = item.tag == "but" and item.text not in ("but", "except", "just")
            if now.items:
                segments.append(Segment(hard=hard, link=item.text))
            else:
                now.hard |= hard
            continue
        verb = item.kind if item.kind in (*VERBS, "fix") else ""
        if item.text == "see" and now.has("deg"):  # 'the noise that you see'
            verb = ""
        if verb == "keep" and now.items and now.items[-1].text in ("that", "which"):  # 'dots that stay'
            verb, item = "", Item("o", item.text)
        ahead = next((i.kind for i in items[place + 1 :] if i.kind not in ("o", "make")), "")
        if item.tag == "free":
            verb = "" if ahead in (*VERBS, "fix") else "remove"
        negation = item.tag == "not" or (item.tag == "free" and not verb)
        idle = verb in ("up", "down") and now.verb in ("remove", "keep", "up", "down") and not now.has(*CONTENT)
        again = verb == now.verb and (verb in ("keep", "segment") or not now.has(*CONTENT, "brightness", "contrast"))
        if now.verb and ((verb and not idle and not again) or negation):
            now = Segment()
            segments.append(now)
        if negation:
            now.negated = True
        elif verb and not now.verb:
            now.verb = verb
        now.items.append(item)
    return [s for s in segments if s.items]


def find_actions(segments: list[Segment]) -> None:
    """What each segment does: remove, keep, segment, fuse, up, down, brighter, darker, state, absent or nothing."""
    last = "state"
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        verb = "remove" if segment.verb == "fix" else segment.verb
        if segment.negated:
            segment.action = _denied(segment, verb, last)
        elif _there_is_none(segment, last):
            segment.action = "absent"
        elif verb:
            segment.action = verb
        elif last != "segment" and (_painted(segment) or _painted_next(segment, following)):
            segment.action = "segment"
        elif (
            segment.hard
            or segment.has("be", "too", "make")
            or last in ("state", "absent")
            or (last in STATED and segment.has("deg"))
        ):
            segment.action = "state"
        else:
            segment.action, segment.first_of_list = last, False
        if segment.action == "state" and not (segment.hard or segment.has("be", "make")) and not segment.negated:
            segment.first_of_list = segment is segments[0]
        last = segment.action


NEGATED_BE = ("isn't", "aren't", "wasn't", "weren't", "neither", "by no means", "in no way")


def _denied(segment: Segment, verb: str, last: str) -> str:
    """The action of a negated segment."""
    if verb == "fuse":
        raise cannot(segment.words)
    if _absent(segment, last):
        return "absent"
    if not verb and last == "segment" and segment.has("class"):  # 'segment the cars but not the people'
        return "nothing"
    disliked = not verb and any(i.text in DISLIKED for i in segment.items)  # 'I don't want any noise'
    return "remove" if disliked else {"keep": "remove", "segment": "nothing"}.get(verb, "keep")


def _absent(segment: Segment, last: str) -> bool:
    """'It is not hazy', 'not hazy at all, only noisy': what is not wrong, and no request."""
    lit = any(i.tag == "quality:dark" for i in segment.items)
    if segment.verb or not (segment.has("deg") or lit) or any(i.text in DISLIKED for i in segment.items):
        return False
    stated = is_statement(segment)
    adjective = last in ("state", "absent") and segment.items[0].text in ("not", "not at all", "neither")
    return stated or adjective


def is_statement(segment: Segment) -> bool:
    """Whether it says how something is, as 'is not' and 'isn't' do."""
    return segment.has("be") or any(i.text in NEGATED_BE for i in segment.items)


def _there_is_none(segment: Segment, last: str) -> bool:
    """'There is no noise', 'no haze here': the word for none stands for the verb; 'nor rain' after it."""
    if last == "absent" and segment.link in ("or", "nor") and not segment.verb:
        return True
    if segment.verb != "remove":
        return False
    none = [k for k, item in enumerate(segment.items) if item.tag == "free" and item.text in ("no", "free from")]
    if not none or not segment.has("deg") or segment.has("remove", "fix"):
        return False
    before, after = segment.items[: none[0]], segment.items[none[0] :]
    wished = any(i.text in (*DISLIKED, *WISHED) for i in before)
    return not wished and (any(i.tag == "be" for i in before) or any(i.text == "here" for i in after))


def _painted(segment: Segment) -> bool:
    """'People in red': classes and a colour, and nothing else is said."""
    colours = segment.has("class") and segment.has("colour") and not segment.verb
    return colours and not segment.has("deg", "fix", "aspect", "quality", "?", "not", "task", "make", "be")


def _painted_next(segment: Segment, following: Segment | None) -> bool:
    """'The people: mark them in red': classes that the next segment speaks of."""
    if following is None or following.verb != "segment" or following.has("class"):
        return False
    them = any(i.text in ("them", "it", "those", "these") for i in following.items)
    if segment.items[0].tag == "be":  # a question to answer: 'is there any person?'
        return False
    return them and segment.has("class") and not segment.has("deg", "fix", "aspect", "quality", "?", "not", "task")


def find_sources(segments: list[Segment]) -> None:
    """Gives every segment the image it speaks of."""
    pending, named = "", set()
    subject = ""
    for index, segment in enumerate(segments):
        if segment.first_of_list and segment.items[0].kind != "be":
            subject = ""
        if segment.hard and segments[index - 1].has("deg", "fix"):
            pending = ""
        names = list(dict.fromkeys(i.name for i in segment.of("source")))
        own = _joined(names)
        bare = (
            not segment.has("deg", "fix", "brighter", "darker", "class", "aspect", "task", "quality", "low", "?")
            and not segment.verb
        )
        if own and bare and segment.action != "fuse":
            previous = segments[index - 1] if index else None
            if previous is not None and previous.source and not segment.first_of_list and segment.action != "fuse":
                previous.source = _joined([previous.source, *names])
                continue
            last = segments[index - 1] if index else None
            if index + 1 == len(segments) and last is not None and _placed_after(last):
                last.source = own
                continue
            named |= set(names)
            segment.pair = named >= {"infrared", "visible"} and not segment.has("make")
            pending = _joined([*named]) if not segment.hard else own
            continue
        named = set()
        places = [k for k, i in enumerate(segment.items) if i.kind == "source"]
        things = [k for k, i in enumerate(segment.items) if i.kind in ("deg", "fix") or i.tag in LIT]
        segment.source = own or subject or pending
        if index and not segment.source and _says_it(segment, segments[index - 1]):
            segment.source = segments[index - 1].source
        if own and things:
            segment.trailing = places[-1] > things[-1]
            stated = segment.has("be", "too") or (segment.action == "state" and places[0] < things[0])
            if stated and places[0] < things[0] and not segment.trailing:
                subject = own
    for index in range(len(segments) - 1, 0, -1):
        here, before = segments[index], segments[index - 1]
        if here.trailing and not here.first_of_list and not before.source and before.has("deg", "fix"):
            before.source, before.trailing = here.source, True


def _placed_after(segment: Segment) -> bool:
    """'A bit overexposed, the second': whether the image may be named behind it."""
    own = segment.source or segment.has("source") or segment.has("fuse", "class", "aspect")
    return not own and (segment.has("deg", "fix") or any(i.tag in LIT for i in segment.items))


def _says_it(segment: Segment, before: Segment) -> bool:
    """Whether it speaks of the image that the segment before names: 'the thermal one is dark. Denoise it'."""
    if before.action == "fuse" or before.source in ("", "all"):
        return False
    if segment.action in ("up", "down", "brighter", "darker") and before.action != "state":
        return False
    return any(i.text in ("it's", "it", "its") for i in segment.items)


def _joined(names: list[str]) -> str:
    """Both images of a pair are all of them."""
    kinds = set(names)
    if "all" in kinds or {"visible", "infrared"} <= kinds or {"first", "second"} <= kinds:
        return "all"
    return names[0] if names else ""


def find_colours(segments: list[Segment]) -> None:
    """The colour at the end of a list of classes holds for those before it that have none."""
    colour = None
    for segment in reversed(segments):
        colours = segment.of("colour")
        colour = colours[-1].name if colours else colour
        segment.colour = colour
        if segment.first_of_list or segment.action != "segment":
            colour = None
