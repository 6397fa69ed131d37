"""Tagged words -> request: what to restore, how strongly, in which image; what to preserve, what to segment, how
bright.

A sentence falls into segments at commas, conjunctions, full stops and further verbs. A segment without a verb of its
own goes on with the last one ("remove the haze and the noise"); together they are a list. A source or colour at the end
of a list holds for its members that have none ("the rain and the haze in the first image"), and so does the subject of
a statement ("the visible image is dark and noisy"). A word of strength belongs to the next thing in its segment, or
else to the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..control import CLASSES, DEFAULT_STRENGTH, DEGRADATIONS, STRENGTH_WORDS
from ..errors import FusionError

VERBS = ("remove", "keep", "segment", "fuse", "up", "down", "brighter", "darker", "touch")
STATED = ("up", "brighter", "darker", "segment")
"""Actions that a degradation beside them has nothing to do with: it is a statement of its own."""
WISHED = ("make", "turn", "render", "give", "making", "want", "wants")
LIT = ("quality:dark", "quality:bright")
ENHANCED = ("low_exposure", "low_contrast", "downsample", "blur", "motion_blur")
"""Degradations that an image with them is enhanced from; to enhance rain would be to ask for more of it."""
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


@dataclass
class Segment:
    """A part of a sentence with one verb at most."""

    items: list[Item] = field(default_factory=list)
    link: str = ""  # the conjunction before it
    hard: bool = False  # it begins a statement, so it takes over no action
    verb: str = ""  # one of VERBS or 'fix'; '': none
    negated: bool = False
    action: str = ""  # what it does, see `_actions`
    first_of_list: bool = True  # False: it goes on with the action of the segment before
    source: str = ""  # that it speaks of; '': all
    trailing: bool = False  # the source stands behind the things
    colour: str | None = None  # of the classes to segment

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


def cannot(what: str) -> NotUnderstoodError:
    """The error for a request that no model fulfils."""
    return NotUnderstoodError(
        f"'{what}' is not understood: ask for a repair ({', '.join(DEGRADATIONS)}), 'keep ...', brighter or darker, "
        "more or less contrast, "
        f"to highlight a class ({', '.join(CLASSES)}), or for fusion of infrared, exposures, focus planes or medical "
        "images"
    )


def read(items: list[Item]) -> Request:
    """Raises FusionError where a part has no meaning here, where parts contradict each other, or where nothing is
    requested for.
    """
    segments = _segments(items)
    _actions(segments)
    _sources(segments)
    _colours(segments)
    request, fusing = Request(), False
    for index, segment in enumerate(segments):
        fusing |= segment.action == "fuse"
        _read_segment(segment, request, segments[index + 1] if index + 1 < len(segments) else None)
    _fusion(segments, request)
    fusing |= any(segment.action == "absent" for segment in segments)
    for tone, aspect in (("LIGHT", "brightness"), ("CONTRAST", "contrast")):
        if tone in request.tone and aspect in request.keep:  # 'don't make it darker, make it brighter'
            request.keep.remove(aspect)
    for name in request.keep:
        if name in request.degradations:
            raise FusionError(f"'{name}' is to be kept and to be removed: ask for one of the two")
    if (
        items
        and not fusing
        and not any((request.task, request.degradations, request.tone, request.segment, request.keep))
    ):
        raise cannot(" ".join(i.text for i in items))
    return request


# ---------------------------------------------------------------------- segments


def _segments(items: list[Item]) -> list[Segment]:
    """Cuts at marks and conjunctions, and before a second verb; finds each one's verb and whether it is negated."""
    segments = [Segment(hard=True)]
    for place, given in enumerate(items):
        now, item = segments[-1], given
        if item.text == ":" and now.items and now.items[-1].kind in ("source", "o") and now.has("source"):
            item = Item("be", ":")  # 'visible: hazy'
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


