"""A network that reads a whole sentence: what it asks for as a Control, and how sure that is.

The first layers of all-MiniLM-L6-v2 (Wang et al. 2020, Apache-2.0) with the pieces of words that matter here; then one
question per fault, tone and class, task and scope, each of which looks at the words by attention and is answered by a
choice. Weights are kept as int8 with a scale a row. `anyfuse train reading` trains it (training/parts/reading.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..control import CLASSES, COLOURS, DEGRADATIONS, SOURCES, STRENGTHS, TASKS, Control
from ..errors import FusionError
from ..io.atomic import one_line
from ..weights import WEIGHTS_NAME, package_folder, read_config, read_tensors, save_folder
from .pieces import END, PAD, START, UNKNOWN, WordPieces

PIECES_NAME = "pieces.txt"
LIGHT = ("", "LIGHT++", "LIGHT+", "LIGHT-", "LIGHT--")
CONTRAST = ("", "CONTRAST+", "CONTRAST-")
QUESTIONS = (*DEGRADATIONS, *CLASSES, "light", "contrast", "task", "scope")
"""What is asked of a sentence."""
FAULTS = slice(0, len(DEGRADATIONS))
THINGS = slice(len(DEGRADATIONS), len(DEGRADATIONS) + len(CLASSES))
CHOICES = {
    "on": 2,
    "source": len(SOURCES),
    "strength": len(STRENGTHS),
    "colour": 1 + len(COLOURS),
    "light": len(LIGHT),
    "contrast": len(CONTRAST),
    "task": 1 + len(TASKS),
    "scope": 2,
}
"""Answers of each kind."""


@dataclass(frozen=True)
class ReadingConfig:
    """Shape of the network."""

    pieces: int = 12000  # rows of the table of word pieces
    width: int = 384  # of a word
    layers: int = 4  # of the encoder
    heads: int = 12  # of attention
    inner: int = 1536  # width of the layers' feed-forward part
    longest: int = 96  # pieces of a text


@dataclass(frozen=True)
class Reading:
    """What a sentence asks for."""

    control: Control  # of the likeliest answers; empty where nothing is asked for
    sure: float  # probability of all answers that make it, if it is in scope
    scope: float  # probability that it is in scope


class Layer(nn.Module):
    """A layer of BERT: attention, then a feed-forward part, each added and normalised."""

    def __init__(self, config: ReadingConfig) -> None:
        super().__init__()
        w = config.width
        self.heads = config.heads
        self.query_key_value, self.out = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.norm = nn.LayerNorm(w, eps=1e-12)
        self.widen, self.narrow = nn.Linear(w, config.inner), nn.Linear(config.inner, w)
        self.last_norm = nn.LayerNorm(w, eps=1e-12)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """(B, T, W) and (B, 1, 1, T) bool -> (B, T, W)"""
        parts = self.query_key_value(x).chunk(3, -1)
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=there)
        x = self.norm(x + self.out(seen.transpose(1, 2).flatten(2)))
        return self.last_norm(x + self.narrow(F.gelu(self.widen(x))))


class ReadingNetwork(nn.Module):
    """Sentences -> logits of the answers."""

    def __init__(self, config: ReadingConfig, pieces: Sequence[str]) -> None:
        super().__init__()
        self.config = c = config
        self.pieces = WordPieces(pieces)
        self.table = nn.Embedding(c.pieces, c.width)
        self.places = nn.Parameter(torch.zeros(c.longest, c.width))
        self.norm = nn.LayerNorm(c.width, eps=1e-12)
        self.layers = nn.ModuleList([Layer(c) for _ in range(c.layers)])
        self.questions = nn.Parameter(torch.randn(len(QUESTIONS), c.width) / math.sqrt(c.width))
        self.key_value = nn.Linear(c.width, 2 * c.width)
        self.answer_norm = nn.LayerNorm(c.width)
        self.think = nn.Sequential(nn.Linear(c.width, 2 * c.width), nn.GELU(), nn.Linear(2 * c.width, c.width))
        self.think_norm = nn.LayerNorm(c.width)
        self.on = nn.Parameter(torch.zeros(THINGS.stop, c.width, CHOICES["on"]))
        self.shared = nn.ModuleDict({k: nn.Linear(c.width, n) for k, n in CHOICES.items() if k != "on"})

    def forward(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """B texts -> logits by the names of CHOICES: on (B, faults and classes, 2), source and strength (B, faults, n),
        colour (B, classes, n), the others (B, n).
        """
        numbers = [self.pieces.encode(text, self.config.longest) for text in texts]
        longest = max(map(len, numbers))
        pad, device = self.pieces.index[PAD], self.table.weight.device
        ids = torch.tensor([n + [pad] * (longest - len(n)) for n in numbers], device=device)  # (B, T)
        there = (ids != pad)[:, None, None]
        x = self.norm(self.table(ids) + self.places[:longest])
        for layer in self.layers:
            x = layer(x, there)
        keys, values = (p.unflatten(-1, (6, -1)).transpose(1, 2) for p in self.key_value(x).chunk(2, -1))
        asked = self.questions.unflatten(-1, (6, -1)).transpose(0, 1).expand(len(ids), -1, -1, -1)
        seen = F.scaled_dot_product_attention(asked, keys, values, attn_mask=there).transpose(1, 2).flatten(2)
        seen = self.answer_norm(seen + self.questions)
        seen = self.think_norm(seen + self.think(seen))  # (B, Q, W)
        own = {"source": FAULTS, "strength": FAULTS, "colour": THINGS}
        logits = {name: self.shared[name](seen[:, part]) for name, part in own.items()}
        logits["on"] = torch.einsum("bqw,qwn->bqn", seen[:, : THINGS.stop], self.on)
        for name in ("light", "contrast", "task", "scope"):
            logits[name] = self.shared[name](seen[:, QUESTIONS.index(name)])
        return logits

    def fits(self, text: str) -> bool:
        """Whether the network sees the whole text."""
        return len(self.pieces.encode(text, 2 * self.config.longest)) <= self.config.longest

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> list[Reading]:
        """The likeliest Control of each text."""
        shares = {name: value.float().softmax(-1) for name, value in self(texts).items()}
        return [reading_of({name: value[k] for name, value in shares.items()}) for k in range(len(texts))]

    def save_pretrained(self, folder: Path) -> None:
        """config.json, pieces.txt and model.safetensors; tables and matrices as int8."""
        tensors: dict[str, Tensor] = {}
        for name, value in self.state_dict().items():
            if value.ndim < 2 or name == "on":
                tensors[name] = value.half()
                continue
            scale = value.abs().amax(1).clamp_min(1e-8) / 127
            tensors[name] = (value / scale[:, None]).round().to(torch.int8)
            tensors[f"{name}.scale"] = scale.float()
        save_folder(folder, {"system": "ReadingNetwork", **asdict(self.config)}, tensors)
        (folder / PIECES_NAME).write_text("\n".join(self.pieces.pieces) + "\n", encoding="utf-8")


def reading_of(shares: dict[str, Tensor]) -> Reading:
    """Of the probabilities of one text."""
    sure = 1.0
    degradations: dict[str, dict[str, float]] = {}
    segment: dict[str, str | None] = {}
    picked = {}
    for name in ("light", "contrast", "task"):
        picked[name] = int(shares[name].argmax())
        sure *= float(shares[name].max())
    for k, name in enumerate(QUESTIONS[: THINGS.stop]):
        sure *= float(shares["on"][k].max())
        if shares["on"][k, 1] < 0.5:
            continue
        if name in DEGRADATIONS:
            source, strength = int(shares["source"][k].argmax()), int(shares["strength"][k].argmax())
            sure *= float(shares["source"][k, source] * shares["strength"][k, strength])
            degradations[name] = {SOURCES[source]: STRENGTHS[strength]}
        else:
            place = k - THINGS.start
            colour = int(shares["colour"][place].argmax())
            sure *= float(shares["colour"][place, colour])
            segment[name] = COLOURS[colour - 1] if colour else None
    tone = tuple(t for t in (LIGHT[picked["light"]], CONTRAST[picked["contrast"]]) if t)
    task = TASKS[picked["task"] - 1] if picked["task"] else None
    return Reading(Control(task, degradations, tone, segment), sure, float(shares["scope"][1]))


def answers_of(control: Control | None) -> dict[str, list[int]]:
    """The right answers for a Control, by the names of CHOICES; -100 where none is asked for. None: out of scope."""
    given = control or Control()
    where = [given.degradations.get(name, {}) for name in DEGRADATIONS]
    firsts = [next(iter(own.items()), None) for own in where]
    answers = {
        "on": [int(bool(own)) for own in where] + [int(name in given.segment) for name in CLASSES],
        "source": [SOURCES.index(first[0]) if first else -100 for first in firsts],
        "strength": [_level(first[1]) if first else -100 for first in firsts],
        "colour": [_colour(given.segment[name]) if name in given.segment else -100 for name in CLASSES],
        "light": [next((LIGHT.index(t) for t in given.tone if t in LIGHT), 0)],
        "contrast": [next((CONTRAST.index(t) for t in given.tone if t in CONTRAST), 0)],
        "task": [1 + TASKS.index(given.task) if given.task else 0],
        "scope": [int(control is not None)],
    }
    if control is None:
        answers = {name: [-100] * len(row) for name, row in answers.items()} | {"scope": [0]}
    return answers


def _level(strength: float) -> int:
    return STRENGTHS.index(min(STRENGTHS, key=lambda level: abs(level - strength)))


def _colour(name: str | None) -> int:
    return 1 + COLOURS.index(name) if name else 0


def load_reading_network(folder: str | Path) -> ReadingNetwork:
    """The network of a folder; FusionError where it holds none."""
    folder = Path(folder)
    try:
        raw = read_config(folder)
        config = ReadingConfig(**{k: raw[k] for k in ReadingConfig.__dataclass_fields__})
        pieces = (folder / PIECES_NAME).read_text(encoding="utf-8").split("\n")[:-1]
        if len(pieces) != config.pieces or not {PAD, UNKNOWN, START, END} <= set(pieces):
            raise ValueError(f"{len(pieces)} pieces of words, not {config.pieces}, or special ones are missing")
        model = ReadingNetwork(config, pieces)
        tensors = read_tensors(folder / WEIGHTS_NAME)
        state = {
            name: value.float() * tensors[f"{name}.scale"][:, None] if value.dtype == torch.int8 else value.float()
            for name, value in tensors.items()
            if not name.endswith(".scale")
        }
        model.load_state_dict(state, assign=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise FusionError(f"{folder}: holds no network that reads sentences ({one_line(error):.200})") from None
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def reading_network() -> ReadingNetwork:
    """The network of the package."""
    return load_reading_network(package_folder("reading"))
