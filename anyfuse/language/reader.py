"""A sentence -> request: words are looked up, spelled where a letter is wrong, read by the network where they are not
known; then the grammar.
"""

from __future__ import annotations

from functools import lru_cache

from .grammar import read
from .lexicon import lexicon
from .neighbours import ENGLISH
from .phrases import PURPOSE, REWRITES
from .segments import Item, Request
from .stories import without_stories
from .tokens import tokenise
from .tokens import words as word_set
from .turns import TURN_WORDS, in_full, in_lexicon_words

LONGEST = 6
LETTERS = "abcdefghijklmnopqrstuvwxyz'-"
COMPOUNDS = word_set(
    """drip drips
    snowman snowmen snowboard snowboarder snowball snowplough snowplow snowmobile rainbow rainbows raincoat
    rainforest hazel hazelnut foglamp foglight foglights grainfield noisemaker blurb smoker"""
)
"""Things whose names hold the name of a fault."""
UNLEARNED = ("keep", "not", "free", "be", "at", "and", "but", "touch")
"""Parts of a sentence that a word must be known for: with them the rest of a sentence turns."""
SURE = 0.7
"""Probability from which the network's reading of a word that is not in the lexicon counts."""


def read_request(text: str, *, learned: bool = True, words: str = "all") -> Request:
    """Raises FusionError; see grammar.read."""
    return read(without_stories(tag_words(text, learned=learned, words=words)))


def in_known_words(text: str) -> str:
    """A sentence with turns of speech put into words of the lexicon; lower case where something was put."""
    low = " ".join(text.lower().split())
    changed = PURPOSE.sub("", spell(in_full(low)))
    for pattern, to in REWRITES:
        changed = pattern.sub(to, changed)
    changed = in_lexicon_words(changed)
    return changed if changed != low else text


def spell(low: str) -> str:
    """A lower-case sentence with words corrected that only one word of the lexicon or of a turn is a letter away
    from; the others are left to `tag_words`.
    """
    known = vocabulary("all") | TURN_WORDS
    found = []
    for word in low.split(" "):
        bare = word.strip(".,;:!?()")
        if bare and bare not in known and bare.isalpha() and len(bare) > 3 and bare not in COMPOUNDS:
            near = [w for w in edits(bare) if w in known and len(w) > 3] if bare not in ENGLISH else []
            found.append(word.replace(bare, near[0]) if len(near) == 1 else word)
        else:
            found.append(word)
    return " ".join(found)


def tag_words(text: str, *, learned: bool = True, words: str = "all") -> list[Item]:
    """The phrases of a sentence, longest first, with their tags; '?' for a word without a meaning here."""
    table = lexicon(words)
    singles = vocabulary(words)
    raw = [w[:-2] if w.endswith("'s") and w not in singles and w[:-2] in singles else w for w in tokenise(text)]
    unknown = [k for k, w in enumerate(raw) if w not in singles]
    guesses: dict[int, dict[str, float]] = {}
    if learned and unknown:
        from .encoder import built_in

        guesses = built_in().tag_probabilities(raw, unknown)
    spelled = list(raw)
    for k in unknown:
        near = spelling_candidates(raw[k], words)
        if near:
            likely = guesses.get(k, {})
            spelled[k] = max(near, key=lambda w: (likely.get(table.get((w,), "?"), 0.0), w[0] == raw[k][0], -len(w), w))
    items: list[Item] = []
    k = 0
    while k < len(spelled):
        for length in range(min(LONGEST, len(spelled) - k), 0, -1):
            tag = table.get(tuple(spelled[k : k + length]))
            if tag is not None:
                items.append(Item(tag, " ".join(spelled[k : k + length])))
                k += length
                break
        else:
            items.append(Item(_guess(guesses.get(k, {}), spelled[k]), spelled[k]))
            k += 1
    return _join(items)


def _guess(likely: dict[str, float], word: str) -> str:
    if word in COMPOUNDS:
        return "?"
    if word.isdigit():
        return "o"
    likely = {tag: value for tag, value in likely.items() if tag not in UNLEARNED}
    best = max(likely, key=lambda tag: likely[tag], default="?")
    return best if likely and likely[best] >= SURE and best != "?" else "?"


def _join(items: list[Item]) -> list[Item]:
    """Neighbours of one meaning are one thing: 'noise grain', or words of a phrase that the network read."""
    joined: list[Item] = []
    for item in items:
        if joined and item.tag == joined[-1].tag and item.kind in ("deg", "class"):
            joined[-1] = Item(item.tag, f"{joined[-1].text} {item.text}")
        else:
            joined.append(item)
    return joined


@lru_cache(maxsize=4)
def vocabulary(words: str) -> frozenset[str]:
    """Every single word of the lexicon's phrases."""
    return frozenset(w for phrase in lexicon(words) for w in phrase)


@lru_cache(maxsize=4096)
def spelling_candidates(word: str, words: str) -> tuple[str, ...]:
    """Words of the lexicon that one wrong, missing, doubled or swapped letter turned into this one; none if it is
    English of its own.
    """
    if len(word) < 3 or word in ENGLISH or word in TURN_WORDS or word in COMPOUNDS or not word[0].isalpha():
        return ()
    known = vocabulary(words)
    return tuple(sorted(w for w in edits(word) if w in known and len(w) >= 3))


def edits(word: str) -> set[str]:
    """All strings at a Damerau-Levenshtein distance of one."""
    cuts = [(word[:k], word[k:]) for k in range(len(word) + 1)]
    strings = {a + b[1:] for a, b in cuts if b} | {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    return (
        strings | {a + c + b[1:] for a, b in cuts if b for c in LETTERS} | {a + c + b for a, b in cuts for c in LETTERS}
    )
