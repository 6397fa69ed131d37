"""The benchmark on a cluster: what `anyfuse bench --on ray` does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..fuser import Fuser
from ..jobs.cluster import Cluster, connected, run_rows
from ..jobs.rows import Rows
from .protocol import Row
from .scene import ImageScores, Part, Scorer

REPORT = "report.parquet"
"""Folder of the report, within that of the results."""


@dataclass(frozen=True)
class Job:
    """One image, and the rows of it that are to be made."""

    name: str
    inputs: list[str]
    parts: list[Part]


class Benching:
    """An actor's work: the rows of one image, by the scorer that one machine uses.

    Args:
        models: label -> name or folder; they are loaded once.
        device: auto, cpu or cuda.
        settings: the other arguments of `Scorer`.
    """

    def __init__(self, models: Mapping[str, str], device: str, settings: Mapping[str, Any]) -> None:
        self.scorer = Scorer({label: Fuser(name, device=device) for label, name in models.items()}, **settings)

    def there(self, job: Mapping[str, Any]) -> bool:
        """What is there was left out before."""
        return False

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        """Makes and scores what one image lacks."""
        scores = self.scorer.score(job["name"], [Path(name) for name in files], [Part(**one) for one in job["parts"]])
        reason = "; ".join(f"{name}: {why}" for name, why in scores.failures.items())
        state = {"status": "failed", "reason": reason} if reason else {"status": "scored"}
        return state | {"report": json.dumps(asdict(scores))}


def bench_rows(
    cluster: Cluster,
    jobs: Sequence[Job],
    images: Sequence[str],
    models: Mapping[str, str],
    device: str,
    settings: Mapping[str, Any],
    report: str,
) -> Iterator[tuple[str, ImageScores]]:
    """The scores of each image when it is done, in any order.

    Args:
        cluster: where.
        jobs: images that lack rows.
        images: all of this run. An image without a job has all its rows.
        models: label -> name or folder.
        device: auto, cpu or cuda.
        settings: arguments of `Scorer`.
        report: local folder of Parquet files, a row an image.

    Raises:
        FusionError: a cluster that cannot be reached or fails.
    """
    complete = set(images) - {job.name for job in jobs}
    ours = set(images)

    def keep(row: Mapping[str, Any]) -> bool | None:
        return (row["status"] != "failed" and row["name"] in complete) if row["name"] in ours else None

    rows = Rows(report, keep)
    for name in images:
        if name in complete and name not in rows.known:
            rows.add({"name": name, "status": "there"})
    with rows.written(), connected(cluster) as ray:
        arguments = (dict(models), device, dict(settings))
        for row in run_rows(ray, cluster, Benching, arguments, [asdict(job) for job in jobs]):
            rows.add(row)
            yield row["name"], _scores(row)


def _scores(row: Mapping[str, Any]) -> ImageScores:
    """The scores in a row; of one without scores, its reason alone."""
    if not row.get("report"):
        return ImageScores(failures={row["name"]: row["reason"]})
    content = json.loads(row["report"])
    return ImageScores([Row(**one) for one in content["rows"]], content["seconds"], content["failures"])
