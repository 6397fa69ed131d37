"""The score file of a folder, which grows from run to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import FusionError
from .protocol import Protocol, Row, differences, read_scores, write_scores


class Store:
    """Rows by (image, method). Those of earlier runs stay; a file of another protocol is refused.

    images: all stems of the data set, in the order in which the file shall have them.
    """

    def __init__(self, path: Path, protocol: Protocol, images: Sequence[str]) -> None:
        self.path, self.protocol = path, protocol
        self.rows: dict[tuple[str, str], Row] = {}
        self._changed = True
        self._order = {stem: index for index, stem in enumerate(images)}
        if not path.exists():
            return
        before, rows = read_scores(path)
        reasons = differences(before, protocol)
        if reasons:
            raise FusionError(f"{path}: has another protocol: {reasons[0]}; give another folder with -o")
        self.protocol = replace(protocol, metrics={**before.metrics, **protocol.metrics})
        self.rows = {(r.image, r.method): r for r in rows}

    def retain(self, wanted: Callable[[Row], bool]) -> None:
        """Drops the rows that are not wanted: those of a model whose code or weights, or an image whose content, has
        changed.
        """
        self.rows = {key: row for key, row in self.rows.items() if wanted(row)}
        self._changed = True

    def find(self, image: str, method: str, origin: str, metrics: Sequence[str]) -> Row | None:
        """The row with just these metrics, if it has all of them and is of this origin."""
        row = self.rows.get((image, method))
        if row is None or row.origin != origin or not all(m in row.values for m in metrics):
            return None
        return replace(row, values={m: row.values[m] for m in metrics})

    def add(self, row: Row) -> None:
        """Adds a row; other metrics of an earlier row of the same origin stay."""
        key = (row.image, row.method)
        before = self.rows.get(key)
        values = {**before.values, **row.values} if before and before.origin == row.origin else row.values
        self.rows[key] = replace(row, values=values)
        self._changed = True

    def save(self) -> None:
        """Writes the file, if there is anything new."""
        if not self._changed:
            return
        in_order = sorted(self.rows.values(), key=lambda r: self._order.get(r.image, len(self._order)))
        write_scores(self.path, self.protocol, in_order)
        self._changed = False
