"""From rows to statements: means with intervals, ranks, win rates."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .protocol import Row


@dataclass(frozen=True)
class Mean:
    """Mean over images with a 95 % bootstrap interval; `missing` of `count` values are NaN and are not in the mean.

    With an infinite value (PSNR of equal images) the mean is infinite, and the interval NaN.
    """

    value: float
    low: float
    high: float
    count: int
    missing: int


def mean_of(values: Sequence[float], draws: int = 2000, seed: int = 0) -> Mean:
    """Percentile bootstrap over images."""
    array = np.asarray(values, dtype=np.float64)
    present = array[~np.isnan(array)]
    missing = len(array) - len(present)
    if not len(present):
        return Mean(math.nan, math.nan, math.nan, len(array), missing)
    if not np.isfinite(present).all():
        return Mean(sum(present.tolist()), math.nan, math.nan, len(array), missing)
    picks = np.random.default_rng(seed).integers(0, len(present), (draws, len(present)))
    low, high = np.percentile(present[picks].mean(1), [2.5, 97.5])
    return Mean(float(present.mean()), float(low), float(high), len(array), missing)


class Table:
    """Rows by method and image.

    `ranked` are the methods with scores for at least half of the images (slow methods are often run on a few); `common`
    are the images that all of those have, and ranks are over them alone. `sparse` are metrics that do not apply to
    every image, as no image without a person has a person's contrast: they are ranked over the images where some method
    has a value, however few.
    """

    def __init__(self, rows: Sequence[Row], better: dict[str, str], sparse: Collection[str] = ()) -> None:
        self.better = better
        self.sparse = sparse
        self.by_method: dict[str, dict[str, dict[str, float]]] = {}
        self.origin: dict[str, str] = {}
        for row in rows:
            self.by_method.setdefault(row.method, {})[row.image] = row.values
            self.origin[row.method] = row.origin
        self.images = list(dict.fromkeys(row.image for row in rows))
        self.methods = list(self.by_method)
        self.ranked = [m for m, own in self.by_method.items() if 2 * len(own) >= len(self.images)]
        self.common = [i for i in self.images if all(i in self.by_method[m] for m in self.ranked)]
        self.metrics = list(dict.fromkeys(name for row in rows for name in row.values if name in better))

    def values(self, method: str, metric: str, images: Sequence[str] | None = None) -> list[float]:
        """Scores of a method in a metric, on `images` (None: all) that it has; NaN among them."""
        rows = self.by_method[method]
        chosen = [i for i in (self.images if images is None else images) if i in rows]
        return [rows[i][metric] for i in chosen if metric in rows[i]]

    def means(self, metric: str, images: Sequence[str] | None = None) -> dict[str, Mean]:
        """Method -> mean; methods without the metric are left out."""
        values = {m: self.values(m, metric, images) for m in self.methods}
        return {m: mean_of(v) for m, v in values.items() if v}

    def defined(self, metric: str) -> tuple[list[str], list[str]]:
        """Ranked methods whose scores are not NaN on at least half of the common images, and the common images on which
        all those are not.

        A method that is left out has no rank in this metric: a copy of a source has no SCD.
        """
        images = self._applies(metric)
        holes = {m: {i for i in images if math.isnan(self._at(m, i, metric))} for m in self.ranked}
        methods = [m for m, found in holes.items() if 2 * len(found) <= len(images)]
        return methods, [i for i in images if not any(i in holes[m] for m in methods)]

    def _applies(self, metric: str) -> list[str]:
        """The common images, of a sparse metric those where some ranked method has a value."""
        if metric not in self.sparse:
            return self.common
        return [i for i in self.common if not all(math.isnan(self._at(m, i, metric)) for m in self.ranked)]

    def _at(self, method: str, image: str, metric: str) -> float:
        return self.by_method[method][image].get(metric, math.nan)

    def ranks(self, metric: str) -> dict[str, float]:
        """Rank of each method by its mean over the images of `defined`, 1 is best, ties share."""
        direction = self.better[metric]
        methods, images = self.defined(metric)
        if direction == "none" or not images:
            return {}
        sign = -1 if direction == "higher" else 1
        key = {m: sign * mean_of([self._at(m, i, metric) for i in images], draws=1).value for m in methods}
        return {
            m: 0.5 + sum(o < k for o in key.values()) + 0.5 * sum(o == k for o in key.values()) for m, k in key.items()
        }

    def mean_ranks(self, metrics: Sequence[str]) -> dict[str, float]:
        """Method -> mean of its ranks, best first, over those metrics that were scored for every ranked method."""
        columns = [self.ranks(m) for m in self.counted(metrics)]
        collected = {m: [c[m] for c in columns if m in c] for m in self.ranked}
        out = {m: float(np.mean(ranks)) for m, ranks in collected.items() if ranks}
        return dict(sorted(out.items(), key=lambda item: item[1]))

    def counted(self, metrics: Sequence[str]) -> list[str]:
        """Those metrics that the mean rank is over."""
        return [m for m in metrics if not self._unscored(m) and self.ranks(m)]

    def _unscored(self, metric: str) -> list[str]:
        """Ranked methods whose table lacks this column."""
        return [m for m in self.ranked if not self.values(m, metric, self.common)]

    def rank_notes(self, metrics: Sequence[str]) -> list[str]:
        """What the mean ranks leave out, one sentence a metric."""
        notes = []
        for metric in metrics:
            methods, images = self.defined(metric)
            without = [m for m in self.ranked if m not in methods]
            if self._unscored(metric):
                notes.append(f"{metric} is in no mean rank: not scored for {', '.join(self._unscored(metric))}.")
            elif metric not in self.counted([metric]):
                few = "it applies to no image" if metric in self.sparse else "NaN on too many images"
                notes.append(f"{metric} is in no mean rank: {few}.")
            else:
                if without:
                    notes.append(f"{metric} is not in the mean rank of {', '.join(without)}: NaN.")
                if len(images) < len(self.common):
                    which = "it applies to" if metric in self.sparse else "without NaN"
                    notes.append(f"{metric} is ranked on the {len(images)} of {len(self.common)} images {which}.")
        return notes

    def win_rate(self, a: str, b: str, metrics: Sequence[str]) -> float:
        """Share of (image, metric) cases of both in which `a` is better than `b`; ties count half."""
        won: list[float] = []
        for metric in metrics:
            if self.better[metric] == "none":
                continue
            sign = 1 if self.better[metric] == "higher" else -1
            for image in self.by_method[a].keys() & self.by_method[b].keys():
                x, y = self._at(a, image, metric), self._at(b, image, metric)
                if not math.isnan(x) and not math.isnan(y):
                    won.append(0.5 if x == y else float(sign * (x - y) > 0))
        return float(np.mean(won)) if won else math.nan
