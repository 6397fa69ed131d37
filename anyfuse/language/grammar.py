"""Tagged words -> request: what to restore, how strongly, in which image; what to preserve, what to segment, how
bright.

`segments.py` cuts the sentence. A word of strength belongs to the next thing in its segment, or else to the one before.
"""

from __future__ import annotations

from ..control import DEFAULT_STRENGTH, DEGRADATIONS, STRENGTH_WORDS
from ..errors import FusionError
from .followups import INTENSE, amend, has_pronoun, paint_last, put, strength_of, without_lone_scans
from .segments import (
    CONTENT,
    LIT,
    VERBS,
    WISHED,
    Item,
    RegionError,
    Request,
    Segment,
    cannot,
    find_actions,
    find_colours,
    find_sources,
    is_statement,
    segments_of,
)
from .tokens import words

BETTER = words("improve enhance improved enhanced better improving")
SPOILS = words(
    """ruin mar mars spoil spoils spoiled spoiling ruins ruining hide hides hiding obscure obscures
    obscuring cover covers covering degrade degrades bothers bother disturbs disturb annoys swallows blankets"""
)
MODAL = words("should must shall would could can may might will let i'd")
SUBJECTS = words("our my the this these those there it we i his her their that its all both some")
ADJECTIVE = tuple(words("y ic al ous ful ish ive able ible ed ing less like ant ent ian some"))
DRAWN = words("lines dots stripes bars bands blocks drops mesh")
PICTURES = words("picture pictures image images photo photos frame frames scan scans shot shots camera sensor")
PLAIN = words("lines drops blocks bars bands dots static stripes sand veil smoke steam mesh bright")
"""Words that are a fault alone, and many other things beside another noun: 'power lines'."""
RESULT = words("result output outcome product")
ENHANCED = ("low_exposure", "low_contrast", "downsample", "blur", "motion_blur")
"""Degradations that an image with them is enhanced from; to enhance rain would be to ask for more of it."""


def read(items: list[Item]) -> Request:
    """Raises FusionError where a part has no meaning here, where parts contradict each other, or where nothing is
    requested for.
    """
    segments = segments_of(items)
    without_lone_scans(segments)
    find_actions(segments)
    find_sources(segments)
    find_colours(segments)
    request, fusing = Request(), False
    for index, segment in enumerate(segments):
        fusing |= segment.action == "fuse"
        following = segments[index + 1] if index + 1 < len(segments) else None
        if segment.verb == "segment" and len(segment.items) == 1 and following and following.action == "segment":
            continue  # 'mark: road white, cars red'
        _read_segment(segment, request, following)
    _fusion(segments, request)
    fusing |= any(segment.action in ("absent", "nothing") for segment in segments)
    fusing |= any(segment.action == "keep" and _all_is_kept(segment) for segment in segments)
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


# ---------------------------------------------------------------------- one segment


def _read_segment(segment: Segment, request: Request, following: Segment | None) -> None:
    action = segment.action
    if action == "absent":
        return
    if action == "nothing":
        if segment.has("deg", "fix", "?"):
            raise cannot(segment.words)
        return
    if amend(segment, request) or paint_last(segment, request):
        return
    if segment.has("deg", "fix"):
        request.last = []
    if segment.has("region"):
        raise RegionError(f"'{segment.words}': a part of the image cannot be chosen; leave the place out")
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
    strengths = [1.0] if any(word in segment.items[place].text for word in INTENSE) else []
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
    _refuse_what_is_made(segment)
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
            put(request, name, segment.source, _strength(segment, place))
            made = True
    return made or _repair_of_tone(segment, request)


def _repair_of_tone(segment: Segment, request: Request) -> bool:
    """'The contrast is low'; 'fix the contrast' where it was said before what is wrong with it."""
    if segment.action == "state" and segment.has("low", "high") and segment.has("contrast", "brightness"):
        ends = ("low_contrast", "high_contrast") if segment.has("contrast") else ("low_exposure", "high_exposure")
        name = ends[segment.has("high")]
        if name not in DEGRADATIONS:
            raise cannot(segment.words)
        put(request, name, segment.source, _strongest(segment))
        return True
    if segment.action == "remove" and segment.has("contrast", "brightness"):
        faults = ("low_contrast",) if segment.has("contrast") else ("low_exposure", "high_exposure")
        if not any(name in request.degradations for name in faults):
            raise cannot(segment.words)
        return True
    return False


def _refuse_what_is_made(segment: Segment) -> None:
    """Raises FusionError for a fault that is wanted, and for a thing that has its name: 'fog light'."""
    pairs = zip(segment.items, segment.items[1:], strict=False)
    lamp = any(one.kind == "deg" and other.text in ("light", "lights") for one, other in pairs)
    if lamp or (segment.action == "state" and _is_wanted(segment)):
        raise cannot(segment.words)


