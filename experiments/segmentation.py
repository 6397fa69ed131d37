"""Segmentation by words on CamVid, beside a small U-Net of as many parameters.

    python experiments/segmentation.py --data DATA/test/camvid --model runs/ditfuse-tiny [--unet unet.pt]
    python experiments/segmentation.py --data DATA/train/camvid --train-unet unet.pt [--like ditfuse-tiny] [--steps 0]

Of the model what `anyfuse bench --section segmentation` gives (anyfuse/benchmark/sections.py), and the same table of
the U-Net, which has no prompt and chooses one class per pixel. Both see luma.

The U-Net has the transformer's number of parameters and learns on what it learns on: the street images of the recipe
without those held out, as many crops of the recipe's size as have a mask in its batches (--steps: another number, of 8
crops each).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from anyfuse.benchmark.segmentation import UNLABELLED, counts, read, report, run_words
from anyfuse.control import CLASSES
from anyfuse.device import pick_device
from anyfuse.errors import FusionError
from anyfuse.image.random import integer, uniform
from anyfuse.models.base import parameter_counts
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.registry import build_model, load_model
from anyfuse.models.unet import UNet
from anyfuse.training.pools.instructions import TASK, MixtureSettings, trained_streets
from anyfuse.training.recipes import RECIPES


class WordlessUNet(UNet):
    """Luma (B, 1, H, W) in [0, 1], sides multiples of 16 -> logits (B, 11, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__(1, (width, 2 * width, 4 * width, 8 * width), len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


def unet_like(parameters: int) -> WordlessUNet:
    """The U-Net whose number of parameters is nearest."""
    return min(
        (WordlessUNet(width) for width in range(4, 65)), key=lambda net: abs(parameter_counts(net)[0] - parameters)
    )


@torch.inference_mode()
def of_unet(net: WordlessUNet, data: list[tuple[Tensor, Tensor]], device: torch.device) -> Tensor:
    """(11, 11): pixels that were given a class, by their own."""
    table = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.float64)
    for luma, classes in data:
        h, w = luma.shape
        padded = F.pad(luma[None, None], (0, -w % 16, 0, -h % 16), mode="replicate").to(device)
        best = net(padded)[0, :, :h, :w].argmax(0).cpu()
        for index in range(len(CLASSES)):
            table[index] += counts(best == index, classes)
    return table


def views_of(recipe: str) -> int:
    """Crops with a mask in all batches of a recipe of DiTFuse: its share of segmentation, without those whose condition
    is dropped.
    """
    plan = RECIPES[recipe]
    o = plan.settings(MixtureSettings)
    share = o.segment / (o.m3 + o.pairs + o.control + o.segment)
    return round(plan.steps * plan.tasks[TASK] * share * (1 - o.drop) * (1 - o.wordless))


def crop(image: Tensor, classes: Tensor, size: int, gen: Generator) -> tuple[Tensor, Tensor]:
    """(size, size) both: a place at random, half of the time made smaller, half of the time mirrored, as
    DiTFuse's are.
    """
    h, w = image.shape
    scale = uniform(1.0, max(1.0, min(h, w) / size), gen) if uniform(0, 1, gen) < 0.5 else 1.0
    take = min(int(size * scale), h, w)
    top, left = integer(0, h - take, gen), integer(0, w - take, gen)
    part = image[None, None, top : top + take, left : left + take]
    labels = classes[None, None, top : top + take, left : left + take].float()
    part = F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0, 0]
    labels = F.interpolate(labels, (size, size), mode="nearest-exact")[0, 0].long()
    return (part.flip(-1), labels.flip(-1)) if uniform(0, 1, gen) < 0.5 else (part, labels)


def train_unet(
    data: list[tuple[Tensor, Tensor]], out: Path, parameters: int, steps: int, device: torch.device, size: int = 128
) -> WordlessUNet:
    """Cross entropy on 8 crops a step, AdamW, a cosine from 1e-3; writes width and weights to `out`.

    Leaves out the images that DiTFuse holds out.

    Every hundred steps all is kept in FILE.part, from which an interrupted run goes on, to the bit.
    """
    data = trained_streets(data)
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    net = unet_like(parameters).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-2)
    print(f"U-Net of {parameter_counts(net)[0]:,} parameters, {len(data)} images, {8 * steps} crops in {steps} steps")
    begin, mean, part, first = time.monotonic(), math.nan, out.with_name(f"{out.name}.part"), 0
    if part.exists():
        saved = torch.load(part, weights_only=True)
        if saved["plan"] == [parameters, steps, size, len(data)]:
            net.load_state_dict(saved["net"])
            optimiser.load_state_dict(saved["optimiser"])
            gen.set_state(saved["gen"])
            first, mean = saved["step"], saved["mean"]
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 100) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
        crops = [crop(*data[integer(0, len(data) - 1, gen)], size, gen) for _ in range(8)]
        x = torch.stack([image for image, _ in crops])[:, None].to(device)
        y = torch.stack([labels for _, labels in crops]).to(device)
        loss = F.cross_entropy(net(x), y, ignore_index=UNLABELLED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        mean = float(loss.detach()) if math.isnan(mean) else 0.98 * mean + 0.02 * float(loss.detach())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            print(f"step {step + 1}/{steps}  loss {mean:.4f}  {time.monotonic() - begin:.0f} s", flush=True)
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "gen": gen.get_state()}
            torch.save({"plan": [parameters, steps, size, len(data)], "step": step + 1, "mean": mean, **state}, part)
    torch.save({"width": net.out.in_channels, "weights": net.cpu().state_dict()}, out)
    part.unlink()
    return net


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with images and labels")
    parser.add_argument("--model", help="folder of a trained DiTFuse")
    parser.add_argument("--unet", type=Path, help="U-Net that --train-unet wrote")
    parser.add_argument("--train-unet", type=Path, metavar="FILE", help="train a U-Net on --data, and write it there")
    parser.add_argument("--like", default="ditfuse-tiny", help="model whose number of parameters the U-Net has")
    parser.add_argument("--steps", type=int, default=0, help="of training; 0: as many crops as --like sees")
    parser.add_argument("--limit", type=int, default=0, help="images, spread over the folder; 0: all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    device, data = pick_device(args.device), read(args.data, args.limit)
    if args.train_unet:
        known = [name for name, recipe in RECIPES.items() if recipe.strategy == "instruct"]
        if args.like not in known:
            raise FusionError(f"--like {args.like}: give one of {', '.join(known)}")
        steps = args.steps or views_of(args.like) // 8
        train_unet(data, args.train_unet, parameter_counts(build_model(args.like))[1], steps, device)
        return {}
    found: dict[str, Any] = {}
    if args.model:
        model = load_model(args.model)
        if not isinstance(model, DiTFuse):
            raise FusionError(f"{args.model}: is a {type(model).__name__}; give a small DiTFuse")
        found, lines = run_words(model.to(device).eval(), data, device)
        print(*lines, sep="\n", flush=True)
    if args.unet:
        saved = torch.load(args.unet, weights_only=True)
        net = WordlessUNet(saved["width"]).eval()
        net.load_state_dict(saved["weights"])
        found["unet"], lines = report("U-Net", of_unet(net.to(device), data, device), data)
        print(*lines, sep="\n")
    if not found:
        raise FusionError("nothing to measure: give --model, --unet or --train-unet")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main()
