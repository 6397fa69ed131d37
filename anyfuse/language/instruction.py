"""An instruction in words, in tags or in both -> Control."""

from __future__ import annotations

import re

from ..control import DEFAULT_STRENGTH, SUBTASKS, TONES, Control, check_known
from ..engine_choice import lacks_torch
from ..errors import FusionError


def read_say(say: str | Control | None) -> Control:
    """The request as a Control; FusionError for words that are not understood, and for other types."""
    if say is None or isinstance(say, Control):
        return say or Control()
    if not isinstance(say, str):
        raise FusionError(f"say={say!r}: give an instruction in words, or a Control")
    from ..arrays import WITH_TORCH

    if not WITH_TORCH:
        raise lacks_torch("--say")
    return parse_instruction(say)


MAX_TEXT, MAX_WORD = 4000, 100
SECTIONS = ("FUSION", "CONTROL", "RESTORE", "KEEP", "SEG")


def parse_instruction(text: str, *, learned: bool = True, words: str = "all") -> Control:
    """An instruction in plain English, in tags, or in both -> Control.

    Args:
        text: the instruction; empty text requests nothing.
        learned: whether the networks take part: one reads words that are not in the lexicon, one the whole sentence.
        words: 'all', or 'known', which leaves out the phrases of the lexicon that are held out for tests, and the
            network of whole sentences.

    Raises:
        FusionError: a request that is not understood; the error lists what can be requested.
    """
    if not isinstance(text, str):
        raise FusionError(f"an instruction is text, not {type(text).__name__}")
    if not text.strip():
        return Control(text=text)
    if len(text) > MAX_TEXT or max(map(len, text.split())) > MAX_WORD:
        longest = max(map(len, text.split()))
        raise FusionError(
            f"an instruction of {len(text)} letters, its longest word of {longest}: give at most {MAX_TEXT}, "
            f"and words of at most {MAX_WORD}"
        )
    parts = re.split(r"\[([^\]]*)\]", text)
    controls = _read_english(parts[0], learned, words)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        section = name.strip().upper()
        if section not in SECTIONS:
            raise FusionError(f"unknown tag [{name}]: known are {', '.join(f'[{s}]' for s in SECTIONS)}")
        items, _, rest = re.sub(r"(?<=\d)\.(?=\d)", "\0", body.lstrip(" .:")).partition(".")
        controls.append(_SECTION[section](items.replace("\0", ".")))
        controls += _read_english(rest.replace("\0", "."), learned, words)
    return _merge(controls, text)


_REPAIR = "repair|restore|remove|fix|correct|change|mend|clean up|enhance"
_NOTHING = re.compile(
    rf"(please )?(((just )?({_REPAIR}) nothing)|((do not|don't|never) ({_REPAIR}) anything)|"
    rf"(without|no) (repair|repairs|restoration)|"
    rf"((there is )?nothing to ({_REPAIR})))( please)?"
)
"""Instructions to restore nothing. Without any instruction a model may estimate what to restore."""
_IMAGE = "(image|picture|photo|photograph|frame|input|source|shot|exposure)"
_BEYOND = re.compile(
    rf"\b(third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|([3-9]|[1-9]\d+)[nrst][dht]) {_IMAGE}\b|"
    rf"\b{_IMAGE} (number )?([3-9]|[1-9]\d+)\b(?! ?[-%\w])"
)
"""Images past the second."""


_TURNED = (
    (re.compile(r"\b(far|much|a lot|a great deal|way) less dark\b", re.IGNORECASE), "much brighter"),
    (re.compile(r"\bless dark\b", re.IGNORECASE), "brighter"),
    (re.compile(r"\b(far|much|a lot|a great deal|way) less bright\b", re.IGNORECASE), "much darker"),
    (re.compile(r"\bless bright\b", re.IGNORECASE), "darker"),
    (re.compile(r"^(some |a bit of )?contrast(,? please)?[.!]?$", re.IGNORECASE), "more contrast"),
)
"""Less of one thing is more of the other, for both readers."""


