"""Text -> words."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:!?&]|\s-\s")
QUOTES = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "\u201c": " ", "\u201d": " ", "\u2013": " - ", "\u2014": " - ", "_": " "}
)


def tokenise(text: str) -> list[str]:
    """Lower-case words and marks of a sentence. 'De-noise it, please!' -> ['de-noise', 'it', ',', 'please', '!']"""
    text = unicodedata.normalize("NFKC", text).translate(QUOTES).lower()
    return [word.strip() for word in WORD.findall(text)]


def words(row: str) -> frozenset[str]:
    """The words of a row: 'red green' -> {'red', 'green'}"""
    return frozenset(row.split())
