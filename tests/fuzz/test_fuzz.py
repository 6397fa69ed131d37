"""Damaged files never crash, hang or leave a traceback. `python tests/fuzz/run.py` does the same for an hour."""

from __future__ import annotations

from pathlib import Path

from fuzz.kill import kill_rounds
from fuzz.mutations import damaged, seeds
from fuzz.run import fuzz

CASES = 2500


def test_damaged_files(tmp_path: Path) -> None:
    counts, found = fuzz(seed=0, count=CASES, seconds=240, finds=tmp_path)
    assert not found, "\n".join(f"{number}: {what}" for number, what in found.items())
    assert counts["refused"] > counts["read"] / 4 > 0


def test_a_number_gives_the_same_damage(tmp_path: Path) -> None:
    corpus = seeds(tmp_path)
    assert len(corpus) > 25
    assert [damaged(corpus, k, 3) for k in range(40)] == [
        damaged(dict(reversed(corpus.items())), k, 3) for k in range(40)
    ]


def test_a_batch_that_is_killed(tmp_path: Path) -> None:
    assert kill_rounds(tmp_path, rounds=2, sets=6)[-1] > 0
