"""Brightness matching of focus stacks, measured for `alignment.py`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from alignment_sets import STACKS, UNTOUCHED, luma, pairs_of
from torch import Tensor

from anyfuse import Fuser
from anyfuse.align.brightness import match_brightness
from anyfuse.align.full import scene_of
from anyfuse.data.synthetic import focus_scene
from anyfuse.image.frame import Frame
from anyfuse.image.random import uniform
from anyfuse.io.frames import from_arrays
from anyfuse.io.read import read_image
from anyfuse.metrics.saliency import sharp_share


def changing_light(data: Path, count: int) -> None:
    """Made focus stacks whose light changes: share of the pixels taken from the sharper frame, and distance in levels
    from what the frames in steady light give.
    """
    heads = "| light of the frames | stacks | steady | changing | matched | off, changing | off, matched |"
    print(f"\n{heads}\n|---|---:|---:|---:|---:|---:|---:|", flush=True)
    fuser = Fuser()
    paths = sorted((data / "train" / "natural").iterdir())[9::10]
    kinds = (("gains", 2, "gain"), ("vignettes", 2, "bowl"), ("both", 2, "both"), ("both, 5 frames", 5, "both"))
    for name, n, kind in kinds:
        gen, rows = torch.Generator().manual_seed(4), []
        for path in paths[:count]:
            steady, layer = focus_scene(luma(path)[:320, :320], n, gen)
            frames = [levels(x) for x in steady]
            dim = [frames[0], *(levels(x * light(kind, *x.shape, gen)) for x in steady[1:])]
            fused = [fuser.run(frames, deghost="off"), fuser.run(dim, deghost="off"), fuser.run(dim)]
            found = torch.stack([torch.from_numpy(one.pixels.astype(float)) for one in fused]).squeeze(-1)
            sources = torch.from_numpy(np.stack(frames).astype(float))
            shares = [float(sharp_share(one[None], sources[None], layer[None])) for one in found]
            rows.append([*shares, *((one - found[0]).abs().mean().item() for one in found[1:])])
        means = [f"{v:.3f}" for v in torch.tensor(rows).nanmean(0).tolist()]
        print(f"| {name} | {len(rows)} | {' | '.join(means)} |", flush=True)


def other_light(data: Path, count: int) -> None:
    """Brackets and pairs of different sensors: none may be matched; and stacks whose light changes."""
    tried = wrong = 0
    for name in ("mef-hdrps", "mef-empa", "mef-sice", "mef-iccv17", "mef-merianos"):
        for folder in sorted(p for p in (data / "train" / name).iterdir() if p.is_dir())[: 5 * count]:
            frames = [read_image(p) for p in sorted(folder.iterdir()) if p.suffix.lower() in {".jpg", ".png"}]
            for some in (frames, *(frames[k : k + n] for n in (2, 3) for k in range(len(frames) - n + 1))):
                tried += 1
                wrong += bool(match_brightness(some)[1])
    for folders in UNTOUCHED.values():
        if folders != UNTOUCHED["focus"]:
            for _, *files in pairs_of(data, folders, 2 * count):
                grey = from_arrays([levels(luma(path)) for path in files])
                tried += 2
                wrong += sum(bool(match_brightness(some)[1]) for some in ([read_image(path) for path in files], grey))
    print(f"\nBrackets and other sensors: {wrong} of {tried} matched\n", flush=True)
    print("| stack | frames | matched | levels off | matched | seconds |\n|---|---:|---:|---:|---:|---:|", flush=True)
    stacks = {f"focus, {name}": (one, two) for name, one, two in pairs_of(data, UNTOUCHED["focus"], 9999)}
    stacks |= {name: tuple(sorted((data / "align" / STACKS[name]).iterdir())) for name in ("flies", "noah28")}
    for name, files in stacks.items():
        frames = [read_image(path) for path in files]
        start = time.process_time()
        out, done = match_brightness(frames)
        seconds = time.process_time() - start
        if done:
            off = [sum(brightness_off(some[0], f) for f in some[1:]) / (len(some) - 1) for some in (frames, out)]
            print(f"| {name} | {len(frames)} | {len(done)} | {off[0]:.2f} | {off[1]:.2f} | {seconds:.2f} |", flush=True)


def brightness_off(a: Frame, b: Frame) -> float:
    """Mean distance in levels of means over 16x16 pixels at 320 to 640."""
    one, other = (torch.nn.functional.avg_pool2d(scene_of(f, 320).luma[None, None], 16) for f in (a, b))
    return 255 * float((one - other).abs().mean())


def light(kind: str, height: int, width: int, gen: torch.Generator) -> Tensor:
    """(H, W) factors: 0.7 to 1.2 for a frame, or 1 in the middle and 0.7 to 1.2 in the corners, or both."""
    ys, xs = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    gain, rim = uniform(0.7, 1.2, gen), uniform(0.7, 1.2, gen)
    bowl = 1 + (rim - 1) * (ys**2 + xs**2) / 2
    return {"gain": torch.full_like(bowl, gain), "bowl": bowl, "both": (1 + gain) / 2 * bowl}[kind]


def levels(x: Tensor) -> np.ndarray:
    """(H, W) in [0, 1] as 8 bits."""
    return np.asarray((x.clamp(0, 1) * 255).round().byte().numpy())
