"""The report of a cluster's run: a folder of Parquet files, one row a set."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import FusionError
from ..io.atomic import write_whole
from ..io.stores import is_url, join, list_store, read_store, remove_from_store, write_store

ROWS = 2000
"""Rows of a file at most."""
SECONDS = 20.0
"""Between files at most, so that a killed run loses no more of its report."""
COLUMNS = {
    "name": "string",
    "status": "string",  # fused or scored, there (by an earlier run), failed
    "reason": "string",  # of a failure
    "output": "string",
    "inputs": "list",
    "seconds": "double",  # with reading and writing, without the transfer from and to a store
    "attempt": "int",  # 1: no worker died over it
    "node": "string",  # where it was done
    "report": "string",  # JSON: the report of the set, or its metrics
}


class Rows:
    """Takes rows and writes them, whole files at a time.

    Args:
        folder: local or of a store; made where it is missing.
        keep: of a row of an earlier run, True: it stays, and its set is `known`; False: it makes room, as those of
            failures and of results that are gone; None: it is of other sets, and stays.

    Raises:
        FusionError: a file in the folder that is of something else; nothing is changed then.
    """

    def __init__(self, folder: str, keep: Callable[[Mapping[str, Any]], bool | None]) -> None:
        self.folder, self.waiting, self.last = folder, list[dict[str, Any]](), time.monotonic()
        self.known = self._tidy(keep)

    def add(self, row: Mapping[str, Any]) -> None:
        """One row; columns that COLUMNS does not name are left out. Rows that cannot be written wait for `flush`."""
        self.waiting.append({name: row.get(name) for name in COLUMNS})
        late = time.monotonic() - self.last > SECONDS
        if late or len(self.waiting) % ROWS == 0:
            self.last = time.monotonic()
            with contextlib.suppress(FusionError):  # a full disk, or a store that is away; sets go on
                self.flush()

    def flush(self) -> None:
        """Writes what is waiting; FusionError where it cannot be written, and then it still waits."""
        if self.waiting:
            self._write(f"part-{time.time_ns()}-{secrets.token_hex(3)}.parquet", self.waiting)
            self.waiting = []
        self.last = time.monotonic()

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Writes what is waiting at the end of the body. An error of the body comes before one of the report."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(FusionError):
                self.flush()
            raise
        self.flush()

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        import pyarrow
        from pyarrow.parquet import write_table

        kinds = {
            "string": pyarrow.string(),
            "double": pyarrow.float64(),
            "int": pyarrow.int64(),
            "list": pyarrow.list_(pyarrow.string()),
        }
        schema = pyarrow.schema([(column, kinds[kind]) for column, kind in COLUMNS.items()])
        buffer = io.BytesIO()
        write_table(pyarrow.Table.from_pylist(rows, schema), buffer)
        place = join(self.folder, name)
        if is_url(place):
            write_store(place, buffer.getvalue())
        else:
            write_whole(place, [buffer.getvalue()], overwrite=True)

    def _tidy(self, keep: Callable[[Mapping[str, Any]], bool | None]) -> set[str]:
        """Leaves one row of each set in the files of earlier runs; returns the sets that have one."""
        known: set[str] = set()
        changed: dict[str, list[dict[str, Any]]] = {}
        for name in _parts(self.folder):  # all are read before one is written
            rows = read_rows(self.folder, name)
            kept = []
            for row in rows:
                stays = keep(row)
                if stays is None or (stays and row["name"] not in known):
                    kept.append(row)
                if stays:
                    known.add(row["name"])
            if len(kept) < len(rows):
                changed[name] = kept
        for name, kept in changed.items():
            place = join(self.folder, name)
            if kept:
                self._write(name, kept)
            else:
                remove_from_store(place) if is_url(place) else os.unlink(place)
        return known


def _parts(folder: str) -> list[str]:
    if is_url(folder):
        names = list_store(folder, missing=True)
    else:
        names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in names if name.startswith("part-") and name.endswith(".parquet"))


def read_rows(folder: str, name: str | None = None) -> list[dict[str, Any]]:
    """The rows of a report.

    Args:
        folder: local or of a store.
        name: of one of its files; None: all.

    Raises:
        FusionError: a file that is no Parquet or has other columns, or pyarrow is not installed.
    """
    if name is None:
        return [row for part in _parts(folder) for row in read_rows(folder, part)]
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError:
        raise FusionError("the report of a cluster needs pyarrow: pip install 'anyfuse[cluster]'") from None
    place = join(folder, name)
    data = read_store(place) if is_url(place) else Path(place).read_bytes()
    try:
        table = read_table(io.BytesIO(data))
    except ArrowException as error:
        raise FusionError(f"{place}: is no report of a cluster ({error!s:.100}); give another --report") from None
    if table.schema.names != list(COLUMNS):
        raise FusionError(f"{place}: is no report of a cluster; give another --report")
    return list(table.to_pylist())
