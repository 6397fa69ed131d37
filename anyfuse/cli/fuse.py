"""`anyfuse fuse`: images into one image, or folders into a folder."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from ..engine_choice import use_for_process
from ..errors import FusionError
from .options import (
    AlignedOut,
    AlignMode,
    Blacks,
    ContactSheet,
    Deghost,
    DepthOut,
    DepthStep,
    Device,
    Engine,
    Gpus,
    Group,
    KeepFrame,
    ListFile,
    On,
    Overwrite,
    PageChoice,
    Pairs,
    Plan,
    Points,
    Preview,
    Pseudocolour,
    Quiet,
    SaveTransforms,
    UseTransforms,
    ValueRange,
    Whites,
    Workers,
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
    str | None,
    typer.Option(
        help="Name (see `anyfuse models`), folder or hub id (default: anyfuse; with --say, the model that does it).",
        autocompletion=complete_model,
    ),
]
Infrared = Annotated[
    int | None,
    typer.Option(min=1, help="Input that is the infrared image, counted from 1 (default: it is recognised)."),
]
Dtype = Annotated[str, typer.Option(help="Compute dtype of the network: auto, float32, bfloat16 or float16.")]
MaxMemory = Annotated[str | None, typer.Option(help="Memory limit of the process, e.g. 2G. Tiles shrink to fit.")]
WeightsOut = Annotated[str | None, typer.Option(help="Folder for a per-input weight map, as grey PNGs.")]
ReportFile = Annotated[str | None, typer.Option(help="JSON file for sizes, model, times, peak memory and warnings.")]
Explain = Annotated[
    str | None,
    typer.Option(help="Folder for explanation maps and values (explain.json, PNG); for TITA and DiTFuse."),
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
        help="Mask of an input: white pixels are used, black pixels are ignored (logos, scale bars). Repeat it once "
        "per input, in order; '-' means no mask. In folders the masks are for every set.",
    ),
]
DeghostReference = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Input whose moving objects are kept, counted from 1 (default: the best exposed; in a focus stack, the "
        "sharpest at each place).",
    ),
]
GhostMask = Annotated[
    str | None, typer.Option(help="PNG mask: white where one image alone was used because something moved.")
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
    model: Model = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    engine: Engine = "auto",
    max_memory: MaxMemory = None,
    weights_out: WeightsOut = None,
    depth_out: DepthOut = None,
    depth_step: DepthStep = None,
    contact_sheet: ContactSheet = None,
    preview: Preview = False,
    report: ReportFile = None,
    explain: Explain = None,
    keep_order: KeepOrder = False,
    infrared: Infrared = None,
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
    pseudocolour: Pseudocolour = None,
    pages: PageChoice = None,
    quality: Quality = None,
    suffix: Format = None,
    jobs: Jobs = 1,
    on: On = None,
    workers: Workers = None,
    gpus: Gpus = 0.0,
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
    use_for_process(engine)
    from ..align.settings import Align
    from ..io.groups import Pairing
    from ..jobs.choices import Choices
    from ..jobs.extras import Extras
    from ..jobs.inputs import fuse_inputs

    if say and len(say) > 1:
        raise FusionError("--say and --prompt are one option; write all requests in one instruction")
    choices = Choices(
        model=model,
        device=device,
        dtype=dtype,
        engine=engine,
        max_memory=max_memory,
        reference=reference - 1,
        resize=resize is Resize.reference,
        white=white,
        black=black,
        range=range,
        pseudocolour=pseudocolour,
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
        infrared=None if infrared is None else infrared - 1,
    )
    pairing = Pairing(group, pairs, table)
    maps = {"weights_out": weights_out, "report": report, "explain": explain, "mask_out": mask_out}
    extras = Extras(tuple(depth_out or ()), depth_step, contact_sheet, preview)
    if on is not None:
        from ..jobs.cluster import Cluster
        from ..jobs.fuse_cluster import fuse_on

        if extras.any:
            raise FusionError("--depth-out, --contact-sheet and --preview are for one set of images; leave them out")
        if ghost_mask is not None:
            raise FusionError("--ghost-mask is for one set of images; leave it out")
        failed = fuse_on(Cluster(on, workers, gpus), inputs or [], output, choices, pairing, plan=plan, **maps)
    else:
        if workers is not None or gpus:
            from ..jobs.cluster import check_no_cluster

            check_no_cluster(workers, gpus)
        failed = fuse_inputs(
            inputs or [], output, choices, pairing, plan=plan, ghost_mask=ghost_mask, extras=extras, **maps
        )
    if failed:
        raise typer.Exit(1)
