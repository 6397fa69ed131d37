"""`anyfuse align`: images laid over each other, in files for any program."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import (
    AlignMode,
    Blacks,
    KeepFrame,
    Overwrite,
    PageChoice,
    Points,
    Quiet,
    SaveTransforms,
    UseTransforms,
    ValueRange,
    Whites,
)

Inputs = Annotated[list[str], typer.Argument(metavar="FILE...", help="Two or more images of one scene.")]
Folder = Annotated[
    str,
    typer.Option("-o", "--output", help="Folder for the aligned images, with alpha: PNG, TIFF if float."),
]
Reference = Annotated[int, typer.Option(min=1, help="Which image stays, counted from 1.")]
ReportFile = Annotated[str | None, typer.Option(help="JSON file for what was done to each image.")]


def align(
    inputs: Inputs,
    output: Folder,
    align: AlignMode = "auto",
    use_transforms: UseTransforms = None,
    points: Points = None,
    save_transforms: SaveTransforms = None,
    keep_frame: KeepFrame = False,
    reference: Reference = 1,
    white: Whites = None,
    black: Blacks = None,
    range: ValueRange = None,
    pages: PageChoice = None,
    report: ReportFile = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Lay images of one scene over each other, and write each of them."""
    from ..align.settings import Align
    from ..jobs.align import Reading, align_files

    settings = Align(align, use_transforms, keep_frame, points, save_transforms, output)
    reading = Reading(reference - 1, white, black, range, pages)
    align_files(inputs, settings, reading, report=report, overwrite=overwrite, quiet=quiet)
