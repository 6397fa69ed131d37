"""Estimates of files: one by one, of a scene, as plain values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import scene, to8

from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.jobs.estimates import estimate_files, estimate_rows


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    write_image(tmp_path / "grey.png", to8(scene(64, 80, 1)))
    write_image(tmp_path / "colour.png", to8(scene(64, 80, 2, 3)))
    return [tmp_path / "grey.png", tmp_path / "colour.png"]


def test_each_file_alone(files: list[Path]) -> None:
    estimates = estimate_files(files)
    assert [names for names, _ in estimates] == [[str(path)] for path in files]
    assert [one.roles for _, one in estimates] == [("infrared",), ("visible",)]
    assert estimate_files(files, source="visible")[0][1].roles == ("visible",)


def test_one_scene(files: list[Path]) -> None:
    ((names, one),) = estimate_files(files, scene=True)
    assert len(names) == len(one.roles) == 2
    assert estimate_files(files, "ivf", scene=True)[0][1].task == "ivf"
    with pytest.raises(FusionError, match="two files or more"):
        estimate_files(files[:1], scene=True)
    with pytest.raises(FusionError, match="unknown task"):
        estimate_files(files, "painting", scene=True)


def test_plain_values(files: list[Path]) -> None:
    ((names, one),) = estimate_files(files, "ivf", scene=True)
    rows = json.loads(json.dumps(estimate_rows(names, one)))
    assert [row["file"] for row in rows] == [str(path) for path in files]
    assert {row["task"] for row in rows} == {"ivf"}
    for row, faults in zip(rows, one.images, strict=True):
        assert row["faults"].keys() == faults.keys()
        for name, fault in row["faults"].items():
            assert set(fault) == {"probability", "strength", "threshold", "assumed"}
            assert abs(fault["probability"] - faults[name].probability) < 1e-4
