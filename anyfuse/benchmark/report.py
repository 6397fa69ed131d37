"""One HTML file with everything in it: protocol, means with intervals, ranks, win rates, plots, pictures to
zoom into.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..io.atomic import write_whole
from ..metrics import METRICS
from .page import Pictures, pictures, render
from .protocol import Row
from .run import Bench, ranked_groups, sparse_metrics
from .scene import is_trivial
from .stats import Mean, Table

ARROW = {"higher": "↑", "lower": "↓", "none": "·"}
TITLES = {"rank": "mean rank", "seen": "rank by what people look at"}
TRIVIAL, OURS, OTHERS = "#999", "#1b7f4b", "#2d5fa8"  # colours of the plots
WIDTH, LEFT, STEP = 430, 150, 18  # of a plot, of its names, of its lines, in pixels


def number(value: float) -> str:
    """Two decimals from 10 on, four below, and powers of ten below 1e-3; NaN and infinity say so."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    if 0 < abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _places(table: Table, metric: str, means: dict[str, Mean]) -> dict[str, str]:
    """Method -> 'best' ('beaten' where a trivial row is better) and 'second', of the ranked methods that are not
    trivial.
    """
    if table.better[metric] == "none":
        return {}
    sign = -1 if table.better[metric] == "higher" else 1
    key = {m: sign * v.value for m, v in means.items() if not math.isnan(v.value)}
    order = sorted((m for m in key if m in table.ranked and not is_trivial(m)), key=key.__getitem__)
    if not order:
        return {}
    beaten = any(key[m] < key[order[0]] for m in key if is_trivial(m))
    return dict(zip(order[:2], ("beaten" if beaten else "best", "second"), strict=False))


def means_table(table: Table, task: str = "") -> dict[str, Any]:
    """Methods by metrics, best first by mean rank; the two best non-trivial of each column are marked."""
    groups = ranked_groups(table.metrics, task)
    ranks = {heading: table.mean_ranks(names) for heading, names in groups.items()}
    order = sorted(table.methods, key=lambda m: ranks["rank"].get(m, math.inf))
    columns = {m: table.means(m) for m in table.metrics}
    places = {(method, m): place for m in table.metrics for method, place in _places(table, m, columns[m]).items()}
    rows = [
        {
            "method": method,
            "trivial": is_trivial(method),
            "origin": "given" if table.origin[method].startswith("given") else table.origin[method],
            "count": len(table.by_method[method]),
            "ranks": [number(of[method]) if method in of else "–" for of in ranks.values()],
            "cells": [_cell(columns[m].get(method), places.get((method, m), "")) for m in table.metrics],
        }
        for method in order
    ]
    return {"titles": [TITLES[heading] for heading in groups], "rows": rows}


def _cell(mean: Mean | None, place: str) -> dict[str, Any] | None:
    if mean is None:
        return None
    interval = "" if math.isnan(mean.low) else f"{number(mean.low)}–{number(mean.high)}"
    return {"place": place, "value": number(mean.value), "missing": mean.missing, "interval": interval}


def wins_table(table: Table, ranked: list[str]) -> dict[str, Any]:
    """Row beats column in this share of all (image, metric) cases, in per cent."""
    ranks = table.mean_ranks(ranked)
    order = sorted(table.methods, key=lambda m: ranks.get(m, math.inf))[:16]
    rows = [(a, ["" if a == b else f"{100 * table.win_rate(a, b, ranked):.0f}" for b in order]) for a in order]
    return {"methods": order, "rows": rows}


def plot(table: Table, metric: str) -> dict[str, Any] | None:
    """Where the means and intervals of one metric lie in its plot; None where there are none."""
    means = {m: v for m, v in table.means(metric).items() if math.isfinite(v.value)}
    order = sorted(means, key=lambda m: means[m].value, reverse=table.better[metric] != "lower")[:18]
    if not order:
        return None
    low, high = min(means[m].low for m in order), max(means[m].high for m in order)
    span = (high - low) or 1.0

    def x(value: float) -> str:
        return f"{LEFT + (value - low) / span * (WIDTH - LEFT - 20):.1f}"

    lines = []
    for index, method in enumerate(order):
        mean = means[method]
        ours = OURS if table.origin[method].startswith("anyfuse") else OTHERS
        colour = TRIVIAL if is_trivial(method) else ours
        places = {"low": x(mean.low), "high": x(mean.high), "mean": x(mean.value)}
        lines.append({"method": method, "colour": colour, "y": 30 + index * STEP, **places})
    size = {"width": WIDTH, "height": 40 + len(order) * STEP, "left": LEFT}
    return {"metric": metric, "lines": lines, "low": number(low), "high": number(high), **size}


def shown_pictures(result: Bench, count: int) -> list[Pictures]:
    """Inputs and results of `count` images spread over the set."""
    stems = [s for s in result.groups if any(s in files for files in result.fused.values())]
    out = []
    for stem in stems[:: max(1, len(stems) // max(1, count))][:count]:
        files = [(f"source {k + 1}", p) for k, p in enumerate(result.groups[stem])]
        files += [(method, fused[stem]) for method, fused in result.fused.items() if stem in fused]
        out.append(pictures(stem, files))
    return out


def timings(result: Bench) -> list[tuple[str, str, str, str]]:
    """Median, smallest and largest seconds an image of each method that fused in this run."""
    return [(m, f"{np.median(t):.4f}", f"{min(t):.4f}", f"{max(t):.4f}") for m, t in result.seconds.items() if t]


def write_report(path: Path, result: Bench, rows: list[Row], images: int = 4) -> Table:
    """Writes the page and returns the table it shows. `rows` may hold peers' rows beside the run's own."""
    table = Table(rows, {name: metric.better for name, metric in METRICS.items()}, sparse_metrics())
    groups = ranked_groups(table.metrics, result.protocol.task)
    ranked, salient = groups["rank"], groups.get("seen", [])
    page = render(
        "report.html",
        protocol=result.protocol,
        protocol_text=json.dumps(asdict(result.protocol), indent=1),
        table=table,
        arrow={metric: ARROW[table.better[metric]] for metric in table.metrics},
        sources={metric: METRICS[metric].source for metric in table.metrics},
        means=means_table(table, result.protocol.task),
        ranked=ranked,
        counted=", ".join(table.counted(ranked)),
        rank_notes=" ".join(table.rank_notes(ranked)),
        wins=wins_table(table, ranked),
        salient=_salient(table, salient) if salient else None,
        plots=[found for metric in table.metrics if (found := plot(table, metric)) is not None],
        shown=shown_pictures(result, images),
        threads=result.threads,
        peak=f"{result.peak_mib:.0f} MiB" if result.peak_mib else "not measured on a cluster",
        times=timings(result),
        left_out={**result.skipped, **result.failures},
    )
    write_whole(path, [page], overwrite=True)
    return table


def _salient(table: Table, metrics: list[str]) -> dict[str, Any]:
    """The rank by what people look at: what it is over, and its win rates."""
    counted, notes = ", ".join(table.counted(metrics)), " ".join(table.rank_notes(metrics))
    return {"metrics": metrics, "counted": counted, "notes": notes, "wins": wins_table(table, metrics)}
