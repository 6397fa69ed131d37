"""Training of the built-in language model on the prompt bank: tags of words and labels of texts, with typos and
sentences out of scope.

Only 'known' templates and synonyms are drawn. A word's tag comes from the lexicon, so nobody labels anything; the
network learns it from letters and neighbours, and so reads words that the lexicon does not hold.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from ...data.prompts import KINDS, draw, typo
from ...errors import FusionError
from ...language.encoder import WORDS_NAME, LanguageConfig, LanguageModel, labels_of, read_words
from ...language.lexicon import lexicon, tags
from ...language.reader import LONGEST
from ...language.tokens import tokenise
from ...weights import package_folder
from ..card import hardware, write_card
from ..loop import Loop, PythonRandom, Stateful
from ..objectives import set_rate


@dataclass(frozen=True)
class LanguageRecipe:
    """Training of the encoder of instructions."""

    steps: int = 4000  # updates of the weights
    batch: int = 48  # texts per step
    lr: float = 4e-3  # after 100 steps; falls linearly to lr/50
    typos: float = 0.5  # share of texts with slips, one per six words
    others: float = 0.2  # share of texts out of scope
    seed: int = 0  # of weights and texts
    forget: float = 0.35  # share of words read by their fixed vector alone
    buckets: int = 4500  # rows of the hashed table
    width: int = 64  # of a word
    hidden: int = 128  # of the convolutions
    dim: int = 192  # of a text's vector


LANGUAGES: dict[str, LanguageRecipe] = {"language": LanguageRecipe()}


def true_tags(words: list[str]) -> list[int]:
    """The tag of each word by the lexicon, phrases longest first."""
    table, index, numbers, k = lexicon("all"), {tag: n for n, tag in enumerate(tags())}, [], 0
    while k < len(words):
        for length in range(min(LONGEST, len(words) - k), 0, -1):
            tag = table.get(tuple(words[k : k + length]))
            if tag is not None or length == 1:
                numbers += [index[tag or "?"]] * length
                k += length
                break
    return numbers


def example(rng: random.Random, recipe: LanguageRecipe) -> tuple[list[str], list[int], list[float]]:
    """Words as typed, their tags, and the labels of the text."""
    kind = "other" if rng.random() < recipe.others else rng.choice((*KINDS, "mixed"))
    prompt = draw(rng, kind)
    words = tokenise(prompt.text)
    goals = true_tags(words)
    if rng.random() < recipe.typos:
        text = prompt.text
        for _ in range(1 + len(words) // 6):
            text = typo(text, rng)
        typed = tokenise(text)
        words = typed if len(typed) == len(words) else words
    return words, goals, labels_of(prompt.control)


def train_language(
    recipe: LanguageRecipe,
    out: str | Path,
    *,
    resume: bool = True,
    save_every: int = 200,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains the encoder of instructions and writes model.safetensors, config.json, README.md (card), log.jsonl and
    last.pt.

    The same seed gives the same weights on one machine, also of a run that was stopped and resumed.

    Args:
        recipe: every choice of the run.
        out: folder to write.
        resume: resumes from last.pt in `out`.
        save_every: steps between checkpoints.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: a recipe without steps or texts, or a last.pt of another recipe.
    """
    if recipe.steps < 1 or recipe.batch < 1:
        raise FusionError(f"{recipe.steps} steps of {recipe.batch}: both must be 1 or more")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    texts = PythonRandom(recipe.seed)
    torch.manual_seed(recipe.seed)
    fixed = package_folder("language") / WORDS_NAME
    config = LanguageConfig(recipe.buckets, recipe.width, recipe.hidden, recipe.dim)
    model = LanguageModel(config, *read_words(fixed)).train()
    model.forget = recipe.forget
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=1e-3)
    key = {"recipe": json.dumps(asdict(recipe), sort_keys=True)}
    parts: dict[str, Stateful] = {"model": model, "optimiser": optimiser, "texts": texts}
    loop = Loop(
        out, key, parts, None, None, steps=recipe.steps, resume=resume, save_every=save_every, log_every=200, log=log
    )
    for step in loop.steps():
        set_rate(optimiser, recipe.lr * min(1, (step + 1) / 100) * (1 - 0.98 * step / recipe.steps))
        loop.record(step, {"loss": _language_step(model, optimiser, recipe, texts.rng)})
    model.eval().save_pretrained(out)
    if (out / WORDS_NAME).resolve() != fixed.resolve():
        (out / WORDS_NAME).write_bytes(fixed.read_bytes())
    _card(out, recipe, loop.seconds)
    log(f"wrote {out / 'model.safetensors'}")
    return out


def _language_step(
    model: LanguageModel, optimiser: torch.optim.Optimizer, recipe: LanguageRecipe, rng: random.Random
) -> float:
    """One update on texts drawn with `rng`; returns the loss."""
    batch = [example(rng, recipe) for _ in range(recipe.batch)]
    longest = max(len(words) for words, _, _ in batch)
    goals = torch.tensor([goal + [-100] * (longest - len(goal)) for _, goal, _ in batch])
    labels = torch.tensor([label for _, _, label in batch])
    tag_logits, _, label_logits = model([words for words, _, _ in batch])
    loss = F.cross_entropy(tag_logits.flatten(0, 1), goals.flatten(), label_smoothing=0.02)
    loss = loss + 8 * F.binary_cross_entropy_with_logits(label_logits, labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


SCOWL = """- `words.safetensors`: vectors of 8200 English words, from all-MiniLM-L6-v2 (Apache-2.0) by
  `python -m anyfuse.training.parts.word_vectors`; the words are of SCOWL's small list, Copyright 2000-2011 by Kevin
  Atkinson: permission to use, copy, modify, distribute and sell these word lists, the associated scripts, the output
  created from the scripts, and its documentation for any purpose is hereby granted without fee, provided that the above
  copyright notice appears in all copies and that both that copyright notice and this permission notice appear in
  supporting documentation. Kevin Atkinson makes no representations about the suitability of this array for any purpose.
  It is provided "as is" without express or implied warranty."""


def _card(out: Path, recipe: LanguageRecipe, seconds: float) -> None:
    intro = (
        "Trained with `anyfuse train language`; licence Apache-2.0. Reads words that the lexicon does not hold, "
        "and makes vectors of texts."
    )
    lines = [
        f"- {recipe.steps} steps of {recipe.batch} texts drawn from `anyfuse/data/prompts.py`, seed {recipe.seed}, "
        f"{seconds / 60:.1f} minutes",
        hardware(torch.device("cpu")),
        "- a quarter of templates and synonyms, by a hash, was never drawn; `python experiments/language.py` measures "
        "on them",
        SCOWL,
    ]
    write_card(out, "Built-in language model", intro, lines, recipe)
