"""`anyfuse fuse`."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import FusionError


class Resize(str, Enum):
    """What to do with images of different size."""

    none = "none"
    reference = "reference"


def fuse(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more images of one scene, or two or more folders (paired by file stem); one will do to --say what to highlight."
        ),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="Image file to write (.png .tif .jpg .webp), or a folder for folders."),
    ],
    model: Annotated[str, typer.Option(help="Name (see `anyfuse models`), folder or hub id.")] = "anyfuse",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Of the network: auto, float32, bfloat16 or float16.")] = "auto",
    max_memory: Annotated[
        str | None, typer.Option(help="Memory of the whole process, as 2G; tiles shrink to fit.")
    ] = None,
    weights_out: Annotated[
        str | None, typer.Option(help="Folder for one grey image per input: how much of it each pixel took.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="JSON file for sizes, model, times, peak memory and warnings.")
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(help="Folder for the numbers and maps behind the result (explain.json, PNG); for tita models."),
    ] = None,
    keep_order: Annotated[
        bool,
        typer.Option("--keep-order", help="Models with roles: inputs as given, not grey first and darker first."),
    ] = False,
    say: Annotated[
        str | None,
        typer.Option(
            help="In words (see `anyfuse say`): what to repair, as 'remove the haze' or 'repair nothing', for mmaif models (without it: what "
            "the images seem to need, see `anyfuse estimate`); light, contrast and classes, as 'brighter, and highlight the cars in red', for "
            "ditfuse models."
        ),
    ] = None,
    mask_out: Annotated[
        str | None,
        typer.Option(
            help="PNG (or folder, for folders) for the class that --say highlights, white where it is; several: NAME-CLASS.png."
        ),
    ] = None,
    reference: Annotated[int, typer.Option(help="Which input gives size, metadata and alpha, counted from 1.")] = 1,
    resize: Annotated[
        Resize, typer.Option(help="'reference' brings all images to the size of the reference.")
    ] = Resize.none,
    white: Annotated[
        float | None, typer.Option(help="Value that counts as white in 16-bit or float images, as 4095.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP.")] = 95,
    suffix: Annotated[
        str | None,
        typer.Option("--format", help="Folders: png, tif, jpg or webp (default: as the reference's file)."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Folders: sets of images at a time.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no word on success.")] = False,
) -> None:
    """Fuse images into one image, or folders into a folder.

    In folders a set that fails is reported and skipped, the exit code is 1, and a second run does only what is missing.
    """
    from ..jobs import folders as batch

    choices = batch.Choices(
        model=model, device=device, dtype=dtype, max_memory=max_memory, reference=reference - 1, resize=resize is Resize.reference,
        white=white, quality=quality, overwrite=overwrite, quiet=quiet, jobs=jobs, suffix=suffix, keep_order=keep_order, say=say,
    )  # fmt: skip
    for path in inputs:
        if not os.path.exists(path):
            raise FusionError(f"{path}: no such file or folder; check the path")
    folders = [Path(p).is_dir() for p in inputs]
    if not 1 <= reference <= len(inputs):
        raise FusionError(f"--reference {reference} is not one of the {len(inputs)} inputs; count from 1")
    if all(folders):
        failed = batch.fuse_folders(
            inputs, output, choices, weights_out=weights_out, report=report, explain=explain, mask_out=mask_out
        )
        raise typer.Exit(1 if failed else 0)
    if any(folders):
        file = inputs[folders.index(False)]
        raise FusionError(
            f"{inputs[folders.index(True)]} is a folder and {file} is not; give images only or folders only"
        )
    batch.fuse_files(
        inputs, output, choices, weights_out=weights_out, report=report, explain=explain, mask_out=mask_out
    )
