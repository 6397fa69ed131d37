"""Folders of images that belong together: file k of each folder shows the same scene when the stems agree."""

from __future__ import annotations

import html
import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ..errors import FusionError
from .names import stem_of, suffix_of
from .sniff import HEAD, other_suffixes, other_title, title_of
from .xmp import OWN

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})

OTHER_SUFFIXES = frozenset(
    [
        ".heic",
        ".heif",
        ".avif",
        ".jxl",
        ".jp2",
        ".j2k",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pfm",
        ".exr",
        ".hdr",
        ".mpo",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".orf",
        ".rw2",
        ".raf",
        ".pef",
        ".srw",
        ".dcm",
        ".nii",
    ]
)
"""Of images too. Alone under their stem they are part of a set, and the reader says whether it takes them."""

_COPIES = frozenset({".bak", ".old", ".orig", ".tmp", ".part", ".crdownload", ".thm"})
_COPIES |= {".txt", ".csv", ".json", ".xml", ".xmp", ".md", ".log", ".ini", ".yaml", ".html", ".py", ".pt", ".npy"}
"""Of copies, previews and texts, which are no images of their own whatever they hold."""

Sets = tuple[dict[str, tuple[Path, ...]], dict[str, list[Path]]]
"""Complete sets by name, and names of incomplete ones with the folders that lack them."""


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Order of names as people count: 2 before 10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part]


def list_images(folder: str | Path) -> list[Path]:
    """Image files of one folder, sorted by name; a FusionError where there is no folder or no image in it."""
    folder = Path(folder)
    files = sorted(_listed(folder, IMAGE_SUFFIXES | other_suffixes()))
    if not files:
        looked = ", ".join(sorted(IMAGE_SUFFIXES))
        raise FusionError(f"{folder}: no image in this folder (looked for {looked}); {contents(folder)}")
    return files


def list_files(folder: str | Path) -> list[Path]:
    """Images of one folder in natural order, also of formats that are named as such and may not be read.

    Of a camera's two files with one stem, as IMG_1.JPG and IMG_1.CR3, the common format counts. Results of an earlier
    run over images of this folder are left out.
    """
    files = sorted(_listed(Path(folder), IMAGE_SUFFIXES), key=natural)
    stems = {stem_of(path) for path in files}
    files += [path for path in _listed(Path(folder), OTHER_SUFFIXES | other_suffixes()) if stem_of(path) not in stems]
    files += [p for p in _listed(Path(folder), None) if stem_of(p) not in stems and title_of(read_head(p)) is not None]
    results = results_among(files, {path.name for path in files})
    files = [path for path in files if path not in results]
    if not files:
        others = "".join(f"; {line}" for line in left_out(folder)[:1])
        raise FusionError(f"{folder}: no image in this folder, by names or by content; {contents(folder)}{others}")
    return sorted(files, key=natural)


def contents(folder: str | Path) -> str:
    """What lies in a folder, for messages: 'it holds 3 .txt and 1 folder'."""
    counts = Counter[str]()
    for path in Path(folder).iterdir():
        if not path.name.startswith("."):
            counts["folder" if path.is_dir() else suffix_of(path).lower() or "without suffix"] += 1
    folders = counts.pop("folder", 0)
    parts = [f"{count} {suffix}" for suffix, count in counts.most_common(4)]
    parts += [f"{sum(counts.values()) - sum(n for _, n in counts.most_common(4))} more"] if len(counts) > 4 else []
    parts += [f"{folders} folder{'s' * (folders > 1)} (--group folder takes each as a set)"] if folders else []
    return f"it holds {', '.join(parts)}" if parts else "it is empty"


_EDGE = 1 << 19  # bytes at the start and at the end of a file among which its record is


def results_among(files: Sequence[Path], names: Collection[str]) -> set[Path]:
    """Files that anyfuse has made of files called `names`, by the record in them."""
    found = set()
    for path in files:
        sources = set(record_sources(path)) - {path.name}
        if sources and sources <= set(names):
            found.add(path)
    return found


