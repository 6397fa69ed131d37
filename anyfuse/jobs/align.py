"""Aligned images and their transforms in files: what `anyfuse align` does, and `fuse` beside its result."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..align.settings import Align
from ..errors import FusionError
from ..image.frame import Frame
from ..image.resize import place
from ..io.atomic import Protected, check_folder, target_of
from ..io.frames import read_frames
from ..io.names import stem_of
from ..io.profiles import to_one_profile
from ..io.write import write_image
from ..result import write_json
from ..unused import align_notes


@dataclass(frozen=True)
class Reading:
    """How the images are read."""

    reference: int = 0  # index of the image that stays
    white: str | float | None = None  # white level of 16-bit and float images: one, or one for each
    black: str | float | None = None  # black level
    range: str | None = None  # auto, none or percentiles as 'p1,p99'
    pages: str | None = None  # of each file, as '3:40'


def align_files(
    inputs: Sequence[str],
    settings: Align,
    reading: Reading,
    *,
    report: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Lays images over one of them and writes them to `settings.aligned_out`.

    Args:
        inputs: two or more image files of one scene.
        settings: how they are aligned, and where the results go.
        reading: the reference and the levels.
        report: JSON file; None: no report.
        overwrite: replaces files.
        quiet: prints nothing but errors.

    Raises:
        FusionError: a file that cannot be written, before the work where its name is known; images that cannot be read.
    """
    from ..align.stage import align_frames, alignment_notes

    check_files(settings, inputs, overwrite, report)
    frames = read_frames(inputs, reading.white, reading.black, reading.range, reading.pages, pseudocolour="none")
    if len(frames) < 2:
        raise FusionError(f"alignment needs at least two images of one scene, and got {len(frames)}")
    if not -len(frames) <= reading.reference < len(frames):
        raise FusionError(f"--reference {reading.reference + 1} is not one of the {len(frames)} images; count from 1")
    frames = place(to_one_profile(frames, reading.reference))
    aligned, steps = align_frames(frames, settings, reading.reference)
    sizes = {(frame.height, frame.width) for frame in aligned}
    for warning in (
        [w for frame in aligned for w in frame.warnings] + alignment_notes(steps) + align_notes(settings, steps)
    ):
        print(f"anyfuse: note: {warning}", file=sys.stderr)
    if len(sizes) > 1:
        raise FusionError("images of different sizes, and no sure place of one in the other; give --points")
    rows = [step.as_dict() for step in steps]
    files = write_files(aligned, rows, settings, inputs, overwrite)
    if report is not None:
        write_json(report, {"aligned": rows, "files": files}, inputs, overwrite=overwrite)
    if not quiet:
        for row in rows:
            local = f", up to {row['local']['largest']:.1f} pixels locally" if "local" in row else ""
            shown = f"{100 * row['kept']:.0f} % of the field"
            alike = row["size"] == rows[reading.reference]["size"]
            moved = f"{row['shift']:.1f} pixels" if alike else f"{enlarged(row['matrix']):.2f} times as large"
            print(f"{row['name']}: {row['kind']}, {moved}{local}, {shown}")


def enlarged(matrix: list[list[float]]) -> float:
    """How many pixels of the reference a pixel of the frame becomes along a side, by the matrix between them."""
    (a, b), (c, d) = matrix[0][:2], matrix[1][:2]
    return abs(a * d - b * c) ** -0.5


def check_files(settings: Align, inputs: Protected, overwrite: bool, report: str | None = None) -> None:
    """Raises FusionError, before any work is done, where transforms or aligned images could not be written."""
    for option, path in (("--save-transforms", settings.save_transforms), ("--report", report)):
        if path is not None:
            if not path.lower().endswith(".json"):
                raise FusionError(f"{option} {path}: give a name that ends in .json")
            target_of(path, overwrite, inputs)
    both = [os.path.realpath(path) for path in (settings.save_transforms, report) if path is not None]
    if len(both) > len(set(both)):
        raise FusionError(f"--report and --save-transforms would both write {report}; give another name to one")
    folder = settings.aligned_out
    if folder is None:
        return
    check_folder(folder)
    if not isinstance(inputs, Sequence):
        return
    for target in aligned_paths(folder, [(str(name), False) for name in inputs]):
        target_of(str(target), overwrite, inputs)


def aligned_paths(folder: str | Path, names: Sequence[tuple[str, bool]]) -> list[Path]:
    """Where aligned images go: FOLDER/01-STEM.png ..., or .tif where the image is float (name, is float)."""
    stems = [(re.sub(r"[^\w.-]+", "_", stem_of(name)), ".tif" if is_float else ".png") for name, is_float in names]
    return [Path(folder) / f"{index:02d}-{stem}{suffix}" for index, (stem, suffix) in enumerate(stems, 1)]


def write_files(
    frames: Sequence[Frame], steps: Sequence[dict[str, Any]], settings: Align, inputs: Protected, overwrite: bool
) -> list[str]:
    """Writes what `settings` asks for: transforms, and the aligned frames with their alpha. Returns the files."""
    files: list[str] = []
    if settings.save_transforms is not None:
        keys = ("name", "kind", "size", "matrix", "shift", "confidence", "kept", "trusted")
        rows = [{key: step[key] for key in (*keys, "local") if key in step} for step in steps]
        about = "matrix: pixels (x, y, 1) of the reference to those of the image"
        if any("local" in row for row in rows):
            about += "; local: displacements x and y before it, in pixels of the reference, at the centres of cells"
        content = {"about": about, "transforms": rows}
        write_json(settings.save_transforms, content, inputs, overwrite=overwrite)
        files.append(settings.save_transforms)
    if settings.aligned_out is None:
        return files
    paths = aligned_paths(settings.aligned_out, [(f.name, f.pixels.dtype.kind == "f") for f in frames])
    for path, frame in zip(paths, frames, strict=True):
        write_image(
            path,
            frame.pixels,
            alpha=frame.opacity,
            exif=frame.exif,
            icc=frame.icc,
            dpi=frame.dpi,
            white=frame.white,
            overwrite=overwrite,
            inputs=inputs,
            metadata=replace(frame.metadata, header=None),
        )
        files.append(str(path))
    return files
