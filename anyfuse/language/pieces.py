"""Text -> word pieces, as BERT's uncased models cut it (Devlin et al. 2019): the longest known piece first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
LONGEST = 40
"""Letters of a word; a longer one is unknown."""
_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


class WordPieces:
    """A vocabulary of pieces; '##' begins one that continues a word.

    Args:
        pieces: in the order of their numbers; the four special ones among them.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = tuple(pieces)
        self.index = {piece: k for k, piece in enumerate(self.pieces)}

    def encode(self, text: str, longest: int = 128) -> list[int]:
        """A text -> numbers of its pieces between START and END, at most `longest`."""
        text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        inner = [number for word in _WORD.findall(text) for number in self._cut(word)]
        return [self.index[START], *inner[: longest - 2], self.index[END]]

    def _cut(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word) <= LONGEST:
            for end in range(len(word), start, -1):
                number = self.index.get(("##" if start else "") + word[start:end])
                if number is not None:
                    break
            else:
                break
            found.append(number)
            start = end
        return found if found and start == len(word) else [self.index[UNKNOWN]]
