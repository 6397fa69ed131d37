"""Tiled against whole, and threads against one, for every shipped model: largest differences of results in [0, 1].

python experiments/tiling.py [--width 3000 --height 2000] [--models NAME ...]

A model that needs the whole image is never tiled; it is compared in threads alone, at a small size. A model whose whole
image would take more than --most GiB is compared at the largest size that fits, 3:2.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from anyfuse import Fuser, tiling
from anyfuse.models.base import FusionModel
from anyfuse.models.registry import MODELS, is_there, load_model


def scene(planes: int, height: int, width: int, n: int = 2) -> Tensor:
    """Sources (N, C, H, W) with slopes, edges and noise; chroma is centred at 0 if there are three planes of luma."""
    gen = torch.Generator().manual_seed(0)
    y, x = torch.arange(height)[:, None] / 97, torch.arange(width)[None] / 131
    out = torch.rand(n, planes, height, width, generator=gen).mul_(0.15)
    for k in range(n):
        for c in range(planes):
            out[k, c] += 0.4 + 0.3 * torch.sin(x * (1 + k) + c) * torch.cos(y + k) + 0.1 * ((x + y).floor() % 2)
    out.clamp_(0, 1)
    return out


@torch.inference_mode()
def tiled_against_whole(model: FusionModel, height: int, width: int, tile: int) -> tuple[float, int]:
    """Largest difference, and the number of tiles."""
    planes = 3 if model.channels == 3 or model.carries_chroma else 1
    sources = scene(planes, height, width)
    if model.carries_chroma and model.channels == 1:
        sources[:, 1:] -= 0.5
    results, count = [], 0
    for side in (1 << 30, tile):
        grid = tiling.plan_tiles(model, 2, planes, height, width, tile=side)
        whole = torch.empty(planes, height, width)
        for window, maps in tiling.run_tiles(
            model,
            grid,
            lambda w: sources[..., w[0], w[1]],
            lambda x, context: {"fused": model(x, context=context)},
        ):
            whole[..., window[0], window[1]] = maps["fused"].float()
        results.append(whole)
        count = grid.count
    return float((results[0] - results[1]).abs().max()), count


def threads(name: str) -> tuple[float, float]:
    """Largest differences of a result in [0, 1]: two threads of torch, and eight calls at a time of one Fuser."""
    images = [(p.permute(1, 2, 0).numpy()).astype(np.float32) for p in scene(1, 240, 320)]
    fuser = Fuser(name, device="cpu")
    torch.set_num_threads(1)
    one = fuser(images)
    torch.set_num_threads(2)
    two = fuser(images)
    torch.set_num_threads(1)
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda _: fuser(images), range(8)))
    return float(np.abs(one - two).max()), max(float(np.abs(one - other).max()) for other in many)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=3000)
    parser.add_argument("--height", type=int, default=2000)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--most", type=float, default=6.0, help="GiB that a whole image may take")
    parser.add_argument("--models", nargs="*", default=[name for name, spec in MODELS.items() if is_there(spec)])
    given = parser.parse_args()
    print("| model | size | tiles | tiled less whole | two threads | eight calls | s |\n" + "|---" * 7 + "|")
    for name in given.models:
        start, model = time.perf_counter(), load_model(name)
        width, height = given.width, given.height
        planes = 3 if model.channels == 3 or model.carries_chroma else 1
        need = 2 * height * width * (model.working_bytes + 16 * planes) / 2**30
        if need > given.most:
            scale = math.sqrt(given.most / need)
            width, height = int(width * scale), int(height * scale)
        if model.halo is None:
            cells = "| - | 1 | whole image always "
        else:
            difference, count = tiled_against_whole(model, height, width, given.tile)
            cells = f"| {width}x{height} | {count} | {difference:.2g} "
        two, eight = threads(name)
        print(f"| {name} {cells}| {two:.2g} | {eight:.2g} | {time.perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