def _actions(segments: list[Segment]) -> None:
    """What each segment does: remove, keep, segment, fuse, up, down, brighter, darker, state, absent or nothing."""
    last = "state"
    for segment in segments:
        verb = "remove" if segment.verb == "fix" else segment.verb
        if segment.negated:
            segment.action = _denied(segment, verb, last)
        elif _there_is_none(segment, last):
            segment.action = "absent"
        elif verb:
            segment.action = verb
        elif last != "segment" and _painted(segment):
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
    if segment.verb or not segment.has("deg") or any(i.text in DISLIKED for i in segment.items):
        return False
    stated = _stated(segment)
    adjective = last in ("state", "absent") and segment.items[0].text in ("not", "not at all")
    return stated or adjective


def _stated(segment: Segment) -> bool:
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


def _sources(segments: list[Segment]) -> None:
    """Gives every segment the image it speaks of."""
    pending = ""
    subject = ""
    for index, segment in enumerate(segments):
        if segment.first_of_list:
            subject = ""
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
            else:
                pending = own
            continue
        places = [k for k, i in enumerate(segment.items) if i.kind == "source"]
        things = [k for k, i in enumerate(segment.items) if i.kind in ("deg", "fix") or i.tag in LIT]
        segment.source = own or subject or pending
        if (
            index
            and not segment.source
            and segment.action == "state"
            and segments[index - 1].action != "fuse"
            and any(i.text in ("it's", "it") for i in segment.items)
        ):
            segment.source = segments[index - 1].source
        if own and things:
            segment.trailing = places[-1] > things[-1]
            stated = segment.has("be", "too") or (segment.action == "state" and places[0] < things[0])
            if stated and places[0] < things[0] and not segment.trailing:
                subject = own
        pending = pending if not segment.has("deg", "fix") else ""
    for index in range(len(segments) - 1, 0, -1):
        here, before = segments[index], segments[index - 1]
        if here.trailing and not here.first_of_list and not before.source and before.has("deg", "fix"):
            before.source, before.trailing = here.source, True


def _joined(names: list[str]) -> str:
    """Both images of a pair are all of them."""
    kinds = set(names)
    if "all" in kinds or {"visible", "infrared"} <= kinds or {"first", "second"} <= kinds:
        return "all"
    return names[0] if names else ""


def _colours(segments: list[Segment]) -> None:
    """The colour at the end of a list of classes holds for those before it that have none."""
    colour = None
    for segment in reversed(segments):
        colours = segment.of("colour")
        colour = colours[-1].name if colours else colour
        segment.colour = colour
        if segment.first_of_list or segment.action != "segment":
            colour = None


# ---------------------------------------------------------------------- one segment


def _read_segment(segment: Segment, request: Request, following: Segment | None) -> None:
    action = segment.action
    if action == "absent":
        return
    if action == "nothing":
        if segment.has("deg", "fix", "?"):
            raise cannot(segment.words)
        return
    if segment.has("region"):
        raise FusionError(f"'{segment.words}': a part of the image cannot be chosen; leave the place out")
    made = {
        "keep": _keep,
        "segment": _show,
        "up": _tone,
        "down": _tone,
        "brighter": _tone,
        "darker": _tone,
        "fuse": _repair,
        "remove": _repair,
        "state": _repair,
        "touch": _never,
    }[action](segment, request)
    for item in segment.of("task"):
        if request.task not in (None, item.name):
            raise FusionError(
                f"'{item.text}' asks for {item.name} and there is {request.task} already: ask for one task"
            )
        request.task, made = item.name, True
    _check_rest(segment, made, request, following)


def _never(segment: Segment, request: Request) -> bool:
    raise cannot(segment.words)


