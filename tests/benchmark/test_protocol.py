"""What a table was made with: tables of different protocols are refused, each field by its name."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from anyfuse.benchmark.protocol import (
    Protocol,
    Row,
    check_peers,
    check_same,
    differences,
    hash_files,
    read_peers,
    read_scores,
    write_scores,
)
from anyfuse.errors import FusionError

PROTOCOL = Protocol("set", "ivf", "abc", metrics={"mi": "1"})


@pytest.mark.parametrize("name", [f.name for f in fields(Protocol) if f.name != "metrics"])
def test_each_field_counts(name: str) -> None:
    other = replace(PROTOCOL, **{name: "another"})
    (reason,) = differences(PROTOCOL, other)
    assert reason == f"{name} is '{getattr(PROTOCOL, name)}' in one and 'another' in the other"
    with pytest.raises(FusionError, match=f"a.csv and b.csv cannot be compared: {name} is"):
        check_same(PROTOCOL, other, ("a.csv", "b.csv"))


def test_several_differences_are_counted() -> None:
    other = replace(PROTOCOL, task="mef", grey="pil", metrics={"mi": "2"})
    assert len(differences(PROTOCOL, other)) == 3
    with pytest.raises(FusionError, match="and 2 more"):
        check_same(PROTOCOL, other, ("a", "b"))


def test_equal_protocols_pass() -> None:
    assert differences(PROTOCOL, replace(PROTOCOL)) == []
    check_same(PROTOCOL, replace(PROTOCOL, metrics={}), ("a", "b"))


def test_the_hash_sees_names_contents_and_order(tmp_path: Path) -> None:
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    first = hash_files({"1": (a, b)})
    assert len(first) == 64
    assert hash_files({"1": (b, a)}) != first
    assert hash_files({"2": (a, b)}) != first
    a.write_bytes(b"other")
    assert hash_files({"1": (a, b)}) != first
    a.write_bytes(b"one")
    assert hash_files({"1": (a, b)}) == first


def test_a_file_without_a_protocol_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("image,method,origin,mi\n1,a,given,1.0\n")
    with pytest.raises(FusionError, match="no protocol in its head"):
        read_scores(path)
    write_scores(path, PROTOCOL, [Row("1", "a", "given", {"mi": 0.1})])
    assert read_scores(path) == (PROTOCOL, [Row("1", "a", "given", {"mi": 0.1})])


def peers(path: Path, average: float) -> list[Row]:
    """Scores of others in their own format, with the trivial row that tells their protocol."""
    path.write_text(f"folder,name,method,origin,MI\nx/set,1,Average,toolbox,{average}\nx/set,1,theirs,toolbox,2.5\n")
    return read_peers(path, "set")


def test_scores_of_others_must_agree_on_the_average(tmp_path: Path) -> None:
    ours = [Row("1", "average", "trivial", {"mi": 1.0})]
    rows = check_peers(tmp_path / "p.csv", peers(tmp_path / "p.csv", 1.0005), ours)
    assert rows == [Row("1", "theirs", "toolbox", {"mi": 2.5})]
    with pytest.raises(FusionError, match=r"another protocol: mi of Average on 1 is 1\.1 there and 1 here"):
        check_peers(tmp_path / "p.csv", peers(tmp_path / "p.csv", 1.1), ours)
    with pytest.raises(FusionError, match="the protocol cannot be checked"):
        check_peers(tmp_path / "p.csv", peers(tmp_path / "p.csv", 1.0), [])
