"""Does DiTFuse do to the light and the contrast what it is told: python benchmarks/control.py --model runs/ditfuse-tiny --data DATA/test

On pairs of the test folders, each fused as it is and with each tone asked for. Printed per folder and for all:

    sign    share of pairs whose mean luma (LIGHT) or RMS contrast (CONTRAST) moved the way that was asked
    order   share of pairs with LIGHT++ > LIGHT+ > none > LIGHT- > LIGHT-- in mean luma, and CONTRAST+ > none > CONTRAST- in RMS contrast
    change  mean of the change, in 1/255
    kept    SSIM of the result with the one without an instruction, both brought to mean 0.5 and deviation 0.2

To reach: sign 0.98, order 0.95, kept 0.85. --json FILE keeps the numbers of every pair.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyfuse.api import Fuser
from anyfuse.colour import to_luma
from anyfuse.control import TONES, Control
from anyfuse.data.folders import pair_by_stem
from anyfuse.errors import FusionError
from anyfuse.losses import ssim_map
from anyfuse.models.ditfuse import DiTFuse
from anyfuse.models.omnigen import OmniGen

FOLDERS = {
    "ivif-roadscene": ("ivf", ("ir", "vis")),
    "mef-mefb": ("mef", ("under", "over")),
    "mff-mfifb": ("mff", ("a", "b")),
}
LIGHTS = ("LIGHT++", "LIGHT+", "", "LIGHT-", "LIGHT--")
CONTRASTS = ("CONTRAST+", "", "CONTRAST-")


def fuse(fuser: Fuser, paths: Sequence[Path], task: str, tone: str) -> Tensor:
    """Luma (1, H, W) in [0, 1] of the result, as a user gets it: 8 bits."""
    control = Control(task, tone=(tone,) if tone else ())
    pixels = fuser.run([str(p) for p in paths], say=control).fused.pixels
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / torch.iinfo(torch.from_numpy(pixels).dtype).max
    return to_luma(image)


def levelled(x: Tensor) -> Tensor:
    """With mean 0.5 and deviation 0.2."""
    return (x - x.mean()) / x.std().clamp_min(1e-4) * 0.2 + 0.5


def measure(fused: dict[str, Tensor]) -> dict[str, Any]:
    """Of the results of one pair, tone -> luma; '' is without an instruction."""
    mean = {tone: float(x.mean()) for tone, x in fused.items()}
    spread = {tone: float(x.std()) for tone, x in fused.items()}
    row: dict[str, Any] = {"sign": {}, "change": {}, "kept": {}}
    for tone in TONES:
        change = (mean if tone.startswith("LIGHT") else spread)[tone]
        change -= (mean if tone.startswith("LIGHT") else spread)[""]
        row["change"][tone] = 255 * change
        row["sign"][tone] = (change > 0) == ("+" in tone) and change != 0
        row["kept"][tone] = float(ssim_map(levelled(fused[tone])[0], levelled(fused[""])[0]).mean())
    row["light order"] = all(mean[a] > mean[b] for a, b in itertools.pairwise(LIGHTS))
    row["contrast order"] = all(spread[a] > spread[b] for a, b in itertools.pairwise(CONTRASTS))
    return row


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """The table of some pairs."""

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    lines = [f"  {'tone':<10} {'sign':>6} {'change':>8} {'kept':>6}"]
    for tone in TONES:
        sign, change, kept = (mean([row[name][tone] for row in rows]) for name in ("sign", "change", "kept"))
        lines.append(f"  {tone:<10} {sign:6.3f} {change:8.1f} {kept:6.3f}")
    every = [row["sign"][tone] for row in rows for tone in TONES]
    orders = [mean([row[f"{kind} order"] for row in rows]) for kind in ("light", "contrast")]
    lines.append(f"  {'all':<10} {mean(every):6.3f}; order of light {orders[0]:.3f}, of contrast {orders[1]:.3f}")
    return lines


def main(argv: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a trained DiTFuse")
    parser.add_argument("--data", required=True, type=Path, help="folder with ivif-roadscene, mef-mefb, mff-mfifb")
    parser.add_argument("--limit", type=int, default=0, help="pairs per folder, spread over it; 0: all")
    parser.add_argument("--steps", type=int, default=0, help="Euler steps; 0: the model's own")
    parser.add_argument("--branches", type=int, default=0, help="1, 2 or 3; 0: the model's own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    fuser = Fuser(args.model, device=args.device)
    if not isinstance(fuser.model, DiTFuse | OmniGen):
        raise FusionError(f"{args.model}: is a {type(fuser.model).__name__}; give a DiTFuse")
    fuser.model.steps = args.steps or fuser.model.steps
    fuser.model.branches = args.branches or fuser.model.branches
    found: dict[str, list[dict[str, Any]]] = {}
    for name, (task, folders) in FOLDERS.items():
        if not (args.data / name).is_dir():
            print(f"{name}: not there, left out")
            continue
        groups = list(pair_by_stem([args.data / name / f for f in folders])[0].items())
        groups = groups[:: max(1, len(groups) // args.limit)][: args.limit] if args.limit else groups
        found[name] = []
        for stem, paths in groups:
            fused = {tone: fuse(fuser, paths, task, tone) for tone in ("", *TONES)}
            found[name].append({"name": stem, **measure(fused)})
        print(f"{name}, {len(groups)} pairs", *summary(found[name]), sep="\n", flush=True)
    rows = [row for part in found.values() for row in part]
    if not rows:
        raise FusionError(f"{args.data}: holds none of {', '.join(FOLDERS)}")
    print(f"all, {len(rows)} pairs", *summary(rows), sep="\n")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    main()
