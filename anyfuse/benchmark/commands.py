"""What `anyfuse score` and `anyfuse bench` do."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from ..data.folders import list_images, pair_by_stem
from ..errors import FusionError
from ..files import target_of, write_whole
from ..io import read_image
from ..metrics import METRICS
from ..metrics import score as score_images
from .datasets import DATASETS
from .protocol import check_same, read_peers, read_scores
from .report import number, write_report
from .run import DEFAULT_METRICS, RANKED, bench, levels
from .stats import Table, mean_of


def metric_names(text: str | None) -> list[str]:
    """'mi,qabf' or 'all' -> names; FusionError names the unknown one."""
    if text is None:
        return list(DEFAULT_METRICS)
    names = list(METRICS) if text == "all" else [n.strip() for n in text.split(",") if n.strip()]
    unknown = [n for n in names if n not in METRICS]
    if unknown or not names:
        raise FusionError(f"unknown metric '{', '.join(unknown) or text}'; known: {', '.join(METRICS)}")
    return names


def score_one(
    fused: Path, sources: Sequence[Path], names: list[str], grey: str, truth: Path | None
) -> dict[str, float]:
    """Metrics of one fused file and its sources, on 8-bit grey levels."""
    frames = [read_image(p) for p in (fused, *sources, *([truth] if truth else []))]
    for frame in frames[1:]:
        if (frame.height, frame.width) != (frames[0].height, frames[0].width):
            raise FusionError(
                f"{frame.name} is {frame.width}x{frame.height} but {frames[0].name} is {frames[0].width}x{frames[0].height}; "
                "metrics need images of one size"
            )
    grey_levels = [levels(f, grey) for f in frames]
    reference = grey_levels.pop() if truth else None
    return score_images(grey_levels[0], grey_levels[1:], names, reference=reference)


def run_score(
    fused: str,
    sources: Sequence[str],
    *,
    metrics: str | None,
    grey: str,
    truth: str | None,
    as_json: bool,
    out: str | None,
) -> int:
    """Scores a file or a folder. Returns the number of images that failed."""
    names = metric_names(metrics)
    if len(sources) < 2:
        raise FusionError(f"a fused image has two or more sources, and {len(sources)} was given: --sources A B")
    if out is not None:
        target_of(out, True, [fused, *sources])
    failures: dict[str, str] = {}
    if not Path(fused).is_dir():
        values = score_one(Path(fused), [Path(s) for s in sources], names, grey, Path(truth) if truth else None)
        rows = {Path(fused).stem: values}
        if as_json:
            print(json.dumps(values))
    else:
        rows, failures = _score_folder(fused, sources, names, grey, truth)
        if as_json:
            print(json.dumps({"grey": grey, "images": rows, "failed": failures}))
    if out is not None:
        _save(Path(out), rows, grey)
    if not as_json:
        _show(rows)
    for stem, reason in failures.items():
        print(f"anyfuse: {stem}: {reason}", file=sys.stderr)
    return len(failures)


def _score_folder(
    fused: str, sources: Sequence[str], names: list[str], grey: str, truth: str | None
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    folders = [fused, *sources, *([truth] if truth else [])]
    complete, lacking = pair_by_stem(folders)
    wanted = {p.stem for p in list_images(fused)}
    failures = {s: f"not in {', '.join(map(str, where))}" for s, where in lacking.items() if s in wanted}
    rows: dict[str, dict[str, float]] = {}
    for stem, paths in complete.items():
        try:
            last = paths[-1] if truth else None
            rows[stem] = score_one(paths[0], paths[1:-1] if truth else paths[1:], names, grey, last)
        except FusionError as error:
            failures[stem] = str(error)
    if not rows:
        reason = next(iter(failures.values()), "no file stem is in all folders")
        raise FusionError(f"{fused}: nothing could be scored ({reason})")
    return rows, failures


def _save(path: Path, rows: dict[str, dict[str, float]], grey: str) -> None:
    """CSV or JSON, by the suffix."""
    if path.suffix.lower() == ".json":
        write_whole(path, [(json.dumps({"grey": grey, "images": rows}, indent=1) + "\n").encode()], overwrite=True)
        return
    if path.suffix.lower() != ".csv":
        raise FusionError(f"{path}: give a name that ends in .csv or .json")
    names = list(next(iter(rows.values())))
    text = io.StringIO()
    text.write(f"# anyfuse score, grey rule {grey}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *names])
    writer.writerows([stem, *[format(values[n], ".10g") for n in names]] for stem, values in rows.items())
    write_whole(path, [text.getvalue().encode()], overwrite=True)


def _show(rows: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(rows.values())))
    table = RichTable(box=box.SIMPLE_HEAD)
    single = len(rows) == 1
    for heading in ("metric", "value" if single else "mean", "better", *([] if single else ["95 % interval", "NaN"])):
        table.add_column(heading, justify="left" if heading in ("metric", "better") else "right")
    for name in names:
        mean = mean_of([values[name] for values in rows.values()])
        better = METRICS[name].better if name in METRICS else "higher"
        interval = "" if math.isnan(mean.low) else f"{number(mean.low)} to {number(mean.high)}"
        table.add_row(name, number(mean.value), better, *([] if single else [interval, str(mean.missing or "")]))
    Console().print(table)


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
) -> int:
    """Runs the benchmark and writes scores.csv and report.html to `out`. Returns the number of failures."""
    given = {}
    for pair in fused:
        name, sign, folder = pair.partition("=")
        if not sign or not name or not Path(folder).is_dir():
            raise FusionError(f"--fused {pair}: give NAME=FOLDER with the fused images")
        given[name] = Path(folder)
    if inputs not in ("luma", "colour"):
        raise FusionError(f"--inputs {inputs}: give luma or colour")
    names = metric_names(metrics) if metrics else []
    if Path(out).exists() and not Path(out).is_dir():
        raise FusionError(f"{out}: is a file; name a folder for the results")
    others = [read_scores(Path(path)) for path in compare]
    console = Console(stderr=True)
    with console.status("") as status:
        result = bench(
            data, task, [m for m in models.split(",") if m], out, fused=given, metrics=names, grey=grey, inputs=inputs, device=device,
            limit=limit, step=(lambda text: None) if quiet else status.update,
        )  # fmt: skip
    rows = list(result.rows)
    for path, (protocol, more) in zip(compare, others, strict=True):
        check_same(result.protocol, protocol, (str(Path(out) / "scores.csv"), path))
        have = {r.method for r in rows}
        rows += [r for r in more if r.method not in have]
    if peers is not None:
        if grey != "opencv" or inputs != "luma":
            raise FusionError(
                f"{peers}: those scores are on 8-bit luma by the opencv rule; leave out --grey and --inputs"
            )
        ours = {r.image for r in rows}
        rows += [r for r in read_peers(Path(peers), result.protocol.data, rows) if r.image in ours]
    table = write_report(Path(out) / "report.html", result, rows, images)
    _show_ranks(table)
    print(f"{out}/scores.csv, {out}/report.html: {len(table.images)} images, {len(table.methods)} methods")
    for stem, reason in result.failures.items():
        print(f"anyfuse: {stem}: {reason}", file=sys.stderr)
    return len(result.failures)


def _show_ranks(table: Table) -> None:
    ranked = [m for m in RANKED if m in table.metrics]
    ranks = table.mean_ranks(ranked)
    shown = RichTable(box=box.SIMPLE_HEAD)
    shown.add_column("method")
    for heading in ("rank", *table.metrics):
        shown.add_column(heading, justify="right")
    columns = {m: table.means(m) for m in table.metrics}
    for method in [*ranks, *(m for m in table.methods if m not in ranks)]:
        cells = [columns[m].get(method) for m in table.metrics]
        shown.add_row(
            method,
            f"{ranks[method]:.2f}" if method in ranks else "",
            *["" if c is None else number(c.value) for c in cells],
        )
    Console(width=None if sys.stdout.isatty() else 200).print(shown)


def datasets_text() -> str:
    """One line per known data set: where to get it, its terms, its splits."""
    return "\n".join(f"{name:<14} {d.task}  {d.where}; {d.licence}; {d.splits}" for name, d in DATASETS.items())
