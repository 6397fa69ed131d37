"""The mean of the weights of runs that go on from each other, as a model of its own.

    python experiments/mean_weights.py OUT RUN RUN...

Configuration and names must agree. The default model is such a mean (docs/training.md).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    if len({(run / "config.json").read_text() for run in given.runs}) > 1:
        raise SystemExit("the runs have different configurations; give runs of one model")
    weights = [load_file(run / "model.safetensors") for run in given.runs]
    given.out.mkdir(parents=True, exist_ok=True)
    mean = {name: torch.stack([w[name] for w in weights]).mean(0) for name in weights[0]}
    save_file(mean, given.out / "model.safetensors", {"format": "pt"})
    shutil.copy(given.runs[0] / "config.json", given.out)


if __name__ == "__main__":
    main()
