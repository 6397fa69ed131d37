"""Options that several commands share, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
White = Annotated[
    float | None,
    typer.Option(help="White level of 16-bit and float images, e.g. 4095 for 12-bit data."),
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
