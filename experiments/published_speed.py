"""Seconds of the published systems with and without compiled blocks: python experiments/published_speed.py [MODEL ...]

Least seconds of processor time of a pair of 640x480 in memory, on one thread, in processes that run in turn, `--rounds`
times; then the largest difference of the results in levels of 8 bits. Reading and rounding are included, alignment and
deghosting are off.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ONE = """
import sys, time
import numpy as np, torch
from PIL import Image
from anyfuse import Fuser
torch.set_num_threads(1)
folder, name, place, repeats = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
pair = [Image.open(f"{folder}/thermal.png").convert("L"), Image.open(f"{folder}/visible.jpg").convert("RGB")]
pair = [np.asarray(image.resize((640, 480))) for image in pair]
fuser = Fuser(name, device="cpu")
times = []
for _ in range(repeats):
    start = time.process_time()
    fused = fuser(pair, align="none", deghost="off")
    times.append(time.process_time() - start)
np.save(place, fused)
print(min(times))
"""
MODELS = ("tita-small", "tita", "unifusion-small", "mmaif-tiny", "ditfuse-tiny-fast")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "infrared"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2, help="calls of each process")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            least, results = {"0": float("inf"), "1": float("inf")}, {}
            for _ in range(args.rounds):
                for native in ("0", "1"):
                    place = Path(folder) / f"{native}.npy"
                    command = [sys.executable, "-c", ONE, str(EXAMPLES), model, str(place), str(args.repeats)]
                    environment = os.environ | {"ANYFUSE_NATIVE": native, "OMP_NUM_THREADS": "1"}
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    least[native], results[native] = min(least[native], float(done.stdout)), np.load(place).astype(int)
            apart = abs(results["0"] - results["1"]).max()
            ratio = least["0"] / least["1"]
            print(f"{model:<18} {least['0']:6.2f} s  {least['1']:6.2f} s  {ratio:.1f} x  {apart} levels", flush=True)


if __name__ == "__main__":
    main()
