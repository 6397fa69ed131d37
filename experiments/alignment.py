"""Alignment, measured: known motions of pairs, and real pairs with landmarks; ours beside other libraries.

    python experiments/alignment.py --data DATA [--known | --check | --local | --witness]

DATA holds `train`, `test` and `align` (docs/alignment.md). Error: mean distance in pixels of a 9x9 grid to the known
motion, or median distance of the landmarks. Sets whose pairs are not brought together themselves have a floor of some
pixels. Known motions are measured against the answer on the untouched pair, so a pair that is not aligned does no
harm. A pair that is left alone because too little would move has no answer: there, the search without that rule gives
it. The last column has the share against the pair as it is left. Every other pair, from the first, was used to choose
thresholds; the rest are 'unseen'. In brackets: the 95 % interval (Wilson).

With OpenCV and SimpleITK, SIFT, ECC and mutual information stand beside ours, on the same motions. Further
tables: pairs that are said to be aligned, pairs of different scenes, stacks of a camera in motion, thermal images with
the tags of their camera, and the time of aligned pairs and of large images.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from alignment_light import changing_light, other_light
from alignment_local import local_truth, local_warps
from alignment_others import Method, others
from alignment_sets import KNOWN, STACKS, UNTOUCHED, at640, distance, luma, motion, pairs_of
from torch import Tensor

from anyfuse import Fuser
from anyfuse.align.estimate import Alignment, Scene, estimate, refined
from anyfuse.align.field import agreement, field
from anyfuse.align.information import normalised_mutual_information as shared
from anyfuse.align.slices import estimate_slices
from anyfuse.align.stage import Align, align_frames
from anyfuse.align.transform import apply, warp
from anyfuse.image.colour import to_luma
from anyfuse.image.metadata import Inset, Metadata
from anyfuse.io.folders import pair_by_stem
from anyfuse.io.frames import from_arrays
from anyfuse.io.read import read_image

HEAD = (
    "| set | pairs | < 1 px | < 2 px | < 5 px | left alone | worse by 0.5 px | median | seconds | as left, < 1, < 2 |"
)
LINE = "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
FEW = 12  # pairs of each set in the other tables, at most
TRUTH = ("vis_ir", "rgb_nir", "mr_pet", "pd_t1", "t1_t2")
EYE = torch.eye(3, dtype=torch.float64)


@dataclass(frozen=True)
class Found:
    """How well a method did on one pair."""

    error: float  # pixels
    before: float  # pixels without a transform
    alone: bool  # whether the pair was left alone
    seconds: float  # of processor time
    left: float = math.nan  # pixels, against the pair as it was left


def interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson)."""
    z = 1.96
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - reach) / (1 + z * z / count), (middle + reach) / (1 + z * z / count)


def row(name: str, found: Sequence[Found]) -> str:
    """A line of the table."""
    errors, before, left = (torch.tensor([getattr(one, k) for one in found]) for k in ("error", "before", "left"))
    shares = []
    for limit in (1, 2, 5):
        share = float((errors < limit).double().mean())
        low, high = interval(share, len(found))
        shares.append(f"{100 * share:.0f} %" + (f" ({100 * low:.0f} to {100 * high:.0f})" if limit < 5 else ""))
    worse, alone = int((errors > before + 0.5).sum()), sum(one.alone for one in found)
    seconds = sum(one.seconds for one in found) / len(found)
    counts = [*shares, alone, worse, f"{float(errors.median()):.2f}", f"{seconds:.2f}"]
    as_left = (
        "" if left.isnan().any() else ", ".join(f"{100 * float((left < k).double().mean()):.0f} %" for k in (1, 2))
    )
    return f"| {name} | {len(found)} | {' | '.join(map(str, counts))} | {as_left} |"


def ours(a: Tensor, b: Tensor, valid: Tensor | None) -> Alignment:
    """The answer of the package."""
    return estimate(a, b, valid=(None, valid))


def known(pairs: Sequence[tuple[str, Path, Path]], method: Method = ours) -> list[Found]:
    """Pairs of a set, the second image moved; against the answer on the pair as it is."""
    gen, found = torch.Generator().manual_seed(0), []
    for _, one, two in pairs:
        a, b = luma(one, 640), luma(two, 640)
        if a.shape != b.shape:
            continue
        true = motion(*a.shape, gen)
        moved, valid = warp(b[None], torch.linalg.inv(true), *a.shape, "bicubic")
        left = own = method(a, b, None).matrix
        if method is ours and torch.equal(own, EYE):
            own, _ = refined(Scene(a, None), Scene(b, None), EYE)
        start = time.process_time()
        answer = method(a, moved[0], valid)
        seconds = time.process_time() - start
        errors = [distance(one, true @ goal, *a.shape) for one, goal in ((answer.matrix, own), (EYE, own))]
        as_left = distance(answer.matrix, true @ left, *a.shape) if method is ours else math.nan
        found.append(Found(errors[0], errors[1], answer.kind == "none", seconds, as_left))
    return found


def known_sets(data: Path, count: int) -> None:
    """The table of known motions."""
    print(f"{HEAD}\n{LINE}", flush=True)
    for name, folders in KNOWN.items():
        found = known(pairs_of(data, folders, count))
        print(row(name, found), row(f"{name}, unseen", found[1::2]), sep="\n", flush=True)


