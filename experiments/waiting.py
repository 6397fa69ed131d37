"""How long threads spin while they wait: python experiments/waiting.py [--busy N]

Median seconds of the default model on a colour pair of 640x480 on all cores, for several values of GOMP_SPINCOUNT
(libgomp's own is 300000), in turn, three rounds; beside N other busy processes. See
`anyfuse.runtime.yield_threads`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

ONE = """
import time
import numpy as np
from anyfuse import Fuser
rng = np.random.default_rng(0)
fuser = Fuser("anyfuse", device="cpu")
pair = [rng.integers(0, 256, (60, 80, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(2)]
for _ in range(7):
    start = time.perf_counter()
    fuser(pair, deghost="off", align="none")
    print(time.perf_counter() - start)
"""
COUNTS = (0, 1000, 10000, 300000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", type=int, default=0, help="busy processes beside it")
    args = parser.parse_args()
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    try:
        for _ in range(3):
            for count in COUNTS:
                command = [sys.executable, "-c", ONE]
                done = subprocess.run(
                    command,
                    env=environment | {"GOMP_SPINCOUNT": str(count)},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                found[count] += [float(word) for word in done.stdout.split()]
    finally:
        for other in others:
            other.kill()
    for count, times in found.items():
        print(f"GOMP_SPINCOUNT={count:<7} {statistics.median(times):.3f} s")


if __name__ == "__main__":
    main()
