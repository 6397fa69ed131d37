"""What features keep of their sources: python experiments/reconstruction.py RUN ... --data DATA --test FOLDER_A
FOLDER_B

UniFusion (CVPR 2026) says that its reconstruction branch makes the adapters keep their sources (its figure 8). Here
every trained folder, with the branch or without, gets fresh reconstructors of the same shape, which learn to paint the
sources from the frozen features for the same number of steps with the same crops; then the sources of test pairs are
painted and compared with what they were. So a model trained without the branch has the same chance. `own` is the branch
of the model itself, where it has one. Images go to the adapters in the model's order of roles.

Prints Markdown: PSNR in dB and SSIM of each source. With --pictures: per folder a PNG of sources above what came back.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anyfuse.data.batches import TrainingData
from anyfuse.image.colour import to_luma
from anyfuse.image.stack import order_of_roles
from anyfuse.io.folders import pair_by_stem
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.losses import self_reconstruction, ssim_map
from anyfuse.models.registry import load_model
from anyfuse.models.unifusion.unifusion import Reconstructor, UniFusion
from anyfuse.training.recipes import RECIPES

TASKS = ("ivf", "mef", "mff", "mif")


def load(folder: str) -> UniFusion:
    model = load_model(folder)
    if not isinstance(model, UniFusion):
        raise SystemExit(f"{folder}: holds no UniFusion")
    return model


def test_pairs(folders: list[str], limit: int) -> Iterator[Tensor]:
    """Pairs (1, 2, 1, H, W) in [0, 1], sides cut to multiples of 16, in the order of roles."""
    for paths in islice(pair_by_stem(folders)[0].values(), limit):
        frames = [read_image(path) for path in paths]
        images = [to_luma(frames[k].read()) for k in order_of_roles(frames)]
        h, w = (side // 16 * 16 for side in images[0].shape[-2:])
        yield torch.stack([x[..., :h, :w].reshape(h, w) for x in images])[None, :, None]


def probe(model: UniFusion, data: TrainingData, steps: int, seed: int) -> nn.ModuleList:
    """Fresh reconstructors trained on frozen features, one task a step, by the model's own loss of reconstruction."""
    torch.manual_seed(seed)
    gen = torch.Generator().manual_seed(seed)
    model.requires_grad_(False).eval()
    model.reconstructors = nn.ModuleList([Reconstructor(model.config) for _ in model.adapters]).train()
    optimiser = torch.optim.Adam(model.reconstructors.parameters(), lr=2e-3)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        sources = data.batch(TASKS[step % len(TASKS)], 4, 2, 64, gen).sources
        with torch.no_grad():
            features = model.encode(sources, model.observe(sources))
        loss = self_reconstruction(model.reconstruct(features), sources.expand(-1, -1, model.channels, -1, -1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.reconstructors.eval()


@torch.inference_mode()
def fidelity(model: UniFusion, folders: list[str], limit: int, picture: Path | None = None) -> list[float]:
    """PSNR of the first and of the second source, then SSIM of both, means over pairs."""
    rows = []
    for k, pair in enumerate(test_pairs(folders, limit)):
        back = model.reconstruct(model.encode(pair, model.observe(pair))).mean(2).clamp(0, 1)[0]
        wrong = (back - pair[0, :, 0]).square().mean((1, 2)).clamp_min(1e-10)
        alike = ssim_map(back, pair[0, :, 0]).flatten(1).mean(1)
        rows.append([*(-10 * wrong.log10()).tolist(), *alike.tolist()])
        if picture is not None and k == 0:
            sheet = torch.cat([torch.cat([*pair[0, :, 0]], 1), torch.cat([*back], 1)])
            write_image(picture, (sheet * 255).round().byte().numpy(), overwrite=True)
    return np.mean(rows, 0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="folders of trained UniFusion models")
    parser.add_argument("--data", required=True, help="training data, for the fresh reconstructors")
    parser.add_argument(
        "--test", nargs="+", action="append", required=True, metavar="FOLDER", help="two folders; may be repeated"
    )
    parser.add_argument("--limit", type=int, default=10, help="pairs of each test set")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    data = TrainingData(args.data, RECIPES["unifusion-small"].sets, ordered=True)
    print(
        "| model | reconstructor | pairs of | PSNR first, second | SSIM first, second |\n| --- | --- | --- | --- | "
        "--- |"
    )
    for run in args.runs:
        for kind in ("own", "fresh"):
            model = load(run)
            if kind == "own" and not model.reconstructors:
                continue
            if kind == "fresh":
                probe(model, data, args.steps, args.seed)
            for folders in args.test:
                name = Path(folders[0]).parent.name
                picture = None
                if args.pictures:
                    args.pictures.mkdir(parents=True, exist_ok=True)
                    picture = args.pictures / f"{Path(run).name}-{kind}-{name}.png"
                a, b, s, t = fidelity(model, folders, args.limit, picture)
                print(f"| {Path(run).name} | {kind} | {name} | {a:.2f}, {b:.2f} | {s:.4f}, {t:.4f} |", flush=True)


if __name__ == "__main__":
    main()
