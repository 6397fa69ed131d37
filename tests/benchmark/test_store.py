"""The score file of a folder, and the protocol in its head."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from anyfuse.benchmark.protocol import Protocol, Row, check_same, differences, read_scores, write_scores
from anyfuse.benchmark.store import Store
from anyfuse.errors import FusionError

PROTOCOL = Protocol("set", "ivf", "abc", metrics={"mi": "1", "vif": "2"})


def test_a_file_comes_back(tmp_path: Path) -> None:
    rows = [Row("1", "a, b", "given x", {"mi": 1 / 3, "vif": math.nan}), Row('2"', "a", "anyfuse y", {"mi": math.inf})]
    write_scores(tmp_path / "s.csv", PROTOCOL, rows)
    protocol, found = read_scores(tmp_path / "s.csv")
    assert protocol == PROTOCOL
    assert found[0].values["mi"] == 1 / 3
    assert math.isnan(found[0].values["vif"])
    assert found[1] == rows[1]
    assert "vif" not in found[1].values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grey": "pil"}, "grey is 'opencv' in one and 'pil' in the other"),
        ({"sources": "x" * 64}, "sources is 'abc' in one and 'xxxxxxxxxxxx...' in the other"),
        ({"metrics": {"mi": "9"}}, "metric mi has version 1 in one and 9 in the other"),
    ],
)
def test_other_protocols_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    other = replace(PROTOCOL, **change)  # type: ignore[arg-type]
    assert differences(PROTOCOL, other) == [message]
    with pytest.raises(FusionError, match="cannot be compared"):
        check_same(PROTOCOL, other, ("a", "b"))
    write_scores(tmp_path / "s.csv", PROTOCOL, [])
    with pytest.raises(FusionError, match="has another protocol"):
        Store(tmp_path / "s.csv", other, [])


def test_more_metrics_are_no_difference() -> None:
    assert not differences(PROTOCOL, replace(PROTOCOL, metrics={"mi": "1", "ssim": "7"}))


def test_rows_grow_from_run_to_run(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    store = Store(path, PROTOCOL, ["1", "2"])
    store.add(Row("2", "a", "anyfuse x", {"mi": 1.0}))
    store.add(Row("1", "a", "anyfuse x", {"mi": 2.0}))
    store.save()
    assert [r.image for r in read_scores(path)[1]] == ["1", "2"]  # in the order of the images
    again = Store(path, replace(PROTOCOL, metrics={"vif": "2"}), ["1", "2"])
    again.add(Row("1", "a", "anyfuse x", {"vif": 3.0}))
    assert again.find("1", "a", "anyfuse x", ["mi", "vif"]) == Row("1", "a", "anyfuse x", {"mi": 2.0, "vif": 3.0})
    assert again.find("2", "a", "anyfuse x", ["vif"]) is None
    assert again.find("1", "a", "anyfuse other weights", ["mi"]) is None
    again.add(Row("1", "a", "anyfuse other weights", {"vif": 4.0}))
    assert again.find("1", "a", "anyfuse other weights", ["mi"]) is None  # scores of other weights do not stay
    again.retain(lambda row: row.image == "2")
    again.save()
    assert [r.image for r in read_scores(path)[1]] == ["2"]


def test_nothing_new_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    store = Store(path, PROTOCOL, [])
    store.save()
    path.unlink()
    store.save()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "image,method\n", "# anyfuse scores 1\n# {}\nimage,method,origin,mi\n1,a,b,c\n"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(FusionError):
        read_scores(tmp_path / "s.csv")
