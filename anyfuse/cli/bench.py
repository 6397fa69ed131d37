"""`anyfuse bench`: fuse, score and time models on a data set."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import FusionError
from .options import (
    Device,
    Gpus,
    Grey,
    Group,
    Limit,
    ListFile,
    Metrics,
    On,
    Pairs,
    Plan,
    Quiet,
    Task,
    Workers,
    complete_models,
)

CLASSICS = "anyfuse,laplacian,mertens,guided"

Data = Annotated[
    list[str],
    typer.Option(
        help="Folder of a data set, or any folder with one folder per source. With --degraded: the folder that holds "
        "the recipe's data sets, or one of them; may be repeated."
    ),
]
Models = Annotated[
    str,
    typer.Option(help="Names, folders or LABEL=MODEL, separated by commas.", autocompletion=complete_models),
]
Out = Annotated[str, typer.Option("-o", "--output", help="Folder for fused images, scores.csv and report.html.")]
Fused = Annotated[list[str] | None, typer.Option(help="NAME=FOLDER with results of another method; may be repeated.")]
InputPlanes = Annotated[
    str, typer.Option(help="luma: models get 8-bit luma, as in papers. colour: they get the files.")
]
Pictures = Annotated[int, typer.Option(min=0, help="Pictures in the report.")]
Peers = Annotated[str | None, typer.Option(help="CSV of other methods' scores: folder, name, method, origin, metrics.")]
Compare = Annotated[list[str] | None, typer.Option(help="scores.csv of another run; refused if its protocol differs.")]
Paper = Annotated[
    bool,
    typer.Option(
        "--paper",
        help="Also write OUT/paper for a publication: LaTeX table, figures as PDF, BibTeX of what the table uses. "
        "Needs the extra 'paper'.",
    ),
]
Degraded = Annotated[
    str | None,
    typer.Option(
        metavar="MANIFEST",
        help="Benchmark on pairs degraded by this recipe ('built-in': the package's), scored by PSNR and SSIM to the "
        "fusion of the clean pair.",
    ),
]
Say = Annotated[
    str,
    typer.Option(
        help="With --degraded: what models that restore are told, separated by commas. exact: each degradation and its "
        "strength as a number; oracle: the same with the strength in words; estimate: what `anyfuse estimate` finds; "
        "none: nothing; wrong: degradations that the images do not have."
    ),
]
Section = Annotated[
    str | None,
    typer.Option(
        help="Another benchmark. For models with instructions (default: ditfuse): 'control': changes of light and "
        "contrast, on the test folders in --data. 'segmentation': IoU of the classes that a word names, on CamVid. "
        "'downstream': people and vehicles that a detector finds in either image alone and in fused ones. "
        "'pansharpening': fidelity of bands, on a folder of `anyfuse data reduce`."
    ),
]
Detector = Annotated[
    str,
    typer.Option(
        metavar="FILE.onnx",
        help="With --section downstream: a detector of yours, which gives boxes, labels and scores, or a map of "
        "classes (docs/downstream.md). Default: the segmenters of the package.",
    ),
]
Classes = Annotated[
    str, typer.Option(help="With --detector: its numbers of people and vehicles, as person=1,vehicle=3+6+8.")
]
Boxes = Annotated[
    str, typer.Option(metavar="FILE", help="With --section downstream: boxes of people and vehicles of your own.")
]


def bench(
    data: Data,
    task: Task = "",
    models: Models = CLASSICS,
    out: Out = "bench",
    fused: Fused = None,
    metrics: Metrics = None,
    grey: Grey = "opencv",
    inputs: InputPlanes = "luma",
    device: Device = "auto",
    limit: Limit = None,
    images: Pictures = 4,
    peers: Peers = None,
    compare: Compare = None,
    degraded: Degraded = None,
    say: Say = "exact,oracle,estimate,none,wrong",
    section: Section = None,
    detector: Detector = "",
    classes: Classes = "",
    boxes: Boxes = "",
    group: Group = None,
    pairs: Pairs = None,
    table: ListFile = None,
    on: On = None,
    workers: Workers = None,
    gpus: Gpus = 0.0,
    plan: Plan = False,
    paper: Paper = False,
    quiet: Quiet = False,
) -> None:
    """Fuse, score and time models on a data set; writes a CSV and an HTML report."""
    from ..benchmark.bench import run_bench, run_bench_degraded
    from ..benchmark.downstream.run import Choices
    from ..benchmark.sections import run_section
    from ..io.groups import Pairing
    from ..jobs.cluster import Cluster, check_no_cluster

    check_no_cluster(*((None, 0.0) if on else (workers, gpus)))
    _check_one_machine(on, section, degraded)
    _check_belongs(
        section,
        degraded,
        bool(
            plan
            or pairs
            or group
            or table
            or task
            or fused
            or metrics
            or peers
            or compare
            or paper
            or grey != "opencv"
            or inputs != "luma"
        ),
    )
    if section is None and degraded is not None:
        failed = run_bench_degraded(
            degraded, data, models, out, say=say, device=device, limit=limit, images=images, quiet=quiet
        )
        raise typer.Exit(1 if failed else 0)
    _check_once(section, data, bool(detector or classes or boxes))
    if section is not None:
        choices = Choices(detector, classes, boxes, device, limit)
        run_section(section, data[0], "" if models == CLASSICS else models, out, choices)
        return
    failed = run_bench(
        data[0],
        task,
        models,
        out,
        fused=fused or [],
        metrics=metrics,
        grey=grey,
        inputs=inputs,
        device=device,
        limit=limit,
        images=images,
        peers=peers,
        compare=compare or [],
        quiet=quiet,
        pairing=Pairing(group, pairs, table),
        plan=plan,
        paper=paper,
        cluster=None if on is None else Cluster(on, workers, gpus),
    )
    raise typer.Exit(1 if failed else 0)


def _check_once(section: str | None, data: list[str], of_detector: bool) -> None:
    """of_detector: options are given that only the section downstream has."""
    if section is None and of_detector:
        raise FusionError("--detector, --classes and --boxes belong to --section downstream")
    if len(data) > 1:
        raise FusionError(
            "--section takes one --data" if section else "give --data once; several folders are for --degraded"
        )


def _check_one_machine(on: str | None, section: str | None, degraded: str | None) -> None:
    """Refuses a cluster for what one machine does."""
    if on and (section is not None or degraded is not None):
        option = "--section" if section is not None else "--degraded"
        raise FusionError(
            f"bench {option} runs on one machine; leave out --on. On a cluster: bench --task TASK, fuse, score, degrade"
        )


def _check_belongs(section: str | None, degraded: str | None, of_tables: bool) -> None:
    """of_tables: options are given that only the plain benchmark has."""
    if section is not None and of_tables:
        raise FusionError(
            "--section has its own tasks and scores: give --data, --models, --output, --limit and --device alone"
        )
    if degraded is not None and of_tables:
        raise FusionError(
            "--degraded has its own tasks and scores: leave out --task, --fused, --metrics, --grey, --inputs, "
            "--peers, --compare, --pairs, --group, --list, --plan, --paper"
        )
