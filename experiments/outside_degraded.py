"""How restoring fusion does on degradations that share no code with those it was trained on.

    python experiments/outside_degraded.py --data DATA --out OUT [--model mmaif] [--kinds haze,rain] [--limit 5]

The cases are tests/data/outside_degraded.json: pairs of DATA/test, what is done to them (outside_operations.py), a
sentence as a user would write it, and one that names what is not there. The middle 320x240 pixels of each pair are
fused: by the default model, and by a model that restores, told in words, told nothing, told wrong and told to repair
nothing. Truth is the default model's fusion of the clean pair. PSNR (60 dB at most) and SSIM are of luma.

A sentence that is refused counts in no mean, which then has its number of cases behind it; the last list has it.
Light is the change of the mean luma against the default model's fusion of the degraded pair. It may pass 5 % only
where the request or the estimate speaks of haze, exposure or contrast.

Every value goes to OUT/MODEL.json after each case, and a second call measures only what is missing there: give a
changed model another folder. The kinds take turns. `--sheets` writes one picture a case at 200 %: the degraded sources
and the clean fusion, below them the fusions of the degraded pair by the default model, told in words and told nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from outside_operations import degrade
from PIL import Image
from skimage.metrics import structural_similarity

from anyfuse import Fuser
from anyfuse.errors import FusionError
from anyfuse.io.folders import pair_by_stem

RECIPE = Path(__file__).resolve().parents[1] / "tests" / "data" / "outside_degraded.json"
PARTS = {"ivif-roadscene": ("ir", "vis"), "mef-mefb": ("under", "over"), "mff-mfifb": ("a", "b")}
SIZE = (320, 240)  # width and height of a case, at most
WAYS = ("words", "nothing", "wrong", "repair nothing")
LIGHT = ("haze", "low_exposure", "high_exposure", "low_contrast", "<LIGHT", "<CONTRAST")  # what may change the mean
MOST_LIGHT = 5.0  # percent
HARM = 0.3  # dB
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One entry of the recipe."""

    name: str
    kind: str
    set: str  # folder below DATA/test
    stem: str  # of the files in it
    sources: dict[str, list[dict[str, Any]]]  # what is done to each, by the name of its folder
    say: str  # the true degradations in words
    wrong: str  # others in words

    def spoilt(self, clean: list[np.ndarray]) -> list[np.ndarray]:
        """The pair with its degradations."""
        steps = [self.sources.get(part, []) for part in PARTS[self.set]]
        return [
            degrade(image, s, shot) if s else image for shot, (image, s) in enumerate(zip(clean, steps, strict=True))
        ]

    def says(self, way: str) -> str | None:
        """The instruction for one of WAYS."""
        return {"words": self.say, "nothing": None, "wrong": self.wrong}.get(way, way)


def read_cases(path: Path = RECIPE) -> list[Case]:
    """All cases, in their order."""
    return [Case(**entry) for entry in json.loads(path.read_text())]


def read_pair(data: Path, case: Case) -> list[np.ndarray]:
    """The middle of both images, uint8: (H, W) where an image is grey, (H, W, 3) where it has colour."""
    files = pair_by_stem([data / "test" / case.set / part for part in PARTS[case.set]])[0][case.stem]
    return [middle(Image.open(file)) for file in files]


def middle(picture: Image.Image) -> np.ndarray:
    """The middle of a picture, at most SIZE."""
    width, height = (min(n, most) for n, most in zip(picture.size, SIZE, strict=True))
    left, top = (picture.size[0] - width) // 2, (picture.size[1] - height) // 2
    mode = "L" if picture.mode in ("L", "1", "I;16") else "RGB"
    return np.asarray(picture.convert(mode).crop((left, top, left + width, top + height)))


def in_turn(cases: list[Case]) -> list[Case]:
    """The first case of each kind, then the second of each, so that a run that is cut off has some of all."""
    seen: Counter[str] = Counter()
    place = {}
    for case in cases:
        place[case.name] = seen[case.kind]
        seen[case.kind] += 1
    return sorted(cases, key=lambda case: place[case.name])


def digest(clean: list[np.ndarray], spoilt: list[np.ndarray]) -> str:
    """A hash of the pixels of a case: it is measured again where an operation has changed."""
    return hashlib.sha256(b"".join(image.tobytes() for image in (*clean, *spoilt))).hexdigest()[:16]


