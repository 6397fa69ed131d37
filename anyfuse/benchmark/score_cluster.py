"""Metrics of many fused files on a cluster: what `anyfuse score --on ray` does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..io.groups import Pairing
from ..io.stores import is_url
from ..jobs.bulk import find_bulk
from ..jobs.cluster import Cluster, connected, run_rows
from ..jobs.progress import progress_bar
from ..jobs.rows import Rows
from .versions import metric_versions

Score = Callable[..., tuple[dict[str, float], list[str]]]
"""`score.score_one`."""


class Scoring:
    """An actor's work: the metrics of one set, with the function that one machine uses."""

    def __init__(self, score: Score, has_truth: bool, settings: Mapping[str, Any], protocol: Mapping[str, Any]) -> None:
        self.score, self.has_truth, self.settings, self.protocol = score, has_truth, settings, protocol

    def there(self, job: Mapping[str, Any]) -> bool:
        """Scores leave no file."""
        return False

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        """Scores one set."""
        paths = [Path(name) for name in files]
        truth = paths.pop() if self.has_truth else None
        values, small = self.score(paths[0], paths[1:], truth=truth, **self.settings)
        return {"status": "scored", "report": json.dumps({"values": values, "small": small, **self.protocol})}


def protocol_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What scores depend on beside the files; a row of an earlier run counts where all of it is equal."""
    return {
        "grey": settings["grey"],
        "strict": settings["strict"],
        "values_of": asdict(settings["values_of"]),
        "versions": metric_versions(settings["names"]),
    }


def is_done(row: Mapping[str, Any], sets: Mapping[str, Sequence[str]], protocol: Mapping[str, Any]) -> bool | None:
    """Whether a row of an earlier run has the scores of a set by this protocol; None: it is of other files."""
    if row["name"] not in sets or list(sets[row["name"]]) != row["inputs"]:
        return None
    if row["status"] != "scored":
        return False
    content = json.loads(row["report"])
    return all(content.get(key) == value for key, value in protocol.items())


def sets_in_stores(names: Sequence[str], pairing: Pairing) -> tuple[dict[str, tuple[str, ...]], dict[str, str]] | None:
    """Sets of folders of which some lie in stores, and what is left out; None where all are local.

    Raises:
        FusionError: a folder that cannot be listed, or sets that cannot be found by names.
    """
    if not any(map(is_url, names)):
        return None
    found = find_bulk(names, pairing)
    return found.files, found.lacking


def score_rows(
    cluster: Cluster,
    sets: Mapping[str, Sequence[str]],
    score: Score,
    has_truth: bool,
    settings: Mapping[str, Any],
    report: str | None,
    quiet: bool,
) -> list[dict[str, Any]]:
    """The rows of all sets.

    Args:
        cluster: where.
        sets: name -> fused file, sources, and the truth if there is one.
        score: the function of one set.
        has_truth: the last file of each set is the truth.
        settings: arguments of `score`, `names` of metrics among them.
        report: folder of Parquet files for the rows; None: none. Sets that have a row
            there, by the same settings and metrics, are not scored again.
        quiet: no progress.

    Raises:
        FusionError: a cluster that cannot be reached or fails.
    """
    done: dict[str, dict[str, Any]] = {}
    protocol = protocol_of(settings)

    def keep(row: Mapping[str, Any]) -> bool | None:
        stays = is_done(row, sets, protocol)
        if stays:
            done[row["name"]] = dict(row)
        return stays

    with connected(cluster) as ray, progress_bar(quiet) as bar:
        rows = None if report is None else Rows(report, keep)
        known = set() if rows is None else rows.known
        jobs = [{"name": name, "inputs": list(files)} for name, files in sets.items() if name not in known]
        task = bar.add_task("scoring", total=len(jobs))
        with contextlib.nullcontext() if rows is None else rows.written():
            for row in run_rows(ray, cluster, Scoring, (score, has_truth, dict(settings), protocol), jobs):
                done[row["name"]] = row
                if rows is not None:
                    rows.add(row)
                bar.advance(task)
    return [done[name] for name in sorted(done)]
