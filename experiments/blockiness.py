"""Do blocks show? python experiments/blockiness.py --data DATA/test --models anyfuse,average,runs/ditfuse-tiny [--limit
8]

The mean step between neighbouring pixels across the borders of a grid that begins at the upper left corner, over the
mean step everywhere else: 1 is no blocks, 1.1 means steps that are 10 % larger at borders. Periods: 8, the grid of the
latents, and 16, 32, 64, the tiles of M3. Natural images are near 1, but files that were JPEG have borders of 8
themselves, so the sources are measured too: what a model adds is its value less theirs.

Printed as Markdown: the mean over the pairs of each test folder. With natural-bsd100 there, also of M3 pairs (two
views, degraded by tiles of one size) at the borders of their tiles, where a model that patches tiles together shows it;
`truth` is the image itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anyfuse.api import Fuser
from anyfuse.degradation.masked_pairs import M3, PAPER_TILES, m3_pair
from anyfuse.degradation.plan import generator
from anyfuse.errors import FusionError
from anyfuse.image.colour import to_luma
from anyfuse.io.folders import list_images, pair_by_stem
from anyfuse.io.read import read_image

FOLDERS = {
    "ivif-roadscene": ("ir", "vis"),
    "mef-mefb": ("under", "over"),
    "mff-mfifb": ("a", "b"),
}
PERIODS = (8, 16, 32, 64)
LEAST = 1e-4
"""Added to both means, so that flat images have 1."""


def blockiness(image: Tensor, period: int) -> float:
    """Luma (H, W) in [0, 1] -> mean step across the borders of a grid of `period` pixels over the mean of all others,
    rows and columns together.

    1 where the image has no border of the grid. Raises FusionError for other shapes, or a period below 2.
    """
    if image.ndim != 2 or image.numel() == 0:
        raise FusionError(f"blockiness: shape {tuple(image.shape)} is no luma; give (H, W)")
    if period < 2:
        raise FusionError(f"blockiness: period {period}; give 2 or more")
    border, inside = [], []
    for plane in (image, image.T):
        steps = plane.double().diff(dim=0).abs()
        place = torch.arange(1, len(plane), device=image.device).remainder(period) == 0
        border.append(steps[place].flatten())
        inside.append(steps[~place].flatten())
    at, beside = torch.cat(border), torch.cat(inside)
    if not len(at) or not len(beside):
        return 1.0
    return float((at.mean() + LEAST) / (beside.mean() + LEAST))


def luma(pixels: np.ndarray) -> Tensor:
    """Pixels (H, W, C) of a result or file, in their depth -> luma (H, W) in [0, 1]."""
    white = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0
    return to_luma(torch.from_numpy(pixels.astype(np.float32) / white).permute(2, 0, 1))[0]


def every(
    items: Sequence[Path] | Sequence[tuple[Path, ...]], limit: int
) -> Sequence[Path] | Sequence[tuple[Path, ...]]:
    """`limit` of them, spread evenly; 0: all."""
    return items[:: max(1, len(items) // limit)][:limit] if limit else items


def of_folder(groups: Sequence[tuple[Path, ...]], fusers: dict[str, Fuser]) -> dict[str, list[float]]:
    """Row name -> mean per period; the first row is of the sources."""
    found: dict[str, list[list[float]]] = {"sources": [], **{name: [] for name in fusers}}
    for paths in groups:
        each = [[blockiness(luma(read_image(p).pixels), period) for period in PERIODS] for p in paths]
        found["sources"].append(np.mean(each, 0).tolist())
        for name, fuser in fusers.items():
            fused = luma(fuser.run([str(p) for p in paths]).pixels)
            found[name].append([blockiness(fused, period) for period in PERIODS])
    return {name: np.mean(rows, 0).tolist() for name, rows in found.items()}


def of_m3(images: Sequence[Path], fusers: dict[str, Fuser]) -> dict[str, list[float]]:
    """Row name -> mean at the borders of tiles of 16, 32 and 64; `views` are the degraded pair."""
    found: dict[str, list[list[float]]] = {"truth": [], "views": [], **{name: [] for name in fusers}}
    for index, path in enumerate(images):
        image = luma(read_image(path).pixels)[None]
        row: dict[str, list[float]] = {name: [] for name in found}
        for tile in PAPER_TILES:
            views, _, _ = m3_pair(image, generator(0, "blockiness", index, tile), M3(tiles=(tile,)))
            views = (views * 255).round() / 255
            row["truth"].append(blockiness(image[0], tile))
            row["views"].append(float(np.mean([blockiness(v[0], tile) for v in views])))
            for name, fuser in fusers.items():
                row[name].append(blockiness(luma(fuser.run(list(views)).pixels), tile))
        for name, values in row.items():
            found[name].append(values)
    return {name: np.mean(rows, 0).tolist() for name, rows in found.items()}


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, list[float]]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with the test folders")
    parser.add_argument("--models", default="anyfuse,average", help="names or folders, with commas")
    parser.add_argument("--limit", type=int, default=0, help="pairs per folder, spread over it; 0: all")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(argv)
    fusers = {Path(name).name: Fuser(name, device=args.device) for name in args.models.split(",")}
    found: dict[str, dict[str, list[float]]] = {}
    for folder, parts in FOLDERS.items():
        if (args.data / folder).is_dir():
            groups = list(pair_by_stem([args.data / folder / part for part in parts])[0].values())
            found[folder] = of_folder(every(groups, args.limit), fusers)  # type: ignore[arg-type]
            show(f"{folder}, {len(every(groups, args.limit))} pairs", PERIODS, found[folder])
    if (args.data / "natural-bsd100").is_dir():
        images = every(list_images(args.data / "natural-bsd100"), args.limit)
        found["m3"] = of_m3(images, fusers)  # type: ignore[arg-type]
        show(f"M3 pairs of natural-bsd100, {len(images)} images", PAPER_TILES, found["m3"])
    if not found:
        raise FusionError(f"{args.data}: holds none of {', '.join(FOLDERS)}, natural-bsd100")
    return found


def show(title: str, periods: Sequence[int], rows: dict[str, list[float]]) -> None:
    print(f"\n{title}\n\n| model | " + " | ".join(map(str, periods)) + " |\n| --- |" + " --- |" * len(periods))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |", flush=True)


if __name__ == "__main__":
    main()