# ---------------------------------------------------------------------- measures


def luma(pixels: np.ndarray) -> np.ndarray:
    """(H, W) float64 in [0, 255], BT.601."""
    pixels = pixels.astype(np.float64)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels @ (0.299, 0.587, 0.114)


def compare(pixels: np.ndarray, truth: np.ndarray, plain: np.ndarray) -> Row:
    """PSNR in dB and SSIM to the truth, and the change of light against the plain fusion and the truth in percent."""
    a, b, base = luma(pixels), luma(truth), luma(plain)
    colour = np.broadcast_to(pixels, truth.shape).astype(np.float64) - truth
    like = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return {
        "psnr": decibels(a - b),
        "ssim": float(structural_similarity(a, b, **like)),
        "psnr_rgb": decibels(colour),
        "light": 100 * float(a.mean() / max(base.mean(), 1e-6) - 1),
        "light_to_truth": 100 * float(a.mean() / max(b.mean(), 1e-6) - 1),
    }


def decibels(difference: np.ndarray) -> float:
    """PSNR of a difference in levels of 8 bits, 60 at most."""
    return float(min(60.0, 10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-12))))


def fuse(fuser: Fuser, images: list[np.ndarray], say: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels and report of one fusion of aligned images."""
    result = fuser.run(images, say=say, align="none", deghost="off")
    return result.pixels, result.report


def measure(
    case: Case, clean: list[np.ndarray], spoilt: list[np.ndarray], default: Fuser, model: Fuser
) -> tuple[Row, dict[str, np.ndarray]]:
    """All values of a case, and its pictures by name."""
    truth, plain = fuse(default, clean, None)[0], fuse(default, spoilt, None)[0]
    row: Row = {"default": compare(plain, truth, plain)}
    seen = {"first": spoilt[0], "second": spoilt[1], "truth": truth, "default": plain}
    for way in WAYS:
        start = time.perf_counter()
        try:
            pixels, report = fuse(model, spoilt, case.says(way))
        except FusionError as error:
            row[way] = {"refused": str(error)}
            continue
        kept = {key: report[key] for key in ("understood", "assumed", "restored", "warnings") if report.get(key)}
        row[way] = compare(pixels, truth, plain) | kept | {"seconds": time.perf_counter() - start}
        seen[way] = pixels
    return row, seen


def sheet(seen: dict[str, np.ndarray]) -> Image.Image:
    """Six pictures at 200 %, three in a row."""
    height, width = seen["truth"].shape[:2]
    board = Image.new("RGB", (3 * (2 * width + 4), 2 * (2 * height + 4)))
    for place, name in enumerate(("first", "second", "truth", "default", "words", "nothing")):
        if name in seen:
            picture = Image.fromarray(np.squeeze(seen[name])).convert("RGB").resize((2 * width, 2 * height), 0)
            board.paste(picture, (place % 3 * (2 * width + 4), place // 3 * (2 * height + 4)))
    return board


# ---------------------------------------------------------------------- tables


def speaks_of_light(values: Row) -> bool:
    """Whether the request or the estimate of a run has one of LIGHT."""
    return any(word in json.dumps([values.get("understood"), values.get("assumed")]) for word in LIGHT)


def means(rows: list[Row], way: str) -> Row | None:
    """Over the cases that were not refused; None where all were."""
    there = [row for row in rows if "refused" not in row[way]]
    if not there:
        return None
    gains = np.array([row[way]["psnr"] - row["default"]["psnr"] for row in there])
    dim = [abs(row[way]["light"]) > MOST_LIGHT and not speaks_of_light(row[way]) for row in there]
    return {
        "psnr": float(np.mean([row[way]["psnr"] for row in there])),
        "ssim": float(np.mean([row[way]["ssim"] for row in there])),
        "gain": float(gains.mean()),
        "light": float(np.mean([row[way]["light"] for row in there])),
        "lost": int((gains < -HARM).sum()),
        "dim": int(sum(dim)),
        "count": len(there),
    }


def of(mean: Row, rows: list[Row]) -> str:
    """How many cases a mean is over, where some were refused: it is then no mean over the same cases."""
    return "" if mean["count"] == len(rows) else f" ({mean['count']})"


def groups(cases: list[Case], rows: dict[str, Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """Kind, set and the rows of each, then those of each kind, of each set and of all."""
    known = [case for case in cases if case.name in rows]
    kinds, sets = list(dict.fromkeys(c.kind for c in known)), list(dict.fromkeys(c.set for c in known))
    pairs = [(kind, name) for kind in kinds for name in [*sets, "all"]]
    for kind, name in [*pairs, *(("all", name) for name in [*sets, "all"])]:
        chosen = [rows[c.name] for c in known if kind in (c.kind, "all") and name in (c.set, "all")]
        if chosen:
            yield kind, name, chosen


def tables(cases: list[Case], rows: dict[str, Row]) -> str:
    """Means, gains and refusals in Markdown."""
    ways = ("default", *WAYS)
    first = ["PSNR in dB / SSIM to the default model's fusion of the clean pair:", ""]
    first += ["| kind | set | cases | " + " | ".join(ways) + " |", "| --- | --- | ---: |" + " ---: |" * len(ways)]
    second = [f"Gain in dB over the default model / change of light in % / cases that lose more than {HARM} dB /"]
    second += [f"cases whose light changes by more than {MOST_LIGHT:g} % though nobody spoke of light:", ""]
    second += ["| kind | set | cases | " + " | ".join(WAYS) + " |", "| --- | --- | ---: |" + " ---: |" * len(WAYS)]
    for kind, name, chosen in groups(cases, rows):
        found = {way: means(chosen, way) for way in ways}
        head = f"| {kind} | {name} | {len(chosen)} | "
        first.append(
            head
            + " | ".join(f"{m['psnr']:.2f} / {m['ssim']:.3f}{of(m, chosen)}" if m else "" for m in found.values())
            + " |"
        )
        cells = [found[way] for way in WAYS]
        second.append(
            head
            + " | ".join(
                f"{m['gain']:+.2f} / {m['light']:+.1f} / {m['lost']} / {m['dim']}{of(m, chosen)}" if m else ""
                for m in cells
            )
            + " |"
        )
    third = ["Refused:", ""]
    for case in cases:
        for way in WAYS:
            if "refused" in rows.get(case.name, {}).get(way, {}):
                third.append(f'- {case.name}, {way}: "{case.says(way)}": {rows[case.name][way]["refused"]}')
    return "\n".join([*first, "", *second, "", *(third if len(third) > 2 else ["No sentence was refused."])])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="folder for all values and the tables")
    parser.add_argument("--model", default="mmaif", help="a model that restores")
    parser.add_argument("--kinds", help="only these, joined by commas")
    parser.add_argument("--limit", type=int, help="only the first cases of each kind")
    parser.add_argument("--sheets", type=Path, help="folder for pictures")
    args = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    cases = read_cases()
    unknown = set((args.kinds or "").split(",")) - {c.kind for c in cases} - {""}
    if unknown:
        parser.error(
            f"--kinds: {', '.join(sorted(unknown))}; known are {', '.join(dict.fromkeys(c.kind for c in cases))}"
        )
    cases = [c for c in cases if not args.kinds or c.kind in args.kinds.split(",")]
    if args.limit is not None:
        cases = [c for c in cases if [k for k in cases if k.kind == c.kind].index(c) < args.limit]
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"{Path(args.model).name}.json"
    stored: dict[str, Row] = json.loads(file.read_text()) if file.exists() else {}
    default, model = Fuser(device="cpu"), Fuser(args.model, device="cpu")
    for case in in_turn(cases):
        clean = read_pair(args.data, case)
        spoilt = case.spoilt(clean)
        made = {"case": vars(case), "pixels": digest(clean, spoilt)}
        if made.items() <= stored.get(case.name, {}).items():
            continue
        row, seen = measure(case, clean, spoilt, default, model)
        stored[case.name] = made | row
        file.with_suffix(".part").write_text(json.dumps(stored, indent=1))
        file.with_suffix(".part").replace(file)
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            sheet(seen).save(args.sheets / f"{case.name}.png")
        print(case.name, *(f"{w} {row[w].get('psnr', float('nan')):.2f}" for w in ("default", *WAYS)), flush=True)
    text = tables(cases, stored)
    file.with_suffix(".md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
