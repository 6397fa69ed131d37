"""An option that does nothing in a run says so, on the terminal and in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

from anyfuse.cli.main import main


def notes_of(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: Any, output: str = "o.png") -> list[str]:
    """The notes of `anyfuse fuse`, which the report has too."""
    report = folder / "report.json"
    call = ["fuse", *arguments, "-o", folder / output, "--report", report, "--overwrite", "--model", "average"]
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in call])
    assert not stop.value.code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("anyfuse: ")]
    warnings = json.loads(report.read_text())["warnings"]
    assert lines == [f"anyfuse: note: {warning}" for warning in warnings]
    return warnings


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two small grey PNGs of one scene, and masks beside them."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(to8(0.2 + 0.6 * scene(60, 80))).save(path)
    for name, value in (("black", 0), ("white", 255)):
        Image.fromarray(np.full((60, 80), value, np.uint8)).save(tmp_path / f"{name}.png")
    return paths


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--align", "tags"], ["--align tags does nothing: no image has tags"]),
        (["--align", "none", "--keep-frame"], ["--keep-frame does nothing"]),
        (["--deghost", "on"], ["--deghost on does nothing"]),
        (["--resize", "reference"], ["--resize reference does nothing: all images have one size"]),
        (["--pages", "0"], ["--pages does nothing: every file has one page"]),
        (["--keep-order"], ["--keep-order does nothing"]),
        (["--white", "4095"], ["--white does nothing", "--white does nothing"]),
        (["--black", "3,", "--white", ",200"], ["--black does nothing", "--white does nothing"]),
        (["--range", "p1,p99"], ["--range does nothing", "--range does nothing"]),
        (["--mask", "-", "--mask", "-"], ["--mask does nothing"]),
        (["--mask", "-", "--mask", "{}/white.png"], ["takes nothing out"]),
        (["--mask", "-", "--mask", "{}/black.png"], ["b.png: its mask"]),
        (
            ["--mask", "{}/black.png", "--mask", "{}/black.png"],
            ["--mask takes out every pixel of every image", "a.png: its mask", "b.png: its mask"],
        ),
        (["--quality", "80"], ["--quality does nothing"]),
        (["--format", "png"], ["--format png does nothing"]),
        (["--jobs", "2"], ["--jobs 2 does nothing"]),
        (["--ghost-mask", "{}/ghosts.png"], ["--ghost-mask is black"]),
        ([], []),
        (["--align", "auto", "--keep-frame", "--deghost", "auto", "--range", "none"], []),
    ],
)
def test_an_option_without_effect_says_so(
    options: list[str], said: list[str], pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [option.format(tmp_path) for option in options]
    notes = notes_of(capsys, tmp_path, *pair, *given)
    assert len(notes) == len(said), notes
    assert all(any(text in note for note in notes) for text in said), notes


def test_local_displacements_that_a_file_lacks(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    (tmp_path / "t.json").write_text(json.dumps([row, row]))
    notes = notes_of(capsys, tmp_path, *pair, "--align", "local", "--use-transforms", str(tmp_path / "t.json"))
    assert len(notes) == 1
    assert notes[0].endswith("t.json has no local displacements")


def test_an_option_with_effect_says_nothing(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notes_of(capsys, tmp_path, *pair, "--quality", "80", output="o.jpg") == []
    Image.fromarray(np.rint(scene(60, 80) * 4000).astype(np.uint16)).save(pair[0])
    assert not [note for note in notes_of(capsys, tmp_path, *pair, "--white", "4095") if "nothing" in note]


def test_folders_say_so_once(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, path in zip("ab", pair, strict=True):
        (tmp_path / name).mkdir()
        path.rename(tmp_path / name / "1.png")
    assert len(notes_of(capsys, tmp_path, tmp_path / "a", tmp_path / "b", "--quality", "80", output="out")) == 1


@pytest.mark.parametrize("more", [[], ["--plan"]])
def test_a_report_of_scores_needs_a_cluster(
    pair: list[Path], capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["score", *map(str, [pair[0], "--sources", *pair]), "--report", "r", *more])
    assert stop.value.code
    assert "--report needs --on ray" in capsys.readouterr().err


def test_an_instruction_that_the_model_cannot_follow_is_one_error(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A usage error before the first set, not a failure of each."""
    for folder in "ab":
        (tmp_path / folder).mkdir()
        for name in "12":
            Image.open(pair[0]).save(tmp_path / folder / f"{name}.png")
    call = ["fuse", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out", "--model", "average"]
    with pytest.raises(SystemExit) as stop:
        main([*map(str, call), "--say", "remove the haze"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("follows no instructions") == 1
    assert not list((tmp_path / "out").glob("*.png"))


def test_sets_that_a_model_does_not_take_are_failures_of_each(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
        Image.open(pair[0]).save(tmp_path / folder / "1.png")
    with pytest.raises(SystemExit) as stop:
        main(["fuse", *(str(tmp_path / f) for f in "abc"), "-o", str(tmp_path / "out"), "--model", "mmaif-tiny"])
    assert stop.value.code == 1
    assert "takes exactly 2 images, not 3" in capsys.readouterr().err
