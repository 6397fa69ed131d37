"""`anyfuse datasets`: where the field's data sets are."""

from __future__ import annotations


def datasets() -> None:
    """List the field's data sets: where they are, their terms and splits."""
    from ..benchmark.bench import datasets_text

    print(datasets_text())
