"""A disk that is full: what is written is whole, each set that fails is a line, and a rerun with space completes.

The disk is a tmpfs of 96 KiB, so the tests need the right to mount one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_here import anyfuse, start, write_pairs

from anyfuse.jobs.rows import read_rows

SETS = 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds 96 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here ({error})")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"), SETS, 160, 200)


@pytest.fixture(scope="module")
def expected(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("alone") / "out"
    anyfuse("fuse", pairs / "ir", pairs / "vis", "-o", out, "--align", "none", "-q")
    return files(out)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_whole(out: Path, expected: dict[str, bytes], err: str) -> None:
    """Some results are there and equal, nothing else is, and each line of the errors gives the reason."""
    there = files(out)
    assert 0 < len(there) < SETS
    assert there.items() <= expected.items()
    lines = [line for line in err.splitlines() if line.strip()]
    assert all(line.startswith("anyfuse: ") and os.strerror(28) in line for line in lines), err
    assert sum(f"{name}: cannot be written" in err for name in expected) == SETS - len(there)


def test_a_folder_on_one_machine(disk: Path, pairs: Path, expected: dict[str, bytes]) -> None:
    out = disk / "out"
    command = ["fuse", pairs / "ir", pairs / "vis", "-o", out, "--align", "none", "-q"]
    _, err = anyfuse(*command, status=1)
    assert_whole(out, expected, err)
    enlarge(disk)
    anyfuse(*command)
    assert files(out) == expected


@pytest.mark.cluster
@pytest.mark.parametrize("full", ["for results", "for the report too"])
def test_on_a_cluster(full: str, nodes: Any, disk: Path, pairs: Path, expected: dict[str, bytes]) -> None:
    out = disk / "out"
    command = ["fuse", pairs / "ir", pairs / "vis", "-o", out, "--align", "none", "--on", "ray", "-q"]
    if full == "for results":
        command += ["--report", disk.parent / "report"]
    process = start(*command, address=nodes.address)
    _, err = process.communicate(timeout=300)
    assert process.returncode in ((1,) if full == "for results" else (1, 2)), err
    assert_whole(out, expected, err)
    if full == "for results":
        rows = read_rows(str(disk.parent / "report"))
        assert len(rows) == SETS
        assert {row["name"] + ".png" for row in rows if row["status"] == "fused"} == set(files(out))
    enlarge(disk)
    anyfuse(*command, address=nodes.address)
    assert files(out) == expected
    rows = read_rows(str(disk.parent / "report" if full == "for results" else out / "report.parquet"))
    assert sorted(row["name"] for row in rows) == [f"{index:02d}" for index in range(SETS)]
    assert {row["status"] for row in rows} <= {"fused", "there"}


@pytest.mark.cluster
@pytest.mark.parametrize("on", [[], ["--on", "ray"]], ids=["one machine", "cluster"])
def test_degraded_images(on: list[str], nodes: Any, disk: Path, pairs: Path, tmp_path: Path) -> None:
    """The manifest may lack what is there, and a rerun writes it."""
    alone, out = tmp_path / "alone", disk / "out"
    anyfuse("degrade", pairs / "ir", "-o", alone, "--ops", "noise:0.3", "-q")
    command = ["degrade", pairs / "ir", "-o", out, "--ops", "noise:0.3", "-q"]
    process = start(*command, *on, address=nodes.address)
    _, err = process.communicate(timeout=300)
    assert process.returncode in (1, 2), err
    lines = [line for line in err.splitlines() if line.strip()]
    assert lines
    assert all(line.startswith("anyfuse: ") and os.strerror(28) in line for line in lines), err
    there = {name: content for name, content in files(out).items() if name.endswith(".png")}
    assert len(there) < SETS
    assert there.items() <= files(alone).items()
    enlarge(disk)
    anyfuse(*command, *on, address=nodes.address)
    assert files(out) == files(alone)
