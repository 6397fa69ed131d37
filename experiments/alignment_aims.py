"""What alignment was to reach, measured in one run: aim, what is measured, met or missed.

    python experiments/alignment_aims.py --data DATA [--count 40] [--only landmarks]

The measures are those of `alignment.py`. An answer counts as right if it is within 5 pixels. Deghosting is measured by
`deghosting.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import alignment as base
import torch
from alignment import Found
from alignment_sets import KNOWN, STACKS, UNTOUCHED, at640, pairs_of

from anyfuse.align.estimate import Scene, _steady, estimate_scenes
from anyfuse.align.estimate import still as still_at_once
from anyfuse.align.field import agreement, field
from anyfuse.align.stage import Align, align_frames
from anyfuse.io.read import read_image

SIDES = 0.3  # pixels: movements of pairs that are aligned
KNOWN_AIMS = {  # set: limit in pixels and least share, each
    "exposures, MEFB": ((1, 0.95), (2, 1.0)),
    "focus": ((2, 1.0),),
    "visible + near infrared": ((1, 0.95),),
    "visible + infrared, RoadScene": ((2, 0.85),),
    "visible + infrared, LLVIP": ((2, 0.7),),
}
LANDMARK_AIMS = {
    "vis_ir": ((2, 0.9), (5, 1.0)),
    "rgb_nir": ((1, 0.95),),
    "mr_pet, `--align similarity`": ((2, 0.6),),
}
PARTS = ("known", "landmarks", "still", "left", "real", "strangers", "time", "others")
OTHER_LANDMARKS = ("retina", "sat_ir", "sat_depth", "pd_t2", "spect_ct")


def line(what: str, aim: str, measured: str, met: bool) -> None:
    """A row of the table."""
    print(f"| {what} | {aim} | {measured} | {'met' if met else 'missed'} |", flush=True)


def shares(name: str, found: Sequence[Found], aims: Sequence[tuple[int, float]]) -> None:
    """Rows of the shares below some limits."""
    for limit, aim in aims:
        share = sum(one.error < limit for one in found) / len(found)
        low, high = base.interval(share, len(found))
        measured = f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f}) of {len(found)}"
        line(name, f">= {100 * aim:.0f} % < {limit} px", measured, share >= aim)


def right_or_left(name: str, found: Sequence[Found]) -> None:
    """Whether each answer is right, or the pair was left alone."""
    right, left = (sum(f(one) for one in found) for f in (lambda x: not x.alone and x.error < 5, lambda x: x.alone))
    worse = sum(one.error > one.before + 0.5 for one in found)
    measured = f"{right} right, {left} left alone, {len(found) - right - left} wrong of {len(found)}"
    line(name, "right or refused", f"{measured}; {worse} worse", right + left == len(found))


def known(data: Path, count: int) -> list[Found]:
    """Known motions."""
    every: list[Found] = []
    for name, aims in KNOWN_AIMS.items():
        found = base.known(pairs_of(data, KNOWN[name], count))
        shares(name, found, aims)
        if "MEFB" in name:
            seconds = sorted(one.seconds for one in found)[len(found) // 2]
            line("an MEFB pair, median", "<= 0.3 s CPU", f"{seconds:.2f} s", seconds <= 0.3)
        every += found
    return every


def landmarks(data: Path) -> list[Found]:
    """Pairs with landmarks or an exact transform."""
    every: list[Found] = []
    for name, aims in LANDMARK_AIMS.items():
        folder = data / "align" / name.split(",")[0]
        found = base.landmarks(folder, base.slices if "similarity" in name else base.ours)
        shares(name, found, aims)
        every += found
    for name in OTHER_LANDMARKS:
        found = base.landmarks(data / "align" / name)
        right_or_left(name, found)
        every += found
    return every


def harm(every: Sequence[Found]) -> None:
    """Pairs that became worse, and answers that are wrong."""
    worse = sum(one.error > one.before + 0.5 for one in every)
    line("these pairs: worse than before by 0.5 px", "0", f"{worse} of {len(every)}", worse == 0)
    taken = [one for one in every if not one.alone]
    if not taken:
        return
    for limit in (2, 5):
        right = sum(one.error < limit for one in taken)
        measured = f"{100 * right / len(taken):.0f} % of {len(taken)}"
        line(f"accepted answers within {limit} px", ">= 95 %", measured, right >= 0.95 * len(taken))


def still(data: Path) -> None:
    """Pairs that are aligned stay."""
    for name in ("exposures, MEFB", "focus"):
        pairs = pairs_of(data, UNTOUCHED[name], 10**6)
        if name == "focus":
            pairs = [pair for pair in pairs if pair[0].startswith("lytro")]
        moved = {}
        for stem, *files in pairs:
            step = align_frames([read_image(p) for p in files], Align("auto"))[1][1]
            if step.kind != "none" and step.shift >= SIDES:
                moved[stem] = f"{stem} {step.shift:.1f} px"
        measured = f"{len(moved)} of {len(pairs)} moved" + (f": {', '.join(moved.values())}" if moved else "")
        line(f"as they are: {'Lytro' if name == 'focus' else 'MEFB'}", f"moved < {SIDES} px", measured, not moved)
    for name in ("pd_t1", "t1_t2"):
        found = base.landmarks(data / "align" / name)
        moved_by = max(abs(one.error - one.before) for one in found)
        line(f"as they are: {name}", f"moved < {SIDES} px", f"{moved_by:.2f} px of {len(found)}", moved_by < SIDES)


def left(data: Path, count: int) -> None:
    """Pairs that are taken as aligned after a search: the share of edges that lie well, with its answer or without."""
    found, aligned = [], 0
    for name, folders in KNOWN.items():
        for stem, *files in pairs_of(data, folders, count):
            a, b = (Scene(base.luma(path, 1600), None) for path in files)
            if a.shape != b.shape:
                continue
            answer = estimate_scenes(a, b)
            if answer.kind == "none" and answer.trusted:
                aligned += 1
                if still_at_once(a, b, a.side) is None:
                    found.append((max(answer.confidence, _steady(a, b, base.EYE)[0]), f"{name} {stem}"))
    print(f"\n{aligned} pairs taken as aligned, {len(found)} of them after a search; the lowest shares:")
    for share, pair in sorted(found)[:10]:
        print(f"{100 * share:.0f} % {pair}")


def real(data: Path) -> None:
    """Agreement of neighbours in hand-held brackets and focus stacks, at 640 pixels."""
    for name, aim in (("handheld", 0.88), ("pcb", 0.975)):
        frames = [read_image(path) for path in sorted((data / "align" / STACKS[name]).iterdir())]
        moved, _ = align_frames(frames, Align("auto"), len(frames) // 2)
        means = []
        for some in (frames, moved):
            each = [agreement(*(field(at640(f)) for f in two)) for two in pairwise(some)]
            means.append(sum(each) / len(each))
        line(f"agreement of neighbours: {name}", f">= {aim}", f"{means[0]:.3f} to {means[1]:.3f}", means[1] >= aim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--count", type=int, default=40, help="pairs of each set of known motions")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts = PARTS if args.only is None else (args.only,)
    print("| what | aim | measured | |\n|---|---|---|---|", flush=True)
    every = known(args.data, args.count) if "known" in parts else []
    if "landmarks" in parts:
        every += landmarks(args.data)
    if every:
        harm(every)
    if "still" in parts:
        still(args.data)
    if "left" in parts:
        left(args.data, args.count)
    if "real" in parts:
        real(args.data)
        base.tagged(args.data / "align" / "flir")
    if "strangers" in parts:
        base.strangers(args.data, 6)
    if "time" in parts:
        base.cost_of_check(args.data)
        base.large(args.data / "align" / "exposure" / "handheld" / "01.jpg")
    if "others" in parts:
        base.beside_others(args.data, min(args.count, 5))


if __name__ == "__main__":
    main()
