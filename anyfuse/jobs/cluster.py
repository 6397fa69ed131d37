"""Many sets on a cluster, by Ray Data: fetch -> work, on actors that keep the model -> store.

    fetch   reads files of object stores into memory; local files, or of a shared file system, are read by the actor
    work    the same functions as on one machine (jobs/files.py, benchmark/score.py); one model for each actor
    store   writes results to an object store; local ones are written by the actor, whole or not at all

At least once: Ray repeats the tasks of a worker that has died. A result has one name, so doing it again changes
nothing, and a set that is there is not done again. A set over which workers die again and again becomes a row with that
reason. The stages run at the same time, and Ray holds the first ones back where the later ones are slower.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import FusionError
from ..io.atomic import one_line, unforeseen
from ..io.pages import split_name
from ..io.stores import is_url, read_store, write_store

ATTEMPTS = 3
"""How often a set may lose its worker."""
CHANCES = 3
"""How often the pipeline itself may fail, as where nodes come and go; what is done stays done."""
OWN, AROUND = 0.9, 0.02
"""CPUs of an actor, and of a task that fetches or stores: one actor a CPU leaves room for these."""
BLOCK, FETCHED = 32, 16
"""Sets of a task at most, and where their files are fetched from a store. A task of Ray Data costs about 40 ms. A task
that loses its worker is done again, without the sets that the ledger has a row of."""
REMEMBERED = 20_000
"""Rows that the ledger keeps for tasks that are done again: the sets of 1,250 actors."""


@dataclass(frozen=True)
class Cluster:
    """Where the work is done."""

    address: str = "ray"  # 'ray': the cluster that this machine belongs to, or a new one here; or ray://host:port
    workers: int | None = None  # actors; None: one for each CPU, or each share of a GPU
    gpus: float = 0.0  # GPUs of an actor; 0.25: four actors share one

    def __post_init__(self) -> None:
        if self.address != "ray" and not self.address.startswith("ray://"):
            raise FusionError(f"--on {self.address}: give ray, or ray://HOST:PORT")
        if not (0 <= self.gpus <= 1 or (self.gpus > 1 and float(self.gpus).is_integer())):
            raise FusionError(f"--gpus {self.gpus:g}: give 0 to 1, or a whole number")


def check_no_cluster(workers: int | None, gpus: float) -> None:
    """Raises FusionError where options of a cluster are given without one."""
    if workers is not None or gpus:
        raise FusionError("--workers and --gpus need --on ray; without it give --jobs")


class Work(Protocol):
    """What an actor does with each set. Its constructor gets the arguments of `run_rows`, and loads the model."""

    def there(self, job: Mapping[str, Any]) -> bool:
        """Whether a local result is there already."""

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        """Does one set; returns columns of its row.

        Args:
            job: what `run_rows` was given.
            files: local names of its inputs.
            result: local name of the file to write.
        """


class Ledger:
    """Counts how often each set was begun and not ended, and keeps the last rows; an actor of its own."""

    def __init__(self) -> None:
        self.entered: set[str] = set()  # first set of each task
        self.begun: dict[str, int] = {}
        self.rows: dict[str, str] = {}

    def enter(self, names: Sequence[str]) -> dict[str, str] | None:
        """A task begins. None: for the first time. Else its worker has died: rows of the sets that it did."""
        if names[0] not in self.entered:
            self.entered.add(names[0])
            return None
        return {name: self.rows[name] for name in names if name in self.rows}

    def step(self, begins: str, ends: str, row: str) -> int:
        """Which attempt at the set `begins` this is, from 1. The set `ends` is done, well or not, with these columns as
        JSON. Either may be empty.
        """
        if ends:
            self.begun.pop(ends, None)
            self.rows[ends] = row
            if len(self.rows) > REMEMBERED:
                del self.rows[next(iter(self.rows))]
        if begins:
            self.begun[begins] = self.begun.get(begins, 0) + 1
        return self.begun.get(begins, 0)


# ---------------------------------------------------------------------- the stages


def fetch(task: dict[str, Any]) -> dict[str, Any]:
    """Adds the bytes of the inputs that lie in stores; where those of a set cannot be read, the reason."""
    data, reasons = list[bytes](), []
    for job in json.loads(task["jobs"]):
        reason = ""
        read = [b""] * len(job["inputs"])
        try:
            read = [read_store(split_name(name)[0]) if is_url(name) else b"" for name in job["inputs"]]
        except Exception as error:  # one set never stops the others
            reason = str(error) if isinstance(error, FusionError) else unforeseen(error)
        data += read
        reasons.append(reason)
    return {"jobs": task["jobs"], "data": data, "reasons": reasons}


class Actor:
    """The stage in the middle: one loaded model, one set at a time."""

    def __init__(self, kind: type[Work], arguments: tuple[Any, ...], ledger: Any) -> None:
        self.work, self.ledger = kind(*arguments), ledger
        self.told = "", ""  # the set that the ledger is to be told of next, and its columns

    def __call__(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """{'jobs', and of `fetch` 'data' and 'reasons'} -> of each {'row': JSON of its columns, 'result': bytes to
        store}.

        The first time, the ledger is told of each set, and nobody waits for it. Where a worker has died over this task,
        each set waits until the ledger knows of it, so that no set can kill workers for ever.
        """
        jobs = json.loads(task["jobs"])
        data, reasons = list(task.get("data", ())), list(task.get("reasons", [""] * len(jobs)))
        known = self._ask("enter", [job["name"] for job in jobs])
        out = []
        for job, reason in zip(jobs, reasons, strict=True):
            files, data = data[: len(job["inputs"])], data[len(job["inputs"]) :]
            out.append(self._one(job, reason, files, known))
        self._ask("step", "", *self.told, wait=False)
        self.told = "", ""
        return out

    def _one(
        self, job: dict[str, Any], reason: str, data: Sequence[bytes], known: Mapping[str, str] | None
    ) -> dict[str, Any]:
        """One set. known: rows of an earlier attempt at this task; None: this is the first."""
        done: dict[str, Any] = {"name": job["name"], "inputs": job["inputs"], "output": job.get("image")}
        result = b""
        before = json.loads((known or {}).get(job["name"], "{}"))
        if reason:
            done |= {"status": "failed", "reason": reason}
        elif before and not is_url(job.get("image") or ""):
            done |= before
        elif self.work.there(job):
            done |= {"status": "there"} | before
        else:
            more, result = self._attempt(job, data, careful=known is not None)
            done |= more
        return {"row": json.dumps(done | {"node": platform.node()}), "result": result}

    def _attempt(self, job: dict[str, Any], data: Sequence[bytes], *, careful: bool) -> tuple[dict[str, Any], bytes]:
        attempt = int(self._ask("step", job["name"], *self.told, wait=careful) or 1)
        self.told = "", ""
        if attempt > ATTEMPTS:
            lost = f"its worker died in each of {ATTEMPTS} attempts; fuse it alone, or with less memory"
            return self._ended(job, {"status": "failed", "reason": lost, "attempt": attempt - 1}), b""
        start = time.perf_counter()
        done: dict[str, Any] = {"attempt": attempt}
        result = b""
        try:
            with tempfile.TemporaryDirectory(prefix="anyfuse-cluster-") as scratch:
                files = [_local(Path(scratch) / str(k), name, data, k) for k, name in enumerate(job["inputs"])]
                image = job.get("image") or ""
                place = os.path.join(scratch, "result", os.path.basename(image)) if is_url(image) else image
                done |= self.work.do(job, files, place)
                result = Path(place).read_bytes() if is_url(image) else b""
                if "report" in done:
                    done["report"] = _named(done["report"], [*files, place], [*job["inputs"], image])
        except FusionError as error:
            done |= {"status": "failed", "reason": str(error)}
        except Exception as error:  # one set never stops the others, whatever is wrong with it
            done |= {"status": "failed", "reason": unforeseen(error)}
        return self._ended(job, done | {"seconds": round(time.perf_counter() - start, 4)}), result

    def _ended(self, job: Mapping[str, Any], done: dict[str, Any]) -> dict[str, Any]:
        """`done`; the ledger is told with the next step."""
        self.told = job["name"], json.dumps(done)
        return done

    def _ask(self, call: str, *arguments: Any, wait: bool = True) -> Any:
        """The ledger's answer; None where it is lost itself, or nobody waits for it."""
        import ray

        try:
            answer = getattr(self.ledger, call).remote(*arguments)
            return ray.get(answer) if wait else None
        except ray.exceptions.RayError:
            return None


