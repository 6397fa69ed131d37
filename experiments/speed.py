"""Seconds and memory: python experiments/speed.py [--quick]

Least seconds of processor time (of all threads) and peak memory (above the interpreter with anyfuse loaded) of the
default model, OpenCV's MergeMertens and our classical models, on colour pairs in memory of 640x480, 1920x1080 and
6000x4000, with 1 and 2 threads; then how time grows with the number of images. Each row is a process of its own; rows
run in turn, so compare within one run. MergeMertens fuses three colour channels; ours fuse luma and chroma and include
reading uint8 and rounding back to it. Alignment and deghosting are off, which MergeMertens has not. `anyfuse:torch` is
the default model without compiled kernels. The last column is the time over that of MergeMertens beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

ONE = """
import json, sys, time
import numpy as np
name, n, width, height, threads, repeats, dtype = sys.argv[1], *map(int, sys.argv[2:7]), sys.argv[7]
rng = np.random.default_rng(0)
images = []
for _ in range(n):
    low = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    images.append(low.repeat(8, 0).repeat(8, 1)[:height, :width].copy())
if name == "opencv":
    import cv2
    cv2.setNumThreads(threads)
    merge = cv2.createMergeMertens()
    run = lambda: (merge.process(images).clip(0, 1) * 255).round().astype(np.uint8)
else:
    import torch
    torch.set_num_threads(threads)
    from anyfuse import Fuser
    fuser = Fuser(name, device="cpu", dtype=dtype)
    run = lambda: fuser(images, deghost="off", align="none")
from anyfuse.runtime import peak_bytes, resident_bytes
before = resident_bytes() - sum(i.nbytes for i in images)
times = []
for index in range(repeats + 1):
    start = time.process_time(); run(); times.append(time.process_time() - start)
times = times[1:] if repeats else times
print(json.dumps([min(times), (peak_bytes() - before) / 2**20]))
"""


def measure(name: str, n: int, width: int, height: int, threads: int, repeats: int, dtype: str) -> tuple[float, float]:
    native = "0" if dtype == "torch" else "1"
    dtype = "auto" if dtype == "torch" else dtype
    command = [sys.executable, "-c", ONE, name, *map(str, (n, width, height, threads, repeats)), dtype]
    environment = {"OMP_NUM_THREADS": str(threads), "PATH": "/usr/bin:/bin", "MKL_NUM_THREADS": str(threads)}
    environment |= {"ANYFUSE_NATIVE": native, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    seconds, mib = json.loads(done.stdout)
    return seconds, mib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only 640x480 and 1920x1080")
    parser.add_argument("--models", default="opencv,anyfuse,anyfuse:torch,average,maximum,laplacian,mertens,guided")
    args = parser.parse_args()
    models = [[*m.split(":"), "auto"][:2] for m in args.models.split(",")]
    sizes = [(640, 480, 9), (1920, 1080, 3), (6000, 4000, 1)][: 2 if args.quick else 3]
    print(f"{'model':<18} {'size':>10} {'threads':>7} {'seconds':>9} {'MiB':>7} {'ratio':>6}")
    for width, height, repeats in sizes:
        for threads in (1, 2):
            beside = 0.0
            for name, dtype in models:
                seconds, mib = measure(name, 2, width, height, threads, repeats, dtype)
                label = name if dtype == "auto" else f"{name} {dtype}"
                print(f"{label:<18} {f'{width}x{height}':>10} {threads:>7} {seconds:>9.4f} {mib:>7.0f}", end="")
                beside = seconds if name == "opencv" else beside
                print(f" {seconds / beside:>6.2f}" if beside else "", flush=True)
    print("\nanyfuse, 640x480, 1 thread, by number of images")
    for n in (2, 4, 8, 16):
        seconds, mib = measure("anyfuse", n, 640, 480, 1, 5, "auto")
        beside, _ = measure("opencv", n, 640, 480, 1, 5, "auto")
        print(f"N = {n:<3} {seconds:.4f} s  {seconds / beside:.2f} of MergeMertens  {mib:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