def record_sources(path: Path) -> list[str]:
    """The names of the sources in a result's own record; none where a file has no record."""
    try:
        with path.open("rb") as file:
            data = file.read(_EDGE)
            size = file.seek(0, os.SEEK_END)
            if OWN.encode() not in data and size > _EDGE:
                file.seek(max(_EDGE, size - _EDGE))
                data = file.read(_EDGE)
    except OSError:
        return []
    start = data.find(OWN.encode())
    found = re.search(rb":Sources>(.*?)</[^<>]*:Sources>", data[start:], re.DOTALL) if start >= 0 else None
    items = re.findall(rb"<[^<>/]*:li>(.*?)</", found[1], re.DOTALL) if found else []
    return [html.unescape(item.decode("utf-8", "replace")) for item in items]


def left_out(folder: str | Path) -> list[str]:
    """A line for each kind of file in a folder that is no image to fuse: a video, a result of an earlier run."""
    kinds: dict[str, list[Path]] = {}
    images = [p for known in (IMAGE_SUFFIXES, OTHER_SUFFIXES | other_suffixes()) for p in _listed(Path(folder), known)]
    results = results_among(images, {path.name for path in images})
    if results:
        kinds["a result of images beside it"] = sorted(results, key=natural)
    for path in sorted(_listed(Path(folder), None), key=natural):
        head = read_head(path)
        kind = None if title_of(head) else other_title(head)
        if kind is not None and kind not in _NO_PICTURES:
            kinds.setdefault(kind, []).append(path)
    return [
        f"{paths[0]} is {kind}{'' if 'result' in kind else ', not an image that can be read'}"
        f"{f', as {len(paths) - 1} more are' * (len(paths) > 1)}"
        for kind, paths in kinds.items()
    ]


_NO_PICTURES = ("a web page", "a zip archive", "a compressed file", "a numpy array", "a MATLAB file")
"""What lies in folders of images without being meant."""


