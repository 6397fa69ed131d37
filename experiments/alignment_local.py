"""Local displacements, measured for `alignment.py --local`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from alignment_sets import KNOWN, STACKS, at640, luma, pairs_of
from torch import Tensor

from anyfuse.align.estimate import Scene, estimate_scenes
from anyfuse.align.field import agreement, field
from anyfuse.align.local import View, estimate_local
from anyfuse.align.stage import Align, align_frames
from anyfuse.align.transform import apply
from anyfuse.image.random import smooth_field, uniform
from anyfuse.io.read import read_image


def bent_by(height: int, width: int, gen: torch.Generator) -> Tensor:
    """(2, H, W): a smooth displacement of up to 4 pixels, with features of a fifth of the side."""
    planes = torch.stack([smooth_field(height, width, max(height, width) // 5, gen) for _ in range(2)])
    return planes / planes.norm(dim=0).max() * 4


def sampled(planes: Tensor, points: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """Planes (C, h, w) over an image of a shape (None: their own) at points (K, 2) of its pixels -> (K, C)"""
    height, width = shape or (planes.shape[1], planes.shape[2])
    grid = ((2 * points + 1) / torch.tensor([width, height]) - 1)[None, None].float()
    seen = torch.nn.functional.grid_sample(
        planes[None].float(), grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    return seen[0, :, 0].T.double()


def grid_points(height: int, width: int, count: int = 0, border: float = 0.03) -> Tensor:
    """(K, 2): count x count points within the border; 0: all pixels."""
    if count:
        axes = [torch.linspace(border * side, (1 - border) * side - 1, count) for side in (height, width)]
    else:
        axes = [torch.arange(side) for side in (height, width)]
    ys, xs = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([xs.flatten(), ys.flatten()], 1).double()


def bent_coordinates_of(points: Tensor, shift: Tensor, bend: Tensor) -> Tensor:
    """Where points (K, 2) of an image lie once it is bent by `bent` and shifted."""
    start = points
    for _ in range(20):
        start = points - sampled(bend, start)
    return start + shift


def bent_image(image: Tensor, shift: Tensor, bend: Tensor) -> tuple[Tensor, Tensor]:
    """The image (H, W), bent and shifted, and where it is valid."""
    height, width = image.shape
    back = grid_points(height, width) - shift
    back = back + sampled(bend, back)
    inside = ((back >= 0) & (back <= torch.tensor([width - 1.0, height - 1.0]))).all(1).float()
    return sampled(image[None], back)[:, 0].float().clamp(0, 1).view(height, width), inside.view(height, width)


def local_answers(a: Tensor, b: Tensor, valid: Tensor | None) -> tuple[list[Callable[[Tensor], Tensor]], Tensor | None]:
    """Maps of points of a to b: by the homography alone, and with the local displacement; and that."""
    one, other = Scene(a, None), Scene(b, valid)
    answer = estimate_scenes(one, other)
    bend = None
    if answer.trusted:
        eye = torch.eye(3, dtype=torch.float64)
        bend = estimate_local(one.shape, View(one, eye), View(other, answer.matrix))

    def plain(points: Tensor) -> Tensor:
        return apply(answer.matrix, points)

    def local(points: Tensor) -> Tensor:
        return plain(points if bend is None else points + sampled(bend, points, one.shape))

    return [plain, local], bend


def local_warps(data: Path, count: int) -> None:
    """Smooth warps of the second image: error of the homography, and with local displacements, each against its own
    answer on the pair as it is; and what local displacements do to that.
    """
    heads = "| set | pairs | homography | local | mean | mean, local | worse by 0.5 px | as they are: moved | largest |"
    print(f"\n{heads}\n|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, (first, second) in KNOWN.items():
        gen, rows, idle = torch.Generator().manual_seed(1), [], []
        for _, one, two in pairs_of(data, (first, second), count):
            a, b = luma(one, 640), luma(two, 640)
            if a.shape != b.shape:
                continue
            height, width = a.shape
            bend = bent_by(height, width, gen)
            shift = torch.tensor([uniform(-8, 8, gen), uniform(-8, 8, gen)], dtype=torch.float64)
            own, still = local_answers(a, b, None)
            found, _ = local_answers(a, *bent_image(b, shift, bend))
            points, errors = grid_points(height, width, 17), []
            for before, after in zip(own, found, strict=True):
                goal = bent_coordinates_of(before(points), shift, bend)
                seen = ((goal > 4) & (goal < torch.tensor([width - 5.0, height - 5.0]))).all(1)
                errors.append((after(points) - goal)[seen].norm(dim=1))
            rows.append([float(v) for e in errors for v in (e.median(), e.mean())])
            idle.append(0.0 if still is None else float(still.norm(dim=0).max()))
        table = torch.tensor(rows)
        medians = table.median(0).values.tolist()
        worse = int((table[:, 3] > table[:, 1] + 0.5).sum())
        counts = [f"{medians[k]:.2f}" for k in (0, 2, 1, 3)] + [str(worse), str(sum(v > 0 for v in idle))]
        print(f"| {name} | {len(rows)} | {' | '.join(counts)} | {max(idle):.1f} |", flush=True)


def local_truth(data: Path) -> None:
    """Landmarks, and agreement of the edges of neighbours, with a homography and with local displacements."""
    print("\n| landmarks | pairs | homography | local | worse by 0.5 px |\n|---|---:|---:|---:|---:|", flush=True)
    for name in ("vis_ir", "rgb_nir", "retina", "sat_ir", "pd_t1", "t1_t2"):
        rows = []
        for path in sorted((data / "align" / name).glob("*.json")):
            truth = json.loads(path.read_text())
            fixed, moving = (
                torch.tensor(truth["landmarks"][k], dtype=torch.float64) * truth.get("scale", 1.0)
                for k in ("LMfix", "LMmov")
            )
            a, b = (luma(next(path.parent.glob(f"{path.stem}_{part}*"))) for part in ("fix", "mov"))
            if a.shape == b.shape:
                maps, _ = local_answers(a, b, None)
                rows.append([float((m(fixed) - moving).norm(dim=1).median()) for m in maps])
        if rows:
            table = torch.tensor(rows)
            worse = int((table[:, 1] > table[:, 0] + 0.5).sum())
            medians = " | ".join(f"{v:.2f}" for v in table.median(0).values.tolist())
            print(f"| {name} | {len(rows)} | {medians} | {worse} |", flush=True)
    print("\n| stack | homography | local | largest | seconds | local |\n|---|---:|---:|---:|---:|---:|", flush=True)
    for name, folder in {**STACKS, "stack_ghost": "exposure/stack_ghost"}.items():
        frames = [read_image(path) for path in sorted((data / "align" / folder).iterdir())]
        scores, seconds, largest = [], [], 0.0
        for mode in ("homography", "local"):
            start = time.process_time()
            moved, steps = align_frames(frames, Align(mode, keep_frame=True), len(frames) // 2)
            seconds.append(time.process_time() - start)
            scores.append([agreement(*(field(at640(f)) for f in two)) for two in pairwise(moved)])
            largest = max([largest, *(step.local.facts["largest"] for step in steps if step.local is not None)])
        means = " | ".join(f"{sum(one) / len(one):.3f}" for one in scores)
        print(f"| {name} | {means} | {largest:.1f} | {seconds[0]:.1f} | {seconds[1]:.1f} |", flush=True)
