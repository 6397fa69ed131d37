"""Peak memory, measured.

python experiments/memory.py [MODEL]: of a model's two stages, to set `working_bytes` and `context_bytes`.
python experiments/memory.py --stack [CASE ...]: of whole calls with --max-memory; cases are those of CASES, or 'all'.
python experiments/memory.py --stages: of alignment and deghosting, with frames in scratch files (Linux).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SCRIPT = """
import resource, sys, torch
from anyfuse.models import build_model
stage, model, n, planes, side = sys.argv[1], build_model(sys.argv[2]).eval(), *map(int, sys.argv[3:])
model.to(memory_format=torch.channels_last)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with torch.inference_mode():
    def run(side):
        x = torch.rand(1, n, planes, side, side)
        if model.context_scale is None: model(x); return
        r = model.with_statistics(model.global_features(x))
        if stage == "context": model.context(torch.rand(1, n, r.shape[2], side, side)); return
        model(x, context=model.context(r)); model.weights(x, context=model.context(r))
    run(64); before = peak(); run(side)
print((peak() - before) / side**2 / n)
"""

STAGE = """
import sys, threading, time
import numpy as np, torch
from anyfuse.align.deghost import deghost
from anyfuse.align.stage import Align, align_frames
from anyfuse.image.frame import make_frame
from anyfuse.io.scratch import Scratch
from anyfuse.runtime import return_memory
def own(): return next(int(x.split()[1]) / 1024 for x in open("/proc/self/status") if x.startswith("RssAnon"))
stage, width, height, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
gen, store = torch.Generator().manual_seed(0), Scratch().store
tiles = torch.rand(1, 3, height // 40, width // 40, generator=gen)
scene = torch.nn.functional.interpolate(tiles, (height, width))[0].permute(1, 2, 0).numpy() * 0.8 + 0.1
frames = []
for k, gamma in enumerate((2.0, 1.0, 0.5)[: 3 if stage == "deghost" else 2]):
    one = scene.copy()
    if stage == "deghost":
        left = width // 8 + k * width // 5
        one[height // 4 : 3 * height // 4, left : left + width // 4] = (0.7, 0.3, 0.2)
    else:
        gamma, one = 1.0, np.roll(one, (17 * k, 23 * k), (0, 1))
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[kind]
    frames.append(make_frame((one**gamma * full).astype(kind), name=str(k)).stored(store))
del scene, one, tiles
return_memory()
before = most = own()
busy = True
def watch():
    global most
    while busy: most = max(most, own()); time.sleep(0.005)
thread = threading.Thread(target=watch)
thread.start()
if stage == "deghost": deghost(frames, "on", store)
else: align_frames(frames, Align(stage, keep_frame=True), 0, store)
busy = False
thread.join()
print(f"{most - before:.0f} MiB, {(most - before) * 2**20 / width / height:.1f} bytes a pixel")
"""

CASES: dict[str, tuple[int, int, int, str, str, str]] = {
    # images, width, height, suffix, --max-memory, model
    "30x6": (30, 3000, 2000, "tif", "1G", "anyfuse"),
    "100x24-average": (100, 6000, 4000, "tif", "2G", "average"),
    "100x24-laplacian": (100, 6000, 4000, "tif", "2G", "laplacian"),
    "100x0.6": (100, 3000, 200, "tif", "2G", "anyfuse"),  # the same tiles as of 100x24
    "100x24": (100, 6000, 4000, "tif", "2G", "anyfuse"),
    "2x100": (2, 12000, 8334, "tif", "2G", "anyfuse"),
    "2x100-jpg": (2, 12000, 8334, "jpg", "2G", "anyfuse"),
}


def stages(model: str) -> None:
    """Bytes per pixel and source of both stages of a model."""
    for stage, side in (("tile", 1024), ("context", 512)):
        for n, planes in ((2, 1), (2, 3), (4, 1), (8, 1)):
            command = [sys.executable, "-c", SCRIPT, stage, model, str(n), str(planes), str(side)]
            print(stage, f"n={n} planes={planes}", "bytes per pixel and source:", end=" ", flush=True)
            print(round(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)))


def before_model() -> None:
    """Peaks of alignment and deghosting."""
    for stage in ("auto", "local", "deghost"):
        for width, height in ((1600, 1200), (4000, 3000), (8000, 6000)):
            for kind in ("uint8", "float32"):
                command = [sys.executable, "-c", STAGE, stage, str(width), str(height), kind]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
                print(f"{stage}, {width}x{height}, {kind}: {said}", flush=True)


def write_stack(folder: Path, count: int, width: int, height: int, suffix: str) -> list[str]:
    """Files of coloured hills with a texture that moves from image to image; TIFF and PPM without compression."""
    from anyfuse.io.write import write_image

    rng = np.random.default_rng(0)
    x, y = np.arange(width)[None, :, None], np.arange(height)[:, None, None]
    wave = np.cos(y / 173) * 60 + 127
    texture = rng.integers(-30, 31, (height, width, 1), np.int16)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 256):
        rows = slice(top, top + 256)
        pixels[rows] = wave[rows] + 40 * np.sin(x / 211 + np.array([0.0, 0.7, 1.4])) + texture[rows]
    paths = []
    for k in range(count):
        path = folder / f"{k:03d}.{suffix}"
        rolled = np.roll(pixels, 3 * k, 0)
        if suffix == "tif":
            import tifffile

            tifffile.imwrite(path, rolled, photometric="rgb")
        else:
            write_image(path, rolled)
        paths.append(str(path))
    return paths


def measure(case: str, folder: Path) -> None:
    """One call of the command line; prints the limit, the peak of the process and the time."""
    count, width, height, suffix, limit, model = CASES[case]
    paths = write_stack(folder, count, width, height, suffix)
    report = folder / "report.json"
    command = [sys.executable, "-m", "anyfuse", "fuse", *paths, "-o", str(folder / "fused.tif"), "--model", model]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--max-memory", limit, "--report", str(report)], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # the largest child so far: this one
    if done.returncode:
        print(f"{case}: {done.stderr.strip()}")
        return
    tiles = json.loads(report.read_text())["tiles"]
    print(
        f"{case}: {count} x {width}x{height} {suffix}, {model}: asked {limit}, peak {peak:.0f} MiB, {tiles} tiles, "
        f"{seconds:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="anyfuse")
    parser.add_argument("--stack", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}, or all")
    parser.add_argument("--stages", action="store_true", help="alignment and deghosting alone")
    given = parser.parse_args()
    if given.stages:
        before_model()
        return
    if given.stack is None:
        stages(given.model)
        return
    cases = list(CASES) if given.stack in ([], ["all"]) else given.stack
    if len(cases) > 1:  # a process for each, whose peak is its own
        for case in cases:
            subprocess.run([sys.executable, __file__, "--stack", case], check=True)
        return
    with tempfile.TemporaryDirectory(prefix="anyfuse-stack-") as folder:
        measure(cases[0], Path(folder))


if __name__ == "__main__":
    main()
