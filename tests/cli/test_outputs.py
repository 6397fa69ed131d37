"""Places where nothing can be written are refused before the work, whatever option or command names them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import scene, to8
from PIL import Image

from anyfuse.cli.main import main
from anyfuse.fuser import Fuser


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images, two folders of them, a file where a folder should be, a folder without permission. No model runs."""
    for name in ("a.png", "b.png", "one/a.png", "two/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(to8(scene(48, 64, len(name)))).save(tmp_path / name)
    (tmp_path / "file").write_text("text")
    (tmp_path / "locked").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and real(path, mode))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(Fuser, "__init__", refuse)
    monkeypatch.setattr("anyfuse.jobs.align.read_frames", refuse)
    monkeypatch.setattr("anyfuse.degradation.manifest.read_image", refuse)
    monkeypatch.setattr("anyfuse.benchmark.score.read_image", refuse)
    return tmp_path


BAD = ("file/x", "locked/x", "locked/x/y", "file/x/y", "n" * 300)
SINGLE = ("fuse", "{}/a.png", "{}/b.png", "--model", "average", "-o")
MANY = ("fuse", "{}/one", "{}/two", "--model", "average", "-o")
ALIGN = ("align", "{}/a.png", "{}/b.png", "-o")
CASES = {
    "fuse -o": (*SINGLE, "{}/BAD.png"),
    "fuse --report": (*SINGLE, "{}/o.png", "--report", "{}/BAD.json"),
    "fuse --weights-out": (*SINGLE, "{}/o.png", "--weights-out", "{}/BAD"),
    "fuse --explain": (*SINGLE, "{}/o.png", "--explain", "{}/BAD"),
    "fuse --ghost-mask": (*SINGLE, "{}/o.png", "--ghost-mask", "{}/BAD.png"),
    "fuse --mask-out": (*SINGLE, "{}/o.png", "--say", "highlight the cars", "--mask-out", "{}/BAD.png"),
    "fuse --save-transforms": (*SINGLE, "{}/o.png", "--save-transforms", "{}/BAD.json"),
    "fuse --aligned-out": (*SINGLE, "{}/o.png", "--aligned-out", "{}/BAD"),
    "folders -o": (*MANY, "{}/BAD"),
    "folders --report": (*MANY, "{}/out", "--report", "{}/BAD.json"),
    "folders --weights-out": (*MANY, "{}/out", "--weights-out", "{}/BAD"),
    "folders --explain": (*MANY, "{}/out", "--explain", "{}/BAD"),
    "folders --mask-out": (*MANY, "{}/out", "--say", "highlight the cars", "--mask-out", "{}/BAD"),
    "align -o": (*ALIGN, "{}/BAD"),
    "align --report": (*ALIGN, "{}/out", "--report", "{}/BAD.json"),
    "align --save-transforms": (*ALIGN, "{}/out", "--save-transforms", "{}/BAD.json"),
    "score -o": ("score", "{}/a.png", "--sources", "{}/a.png", "{}/b.png", "-o", "{}/BAD.csv"),
    "degrade -o": ("degrade", "{}/a.png", "--ops", "noise:0.3", "-o", "{}/BAD.png"),
    "degrade folder -o": ("degrade", "{}/one", "--ops", "noise:0.3", "-o", "{}/BAD"),
    "bench -o": ("bench", "--data", "{}/one", "--task", "ivf", "-o", "{}/BAD"),
    "bench --degraded -o": ("bench", "--data", "{}/one", "--degraded", "built-in", "-o", "{}/BAD"),
    "bench --section -o": ("bench", "--data", "{}/one", "--section", "control", "-o", "{}/BAD"),
    "train --out": ("train", "anyfuse", "--data", "{}/one", "--out", "{}/BAD"),
    "data pack --out": ("data", "pack", "--data", "{}/one", "--out", "{}/BAD"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("case", CASES)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    case: str, bad: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    arguments = [argument.format(place).replace("BAD", bad) for argument in CASES[case]]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    err = capsys.readouterr().err
    assert stop.value.code == 2, err
    assert err.count("\n") == 1
    assert bad in err
    assert any(word in err for word in ("cannot be written", "is a file", "no folder")), err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("case", [c for c in CASES if not c.endswith(("pack --out", "degrade -o"))])
def test_a_missing_folder_is_no_fault(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders are made, except by `score`, which names the missing one."""
    arguments = [argument.format(place).replace("BAD", "new/x") for argument in CASES[case]]
    with contextlib.suppress(SystemExit, AssertionError):
        main(arguments)
    err = capsys.readouterr().err
    assert "cannot be written" not in err
    assert ("no folder" in err) == case.startswith("score")


TWO = {
    ("--weights-out", "{}/maps", "--aligned-out", "{}/maps"): "would both write",
    ("--report", "{}/x.json", "--save-transforms", "{}/x.json"): "would both write",
    ("--report", "{}/maps/explain.json", "--explain", "{}/maps"): "would both write",
    ("--ghost-mask", "{}/o.png",): "is also the name of",
}  # fmt: skip


@pytest.mark.parametrize("options", TWO)
def test_two_outputs_of_one_name_are_refused(
    options: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([argument.format(place) for argument in (*SINGLE, "{}/o.png", *options)])
    assert stop.value.code == 2
    assert TWO[options] in capsys.readouterr().err


def test_weights_of_a_model_without_any_are_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fuser, "run", lambda *_: pytest.fail("the work began"))
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(to8(scene(48, 64))).save(path)
    call = ["fuse", *paths, "-o", tmp_path / "o.png", "--weights-out", tmp_path / "w", "--model", "tita-small"]
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in call])
    assert stop.value.code == 2
    assert "has no weights per image" in capsys.readouterr().err


def test_packed_data_is_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "all.pack").write_text("mine")
    with pytest.raises(SystemExit) as stop:
        main(["data", "pack", "--data", str(tmp_path), "--out", str(tmp_path / "all.pack")])
    assert stop.value.code == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "all.pack").read_text() == "mine"
