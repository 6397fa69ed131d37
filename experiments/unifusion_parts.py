"""Seconds and memory of UniFusion's options at one size: python experiments/unifusion_parts.py [--preset
unifusion-small] [--size 480x640]

Each row is the preset with one option, untrained (neither time nor memory depends on weights), in a process of its own:
median seconds of a pass over a pair and MiB above the same process with the model built and run on 32x32 pixels.
'reconstructors run' also paints the sources, as joint training does. The last line is of the shipped weights. Threads:
OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch

from anyfuse.models.registry import MODELS, build_model

ROWS: dict[str, tuple[dict[str, object], bool]] = {
    "as it ships": ({}, False),
    "reconstructors built": ({"reconstructors": True}, False),
    "reconstructors run": ({"reconstructors": True}, True),
    "half": ({"half": True}, False),
    "inputs=shared": ({"inputs": "shared"}, False),
    "inputs=set": ({"inputs": "set"}, False),
    "backbone=none": ({"backbone": "none"}, False),
}
SCRIPT = """
import json, resource, sys, time, torch
from anyfuse.cli import keep_memory
from anyfuse.models import build_model
keep_memory()
preset, changes, run, h, w, repeats = json.loads(sys.argv[1])
model = build_model(preset, changes | {"random_backbone": changes.get("backbone") != "none"}).eval()
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def once(x):
    z = model.encode(x, model.observe(x))
    y = model.decode(z).clamp(0, 1)
    return (y, model.reconstruct(z)) if run else y
with torch.inference_mode():
    once(torch.rand(1, 2, 1, 32, 32)); before = peak()
    x, times = torch.rand(1, 2, 1, h, w), []
    for _ in range(repeats + 1):
        start = time.perf_counter(); once(x); times.append(time.perf_counter() - start)
print(sorted(times[1:])[repeats // 2], peak() - before)
"""


def equal(preset: str, h: int, w: int) -> bool:
    """Whether fusion with reconstructors built is fusion without them, to the bit, with the preset's shipped
    weights.
    """
    path = MODELS[preset].weights_path
    if path is None:
        raise SystemExit(f"{preset} has no weights in the package")
    models = [build_model(preset, {"reconstructors": present}).eval() for present in (True, False)]
    for model in models:
        model.load_weights(path)
    x = torch.rand(1, 2, 1, h, w)
    with torch.inference_mode():
        return torch.equal(models[0](x), models[1](x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="unifusion-small")
    parser.add_argument("--size", default="480x640", help="HxW")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    h, w = (int(side) for side in args.size.split("x"))
    print(f"| {args.preset}, {h}x{w} | seconds | MiB |\n| --- | ---: | ---: |")
    for name, (changes, run) in ROWS.items():
        job = json.dumps([args.preset, changes, run, h, w, args.repeats])
        text = subprocess.run([sys.executable, "-c", SCRIPT, job], check=True, capture_output=True, text=True).stdout
        seconds, memory = (float(v) for v in text.split())
        print(f"| {name} | {seconds:.3f} | {memory:.0f} |", flush=True)
    print(f"\nequal with and without reconstructors, to the bit: {equal(args.preset, h, w)}")


if __name__ == "__main__":
    main()
