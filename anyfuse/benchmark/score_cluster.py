"""Metrics of many fused files on a cluster: what `anyfuse score --on ray` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..io.groups import Pairing
from ..io.stores import is_url
from ..jobs.bulk import find_bulk
from ..jobs.cluster import Cluster, connected, run_rows
from ..jobs.progress import progress_bar
from ..jobs.rows import Rows

Score = Callable[..., tuple[dict[str, float], list[str]]]
"""`score.score_one`."""


class Scoring:
    """An actor's work: the metrics of one set, with the function that one machine uses."""

    def __init__(self, score: Score, has_truth: bool, settings: Mapping[str, Any]) -> None:
        self.score, self.has_truth, self.settings = score, has_truth, settings

    def there(self, job: Mapping[str, Any]) -> bool:
        """Scores leave no file."""
        return False

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        """Scores one set."""
        paths = [Path(name) for name in files]
        truth = paths.pop() if self.has_truth else None
        values, small = self.score(paths[0], paths[1:], truth=truth, **self.settings)
        return {"status": "scored", "report": json.dumps({"values": values, "small": small})}


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
        report: folder of Parquet files for the rows; None: none. Sets that have a row there are not scored again.
        quiet: no progress.

    Raises:
        FusionError: a cluster that cannot be reached or fails.
    """
    done: list[dict[str, Any]] = []

    def keep(row: Mapping[str, Any]) -> bool:
        if row["status"] == "failed" or row["name"] not in sets or list(sets[row["name"]]) != row["inputs"]:
            return False
        if set(settings["names"]) - json.loads(row["report"])["values"].keys():
            return False
        done.append(dict(row))
        return True

    with connected(cluster) as ray, progress_bar(quiet) as bar:
        rows = None if report is None else Rows(report, keep)
        known = set() if rows is None else rows.known
        jobs = [{"name": name, "inputs": list(files)} for name, files in sets.items() if name not in known]
        task = bar.add_task("scoring", total=len(jobs))
        try:
            for row in run_rows(ray, cluster, Scoring, (score, has_truth, dict(settings)), jobs):
                done.append(row)
                if rows is not None:
                    rows.add(row)
                bar.advance(task)
        finally:
            if rows is not None:
                rows.flush()
    return sorted(done, key=lambda row: str(row["name"]))
