"""Alignment, measured: known motions of training pairs, and real pairs with landmarks.

    python experiments/alignment.py --data DATA

DATA holds `train` and `align` (docs/alignment.md). Error: mean distance in pixels of a 9x9 grid to the known motion, or
median distance of the landmarks. Sets whose pairs are not brought together themselves have a floor of some pixels.
Known motions are measured against the answer on the untouched pair, so a pair that is not aligned does no harm.

Further tables: pairs that are said to be aligned, pairs of different scenes, stacks of a camera in motion, thermal
images with the tags of their camera, and the time of large images. With OpenCV, its SIFT and its ECC stand beside ours.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyfuse import Fuser
from anyfuse.align.brightness import match_brightness
from anyfuse.align.estimate import Alignment, Scene, estimate, estimate_scenes
from anyfuse.align.field import agreement, field
from anyfuse.align.full import scene_of
from anyfuse.align.information import normalised_mutual_information as shared
from anyfuse.align.local import View, estimate_local
from anyfuse.align.stage import Align, align_frames
from anyfuse.align.transform import apply, warp
from anyfuse.data.synthetic import focus_scene
from anyfuse.image.colour import to_luma
from anyfuse.image.frame import Frame
from anyfuse.image.metadata import Inset, Metadata
from anyfuse.image.random import smooth_field, uniform
from anyfuse.io.folders import pair_by_stem
from anyfuse.io.frames import from_arrays
from anyfuse.io.read import read_image
from anyfuse.metrics.saliency import sharp_share

KNOWN = {
    "exposures": ("train/mef/under", "train/mef/over"),
    "visible + infrared, RoadScene": ("train/ivif/vis", "train/ivif/ir"),
    "visible + infrared, LLVIP": ("train/ivif-llvip/vis", "train/ivif-llvip/ir"),
    "visible + near infrared": ("train/nir-epfl/vis", "train/nir-epfl/ir"),
    "exposures, MEFB": ("test/mef-mefb/under", "test/mef-mefb/over"),
    "focus": ("test/mff-mfifb/a", "test/mff-mfifb/b"),
}
UNTOUCHED = {
    "exposures": KNOWN["exposures"],
    "exposures, MEFB": KNOWN["exposures, MEFB"],
    "focus": KNOWN["focus"],
    "CT + MRI": ("test/mif-harvard/ct-mri/ct", "test/mif-harvard/ct-mri/mri"),
    "PET + MRI": ("test/mif-harvard/pet-mri/pet", "test/mif-harvard/pet-mri/mri"),
    "SPECT + MRI": ("test/mif-harvard/spect-mri/spect", "test/mif-harvard/spect-mri/mri"),
    "visible + infrared, RoadScene": ("test/ivif-roadscene/vis", "test/ivif-roadscene/ir"),
}
STACKS = {"handheld": "exposure/handheld", "pcb": "focus/pcb", "flies": "focus/flies", "noah28": "focus/noah28"}
TRUTH = ("vis_ir", "rgb_nir", "mr_pet", "pd_t1", "t1_t2")
HEAD = "| set | pairs | < 1 px | < 2 px | < 5 px | left alone | worse by 0.5 px | median | seconds |"
LINE = "|---|---:|---:|---:|---:|---:|---:|---:|---:|"


def luma(path: Path, side: int = 0) -> Tensor:
    """(H, W) in [0, 1], its longer side made `side` at most."""
    image = to_luma(read_image(path).read())[0]
    factor = min(1.0, side / max(image.shape)) if side else 1.0
    if factor == 1.0:
        return image
    size = [round(v * factor) for v in image.shape]
    return torch.nn.functional.interpolate(image[None, None], size, mode="bilinear", antialias=True)[0, 0]


def motion(height: int, width: int, gen: torch.Generator) -> Tensor:
    """Up to 25 pixels, 3 degrees, 8 % and a little perspective."""
    turn, scale = math.radians(uniform(-3, 3, gen)), uniform(0.92, 1.08, gen)
    matrix = torch.eye(3, dtype=torch.float64)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    matrix[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    matrix[:2, 2] += torch.tensor([uniform(-25, 25, gen), uniform(-25, 25, gen)])
    tilt = torch.eye(3, dtype=torch.float64)
    tilt[2, 0], tilt[2, 1] = uniform(-0.06, 0.06, gen) / width, uniform(-0.06, 0.06, gen) / height
    return matrix @ tilt


def distance(one: Tensor, other: Tensor, height: int, width: int) -> float:
    """Mean over a 9x9 grid."""
    ys, xs = torch.meshgrid(torch.linspace(0, height - 1, 9), torch.linspace(0, width - 1, 9), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten()], 1).double()
    return float((apply(one, points) - apply(other, points)).norm(dim=1).mean())


def row(name: str, found: Iterable[tuple[float, float, bool, float]]) -> str:
    """error, error before, left alone, seconds of each pair -> a line of the table"""
    errors, before, alone, seconds = (torch.tensor(x, dtype=torch.float64) for x in zip(*found, strict=True))
    shares = [f"{100 * float((errors < limit).double().mean()):.0f} %" for limit in (1, 2, 5)]
    worse = int((errors > before + 0.5).sum())
    counts = [*shares, int(alone.sum()), worse, f"{float(errors.median()):.2f}", f"{float(seconds.mean()):.2f}"]
    return f"| {name} | {len(errors)} | {' | '.join(map(str, counts))} |"


def ours(a: Tensor, b: Tensor, valid: Tensor | None) -> Alignment:
    """The answer of the package."""
    return estimate(a, b, valid=(None, valid))


def known(
    first: Path, second: Path, count: int, method: Callable[[Tensor, Tensor, Tensor | None], Alignment] = ours
) -> list[tuple[float, float, bool, float]]:
    """Pairs of a set, the second image moved; against the answer on the pair as it is."""
    gen, found = torch.Generator().manual_seed(0), []
    pairs = list(pair_by_stem([str(first), str(second)])[0].values())
    for one, two in pairs[:: max(1, len(pairs) // count)][:count]:
        a, b = luma(Path(one), 640), luma(Path(two), 640)
        if a.shape != b.shape:
            continue
        true = motion(*a.shape, gen)
        moved, valid = warp(b[None], torch.linalg.inv(true), *a.shape, "bicubic")
        own = method(a, b, None)
        start = time.process_time()
        answer = method(a, moved[0], valid)
        seconds = time.process_time() - start
        goal = true @ own.matrix
        errors = [distance(m, goal, *a.shape) for m in (answer.matrix, torch.eye(3, dtype=torch.float64))]
        found.append((errors[0], errors[1], answer.kind == "none", seconds))
    return found


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


def landmarks(folder: Path) -> list[tuple[float, float, bool, float]]:
    """Pairs with landmarks."""
    found = []
    for path in sorted(folder.glob("*.json")):
        files = {part: next(folder.glob(f"{path.stem}_{part}*"), None) for part in ("fix", "mov")}
        if None in files.values():
            continue
        truth = json.loads(path.read_text())
        fixed, moving = (
            torch.tensor(truth["landmarks"][k], dtype=torch.float64) * truth.get("scale", 1.0)
            for k in ("LMfix", "LMmov")
        )
        start = time.process_time()
        answer = estimate(*(luma(p) for p in files.values() if p is not None))
        seconds = time.process_time() - start
        errors = [float((p - moving).norm(dim=1).median()) for p in (apply(answer.matrix, fixed), fixed)]
        found.append((errors[0], errors[1], answer.kind == "none", seconds))
    return found


def pairs_of(data: Path, folders: tuple[str, str], count: int) -> list[tuple[str, Path, Path]]:
    """Name and files of some pairs of a set."""
    pairs = list(pair_by_stem([str(data / one) for one in folders])[0].items())
    return [(name, Path(one), Path(two)) for name, (one, two) in pairs[:: max(1, len(pairs) // count)][:count]]


def untouched(data: Path, count: int) -> None:
    """What `auto` does to pairs that are said to be aligned."""
    print("\n| said to be aligned | pairs | moved | largest | not sure |\n|---|---:|---:|---:|---:|", flush=True)
    for name, folders in UNTOUCHED.items():
        moves, unsure = [], 0
        found = pairs_of(data, folders, count)
        for _, one, two in found:
            _, steps = align_frames([read_image(one), read_image(two)], Align("auto"))
            unsure += not steps[1].trusted
            moves.append(steps[1].shift if steps[1].kind != "none" else 0.0)
        print(f"| {name} | {len(found)} | {sum(m > 0 for m in moves)} | {max(moves):.1f} | {unsure} |", flush=True)


def strangers(data: Path, count: int) -> None:
    """Pairs of different scenes; none may be accepted. LLVIP is left out: its cameras do not move."""
    tried = accepted = 0
    for name, folders in KNOWN.items():
        if "LLVIP" in name:
            continue
        found = pairs_of(data, folders, count)
        for k, (_, one, _) in enumerate(found):
            for apart in (1, 2, 3):
                a, b = luma(one, 640), luma(found[(k + apart) % len(found)][2], 640)
                if a.shape == b.shape:
                    tried += 1
                    accepted += estimate(a, b).kind != "none"
    print(f"\nDifferent scenes: {accepted} of {tried} pairs accepted", flush=True)


def stacks(data: Path) -> None:
    """Agreement of the edges of neighbours in stacks of a camera in motion, before and after."""
    print("\n| stack | images | before | after | lowest after | seconds |\n|---|---:|---:|---:|---:|---:|", flush=True)
    for name, folder in STACKS.items():
        frames = [read_image(path) for path in sorted((data / "align" / folder).iterdir())]
        start = time.process_time()
        moved, _ = align_frames(frames, Align("auto"), len(frames) // 2)
        seconds = time.process_time() - start
        both = [[agreement(*(field(at640(f)) for f in two)) for two in pairwise(some)] for some in (frames, moved)]
        means = " | ".join(f"{sum(one) / len(one):.3f}" for one in both)
        print(f"| {name} | {len(frames)} | {means} | {min(both[1]):.3f} | {seconds:.1f} |", flush=True)


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


def at640(frame: Frame) -> Tensor:
    """Luma with a longer side of 640 pixels at most."""
    return scene_of(frame, 640).luma


def tagged(folder: Path) -> None:
    """Thermal images with the tags of their camera, in the photographs of the same camera."""
    print("\n| thermal in photograph | agreement by tags | refined | |\n|---|---:|---:|---|", flush=True)
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text())
        inset = Inset(said["Real2IR"], said["OffsetX"], said["OffsetY"], said["EmbeddedImageWidth"])
        photo = read_image(next(folder.glob(f"{path.stem}_vis*")))
        thermal = replace(read_image(next(folder.glob(f"{path.stem}_ir*"))), metadata=Metadata(inset=inset))
        scores, kind = [], ""
        for mode in ("tags", "auto"):
            (one, two), steps = align_frames([thermal, photo], Align(mode))
            scores.append(agreement(field(at640(one)), field(at640(two))))
            kind = steps[1].kind
        print(f"| {path.stem} | {scores[0]:.3f} | {scores[1]:.3f} | {kind} |", flush=True)


def large(path: Path, count: int = 4) -> None:
    """Frames of 12 megapixels under known motions and exposures."""
    planes = read_image(path).read()
    planes = torch.nn.functional.interpolate(planes[None], (3000, 4000), mode="bicubic", antialias=True)[0].clamp(0, 1)
    gen, arrays, true = torch.Generator().manual_seed(0), [], []
    for k in range(count):
        true.append(motion(3000, 4000, gen) if k else torch.eye(3, dtype=torch.float64))
        seen = warp(planes, torch.linalg.inv(true[k]), 3000, 4000, "bicubic")[0].clamp(0, 1) * (1.0, 0.5, 0.25)[k % 3]
        arrays.append(seen.mul(255).round().byte().permute(1, 2, 0).numpy())
    start = time.process_time()
    _, steps = align_frames(from_arrays(arrays), Align("auto"))
    seconds = (time.process_time() - start) / (count - 1)
    errors = [distance(torch.tensor(s.matrix).double(), m, 3000, 4000) for s, m in zip(steps, true, strict=True)]
    print(f"\n12 megapixels: {seconds:.1f} s an image, largest error {max(errors):.2f} px", flush=True)


def opencv(data: Path, count: int) -> None:
    """SIFT with MAGSAC, and ECC, on the known motions."""
    try:
        import cv2
        import numpy as np
    except ImportError:
        return
    eye = torch.eye(3, dtype=torch.float64)

    def sift(a: Any, b: Any) -> Any:
        found = [cv2.SIFT_create(4000).detectAndCompute(image, None) for image in (a, b)]
        two = [m for m in cv2.BFMatcher().knnMatch(found[0][1], found[1][1], k=2) if len(m) == 2]
        good = [m for m, n in two if m.distance < 0.8 * n.distance]
        points = [np.float32([f[0][i].pt for i in ids]) for f, ids in zip(found, _ends(good), strict=True)]
        return cv2.findHomography(*points, cv2.USAC_MAGSAC, 3.0)[0]

    def ecc(a: Any, b: Any) -> Any:
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
        return cv2.findTransformECC(a, b, np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria, None, 5)[1]

    def by(method: Any) -> Any:
        def answer(a: Tensor, b: Tensor, valid: Tensor | None) -> Alignment:
            images = [(x.clamp(0, 1) * 255).round().byte().numpy() for x in (a, b)]
            try:
                matrix = method(*images)
            except cv2.error:
                matrix = None
            found = eye if matrix is None else torch.from_numpy(np.asarray(matrix, np.float64))
            return Alignment(found, "none" if matrix is None else "homography", 0.0, 0.0, 0.0, 0.0, True)

        return answer

    for label, method in (("SIFT + MAGSAC", sift), ("ECC homography", ecc)):
        print(f"\n{label} of OpenCV\n{HEAD}\n{LINE}", flush=True)
        for name, (first, second) in KNOWN.items():
            print(row(name, known(data / first, data / second, count, by(method))), flush=True)


def _ends(matches: list[Any]) -> tuple[list[int], list[int]]:
    return [m.queryIdx for m in matches], [m.trainIdx for m in matches]


WITNESSED = {
    "test/ivif-roadscene": ("vis", "ir", 45),
    "test/mff-mfifb": ("b", "a", 30),
    "test/mef-mefb": ("over", "under", 49),
    "train/ivif-llvip": ("vis", "ir", 20),
    "train/nir-epfl": ("vis", "ir", 20),
    "train/ivif-misc": ("vis", "ir", 10),
    "test/mif-harvard/ct-mri": ("mri", "ct", 24),
    "test/mif-harvard/pet-mri": ("mri", "pet", 24),
    "test/mif-harvard/spect-mri": ("mri", "spect", 24),
}
"""Folder -> reference, other image, and how many pairs."""


def witness(data: Path) -> None:
    """Of the pairs that `auto` moves: in how many the mutual information at full size, with 48 levels, rises."""
    for name, (first, second, count) in WITNESSED.items():
        pairs = list(pair_by_stem([data / name / folder for folder in (first, second)])[0].values())
        pairs = pairs[:: max(1, len(pairs) // count)][:count]
        gains = []
        for files in pairs:
            frames = [read_image(file) for file in files]
            moved = align_frames(frames, Align("auto", keep_frame=True))[0][1]
            if moved is not frames[1]:
                where = moved.cover()[0] > 0.99
                reference, before, after = (to_luma(frame.read())[0] for frame in (*frames, moved))
                gains.append(shared(reference, after, where, 48) - shared(reference, before, where, 48))
        print(f"{name}: {len(gains)} of {len(pairs)} moved, shared information rises in {sum(g > 0 for g in gains)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--count", type=int, default=12, help="pairs of each set")
    parser.add_argument("--opencv", action="store_true", help="measure OpenCV too")
    parser.add_argument("--witness", action="store_true", help="only look at mutual information")
    parser.add_argument("--local", action="store_true", help="only measure local displacements")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.local:
        local_warps(args.data, args.count)
        local_truth(args.data)
        return
    if args.witness:
        witness(args.data)
        return
    print(f"{HEAD}\n{LINE}", flush=True)
    for name, (first, second) in KNOWN.items():
        print(row(name, known(args.data / first, args.data / second, args.count)), flush=True)
    for name in TRUTH:
        print(row(f"{name}, landmarks", landmarks(args.data / "align" / name)), flush=True)
    untouched(args.data, 2 * args.count)
    strangers(args.data, args.count)
    stacks(args.data)
    changing_light(args.data, args.count)
    other_light(args.data, args.count)
    tagged(args.data / "align" / "flir")
    local_warps(args.data, args.count)
    local_truth(args.data)
    large(args.data / "align" / "exposure" / "handheld" / "01.jpg")
    if args.opencv:
        opencv(args.data, args.count)


if __name__ == "__main__":
    main()
