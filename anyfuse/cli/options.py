"""Options that several commands share, each said once."""

from __future__ import annotations

from typing import Annotated

import typer


def complete_model(incomplete: str) -> list[str]:
    """Names of models that begin so, short names too, for the shell."""
    from ..models.registry import ALIASES, MODELS

    return [name for name in (*MODELS, *ALIASES) if name.startswith(incomplete)]


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
White = Annotated[
    float | None,
    typer.Option(help="White level of 16-bit and float images, e.g. 4095 for 12-bit data."),
]
Whites = Annotated[
    str | None,
    typer.Option(
        help="White level of 16-bit and float images, e.g. 4095 for 12-bit data. One per image: 4095,65535 "
        "(nothing between two commas: as without --white)."
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
        help="Black and white of 16-bit and float images: percentiles as p1,p99; auto scales measured values (Celsius, "
        "counts of thermal cameras) and turns false colours into values, and says so; none does not.  [default: auto]",
    ),
]
PageChoice = Annotated[
    str | None,
    typer.Option(
        help="Pages, frames or slices of each file, counted from 0: 3, 3:40 or 0,2,5. FILE[3:40] says it for one file. "
        "A single TIFF is fused from all of its pages."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Suppress progress and success messages.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Metrics = Annotated[str | None, typer.Option(help="Names separated by commas, or 'all' (see docs/metrics.md).")]
Grey = Annotated[str, typer.Option(help="Rule for grey levels: matlab, pil or opencv.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only the first N images.")]
Task = Annotated[
    str,
    typer.Option(help="ivf (infrared + visible), mef (multi-exposure), mff (multi-focus) or mif (medical)."),
]
