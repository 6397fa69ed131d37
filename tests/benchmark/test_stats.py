"""Means, ranks, win rates: values worked out by hand."""

from __future__ import annotations

import math

import pytest

from anyfuse.benchmark.protocol import Row
from anyfuse.benchmark.stats import Table, mean_of

BETTER = {"up": "higher", "down": "lower", "size": "none"}
NAN = math.nan


def table(values: dict[str, list[dict[str, float]]]) -> Table:
    rows = [Row(str(k), method, "anyfuse", v) for method, found in values.items() for k, v in enumerate(found)]
    return Table(rows, BETTER)


def test_mean_and_interval() -> None:
    mean = mean_of([1.0, 2.0, 3.0, NAN])
    assert (mean.value, mean.count, mean.missing) == (2.0, 4, 1)
    assert 1 <= mean.low < 2 < mean.high <= 3
    assert mean_of([1.0, 2.0, 3.0, NAN]) == mean  # the same draws each time
    flat = mean_of([5.0] * 6)
    assert flat.low == flat.value == flat.high == 5
    wide, narrow = mean_of([0.0, 10.0] * 4), mean_of([0.0, 10.0] * 100)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_nothing_and_infinity() -> None:
    nothing = mean_of([NAN, NAN])
    assert math.isnan(nothing.value)
    assert nothing.missing == 2
    endless = mean_of([math.inf, 1.0])
    assert endless.value == math.inf
    assert math.isnan(endless.low)
    assert math.isnan(mean_of([]).value)


def test_ranks_share_ties_and_know_the_direction() -> None:
    found = table(
        {
            "a": [{"up": 3, "down": 3, "size": 1}] * 2,
            "b": [{"up": 3, "down": 2, "size": 1}] * 2,
            "c": [{"up": 1, "down": 1, "size": 1}] * 2,
        }
    )
    assert found.ranks("up") == {"a": 1.5, "b": 1.5, "c": 3}
    assert found.ranks("down") == {"a": 3, "b": 2, "c": 1}
    assert found.ranks("size") == {}
    assert found.mean_ranks(["up", "down", "size"]) == {"b": 1.75, "c": 2, "a": 2.25}
    assert list(found.mean_ranks(["down"])) == ["c", "b", "a"]


def test_a_few_images_give_no_rank() -> None:
    found = table({"a": [{"up": 1}] * 4, "b": [{"up": 2}] * 4, "slow": [{"up": 9}]})
    assert found.ranked == ["a", "b"]
    assert found.ranks("up") == {"b": 1, "a": 2}
    assert found.common == ["0", "1", "2", "3"]


def test_nan_takes_an_image_or_a_method_out() -> None:
    found = table({"a": [{"up": 1}, {"up": 5}], "b": [{"up": 2}, {"up": NAN}], "copy": [{"up": NAN}] * 2})
    methods, images = found.defined("up")
    assert methods == ["a", "b"]
    assert images == ["0"]
    assert found.ranks("up") == {"b": 1, "a": 2}
    assert found.rank_notes(["up"]) == [
        "up is not in the mean rank of copy: NaN.",
        "up is ranked on the 1 of 2 images without NaN.",
    ]


def test_a_column_that_a_method_lacks_is_in_no_mean_rank() -> None:
    found = table({"a": [{"up": 1, "down": 1}], "b": [{"up": 2}]})
    assert found.counted(["up", "down"]) == ["up"]
    assert found.rank_notes(["down"]) == ["down is in no mean rank: not scored for b."]


def test_win_rate() -> None:
    found = table(
        {"a": [{"up": 2, "down": 1}, {"up": 1, "down": NAN}], "b": [{"up": 1, "down": 2}, {"up": 1, "down": 1}]}
    )
    assert found.win_rate("a", "b", ["up", "down"]) == pytest.approx((1 + 0.5 + 1) / 3)
    assert found.win_rate("b", "a", ["up", "down"]) == pytest.approx((0 + 0.5 + 0) / 3)
    assert math.isnan(found.win_rate("a", "b", ["size"]))
