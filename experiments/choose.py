"""The stated score by which weights are chosen, on held-out training scenes, the worst camera first.

    python experiments/choose.py anyfuse maximum runs/one runs/two --data $ANYFUSE_DATA/train

Never on the test folders. Each set is a camera or a task of its own; every tenth file of it is held out by training,
and only those are measured, on luma, 8 bit, at most 640x512 pixels from the middle (colour of exposures: whole, shown
only):

    roadscene   ivif             17 pairs        mef         mef                             2 pairs
    llvip       ivif-llvip        8 pairs        sequences   mef-sice, -hdrps, -empa         4 of 4 to 7
    nir         nir-epfl          7 pairs        ct, pet, spect   mif/*-mri                  6 pairs each
    focus       natural          10 scenes of two synthetic depth layers, the sharper source known

ivif-misc is left out whole: none of its ten pairs was brought together (20 to 45 pixels apart).

A measure x becomes (x - zero) / (one - zero), held within -1 and 1, with the fixed anchors below. zero is what the
plain average of the sources has, one is the aim; where the average is best or nearly so by construction (SSIM, CC,
halo, blotch, at times MI and SCD), one is near the average, and zero is what no result should sink to. A set's score is
half the mean over the new measures and half that over the old. The score of a model is half the mean over the sets and
half the worst set: a model that fails on one camera is not chosen.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from anyfuse.api import Fuser
from anyfuse.data.synthetic import focus_scene
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image
from anyfuse.metrics import METRICS, score_batch
from anyfuse.metrics.saliency import boxed_contrast, chroma_kept, contrast_kept, sharp_share
from anyfuse.models.base import FusionModel
from anyfuse.models.registry import load_model
from anyfuse.tiling import fuse_whole

OLD = ("mi", "vif", "qabf", "ssim", "cc", "scd")
NEW: dict[str, tuple[str, ...]] = {
    "roadscene": ("target_contrast", "people", "lit_level", "blotch", "halo"),
    "llvip": ("target_contrast", "people", "lit_level", "blotch", "halo"),
    "nir": ("lit_level", "blotch", "halo"),
    "mef": ("mef_ssim", "gradient_kept", "blotch", "halo"),
    "sequences": ("mef_ssim", "gradient_kept", "blotch", "halo"),
    "ct": ("gradient_kept", "blotch", "halo"),
    "pet": ("gradient_kept", "blotch", "halo"),
    "spect": ("gradient_kept", "blotch", "halo"),
    "focus": ("sharp_share", "gradient_kept", "halo"),
}
"""Set -> new measures; a near-infrared image shows no heat, so nir has no targets. people: the contrast of the people
that tests/data/boxes.json has in the held-out pairs, in the mean over a pair; few pairs of RoadScene have hot pixels.
"""
SHOWN = {"roadscene": "target_level", "llvip": "target_level", "mef": "dark_noise", "sequences": "dark_noise"}
"""Beside those of the score: not everywhere defined, or another view of the same."""
ANCHORS: dict[str, dict[str, tuple[float, float]]] = {
    "roadscene": {
        **{
            "target_contrast": (0.40, 0.90),
            "people": (0.48, 0.90),
            "lit_level": (0.71, 0.98),
            "blotch": (0.25, 0.02),
            "halo": (0.04, 0.005),
        },
        **{"mi": (2.9, 5.5), "vif": (0.56, 0.90), "qabf": (0.40, 0.66), "ssim": (0.64, 0.73), "cc": (0.50, 0.66)},
        "scd": (1.2, 1.6),
    },
    "llvip": {
        **{
            "target_contrast": (0.49, 0.95),
            "people": (0.46, 0.95),
            "lit_level": (0.64, 0.98),
            "blotch": (0.25, 0.02),
            "halo": (0.04, 0.005),
        },
        **{"mi": (2.9, 5.0), "vif": (0.72, 1.02), "qabf": (0.40, 0.66), "ssim": (0.66, 0.75), "cc": (0.58, 0.73)},
        "scd": (0.9, 1.4),
    },
    "nir": {
        **{"lit_level": (0.78, 0.98), "blotch": (0.25, 0.02), "halo": (0.04, 0.005)},
        **{"mi": (4.0, 6.5), "vif": (0.75, 1.02), "qabf": (0.49, 0.67), "ssim": (0.71, 0.81), "cc": (0.65, 0.77)},
        "scd": (1.0, 1.4),
    },
    "mef": {
        **{"mef_ssim": (0.93, 0.99), "gradient_kept": (0.60, 0.95), "blotch": (0.25, 0.02), "halo": (0.03, 0.003)},
        **{"mi": (2.5, 5.0), "vif": (1.20, 1.50), "qabf": (0.58, 0.78), "ssim": (0.46, 0.54), "cc": (0.80, 0.88)},
        "scd": (0.6, 1.1),
    },
    "sequences": {
        **{"mef_ssim": (0.92, 0.985), "gradient_kept": (0.50, 0.90), "blotch": (0.25, 0.02), "halo": (0.03, 0.003)},
        **{"mi": (12, 20), "vif": (4.1, 4.8), "qabf": (0.55, 0.70), "ssim": (0.64, 0.72), "cc": (0.92, 0.965)},
        "scd": (0.8, 2.0),
    },
    "ct": {
        **{"gradient_kept": (0.50, 0.88), "blotch": (0.25, 0.02), "halo": (0.06, 0.015)},
        **{"mi": (2.4, 4.0), "vif": (0.46, 0.72), "qabf": (0.39, 0.68), "ssim": (0.73, 0.775), "cc": (0.78, 0.86)},
        "scd": (0.9, 1.5),
    },
    "pet": {
        **{"gradient_kept": (0.52, 0.95), "blotch": (0.25, 0.02), "halo": (0.03, 0.003)},
        **{"mi": (3.0, 5.5), "vif": (0.69, 1.00), "qabf": (0.43, 0.82), "ssim": (0.64, 0.70), "cc": (0.74, 0.87)},
        "scd": (1.0, 1.45),
    },
    "spect": {
        **{"gradient_kept": (0.51, 0.95), "blotch": (0.25, 0.02), "halo": (0.04, 0.005)},
        **{"mi": (3.0, 5.5), "vif": (0.56, 1.05), "qabf": (0.38, 0.79), "ssim": (0.68, 0.715), "cc": (0.80, 0.90)},
        "scd": (0.8, 1.45),
    },
    "focus": {
        **{"sharp_share": (0.25, 0.98), "gradient_kept": (0.68, 0.98), "halo": (0.03, 0.001)},
        **{"mi": (6.8, 8.8), "vif": (1.26, 1.48), "qabf": (0.71, 0.81), "ssim": (0.86, 0.92), "cc": (0.955, 0.98)},
        "scd": (0.37, 0.75),
    },
}
"""Set -> measure -> (zero, one)."""
BOXES = Path(__file__).resolve().parents[1] / "tests" / "data" / "boxes.json"
EVERY = 10
LARGEST = (512, 640)


# ---------------------------------------------------------------------- scenes


def luma(path: Path) -> Tensor:
    """(H, W) levels 0..255 of the middle of an image."""
    levels = (to_luma(read_image(path).read())[0] * 255).round()
    top, left = (max(0, (size - most) // 2) for size, most in zip(levels.shape, LARGEST, strict=True))
    return levels[top : top + LARGEST[0], left : left + LARGEST[1]]


def held_out(folders: Sequence[Path]) -> list[list[Path]]:
    """Every tenth pair of the stems that all folders have, in the order that training sorts them."""
    found = [{p.stem: p for p in sorted(folder.iterdir())} for folder in folders]
    stems = sorted(set(found[0]).intersection(*found[1:]))
    return [[files[stem] for files in found] for stem in stems[EVERY - 1 :: EVERY]]


@dataclass(frozen=True)
class Scene:
    """sources (N, H, W) in levels; truth (H, W), which source is sharp, of a focus scene; files of exposures; boxes of
    people.
    """

    sources: Tensor
    truth: Tensor | None = None
    exposures: tuple[Path, ...] = ()
    people: tuple[tuple[int, int, int, int], ...] = ()


def pairs(data: Path, first: str, second: str, limit: int = 99, exposures: bool = False) -> Iterator[Scene]:
    boxes = json.loads(BOXES.read_text())
    for paths in held_out([data / first, data / second])[:limit]:
        entry = boxes.get(f"{Path(first).parts[0]}/{paths[0].stem}", {"boxes": []})
        people = tuple((x0, y0, x1, y1) for kind, x0, y0, x1, y1 in entry["boxes"] if kind == "person")
        yield Scene(torch.stack([luma(p) for p in paths]), None, tuple(paths) if exposures else (), people)


def sequences(data: Path) -> Iterator[Scene]:
    for name in ("mef-sice", "mef-hdrps", "mef-empa"):
        for scene in sorted(p for p in (data / name).iterdir() if p.is_dir())[EVERY - 1 :: EVERY]:
            files = sorted((p for p in scene.iterdir() if p.stem.isdigit()), key=lambda p: int(p.stem))
            yield Scene(torch.stack([luma(p) for p in files]), exposures=tuple(files))


def focus(data: Path, count: int = 10) -> Iterator[Scene]:
    """Scenes of two depth layers and which image is sharp where."""
    generator = torch.Generator().manual_seed(1)
    for path in sorted((data / "natural").iterdir())[EVERY - 1 :: EVERY][:count]:
        images, layer = focus_scene(luma(path)[:256, :256] / 255, 2, generator)
        yield Scene((images.clamp(0, 1) * 255).round(), layer)


def scenes(data: Path) -> dict[str, list[Scene]]:
    """Set -> its held-out scenes."""
    return {
        "roadscene": list(pairs(data, "ivif/ir", "ivif/vis")),
        "llvip": list(pairs(data, "ivif-llvip/ir", "ivif-llvip/vis")),
        "nir": list(pairs(data, "nir-epfl/ir", "nir-epfl/vis")),
        "mef": list(pairs(data, "mef/under", "mef/over", exposures=True)),
        "sequences": list(sequences(data)),
        **{m: list(pairs(data, f"mif/{m}-mri/{m}", f"mif/{m}-mri/mri", 6)) for m in ("ct", "pet", "spect")},
        "focus": list(focus(data)),
    }


# ---------------------------------------------------------------------- measures and the score


def measure(model: FusionModel, scene: Scene, names: Sequence[str], fuser: Fuser) -> dict[str, float]:
    """Measures of one scene."""
    with torch.inference_mode():
        fused = (fuse_whole(model, scene.sources[:, None] / 255).clamp(0, 1) * 255).round().double()  # (1, H, W)
    stack = scene.sources[None].double()
    found = {n: float(v) for n, v in score_batch(fused, stack, [n for n in names if n in METRICS]).items()}
    if scene.truth is not None:
        found["sharp_share"] = float(sharp_share(fused, stack, scene.truth[None]))
    if "people" in names:
        found["people"] = mean([boxed_contrast(fused[0], stack[0, 0], box) for box in scene.people])
    if scene.exposures:
        found |= measure_colour(fuser, scene.exposures)
    return found


def measure_colour(fuser: Fuser, paths: Sequence[Path]) -> dict[str, float]:
    """How much of the colour and contrast of exposures a result keeps."""
    frames = [read_image(path) for path in paths]
    colours = torch.stack([(frame.read() * 255).round().expand(3, -1, -1) for frame in frames])[None]
    pixels = torch.from_numpy(fuser.run(frames, align="none", deghost="off").pixels.copy())
    fused = pixels.permute(2, 0, 1).expand(3, -1, -1)[None]
    return {"chroma_kept": float(chroma_kept(fused, colours)), "contrast_kept": float(contrast_kept(fused, colours))}


def mean(values: Sequence[float]) -> float:
    """Without NaN; NaN of nothing."""
    numbers = [v for v in values if not math.isnan(v)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def normalised(value: float, anchors: tuple[float, float]) -> float:
    """0 at the first anchor, 1 at the second, within -1 and 1."""
    zero, one = anchors
    return max(-1.0, min(1.0, (value - zero) / (one - zero)))


def set_score(name: str, row: dict[str, float]) -> float:
    """Half the mean over the new measures, half that over the old."""
    halves = [
        mean([normalised(row[m], ANCHORS[name][m]) for m in group if m in row and not math.isnan(row[m])])
        for group in (NEW[name], OLD)
    ]
    return mean(halves)


def choose(table: dict[str, dict[str, float]]) -> float:
    """Half the mean over the sets, half the worst of them."""
    scores = [set_score(name, row) for name, row in table.items()]
    return (mean(scores) + min(scores)) / 2


def evaluate(model: FusionModel, data: dict[str, list[Scene]]) -> dict[str, dict[str, float]]:
    """Set -> measure -> mean over its scenes."""
    table, fuser = {}, Fuser(model, device="cpu")
    for name, items in data.items():
        names = (*NEW[name], *OLD, *(m for s, m in SHOWN.items() if s == name))
        rows = [measure(model, scene, names, fuser) for scene in items]
        table[name] = {m: mean([row[m] for row in rows]) for m in rows[0]}
    return table


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--data", type=Path, required=True, help="the folder of training sets")
    parser.add_argument("--sets", default="", help="only those, with commas")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = [s for s in given.sets.split(",") if s]
    data = {name: items for name, items in scenes(given.data).items() if name in (chosen or NEW)}
    tables = {}
    for model in given.models:
        tables[model] = evaluate(load_model(model).eval(), data)
        print(f"measured {model}", file=sys.stderr, flush=True)
    for name, items in data.items():
        measures = list(dict.fromkeys((*NEW[name], *OLD, *(m for t in tables.values() for m in t[name]))))
        print(f"\n{name}, {len(items)} scenes\n\n| model | score | " + " | ".join(measures) + " |")
        print("|---|" + "---:|" * (len(measures) + 1))
        for model, table in tables.items():
            cells = [f"{table[name].get(m, math.nan):.3f}" for m in measures]
            print(f"| {model} | {set_score(name, table[name]):.3f} | " + " | ".join(cells) + " |")
    result = {model: choose(table) for model, table in tables.items()}
    print("\n| model | **score** | mean | worst set |\n|---|---:|---:|---|")
    for model, value in sorted(result.items(), key=lambda item: -item[1]):
        scores = {name: set_score(name, row) for name, row in tables[model].items()}
        worst = min(scores, key=scores.__getitem__)
        print(f"| {model} | **{value:.3f}** | {mean(list(scores.values())):.3f} | {worst} {scores[worst]:.3f} |")
    return result


if __name__ == "__main__":
    main()