def _read_english(text: str, learned: bool, words: str) -> list[Control]:
    """English without tags."""
    from .phrases import NOTHING

    for pattern, to in _TURNED:
        text = pattern.sub(to, text)
    plain = text.strip(" .,;:!").lower()
    if _NOTHING.fullmatch(plain) or NOTHING.fullmatch(plain):
        return [Control()]
    if not re.search(r"\w", text):
        if text.strip(" .,;:!?"):
            raise FusionError(f"'{text.strip()}' has no words: say what to do, as 'remove the haze'")
        return []
    beyond = _BEYOND.search(plain)
    if beyond:
        raise FusionError(f"'{beyond[0]}': an instruction can name the first image and the second one, no others")
    read = _by_grammar(text, plain, learned, words)
    if learned and words == "all":
        from .judge import judged

        return [judged(text, read, _is_known(text))]
    if isinstance(read, FusionError):
        raise read
    return [read]


def _is_known(text: str) -> bool:
    """Whether the lexicon has every word."""
    from .reader import in_known_words, tag_words

    return all(item.tag != "?" for item in tag_words(in_known_words(text), learned=False))


def _by_grammar(text: str, plain: str, learned: bool, words: str) -> Control | FusionError:
    """What the grammar makes of a sentence, or its error."""
    from .reader import in_known_words, read_request
    from .segments import cannot
    from .turns import OUTSIDE

    outside = OUTSIDE.search(" ".join(text.lower().split()))
    if outside:
        return cannot(outside[0].strip(" .,;:!?"))
    known = in_known_words(text)
    if not re.search(r"\w", known):
        return cannot(plain)
    try:
        request = read_request(known, learned=learned, words=words)
        tone = tuple(name + value for name, value in request.tone.items())
        return Control(request.task, request.degradations, tone, request.segment, tuple(request.keep))
    except FusionError as error:
        return error


def _merge(controls: list[Control], text: str) -> Control:
    tasks = {c.task for c in controls if c.task}
    if len(tasks) > 1:
        raise FusionError(f"two tasks are asked for, {' and '.join(sorted(tasks))}: ask for one")
    degradations: dict[str, dict[str, float]] = {}
    segment: dict[str, str | None] = {}
    for control in controls:
        for name, where in control.degradations.items():
            degradations.setdefault(name, {}).update(where)
        segment.update(control.segment)
    tone = tuple(dict.fromkeys(t for c in controls for t in c.tone))
    preserved = tuple(dict.fromkeys(k for c in controls for k in c.keep))
    for name in preserved:
        if name in degradations:
            raise FusionError(f"'{name}' is to be kept and to be removed: ask for one of the two")
    return Control(next(iter(tasks), None), degradations, tone, segment, preserved, text)


# ---------------------------------------------------------------------- tags


def _fusion(body: str) -> Control:
    words = re.findall(r"[^\s<>,]+", body.upper())
    if len(words) > 1 or any(w not in SUBTASKS for w in words):
        raise FusionError(f"[FUSION] {body.strip()}: known are {', '.join(f'<{s}>' for s in SUBTASKS)}, one at most")
    return Control(SUBTASKS[words[0]] if words else None)


def _control(body: str) -> Control:
    words = re.findall(r"[^\s<>,]+", body.upper())
    for word in words:
        check_known("tone", word, TONES)
    if not words:
        raise FusionError(f"[CONTROL] says nothing: add one of {', '.join(TONES)}")
    return Control(tone=tuple(words))


def _restore(body: str) -> Control:
    degradations: dict[str, dict[str, float]] = {}
    for item in _items("RESTORE", body):
        name, strength, source = item[0], DEFAULT_STRENGTH, "all"
        for word in item[1:]:
            try:
                strength = float(word)
            except ValueError:
                source = word
        degradations.setdefault(name, {})[source] = strength
    return Control(degradations=degradations)


def _segment(body: str) -> Control:
    classes: dict[str, str | None] = {}
    for item in _items("SEG", body):
        if len(item) > 1 and (item[1] != "in" or len(item) != 3):
            raise FusionError(f"[SEG] {' '.join(item)}: give it as 'car' or 'car in blue'")
        classes[item[0]] = item[2] if len(item) == 3 else None
    return Control(segment=classes)


def _keep(body: str) -> Control:
    return Control(keep=tuple(" ".join(item) for item in _items("KEEP", body)))


def _items(section: str, body: str) -> list[list[str]]:
    items = [item.split() for item in body.lower().split(",")]
    if not all(items):
        raise FusionError(f"[{section}] has an empty place: give names with commas")
    return items


_SECTION = {"FUSION": _fusion, "CONTROL": _control, "RESTORE": _restore, "SEG": _segment, "KEEP": _keep}