def beside_others(data: Path, count: int) -> None:
    """Ours and other libraries on the same pairs and motions: shares below 1 and 2 pixels, pairs worse, seconds."""
    methods: dict[str, Method] = {"ours": ours, **others()}
    print(f"\n| < 1, < 2 px, worse, seconds | pairs | {' | '.join(methods)} |", flush=True)
    print(f"|---|---:{'|---:' * len(methods)}|", flush=True)
    for name in (*TRUTH[:3], *reversed(KNOWN)):
        cells, pairs = [], 0
        for method in methods.values():
            if name in KNOWN:
                found = known(pairs_of(data, KNOWN[name], count), method)
            else:
                found = landmarks(data / "align" / name, method)
            pairs = len(found)
            shares = [f"{100 * sum(one.error < limit for one in found) / pairs:.0f}" for limit in (1, 2)]
            worse = sum(one.error > one.before + 0.5 for one in found)
            cells.append(f"{', '.join(shares)} %, {worse}, {sum(one.seconds for one in found) / pairs:.1f}")
        print(f"| {name} | {pairs} | {' | '.join(cells)} |", flush=True)


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


def slices(a: Tensor, b: Tensor, valid: Tensor | None) -> Alignment:
    """The answer of mutual information with a prior of small motion, as where a similarity is asked for."""
    found = estimate_slices(Scene(a, None), Scene(b, valid))
    matrix = EYE if found is None else found[0]
    return Alignment(matrix, "none" if found is None else "similarity", 0.0, 0.0, 0.0, 0.0, found is not None)


def landmarks(folder: Path, method: Method = ours) -> list[Found]:
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
        a, b = (luma(p) for p in files.values() if p is not None)
        start = time.process_time()
        answer = method(a, b, None)
        seconds = time.process_time() - start
        errors = [float((p - moving).norm(dim=1).median()) for p in (apply(answer.matrix, fixed), fixed)]
        found.append(Found(errors[0], errors[1], answer.kind == "none", seconds))
    return found


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


def large(path: Path, count: int = 10) -> None:
    """Frames of 12 megapixels under known motions and exposures, on two threads."""
    planes = read_image(path).read()
    planes = torch.nn.functional.interpolate(planes[None], (3000, 4000), mode="bicubic", antialias=True)[0].clamp(0, 1)
    gen, arrays, true = torch.Generator().manual_seed(0), [], []
    for k in range(count):
        true.append(motion(3000, 4000, gen) if k else EYE)
        seen = warp(planes, torch.linalg.inv(true[k]), 3000, 4000, "bicubic")[0].clamp(0, 1) * (1.0, 0.5, 0.25)[k % 3]
        arrays.append(seen.mul(255).round().byte().permute(1, 2, 0).numpy())
    torch.set_num_threads(2)
    start, used = time.perf_counter(), time.process_time()
    _, steps = align_frames(from_arrays(arrays), Align("auto"))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    torch.set_num_threads(1)
    errors = [distance(torch.tensor(s.matrix).double(), m, 3000, 4000) for s, m in zip(steps, true, strict=True)]
    print(f"\n{count} frames of 12 megapixels, two threads: {seconds:.1f} s ({used:.1f} s of processor time)", end="")
    print(f", largest error {max(errors):.2f} px", flush=True)


def cost_of_check(data: Path, rounds: int = 5) -> None:
    """Share of the fusion of a pair that is aligned, which recognising that takes; medians of processor time."""
    print("\n| aligned pair | check, ms | fusion, ms | share |\n|---|---:|---:|---:|", flush=True)
    fuser = Fuser()
    _, one, two = pairs_of(data, KNOWN["exposures"], 9)[1]
    for height, width in ((480, 640), (1500, 2000)):
        arrays = []
        for path in (one, two):
            planes = torch.nn.functional.interpolate(read_image(path).read()[None], (height, width), mode="bicubic")
            arrays.append(planes[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy())
        checks, fusions = [], []
        for _ in range(rounds):
            start = time.process_time()
            _, steps = align_frames(from_arrays(arrays), Align("auto"))
            middle = time.process_time()
            fuser.run(arrays, align="none", deghost="off")
            fusions.append(1000 * (time.process_time() - middle))
            checks.append(1000 * (middle - start))
            if steps[1].kind != "none":
                raise ValueError(f"a pair of {width}x{height} pixels is not taken as aligned")
        check, fusion = (sorted(values)[rounds // 2] for values in (checks, fusions))
        print(f"| {width}x{height} | {check:.0f} | {fusion:.0f} | {100 * check / fusion:.0f} % |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--count", type=int, default=40, help="pairs of each set of known motions")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--known", action="store_true", help="only known motions, and landmarks")
    only.add_argument("--check", action="store_true", help="only the time of aligned pairs and of large images")
    only.add_argument("--witness", action="store_true", help="only look at mutual information")
    only.add_argument("--local", action="store_true", help="only measure local displacements")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.witness:
        witness(args.data)
        return
    whole, few = not (args.known or args.check or args.local), min(args.count, FEW)
    if whole or args.known:
        print(f"{HEAD}\n{LINE}", flush=True)
        for name in TRUTH:
            print(row(f"{name}, landmarks", landmarks(args.data / "align" / name)), flush=True)
        print(row("mr_pet, landmarks, `--align similarity`", landmarks(args.data / "align" / "mr_pet", slices)))
        known_sets(args.data, args.count)
        beside_others(args.data, few)
    if whole:
        untouched(args.data, 2 * few)
        strangers(args.data, few)
        stacks(args.data)
        changing_light(args.data, few)
        other_light(args.data, few)
        tagged(args.data / "align" / "flir")
    if whole or args.local:
        local_warps(args.data, few)
        local_truth(args.data)
    if whole or args.check:
        cost_of_check(args.data)
        large(args.data / "align" / "exposure" / "handheld" / "01.jpg")


if __name__ == "__main__":
    main()
