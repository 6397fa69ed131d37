"""What `anyfuse score` does: metrics of fused files and their sources."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from torch import Tensor

from ..errors import FusionError
from ..image.frame import Frame
from ..io.atomic import target_of, unforeseen, write_whole
from ..io.folders import list_files, pair_folders
from ..io.groups import Pairing, find_sets
from ..io.levels import parse_levels
from ..io.names import stem_of
from ..io.read import read_image, read_set
from ..jobs.cluster import Cluster
from ..metrics import METRICS, RULES, known_names
from ..metrics import score as score_images
from ..metrics.grey import GreyRule
from ..metrics.shared import TooSmallError
from .report import number
from .run import DEFAULT_METRICS
from .scene import levels
from .score_cluster import score_rows, sets_in_stores
from .stats import mean_of
from .versions import metric_versions


def metric_names(text: str | None) -> tuple[list[str], bool]:
    """'mi,qabf' or 'all' -> names, and whether the user named them; FusionError names the unknown one."""
    if text is None:
        return list(DEFAULT_METRICS), False
    return known_names([n.strip() for n in text.split(",") if n.strip()]), text.strip() != "all"


@dataclass(frozen=True)
class Values:
    """How the values of the sources become 0 to 1, as the options of the same names of `anyfuse fuse` say."""

    white: str | None = None
    black: str | None = None
    range: str | None = None


def read_scored(fused: Path, sources: Sequence[Path], truth: Path | None, values: Values) -> list[Frame]:
    """Fused image, sources, and the truth if there is one. Sources are scaled as one set, as fusing them does.

    A fused image of 16 bits keeps the white of the first source, as `anyfuse fuse` writes it.
    """
    levels_of = parse_levels(len(sources), values.white, values.black, values.range)
    frames = [read_image(fused), *read_set(sources, levels_of), *([read_image(truth)] if truth else [])]
    white = levels_of[0].white if levels_of[0].black is None else None
    for k in (0, *([len(frames) - 1] if truth else [])):
        if white is not None and frames[k].pixels.dtype != np.uint8 and float(frames[k].pixels.max()) <= white:
            frames[k] = replace(frames[k], white=white)
    return frames


def score_one(
    fused: Path,
    sources: Sequence[Path],
    names: list[str],
    grey: GreyRule,
    truth: Path | None,
    strict: bool,
    values_of: Values,
) -> tuple[dict[str, float], list[str]]:
    """Metrics of one fused file and its sources, on 8-bit grey levels; and those that are NaN as the image is too
    small.

    Args:
        fused: file of the result.
        sources: files of the sources.
        names: of the metrics.
        grey: rule for grey levels.
        truth: file of the reference; None: there is none.
        strict: an image too small for a metric is an error; else its score is NaN.
        values_of: black, white and range of the files.
    """
    frames = read_scored(fused, sources, truth, values_of)
    for frame in frames[1 : len(sources) + 1]:
        if frame.scaling is not None or values_of != Values():
            for warning in frame.warnings:
                print(f"anyfuse: note: {warning}", file=sys.stderr)
    for frame in frames[1:]:
        if (frame.height, frame.width) != (frames[0].height, frames[0].width):
            raise FusionError(
                f"{frame.name} is {frame.width}x{frame.height} but {frames[0].name} is "
                f"{frames[0].width}x{frames[0].height}; "
                "metrics need images of one size"
            )
    grey_levels = [levels(f, grey) for f in frames]
    reference = grey_levels.pop() if truth else None
    values = score_images(grey_levels[0], grey_levels[1:], names, reference=reference, strict=strict)
    undefined = [n for n in names if math.isnan(values[n])]
    return values, [n for n in undefined if _too_small(grey_levels, n)]


def _too_small(images: Sequence[Tensor], name: str) -> bool:
    try:
        score_images(images[0], images[1:], [name])
    except TooSmallError:
        return True
    return False


def run_score(
    fused: str,
    sources: Sequence[str],
    *,
    metrics: str | None,
    grey: str,
    truth: str | None,
    as_json: bool,
    out: str | None,
    white: str | None = None,
    black: str | None = None,
    range: str | None = None,
    overwrite: bool = False,
    pairing: Pairing | None = None,
    plan: bool = False,
    cluster: Cluster | None = None,
    report: str | None = None,
) -> int:
    """Scores a file or a folder. Returns the number of images that failed.

    Args:
        fused: file or folder of results.
        sources: files or folders of the sources.
        metrics: names separated by commas, or 'all'; None: the default ones.
        grey: rule for grey levels: matlab, pil or opencv.
        truth: file or folder of references; None: there is none.
        as_json: prints JSON in place of a table.
        out: CSV or JSON file for the scores.
        white, black, range: levels of 16-bit and float files, as in `io.levels.parse_levels`.
        overwrite: replaces `out`.
        pairing: how files are put together.
        plan: prints the sets, and does nothing else.
        cluster: scores folders there; their names may be URLs of object stores.
        report: folder of Parquet files for the rows of a cluster.

    Raises:
        FusionError: a choice or a file that is wrong.
    """
    values_of = Values(white, black, range)
    parse_levels(len(sources), white, black, range)  # a mistake is one error, not one per image
    names, strict = metric_names(metrics)
    rule = _grey_rule(grey)
    pairing = pairing or Pairing()
    if len(sources) < 2 and not (pairing.table or (pairing.chosen and sources and Path(sources[0]).is_dir())):
        raise FusionError(f"a fused image has two or more sources, and {len(sources)} was given: --sources A B")
    if out is not None:
        _check_target(Path(out), [fused, *sources, *([truth] if truth else [])], overwrite)
    if cluster is None or plan:
        scored = _score_all(fused, sources, names, rule, truth, strict, values_of, pairing, plan)
    else:
        settings = {"names": names, "grey": rule, "strict": strict, "values_of": values_of}
        scored = _score_on(cluster, fused, sources, truth, settings, pairing, report, as_json)
    if plan:
        return len(scored.failures)
    if as_json:
        folder = {"grey": grey, "images": _for_json(scored.rows), "failed": scored.failures}
        print(
            json.dumps(
                folder if cluster is not None or Path(fused).is_dir() else _for_json(scored.rows)[stem_of(fused)]
            )
        )
    if out is not None:
        _save(Path(out), scored.rows, grey, names, overwrite)
    if not as_json:
        _show(scored.rows)
    if scored.small:
        count = f"{scored.small_images} of {len(scored.rows)} images are" if len(scored.rows) > 1 else "the image is"
        print(f"anyfuse: NaN where {count} smaller than a window: {', '.join(scored.small)}", file=sys.stderr)
    if scored.missing:
        shown = ", ".join(sorted(scored.missing)[:5]) + (", ..." if len(scored.missing) > 5 else "")
        print(f"anyfuse: note: {len(scored.missing)} sets have no image in {fused}: {shown}", file=sys.stderr)
    for stem, reason in scored.failures.items():
        print(f"anyfuse: {stem}: {reason}", file=sys.stderr)
    return len(scored.failures)


@dataclass
class _Scored:
    """Values by image, failures by image, metrics that do not fit into some image and the number of such images, and
    sets without a fused image.
    """

    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    small: list[str] = field(default_factory=list)
    small_images: int = 0
    missing: list[str] = field(default_factory=list)  # sets without a fused image

    def add(self, stem: str, values: dict[str, float], small: list[str]) -> None:
        self.rows[stem] = values
        self.small += [n for n in small if n not in self.small]
        self.small_images += bool(small)


def _grey_rule(name: str) -> GreyRule:
    if name not in RULES:
        raise FusionError(f"--grey {name}: give one of {', '.join(RULES)}")
    return cast(GreyRule, name)


def _check_target(path: Path, inputs: Sequence[str], overwrite: bool) -> None:
    """Refuses what cannot be written, before anything is scored."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise FusionError(f"{path}: give a name that ends in .csv or .json")
    if not path.parent.is_dir():
        raise FusionError(f"{path}: no folder {path.parent}; make it first or name another place")
    target_of(str(path), overwrite, inputs)


