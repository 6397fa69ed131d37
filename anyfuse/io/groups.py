"""Sets of images as people have them: a table, one folder with brackets or pairs, or several folders."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import FusionError
from ..runtime import check_regular
from .folders import (
    IMAGE_SUFFIXES,
    OTHER_SUFFIXES,
    left_out,
    list_files,
    natural,
    pair_folders,
    results_among,
)
from .names import stem_of, suffix_of
from .pages import split_name
from .shots import find_series, read_shot
from .sniff import other_suffixes

WORDS = ("auto", "time", "name", "folder")


@dataclass(frozen=True)
class Pairing:
    """How files are put together, as the command line has it."""

    group: str | None = None  # auto, a number, time, name or folder: sets within one folder
    pairs: str | None = None  # endings of names, as _T/_V: pairs within one folder, or one ending for each folder
    table: str | None = None  # CSV file with one set a line

    @property
    def endings(self) -> list[str] | None:
        """The endings that `pairs` names."""
        if self.pairs is None:
            return None
        endings = [part.strip() for part in re.split(r"[/,]", self.pairs)]
        if len(endings) < 2 or len({e.lower() for e in endings}) < len(endings):
            raise FusionError(f"--pairs {self.pairs}: give two or more different endings, as _T/_V")
        return endings

    @property
    def chosen(self) -> bool:
        """Whether anything is."""
        return bool(self.group or self.pairs or self.table)


@dataclass
class Found:
    """Sets by name, what is left out and why, and how names were brought together."""

    sets: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set, repr=False, compare=False)  # names in lower case

    def add(self, name: str, files: Sequence[Path]) -> None:
        """A set under a name that no other one has."""
        if len(self._taken) != len(self.sets):
            self._taken = {known.lower() for known in self.sets}
        unique, count = name, 2
        while unique.lower() in self._taken:
            unique, count = f"{name}-{count}", count + 1
        self._taken.add(unique.lower())
        self.sets[unique] = tuple(files)


def find_sets(inputs: Sequence[str | Path], pairing: Pairing, apart: Sequence[str | Path] = ()) -> Found:
    """The sets of images in a table, in one folder, or in several folders.

    Args:
        inputs: folders; none with a table.
        pairing: how files are put together.
        apart: folders of results, which are no sets though they may lie within an input.

    Raises:
        FusionError: no set at all, or what does not belong together.
    """
    if sum(value is not None for value in (pairing.group, pairing.pairs, pairing.table)) > 1:
        raise FusionError("give one of --group, --pairs and --list, not several")
    if pairing.table is not None:
        if inputs:
            raise FusionError(f"--list {pairing.table} names all images; leave {inputs[0]} out")
        return read_table(pairing.table)
    if len(inputs) == 1:
        found = _in_one_folder(Path(inputs[0]), pairing, apart)
        found.notes += _others(inputs)
        return found
    if pairing.group is not None:
        raise FusionError(f"--group is for one folder, and {len(inputs)} are given; give one, or leave --group out")
    (complete, partial), how = pair_folders(inputs, pairing.endings)
    found = Found(complete, {name: f"not in {', '.join(map(str, lacking))}" for name, lacking in partial.items()})
    if how and complete:
        first = " with ".join(path.name for path in next(iter(complete.values())))
        found.notes.append(f"names agree {how}: {first}")
    found.notes += _others(inputs)
    return found


def _others(folders: Sequence[str | Path]) -> list[str]:
    """Notes on files that are left out because they are no images."""
    return [f"{line}; left out" for folder in folders for line in left_out(folder)]


def _in_one_folder(folder: Path, pairing: Pairing, apart: Sequence[str | Path] = ()) -> Found:
    endings, how = pairing.endings, pairing.group or "auto"
    if how.isdecimal():
        if int(how) < 2:
            raise FusionError(f"--group {how}: a set has two images or more")
        return _cut(list_files(folder), int(how))
    if how not in WORDS:
        raise FusionError(f"--group {how}: give a number of files, or one of {', '.join(WORDS)}")
    if endings is not None:
        found = _by_endings(list_files(folder), endings)
    elif how == "folder" or (how == "auto" and _only_folders(folder)):
        found = _by_folder(folder, apart)
    elif how == "name":
        found = _by_name(list_files(folder))
    else:
        found = _by_shot(list_files(folder), how)
    if not found.sets:
        reason = next(iter(found.lacking.values()), "no images")
        raise FusionError(
            f"{folder}: no two images belong together ({reason}); give --group N, name or time, or --pairs"
        )
    return found


def _cut(files: Sequence[Path], size: int) -> Found:
    """Every `size` files in a row."""
    found = Found()
    for start in range(0, len(files), size):
        some = files[start : start + size]
        if len(some) == size:
            found.add(stem_of(some[0]), some)
        else:
            found.lacking[stem_of(some[0])] = f"the last {len(some)} of {len(files)} files make no set of {size}"
    return found


def _only_folders(folder: Path) -> bool:
    """Whether a folder holds folders and no images."""
    if not folder.is_dir():
        raise FusionError(f"{folder}: no such folder")
    try:
        list_files(folder)
    except FusionError:
        return any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir())
    return False


def _by_folder(folder: Path, apart: Sequence[str | Path] = ()) -> Found:
    """A set for each folder in the folder, but for folders of results."""
    found = Found()
    results = {os.path.realpath(path) for path in apart}
    places = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    names = {path.name for place in places for path in place.iterdir()}
    for below in sorted((p for p in places if os.path.realpath(p) not in results), key=natural):
        try:
            files = list_files(below)
        except FusionError as error:
            if any(path.is_file() and not path.name.startswith(".") for path in below.iterdir()):
                found.lacking[below.name] = str(error)
            else:
                found.notes.append(f"{below} holds no files; left out")
            continue
        if len(results_among(files, names)) == len(files):
            found.notes.append(f"{below} holds results of the other folders; left out")
            continue
        if len(files) > 1:
            found.add(below.name, files)
        else:
            found.lacking[below.name] = f"one image alone, {files[0].name}"
    return found


def _grouped(files: Sequence[Path], key: Callable[[Path], str]) -> Found:
    """Files of one key, whatever its case."""
    groups: dict[str, list[Path]] = {}
    names: dict[str, str] = {}
    for path in files:
        name = key(path)
        names.setdefault(name.lower(), name)
        groups.setdefault(name.lower(), []).append(path)
    found = Found()
    for low, own in groups.items():
        if len(own) > 1:
            found.add(names[low], own)
        else:
            found.lacking[stem_of(own[0])] = "no other image has this name with another ending"
    return found


def _by_name(files: Sequence[Path]) -> Found:
    """By the stem without its last word, or number of one or two digits: DJI_0001_T, scene-1, room_ev+2."""

    def key(path: Path) -> str:
        match = re.fullmatch(
            r"(.*?\w)(?:[-_. ]+[A-Za-z]*[-+]?\d{0,2}(?:\.\d+)?(?:ev)?|(?<=\d)[A-Za-z]{1,8})", stem_of(path), re.I
        )
        return match[1] if match else stem_of(path)

    return _grouped(files, key)


def _by_endings(files: Sequence[Path], endings: Sequence[str]) -> Found:
    """By the stem without one of the endings, which stand at its start or end; a set has one file of each."""
    groups: dict[str, dict[int, Path]] = {}
    names: dict[str, str] = {}
    found = Found()
    order = sorted(range(len(endings)), key=lambda k: -len(endings[k]))  # the longest that fits, '' last
    for path in files:
        stem, low = stem_of(path), stem_of(path).lower()
        for k in order:
            end = endings[k].lower()
            if low.endswith(end) and len(low) > len(end):
                name = stem[: len(stem) - len(end)]
            elif low.startswith(end) and len(low) > len(end):
                name = stem[len(end) :]
            else:
                continue
            names.setdefault(name.lower(), name)
            if k in groups.setdefault(name.lower(), {}):
                raise FusionError(f"{path}: {groups[name.lower()][k].name} has the same name; keep one of them")
            groups[name.lower()][k] = path
            break
        else:
            found.lacking[stem] = f"has none of the endings {', '.join(endings)}"
    for low, own in groups.items():
        missing = [endings[k] for k in range(len(endings)) if k not in own]
        if missing:
            found.lacking[names[low]] = f"no file with {', '.join(missing)}"
        else:
            found.add(names[low], [own[k] for k in range(len(endings))])
    return found


# Brackets by what the camera wrote


def _by_shot(files: Sequence[Path], how: str) -> Found:
    """By the pauses between shots; auto: also by exposures that begin anew, or by names where EXIF says nothing."""
    shots = [read_shot(path) for path in files]
    timed = [shot for shot in shots if shot.time is not None]
    found = Found()
    if 2 * len(timed) > len(shots):  # a screenshot among the pictures of a camera
        for shot in shots:
            if shot.time is None:
                found.lacking[stem_of(shot.path)] = "has no time in its EXIF, and nothing else says where it belongs"
        shots = timed
    elif how == "time":
        first = next(shot.path for shot in shots if shot.time is None)
        raise FusionError(f"{first}: has no time in its EXIF; give --group N or --group name")
    series = find_series(shots, how == "auto")
    if series is None:
        return _by_name(files)
    for some in series:
        if len(some) > 1:
            found.add(stem_of(some[0].path), sorted((shot.path for shot in some), key=natural))
        else:
            found.lacking[stem_of(some[0].path)] = "stands alone: no other shot of its bracket is near in time"
    return found


# Tables


def read_table(path: str | Path) -> Found:
    """Sets from a CSV file: one a line, a file in each cell, commas, semicolons or tabs between.

    Names are those of files beside the table, or in the present folder. A first line without files is a heading: its
    column `name` or `output` names the results; otherwise they are named after the first file. Lines that begin with #
    are passed over.
    """
    path = Path(path)
    try:
        check_regular(path)
        text = _text_of(path.read_bytes())
    except OSError as error:
        raise FusionError(f"--list {path}: cannot be read ({error.strerror}); name a CSV file") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise FusionError(f"--list {path}: has no lines; give one set a line, as ir/1.png,vis/1.png")
    between = max(",;\t", key=lines[0].count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=between, strict=True)]
    except csv.Error as error:
        raise FusionError(f"--list {path}: is no table ({error})") from None
    label = None
    heading = [cell.lower() for cell in rows[0]]
    if not any(_place(path, cell) for cell in rows[0] if cell):
        names = [k for k, cell in enumerate(heading) if cell in ("name", "output", "result")]
        if names or not any(Path(cell).suffix for cell in rows[0]):
            label, rows = (names[0] if names else None), rows[1:]
    found = Found()
    for row in rows:
        cells = [cell for k, cell in enumerate(row) if cell and k != label]
        if not cells:
            continue
        places = [_place(path, cell) for cell in cells]
        name = stem_of(cells[0] if places[0] is None else split_name(places[0])[0])
        if label is not None and label < len(row) and row[label]:
            name = result_name(row[label], path)
        if None in places:
            found.lacking[name] = f"{cells[places.index(None)]} is no file beside {path} or here"
        elif len(cells) < 2:
            found.lacking[name] = f"one image alone, {cells[0]}"
        else:
            found.add(name, [place for place in places if place is not None])
    if not found.sets:
        raise FusionError(f"--list {path}: no line names two files ({next(iter(found.lacking.values()), 'no lines')})")
    return found


def result_name(cell: str, table: str | Path) -> str:
    """The set that a cell of the column `name` names: without a folder, and without the suffix of an image.

    Raises:
        FusionError: the cell is a folder alone, as '..'.
    """
    is_file = suffix_of(cell).lower() in {*IMAGE_SUFFIXES, *OTHER_SUFFIXES, *other_suffixes(), ".nii.gz"}
    name = stem_of(cell) if is_file else Path(cell).name
    if name in ("", ".", ".."):
        raise FusionError(f"--list {table}: {cell!r} is no name of a result; give one as scene-1")
    return name


def _text_of(data: bytes) -> str:
    """The text of a table: UTF-8, UTF-16 with a mark, or what Windows calls ANSI, as spreadsheets write them."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("utf-8-sig", "surrogateescape")
    cells = [cell.strip(" \"'") for cell in re.split(r"[,;\t\r\n]", text) if not cell.isascii()]
    names = [cell for cell in cells if any("\udc80" <= letter <= "\udcff" for letter in cell)]
    return text if any(Path(name).exists() for name in names) else data.decode("cp1252", "surrogateescape")


def _place(table: Path, cell: str) -> Path | None:
    """The file that a cell names, or None. It may choose pages, as 'stack.tif[3]', and have backslashes."""
    name, pages = split_name(cell)
    names = [name, name.replace("\\", "/")] if os.sep == "/" and "\\" in name else [name]
    try:
        places = (p for text in names for p in (table.parent / text, Path(text)))
        found = next((p for p in places if p.exists() and not p.is_dir()), None)
    except (OSError, ValueError):
        return None
    return found if found is None or pages is None else Path(f"{found}[{pages}]")
