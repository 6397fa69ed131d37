"""What `anyfuse score` and `anyfuse bench` do."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import cast

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from ..errors import FusionError
from ..io.atomic import check_folder
from ..io.groups import Pairing
from ..jobs.cluster import Cluster
from ..metrics.grey import GreyRule
from .datasets import DATASETS, find_groups
from .degraded.cases import read_recipe
from .degraded.run import run_degraded, table, write_results
from .paper import check_paper, write_paper
from .protocol import PEER_COLUMNS, PEER_TRIVIAL, Protocol, Row, check_peers, check_same, read_peers, read_scores
from .report import number, write_report
from .run import bench, ranked_groups
from .scene import trivial_rows
from .score import metric_names
from .stats import Table


def run_bench(
    data: str,
    task: str,
    models: str,
    out: str,
    *,
    fused: Sequence[str],
    metrics: str | None,
    grey: str,
    inputs: str,
    device: str,
    limit: int | None,
    images: int,
    peers: str | None,
    compare: Sequence[str],
    quiet: bool,
    pairing: Pairing | None = None,
    plan: bool = False,
    paper: bool = False,
    cluster: Cluster | None = None,
) -> int:
    """Runs the benchmark and writes scores.csv and report.html to `out`. Returns the number of failures; images that
    lack a source are named and skipped, which is none.

    Args:
        data: folder of a data set.
        task: ivf, mef, mff or mif.
        models: names, folders or LABEL=MODEL, separated by commas.
        out: folder of scores.csv, report.html and the fused images.
        fused: 'NAME=FOLDER' of other methods' results.
        metrics: names separated by commas, or 'all'; None: the default ones.
        grey: rule for grey levels: matlab, pil or opencv.
        inputs: 'luma' or 'colour', what models get.
        device: auto, cpu or cuda.
        limit: only the first N images.
        images: pictures in the report.
        peers: CSV of other methods' scores.
        compare: scores.csv of other runs, of the same protocol.
        quiet: no progress.
        pairing: how files are put together.
        plan: prints the sets, and does nothing else.
        paper: also writes OUT/paper: a table for LaTeX, figures, references.
        cluster: fuses and scores there.

    Raises:
        FusionError: a choice, a folder or a file that is wrong, or scores of another protocol.
    """
    if plan:
        return print_plan(data, task, pairing)
    if paper:
        check_paper()
    names, strict = metric_names(metrics) if metrics is not None else ([], False)
    given = _folders(fused)
    check_folder(out)
    if peers is not None and (grey != "opencv" or inputs != "luma"):
        raise FusionError(f"{peers}: those scores are on 8-bit luma by the opencv rule; leave out --grey and --inputs")
    others = [read_scores(Path(path)) for path in compare]
    listed: list[Row] = []

    def check(protocol: Protocol, groups: dict[str, tuple[Path, ...]]) -> None:
        for path, (other, _) in zip(compare, others, strict=True):
            check_same(protocol, other, ("this run", path))
        if peers is not None:
            listed.extend(read_peers(Path(peers), protocol.data))
            check_peers(Path(peers), listed, _first_trivial_rows(listed, groups, protocol))

    with Console(stderr=True).status("") as status:
        result = bench(
            data,
            task,
            [m for m in models.split(",") if m],
            out,
            fused=given,
            metrics=names,
            strict=strict,
            grey=grey,
            inputs=inputs,
            device=device,
            limit=limit,
            pairing=pairing,
            step=(lambda text: None) if quiet else status.update,
            check=check,
            cluster=cluster,
        )
    rows = with_others(result.rows, compare, others)
    if peers is not None:
        rows += beside(rows, check_peers(Path(peers), listed, rows), "peers")
    table = write_report(Path(out) / "report.html", result, rows, images)
    _show_ranks(table, task)
    if paper:
        written = write_paper(Path(out) / "paper", result, table)
        print(f"{out}/paper: {', '.join(path.name for path in written)}; paper.tex shows them")
    print(f"{out}/scores.csv, {out}/report.html: {len(table.images)} images, {len(table.methods)} methods")
    for name, reason in result.skipped.items():
        print(f"anyfuse: {name}: skipped, {reason}", file=sys.stderr)
    return _print_failures(result.failures)


def with_others(rows: Sequence[Row], files: Sequence[str], others: Sequence[tuple[Protocol, list[Row]]]) -> list[Row]:
    """Rows, and those of other runs by the names of their folders, or of their files where those say more."""
    out = list(rows)
    for path, (_, more) in zip(files, others, strict=True):
        file = Path(path).resolve()
        out += beside(out, more, file.parent.name if file.stem == "scores" else file.stem)
    return out


def print_plan(data: str, task: str, pairing: Pairing | None) -> int:
    """A line for each set on stdout, and on stderr what lacks a source; returns 0."""
    groups, lacking = find_groups(data, task, pairing)
    for name, paths in groups.items():
        print(f"{name}: {' + '.join(map(str, paths))}")
    for name, where in lacking.items():
        print(f"anyfuse: {name}: skipped, not in {', '.join(map(str, where))}", file=sys.stderr)
    return 0


def _folders(fused: Sequence[str]) -> dict[str, Path]:
    """Folders of other methods' results by name, from NAME=FOLDER."""
    given: dict[str, Path] = {}
    for pair in fused:
        name, sign, folder = pair.partition("=")
        if not sign or not name or not Path(folder).is_dir():
            raise FusionError(f"--fused {pair}: give NAME=FOLDER with the fused images")
        if name in given:
            raise FusionError(f"--fused {pair}: another row has this name; give another one")
        given[name] = Path(folder)
    return given


