"""Degradation of many images on a cluster: what `anyfuse degrade --on ray` does."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..degradation.manifest import Manifest, Settings, claim, degrade_image, entry_of, prepared, result_names
from ..errors import FusionError
from ..io.atomic import Inputs, clean_temporaries, target_of, write_whole
from .cluster import Cluster, check_ray, connected, run_rows, say
from .progress import progress_bar
from .rows import SECONDS, Rows

REPORT = "report.parquet"
"""Folder of the report, within that of the results."""


class Degrading:
    """An actor's work: one image, by the function that one machine uses."""

    def __init__(self, settings: Settings, overwrite: bool) -> None:
        self.settings, self.overwrite = settings, overwrite

    def there(self, job: Mapping[str, Any]) -> bool:
        """Results without an entry in the manifest are made again. An equal file stays, another one is an error."""
        return False

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        """Reads, degrades and writes one image; the driver writes its entry into the manifest."""
        replay = None if job["replay"] is None else Manifest(self.settings, {job["name"]: job["replay"]})
        entry, notes = degrade_image(
            Path(files[0]),
            job["targets"],
            self.settings,
            replay,
            self.overwrite,
            Inputs(files),
            lambda entry: None,
            job["names"],
        )
        return {"status": "degraded", "report": json.dumps({"entry": entry, "notes": notes})}


def degrade_on(
    cluster: Cluster,
    folder: str,
    output: str,
    settings: Settings,
    *,
    replay: Manifest | None = None,
    suffix: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> int:
    """Degrades every image of a folder on a cluster. Both folders are local, and all machines see them.

    Results and manifest equal those of one machine. The manifest is written every 20 s and at the end. A second run
    does what is missing.

    Args:
        cluster: where.
        folder: of the images.
        output: folder of the results, the manifest and report.parquet.
        settings: what is done.
        replay: a manifest whose seeds, sources and plans are used instead of new ones.
        suffix: of the results; None: of the images.
        overwrite: replaces files that exist.
        quiet: shows no progress.

    Returns:
        How many files failed.

    Raises:
        FusionError: a folder that cannot be used, one with the results of other settings, or a cluster that fails.
    """
    check_ray()
    images, target, done, spare = prepared(folder, output, settings, suffix, overwrite)
    report = Path(output) / REPORT
    report.mkdir(exist_ok=True)
    clean_temporaries(report)
    jobs, failures = _jobs(images, output, done, replay, suffix, overwrite, spare)
    names = {path.name for path in images}
    there = names - {job["name"] for job in jobs} - failures.keys()
    rows = _rows(str(report), names, there)
    for name, reason in failures.items():
        rows.add({"name": name, "status": "failed", "reason": reason})

    def save() -> None:
        write_whole(target, [done.text().encode()], overwrite=True, inputs=spare)

    save()
    saved = time.monotonic()
    with rows.written(), contextlib.ExitStack() as last:
        last.callback(save)
        ray = last.enter_context(connected(cluster))
        bar = last.enter_context(progress_bar(quiet, "images"))
        task = bar.add_task("degrading", total=len(jobs))
        for row in run_rows(ray, cluster, Degrading, (settings, overwrite), jobs):
            rows.add(row)
            _take(row, done, failures)
            bar.advance(task)
            if time.monotonic() - saved > SECONDS:  # the whole file each time, so not after each image
                save()
                saved = time.monotonic()
        bar.stop()
        for name, reason in failures.items():
            say(f"{name}: {reason}")
    if not quiet:
        count = len(names) - len(there) - len(failures)
        print(f"{output}: {count} degraded, {len(there)} already there, {len(failures)} failed; {target}")
    return len(failures)


def _jobs(
    images: Sequence[Path],
    output: str,
    done: Manifest,
    replay: Manifest | None,
    suffix: str | None,
    overwrite: bool,
    spare: Inputs,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What is to be made, and failures by name."""
    jobs, failures = list[dict[str, Any]](), dict[str, str]()
    claimed: dict[str, str] = {}
    for path in images:
        try:
            names = claim(path, result_names(path, done.settings, replay, suffix), claimed)
            targets = [str(Path(output) / name) for name in names]
            there = [os.path.lexists(one) for one in targets]
            if not overwrite and all(there) and done.files.get(path.name, {}).get("outputs") == names:
                continue
            for place in targets if any(there) else []:
                target_of(place, True, spare)
            old = None if replay is None else entry_of(replay, path.name)
        except FusionError as error:
            failures[path.name] = str(error)
            continue
        what = {"targets": targets, "names": names, "replay": old}
        jobs.append({"name": path.name, "inputs": [str(path)], "image": targets[0], **what})
    return jobs, failures


def _rows(report: str, names: set[str], there: set[str]) -> Rows:
    """The report, with a row for each result that is there."""

    def keep(row: Mapping[str, Any]) -> bool | None:
        return (row["status"] != "failed" and row["name"] in there) if row["name"] in names else None

    rows = Rows(report, keep)
    for name in sorted(there - rows.known):
        rows.add({"name": name, "status": "there"})
    return rows


def _take(row: Mapping[str, Any], done: Manifest, failures: dict[str, str]) -> None:
    """Notes what came of one image."""
    if row["status"] == "failed":
        failures[row["name"]] = row["reason"]
        return
    content = json.loads(row["report"])
    done.files[row["name"]] = content["entry"]
    for note in content["notes"]:
        say(f"note: {note}")