def _score_all(
    fused: str,
    sources: Sequence[str],
    names: list[str],
    grey: GreyRule,
    truth: str | None,
    strict: bool,
    values_of: Values,
    pairing: Pairing,
    plan: bool,
) -> _Scored:
    """One image, or all of a folder; images that fail there are in `failures`. plan: only prints the sets."""
    scored = _Scored()
    truths = [truth] if truth else []
    if not Path(fused).is_dir():
        if pairing.chosen:
            raise FusionError("--pairs, --group and --list are for folders, and an image is given; leave them out")
        if plan:
            print(f"{fused}: {' + '.join([*sources, *truths])}")
            return scored
        last = Path(truth) if truth else None
        given = [Path(s) for s in sources]
        scored.add(stem_of(fused), *score_one(Path(fused), given, names, grey, last, strict, values_of))
        return scored
    complete = _groups(fused, sources, truths, pairing, scored)
    for stem, paths in complete.items():
        if plan:
            print(f"{paths[0]}: {' + '.join(map(str, paths[1:]))}")
            continue
        try:
            last = paths[-1] if truth else None
            rest = paths[1:-1] if truth else paths[1:]
            scored.add(stem, *score_one(paths[0], rest, names, grey, last, strict, values_of))
        except FusionError as error:
            scored.failures[stem] = str(error)
        except Exception as error:  # one image never stops the others
            scored.failures[stem] = unforeseen(error)
    if plan:
        for stem, reason in scored.failures.items():
            print(f"anyfuse: {stem}: {reason}", file=sys.stderr)
        return scored
    if not scored.rows:
        reason = next(iter(scored.failures.values()), "no file stem is in all folders")
        raise FusionError(f"{fused}: nothing could be scored ({reason})")
    return scored


