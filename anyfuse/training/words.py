"""The earlier place of `anyfuse.training.parts.word_vectors`: `python -m anyfuse.training.words LIST OUT` still
works.
"""

from __future__ import annotations

from .parts.word_vectors import main, make_words

__all__ = ["make_words"]

if __name__ == "__main__":
    main()
