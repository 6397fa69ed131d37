"""What each engine gives and takes beside PyTorch: python experiments/engines.py [--runs N]

Levels of 8 bits by which results differ from PyTorch's, on the examples and on a made 16-bit pair; and user and system
seconds of a whole process that fuses a pair of 640x480, `anyfuse fuse` and Python, each the least of N runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
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
        pair = [str(folder / "pair" / f"{k}.png") for k in (0, 1)]
        line = [sys.executable, "-m", "anyfuse", "fuse", *pair, "-o", str(folder / "c.png"), "--overwrite", "-q"]
        code = [sys.executable, "-c", f"import anyfuse; anyfuse.fuse({pair!r}, align='none', deghost='off')"]
        print("processor seconds of a process, a pair of 640x480")
        for label in ENGINES:
            command = min(seconds([*line, "--align", "none", "--deghost", "off"], label) for _ in range(args.runs))
            called = min(seconds(code, label) for _ in range(args.runs))
            print(f"  {label:<18} anyfuse fuse {command:.2f}, import and fuse {called:.2f}")


if __name__ == "__main__":
    main()
