"""What a user asks for, as a Control: read from plain English, or from tags.

    parse_instruction("remove the haze, keep the people bright, and highlight the cars in blue")
    parse_instruction("[RESTORE] haze, noise 1 infrared [CONTROL] <LIGHT++> [SEG] car in blue")

Tags extend those of DiTFuse (arXiv 2512.07170): [FUSION], [CONTROL] and [SEG] are its own, [RESTORE] and [KEEP] ours. docs/language.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import FusionError
from .language.grammar import USUAL
from .language.lexicon import ASPECTS, CLASSES, COLOURS, DEGRADATIONS, QUALITIES, SOURCES, TASKS

if TYPE_CHECKING:
    from torch import Tensor

TONES = ("LIGHT++", "LIGHT+", "LIGHT-", "LIGHT--", "CONTRAST+", "CONTRAST-")
SUBTASKS = {
    "MULTI-MODALITIES": "ivf",
    "MULTI-EXPOSURE": "mef",
    "MULTI-FOCUS": "mff",
    "MEDICAL": "mif",
}
SECTIONS = ("FUSION", "CONTROL", "RESTORE", "KEEP", "SEG")
KEEPABLE = (*CLASSES, *DEGRADATIONS, *ASPECTS, "image")


@dataclass(frozen=True)
class Control:
    """What is asked of a model. Every field may be empty; Control() asks for nothing.

    task: ivf, mef, mff or mif; None: not said.
    degradations: what to repair, name -> {source: strength in [0, 1]}; a plain number is {'all': number}. Sources: visible, infrared, first,
    second, all.
    tone: of TONES, at most one of LIGHT and one of CONTRAST.
    segment: class of CamVid -> colour, or None for the model's own.
    keep: things of KEEPABLE that are to stay, with a quality where one was said, as 'pedestrian bright'. A model may use them.
    text: as given; it does not count in comparisons.

    Raises FusionError for a name or strength that is not of these.
    """

    task: str | None = None
    degradations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tone: tuple[str, ...] = ()
    segment: Mapping[str, str | None] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    text: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        given: Mapping[str, Any] = self.degradations
        whole = {k: {"all": float(v)} if isinstance(v, (int, float)) else dict(v) for k, v in given.items()}
        object.__setattr__(self, "degradations", whole)
        object.__setattr__(self, "segment", dict(self.segment))
        object.__setattr__(self, "tone", tuple(sorted(self.tone, key=lambda t: t[0] != "L")))
        object.__setattr__(self, "keep", tuple(sorted(self.keep)))
        if self.task is not None:
            _known("task", self.task, TASKS)
        for name, where in whole.items():
            _known("degradation", name, DEGRADATIONS)
            for source, strength in where.items():
                _known("source", source, SOURCES)
                if not 0 <= strength <= 1:
                    raise FusionError(f"strength {strength} of {name} is not in [0, 1]")
        for tone in self.tone:
            _known("tone", tone, TONES)
        if len({tone.rstrip("+-") for tone in self.tone}) < len(self.tone):
            raise FusionError(f"{', '.join(self.tone)}: give one of LIGHT and one of CONTRAST at most")
        for name, colour in self.segment.items():
            _known("class", name, CLASSES)
            if colour is not None:
                _known("colour", colour, COLOURS)
        for wish in self.keep:
            thing, _, quality = wish.partition(" ")
            _known("thing to keep", thing, KEEPABLE)
            if quality:
                _known("quality", quality, QUALITIES)

    def __hash__(self) -> int:
        where = frozenset((name, *pair) for name, pairs in self.degradations.items() for pair in pairs.items())
        return hash((self.task, where, self.tone, frozenset(self.segment.items()), self.keep))

    def __str__(self) -> str:
        """The tags; parse_instruction reads them back as the same Control."""
        parts = []
        if self.task is not None:
            tag = next(tag for tag, task in SUBTASKS.items() if task == self.task)
            parts.append(f"[FUSION] <{tag}>")
        if self.degradations:
            parts.append("[RESTORE] " + ", ".join(_restored(self.degradations)))
        if self.tone:
            parts.append("[CONTROL] " + " ".join(f"<{tone}>" for tone in self.tone))
        if self.segment:
            parts.append(
                "[SEG] "
                + ", ".join(name + (f" in {colour}" if colour else "") for name, colour in self.segment.items())
            )
        if self.keep:
            parts.append("[KEEP] " + ", ".join(self.keep))
        return " ".join(parts) or "[FUSION]"

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        return self == Control()

    def strength(self, name: str, source: str = "all") -> float:
        """Of a degradation in a source, 0 where its repair is not asked for; what is said of all holds for each."""
        where = self.degradations.get(name, {})
        return where.get(source, where.get("all", 0.0))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"tone": list(self.tone), "keep": list(self.keep), "tags": str(self)}

    def embedding(self, encoder: str = "built-in") -> Tensor:
        """The text, or else the tags, as a vector (D,); see language.encoder.load_encoder for the names."""
        from .language.encoder import load_encoder

        return load_encoder(encoder).encode([self.text or str(self)])[0]


def parse_instruction(text: str, *, learned: bool = True, words: str = "all") -> Control:
    """An instruction in plain English, in tags, or in both -> Control.

    learned: whether the network reads words that are not in the lexicon. words: 'known' leaves out the phrases of the lexicon that are put aside
    for testing. Raises FusionError for a wish that is not understood, with what can be asked for; empty text asks for nothing.
    """
    if not text.strip():
        return Control(text=text)
    parts = re.split(r"\[([^\]]*)\]", text)
    found = _plain(parts[0], learned, words)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        section = name.strip().upper()
        if section not in SECTIONS:
            raise FusionError(f"unknown tag [{name}]: known are {', '.join(f'[{s}]' for s in SECTIONS)}")
        items, _, rest = re.sub(r"(?<=\d)\.(?=\d)", "\0", body.lstrip(" .:")).partition(".")
        found.append(_SECTION[section](items.replace("\0", ".")))
        found += _plain(rest.replace("\0", "."), learned, words)
    return _merge(found, text)


_REPAIR = "repair|restore|remove|fix|correct|change|mend|clean up|enhance"
_NOTHING = re.compile(
    rf"(please )?(((just )?({_REPAIR}) nothing)|((do not|don't|never) ({_REPAIR}) anything)|(without|no) (repair|repairs|restoration)|"
    rf"((there is )?nothing to ({_REPAIR})))( please)?"
)
"""What says that nothing is to be repaired; elsewhere silence may mean that a model looks for itself."""


def _plain(text: str, learned: bool, words: str) -> list[Control]:
    """English without tags."""
    from .language.reader import wishes_of

    if _NOTHING.fullmatch(text.strip(" .,;:!").lower()):
        return [Control()]
    if not re.search(r"\w", text):
        if text.strip(" .,;:!?"):
            raise FusionError(f"'{text.strip()}' has no words: say what to do, as 'remove the haze'")
        return []
    wishes = wishes_of(text, learned=learned, words=words)
    tone = tuple(name + value for name, value in wishes.tone.items())
    return [Control(wishes.task, wishes.degradations, tone, wishes.segment, tuple(wishes.keep))]


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
    keep = tuple(dict.fromkeys(k for c in controls for k in c.keep))
    for name in keep:
        if name in degradations:
            raise FusionError(f"'{name}' is to be kept and to be removed: ask for one of the two")
    return Control(next(iter(tasks), None), degradations, tone, segment, keep, text)


# ---------------------------------------------------------------------- tags


def _fusion(body: str) -> Control:
    words = re.findall(r"[^\s<>,]+", body.upper())
    if len(words) > 1 or any(w not in SUBTASKS for w in words):
        raise FusionError(f"[FUSION] {body.strip()}: known are {', '.join(f'<{s}>' for s in SUBTASKS)}, one at most")
    return Control(SUBTASKS[words[0]] if words else None)


def _control(body: str) -> Control:
    words = re.findall(r"[^\s<>,]+", body.upper())
    for word in words:
        _known("tone", word, TONES)
    if not words:
        raise FusionError(f"[CONTROL] says nothing: add one of {', '.join(TONES)}")
    return Control(tone=tuple(words))


def _restore(body: str) -> Control:
    found: dict[str, dict[str, float]] = {}
    for item in _items("RESTORE", body):
        name, strength, source = item[0], USUAL, "all"
        for word in item[1:]:
            try:
                strength = float(word)
            except ValueError:
                source = word
        found.setdefault(name, {})[source] = strength
    return Control(degradations=found)


def _segment(body: str) -> Control:
    found: dict[str, str | None] = {}
    for item in _items("SEG", body):
        if len(item) > 1 and (item[1] != "in" or len(item) != 3):
            raise FusionError(f"[SEG] {' '.join(item)}: give it as 'car' or 'car in blue'")
        found[item[0]] = item[2] if len(item) == 3 else None
    return Control(segment=found)


def _keep(body: str) -> Control:
    return Control(keep=tuple(" ".join(item) for item in _items("KEEP", body)))


def _items(section: str, body: str) -> list[list[str]]:
    items = [item.split() for item in body.lower().split(",")]
    if not all(items):
        raise FusionError(f"[{section}] has an empty place: give names with commas")
    return items


_SECTION = {"FUSION": _fusion, "CONTROL": _control, "RESTORE": _restore, "SEG": _segment, "KEEP": _keep}


def _restored(degradations: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        name + (f" {strength!r}" if strength != USUAL else "") + (f" {source}" if source != "all" else "")
        for name, where in degradations.items()
        for source, strength in where.items()
    ]


def _known(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise FusionError(f"unknown {kind} '{name}': known are {', '.join(names)}")
