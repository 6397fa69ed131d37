"""Where the default model's time goes: python experiments/stages.py [--sizes 640x480,1920x1080] [--deghost auto]

Milliseconds of processor time on one thread and share of the whole, by stage, of a colour pair in memory. A stage is
the functions named in STAGES without the stages that they call. Each number is the smallest of the repeats, so shares
need not add up to 1. OpenCV's MergeMertens stands beside, where OpenCV is installed.

GFLOP are those of convolutions, a multiply-add as two. Megabytes are those of all arrays that operations of torch and
compiled kernels read and write, once each; NumPy's are not counted. Roofline: the time that both take at the measured
rates of a product of matrices and of a copy, the larger of the two, over the time that the stage takes.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anyfuse import Fuser, canvas, native, pipeline, tiling
from anyfuse.image import planes, pyramid
from anyfuse.image.stack import Stack
from anyfuse.models import anyfuse as default

Anyfuse = default.Anyfuse
STAGES: dict[str, list[tuple[Any, str]]] = {
    "read": [(Stack, "read"), (Stack, "read_split"), (planes, "read")],
    "moved, lit, aligned": [(pipeline, "prepare")],
    "luma and chroma": [(planes, "split")],
    "padding": [(tiling, "read_padded")],
    "specks": [(default, "without_specks")],
    "pyramids": [(default, name) for name in ("gaussian_pyramid", "expand", "collapse")] + [(pyramid, "expand")],
    "encoder": [(Anyfuse, "_encode")],
    "decisions at 1/8 and below": [(Anyfuse, "_decide")],
    "fine": [(Anyfuse, "_fine")],
    "weights": [(Anyfuse, "_weights")],
    "blend": [(Anyfuse, "_blend"), (Anyfuse, "_fuse_fine")],
    "bound": [(Anyfuse, "_bound"), (native, "bound")],
    "rest of the model": [(Anyfuse, "forward")],
    "join to RGB": [(planes, "join"), (planes, "write")],
    "quantise": [(Stack, "quantise")],
    "rest of the canvas": [(canvas.Canvas, "write")],
}
"""Stage -> the functions that it is, each as the place that holds it and its name there."""


class Clock:
    """Processor time of each stage, less that of the stages within it."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.inner = [0.0]  # time of finished stages within each open one
        self.open = ["rest"]  # stages that run, the innermost last

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            self.inner.append(0.0)
            self.open.append(stage)
            start = time.process_time()
            try:
                return function(*args, **options)
            finally:
                took = time.process_time() - start
                self.open.pop()
                self.spent[stage] += took - self.inner.pop()
                self.inner[-1] += took

        return run

    def watch(self) -> None:
        for stage, places in STAGES.items():
            for place, name in places:
                if not hasattr(place, name):
                    continue
                plain = isinstance(place, type) and isinstance(vars(place).get(name), staticmethod)
                function = self.timed(stage, getattr(place, name))
                setattr(place, name, staticmethod(function) if plain else function)


CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.conv2d.default)


