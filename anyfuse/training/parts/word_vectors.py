"""Word vectors for the built-in language model, from MiniLM: python -m anyfuse.training.words LIST OUT

LIST holds English words, one a line (SCOWL's small list, Debian's wamerican-small, made what the package carries).
MiniLM encodes each word alone. Kept are the commonest words and those nearest to the known part of the lexicon; their
vectors are projected on the principal directions, half whitened, and stored as int8 in OUT/words.safetensors. So the
network knows that smog is near haze before it is trained.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ...errors import FusionError
from ...language.encoder import WORDS_NAME, WORDS_WIDTH, TransformersEncoder, load_encoder
from ...language.lexicon import rows, split

COUNT, COMMON, LETTERS = 9000, 8000, 10
"""Words taken, the rank in MiniLM's vocabulary to which a word counts as common, and the letters of the longest word
that is stored.
"""


def make_words(words: list[str], out: str | Path, count: int = COUNT) -> Path:
    """Writes the words kept (`count` less the longest) and their vectors (N, 48) int8, a unit being 1/32; returns the
    file. Needs the encoder 'minilm'.
    """
    encoder = load_encoder("minilm")
    if not isinstance(encoder, TransformersEncoder):
        raise FusionError("word vectors are made with the encoder minilm")
    words = sorted({w for w in words if w.isascii() and w.isalpha() and w.islower() and 2 <= len(w) <= 16})
    vectors = _encode(encoder, words)
    known = sorted(
        {
            p
            for tag, row in rows()
            if ":" in tag or tag in ("remove", "keep", "segment", "fuse")
            for p in split(row, "known")
        }
    )
    nearness = (vectors @ _encode(encoder, known).T).amax(1)
    ranks = encoder.tokenizer.get_vocab()
    nearness += torch.tensor([2.0 * (ranks.get(w, COMMON) < COMMON) for w in words])
    order = nearness.topk(min(count, len(words)))[1].sort()[0]
    table = (whiten(vectors[order], WORDS_WIDTH) * 32).clamp(-127, 127).round().to(torch.int8)
    short = torch.tensor([len(words[k]) <= LETTERS for k in order.tolist()])
    order, table = order[short], table[short]
    letters = torch.tensor(list("\n".join(words[k] for k in order.tolist()).encode()), dtype=torch.uint8)
    path = Path(out) / WORDS_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save({"vectors": table, "words": letters}))
    return path


def _encode(encoder: TransformersEncoder, texts: list[str]) -> Tensor:
    """Unit vectors (N, D), in batches of equal length as far as that goes."""
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    vectors = torch.cat([encoder.encode([texts[k] for k in order[i : i + 256]]) for i in range(0, len(order), 256)])
    return vectors[torch.tensor(order).argsort()]


def whiten(vectors: Tensor, width: int) -> Tensor:
    """(N, D) -> (N, width): principal components divided by the root of their deviation, deviation 1 over all."""
    centred = (vectors - vectors.mean(0)).double()
    values, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    values, directions = values.flip(0)[:width], directions.flip(1)[:, :width]
    whitened = centred @ directions / values.clamp_min(1e-12).pow(0.25)
    return (whitened / whitened.std()).float()


def main() -> None:
    """Writes the word vectors: `python -m anyfuse.training.parts.word_vectors LIST OUT`."""
    print(f"wrote {make_words(Path(sys.argv[1]).read_text().split(), sys.argv[2])}")


if __name__ == "__main__":
    main()
