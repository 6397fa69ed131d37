"""`anyfuse score`."""

from __future__ import annotations

from typing import Annotated

import typer


def score(
    images: Annotated[
        list[str], typer.Argument(metavar="FUSED --sources A B ...", help="Fused image, or a folder of them.")
    ],
    sources: Annotated[list[str], typer.Option("--sources", help="Source images or folders, two or more.")],
    metrics: Annotated[str | None, typer.Option(help="Names with commas, or 'all' (see docs/metrics.md).")] = None,
    grey: Annotated[str, typer.Option(help="Rule for grey levels: matlab, pil or opencv.")] = "opencv",
    truth: Annotated[
        str | None, typer.Option(help="Known truth (image or folder): adds psnr_truth and ssim_truth.")
    ] = None,
    out: Annotated[str | None, typer.Option("-o", "--output", help="Also write .csv or .json.")] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help='Print one JSON object, {metric: value} for one image; null is NaN, "inf" infinity.'
        ),
    ] = False,
) -> None:
    """Score fused images against their sources."""
    from ..benchmark.score import run_score

    failed = run_score(
        images[0], [*sources, *images[1:]], metrics=metrics, grey=grey, truth=truth, as_json=as_json, out=out
    )
    raise typer.Exit(1 if failed else 0)
