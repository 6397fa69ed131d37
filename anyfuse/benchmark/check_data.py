"""`anyfuse datasets check`: layout, pairs, sizes, unreadable files, repeats, leaks between training and test."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import FusionError
from ..io.atomic import unforeseen, write_whole
from ..io.folders import Sets, list_images, pair_folders
from ..io.read import read_image
from .datasets import INSIDE, ROLE_FOLDERS, find_groups, role_folders, suffix_pairs

SPLITS = ("train", "training", "val", "valid", "validation", "test", "eval")
FORMAT = "anyfuse image hashes 1"
SIDE = 64  # pixels of the small image that is hashed
KEPT = 16  # frequencies a side: 256 bits
ALIKE = 40
"""Bits of 256 by which two images of one picture may differ.

On 398 research images: JPEG of quality 30 changes at most 32 bits, half the size 22, gamma 0.8 22; a crop of 2 % at two
sides 34 (median). Of unrelated pairs 99 % differ by 104 or more; half by 128.
"""
FLAT = 2.0
"""Levels of 255: images that vary less have no picture that could be compared."""


@dataclass(frozen=True)
class Print:
    """An image by its hashes: of the file, of the pixels, and of how it looks, 256 bits ('': the image is flat)."""

    name: str
    file: str
    pixels: str
    look: str
    mirrored: str  # the look of its mirror image


@dataclass
class Findings:
    """errors: what makes results wrong; notes: what to know. sets: name of a part -> its number of sets."""

    folder: str
    task: str = ""
    sets: dict[str, int] = field(default_factory=dict)
    images: int = 0
    errors: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def error(self, kind: str, text: str) -> None:
        """Adds one."""
        self.errors.setdefault(kind, []).append(text)

    def note(self, kind: str, text: str) -> None:
        """Adds one."""
        self.notes.setdefault(kind, []).append(text)


def look_of(luma: np.ndarray) -> str:
    """256 bits of how an image (H, W) looks: the signs of its 16x16 lowest frequencies about their median. The DCT of a
    64x64 image; the mean is left out. '': the image is flat.
    """
    small = F.interpolate(
        torch.from_numpy(np.ascontiguousarray(luma, np.float32))[None, None], (SIDE, SIDE), mode="area"
    )[0, 0].double()
    if float(small.std()) * 255 < FLAT:
        return ""
    n = torch.arange(SIDE, dtype=torch.float64)
    basis = torch.cos(torch.pi * (n[None] + 0.5) * n[: KEPT + 1, None] / SIDE)
    values = (basis @ small @ basis.T)[:KEPT, :KEPT].flatten()
    values[0] = 0.0
    return np.packbits((values > values.median()).numpy()).tobytes().hex()


def print_of(path: Path, name: str) -> tuple[Print, tuple[int, int], float]:
    """Hashes, size (H, W) and deviation in levels of an image; FusionError: it cannot be read."""
    image = read_image(path).read()
    luma = image.mean(0).numpy()
    pixels = hashlib.sha256(str(tuple(image.shape)).encode() + (image * 65535).round().int().numpy().tobytes())
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    found = Print(name, content, pixels.hexdigest(), look_of(luma), look_of(luma[:, ::-1]))
    return found, (luma.shape[0], luma.shape[1]), float(luma.std()) * 255


def distances(a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """Bits (len(a), len(b)) in which looks differ."""
    signs = [np.unpackbits(np.frombuffer(bytes.fromhex("".join(x)), np.uint8)).reshape(len(x), -1) for x in (a, b)]
    left, right = (s.astype(np.float32) * 2 - 1 for s in signs)
    return np.rint((KEPT * KEPT - left @ right.T) / 2).astype(int)


def leaks(here: Sequence[Print], there: Sequence[Print], alike: int = ALIKE) -> list[str]:
    """A line for each image of `here` that is in `there` too: equal files, equal pixels, or the same look."""
    files, pixels = {p.file: p.name for p in there}, {p.pixels: p.name for p in there}
    out, others = [], []
    for p in here:
        if p.file in files:
            out.append(f"{p.name} is the file {files[p.file]}")
        elif p.pixels in pixels:
            out.append(f"{p.name} has the pixels of {pixels[p.pixels]}")
        elif p.look:
            others.append(p)
    known = [p for p in there if p.look]
    if not known or not others:
        return out
    for way in ("", ", mirrored"):
        asked = [p for p in others if p.mirrored] if way else others
        looks = [p.mirrored if way else p.look for p in asked]
        for start in range(0, len(looks), 1024):  # so that memory stays small
            far = distances(looks[start : start + 1024], [p.look for p in known])
            for k in np.flatnonzero(far.min(1) <= alike):
                j = int(far[k].argmin())
                name = asked[start + int(k)].name
                out.append(f"{name} looks like {known[j].name}{way} ({far[k, j]} of {KEPT * KEPT} bits differ)")
    return out


def read_prints(path: Path) -> list[Print]:
    """The hashes in a file that `write_prints` wrote; FusionError for another file."""
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        prints = [Print(**entry) for entry in content["images"]]
        for one in prints:
            for value in (one.file, one.pixels, one.look, one.mirrored):
                if not re.fullmatch("(?:[0-9a-f]{64})?", value):
                    raise ValueError(f"{str(value)[:80]!r} is no hash")
        return prints
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FusionError(f"{path}: holds no hashes of images ({error}); give what --hashes-out wrote") from None


def write_prints(path: Path, prints: Iterable[Print], overwrite: bool = False) -> None:
    """Hashes of images as JSON: they tell leaks, and show nothing of the images."""
    content = {"format": FORMAT, "images": [asdict(p) for p in prints]}
    write_whole(path, [json.dumps(content, indent=0).encode()], overwrite=overwrite)


def parts_of(folder: Path, task: str, found: Findings) -> dict[str, Sets]:
    """Name of a part, as 'train' or 'ivif/test', -> its sets and what lacks a source.

    Splits are folders with the sources' folders in them, or folders in each of those (infrared/train). At each place,
    two folders deep, splits and the sets of the place itself are taken; only where there are none, the folders in it
    are looked at. A split without sets goes into `found`. FusionError: there are no sets at all.
    """
    if not folder.is_dir():
        raise FusionError(f"{folder}: no such folder")
    if task and task not in ROLE_FOLDERS:
        raise FusionError(f"--task {task}: give one of {', '.join(ROLE_FOLDERS)}")
    parts: dict[str, Sets] = {}
    errors: list[str] = []
    _look_in(folder, folder, task, 2, parts, errors)
    if not parts:
        return {".": find_groups(folder, task)}  # its error says what was looked for
    for text in errors:
        found.error("layout", text)
    return dict(sorted(parts.items()))


def _look_in(root: Path, place: Path, task: str, deep: int, parts: dict[str, Sets], errors: list[str]) -> None:
    """Adds the parts in a folder, and below it where it has none itself."""
    own = _direct(place, task, errors)
    folders = _folders(place)
    for split in folders:
        if split.name.lower() in SPLITS:
            sets = _sets_in(split, task, errors)
            if sets[0]:
                before = own.get(split.name, ({}, {}))
                own[split.name] = ({**before[0], **sets[0]}, {**before[1], **sets[1]})
    for name, sets in own.items():
        parts[(place / name).relative_to(root).as_posix()] = sets
    if not own and deep:
        for below in folders:
            if below.name.lower() not in SPLITS:
                _look_in(root, below, task, deep - 1, parts, errors)


def _folders(place: Path) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def _direct(place: Path, task: str, errors: list[str]) -> dict[str, Sets]:
    """The sets of a folder itself as part '', and those of splits in the sources' folders by the split's name."""
    for inside in (name for name in INSIDE if name not in SPLITS):
        for name in [task] if task else ROLE_FOLDERS:
            roles = role_folders(place / inside, ROLE_FOLDERS[name])
            if not roles:
                continue
            splits = sorted({p.name for role in roles for p in _folders(role) if p.name.lower() in SPLITS})
            out: dict[str, Sets] = {}
            for split in ["", *splits]:
                try:
                    out[split] = pair_folders([role / split for role in roles])[0]
                except FusionError as error:
                    if split or not splits:
                        errors.append(str(error))
            return out
    pairs = suffix_pairs(place)
    return {"": (pairs, {})} if pairs else {}


def _sets_in(split: Path, task: str, errors: list[str]) -> Sets:
    """The sets of a split, or else of all folders in it; without any, an error."""
    try:
        return find_groups(split, task)
    except FusionError as error:
        sets, lacking = {}, {}
        for below in _folders(split):
            try:
                more = find_groups(below, task)
            except FusionError:
                continue
            sets.update({f"{below.name}/{stem}": paths for stem, paths in more[0].items()})
            lacking.update({f"{below.name}/{stem}": where for stem, where in more[1].items()})
        if not sets:
            errors.append(str(error))
        return sets, lacking


def check_dataset(
    folder: str | Path,
    *,
    task: str = "",
    against: Sequence[str | Path] = (),
    alike: int = ALIKE,
    step: Callable[[str], None] = lambda text: None,
) -> tuple[Findings, list[Print]]:
    """Looks at every image of a data set.

    Args:
        folder: of the data set.
        task: ivf, mef, mff or mif; '': any.
        against: folders of test images, or files that `write_prints` wrote.
        alike: bits of 256 by which images of one picture may differ; 0: only exact hashes and looks count.
        step: called with a line for each image.

    Returns:
        What was found, and the hashes of all images.

    Raises:
        FusionError: no sets were found, or something in `against` cannot be read.
    """
    root = Path(folder)
    found = Findings(str(folder), task)
    prints: dict[str, list[Print]] = {}
    for part, (sets, lacking) in parts_of(root, task, found).items():
        found.sets[part] = len(sets)
        prints[part] = []
        for stem, where in lacking.items():
            found.error("lacks a source", f"{part}: {stem} is not in {', '.join(map(str, where))}")
        for number, (stem, paths) in enumerate(sets.items()):
            step(f"{part} {number + 1}/{len(sets)} {stem}")
            prints[part] += _check_set(root, stem, paths, found)
        _repeats(prints[part], found)
    found.images = sum(map(len, prints.values()))
    _between(prints, alike, found)
    every = [p for own in prints.values() for p in own]
    for other in against:
        step(f"reading {other}")
        for line in leaks(every, _prints_of(Path(other), found), alike):
            found.error("leak", line)
    return found, every


def _check_set(root: Path, stem: str, paths: Sequence[Path], found: Findings) -> list[Print]:
    """The hashes of the images of one set; what is wrong with it goes into `found`."""
    prints, sizes = [], []
    for path in paths:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        try:
            image, size, deviation = print_of(path, name)
        except FusionError as error:
            found.error("unreadable", str(error))
            continue
        except Exception as error:  # one file never stops the others
            found.error("unreadable", f"{path}: {unforeseen(error)}")
            continue
        prints.append(image)
        sizes.append(size)
        if deviation < FLAT:
            found.note("flat", f"{name} has next to no content (deviation {deviation:.1f} of 255)")
    if len(set(sizes)) > 1:
        text = ", ".join(f"{w}x{h}" for h, w in sizes)
        found.error("sizes differ", f"{stem}: {text}")
    if len({p.pixels for p in prints}) < len(prints):
        found.error("equal sources", f"{stem}: {' and '.join(p.name for p in prints)} have equal pixels")
    return prints


def _repeats(prints: Sequence[Print], found: Findings) -> None:
    """Notes images that a part holds more than once."""
    seen: dict[str, str] = {}
    for p in prints:
        if p.pixels in seen:
            found.note("repeated", f"{p.name} has the pixels of {seen[p.pixels]}")
        seen.setdefault(p.pixels, p.name)


def _between(prints: dict[str, list[Print]], alike: int, found: Findings) -> None:
    """Leaks between the splits of one folder."""
    splits = [part for part in prints if Path(part).name.lower() in SPLITS]
    for a, b in combinations(splits, 2):
        if Path(a).parent == Path(b).parent:
            for line in leaks(prints[a], prints[b], alike):
                found.error("leak", line)


def _prints_of(place: Path, found: Findings) -> list[Print]:
    """Hashes of a file of hashes, or of every image in a folder and below it."""
    if place.is_file():
        return read_prints(place)
    if not place.is_dir():
        raise FusionError(f"--against {place}: no such folder or file")
    out = []
    for folder in [place, *sorted(p for p in place.rglob("*") if p.is_dir())]:
        try:
            files = list_images(folder)
        except FusionError:
            continue
        for path in files:
            try:
                out.append(print_of(path, str(path))[0])
            except FusionError as error:
                found.note("unreadable test image", str(error))
            except Exception as error:  # one file never stops the others
                found.note("unreadable test image", f"{path}: {unforeseen(error)}")
    if not out:
        raise FusionError(f"--against {place}: no image in this folder or below it")
    return out


def as_text(found: Findings, most: int = 20) -> str:
    """The findings for people: what there is, then each kind with its first lines."""
    sets = ", ".join(f"{count} in {name}" if name != "." else str(count) for name, count in found.sets.items())
    lines = [f"{found.folder}: {found.images} images in sets: {sets}"]
    kinds: list[tuple[str, str, list[str]]] = [("error", k, v) for k, v in found.errors.items()]
    kinds += [("note", k, v) for k, v in found.notes.items()]
    for word, kind, texts in kinds:
        lines.append(f"{word}: {kind} ({len(texts)})")
        lines += [f"  {text}" for text in texts[:most]]
        lines += [f"  and {len(texts) - most} more (--json has all)"] if len(texts) > most else []
    if not found.errors:
        lines.append("nothing wrong was found")
    return "\n".join(lines)


def as_json(found: Findings) -> dict[str, Any]:
    """The findings as plain values."""
    return asdict(found)
