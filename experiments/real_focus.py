"""Scores of real focus pairs that no benchmark has: aligned frames of focus stacks, 512x640 pixels from the middle.

    python experiments/real_focus.py anyfuse anyfuse-first guided --data DATA

DATA has the folders flies, pcb and noah28 (`align/focus`), each with the frames of a stack. Luma, 8 bits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from anyfuse.align.stage import AUTOMATIC, align_frames
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image
from anyfuse.metrics import score_batch
from anyfuse.models.registry import load_model
from anyfuse.tiling import fuse_whole

PAIRS = {
    "flies": ((0, 8), (2, 6), (1, 7), (3, 8)),
    "pcb": ((0, 6), (1, 5), (2, 6)),
    "noah28": ((4, 20), (8, 24), (2, 14)),
}
METRICS = ("mi", "vif", "qabf", "ssim", "scd", "cc", "halo")
HEIGHT, WIDTH, MULTIPLE = 512, 640, 32


def pair(paths: list[Path]) -> Tensor:
    """Levels (2, H, W) of two aligned frames."""
    frames, _ = align_frames([read_image(path) for path in paths], AUTOMATIC)
    levels = torch.stack([to_luma(frame.read())[0] * 255 for frame in frames]).round()
    size = [
        min(most, side // MULTIPLE * MULTIPLE) for most, side in zip((HEIGHT, WIDTH), levels.shape[1:], strict=True)
    ]
    top, left = ((side - part) // 2 for side, part in zip(levels.shape[1:], size, strict=True))
    return levels[:, top : top + size[0], left : left + size[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pairs = []
    for name, indices in PAIRS.items():
        files = sorted((given.data / name).iterdir())
        pairs += [pair([files[a], files[b]]) for a, b in indices]
    print(f"| model | {' | '.join(METRICS)} |  ({len(pairs)} pairs)\n|---|" + "---:|" * len(METRICS))
    for name in given.models:
        model = load_model(name).eval()
        rows = []
        for levels in pairs:
            fused = (fuse_whole(model, (levels / 255)[:, None]).reshape(1, *levels.shape[1:]) * 255).round().double()
            scores = score_batch(fused, levels[None].double(), list(METRICS))
            rows.append([float(scores[metric]) for metric in METRICS])
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in torch.tensor(rows).mean(0).tolist()) + " |", flush=True)


if __name__ == "__main__":
    main()