def read_head(path: Path) -> bytes:
    """The first bytes of a file, by which formats are known; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _listed(folder: Path, suffixes: frozenset[str] | None) -> Iterator[Path]:
    """Files of a folder with one of the suffixes, or (None) with others than images and copies have.

    Raises FusionError where there is no folder, or it may not be read.
    """
    known = IMAGE_SUFFIXES | OTHER_SUFFIXES | other_suffixes() | _COPIES
    if not folder.is_dir():
        raise FusionError(f"{folder}: no such folder")
    try:
        for path in folder.iterdir():
            suffix = path.suffix.lower()
            fits = suffix not in known and not suffix.endswith("~") if suffixes is None else suffix in suffixes
            if fits and not path.name.startswith(".") and path.is_file():
                yield path
    except PermissionError:
        raise FusionError(f"{folder}: this folder may not be read; ask its owner") from None


def pair_by_stem(folders: Sequence[str | Path]) -> tuple[dict[str, tuple[Path, ...]], dict[str, list[Path]]]:
    """Files of several folders, grouped by file stem.

    Returns the complete groups {stem: one path per folder} in order of the stems, and the stems that some folder lacks
    with the folders they are missing from. Two files with the same stem in one folder are a FusionError.
    """
    by_folder: list[dict[str, Path]] = []
    for folder in folders:
        stems: dict[str, Path] = {}
        for path in list_images(folder):
            if stem_of(path) in stems:
                raise FusionError(
                    f"{folder}: {stems[stem_of(path)].name} and {path.name} have the same stem; keep one of them"
                )
            stems[stem_of(path)] = path
        by_folder.append(stems)
    every = sorted(set().union(*by_folder))
    complete = {s: tuple(f[s] for f in by_folder) for s in every if all(s in f for f in by_folder)}
    partial = {
        s: [Path(d) for d, f in zip(folders, by_folder, strict=True) if s not in f] for s in every if s not in complete
    }
    return complete, partial


Rule = tuple[str, str]
"""What is cut off a stem, in lower case: at its start and at its end."""


def pair_folders(folders: Sequence[str | Path], endings: Sequence[str] | None = None) -> tuple[Sets, str]:
    """Files of several folders that belong together by their names.

    Files belong together when their stems agree: as they are; without regard to case; or without a word that most
    names of one folder begin or end with, as DJI_0001_T and DJI_0001_V, FLIR0001 and FLIR0001_RGB. The rule that makes
    the most sets counts, and of equal ones the plainest.

    Args:
        folders: two or more.
        endings: what the names of each folder begin or end with; None: found out.

    Returns:
        The sets, and how they were found ('' where the stems agree).
    """
    return pair_files(folders, [list_files(folder) for folder in folders], endings)


def pair_files(
    folders: Sequence[str | Path], files: Sequence[Sequence[Path]], endings: Sequence[str] | None = None
) -> tuple[Sets, str]:
    """`pair_folders` for folders whose files are known: one list for each folder."""
    if endings is not None and len(endings) != len(folders):
        raise FusionError(f"--pairs names {len(endings)} endings for {len(folders)} folders; give one for each")
    if endings is None:
        _check_stems(folders, files)
        choices = [_rules(own, few=len(folders) > 4) for own in files]
        rules = list(itertools.product(*choices)) if len(folders) <= 8 else [tuple(("", "") for _ in folders)]
        rules.sort(key=lambda chosen: sum(bool(part) for rule in chosen for part in rule))
        exact = len(set.intersection(*({stem_of(path) for path in own} for own in files)))
        keyed = [[_keyed(own, [rule]) for own, rule in zip(files, chosen, strict=True)] for chosen in rules]
        counts = [0 if None in some else len(set.intersection(*map(set, some))) for some in keyed]  # type: ignore[arg-type]
        best = max(range(len(rules)), key=lambda k: counts[k])
        if exact >= counts[best]:
            return _by_stem(folders, files), ""
        chosen, found = rules[best], keyed[best]
    else:
        chosen = tuple(("", ending.lower()) for ending in endings)
        found = [_keyed(own, [("", e.lower()), (e.lower(), "")]) for own, e in zip(files, endings, strict=True)]
    if None in found:
        raise FusionError("--pairs: two files of a folder would have one name; give other endings")
    how = "whatever the case"
    if any(map(any, chosen)):
        how = "without " + ", ".join(" and ".join(filter(None, rule)) or "nothing" for rule in chosen)
    return _sets(folders, found), how  # type: ignore[arg-type]


def _check_stems(folders: Sequence[str | Path], files: Sequence[Sequence[Path]]) -> None:
    """Refuses two files of one stem in one folder."""
    for folder, own in zip(folders, files, strict=True):
        seen: dict[str, Path] = {}
        for path in own:
            if stem_of(path) in seen:
                names = f"{seen[stem_of(path)].name} and {path.name}"
                raise FusionError(f"{folder}: {names} have the same stem; keep one of them")
            seen[stem_of(path)] = path


def _rules(files: Sequence[Path], few: bool) -> list[Rule]:
    """What may be cut off the names of a folder: nothing, and a word that half of them or more begin or end with."""
    ends, starts = Counter[str](), Counter[str]()
    for path in files:
        stem = stem_of(path).lower()
        ends.update(m[0] for m in [re.search(r"([-_. ]+|(?<=\d))[a-z][a-z0-9]*$", stem)] if m and m.start())
        starts.update(m[0] for m in [re.match(r"[a-z]+([-_. ]+|(?=\d))", stem)] if m and m.end() < len(stem))
    rules: list[Rule] = [("", "")]
    rules += [("", end) for end, count in ends.most_common(1) if 2 * count >= len(files)]
    if not few:
        rules += [(start, "") for start, count in starts.most_common(1) if 2 * count >= len(files)]
    return rules


def _keyed(files: Sequence[Path], rules: Sequence[Rule]) -> dict[str, tuple[str, Path]] | None:
    """Key -> name and file, with the first rule that fits each file; None where two files get one key."""
    found: dict[str, tuple[str, Path]] = {}
    for path in files:
        name = stem_of(path)
        for start, end in rules:
            low = stem_of(path).lower()
            if low.startswith(start) and low.endswith(end) and len(low) > len(start) + len(end) > 0:
                name = stem_of(path)[len(start) : len(low) - len(end)]
                break
        if name.lower() in found:
            return None
        found[name.lower()] = name, path
    return found


def _by_stem(folders: Sequence[str | Path], files: Sequence[Sequence[Path]]) -> Sets:
    return _sets(folders, [{stem_of(path): (stem_of(path), path) for path in own} for own in files])


def _sets(folders: Sequence[str | Path], found: Sequence[dict[str, tuple[str, Path]]]) -> Sets:
    """Sets by the keys that all folders have."""
    every = sorted(set().union(*found))
    names = {key: next(own[key][0] for own in found if key in own) for key in every}
    complete = {names[k]: tuple(own[k][1] for own in found) for k in every if all(k in own for own in found)}
    partial = {
        names[k]: [Path(d) for d, own in zip(folders, found, strict=True) if k not in own]
        for k in every
        if not all(k in own for own in found)
    }
    return complete, partial
