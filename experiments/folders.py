"""A folder's rate beside the model's: python experiments/folders.py [--pairs 200] [--size 640x480] [--jobs 1,2]

Pairs a second, and processor milliseconds a pair, of `anyfuse fuse A B -o OUT` over PNG files (reading, fusing and
writing), and of the model alone on the same pixels in memory with as many threads. Each is the best of --repeats; rows
run in turn. Deghosting and alignment are off in both, since what they cost hangs on the pictures.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import torch
from PIL import Image
from stages import pair

from anyfuse import Fuser
from anyfuse.align.stage import Align
from anyfuse.jobs.choices import Choices
from anyfuse.jobs.folders import divided_threads, fuse_folders


def timed(run: Callable[[], object], pairs: int, repeats: int) -> tuple[float, float]:
    """The best rate in pairs a second, and the least processor milliseconds a pair."""
    rates, spent = [], []
    for _ in range(repeats):
        wall, busy = time.perf_counter(), time.process_time()
        run()
        rates.append(pairs / (time.perf_counter() - wall))
        spent.append(1000 * (time.process_time() - busy) / pairs)
    return max(rates), min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--jobs", default="1,2")
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    images = pair(width, height)
    fuser = Fuser("anyfuse", device="cpu")
    options: dict[str, Any] = {"deghost": "off", "align": Align("none")}
    with tempfile.TemporaryDirectory() as place:
        sides = [Path(place, name) for name in ("a", "b")]
        for side, image in zip(sides, images, strict=True):
            side.mkdir()
            for k in range(args.pairs):
                Image.fromarray(image[:, ::-1] if k % 2 else image).save(side / f"{k:04}.png", compress_level=1)
        print("| jobs | model: pairs/s | CPU ms | folder: pairs/s | CPU ms | rate of the model |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: |")
        for jobs in map(int, args.jobs.split(",")):

            def alone(jobs: int = jobs) -> None:
                with divided_threads(jobs), ThreadPoolExecutor(jobs) as pool:
                    list(pool.map(lambda _: fuser.run(images, **options), range(args.pairs)))

            def whole(jobs: int = jobs) -> None:
                choices = Choices(jobs=jobs, quiet=True, overwrite=True, **options)
                fuse_folders([str(side) for side in sides], str(Path(place, "out")), choices)

            fuser.run(images, **options)
            pure, busy = timed(alone, args.pairs, args.repeats)
            rate, spent = timed(whole, args.pairs, args.repeats)
            print(f"| {jobs} | {pure:.1f} | {busy:.1f} | {rate:.1f} | {spent:.1f} | {rate / pure:.0%} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
