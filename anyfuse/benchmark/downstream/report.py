"""The tables of the section, as Markdown and as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ...control import OBJECTS
from .scores import MEASURES, Score, draws_of, measure, score

SINGLE = ("visible", "infrared")
"""The images alone, which every table shows."""
ALL = "people and vehicles"
KINDS = {"people": (0,), "vehicles": (1,), ALL: tuple(range(len(OBJECTS)))}
HEAD = ("recall", "precision", "F1", "AP", "AP by centre", "AP less visible", "AP less infrared", "AP by detector")


Rows = dict[str, dict[str, Score]]
"""Method -> measure -> score; beside MEASURES 'ap less visible' and 'ap less infrared'."""
Tables = dict[str, dict[str, dict[str, Rows]]]
"""Rule -> set -> kind -> rows."""


def rows_of(counts: dict[str, np.ndarray], places: Sequence[int], kind: str) -> Rows:
    """Scores on some scenes.

    Args:
        counts: method -> (detectors, scenes, thresholds, OBJECTS, 3).
        places: of the scenes.
        kind: of KINDS.
    """
    own = {m: c[:, list(places)][..., list(KINDS[kind]), :].sum(-2) for m, c in counts.items()}
    draws = draws_of(len(places))
    found = {m: {name: measure(c, name, draws) for name in MEASURES} for m, c in own.items()}
    rows = {m: {name: score(one) for name, one in measured.items()} for m, measured in found.items()}
    for method, scores in rows.items():
        for single in SINGLE:
            if method != single:
                scores[f"ap less {single}"] = score(found[method]["ap"], found[single]["ap"])
    return rows


def tables_of(counts: dict[str, dict[str, np.ndarray]], sets: Sequence[str]) -> Tables:
    """All scores.

    Args:
        counts: rule -> method -> (detectors, scenes, thresholds, OBJECTS, 3).
        sets: of each scene.
    """
    tables: Tables = {}
    for rule, own in counts.items():
        for name in dict.fromkeys(sets):
            places = [k for k, one in enumerate(sets) if one == name]
            tables.setdefault(rule, {})[name] = {kind: rows_of(own, places, kind) for kind in KINDS}
    return tables


def markdown(tables: Tables, there: dict[str, dict[str, int]], detectors: Sequence[str]) -> str:
    """The page.

    Args:
        tables: of tables_of.
        there: set -> kind -> boxes, and 'scenes'.
        detectors: names.
    """
    lines = [
        "# downstream",
        "",
        f"Detectors: {', '.join(detectors)}. Recall, precision and F1 at threshold 0.5, AP over all thresholds; means "
        "over detectors, in brackets the 95 % interval over scenes.",
    ]
    for name, kinds in tables["iou"].items():
        for kind, rows in kinds.items():
            if not there[name][kind]:
                continue
            lines += ["", f"## {name}: {kind}, {there[name][kind]} in {there[name]['scenes']} scenes", ""]
            lines += ["| shown | " + " | ".join(HEAD) + " |", "|---|" + "---:|" * len(HEAD)]
            for method, scores in rows.items():
                cells = [_number(scores[c].value) for c in ("recall", "precision")]
                cells += [_interval(scores[c]) for c in ("f1", "ap")]
                cells.append(_number(tables["centre"][name][kind][method]["ap"].value))
                cells += [_difference(scores.get(f"ap less {s}")) for s in SINGLE]
                cells.append(f"{_number(scores['ap'].least)} to {_number(scores['ap'].most)}")
                lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def plain(tables: Tables) -> dict[str, Any]:
    """Tables for JSON: each Score as plain values, NaN as None."""

    def values(one: Any) -> Any:
        if isinstance(one, Score):
            return {k: None if math.isnan(v) else v for k, v in asdict(one).items()}
        return {key: values(value) for key, value in one.items()}

    return dict(values(tables))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _interval(value: Score) -> str:
    return "-" if math.isnan(value.value) else f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def _difference(value: Score | None) -> str:
    if value is None or math.isnan(value.value):
        return "-"
    return f"{value.value:+.2f} ({value.low:+.2f} to {value.high:+.2f})"
