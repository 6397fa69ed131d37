"""How well models pansharpen: `anyfuse bench --section pansharpening`.

Of a folder with pan/ and ms/, paired by file names. With reference/ beside them (`anyfuse data reduce` writes it) the
results are held against that: SAM, ERGAS, Q2n and UQI. Without it, D_lambda, D_s and QNR compare them with their
sources.

The results of every image are kept, a line of JSON each, for each model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import FusionError
from ..fuser import Fuser
from ..io.bands import read_all_bands
from ..io.folders import pair_by_stem
from ..metrics.spectral import d_lambda, d_s, ergas, q2n, qnr, sam, uqi
from ..models.sharpening import SHARPENERS
from ..pansharpening.detail import NYQUIST
from ..pansharpening.grid import Grid
from .stats import Mean, mean_of

MODELS = (*SHARPENERS, "anyfuse", "tita-small", "unifusion-small")
"""What is measured where nobody names models."""
WITH_REFERENCE = {"sam": -1, "ergas": -1, "q2n": 1, "uqi": 1}
WITHOUT = {"d_lambda": -1, "d_s": -1, "qnr": 1}
"""Measure -> 1 where more is better, else -1."""
TITLES = {"sam": "SAM", "ergas": "ERGAS", "q2n": "Q2n", "uqi": "UQI"}
TITLES |= {"d_lambda": "D_lambda", "d_s": "D_s", "qnr": "QNR"}


def sets_of(root: Path, limit: int | None) -> tuple[dict[str, tuple[Path, ...]], bool]:
    """Stem -> pan, ms and reference if there is one; and whether there is. limit: of them, spread over all."""
    parts = [root / name for name in ("pan", "ms")]
    if not all(part.is_dir() for part in parts):
        raise FusionError(f"{root}: has no folders pan and ms; `anyfuse data reduce` makes them")
    has_reference = (root / "reference").is_dir()
    found = pair_by_stem([*parts, *([root / "reference"] if has_reference else [])])[0]
    if not found:
        raise FusionError(f"{root}: no image in pan has one of the same name in ms")
    stems = list(found)
    stems = stems[:: max(1, len(stems) // limit)][:limit] if limit else stems
    return {stem: found[stem] for stem in stems}, has_reference


def measure(fuser: Fuser, paths: Sequence[Path]) -> dict[str, Any]:
    """The measures of one image, and the seconds that its fusion took. paths: pan, ms and the reference, if any."""
    images = [read_all_bands(path, place) for place, path in enumerate(paths, 1)]
    pan, ms = images[0].pixels[:, :, 0], images[1].pixels
    if images[0].count != 1:
        raise FusionError(f"{paths[0]}: has {images[0].count} bands, and a panchromatic image has one")
    start = time.perf_counter()
    result = fuser.run([str(path) for path in paths[:2]])
    row: dict[str, Any] = {"seconds": round(time.perf_counter() - start, 3)}
    if not result.is_bands:
        raise FusionError(f"{paths[0]} and {paths[1]}: are not taken for a panchromatic and a multispectral image")
    facts, fused = result.report["pansharpened"], planes(result.pixels)
    ratio = facts["ratio"]
    if len(images) > 2:
        truth = planes(images[2].pixels)
        values = {"sam": sam(fused, truth), "ergas": ergas(fused, truth, ratio), "q2n": q2n(fused, truth)}
        values["uqi"] = uqi(fused, truth).mean(1)
    else:
        low = Grid(pan.shape, ms.shape[:2], ratio, tuple(facts["corner"])).reduce(pan, NYQUIST)
        given = (planes(ms), planes(pan[:, :, None]), planes(low[:, :, None]))
        values = {"d_lambda": d_lambda(fused, given[0]), "d_s": d_s(fused, *given), "qnr": qnr(fused, *given)}
    return row | {name: float(value) for name, value in values.items()}


def planes(pixels: np.ndarray) -> Tensor:
    """(H, W, K) of any dtype -> (1, K, H, W) float64."""
    return torch.from_numpy(np.moveaxis(pixels, 2, 0).astype(np.float64))[None]


def run_pansharpening(fusers: dict[str, Fuser], root: Path, out: Path, limit: int | None = None) -> list[str]:
    """Measures every model on every pair; returns the table in Markdown, and writes OUT/pansharpening-MODEL.jsonl.

    Raises FusionError for a folder without pairs, or a pair that is none.
    """
    sets, has_reference = sets_of(root, limit)
    measures = WITH_REFERENCE if has_reference else WITHOUT
    means: dict[str, dict[str, Mean]] = {}
    for label, fuser in fusers.items():
        rows = [{"name": stem, **measure(fuser, paths)} for stem, paths in sets.items()]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (out / f"pansharpening-{label.replace('/', '-')}.jsonl").write_text(text)
        means[label] = {name: mean_of([row[name] for row in rows]) for name in (*measures, "seconds")}
    kind = "against the reference" if has_reference else "without a reference"
    return [f"\n{len(sets)} pairs of {root.name}, {kind}\n", *table(means, measures)]


def table(means: dict[str, dict[str, Mean]], measures: dict[str, int]) -> list[str]:
    """Markdown: a row a model, the mean and its 95 % interval; the best in bold."""
    heads = [f"{TITLES[name]} {'up' if sign > 0 else 'down'}" for name, sign in measures.items()]
    lines = [f"| model | {' | '.join(heads)} | seconds |", "| --- |" + " --- |" * (len(heads) + 1)]
    best = {name: max(means, key=lambda m: sign * means[m][name].value) for name, sign in measures.items()}
    for label, row in means.items():
        cells = []
        for name in measures:
            mean = row[name]
            text = f"{mean.value:.3f}" if label != best[name] else f"**{mean.value:.3f}**"
            cells.append(f"{text} ({mean.low:.3f} to {mean.high:.3f})" if mean.count > 1 else text)
        lines.append(f"| {label} | {' | '.join(cells)} | {row['seconds'].value:.2f} |")
    return lines