def _is_wanted(segment: Segment) -> bool:
    """'Rain would look nice', 'smear it': a fault that is to be made."""
    items = segment.items
    if not segment.has("deg"):
        return False
    verb = items[0].kind == "deg" and len(items) > 1 and items[1].text in ("it", "them", "everything")
    would = [k for k, i in enumerate(items) if i.text in ("would", "should", "could")]
    after = bool(would) and any(i.tag == "be" or i.text in ("be", "look", "nice") for i in items[would[0] + 1 :])
    return verb or (after and items[0].kind == "deg")


def _keep(segment: Segment, request: Request) -> bool:
    quality = next((i.name for i in segment.of("quality")), "")
    if not quality and any(i.text == "visible" for i in segment.items) and segment.has("class", "aspect"):
        quality = "visible"
    things = [
        i.name or {"brighter": "brightness", "darker": "brightness"}.get(i.kind, i.kind)
        for i in segment.of("deg", "fix", "class", "aspect", "brightness", "contrast", "brighter", "darker")
    ]
    if (
        segment.negated and not segment.verb and is_statement(segment) and quality and not things
    ):  # 'the image is not bright'
        fault = {"bright": "low_exposure", "sharp": "blur"}.get(quality)
        if fault is None:
            raise cannot(segment.words)
        put(request, fault, segment.source, DEFAULT_STRENGTH)
        return True
    if segment.negated and quality in ("bright", "dark") and not things:
        things, quality = ["brightness"], ""
    if not things and quality:
        things = ["image"]
    for thing in things:
        entry = f"{thing} {quality}" if quality and thing not in DEGRADATIONS else thing
        if entry not in request.keep:
            request.keep.append(entry)
    return bool(things) or _all_is_kept(segment)


def _all_is_kept(segment: Segment) -> bool:
    """'Don't change anything.'"""
    if segment.has("?", *CONTENT, "fix", "brightness", "contrast", "brighter", "darker"):
        return False
    return segment.negated and any(i.text in ("anything", "everything else", "the rest") for i in segment.items)


def _show(segment: Segment, request: Request) -> bool:
    if segment.has("deg") and any(i.text == "see" for i in segment.items):
        return _repair(segment, request)
    if segment.has("deg", "aspect") or not segment.has("class", "o", "segment", "source", "colour"):
        raise cannot(segment.words)
    shown, place = False, False
    for item in segment.items:
        if item.kind == "class" and not place:  # 'people on the pavement' are people
            request.segment[item.name] = segment.colour or request.segment.get(item.name)
            shown = True
        place = shown and item.kind != "colour" and (place or item.tag in ("at", "?")) and item.text != "of"
    return segment.has("class")


def _tone(segment: Segment, request: Request) -> bool:
    """Light and contrast of the result; in one image alone, too little or too much light is a fault of that image."""
    action = segment.action
    degradations = segment.of("deg")
    if degradations and action in ("up", "down"):
        better = any(i.text in BETTER for i in segment.items)
        if action == "up" and not (better and all(i.name in ENHANCED for i in degradations)):
            raise cannot(segment.words)
        return _repair(segment, request)
    if degradations and segment.has("be"):
        _repair(segment, request)
    if segment.has("class") or (segment.has("aspect") and not segment.has("brightness", "contrast")):
        raise cannot(segment.words)
    made = False
    direction = "+" if action in ("up", "brighter") else "-"
    if _answers(segment, request, direction):
        return True
    if segment.has("contrast") and segment.source not in ("", "all"):
        if direction == "-":
            raise cannot(segment.words)
        put(request, "low_contrast", segment.source, _strongest(segment))
        made = True
    elif segment.has("contrast"):
        if request.tone.get("CONTRAST", direction) != direction:
            raise FusionError(f"'{segment.words}' asks for more and for less contrast: ask for one")
        request.tone["CONTRAST"], made = direction, True
    if segment.has("brightness") or segment.verb in ("brighter", "darker"):
        if segment.source not in ("", "all"):
            name = "low_exposure" if direction == "+" else "high_exposure"
            put(request, name, segment.source, _strongest(segment))
        else:
            _set_light(request, direction, segment.has("strong"), segment)
        made = True
    return made


def _strongest(segment: Segment) -> float:
    """The largest strength that is named in a segment; the usual one where none is."""
    return strength_of(segment) or DEFAULT_STRENGTH


