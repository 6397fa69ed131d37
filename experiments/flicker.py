"""How much still scenes flicker: deviation over frames of the means of 16x16 blocks, in levels.

    python experiments/flicker.py anyfuse laplacian

Eight frames of examples/infrared with sensor noise of 4 levels (visible) and 2 levels (infrared).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anyfuse import Fuser

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "infrared"
FRAMES, BLOCK, ROWS, COLUMNS = 8, 16, 240, 320
LUMA = (0.299, 0.587, 0.114)


def noisy(image: np.ndarray, spread: float, draws: np.random.Generator) -> np.ndarray:
    """The image in 8 bits with Gaussian noise."""
    return np.clip(image + draws.normal(0, spread, image.shape), 0, 255).astype(np.uint8)


def flicker(fuser: Fuser) -> float:
    """Mean deviation over the frames of the blocks' luma."""
    visible, infrared = (
        np.asarray(Image.open(EXAMPLES / name))[:ROWS, :COLUMNS].astype(float)
        for name in ("visible.jpg", "thermal.png")
    )
    draws = np.random.default_rng(1)
    luma = [fuser([noisy(visible, 4, draws), noisy(infrared, 2, draws)]).astype(float) @ LUMA for _ in range(FRAMES)]
    blocks = np.stack(luma).reshape(FRAMES, ROWS // BLOCK, BLOCK, COLUMNS // BLOCK, BLOCK).mean((2, 4))
    return float(blocks.std(0).mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        print(f"{name}: {flicker(Fuser(name)):.3f}", flush=True)
