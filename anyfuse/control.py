"""What a user asks for, as a Control: read from plain English, or from tags.

    parse_instruction("remove the haze, keep the people bright, and highlight the cars in blue")
    parse_instruction("[RESTORE] haze, noise 1 infrared [CONTROL] <LIGHT++> [SEG] car in blue")

Tags extend those of DiTFuse (arXiv 2512.07170): [FUSION], [CONTROL] and [SEG] are its own, [RESTORE] and [KEEP] ours.
docs/language.md has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import FusionError

if TYPE_CHECKING:
    from torch import Tensor

STRENGTHS = (0.25, 0.5, 1.0)

STRENGTH_WORDS = {"slight": 0.25, "strong": 1.0}
DEFAULT_STRENGTH = 0.5

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
"""CamVid's eleven classes (Brostow 2008, SegNet's grouping), in the order of their labels."""
OBJECTS = ("person", "vehicle")
"""What boxes are drawn around, and detectors look for."""
COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta", "orange", "white")
TASKS = ("ivf", "mef", "mff", "mif")
SOURCES = ("visible", "infrared", "first", "second", "all")
DEGRADATIONS = (
    "blur",
    "motion_blur",
    "downsample",
    "noise",
    "sensor_noise",
    "jpeg",
    "rain",
    "haze",
    "snow",
    "low_exposure",
    "high_exposure",
    "low_contrast",
    "stripes",
    "fixed_pattern",
    "dead_pixels",
)
QUALITIES = ("bright", "dark", "sharp", "visible", "natural")
ASPECTS = ("colours", "details", "texture", "edges", "brightness", "contrast", "shadows", "highlights", "targets")

TONES = ("LIGHT++", "LIGHT+", "LIGHT-", "LIGHT--", "CONTRAST+", "CONTRAST-")
SUBTASKS = {
    "MULTI-MODALITIES": "ivf",
    "MULTI-EXPOSURE": "mef",
    "MULTI-FOCUS": "mff",
    "MEDICAL": "mif",
}
KEEPABLE = (*CLASSES, *DEGRADATIONS, *ASPECTS, "image")


@dataclass(frozen=True)
class Control:
    """A request to a model. Every field may be empty; Control() requests nothing.

    task: ivf (infrared + visible), mef (multi-exposure), mff (multi-focus), mif (medical); None: not named.
    degradations: what to restore, name -> {source: strength in [0, 1]}; a plain number is {'all': number}. Sources:
        visible, infrared, first, second, all.
    tone: names of TONES, at most one of LIGHT and one of CONTRAST.
    segment: class of CamVid -> colour, or None for the model's own.
    keep: things of KEEPABLE to preserve, with a quality where one is named, as 'pedestrian bright'. A model may use
        them.
    text: the instruction as given; comparisons leave it out.

    Raises FusionError for an unknown name, or a strength outside [0, 1].
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
            check_known("task", self.task, TASKS)
        for name, where in whole.items():
            check_known("degradation", name, DEGRADATIONS)
            for source, strength in where.items():
                check_known("source", source, SOURCES)
                if not 0 <= strength <= 1:
                    raise FusionError(f"strength {strength} of {name} is not in [0, 1]")
        for tone in self.tone:
            check_known("tone", tone, TONES)
        if len({tone.rstrip("+-") for tone in self.tone}) < len(self.tone):
            raise FusionError(f"{', '.join(self.tone)}: give one of LIGHT and one of CONTRAST at most")
        for name, colour in self.segment.items():
            check_known("class", name, CLASSES)
            if colour is not None:
                check_known("colour", colour, COLOURS)
        for entry in self.keep:
            thing, _, quality = entry.partition(" ")
            check_known("thing to keep", thing, KEEPABLE)
            if quality:
                check_known("quality", quality, QUALITIES)

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
        """Whether it requests nothing."""
        return self == Control()

    def strength(self, name: str, source: str = "all") -> float:
        """Strength in [0, 1] of a degradation in a source; 0 if the control does not name it."""
        where = self.degradations.get(name, {})
        return where.get(source, where.get("all", 0.0))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"tone": list(self.tone), "keep": list(self.keep), "tags": str(self)}

    def embedding(self, encoder: str = "built-in") -> Tensor:
        """The text, or else the tags, as a vector (D,); see language.encoder.load_encoder for the names."""
        from .language.api import embed

        return embed(self.text or str(self), encoder)


def _restored(degradations: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        name + (f" {strength!r}" if strength != DEFAULT_STRENGTH else "") + (f" {source}" if source != "all" else "")
        for name, where in degradations.items()
        for source, strength in where.items()
    ]


def check_known(kind: str, name: str, names: tuple[str, ...]) -> None:
    """Raises FusionError where `name` is not among `names`; kind: what it is, for the message."""
    if name not in names:
        raise FusionError(f"unknown {kind} '{name}': known are {', '.join(names)}")


def __getattr__(name: str) -> Any:
    """`parse_instruction` lives in language/instruction.py, and is documented here."""
    if name != "parse_instruction":
        raise AttributeError(f"module 'anyfuse.control' has no attribute '{name}'")
    return import_module("anyfuse.language.api").parse_instruction