class Counter(TorchDispatchMode):
    """Operations and bytes of each stage."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.flop: dict[str, float] = defaultdict(float)
        self.bytes: dict[str, float] = defaultdict(float)

    def add(self, values: Any) -> None:
        """Counts the bytes of arrays and tensors, also within lists."""
        for value in values:
            if isinstance(value, (list, tuple)):
                self.add(value)
            elif isinstance(value, torch.Tensor):
                self.bytes[self.clock.open[-1]] += min(value.nbytes, value.untyped_storage().nbytes())
            elif isinstance(value, np.ndarray):
                self.bytes[self.clock.open[-1]] += value.nbytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns):  # no view
            self.add([args, out])
        if func in CONVOLUTIONS:
            self.flop[self.clock.open[-1]] += 2 * out.numel() * args[1][0].numel()
        return out

    def __enter__(self) -> Counter:
        self.plain = native.Kernels.run

        def run(kernels: native.Kernels, name: str, *arguments: Any) -> int:
            self.add(arguments)
            return self.plain(kernels, name, *arguments)

        native.Kernels.run = run  # type: ignore[method-assign]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        native.Kernels.run = self.plain  # type: ignore[method-assign]
        super().__exit__(*error)


def peaks() -> tuple[float, float]:
    """FLOP and bytes a second: of a product of matrices, and of a copy of 64 MB."""
    a, big = torch.rand(768, 768), torch.rand(2**24)
    other = torch.empty_like(big)
    return 2 * 768**3 / seconds(lambda: a @ a, 9), 2 * big.nbytes / seconds(lambda: other.copy_(big), 9)


def pair(width: int, height: int, n: int = 2) -> list[np.ndarray]:
    """Exposures of one scene with smooth parts, edges and a little grain, (height, width, 3) uint8, darkest first."""
    rng = np.random.default_rng(0)
    low = torch.from_numpy(rng.uniform(0.0, 1.0, (1, 3, height // 64 + 2, width // 64 + 2)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(low, (height, width), mode="bicubic").clamp(0.0, 1.0)[0]
    edges = rng.uniform(0.3, 1.0, (height // 24 + 1, width // 24 + 1, 1)).repeat(24, 0).repeat(24, 1)[:height, :width]
    scene = smooth.permute(1, 2, 0).numpy() * edges  # (H, W, 3)
    images = []
    for k in range(n):
        exposed = (scene * 2.0 ** (k - 1)).clip(0.0, 1.0) * 255 + rng.integers(-3, 4, (height, width, 3))
        images.append(np.rint(exposed).clip(0, 255).astype(np.uint8, order="C"))
    return images


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """The smallest processor time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def mertens(images: list[np.ndarray], repeats: int) -> float | None:
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    merge = cv2.createMergeMertens()
    return seconds(lambda: (merge.process(images).clip(0, 1) * 255).round().astype(np.uint8), repeats)


def table(fuser: Fuser, clock: Clock, width: int, height: int, repeats: int, options: dict[str, str]) -> None:
    """Prints the stages of one size."""
    images = pair(width, height)
    fuser.run(images, **options)
    rounds: list[dict[str, float]] = []
    for _ in range(repeats):
        clock.spent.clear()
        start = time.process_time()
        fuser.run(images, **options)
        rounds.append({**clock.spent, "whole": time.process_time() - start})
    least = {stage: min(r.get(stage, 0.0) for r in rounds) for stage in [*STAGES, "whole"]}
    with Counter(clock) as counter:
        fuser.run(images, **options)
    flop, moved = ({**one, "whole": sum(one.values())} for one in (counter.flop, counter.bytes))
    rate, width_of_memory = peaks()
    print(f"\n{rate / 1e9:.0f} GFLOP/s, {width_of_memory / 1e9:.1f} GB/s")
    print(f"| {width}x{height} | ms | share | GFLOP | MB | roofline |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for stage, spent in least.items():
        if spent:
            work, size = flop.get(stage, 0.0), moved.get(stage, 0.0)
            ideal = max(work / rate, size / width_of_memory)
            cells = f"{work / 1e9:.2f} | {size / 1e6:.0f} | {ideal / spent:.0%}"
            print(f"| {stage} | {1000 * spent:.1f} | {spent / least['whole']:.1%} | {cells} |")
    beside = mertens(images, repeats)
    if beside:
        print(f"| OpenCV MergeMertens | {1000 * beside:.1f} | {beside / least['whole']:.1%} | | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="640x480,1920x1080")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--deghost", default="off", help="auto: with the search for what moved, as in use")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clock = Clock()
    clock.watch()
    fuser = Fuser("anyfuse", device="cpu")
    for size in args.sizes.split(","):
        width, height = map(int, size.split("x"))
        table(fuser, clock, width, height, args.repeats, {"deghost": args.deghost})


if __name__ == "__main__":
    main()
