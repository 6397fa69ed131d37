"""Prompts of DiTFuse (arXiv 2512.07170): tags and an English request, made of a Control; the closed vocabulary of the
small models.

    [FUSION] <MULTI-MODALITIES> [CONTROL] <LIGHT++> [SEG] car . fuse the visible and infrared image , make it much
    brighter , highlight the car

Origin: the tags are the paper's; the wording is ours, and control.parse_instruction reads it back. Licence: Apache-2.0.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ...arrays import Tensor, torch
from ...control import CLASSES, SUBTASKS, TONES, Control
from ...errors import FusionError

REQUESTS: dict[str | None, tuple[str, ...]] = {
    None: ("fuse the images", "combine the two images", "fuse both images into one"),
    "ivf": (
        "fuse the visible and infrared image",
        "fuse the infrared and the visible image",
        "merge the visible and infrared image",
    ),
    "mef": ("fuse the exposures", "merge the exposures", "combine the two exposures"),
    "mff": ("fuse the focus planes", "merge the focus planes", "fuse the near and far focus image"),
}
TONE_REQUESTS: dict[str, tuple[str, ...]] = {
    "LIGHT++": ("make it much brighter", "a lot brighter", "much more light"),
    "LIGHT+": ("make it brighter", "a bit brighter", "brighter"),
    "LIGHT-": ("make it darker", "a bit darker", "darker"),
    "LIGHT--": ("make it much darker", "a lot darker", "much less light"),
    "CONTRAST+": ("more contrast", "increase the contrast", "raise the contrast"),
    "CONTRAST-": ("less contrast", "reduce the contrast", "lower the contrast"),
}
SHOWING = ("highlight the {}", "show the {}", "mark the {}")
"""The first of each row is used for inference; training draws one."""

PAD, NOTHING, IMAGES = "<pad>", "<cfg>", "<images>"
TAG_OF = {task: tag for tag, task in SUBTASKS.items() if task in REQUESTS}


def check(control: Control) -> None:
    """Raises FusionError where a Control asks for what DiTFuse does not do; `keep` is passed over."""
    if control.degradations:
        raise FusionError(f"DiTFuse does not restore ({', '.join(control.degradations)}): use --model mmaif")


def ignored(control: Control) -> list[str]:
    """A warning for each part of a request that has no effect."""
    return [f"the request to keep {thing} has no effect with DiTFuse" for thing in control.keep]


def tags(control: Control) -> str:
    """'[FUSION] <MULTI-FOCUS> [CONTROL] <LIGHT+> [SEG] car road'; medical images are a fusion without a subtask, as M3
    pairs.
    """
    parts = ["[FUSION]", *(f"<{TAG_OF[t]}>" for t in (control.task,) if t in TAG_OF)]
    if control.tone:
        parts += ["[CONTROL]", *(f"<{tone}>" for tone in control.tone)]
    if control.segment:
        parts += ["[SEG]", *control.segment]
    return " ".join(parts)


def request(control: Control, rng: random.Random | None = None) -> str:
    """The request as an English sentence; `rng` draws the wording."""

    def choose(options: Sequence[str]) -> str:
        return options[0] if rng is None else rng.choice(options)

    parts = [choose(REQUESTS.get(control.task, REQUESTS[None]))]
    parts += [choose(TONE_REQUESTS[tone]) for tone in control.tone]
    parts += [choose(SHOWING).format(name) for name in control.segment]
    return " , ".join(parts)


def prompt(control: Control | None = None, rng: random.Random | None = None, tagged: bool = True) -> str:
    """What the small models read; colours of classes are not said, as they are painted afterwards. tagged: with the
    line of tags.
    """
    control = control or Control()
    check(control)
    return f"{tags(control)} . {request(control, rng)}" if tagged else request(control, rng)


def full_prompt(control: Control | None = None, rng: random.Random | None = None) -> str:
    """What the full system reads, with places for its two images: tag line, images with their roles, request; `rng`
    draws the wording.
    """
    control = control or Control()
    check(control)
    heads = ["[FUSION]"] if not (control.tone or control.segment) or control.task else []
    heads += [f"<{TAG_OF[t]}>" for t in (control.task,) if t in TAG_OF]
    heads += ["[CONTROL]", *(f"<{tone}>" for tone in control.tone)] if control.tone else []
    heads += ["[SEG]"] if control.segment else []
    first, second = ROLE_WORDS.get(control.task, ("first image", "second image"))
    line = " ".join(f"{head}." for head in heads)
    text = request(control, rng).replace(" ,", ",")
    for name, colour in control.segment.items():
        for said in (showing.format(name) for showing in SHOWING):
            text = text.replace(said, f"{said} in {colour or 'blue'}")
    return f"{line} The {first} is {image_tag(1)}, the {second} is {image_tag(2)}. {text[0].upper()}{text[1:]}."


ROLE_WORDS: dict[str | None, tuple[str, str]] = {
    "ivf": ("visible image", "infrared image"),
    "mef": ("overexposed image", "underexposed image"),
    "mff": ("image focused far", "image focused near"),
}


def image_tag(number: int) -> str:
    """The place of an image in a prompt of the full system."""
    return f"<img><|image_{number}|></img>"


# ---------------------------------------------------------------------- vocabulary


def _words() -> tuple[str, ...]:
    fixed = [PAD, NOTHING, IMAGES, "[FUSION]", "[CONTROL]", "[SEG]", *(f"<{tag}>" for tag in TAG_OF.values())]
    fixed += [f"<{tone}>" for tone in TONES] + [*CLASSES, ".", ","]
    phrases = [p for row in (*REQUESTS.values(), *TONE_REQUESTS.values(), SHOWING) for p in row]
    plain = {word for phrase in phrases for word in phrase.split()} - {"{}", *fixed}
    return (*fixed, *sorted(plain))


WORDS = _words()
"""The closed vocabulary: 0 is padding. Tags, classes, then the words of the requests in the order of the alphabet."""
_INDEX = {word: index for index, word in enumerate(WORDS)}


def encode(texts: Sequence[str]) -> Tensor:
    """B prompts -> ids (B, T), padded at the left with 0. Raises FusionError for a word that is not in the
    vocabulary.
    """
    rows = []
    for text in texts:
        strange = [word for word in text.split() if word not in _INDEX]
        if strange:
            raise FusionError(f"'{strange[0]}' is not in DiTFuse's vocabulary: see docs/language.md for instructions")
        rows.append([_INDEX[word] for word in text.split()])
    longest = max(1, *(len(row) for row in rows))
    return torch.tensor([[0] * (longest - len(row)) + row for row in rows])


def decode(ids: Tensor) -> list[str]:
    """(B, T) -> B prompts, without padding."""
    return [" ".join(WORDS[k] for k in row if k) for row in ids.tolist()]
