"""`anyfuse fuse`: images into one image, or folders into a folder."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import FusionError
from .options import (
    AlignedOut,
    AlignMode,
    Blacks,
    Device,
    Group,
    KeepFrame,
    ListFile,
    Overwrite,
    PageChoice,
    Pairs,
    Plan,
    Points,
    Quiet,
    SaveTransforms,
    UseTransforms,
    ValueRange,
    Whites,
    complete_model,
)


class Resize(str, Enum):
    """What to do with images of different size."""

    none = "none"
    reference = "reference"


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Two or more images of one scene; two or more folders, paired by file names; one folder that is a stack "
        "(with an image as output) or holds many sets (--group, --pairs). FILE[3:40] names pages of a file. A single "
        "file of several pages is enough, and a single image with --say 'highlight ...'."
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        help="Image file to write (.png .tif .jpg .webp; also .exr .hdr .dcm .nii.gz), or a folder for folders.",
    ),
]
Model = Annotated[
    str, typer.Option(help="Name (see `anyfuse models`), folder or hub id.", autocompletion=complete_model)
]
Dtype = Annotated[str, typer.Option(help="Compute dtype of the network: auto, float32, bfloat16 or float16.")]
MaxMemory = Annotated[str | None, typer.Option(help="Memory limit of the process, e.g. 2G. Tiles shrink to fit.")]
WeightsOut = Annotated[str | None, typer.Option(help="Folder for a per-input weight map, as grey PNGs.")]
ReportFile = Annotated[str | None, typer.Option(help="JSON file for sizes, model, times, peak memory and warnings.")]
Explain = Annotated[
    str | None,
    typer.Option(help="Folder for the numbers and maps behind the result (explain.json, PNG); for tita models."),
]
KeepOrder = Annotated[
    bool,
    typer.Option("--keep-order", help="Do not reorder inputs by role (infrared first, under-exposed first)."),
]
Say = Annotated[
    list[str] | None,
    typer.Option(
        "--say",
        "--prompt",
        help="Instruction (see `anyfuse say`). mmaif models restore: 'remove the haze', 'repair nothing'; without an "
        "instruction they restore what the images seem to need (see `anyfuse estimate`). ditfuse models change light "
        "and contrast and segment: 'brighter, and highlight the cars in red'.",
    ),
]
Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        help="Image that is white where the input counts, and black where it has no say (logos, scale bars). Repeat it "
        "for each input, in their order; '-' where all counts. In folders the masks are for every set.",
    ),
]
Deghost = Annotated[
    str,
    typer.Option(
        help="auto: what moved between exposures or within a focus stack is taken from one image. on: so too where "
        "much differs. off: never, and the light of a focus stack is not evened either."
    ),
]
DeghostReference = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Which input shows what moved, counted from 1 (default: the best exposed one, or the sharpest one at each "
        "place of a focus stack).",
    ),
]
GhostMask = Annotated[
    str | None, typer.Option(help="PNG that is white where something moved and one image alone counts.")
]
MaskOut = Annotated[
    str | None,
    typer.Option(
        help="PNG for the mask of the class that --say highlights, white where it is. Several classes go to "
        "NAME-CLASS.png. A folder for folders."
    ),
]
Reference = Annotated[int, typer.Option(help="Which input gives size, metadata and alpha, counted from 1.")]
ResizeTo = Annotated[Resize, typer.Option(help="'reference' brings all images to the size of the reference.")]
Quality = Annotated[int | None, typer.Option(min=1, max=100, help="JPEG and WebP quality.  [default: 95]")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Folders: png, tif, jpg or webp (default: as the reference's file)."),
]
Jobs = Annotated[int, typer.Option(min=1, help="Folders: sets of images at a time.")]


def fuse(
    *,
    inputs: Inputs = None,
    output: Output,
    model: Model = "anyfuse",
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_memory: MaxMemory = None,
    weights_out: WeightsOut = None,
    report: ReportFile = None,
    explain: Explain = None,
    keep_order: KeepOrder = False,
    say: Say = None,
    mask: Masks = None,
    align: AlignMode = "auto",
    use_transforms: UseTransforms = None,
    points: Points = None,
    save_transforms: SaveTransforms = None,
    aligned_out: AlignedOut = None,
    keep_frame: KeepFrame = False,
    deghost: Deghost = "auto",
    deghost_reference: DeghostReference = None,
    ghost_mask: GhostMask = None,
    mask_out: MaskOut = None,
    reference: Reference = 1,
    resize: ResizeTo = Resize.none,
    white: Whites = None,
    black: Blacks = None,
    range: ValueRange = None,
    pages: PageChoice = None,
    quality: Quality = None,
    suffix: Format = None,
    jobs: Jobs = 1,
    group: Group = None,
    pairs: Pairs = None,
    table: ListFile = None,
    plan: Plan = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fuse images into one image, or folders into a folder.

    In folders a set that fails is reported and skipped, the exit code is 1, and a second run does only what is missing.
    """
    from ..align.stage import Align
    from ..io.groups import Pairing
    from ..io.pages import split_name
    from ..io.read import is_series
    from ..jobs.folders import Choices, folder_stack, fuse_files, fuse_folders

    if say and len(say) > 1:
        raise FusionError("--say and --prompt are one option; put all wishes into one instruction")
    choices = Choices(
        model=model,
        device=device,
        dtype=dtype,
        max_memory=max_memory,
        reference=reference - 1,
        resize=resize is Resize.reference,
        white=white,
        black=black,
        range=range,
        pages=pages,
        quality=quality,
        overwrite=overwrite,
        quiet=quiet,
        jobs=jobs,
        suffix=suffix,
        keep_order=keep_order,
        say=say[0] if say else None,
        masks=tuple(mask or ()),
        align=Align(align, use_transforms, keep_frame, points, save_transforms, aligned_out),
        deghost=deghost,
        deghost_reference=None if deghost_reference is None else deghost_reference - 1,
    )
    inputs, pairing = inputs or [], Pairing(group, pairs, table)
    if not inputs and table is None:
        raise FusionError("give two or more images, a folder, or --list TABLE.csv; see --help")
    files = [split_name(path)[0] for path in inputs]
    for path in files:
        if not os.path.exists(path):
            raise FusionError(f"{path}: no such file or folder; check the path")
    folders = [Path(p).is_dir() and not is_series(p) for p in files]
    if any(folders) and not all(folders):
        folder, file = inputs[folders.index(True)], inputs[folders.index(False)]
        raise FusionError(f"{folder} is a folder and {file} is not; give images only or folders only")
    maps = {"weights_out": weights_out, "report": report, "explain": explain, "mask_out": mask_out}
    notes: list[str] = []
    if folders == [True] and not pairing.chosen and is_image_name(output):
        places = {"--weights-out": weights_out, "--explain": explain, "--aligned-out": aligned_out}
        inputs, notes = folder_stack(inputs[0], places)
        folders = [False]
        files = list(inputs)
    many = pages is not None or len(inputs) == 1 or files != list(inputs)  # the reference may be one of their pages
    if reference < 1 or (inputs and not pairing.chosen and not many and reference > len(inputs)):
        raise FusionError(f"--reference {reference} is not one of the {len(inputs)} inputs; count from 1")
    if deghost_reference is not None and not pairing.chosen and not many and deghost_reference > len(inputs):
        raise FusionError(f"--deghost-reference {deghost_reference} is not one of the {len(inputs)} inputs")
    if table is not None or all(folders):
        if ghost_mask is not None:
            raise FusionError("--ghost-mask is for one set of images; leave it out")
        raise typer.Exit(1 if fuse_folders(inputs, output, choices, pairing=pairing, plan=plan, **maps) else 0)
    if pairing.chosen:
        raise FusionError("--group and --pairs are for folders, and images are given; leave them out")
    fuse_files(inputs, output, choices, plan=plan, ghost_mask=ghost_mask, notes=notes, **maps)


def is_image_name(output: str) -> bool:
    """Whether a name is of an image to write, and no folder's."""
    from ..io.names import suffix_of
    from ..io.write import MORE_WRITES, WRITES

    suffix = suffix_of(output).lower()
    return (suffix in {*WRITES, *MORE_WRITES, ".nii.gz"} or suffix.startswith(".ome.")) and not Path(output).is_dir()
