"""What each engine gives and takes beside PyTorch: python experiments/engines.py [--runs N]

Levels of 8 bits by which results differ from PyTorch's, on the examples and on a made 16-bit pair; and user and system
seconds of a whole process that fuses a pair of 640x480, `anyfuse fuse` and Python, each the least of N runs. A pair of
examples/infrared is also fused with default options, as it is and with one image shifted.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SETS = ("infrared", "exposure", "focus_pair", "focus_stack", "medical")
ENGINES = {"torch": "torch", "onnx": "onnx", "onnx, no kernels": "onnx"}
FUSE = """
import sys
import numpy as np
from pathlib import Path
from anyfuse import Fuser
fuser, out = Fuser(), {}
for folder in sys.argv[2:]:
    files = [np.load(f) if f.suffix == ".npy" else f for f in sorted(Path(folder).iterdir())]
    out[Path(folder).name] = fuser.run(files, align="none", deghost="off", resize=True).pixels
np.savez(sys.argv[1], **out)
"""


def environment(label: str) -> dict[str, str]:
    """That of a process which uses an engine of ENGINES."""
    native = "0" if "no kernels" in label else os.environ.get("ANYFUSE_NATIVE", "1")
    return os.environ | {"ANYFUSE_ENGINE": ENGINES[label], "ANYFUSE_NATIVE": native}


def made(folder: Path) -> None:
    """A pair of 640x480 as PNG, and one of 16 bits as arrays."""
    rows, columns = np.mgrid[:480, :640] / 40.0
    scenes = [np.stack([np.sin(rows + k), np.cos(columns * (k + 1)), np.sin(rows * columns / 9)], -1) for k in (0, 1)]
    for name in ("pair", "deep"):
        (folder / name).mkdir()
    for k, values in enumerate(scenes):
        Image.fromarray(((values + 1) * 127.5).astype(np.uint8)).save(folder / "pair" / f"{k}.png")
        np.save(folder / "deep" / f"{k}.npy", ((values + 1) * 32767.5).astype(np.uint16))


def made_infrared(folder: Path) -> None:
    """The infrared example at 640x480 as PNG, aligned, and with one image shifted."""
    files = [EXAMPLES / "infrared" / name for name in ("thermal.png", "visible.jpg")]
    large = [np.asarray(Image.open(file).resize((660, 496), Image.Resampling.LANCZOS)) for file in files]
    for name, (x, y) in {"aligned": (10, 8), "shifted": (17, 3)}.items():
        (folder / name).mkdir()
        for k, (left, top) in enumerate(((10, 8), (x, y))):
            Image.fromarray(large[k][top : top + 480, left : left + 640]).save(folder / name / f"{k}.png")


def seconds(command: list[str], label: str) -> float:
    """Processor time of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment(label), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of each process")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made(folder)
        sets = [str(EXAMPLES / name) for name in SETS] + [str(folder / name) for name in ("pair", "deep")]
        found = {}
        for label in ENGINES:
            out = folder / "out.npz"
            subprocess.run([sys.executable, "-c", FUSE, str(out), *sets], env=environment(label), check=True)
            found[label] = dict(np.load(out))
        for label, results in found.items():
            print(f"{label}: levels of 8 bits from torch, at most")
            for name, pixels in results.items():
                apart = np.abs(pixels.astype(float) - found["torch"][name].astype(float)).max()
                print(f"  {name:<12} {apart * 255 / np.iinfo(pixels.dtype).max:.3f}")
        made_infrared(folder)
        print("processor seconds of a process, a pair of 640x480")
        for label in ENGINES:
            found_seconds = {name: min(seconds(line, label) for _ in range(args.runs)) for name, line in lines(folder)}
            print(f"  {label:<18} " + ", ".join(f"{name} {value:.2f}" for name, value in found_seconds.items()))


def lines(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """What is timed, and its command."""

    def fuse(name: str, *options: str) -> list[str]:
        pair = [str(folder / name / f"{k}.png") for k in (0, 1)]
        out = str(folder / "c.png")
        return [sys.executable, "-m", "anyfuse", "fuse", *pair, "-o", out, "--overwrite", "-q", *options]

    yield "anyfuse fuse without alignment", fuse("pair", "--align", "none", "--deghost", "off")
    pair = [str(folder / "pair" / f"{k}.png") for k in (0, 1)]
    code = f"import anyfuse; anyfuse.fuse({pair!r}, align='none', deghost='off')"
    yield "import and fuse", [sys.executable, "-c", code]
    yield "aligned, default options", fuse("aligned")
    yield "shifted, default options", fuse("shifted")


if __name__ == "__main__":
    main()