def _strength(segment: Segment, place: int) -> float:
    """Of the thing at a place: the word of strength for which it is the nearest thing after, or else before."""
    things = [k for k, i in enumerate(segment.items) if i.kind in ("deg", "fix", *VERBS[4:8]) or i.tag in LIT]
    things = [k for k in things if segment.items[k].kind in ("deg", "fix") or not segment.has("deg", "fix")]
    strengths = []
    for k, item in enumerate(segment.items):
        light = item.text == "light" and k + 1 < len(segment.items) and segment.items[k + 1].kind == "deg"
        if item.tag not in STRENGTH_WORDS and not light:
            continue
        after = [t for t in things if t > k]
        if (after[0] if after else things[-1]) == place:
            strengths.append(0.25 if light else STRENGTH_WORDS[item.tag])
    return min(strengths, default=DEFAULT_STRENGTH)


def _repair(segment: Segment, request: Request) -> bool:
    """Removing, and statements of what is wrong."""
    made = False
    if segment.action == "state" and segment.has("deg") and any(i.text in WISHED for i in segment.items):
        raise cannot(segment.words)
    for place, item in enumerate(segment.items):
        name = item.name if item.kind in ("deg", "fix") else ""
        if item.kind == "quality" and item.name in ("dark", "bright") and segment.action == "state":
            if segment.has("make"):
                _set_light(request, "+" if item.name == "bright" else "-", _strength(segment, place) == 1, segment)
                made = True
                continue
            if segment.has("be", "too", "strong", "slight", "source") or not segment.first_of_list:
                name = "low_exposure" if item.name == "dark" else "high_exposure"
        if name:
            request.degradations.setdefault(name, {})[segment.source or "all"] = _strength(segment, place)
            made = True
    if segment.action == "state" and segment.has("low", "high") and segment.has("contrast", "brightness"):
        ends = ("low_contrast", "high_contrast") if segment.has("contrast") else ("low_exposure", "high_exposure")
        name = ends[segment.has("high")]
        if name not in DEGRADATIONS:
            raise cannot(segment.words)
        request.degradations.setdefault(name, {})[segment.source or "all"] = _strongest(segment)
        return True
    if not made and segment.action == "remove" and segment.has("contrast", "brightness"):
        raise cannot(segment.words)
    return made


def _keep(segment: Segment, request: Request) -> bool:
    quality = next((i.name for i in segment.of("quality")), "")
    if not quality and any(i.text == "visible" for i in segment.items) and segment.has("class", "aspect"):
        quality = "visible"
    things = [
        i.name or {"brighter": "brightness", "darker": "brightness"}.get(i.kind, i.kind)
        for i in segment.of("deg", "fix", "class", "aspect", "brightness", "contrast", "brighter", "darker")
    ]
    if (
        segment.negated and not segment.verb and _stated(segment) and quality and not things
    ):  # 'the image is not bright'
        fault = {"bright": "low_exposure", "sharp": "blur"}.get(quality)
        if fault is None:
            raise cannot(segment.words)
        request.degradations.setdefault(fault, {})[segment.source or "all"] = DEFAULT_STRENGTH
        return True
    if segment.negated and quality in ("bright", "dark") and not things:
        things, quality = ["brightness"], ""
    if not things and quality:
        things = ["image"]
    for thing in things:
        entry = f"{thing} {quality}" if quality and thing not in DEGRADATIONS else thing
        if entry not in request.keep:
            request.keep.append(entry)
    return bool(things)


def _show(segment: Segment, request: Request) -> bool:
    if segment.has("deg") and any(i.text == "see" for i in segment.items):
        return _repair(segment, request)
    if segment.has("deg", "aspect") or not segment.has("class", "o", "segment", "source", "colour"):
        raise cannot(segment.words)
    for item in segment.of("class"):
        request.segment[item.name] = segment.colour
    return segment.has("class")


