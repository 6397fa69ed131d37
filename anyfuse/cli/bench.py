"""`anyfuse bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import FusionError

CLASSICS = "anyfuse,laplacian,mertens,guided"


def bench(
    data: Annotated[
        list[str],
        typer.Option(
            help="Folder of a data set, or any folder with one folder per source; with --degraded the folder that holds the "
            "recipe's data sets, or one of them, and may be repeated."
        ),
    ],
    task: Annotated[str, typer.Option(help="ivf, mef, mff or mif.")] = "",
    models: Annotated[str, typer.Option(help="Names, folders or LABEL=MODEL, with commas.")] = CLASSICS,
    out: Annotated[
        str, typer.Option("-o", "--output", help="Folder for fused images, scores.csv and report.html.")
    ] = "bench",
    fused: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER with results of another method; may be repeated.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(help="Names with commas, or 'all'.")] = None,
    grey: Annotated[str, typer.Option(help="Rule for grey levels: matlab, pil or opencv.")] = "opencv",
    inputs: Annotated[
        str, typer.Option(help="luma: models see 8-bit luma, as in papers; colour: they see the files.")
    ] = "luma",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")] = None,
    images: Annotated[int, typer.Option(min=0, help="Pictures in the report.")] = 4,
    peers: Annotated[
        str | None, typer.Option(help="CSV of other methods' scores: folder, name, method, origin, metrics.")
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(help="scores.csv of another run; refused if its protocol differs.")
    ] = None,
    degraded: Annotated[
        str | None,
        typer.Option(
            metavar="MANIFEST",
            help="Pairs degraded by this recipe instead ('built-in': the package's), scored by PSNR and SSIM to the fusion of "
            "the clean pair.",
        ),
    ] = None,
    say: Annotated[
        str,
        typer.Option(help="--degraded: what models that repair are told, some of exact,oracle,estimate,none,wrong."),
    ] = "exact,oracle,estimate,none,wrong",
    section: Annotated[
        str | None,
        typer.Option(
            help="Of models that follow words (default: ditfuse) instead: 'control', do light and contrast change as asked, on the "
            "test folders in --data; 'segmentation', are the classes found that a word names, on CamVid."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
) -> None:
    """Fuse, score and time models on a data set; writes a CSV and an HTML report."""
    from ..benchmark.bench import run_bench, run_bench_degraded
    from ..benchmark.sections import USUAL, run_section

    if section is not None:
        if degraded or task or fused or metrics or peers or compare or grey != "opencv" or inputs != "luma":
            raise FusionError(
                "--section has its own tasks and scores: give --data, --models, --output, --limit and --device alone"
            )
        if len(data) > 1:
            raise FusionError("--section takes one --data")
        run_section(section, data[0], USUAL if models == CLASSICS else models, out, device=device, limit=limit)
        return
    if degraded is not None:
        if task or fused or metrics or peers or compare or grey != "opencv" or inputs != "luma":
            raise FusionError(
                "--degraded has its own tasks and scores: leave out --task, --fused, --metrics, --grey, --inputs, --peers, --compare"
            )
        failed = run_bench_degraded(
            degraded, data, models, out, say=say, device=device, limit=limit, images=images, quiet=quiet
        )
        raise typer.Exit(1 if failed else 0)
    if len(data) > 1:
        raise FusionError("give --data once; several folders are for --degraded")
    failed = run_bench(
        data[0], task, models, out, fused=fused or [], metrics=metrics, grey=grey, inputs=inputs, device=device, limit=limit, images=images,
        peers=peers, compare=compare or [], quiet=quiet,
    )  # fmt: skip
    raise typer.Exit(1 if failed else 0)
