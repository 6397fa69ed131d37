"""The page of a benchmark: its numbers are those of the scores, its marks those of the best."""

from __future__ import annotations

import html
import math
import re
from pathlib import Path

import numpy as np
import pytest

from anyfuse.benchmark.protocol import Protocol, Row, read_scores
from anyfuse.benchmark.report import number, write_report
from anyfuse.benchmark.run import Bench
from anyfuse.benchmark.store import Store
from anyfuse.io.write import write_image

METRICS = ("mi", "ssim", "halo")  # of the last, less is better
IMAGES = ["1", "2", "3"]
PROTOCOL = Protocol("set <one>", "ivf", "abc", metrics=dict.fromkeys(METRICS, "1"))
VALUES = {
    "good": [(3.0, 0.8, 0.01), (3.5, 0.7, 0.02), (4.0, 0.9, 0.03)],
    "fair & cheap": [(2.0, 0.6, 0.03), (2.5, math.nan, 0.04), (3.0, 0.5, 0.05)],
    "poor": [(1.0, 0.1, 0.4), (1.5, 0.2, 0.5), (1.0, 0.3, 0.6)],
    "copy 1": [(9.0, 0.5, 0.0), (9.0, 0.5, 0.0), (9.0, 0.5, 0.0)],
}


def bench(folder: Path) -> Bench:
    """A run of one image with its picture, timed, and one set left out."""
    for name in ("a", "b", "fused"):
        write_image(folder / f"{name}.png", np.full((16, 20), 90, np.uint8))
    return Bench(
        protocol=PROTOCOL,
        rows=[],
        groups={"1": (folder / "a.png", folder / "b.png")},
        fused={"good": {"1": folder / "fused.png"}},
        seconds={"good": [0.1, 0.3, 0.2]},
        skipped={"7": "lacks <b>"},
    )


@pytest.fixture
def page(tmp_path: Path) -> str:
    """A report on what a score file holds."""
    store = Store(tmp_path / "scores.csv", PROTOCOL, IMAGES)
    for method, rows in VALUES.items():
        origin = "trivial" if method == "copy 1" else "anyfuse x"
        for image, values in zip(IMAGES, rows, strict=True):
            store.add(Row(image, method, origin, dict(zip(METRICS, values, strict=True))))
    store.save()
    write_report(tmp_path / "report.html", bench(tmp_path), read_scores(tmp_path / "scores.csv")[1])
    return (tmp_path / "report.html").read_text()


def cells(page: str, method: str) -> list[tuple[str, str]]:
    """(mark, text) of each cell of a method's row in the first table."""
    rows = page.split("<h2>Means</h2>")[1].split("</table>", maxsplit=1)[0].split("<tr")
    row = next(row for row in rows if f"<td>{html.escape(method)} <small>" in row)
    return re.findall(r'<td(?: class="(\w*)")?>(.*?)</td>', row)


@pytest.mark.parametrize("method", list(VALUES))
def test_means_are_those_of_the_scores(page: str, method: str) -> None:
    found = cells(page, method)[-len(METRICS) :]
    for (_, text), values in zip(found, zip(*VALUES[method], strict=True), strict=True):
        finite = [v for v in values if not math.isnan(v)]
        assert text.startswith(number(sum(finite) / len(finite)))
        assert ("1 NaN" in text) == (len(finite) < len(values))


def test_the_best_are_marked_and_a_trivial_row_beats_them(page: str) -> None:
    marks = {method: [mark for mark, _ in cells(page, method)[-len(METRICS) :]] for method in VALUES}
    assert marks == {
        "good": ["beaten", "best", "beaten"],
        "fair & cheap": ["second", "second", "second"],
        "poor": ["", "", ""],
        "copy 1": ["", "", ""],
    }


def test_ranks_are_from_one_on(page: str) -> None:
    """The best method of most metrics comes first of those that are not trivial."""
    order = re.findall(
        r"<tr class=\"(\w*)\"><td>(.*?) <small>", page.split("<h2>Means</h2>")[1].split("</table>", maxsplit=1)[0]
    )
    assert [html.unescape(name) for kind, name in order if kind != "trivial"] == ["good", "fair & cheap", "poor"]
    assert [html.unescape(name) for kind, name in order if kind == "trivial"] == ["copy 1"]


def test_win_rates_of_two_rows_make_a_hundred(page: str) -> None:
    table = page.split("<h2>Win rates</h2>")[1].split("<table>")[1].split("</table>", maxsplit=1)[0]
    names = [html.unescape(name) for name in re.findall(r"<th>(.*?)</th>", table)[1:]]
    rates = [re.findall(r"<td>(\d*)</td>", row)[-len(names) :] for row in table.split("<tr>")[2:]]
    k, m = names.index("good"), names.index("poor")
    assert (rates[k][m], rates[m][k]) == ("100", "0")


def test_the_protocol_the_times_and_what_was_left_out(page: str) -> None:
    assert '"sources": "abc"' in html.unescape(page)
    assert "<title>anyfuse benchmark: set &lt;one&gt;, ivf</title>" in page
    assert "<td>good</td><td>0.2000</td><td>0.1000</td><td>0.3000</td>" in page
    assert "<li>7: lacks &lt;b&gt;</li>" in page
    assert page.count('src="data:image/png;base64,') == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.345, "12.35"),
        (0.123456, "0.1235"),
        (0.0001, "1.00e-04"),
        (0.0, "0.0000"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
