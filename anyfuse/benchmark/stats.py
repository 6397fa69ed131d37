"""From rows to statements: means with intervals, ranks, win rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .protocol import Row


@dataclass(frozen=True)
class Mean:
    """Mean over images with a 95 % bootstrap interval; `missing` of `count` values are NaN and are not in the mean."""

    value: float
    low: float
    high: float
    count: int
    missing: int


def mean_of(values: Sequence[float], draws: int = 2000, seed: int = 0) -> Mean:
    """Percentile bootstrap over images."""
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if not len(finite):
        return Mean(math.nan, math.nan, math.nan, len(array), len(array))
    picks = np.random.default_rng(seed).integers(0, len(finite), (draws, len(finite)))
    low, high = np.percentile(finite[picks].mean(1), [2.5, 97.5])
    return Mean(float(finite.mean()), float(low), float(high), len(array), len(array) - len(finite))


class Table:
    """Rows by method and image.

    `ranked` are the methods with scores for at least half of the images (slow methods are often run on a few); `common` are the images
    that all of those have, and ranks are over them alone.
    """

    def __init__(self, rows: Sequence[Row], better: dict[str, str]) -> None:
        self.better = better
        self.by_method: dict[str, dict[str, dict[str, float]]] = {}
        self.origin: dict[str, str] = {}
        for row in rows:
            self.by_method.setdefault(row.method, {})[row.image] = row.values
            self.origin[row.method] = row.origin
        self.images = list(dict.fromkeys(row.image for row in rows))
        self.methods = list(self.by_method)
        self.ranked = [m for m, found in self.by_method.items() if 2 * len(found) >= len(self.images)]
        self.common = [i for i in self.images if all(i in self.by_method[m] for m in self.ranked)]
        self.metrics = list(dict.fromkeys(name for row in rows for name in row.values if name in better))

    def values(self, method: str, metric: str, images: Sequence[str] | None = None) -> list[float]:
        found = self.by_method[method]
        chosen = [i for i in (self.images if images is None else images) if i in found]
        return [found[i][metric] for i in chosen if metric in found[i]]

    def means(self, metric: str, images: Sequence[str] | None = None) -> dict[str, Mean]:
        """Method -> mean; methods without the metric are left out."""
        found = {m: self.values(m, metric, images) for m in self.methods}
        return {m: mean_of(v) for m, v in found.items() if v}

    def ranks(self, metric: str) -> dict[str, float]:
        """Rank of each method by its mean over the common images, 1 is best, ties share; NaN means rank last."""
        direction = self.better[metric]
        if direction == "none":
            return {}
        means = {m: v.value for m, v in self.means(metric, self.common).items() if m in self.ranked}
        key = {m: (math.inf if math.isnan(v) else -v if direction == "higher" else v) for m, v in means.items()}
        return {
            m: 0.5 + sum(o < k for o in key.values()) + 0.5 * sum(o == k for o in key.values()) for m, k in key.items()
        }

    def mean_ranks(self, metrics: Sequence[str]) -> dict[str, float]:
        """Method -> mean rank over those metrics that every ranked method has, best first."""
        columns = [r for r in (self.ranks(m) for m in metrics) if len(r) == len(self.ranked)]
        if not columns:
            return {}
        out = {m: float(np.mean([c[m] for c in columns])) for m in self.ranked}
        return dict(sorted(out.items(), key=lambda item: item[1]))

    def win_rate(self, a: str, b: str, metrics: Sequence[str]) -> float:
        """Share of (image, metric) cases of both in which `a` is better than `b`; ties count half."""
        won: list[float] = []
        for metric in metrics:
            if self.better[metric] == "none":
                continue
            sign = 1 if self.better[metric] == "higher" else -1
            for image in self.by_method[a].keys() & self.by_method[b].keys():
                x, y = (self.by_method[m][image].get(metric, math.nan) for m in (a, b))
                if math.isfinite(x) and math.isfinite(y):
                    won.append(0.5 if x == y else float(sign * (x - y) > 0))
        return float(np.mean(won)) if won else math.nan