def _tone(segment: Segment, request: Request) -> bool:
    """Light and contrast of the result; in one image alone, too little or too much light is a fault of that image."""
    action = segment.action
    degradations = segment.of("deg")
    if degradations and action in ("up", "down"):
        better = any(i.text in ("improve", "enhance") for i in segment.items)
        if action == "up" and not (better and all(i.name in ENHANCED for i in degradations)):
            raise cannot(segment.words)
        return _repair(segment, request)
    if degradations and segment.has("be"):
        _repair(segment, request)
    if segment.has("class") or (segment.has("aspect") and not segment.has("brightness", "contrast")):
        raise cannot(segment.words)
    made = False
    direction = "+" if action in ("up", "brighter") else "-"
    if segment.has("contrast") and segment.source not in ("", "all"):
        if direction == "-":
            raise cannot(segment.words)
        request.degradations.setdefault("low_contrast", {})[segment.source] = _strongest(segment)
        made = True
    elif segment.has("contrast"):
        if request.tone.get("CONTRAST", direction) != direction:
            raise FusionError(f"'{segment.words}' asks for more and for less contrast: ask for one")
        request.tone["CONTRAST"], made = direction, True
    if segment.has("brightness") or segment.verb in ("brighter", "darker"):
        if segment.source not in ("", "all"):
            name = "low_exposure" if direction == "+" else "high_exposure"
            request.degradations.setdefault(name, {})[segment.source] = _strongest(segment)
        else:
            _set_light(request, direction, segment.has("strong"), segment)
        made = True
    return made


def _strongest(segment: Segment) -> float:
    """The largest strength that is named in a segment; the usual one where none is."""
    return max((STRENGTH_WORDS[i.tag] for i in segment.items if i.tag in STRENGTH_WORDS), default=DEFAULT_STRENGTH)


def _set_light(request: Request, direction: str, twice: bool, segment: Segment) -> None:
    if request.tone.get("LIGHT", direction)[0] != direction:
        raise FusionError(f"'{segment.words}' asks for brighter and for darker: ask for one")
    request.tone["LIGHT"] = direction * (2 if twice else 1)


def _check_rest(segment: Segment, made: bool, request: Request, following: Segment | None) -> None:
    """Raises FusionError where words remain that nobody acts on."""
    items = segment.items
    things = [
        k for k, i in enumerate(items) if i.kind in (*CONTENT, "fix", "brighter", "darker", "brightness", "contrast")
    ]
    be = next((k for k, i in enumerate(items) if i.tag == "be"), -1)
    for k, item in enumerate(items):
        if item.kind == "class" and segment.action in ("remove", "state", "fuse"):
            placed = made and (any(i.tag == "at" for i in items[:k]) or k < be)
            if not placed:
                raise cannot(segment.words)
        if item.tag == "?":
            describes = k + 1 < len(items) and items[k + 1].kind == "deg"
            placed = made and (
                describes
                or k < be
                or (bool(things) and things[0] < k and any(i.tag == "at" for i in items[things[0] : k]))
            )
            if not placed:
                raise cannot(segment.words)
    if made or segment.action == "fuse":
        return
    if segment.action == "segment" and not segment.first_of_list and segment.has("colour"):
        return
    if segment.has("class", "aspect", "colour", "quality"):
        raise cannot(segment.words)
    if segment.action == "state":
        return
    goes_on = following is not None and following.verb in (segment.verb, "fix", "remove", "keep", "segment")
    better = segment.action == "up" and any(i.text in ("improve", "enhance") for i in items)  # '..., improve it'
    refers = bool(request.degradations) and segment.action in ("remove", "down", "keep") and not segment.negated
    refers |= bool(request.degradations) and better and not segment.has("?")
    extends = not segment.verb and segment.has("source", "o", "at")
    if not (goes_on or refers or extends):
        raise cannot(segment.words)


def _fusion(segments: list[Segment], request: Request) -> None:
    """Infrared among the images that are to be fused makes the task infrared and visible."""
    fusing, named = False, False
    for segment in segments:
        infrared = any(i.name == "infrared" for i in segment.of("source"))
        if segment.first_of_list:
            fusing = segment.action == "fuse"
        if infrared and not segment.verb and not segment.has("deg", "fix", "be"):
            named = True  # 'infrared and visible, fuse them'
        if fusing and request.task is None and (infrared or named):
            request.task = "ivf"
        named &= not segment.verb
