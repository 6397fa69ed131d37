"""The service under load: many clients at once, each with pictures of its own.

    python experiments/serve.py               200 clients, pairs of 320x240, two jobs at a time
    python experiments/serve.py 400 640 480   clients, width, height

Each client sends two pictures that nobody else sends and compares the result with what they must give, to the bit:
model `average`, no alignment. Then the same with the default model, and with the default limits. Memory is of the
server and its workers, the peak of each.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyfuse import FusionError
from anyfuse.serve import Client

QUICK = {"model": "average", "align": "none", "deghost": "off", "metrics": False}


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Address and process id."""
    command = [sys.executable, "-m", "anyfuse", "serve", "--port", "0", "--folder", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.wait(60)


def memory(pid: int) -> float:
    """MiB that a process and its children have had at most, each by itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    peaks = (Path(f"/proc/{one}/status").read_text().split("VmHWM:")[1].split()[0] for one in (str(pid), *children))
    return sum(int(peak) for peak in peaks) / 1024


def pair(number: int, width: int, height: int) -> tuple[list[tuple[str, bytes]], np.ndarray]:
    """Two files of a client, and the mean of both."""
    draws = np.random.default_rng(number)
    values = draws.integers(0, 253, (height, width, 3), dtype=np.uint8)
    files = []
    for k in range(2):
        file = io.BytesIO()
        Image.fromarray(values + np.uint8(2 * k)).save(file, "PNG", compress_level=1)
        files.append((f"{number}-{k}.png", file.getvalue()))
    return files, values + 1


def load(address: str, clients: int, size: tuple[int, int], **options: Any) -> dict[str, Any]:
    """All clients at once: how many got their own result, another one, or a word to come again; seconds."""
    client = Client(address, timeout=900)

    def one(number: int) -> tuple[str, float]:
        files, expected = pair(number, *size)
        begun = time.perf_counter()
        try:
            result = client.fuse(files, format="png", **options)
        except FusionError as error:
            return ("told" if "try again" in str(error) else str(error)), time.perf_counter() - begun
        seconds = time.perf_counter() - begun
        pixels = np.asarray(Image.open(io.BytesIO(result.content())))
        names = [row["name"] for row in result.report["inputs"]]
        own = names == [name for name, _ in files] and pixels.shape == expected.shape
        right = np.array_equal(pixels, expected) if options.get("model") == "average" else True
        return ("own" if own and right else "wrong"), seconds

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(one, range(clients)))
    seconds = time.perf_counter() - begun
    times = sorted(t for what, t in answers if what == "own") or [0.0]
    others = {what for what, _ in answers} - {"own", "told"}
    return {
        "own": sum(what == "own" for what, _ in answers),
        "told": sum(what == "told" for what, _ in answers),
        "other": "; ".join(sorted(others)) or "none",
        "rate": len(times) / seconds,
        "median": times[len(times) // 2],
        "slowest": times[-1],
    }


def main() -> None:
    """Prints the table."""
    clients, width, height = (int(word) for word in (sys.argv[1:] + ["200", "320", "240"][len(sys.argv) - 1 :]))
    wide = ("--jobs", "2", "--max-waiting", str(clients))
    rows: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        (f"average, `{' '.join(wide)}`", wide, QUICK),
        (f"anyfuse, `{' '.join(wide)}`", wide, {"metrics": False, "align": "none"}),
        ("average, default limits", (), QUICK),
    ]
    print("| server | own result | told to come again | anything else | jobs a second | median s | slowest s | MiB |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for name, options, job in rows:
        with tempfile.TemporaryDirectory() as folder:
            with server(Path(folder), *options) as (address, pid):
                found = load(address, clients, (width, height), **job)
                peak = memory(pid)
            left = len(list(Path(folder).rglob("*")))
            what = found["other"] if not left else f"{found['other']}; {left} files left"
            numbers = f"{found['rate']:.1f} | {found['median']:.1f} | {found['slowest']:.1f} | {peak:.0f}"
            print(f"| {name} | {found['own']} | {found['told']} | {what} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
