"""The tables of the section, as Markdown and as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ...models.segmenter import OBJECTS
from .scores import MEASURES, Score, draws_of, score

SINGLE = ("visible", "infrared")
"""The images alone, which every table shows."""
ALL = "people and vehicles"
KINDS = {"people": (0,), "vehicles": (1,), ALL: tuple(range(len(OBJECTS)))}
COLUMNS = {
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "ap": "AP",
}


def rows_of(counts: dict[str, np.ndarray], places: Sequence[int], kind: str) -> dict[str, dict[str, Score]]:
    """Method -> measure -> score on some scenes, with the differences of AP to each image alone."""
    own = {m: c[:, list(places)][..., list(KINDS[kind]), :].sum(-2) for m, c in counts.items()}
    draws = draws_of(len(places))
    found = {m: {name: score(c, name, draws) for name in MEASURES} for m, c in own.items()}
    for method, scores in found.items():
        for single in SINGLE:
            if method != single:
                scores[f"ap less {single}"] = score(own[method], "ap", draws, own[single])
    return found


def markdown(counts: dict[str, dict[str, np.ndarray]], sets: Sequence[str], detectors: Sequence[str]) -> str:
    """The page.

    Args:
        counts: rule -> method -> (detectors, scenes, thresholds, OBJECTS, 3).
        sets: of each scene.
        detectors: names.
    """
    first = next(iter(counts["iou"].values()))
    lines = [
        "# downstream",
        "",
        f"Detectors: {', '.join(detectors)}. Recall, precision and F1 at threshold 0.5, AP over all thresholds; means "
        "over detectors, in brackets the 95 % interval over scenes.",
    ]
    for name in dict.fromkeys(sets):
        places = [k for k, own in enumerate(sets) if own == name]
        for kind, columns in KINDS.items():
            there = int(first[0, places, 0][:, list(columns), 2].sum())
            if not there:
                continue
            lines += ["", f"## {name}: {kind}, {there} in {len(places)} scenes", ""]
            head = [*COLUMNS.values(), "AP by centre", "AP less visible", "AP less infrared", "AP by detector"]
            lines += ["| shown | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
            centre = rows_of(counts["centre"], places, kind)
            for method, scores in rows_of(counts["iou"], places, kind).items():
                cells = [f"{_number(scores[c].value)}" for c in ("recall", "precision")]
                cells += [_interval(scores[c]) for c in ("f1", "ap")]
                cells.append(_number(centre[method]["ap"].value))
                cells += [_difference(scores.get(f"ap less {s}")) for s in SINGLE]
                cells.append(f"{_number(scores['ap'].least)} to {_number(scores['ap'].most)}")
                lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def numbers_of(counts: dict[str, dict[str, np.ndarray]], sets: Sequence[str]) -> dict[str, Any]:
    """Rule -> set -> kind -> method -> measure -> its Score as plain values; NaN becomes None."""

    def plain(value: Score) -> dict[str, float | None]:
        return {k: None if math.isnan(v) else v for k, v in asdict(value).items()}

    table: dict[str, Any] = {}
    for rule, own in counts.items():
        for name in dict.fromkeys(sets):
            places = [k for k, one in enumerate(sets) if one == name]
            for kind in KINDS:
                rows = rows_of(own, places, kind)
                table.setdefault(rule, {}).setdefault(name, {})[kind] = {
                    method: {measure: plain(value) for measure, value in scores.items()}
                    for method, scores in rows.items()
                }
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _interval(value: Score) -> str:
    return "-" if math.isnan(value.value) else f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def _difference(value: Score | None) -> str:
    if value is None or math.isnan(value.value):
        return "-"
    return f"{value.value:+.2f} ({value.low:+.2f} to {value.high:+.2f})"
