"""`anyfuse score`: the field's metrics of fused images."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import (
    Blacks,
    Grey,
    Group,
    ListFile,
    Metrics,
    On,
    Overwrite,
    Pairs,
    Plan,
    ValueRange,
    Whites,
    Workers,
)

Images = Annotated[
    list[str], typer.Argument(metavar="FUSED --sources A B ...", help="Fused image, or a folder of them.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--sources", help="Source images or folders, two or more; or one folder with --pairs or --group."),
]
Truth = Annotated[str | None, typer.Option(help="Ground truth (image or folder): adds psnr_truth and ssim_truth.")]
Out = Annotated[str | None, typer.Option("-o", "--output", help="Also write .csv or .json.")]
Report = Annotated[
    str | None, typer.Option(help="With --on: folder of Parquet files, a row a set. A second run does what is missing.")
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help='Print one JSON object, {metric: value} for one image; null is NaN, "inf" infinity.'),
]


def score(
    images: Images,
    sources: Sources = None,
    metrics: Metrics = None,
    grey: Grey = "opencv",
    truth: Truth = None,
    out: Out = None,
    as_json: AsJson = False,
    white: Whites = None,
    black: Blacks = None,
    range: ValueRange = None,
    group: Group = None,
    pairs: Pairs = None,
    table: ListFile = None,
    on: On = None,
    workers: Workers = None,
    report: Report = None,
    plan: Plan = False,
    overwrite: Overwrite = False,
) -> None:
    """Score fused images against their sources."""
    from ..benchmark.score import run_score
    from ..errors import FusionError
    from ..io.groups import Pairing
    from ..jobs.cluster import Cluster, check_no_cluster

    check_no_cluster(None if on else workers, 0.0)
    if report is not None and on is None:
        raise FusionError("--report needs --on ray")
    rest = [*(sources or []), *images[1:]]
    failed = run_score(
        images[0],
        rest,
        metrics=metrics,
        grey=grey,
        truth=truth,
        as_json=as_json,
        out=out,
        overwrite=overwrite,
        white=white,
        black=black,
        range=range,
        pairing=Pairing(group, pairs, table),
        plan=plan,
        cluster=None if on is None else Cluster(on, workers),
        report=report,
    )
    raise typer.Exit(1 if failed else 0)
