"""Folders of images that belong together: file k of each folder shows the same scene when the stems agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import FusionError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})


def list_images(folder: str | Path) -> list[Path]:
    """Image files of one folder, sorted by name; a FusionError where there is no folder or no image in it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FusionError(f"{folder}: no such folder")
    files = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and not p.name.startswith(".")
    )
    if not files:
        raise FusionError(f"{folder}: no image in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def pair_by_stem(folders: Sequence[str | Path]) -> tuple[dict[str, tuple[Path, ...]], dict[str, list[Path]]]:
    """Files of several folders, grouped by file stem.

    Returns the complete groups {stem: one path per folder} in order of the stems, and the stems that some folder lacks
    with the folders they are missing from. Two files with the same stem in one folder are a FusionError.
    """
    by_folder: list[dict[str, Path]] = []
    for folder in folders:
        stems: dict[str, Path] = {}
        for path in list_images(folder):
            if path.stem in stems:
                raise FusionError(
                    f"{folder}: {stems[path.stem].name} and {path.name} have the same stem; keep one of them"
                )
            stems[path.stem] = path
        by_folder.append(stems)
    every = sorted(set().union(*by_folder))
    complete = {s: tuple(f[s] for f in by_folder) for s in every if all(s in f for f in by_folder)}
    partial = {
        s: [Path(d) for d, f in zip(folders, by_folder, strict=True) if s not in f] for s in every if s not in complete
    }
    return complete, partial
