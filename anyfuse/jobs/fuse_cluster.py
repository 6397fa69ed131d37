"""Fusion of many sets on a cluster: what `anyfuse fuse --on ray` does."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import FusionError
from ..io.atomic import clean_temporaries
from ..io.groups import Pairing
from ..io.stores import exists_in_store, is_url, join, local_path
from ..language.instruction import read_say
from ..result import Outputs
from .bulk import BulkSet, check_results, existing, find_bulk, plan_bulk
from .choices import Choices
from .cluster import Cluster, check_ray, connected, run_rows, say
from .files import check_maps, fuse_set
from .progress import progress_bar
from .rows import Rows

REPORT = "report.parquet"
"""Folder of the report, within that of the results."""


class Fusing:
    """An actor's work: one set through the model that it keeps."""

    def __init__(self, choices: Choices) -> None:
        self.choices, self.fuser = choices, choices.load()

    def there(self, job: Mapping[str, Any]) -> bool:
        """Whether the result is there, of an earlier run or of a worker that died after it."""
        image = job["image"]
        if self.choices.overwrite:
            return False
        return exists_in_store(image) if is_url(image) else os.path.exists(image)

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        """Reads, aligns, fuses and writes one set."""
        outputs = Outputs(
            result,
            job["weights"],
            job["explain"],
            job["masks"],
            overwrite=self.choices.overwrite,
            quality=self.choices.quality or 95,
            resume=True,
        )
        report = fuse_set(self.fuser, files, outputs, self.choices)
        return {"status": "fused", "report": json.dumps(report)}


def fuse_on(
    cluster: Cluster,
    inputs: Sequence[str],
    output: str,
    choices: Choices,
    pairing: Pairing,
    *,
    plan: bool = False,
    weights_out: str | None = None,
    report: str | None = None,
    explain: str | None = None,
    mask_out: str | None = None,
) -> int:
    """Fuses sets of images into a folder, on a cluster.

    Args:
        cluster: where.
        inputs: folders, local (which all machines see) or of a store; none where `pairing` has a table.
        output: folder of the results, local or of a store.
        choices: the options.
        pairing: how files are put together.
        plan: prints what would be fused with what, and does nothing.
        weights_out: local folder of the weight maps.
        report: folder of Parquet files, a row a set; None: `report.parquet` in `output`.
        explain: local folder of the explanations.
        mask_out: local folder of the masks.

    Returns:
        How many sets failed.

    Raises:
        FusionError: an option that is wrong, or a cluster that cannot be reached or fails.
    """
    if choices.align.save_transforms is not None or choices.align.aligned_out is not None:
        raise FusionError("--save-transforms and --aligned-out are for one set of images; see `anyfuse align`")
    output = local_path(output)
    report = local_path(report) if report else join(output, REPORT)
    apart = [place for place in (weights_out, explain, mask_out, report) if place is not None]
    check_results(inputs, output, apart)
    found = find_bulk(inputs, pairing, single=bool(read_say(choices.say).segment), apart=[output, *apart])
    for note in found.notes:
        say(f"note: {note}")
    sets, failures = plan_bulk(found, output, choices, weights_out, explain, mask_out)
    failures |= found.lacking
    present = existing(output)
    todo = [one for one in sets if choices.overwrite or os.path.basename(one.image) not in present]
    if plan:
        missing = {one.name for one in todo}
        for one in sets:
            print(f"{one.image}: {' + '.join(one.inputs)}{'' if one.name in missing else ' (already there)'}")
        return len(failures)
    if not sets:
        raise FusionError("no set of images; names must agree, as a/01.png and b/01.jpg; see --plan")
    return _run(cluster, sets, todo, failures, output, report, choices)


def _run(
    cluster: Cluster,
    sets: Sequence[BulkSet],
    todo: Sequence[BulkSet],
    failures: dict[str, str],
    output: str,
    report: str,
    choices: Choices,
) -> int:
    """Fuses what is to be done; every set has its row afterwards."""
    check_ray()
    quiet = replace(choices, quiet=True)
    fuser = choices.load()  # here, so that a wrong option is one error
    first = sets[0]
    check_maps(fuser, choices, first.explain, first.masks, first.weights)
    fuser.check_instruction(choices.say)
    del fuser
    for folder in (output, report):
        if not is_url(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
            clean_temporaries(folder)
    again = {one.name for one in todo}
    fused = 0
    with connected(cluster) as ray, progress_bar(choices.quiet) as bar:
        done = {one.name for one in sets} - again
        images = {one.name: one.image for one in sets}

        def keep(row: Mapping[str, Any]) -> bool | None:
            name, image = row["name"], images.get(row["name"])
            if (image is None and name not in failures) or (image and row["output"] not in (None, image)):
                return None  # of other sets, or into another folder
            return row["status"] != "failed" and name in done

        rows = Rows(report, keep)
        for name, reason in failures.items():
            rows.add({"name": name, "status": "failed", "reason": reason})
        for one in sets:
            if one.name not in again and one.name not in rows.known:
                rows.add({"name": one.name, "status": "there", "output": one.image, "inputs": list(one.inputs)})
        task = bar.add_task("fusing", total=len(todo))
        with rows.written():
            for row in run_rows(ray, cluster, Fusing, (quiet,), [asdict(one) for one in todo]):
                rows.add(row)
                fused += row["status"] != "failed"  # "there": its worker died after it was written
                if row["status"] == "failed":
                    failures[row["name"]] = row["reason"]
                bar.advance(task)
            bar.stop()
            for name, reason in failures.items():
                say(f"{name}: {reason}")
    if not choices.quiet:
        there = len(sets) - len(todo)
        print(f"{output}: {fused} fused, {there} already there, {len(failures)} failed; rows in {report}")
    return len(failures)
