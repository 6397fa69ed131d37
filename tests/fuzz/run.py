"""Reads damaged files for as long as it is given, and counts what happens.

    python tests/fuzz/run.py --seconds 3600 --seed 1 --finds finds

A worker process reads; when it dies, the next one goes on behind the file that killed it. A find is a file that
crashes the process, raises anything but a FusionError of one line, takes over 10 s of work, is stuck for a minute, or
takes over 1 GiB. Its bytes go to the folder of finds; make a test of each. The number of a case and the seed give the
same bytes again.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutations import damaged, damaged_text, seeds

from anyfuse.degradation.manifest import Manifest as DegradeManifest
from anyfuse.degradation.manifest import Settings, read_manifest
from anyfuse.degradation.plan import parse
from anyfuse.errors import FusionError
from anyfuse.io.groups import read_table
from anyfuse.io.read import read_image
from anyfuse.io.shots import read_shot
from anyfuse.models.registry import build_model, from_pretrained

SLOW, STUCK, LARGE = 10, 60, 1 << 30
SYSTEMS = ("anyfuse", "tita-small", "mmaif-tiny", "ditfuse-tiny")


class SlowError(BaseException):
    """A case that takes too long."""


def stop(number: int, frame: Any) -> None:
    """Handler of the alarm."""
    raise SlowError


class Cases:
    """Damaged images, and every tenth case a damaged model, manifest or table."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.corpus = seeds(folder / "seeds")
        self.models: dict[str, tuple[str, bytes]] = {}
        for name in SYSTEMS:
            place = folder / name
            build_model(name).save_pretrained(place)
            self.models[name] = (place / "config.json").read_text(), (place / "model.safetensors").read_bytes()
        entry = {"seed": 1, "source": 1, "plan": [["haze", 0.5]], "outputs": ["a.png"], "sha256": "0" * 64}
        self.manifest = DegradeManifest(Settings(ops=parse("haze:0.5")), {"a.png": entry}).text()

    def make(self, number: int) -> tuple[str, bytes, Callable[[], object]]:
        """What is damaged how, its bytes, and what reads it."""
        kind = number % 20
        if kind == 5:
            name = SYSTEMS[number // 20 % len(SYSTEMS)]
            config, weights = self.models[name]
            place = self.folder / "model"
            place.mkdir(exist_ok=True)
            data = damaged_text(config, number, self.seed).encode(errors="surrogateescape")
            (place / "config.json").write_bytes(data)
            if number // 80 % 3 == 0:
                weights = damaged({"safetensors": weights[:4000]}, number, self.seed)[1] + weights[4000:]
            (place / "model.safetensors").write_bytes(weights)
            return f"config of {name}", data, lambda: from_pretrained(place)
        if kind == 10:
            path = self.folder / "manifest.json"
            data = damaged_text(self.manifest, number, self.seed).encode(errors="surrogateescape")
            path.write_bytes(data)
            return "manifest", data, lambda: read_manifest(path)
        if kind == 15:
            path = self.folder / "table.csv"
            what, data = damaged({"table.csv": b"a,b,name\nseeds/bits.png,seeds/lab.tif,one\n" * 3}, number, self.seed)
            path.write_bytes(data)
            return what, data, lambda: read_table(path)
        what, data = damaged(self.corpus, number, self.seed)
        path = self.folder / "x.img"
        path.write_bytes(data)
        if kind == 0:
            return f"EXIF of {what}", data, lambda: read_shot(path)
        return what, data, lambda: read_image(path)


def judge(read: Callable[[], object]) -> str:
    """'read', 'refused', or what is wrong."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW)
    signal.alarm(STUCK)
    try:
        read()
        verdict = "read"
    except FusionError as error:
        verdict = "refused" if "\n" not in str(error) else f"lines: {error}"
    except SlowError:
        verdict = f"over {SLOW} s of work, or stuck for {STUCK} s"
    except Exception:  # what may not come out
        verdict = f"traceback: {traceback.format_exc()}"
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return verdict if grown < LARGE else f"{grown >> 20} MiB"


def work(folder: Path, seed: int, start: int, count: int, until: float) -> None:
    """Reads cases from `start` on; a line of JSON on stdout before and after each."""
    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGVTALRM, stop)
    faulthandler.enable()
    cases = Cases(folder, seed)
    for number in range(start, start + count):
        if time.time() > until:
            break
        what, data, read = cases.make(number)
        print(json.dumps([number, what, None]), flush=True)
        verdict = judge(read)
        if verdict not in ("read", "refused"):
            (folder / f"find-{seed}-{number}").write_bytes(data)
        print(json.dumps([number, what, verdict]), flush=True)


def fuzz(seed: int, count: int, seconds: float, finds: Path) -> tuple[Counter[str], dict[int, str]]:
    """Reads cases 0 to `count`, or as many as time allows.

    Returns:
        How often cases were read or refused, and finds by their numbers.
    """
    counts: Counter[str] = Counter()
    found: dict[int, str] = {}
    until, start = time.time() + seconds, 0
    with tempfile.TemporaryDirectory() as scratch:
        while start < count and time.time() < until:
            call = [sys.executable, __file__, "--worker", scratch, "--seed", str(seed), "--start", str(start)]
            call += ["--count", str(count - start), "--until", str(until)]
            process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert process.stdout is not None
            last: tuple[int, str] | None = None
            for line in process.stdout:
                number, what, verdict = json.loads(line)
                last = (number, what) if verdict is None else None
                start = number + 1
                if verdict is not None:
                    counts[verdict if verdict in ("read", "refused") else "find"] += 1
                if verdict not in (None, "read", "refused"):
                    found[number] = f"{what}: {verdict}"
            code = process.wait()
            if last is not None:
                found[last[0]] = f"{last[1]}: the process ended with {code}"
                counts["find"] += 1
            elif code != 0:
                raise RuntimeError(f"the worker ended with {code} before case {start}")
            else:
                break
        for path in Path(scratch).glob("find-*"):
            finds.mkdir(parents=True, exist_ok=True)
            (finds / path.name).write_bytes(path.read_bytes())
    return counts, found


def main() -> None:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=3600)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--count", type=int, default=10**9)
    options.add_argument("--finds", type=Path, default=Path("finds"))
    for hidden, kind in (("--worker", Path), ("--start", int), ("--until", float)):
        options.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        work(given.worker, given.seed, given.start, given.count, given.until)
        return
    begun = time.time()
    counts, found = fuzz(given.seed, given.count, given.seconds, given.finds)
    print(f"{sum(counts.values())} cases in {time.time() - begun:.0f} s, seed {given.seed}: {dict(counts)}")
    for number, what in sorted(found.items()):
        print(f"{number}: {what}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
