"""Seconds of each metric: python experiments/metrics_speed.py [--rounds N]

Least seconds of processor time on a fused image of 640x480 and its two sources, on one thread: the whole set with what
metrics share computed once (as `score` and `bench` do), and each metric alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from anyfuse import Fuser
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image
from anyfuse.metrics import METRICS
from anyfuse.metrics.shared import Shared

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "infrared"


def triple() -> tuple[Tensor, Tensor]:
    """A fused image (1, 480, 640) and its sources (1, 2, 480, 640), whole numbers up to 255 in float64."""
    planes = []
    for name in ("thermal.png", "visible.jpg"):
        image = read_image(EXAMPLES / name).read()[None]
        large = torch.nn.functional.interpolate(image, (480, 640), mode="bilinear", align_corners=False)[0]
        planes.append(to_luma(large)[0] if len(large) == 3 else large[0])
    grey = (torch.stack(planes) * 255).round()
    fused = Fuser("anyfuse", device="cpu")([plane.byte().numpy() for plane in grey], align="none", deghost="off")
    return torch.from_numpy(fused).double()[None], grey.double()[None]


def least(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    fused, sources = triple()

    def whole() -> None:
        shared = Shared(fused, sources)
        for metric in METRICS.values():
            metric.function(shared.fused, shared.sources, shared)

    total = least(whole, args.rounds)
    alone = {n: least(partial(m.function, fused, sources), args.rounds) for n, m in METRICS.items()}
    print(f"{len(METRICS)} metrics together: {total:.2f} s")
    for name, seconds in sorted(alone.items(), key=lambda item: -item[1])[:20]:
        print(f"{name:<20} {seconds:.3f} s alone")


if __name__ == "__main__":
    main()