def _answers(segment: Segment, request: Request, direction: str) -> bool:
    """'It is too dark, brighten it': the second part only repeats what to do about the first."""
    if any(RESULT & set(i.text.split()) for i in segment.items) or segment.has("source"):
        return False
    light = "low_exposure" if direction == "+" else "high_exposure"
    fault = "low_contrast" if segment.has("contrast") and direction == "+" else light
    if segment.has("contrast") and (direction == "-" or segment.has("brightness")):
        return False
    found = [pair for pair in request.last if pair[0] == fault]
    if not found or not (has_pronoun(segment) or len(segment.items) <= 3):
        return False
    strength = strength_of(segment)
    for name, source in found if strength is not None else ():
        request.degradations[name][source] = strength or DEFAULT_STRENGTH
    return True


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
            placed |= made and segment.action == "state" and bool(k) and items[k - 1].kind == "deg"
            placed |= made and any(i.text in SPOILS for i in items[:k])
            placed &= not _is_drawn(items[:k])
            if not placed:
                raise cannot(segment.words)
        if item.tag == "?" and not (
            made and _is_beside(segment, k, things, be) and not _is_drawn(items[:k], items[k:])
        ):
            raise cannot(segment.words)
    if made or segment.action == "fuse":
        return
    if segment.action == "segment" and not segment.first_of_list and segment.has("colour"):
        return
    if segment.has("class", "aspect", "colour", "quality"):
        raise cannot(segment.words)
    if segment.action == "state":
        if segment.has("contrast") and not request.last:
            raise cannot(segment.words)
        return
    goes_on = following is not None and following.verb in (segment.verb, "fix", "remove", "keep", "segment")
    better = segment.action == "up" and any(i.text in BETTER for i in items)  # '..., improve it'
    refers = bool(request.degradations) and segment.action in ("remove", "down", "keep") and not segment.negated
    refers |= bool(request.degradations) and better and not segment.has("?")
    extends = not segment.verb and segment.has("source", "o", "at")
    if not (goes_on or refers or extends):
        raise cannot(segment.words)


def _is_beside(segment: Segment, k: int, things: list[int], be: int) -> bool:
    """Whether an unknown word, item k, only describes: who or what has the fault, where it is, how it looks."""
    items = segment.items
    following = items[k + 1] if k + 1 < len(items) else Item("", "")
    if following.kind == "deg":
        verb = segment.action == "state" and _may_be_verb(items, k)
        return not verb and (segment.action != "remove" or following.text not in PLAIN)
    task = following.kind == "task" and not segment.has("make")
    while_it_was = k == be + 1 and k > 0 and item_describes(items[k].text)  # 'we were filming in fog'
    if task or k < be or while_it_was:
        return True
    coloured = segment.action == "segment" and k + 1 == len(items) and items[k - 1].text == "in"  # 'in brown'
    if coloured or not things:
        return False
    if k < things[0]:
        return segment.action == "state" and _tells(items)
    between = items[things[0] : k]
    return any(i.tag == "at" or i.text in SPOILS for i in between) or item_describes(items[k].text)


def _is_drawn(before: list[Item], after: list[Item] | None = None) -> bool:
    """'The lines on the road', 'the stripes of a zebra': marks that something else has, and not the picture."""
    marks = [i for i in before if i.kind == "deg" and i.text.split()[-1] in DRAWN]
    pictures = any(PICTURES & set(i.text.split()) or i.kind == "source" for i in after or ())
    return (
        bool(marks) and any(i.text in ("on", "of", "from") for i in before[before.index(marks[0]) :]) and not pictures
    )


def _may_be_verb(items: list[Item], k: int) -> bool:
    """'Explain noise', 'I adore snow': an unknown word that may say what to do with the thing behind it."""
    before = [word for item in items[:k] for word in item.text.split() if word != "please"]
    adjective = items[k].text.endswith(ADJECTIVE)
    return not adjective and (not before or (len(before) == 1 and before[0] in ("i", "we", "you", "they", "to", "can")))


def _tells(items: list[Item]) -> bool:
    """'Our camera produces grainy pictures': somebody or something does what the unknown word says."""
    words = [word for item in items for word in item.text.split()]
    return words[0] in SUBJECTS and items[0].tag in ("o", "source:all") and not MODAL & set(words)


def item_describes(word: str) -> bool:
    """'Mist hanging', 'noise added', 'smeared badly'."""
    return len(word) > 4 and word.endswith(("ing", "ed", "ly", "wise", "ways", "wards", "ward"))


def _fusion(segments: list[Segment], request: Request) -> None:
    """Infrared among the images that are to be fused makes the task infrared and visible."""
    fusing, named = False, False
    if request.task is None and any(segment.pair for segment in segments):
        request.task = "ivf"
    for segment in segments:
        infrared = any(i.name == "infrared" for i in segment.of("source"))
        if segment.first_of_list:
            fusing = segment.action == "fuse"
        if infrared and not segment.verb and not segment.has("deg", "fix", "be"):
            named = True  # 'infrared and visible, fuse them'
        if fusing and request.task is None and (infrared or named):
            request.task = "ivf"
        named &= not segment.verb
