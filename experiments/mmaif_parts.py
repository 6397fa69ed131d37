"""What MMAIF's parts do, on held-out files: python experiments/mmaif_parts.py --data DATA/train --models
mmaif-tiny,mmaif-tiny-flow

As Markdown, for names or folders of trained models:

    quality    PSNR in dB and SSIM to the default model's fusion of the clean pair (to the truth of synthetic focus),
               with the true degradations, mean over --pairs degraded pairs of 128x128 per task; and of clean pairs,
               without an instruction. A flow for each number of --steps. Seconds: one pair of 640x480, as many threads
               as torch has, after a run of one step
    size       PSNR of the same middle of 128x128, seen within a crop of 128, of 256, and within the whole of held-out
               pairs of 320 pixels or more: the same degradation, cut from the whole degraded image
    experts    smallest and largest share of the tokens that an expert of each layer gets, over all degraded pairs; even
               is 1 / experts
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyfuse.degradation.plan import DegradationPlan, Step, apply
from anyfuse.losses import ssim_map
from anyfuse.models.mmaif.mmaif import MMAIF
from anyfuse.models.registry import load_model
from anyfuse.training.pools.degraded_pairs import DegradedPairs
from anyfuse.training.recipes import RECIPES
from anyfuse.training.strategies.latent import plan_vectors

TARGET = "anyfuse"
"""The default model. `mmaif-tiny-flow` learned from its first version, so its figures are a little low."""
SIDE = 128
FAULTS: DegradationPlan = (Step("gaussian_noise", 0.5), Step("low_contrast", 0.5))


class HeldOut(DegradedPairs):
    """Pairs of held-out files alone, made when asked for: no pool."""

    def fill(self, key: list[Any], model: Any, folder: Path, device: str, log: Callable[[str], None]) -> list[Any]:
        return []

    def made(self, each: int, clean: bool) -> tuple[Tensor, list[tuple[DegradationPlan, ...]]]:
        """`each` pairs per task: planes as `pair` has them (P, 5, S, S), rounded to 8 bits, and what was done
        to them
        """
        self.train, self.clean = self.held, 1.1 if clean else 0.0
        teacher = load_model(TARGET)
        first = self.count // len(self.tasks) + 1  # past the pool, so other draws
        found = [
            self.pair((first + k) * len(self.tasks) + turn, teacher, "cpu")
            for turn in range(len(self.tasks))
            for k in range(each)
        ]
        return (torch.stack([x for x, _ in found]) * 255).round() / 255, [plans for _, plans in found]


def psnr(fused: Tensor, goal: Tensor) -> float:
    """dB, mean over images (B, H, W) in [0, 1]"""
    wrong = (fused - goal).square().mean((1, 2)).clamp_min(1e-8)
    return float((-10 * wrong.log10()).mean())


def fuse(model: MMAIF, pairs: Tensor, text: Tensor | None) -> Tensor:
    """(P, 2, H, W) -> (P, H, W)"""
    instructions = [None] * len(pairs) if text is None else list(text.split(1))
    return torch.cat([model(x[None, :, None], condition=t).mean(1) for x, t in zip(pairs, instructions, strict=True)])


def seconds(model: MMAIF) -> float:
    pair, steps = torch.rand(1, 2, 1, 480, 640), model.steps
    model.steps = 1
    model(pair)
    model.steps, begin = steps, time.perf_counter()
    model(pair)
    return time.perf_counter() - begin


def quality(models: dict[str, MMAIF], data: HeldOut, each: int, steps: list[int]) -> None:
    (bad, plans), (good, _) = data.made(each, False), data.made(each, True)
    torch.manual_seed(0)  # for the wording of the instructions
    instructions = plan_vectors(plans)
    print(
        f"| model | steps | degraded, of {len(bad)} | clean, of {len(good)} | seconds |\n| --- | ---: | ---: | ---: "
        "| ---: |"
    )
    for name, model in models.items():
        for count in steps if model.config.flow else [1]:
            model.steps = count
            cells = []
            for pairs, text in ((bad, instructions), (good, None)):
                fused = fuse(model, pairs[:, :2], text)
                cells.append(f"{psnr(fused, pairs[:, 4]):.2f} / {float(ssim_map(fused, pairs[:, 4]).mean()):.3f}")
            print(f"| {name} | {count} | {cells[0]} | {cells[1]} | {seconds(model):.2f} |", flush=True)
        model.steps = model.config.steps
    teacher = load_model(TARGET)
    cells = []
    for pairs in (bad, good):
        fused = torch.cat([teacher(x[None, :2, None])[:, 0] for x in pairs])
        cells.append(f"{psnr(fused, pairs[:, 4]):.2f} / {float(ssim_map(fused, pairs[:, 4]).mean()):.3f}")
    print(f"| anyfuse | | {cells[0]} | {cells[1]} | |\n")


def sizes(models: dict[str, MMAIF], data: HeldOut) -> None:
    teacher = load_model(TARGET)
    groups = [*data.held["ivf"], *data.held["mef"]]
    stacks = [torch.from_numpy(x).float() / 255 for group in groups for x in group if min(x.shape[1:]) >= 5 * SIDE // 2]
    if not stacks:
        print(f"no held-out pair has {5 * SIDE // 2} pixels on both sides\n")
        return
    wanted = [SIDE, 2 * SIDE, 10**6]
    rows: dict[str, list[list[float]]] = {name: [[] for _ in wanted] for name in models}
    for index, stack in enumerate(stacks):
        clean = stack[:, : stack.shape[1] // 32 * 32, : stack.shape[2] // 32 * 32]  # what both models ask for
        bad = torch.cat([apply(x[None], FAULTS, index, source=k)[0] for k, x in enumerate(clean)])
        goal = teacher(clean[None, :, None])[:, 0]
        text = plan_vectors([(FAULTS, FAULTS)])
        for name, model in models.items():
            for place, side in enumerate(wanted):
                part, middle = centre(bad, side), centre(goal, SIDE)
                fused = centre(fuse(model, part[None], text), SIDE)
                rows[name][place].append(psnr(fused, middle))
    heads = " | ".join([f"{side}" for side in wanted[:-1]] + ["whole"])
    print(f"PSNR of the middle {SIDE}x{SIDE} of {len(stacks)} pairs, by the size of the image it lies in\n")
    print(f"| model | {heads} |\n| --- |" + " ---: |" * len(wanted))
    for name, found in rows.items():
        print(f"| {name} | " + " | ".join(f"{sum(x) / len(x):.2f}" for x in found) + " |", flush=True)
    print()


def centre(x: Tensor, side: int) -> Tensor:
    """The middle of (..., H, W), `side` pixels at most, from a multiple of 16 on."""
    for dim in (-2, -1):
        size = x.shape[dim]
        if size > side:
            x = x.narrow(dim, (size - side) // 2 // 16 * 16, side)
    return x


def experts(models: dict[str, MMAIF], data: HeldOut, each: int) -> None:
    bad, plans = data.made(each, False)
    torch.manual_seed(0)  # for the wording of the instructions
    instructions = plan_vectors(plans)
    print("| model | layer | shares of the experts |\n| --- | ---: | --- |")
    for name, model in models.items():
        if not model.config.moe:
            continue
        loads = []
        for pair, text in zip(bad[:, :2], instructions.split(1), strict=True):
            latents = model.encode(pair[None, :, None])
            if model.config.flow:  # halfway between noise and the result
                now = 0.5 * model.predict(latents, text).latents + 0.5 * torch.randn(1, 16, *latents.shape[-2:])
                loads.append(model.dit(torch.cat([now, latents], 1), torch.tensor([0.5]), text).load)
            else:
                loads.append(model.dit(latents, None, text).load)
        for layer, shares in enumerate(torch.stack(loads).mean(0).tolist(), 1):
            print(f"| {name} | {layer} | {', '.join(f'{x:.2f}' for x in shares)} |")
    print()


@torch.inference_mode()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="training data")
    parser.add_argument("--models", default="mmaif-tiny", help="names or folders, comma-separated")
    parser.add_argument("--pairs", type=int, default=32, help="per task")
    parser.add_argument("--steps", default="1,4,8,20", help="of flows")
    parser.add_argument("--sections", default="quality,size,experts")
    args = parser.parse_args(argv)
    models: dict[str, MMAIF] = {}
    for name in args.models.split(","):
        model = load_model(name)
        if not isinstance(model, MMAIF):
            raise SystemExit(f"{name}: is no MMAIF")
        models[name] = model
    recipe = RECIPES["mmaif-tiny"]
    data = HeldOut(args.data, recipe, next(iter(models.values())), Path())
    wanted = args.sections.split(",")
    if "quality" in wanted:
        quality(models, data, args.pairs, [int(s) for s in args.steps.split(",")])
    if "size" in wanted:
        sizes(models, data)
    if "experts" in wanted:
        experts(models, data, args.pairs)


if __name__ == "__main__":
    main()