def run_bench_degraded(
    recipe: str,
    data: Sequence[str],
    models: str,
    out: str,
    *,
    say: str,
    device: str,
    limit: int | None,
    images: int,
    quiet: bool,
) -> int:
    """Runs the benchmark on degraded pairs and writes scores.csv, summary.json, report.md and report.html to `out`; the
    number of failures.

    Args:
        recipe: file of the cases, or 'built-in'.
        data: folders that hold the data sets.
        models: names, folders or LABEL=MODEL, separated by commas.
        out: folder of the results.
        say: what models that restore get, some of exact,oracle,estimate,none,wrong.
        device: auto, cpu or cuda.
        limit: only the first N cases of each kind and task.
        images: pictures in the report.
        quiet: no progress.

    Raises:
        FusionError: a recipe that is wrong, or nothing that can be run.
    """
    check_folder(out)
    ways = [way.strip() for way in say.split(",") if way.strip()]
    with Console(stderr=True).status("") as status:
        result = run_degraded(
            read_recipe(recipe),
            data,
            [m for m in models.split(",") if m],
            out,
            say=ways,
            device=device,
            limit=limit,
            step=(lambda text: None) if quiet else status.update,
        )
    write_results(result, out, images)
    head, *rows = table(result)
    shown = RichTable(box=box.SIMPLE_HEAD)
    for k, heading in enumerate(head):
        shown.add_column(heading, justify="right" if k else "left")
    for row in rows:
        shown.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(shown)
    print(
        f"{out}/scores.csv, {out}/report.html: {len({s.case for s in result.scores})} cases, {len(result.methods)} "
        "methods"
    )
    return _print_failures(result.failures)


def _print_failures(failures: Mapping[str, str]) -> int:
    """A line on stderr for each; returns how many there are."""
    for name, reason in failures.items():
        print(f"anyfuse: {name}: {reason}", file=sys.stderr)
    return len(failures)


def _first_trivial_rows(listed: list[Row], groups: dict[str, tuple[Path, ...]], protocol: Protocol) -> list[Row]:
    """Our trivial rows of the first image that the peers have trivial rows of. A wrong file is then refused before
    anything is fused.
    """
    images = {r.image for r in listed if r.method in PEER_TRIVIAL}
    names = [n for n in PEER_COLUMNS.values() if n in protocol.metrics]
    for stem in [s for s in groups if s in images and names]:
        try:
            return trivial_rows(stem, groups[stem], names, cast(GreyRule, protocol.grey))
        except FusionError:
            continue  # the run reports images that cannot be read
    return []


def beside(rows: Sequence[Row], more: Sequence[Row], tag: str) -> list[Row]:
    """Rows of another file for our images: without its trivial rows, and 'NAME (tag)' for a method of ours."""
    taken, images = {r.method for r in rows}, {r.image for r in rows}
    names: dict[str, str] = {}
    for method in dict.fromkeys(r.method for r in more):
        tries = (f"{method} ({tag}{f' {k}' if k > 1 else ''})" for k in count(1))
        names[method] = next(n for n in tries if n not in taken) if method in taken else method
        taken.add(names[method])
    return [replace(r, method=names[r.method]) for r in more if r.image in images and r.origin != "trivial"]


def _show_ranks(table: Table, task: str) -> None:
    groups = ranked_groups(table.metrics, task)
    ranks = {heading: table.mean_ranks(names) for heading, names in groups.items()}
    shown = RichTable(box=box.SIMPLE_HEAD)
    shown.add_column("method")
    for heading in (*groups, *table.metrics):
        shown.add_column(heading, justify="right")
    columns = {m: table.means(m) for m in table.metrics}
    for method in [*ranks["rank"], *(m for m in table.methods if m not in ranks["rank"])]:
        cells = [columns[m].get(method) for m in table.metrics]
        shown.add_row(
            method,
            *[f"{of[method]:.2f}" if method in of else "" for of in ranks.values()],
            *["" if c is None else number(c.value) + (f" ({c.missing} NaN)" if c.missing else "") for c in cells],
        )
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(shown)
    if "seen" in groups:
        console.print(f"seen: mean rank by what people look at ({', '.join(groups['seen'])}).", highlight=False)
    for note in table.rank_notes([name for names in groups.values() for name in names]):
        console.print(note, highlight=False)


def datasets_text() -> str:
    """One line per known data set: where to get it, its terms, its splits."""
    return "\n".join(f"{name:<14} {d.task}  {d.where}; {d.licence}; {d.splits}" for name, d in DATASETS.items())
