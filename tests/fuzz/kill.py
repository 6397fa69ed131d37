"""Kills a batch over folders again and again, and looks at what is left.

    python tests/fuzz/kill.py --rounds 20

Each round starts the same batch and kills it (SIGKILL) at a moment that a seed decides. After each, every result and
map that is there must be whole, and the inputs untouched; the last run must do what is missing, to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file below a folder."""
    if not folder.is_dir():
        return {}
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pairs(root: Path, count: int, side: int) -> list[Path]:
    """Two folders of `count` pairs of noise."""
    noise = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for index in range(count):
            picture = noise.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(picture).save(root / name / f"{index}.png")
    return [root / "a", root / "b"]


def kill_rounds(root: Path, rounds: int, sets: int, seed: int = 0, side: int = 192) -> list[int]:
    """Kills a batch `rounds` times; AssertionError where something is lost or half.

    Returns:
        The number of results after each round.
    """
    both, draw = pairs(root, sets, side), random.Random(seed)
    inputs = [contents(folder) for folder in both]

    def call(out: str) -> list[str]:
        options = ["--weights-out", str(root / f"{out}-w"), "--report", str(root / f"{out}.json"), "-q", "--jobs", "2"]
        return [sys.executable, "-m", "anyfuse", "fuse", *map(str, both), "-o", str(root / out), *options]

    subprocess.run(call("whole"), check=True)
    wanted = contents(root / "whole") | contents(root / "whole-w")
    counts = []
    for _ in range(rounds):
        process = subprocess.Popen(call("out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before, more = len(contents(root / "out")), draw.choice((0, 1, 2, 3))
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            if len(os.listdir(root / "out") if (root / "out").is_dir() else ()) > before + more - (more == 0):
                break
            time.sleep(0.001)
        time.sleep(draw.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = contents(root / "out") | contents(root / "out-w")
        for name, data in left.items():
            assert Path(name).name.startswith(".anyfuse-") or data == wanted[name], f"{name} is half"
        assert [contents(folder) for folder in both] == inputs, "an input has changed"
        counts.append(len([name for name in contents(root / "out") if not name.startswith(".")]))
        assert counts == sorted(counts), "a result is gone"
    subprocess.run(call("out"), check=True)
    assert contents(root / "out") | contents(root / "out-w") == wanted, "results differ, or temporary files are left"
    assert len(json.loads((root / "out.json").read_text())["failed"]) == 0
    return counts


def main() -> None:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--sets", type=int, default=60)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as root:
        counts = kill_rounds(Path(root), given.rounds, given.sets, given.seed)
    print(f"{given.rounds} rounds: nothing lost, nothing half; results after each: {counts}")


if __name__ == "__main__":
    main()
