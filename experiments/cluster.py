"""Rates of `anyfuse fuse --on ray` with 1 and 2 workers against `--jobs`, and what the engine itself costs.

    OMP_NUM_THREADS=1 python experiments/cluster.py --pairs 48 --side 512

Rates are without the start of Ray and the loading of models: from the first results to the last. The engine alone: sets
that need no work, and sets that wait 20 ms, so that 15 % of overhead would be 3 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from anyfuse.io.groups import Pairing
from anyfuse.io.write import write_image
from anyfuse.jobs.bulk import find_bulk, plan_bulk
from anyfuse.jobs.choices import Choices
from anyfuse.jobs.cluster import Cluster, connected, run_rows
from anyfuse.jobs.fuse_cluster import Fusing


class Waiting:
    """Sets that only wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def there(self, job: Mapping[str, Any]) -> bool:
        return False

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {"status": "fused"}


def make_pairs(folder: Path, count: int, side: int) -> None:
    """Smooth random images of two kinds, aligned."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    for index in range(count):
        waves = [np.sin(rng.uniform(5, 60) * x + rng.uniform(5, 60) * y + rng.uniform(0, 6)) for _ in range(6)]
        for name, part in (("ir", waves[:4]), ("vis", waves[2:])):
            plane = sum(part) / 8 + 0.5 + rng.normal(0, 0.01, (side, side))
            write_image(folder / name / f"{index:05d}.png", (plane.clip(0, 1) * 255).astype(np.uint8))


def rate(rows: Iterator[dict[str, Any]]) -> tuple[float, float]:
    """Sets a second after the first ones have come, and mean seconds of a set in its actor."""
    times, seconds = [], []
    for row in rows:
        assert row["status"] in ("fused", "there"), row
        times.append(time.perf_counter())
        seconds.append(row["seconds"])
    later = sum(t > times[0] + 0.05 for t in times)
    return later / (times[-1] - times[0]), float(np.mean(seconds))


def by_jobs(data: Path, out: Path, jobs: int, align: str) -> float:
    """Sets a second of one process with threads."""
    report = out.with_suffix(".json")
    options = ["-o", str(out), "--jobs", str(jobs), "--align", align, "--report", str(report), "-q"]
    command = [sys.executable, "-m", "anyfuse", "fuse", str(data / "ir"), str(data / "vis"), *options]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    content = json.loads(report.read_text())
    return float(content["fused"] / content["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--side", type=int, default=512, help="pixels")
    parser.add_argument("--align", default="none")
    parser.add_argument("--empty", type=int, default=2000, help="sets without work")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        make_pairs(data, args.pairs, args.side)
        found = find_bulk([str(data / "ir"), str(data / "vis")], Pairing())
        from anyfuse.align.stage import Align

        choices = Choices(model="anyfuse", quiet=True, align=Align(args.align))
        print(f"{args.pairs} pairs of {args.side} x {args.side}, --align {args.align}")
        with connected(Cluster()) as ray:
            for workers in (1, 2):
                alone = by_jobs(data, data / f"jobs{workers}", workers, args.align)
                (data / f"ray{workers}").mkdir()
                sets, _ = plan_bulk(found, str(data / f"ray{workers}"), choices)
                jobs = [asdict(one) for one in sets]
                ours, each = rate(run_rows(ray, Cluster(workers=workers), Fusing, (choices,), jobs))
                print(f"--jobs {workers}: {alone:.2f} sets/s")
                print(f"--on ray, {workers} worker(s): {ours:.2f} sets/s, {each * 1000:.0f} ms a set in its actor")
            for seconds, count in ((0.0, args.empty), (0.02, args.empty // 4)):
                names = [{"name": str(k), "inputs": [], "image": None} for k in range(count)]
                ours, _ = rate(run_rows(ray, Cluster(workers=2), Waiting, (seconds,), names))
                cost = 2000 / ours - 1000 * seconds
                print(f"sets of {1000 * seconds:.0f} ms, 2 workers: {ours:.0f} sets/s, overhead {cost:.2f} ms a set")


if __name__ == "__main__":
    main()
