"""Sets of images by their names alone, local or in object stores: what a cluster is given to do."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FusionError
from ..io.atomic import check_folder
from ..io.folders import IMAGE_SUFFIXES, OTHER_SUFFIXES, list_files, pair_files
from ..io.groups import Found, Pairing, result_name
from ..io.names import stem_of
from ..io.pages import split_name
from ..io.stores import canonical, is_url, join, list_store, local_path, read_store
from .choices import Choices, suffix_of
from .folders import check_folders, folder_sets

NAMES = ("name", "output", "result")
"""Headings of the column of a table that names the results."""


@dataclass(frozen=True)
class BulkSet:
    """One set. Files are local paths or URLs."""

    name: str
    inputs: tuple[str, ...]
    image: str  # file to write
    weights: str | None = None  # folders and file of maps, local
    explain: str | None = None
    masks: str | None = None


@dataclass(frozen=True)
class Sets:
    """Files of each set by name, what is left out and why, and notes."""

    files: dict[str, tuple[str, ...]]
    lacking: dict[str, str]
    notes: list[str]


def find_bulk(inputs: Sequence[str], pairing: Pairing, *, single: bool = False, apart: Sequence[str] = ()) -> Sets:
    """The sets in folders, local or of stores, or in a table (CSV or Parquet).

    Args:
        inputs: folders; none with a table.
        pairing: how files are put together; sets within one folder of a store need --pairs or a table.
        single: of one folder without a pairing, each image is a set of its own.
        apart: folders of results.

    Raises:
        FusionError: what does not belong together, or cannot be read.
    """
    inputs = [local_path(name) for name in inputs]
    if pairing.table is not None:
        if inputs:
            raise FusionError(f"--list {pairing.table} names all images; leave {inputs[0]} out")
        table = local_path(pairing.table)
        return _table_sets(table) if _is_bulk(table) else _as_names(folder_sets([], pairing, single, apart))
    if not any(map(is_url, inputs)):
        return _as_names(folder_sets(inputs, pairing, single, apart))
    if pairing.group is not None or len(inputs) < 2:
        raise FusionError("folders of a store are two or more, paired by names; name other sets in a table (--list)")
    files = [_files(folder) for folder in inputs]
    (complete, partial), how = pair_files(inputs, files, pairing.endings)
    sets = {
        name: tuple(join(folder, path.name) for folder, path in zip(inputs, paths, strict=True))
        for name, paths in complete.items()
    }
    lacking = {name: f"not in {', '.join(map(str, folders))}" for name, folders in partial.items()}
    return Sets(sets, lacking, [f"names agree {how}"] if how and sets else [])


def _as_names(found: Found) -> Sets:
    return Sets({k: tuple(map(str, v)) for k, v in found.sets.items()}, found.lacking, found.notes)


def _files(folder: str) -> list[Path]:
    """Images of a folder by their suffixes, in the order of their names."""
    if not is_url(folder):
        return list_files(folder)
    known = IMAGE_SUFFIXES | OTHER_SUFFIXES
    files = [Path(name) for name in list_store(folder) if Path(name).suffix.lower() in known]
    if not files:
        raise FusionError(f"{folder}: no image in this folder, by the names; check the URL")
    return files


# ---------------------------------------------------------------------- tables


def _is_bulk(table: str) -> bool:
    """Whether a table is Parquet, lies in a store or names files there; other ones are read as without a cluster."""
    if is_url(table) or table.lower().endswith((".parquet", ".pq")):
        return True
    try:
        return b"://" in Path(table).read_bytes()
    except OSError as error:
        raise FusionError(f"--list {table}: cannot be read ({error.strerror}); name a CSV or Parquet file") from None


def _table_sets(table: str) -> Sets:
    """Sets of a table with a heading: one a line. The column name, output or result names them, the others hold files;
    names without a folder are beside the table. That a file is there is seen when it is read.
    """
    heading, rows = _parquet(table) if table.lower().endswith((".parquet", ".pq")) else _csv(table)
    label = next((k for k, word in enumerate(heading) if word.lower() in NAMES), None)
    home = table.rpartition("/")[0] if is_url(table) else os.path.dirname(os.path.abspath(table))
    found = Found()
    for row in rows:
        cells = [str(cell).strip() for k, cell in enumerate(row) if k != label and cell]
        if not cells:
            continue
        given = "" if label is None or label >= len(row) or row[label] is None else str(row[label]).strip()
        name = result_name(given or stem_of(cells[0]), table)
        files = [local_path(c) if "://" in c or os.path.isabs(c) else join(home, c) for c in cells]
        if len(files) < 2:
            found.lacking[name] = f"one image alone, {cells[0]}"
        else:
            found.add(name, files)  # type: ignore[arg-type]
    if not found.sets:
        raise FusionError(f"--list {table}: no line names two files")
    return Sets({k: tuple(map(str, v)) for k, v in found.sets.items()}, found.lacking, [])


def _bytes(table: str) -> bytes:
    try:
        return read_store(table) if is_url(table) else Path(table).read_bytes()
    except OSError as error:
        raise FusionError(f"--list {table}: cannot be read ({error.strerror}); name a CSV or Parquet file") from None


def _csv(table: str) -> tuple[list[str], Iterable[Sequence[str]]]:
    text = _bytes(table).decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise FusionError(f"--list {table}: has no lines; give one set a line")
    between = max(",;\t", key=lines[0].count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=between)]
    if any("://" in cell or Path(cell).suffix for cell in rows[0]):
        return [""] * len(rows[0]), rows
    return rows[0], rows[1:]


def _parquet(table: str) -> tuple[list[str], Iterable[Sequence[str]]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError:
        raise FusionError(f"--list {table}: needs pyarrow: pip install 'anyfuse[cluster]'") from None
    try:
        content = read_table(io.BytesIO(_bytes(table)))
    except ArrowException as error:
        raise FusionError(f"--list {table}: is no Parquet file ({error!s:.100}); give CSV or Parquet") from None
    return list(content.column_names), zip(*(column.to_pylist() for column in content.columns), strict=True)


# ---------------------------------------------------------------------- results


def plan_bulk(
    sets: Sets,
    output: str,
    choices: Choices,
    weights_out: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
) -> tuple[list[BulkSet], dict[str, str]]:
    """Every set with the names of its files, and failures by name.

    Raises:
        FusionError: results that would replace inputs, or maps with results in a store.
    """
    maps = {"--weights-out": weights_out, "--explain": explain, "--mask-out": mask_out}
    for option, place in maps.items():
        if place is not None and is_url(output):
            raise FusionError(f"{option} needs results in a local folder; leave it out, or give another -o")
    planned, failures = list[BulkSet](), dict[str, str]()
    taken: dict[str, str] = {}
    inputs = {canonical(split_name(f)[0]) for files in sets.files.values() for f in files}
    for name, files in sets.files.items():
        if choices.reference >= len(files):
            failures[name] = f"--reference {choices.reference + 1} is not one of its {len(files)} images"
            continue
        image = join(output, f"{name}{suffix_of(Path(files[choices.reference]), choices.suffix)}")
        if taken.setdefault(image, name) != name:
            failures[name] = f"{image} is the result of {taken[image]} too"
        elif canonical(image) in inputs:
            raise FusionError(f"{image}: is one of the inputs and is not overwritten; give another output")
        else:
            weights, explained = (place and os.path.join(place, name) for place in (weights_out, explain))
            masks = mask_out and os.path.join(mask_out, f"{name}.png")
            planned.append(BulkSet(name, files, image, weights, explained, masks))
    return planned, failures


def existing(folder: str) -> set[str]:
    """Names of the files in a folder of results, which may be missing."""
    if is_url(folder):
        return set(list_store(folder, missing=True))
    return {entry.name for entry in os.scandir(folder) if entry.is_file()} if os.path.isdir(folder) else set()


def check_results(inputs: Sequence[str], output: str, apart: Iterable[str]) -> None:
    """Raises FusionError, before any work is done, where results cannot go to `output` or `apart`."""
    local = [name for name in map(local_path, inputs) if not is_url(name)]
    for folder in local:
        if not os.path.isdir(folder):
            raise FusionError(f"{folder}: no such folder; a cluster fuses folders or a table (--list)")
    if not is_url(output):
        check_folders(local, output)
    elif canonical(output) in map(canonical, inputs):
        raise FusionError(f"{output}: is an input folder too; name another one for the results")
    for folder in apart:
        if not is_url(folder):
            check_folder(folder)
