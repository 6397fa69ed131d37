"""How even white skies stay: fine detail of results where the visible image is lit and even, in levels.

    python experiments/skies.py anyfuse laplacian runs/one --data DATA/train

Held-out pairs of RoadScene and of near infrared. Detail is the distance from the smooth image (Gaussian, deviation of
2.5 pixels); an area is even where luma is above 170 and its deviation in 31x31 pixels below 6. Shown: the mean over all
such areas, and their 99.5th percentile, each in the mean over the images that have 3 % of them.
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


def detail(image: np.ndarray) -> np.ndarray:
    """(H, W) levels -> distance from the smooth image."""
    return np.abs(image - ndimage.gaussian_filter(image, 2.5))


def even_areas(visible: np.ndarray) -> np.ndarray:
    """(H, W) levels -> where it is lit and even."""
    mean = ndimage.uniform_filter(visible, 31)
    variance = ndimage.uniform_filter(visible * visible, 31) - mean * mean
    return ndimage.binary_erosion((visible > 170) & (variance < 36), iterations=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--data", type=Path, required=True, help="the folder of training sets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: load_model(name).eval() for name in given.models}
    for folder in ("ivif", "nir-epfl"):
        rows: dict[str, list[tuple[float, float]]] = {}
        for scene in pairs(given.data, f"{folder}/ir", f"{folder}/vis"):
            infrared, visible = (source.numpy() for source in scene.sources)
            areas = even_areas(visible)
            if areas.mean() < 0.03:
                continue
            shown = {"visible": visible, "infrared": infrared}
            with torch.inference_mode():
                for name, model in models.items():
                    shown[name] = fuse_whole(model, scene.sources[:, None] / 255)[0].clamp(0, 1).numpy() * 255
            for name, image in shown.items():
                there = detail(image)[areas]
                rows.setdefault(name, []).append((float(there.mean()), float(np.percentile(there, 99.5))))
        print(f"\n{folder}, {len(rows.get('visible', ()))} images\n\n| | mean | 99.5 % |\n|---|---:|---:|")
        for name, values in rows.items():
            print("| {} | {:.2f} | {:.1f} |".format(name, *np.mean(values, 0)))


if __name__ == "__main__":
    main()
