"""Lane marks, signs and other thin bright things of the visible image, and cold specks of the infrared one.

    python experiments/marks.py anyfuse maximum runs/one --data DATA/train

Held-out pairs of RoadScene, LLVIP and of near infrared. Marks stand out from what is around within 9 pixels by 25
levels in the visible image. Shown: how much of that the result keeps (1: all), and their level against the visible
image's. Specks are darker than what is around by 30 levels in the infrared image alone, where the visible image is the
brighter one by 20. Shown: how far the result follows the infrared image there (0: not at all, 1: wholly).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from choose import pairs
from scipy import ndimage

from anyfuse.models.registry import load_model
from anyfuse.tiling import fuse_whole

SIDE = 9


def bright(image: np.ndarray) -> np.ndarray:
    """(H, W) levels -> how far thin bright things stand out: the white top-hat."""
    return image - ndimage.grey_opening(image, SIDE)


def dark(image: np.ndarray) -> np.ndarray:
    """(H, W) levels -> how far thin dark things stand out: the black top-hat."""
    return ndimage.grey_closing(image, SIDE) - image


def figures(fused: np.ndarray, infrared: np.ndarray, visible: np.ndarray) -> tuple[float, float, float]:
    """(H, W) levels each -> contrast and level of marks kept, share of infrared in specks; NaN where there are none."""
    marks = bright(visible) > 25
    specks = (dark(infrared) > 30) & (dark(visible) < 8) & (visible > infrared + 20)
    kept = bright(fused)[marks].sum() / max(bright(visible)[marks].sum(), 1e-9) if marks.any() else np.nan
    level = np.minimum(fused / np.maximum(visible, 1), 1)[marks].mean() if marks.any() else np.nan
    cold = ((visible - fused)[specks] / (visible - infrared)[specks]).clip(0, 1).mean() if specks.any() else np.nan
    return float(kept), float(level), float(cold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--data", type=Path, required=True, help="the folder of training sets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: load_model(name).eval() for name in given.models}
    for folder in ("ivif", "ivif-llvip", "nir-epfl"):
        rows: dict[str, list[tuple[float, ...]]] = {}
        for scene in pairs(given.data, f"{folder}/ir", f"{folder}/vis"):
            infrared, visible = (source.numpy() for source in scene.sources)
            for name, model in models.items():
                with torch.inference_mode():
                    fused = fuse_whole(model, scene.sources[:, None] / 255)[0].clamp(0, 1).numpy() * 255
                rows.setdefault(name, []).append(figures(fused, infrared, visible))
        count = len(next(iter(rows.values())))
        print(f"\n{folder}, {count} images\n\n| | marks kept | level | specks |\n|---|---:|---:|---:|")
        for name, values in rows.items():
            print("| {} | {:.2f} | {:.2f} | {:.2f} |".format(name, *np.nanmean(values, 0)))


if __name__ == "__main__":
    main()
