"""Equality with the CPU and speed on a GPU: python experiments/gpu.py [MODEL ...] [--device cuda] [--size 1920x1080]

For each model: the largest and mean difference from the CPU's result in levels of 8 bits, in float32 and in the number
format of --dtype; pairs a second of whole calls (images in memory in, image out) and of the network alone; and the
floor: pairs a second if the network did no more than read its planes and write the result once, at the measured rate of
the memory. Without a GPU it says so; --device cpu runs the same on the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anyfuse import Fuser
from anyfuse.errors import FusionError
from anyfuse.language.instruction import read_say

MODELS = ("anyfuse", "anyfuse-first", "tita-small", "tita", "unifusion-small", "mmaif-tiny", "ditfuse-tiny-fast")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "infrared"


def example(width: int, height: int) -> list[np.ndarray]:
    """An infrared (H, W) and a visible image (H, W, 3), uint8."""
    pair = [Image.open(EXAMPLES / "thermal.png").convert("L"), Image.open(EXAMPLES / "visible.jpg").convert("RGB")]
    return [np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)) for image in pair]


def seconds(call: Callable[[], object], device: torch.device, least: float = 1.0) -> float:
    """Wall seconds of a call, the smallest of as many as fit into `least` seconds; two at least, one before."""
    times: list[float] = []
    call()
    while len(times) < 2 or sum(times) < least:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def memory_rate(device: torch.device, count: int = 1 << 26) -> float:
    """Bytes a second that the device reads and writes in a copy of `count` numbers."""
    a, b = torch.ones(count, device=device), torch.empty(count, device=device)
    return 8 * count / seconds(lambda: b.copy_(a), device, 0.3)


def apart(one: np.ndarray, other: np.ndarray) -> str:
    """Largest and mean difference in levels."""
    gap = np.abs(one.astype(int) - other.astype(int))
    return f"{gap.max()} / {gap.mean():.3f}"


def network_seconds(fuser: Fuser, height: int, width: int, device: torch.device) -> float:
    """Of the model alone, on planes that are on the device already."""
    model = fuser.model
    stride = model.stride
    size = [-(-side // stride) * stride for side in (height, width)]
    sources = torch.rand(1, 2, model.channels, *size, device=device)
    condition = model.condition(read_say(None), [0, 1])

    @torch.inference_mode()
    def call() -> object:
        return model(sources, condition)

    return seconds(call, device)


def measured(name: str, device: torch.device, dtype: str, size: tuple[int, int], rate: float) -> str:
    """A row of the table."""
    small, large = example(640, 480), example(*size)
    options = {"align": "none", "deghost": "off"}
    truth = Fuser(name, device="cpu")(small, **options)
    fuser = Fuser(name, device=str(device))
    exact = apart(truth, fuser(small, **options))
    try:
        loose = apart(truth, Fuser(name, device=str(device), dtype=dtype)(small, **options))
    except FusionError as error:
        loose = f"refused: {str(error).split(';', maxsplit=1)[0]}"
    whole = seconds(lambda: fuser(large, **options), device)
    network = network_seconds(fuser, size[1], size[0], device)
    planes = 4 * size[0] * size[1] * fuser.model.channels * 3  # two sources read, one result written, float32
    return f"| {name} | {exact} | {loose} | {1 / whole:.2f} | {1 / network:.2f} | {rate / planes:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--size", default="1920x1080")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("no GPU here: nothing measured (--device cpu runs the same on the CPU)")
        return
    device = torch.device(args.device)
    width, height = (int(side) for side in args.size.split("x"))
    rate = memory_rate(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}, memory {rate / 1e9:.0f} GB/s, torch {torch.__version__}, {width}x{height}\n")
    print(f"| model | float32: levels | {args.dtype}: levels | calls a second | network | floor |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for model in args.models:
        print(measured(model, device, args.dtype, (width, height), rate), flush=True)


if __name__ == "__main__":
    main()