def _score_on(
    cluster: Cluster,
    fused: str,
    sources: Sequence[str],
    truth: str | None,
    settings: dict[str, Any],
    pairing: Pairing,
    report: str | None,
    quiet: bool,
) -> _Scored:
    """All of a folder, on a cluster."""
    scored = _Scored()
    truths = [truth] if truth else []
    remote = sets_in_stores([fused, *sources, *truths], pairing)
    if remote is not None:
        sets, lacking = remote
        scored.failures |= lacking
    elif not Path(fused).is_dir():
        raise FusionError(f"{fused}: is no folder; a cluster scores folders")
    else:
        complete = _groups(fused, sources, truths, pairing, scored)
        sets = {name: tuple(map(str, paths)) for name, paths in complete.items()}
    for row in score_rows(cluster, sets, score_one, truth is not None, settings, report, quiet):
        if row["status"] == "failed":
            scored.failures[row["name"]] = row["reason"]
        else:
            content = json.loads(row["report"])
            scored.add(row["name"], content["values"], content["small"])
    if not scored.rows:
        reason = next(iter(scored.failures.values()), "no file stem is in all folders")
        raise FusionError(f"{fused}: nothing could be scored ({reason})")
    return scored


def _groups(
    fused: str, sources: Sequence[str], truths: list[str], pairing: Pairing, scored: _Scored
) -> dict[str, tuple[Path, ...]]:
    """The fused image of each set with its sources, and the truth last; what lacks something is a failure."""
    if pairing.table or len(sources) == 1:  # the sources of all sets are in a table, or in one folder
        within = find_sets(sources, pairing)
        results = {stem_of(path).lower(): path for path in list_files(fused)}
        ideal = [{stem_of(path).lower(): path for path in list_files(folder)} for folder in truths]
        complete = {}
        for name, paths in within.sets.items():
            found = [results.get(name.lower()), *paths, *(folder.get(name.lower()) for folder in ideal)]
            if found[0] is not None and None in found:
                scored.failures[name] = f"not in {truths[0]}"
            elif found[0] is not None:
                complete[name] = tuple(path for path in found if path is not None)
            else:
                scored.missing.append(name)
        return complete
    endings = pairing.endings
    if pairing.group is not None:
        raise FusionError("--group is for one folder of sources; leave it out")
    every = [fused, *sources, *truths]
    (complete, lacking), _ = pair_folders(every, None if endings is None else ["", *endings, *[""] * len(truths)])
    for name, where in lacking.items():
        if Path(fused) not in where:
            scored.failures[name] = f"not in {', '.join(map(str, where))}"
        elif len(where) == 1:
            scored.missing.append(name)
    return complete


def _for_json(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float | str | None]]:
    """JSON has no NaN and no infinity: null, "inf" and "-inf" stand for them."""
    return {
        stem: {n: None if math.isnan(v) else str(v) if math.isinf(v) else v for n, v in values.items()}
        for stem, values in rows.items()
    }


def _save(path: Path, rows: dict[str, dict[str, float]], grey: str, names: list[str], overwrite: bool) -> None:
    """CSV or JSON, by the suffix, with what the numbers were made with."""
    protocol = {"grey": grey, "levels": "8-bit, rounded, no stretch", "metrics": metric_versions(names)}
    if path.suffix.lower() == ".json":
        text = json.dumps({**protocol, "images": _for_json(rows)}, indent=1) + "\n"
    else:
        columns = list(next(iter(rows.values())))
        buffer = io.StringIO()
        buffer.write(f"# anyfuse score\n# {json.dumps(protocol)}\n")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["image", *columns])
        writer.writerows([stem, *[repr(values[n]) for n in columns]] for stem, values in rows.items())
        text = buffer.getvalue()
    write_whole(path, [text.encode(errors="backslashreplace")], overwrite=overwrite)


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
