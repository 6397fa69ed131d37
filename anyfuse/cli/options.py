"""Options that several commands share, each said once."""

from __future__ import annotations

from typing import Annotated

import typer


def complete_model(incomplete: str) -> list[str]:
    """Names of models that begin so, short names too, for the shell."""
    from ..models.registry import ALIASES, MODELS
    from ..models.sharpening import SHARPENERS

    return [name for name in (*MODELS, *ALIASES, *SHARPENERS) if name.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """As `complete_model`, for the last of several names with commas between; LABEL= before a name stays."""
    start = max(incomplete.rfind(","), incomplete.rfind("=")) + 1
    return [incomplete[:start] + name for name in complete_model(incomplete[start:])]


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes of `anyfuse train` that begin so."""
    from ..training.run import ENTRIES

    return [name for name in ENTRIES if name.startswith(incomplete)]


def complete_backbone(incomplete: str) -> list[str]:
    """Names of backbones that begin so."""
    from ..models.unifusion.backbone import BACKBONES

    return [name for name in BACKBONES if name.startswith(incomplete)]


Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Engine = Annotated[
    str,
    typer.Option(
        help="What computes: torch; onnx (ONNX Runtime, starts sooner; the default model); auto: torch where it is "
        "installed."
    ),
]
White = Annotated[
    float | None,
    typer.Option(help="White level of 16-bit and float images, e.g. 4095 for 12-bit data."),
]
Whites = Annotated[
    str | None,
    typer.Option(
        help="White level of 16-bit and float images, e.g. 4095 for 12-bit data. One per image: 4095,65535 "
        "(leave an entry empty for its default)."
    ),
]
Blacks = Annotated[
    str | None,
    typer.Option(help="Black level of 16-bit and float images, e.g. -160 for CT; one, or one per image: -160,0."),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        help="Black and white level of 16-bit and float images. p1,p99: percentiles. auto: scale measured values "
        "(Celsius, thermal counts) and convert false colours to values; the report says so. none: no scaling.  "
        "[default: auto]",
    ),
]
Pseudocolour = Annotated[
    str | None,
    typer.Option(
        "--pseudocolour",
        "--pseudocolor",
        help="Palette for grey images, as red_yellow; one, or one per image: none,red_yellow. tracer: this is a PET or "
        "SPECT image. none: stay grey.  [default: auto, red_yellow for DICOM and NIfTI files that are PET or SPECT "
        "beside another grey image]",
    ),
]
PageChoice = Annotated[
    str | None,
    typer.Option(
        help="Pages, frames or slices of each file, counted from 0: 3, 3:40 or 0,2,5. FILE[3:40] selects pages of one "
        "file. A single TIFF is fused from all of its pages."
    ),
]
DepthOut = Annotated[
    list[str] | None,
    typer.Option(
        help="Focus stacks, images in the order of focus: depth as a 16-bit image (.png, .tif; black: the first image, "
        "white: the last) or as a surface (.ply). May be repeated."
    ),
]
DepthStep = Annotated[
    float | None, typer.Option(help="Distance between two images in pixels, for a .ply with true proportions.")
]
ContactSheet = Annotated[
    str | None, typer.Option(help="Picture (.jpg, .png) of inputs, weights, result, and crops of all at 200 %.")
]
Preview = Annotated[
    bool, typer.Option("--preview", help="Show the result in terminals that show pictures (kitty, iTerm2, sixel).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Suppress progress and success messages.")]
Pairs = Annotated[
    str | None,
    typer.Option(
        metavar="_T/_V",
        help="What the file names of each source end or begin with, in the order of the sources: in one folder that "
        "holds them all, or in one folder per source. Without it, anyfuse ignores upper and lower case and looks for "
        "such endings itself.",
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="auto|N|time|name|folder",
        help="One folder that holds many sets. N: every N files. time: a pause between shots begins a new set. name: "
        "files whose names differ in the last word. folder: one set per subfolder. auto: time and exposure from the "
        "EXIF, or else names.",
    ),
]
ListFile = Annotated[
    str | None,
    typer.Option("--list", metavar="TABLE.csv", help="CSV table of sets: one set per line, one file per cell."),
]
Plan = Annotated[bool, typer.Option("--plan", help="Print which files would be used together, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Metrics = Annotated[str | None, typer.Option(help="Names separated by commas, or 'all' (see docs/metrics.md).")]
Grey = Annotated[str, typer.Option(help="Rule for grey levels: matlab, pil or opencv.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only the first N images.")]
Task = Annotated[
    str,
    typer.Option(help="ivf (infrared + visible), mef (multi-exposure), mff (multi-focus) or mif (medical)."),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ray|ray://HOST:PORT",
        help="Folders and tables: on a cluster, by Ray. Folders may be URLs of object stores (s3://, gs://); results "
        "and a Parquet report go to the output folder.",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="With --on: models at a time (default: one for each CPU or share of a GPU).")
]
Gpus = Annotated[float, typer.Option(min=0, help="With --on: GPUs of each worker; 0.25: four share one.")]
AlignMode = Annotated[
    str,
    typer.Option(
        "--align",
        help="Align the images to the reference before fusing: auto (any camera motion, any modality), tags (as the "
        "cameras say), shift, similarity, affine or homography (the richest transform to try), local (a homography and "
        "smooth local displacements on top: parallax, focus breathing), or none.",
    ),
]
UseTransforms = Annotated[
    str | None,
    typer.Option(help="Reuse the transforms in this JSON file (from --save-transforms or --report)."),
]
Points = Annotated[
    str | None,
    typer.Option(
        help="CSV file with pairs of points picked by hand: image,x,y,reference_x,reference_y. They are the alignment."
    ),
]
SaveTransforms = Annotated[str | None, typer.Option(help="JSON file for the transform of each image.")]
AlignedOut = Annotated[str | None, typer.Option(help="Folder for the aligned images, with alpha.")]
KeepFrame = Annotated[
    bool,
    typer.Option(
        "--keep-frame", help="Keep the reference's size. Without it the result is cropped to what all images cover."
    ),
]
Deghost = Annotated[
    str,
    typer.Option(
        help="auto: in brackets and focus stacks, take moving objects from one image. on: also where the images "
        "differ a lot. off: neither deghost nor equalise the brightness of a focus stack."
    ),
]