def _local(folder: Path, name: str, data: Sequence[bytes], index: int) -> str:
    """The local name of an input; what was fetched becomes a file of the same name, with the same pages."""
    if not is_url(name):
        return name
    file, pages = split_name(name)
    folder.mkdir(parents=True)
    path = folder / file.rpartition("/")[2]
    path.write_bytes(data[index])
    return str(path) if pages is None else f"{path}[{pages}]"


def _named(report: str, local: Sequence[str], names: Sequence[str]) -> str:
    """A report with the names of the user in place of those of scratch files."""
    for old, new in zip(local, names, strict=True):
        if old and old != new:
            report = report.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    return report


def store(row: dict[str, Any]) -> dict[str, Any]:
    """Writes the result of a set to its store."""
    done = json.loads(row["row"])
    if row["result"]:
        try:
            write_store(done["output"], row["result"])
        except Exception as error:  # one set never stops the others
            reason = str(error) if isinstance(error, FusionError) else unforeseen(error)
            done |= {"status": "failed", "reason": reason}
    return {"row": json.dumps(done), "result": b""}


# ---------------------------------------------------------------------- the engine


def check_ray() -> None:
    """Raises FusionError where Ray is not installed: before a command makes its folders."""
    if importlib.util.find_spec("ray") is None:
        raise FusionError("--on ray needs Ray: pip install 'anyfuse[cluster]'")


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Ray, connected for the time of the body; a connection that is there already stays.

    Raises:
        FusionError: Ray is not installed, or cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    check_ray()
    import ray
    import ray.data

    if ray.is_initialized():
        yield ray
        return
    address = None if cluster.address == "ray" else cluster.address
    local: dict[str, Any] = {} if address else {"include_dashboard": None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the error says the same in one line
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # Ray raises plain ones too, as where a node does not start in time
        raise FusionError(f"--on {cluster.address}: cannot connect ({one_line(error):.200})") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def run_rows(
    ray: Any, cluster: Cluster, kind: type[Work], arguments: tuple[Any, ...], jobs: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Does the jobs; yields the row of each when it is done, in any order.

    Args:
        ray: of `connected`.
        cluster: how many actors, and what each takes.
        kind: what an actor does; importable on every machine.
        arguments: of its constructor.
        jobs: plain values: `name`, `inputs` (local names or URLs), `image` (file to write, or None).

    Raises:
        FusionError: the engine itself fails; what is done stays done.
    """
    if not jobs:
        return
    workers = cluster.workers or _free(ray, cluster)
    workers = max(1, min(workers, len(jobs)))
    left = {job["name"]: job for job in jobs}
    for chance in range(CHANCES):
        try:
            pipeline = _through_client if ray.util.client.ray.is_connected() else _pipeline
            for row in pipeline(ray, cluster, kind, arguments, list(left.values()), workers):
                left.pop(row["name"], None)
                yield row
            return
        except ray.exceptions.RayError as error:
            reason = one_line(error)
            if chance + 1 == CHANCES:
                raise FusionError(f"the cluster failed ({reason:.300}); the same command goes on") from None
            say(f"note: the cluster failed ({reason:.300}); {len(left)} sets are begun again")


def _pipeline(
    ray: Any,
    cluster: Cluster,
    kind: type[Work],
    arguments: tuple[Any, ...],
    jobs: Sequence[Mapping[str, Any]],
    workers: int,
) -> Iterator[dict[str, Any]]:
    """The stages, once."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    fetched = any(is_url(name) for job in jobs for name in job["inputs"])
    size = max(1, min(FETCHED if fetched else BLOCK, len(jobs) // (4 * workers)))
    tasks = [{"jobs": json.dumps(list(jobs[k : k + size]))} for k in range(0, len(jobs), size)]
    ledger = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(Ledger).remote()
    data = ray.data.from_items(tasks, override_num_blocks=len(tasks))
    around = {"num_cpus": AROUND, "compute": ray.data.TaskPoolStrategy(size=2 * workers)}
    if fetched:
        data = data.map(fetch, **around)
    data = data.flat_map(
        Actor,
        fn_constructor_args=(kind, arguments, ledger),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=AROUND if cluster.gpus else OWN,
        **({"num_gpus": cluster.gpus} if cluster.gpus else {}),
    )
    if any(is_url(job.get("image") or "") for job in jobs):
        data = data.map(store, **around)
    for row in data.iter_rows():
        yield json.loads(row["row"])


class Inside:
    """The pipeline in an actor: Ray Data does not run in a driver outside of the cluster."""

    def __init__(self, *arguments: Any) -> None:
        import ray
        import ray.data

        self.rows = _pipeline(ray, *arguments)

    def take(self) -> tuple[list[dict[str, Any]], bool]:
        """The rows that come within a second, at least one, and whether these are the last ones."""
        rows, start = [], time.monotonic()
        for row in self.rows:
            rows.append(row)
            if time.monotonic() - start > 1:
                return rows, False
        return rows, True


def _through_client(ray: Any, *arguments: Any) -> Iterator[dict[str, Any]]:
    """As `_pipeline`, for a driver at ray://HOST:PORT."""
    inside = ray.remote(num_cpus=0)(Inside).remote(*arguments)
    last = False
    while not last:
        rows, last = ray.get(inside.take.remote())
        yield from rows


def _free(ray: Any, cluster: Cluster) -> int:
    """How many actors the cluster has room for."""
    resources = ray.cluster_resources()
    count = resources.get("GPU", 0) / cluster.gpus if cluster.gpus else resources.get("CPU", 0)
    if count < 1 and cluster.gpus:
        raise FusionError(f"--gpus {cluster.gpus:g}: the cluster has {resources.get('GPU', 0):g} GPUs")
    if count < 1:
        raise FusionError(f"--on {cluster.address}: the cluster has {count:g} CPUs, and an actor takes {OWN:g} of one")
    return int(count)


def say(line: str) -> None:
    """A line on stderr."""
    print(one_line(f"anyfuse: {line}"), file=sys.stderr)
