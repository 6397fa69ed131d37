"""Results that lie among the images are no images of the next run; a folder without images says what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import scene, to8
from PIL import Image

from anyfuse.cli.main import main
from anyfuse.errors import FusionError
from anyfuse.io.folders import list_files


def fuse(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in ("fuse", *arguments, "--model", "average", "--align", "none", "-q")])
    return int(stop.value.code or 0)


def images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        Image.fromarray(to8(scene(40, 50, k))).save(folder / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_result_in_the_folder_of_a_stack_is_left_out(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "s", "a.png", "b.png", "c.png")
    assert fuse(tmp_path / "s", "-o", tmp_path / "s" / f"first.{suffix}") == 0
    report = tmp_path / "r.json"
    assert fuse(tmp_path / "s", "-o", tmp_path / "s" / "second.png", "--report", report) == 0
    assert [Path(one["name"]).name for one in json.loads(report.read_text())["inputs"]] == ["a.png", "b.png", "c.png"]
    assert "is a result of images beside it; left out" in capsys.readouterr().err


def test_results_alone_are_images(tmp_path: Path) -> None:
    """Stacks of stacks: results are fused on where their sources are not."""
    images(tmp_path / "s", "a.png", "b.png", "c.png")
    for name in ("1.png", "2.png"):
        assert fuse(tmp_path / "s", "-o", tmp_path / "out" / name) == 0
    assert len(list_files(tmp_path / "out")) == 2


def test_a_folder_of_results_within_the_input_is_no_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = tmp_path / "day"
    for name in ("one", "two"):
        images(day / name, f"{name}a.png", f"{name}b.png")
    maps = ("--weights-out", day / "maps")
    assert fuse(day, "--group", "folder", "-o", day / "out", *maps) == 0
    assert fuse(day, "--group", "folder", "-o", day / "out", *maps, "--overwrite") == 0
    assert sorted(p.name for p in (day / "out").iterdir()) == ["one.png", "two.png"]
    capsys.readouterr()
    assert fuse(day, "--group", "folder", "-o", day / "more", "--plan") == 0  # maps hold no image themselves
    assert f"{day / 'out'} holds results of the other folders; left out" in capsys.readouterr().err


def test_maps_do_not_go_among_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path / "s", "a.png", "b.png")
    assert fuse(tmp_path / "s", "-o", tmp_path / "o.png", "--weights-out", tmp_path / "s") == 2
    assert "is the folder of the images" in capsys.readouterr().err


def test_hidden_and_temporary_files_are_no_images(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png", "b.png", ".hidden.png", ".anyfuse-0123456789ab.tmp.png")
    (tmp_path / "s" / ".anyfuse-0123456789ab.tmp").write_bytes((tmp_path / "s" / "a.png").read_bytes())
    assert [path.name for path in list_files(tmp_path / "s")] == ["a.png", "b.png"]


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FusionError, match=r"empty: .*it is empty"):
        list_files(tmp_path / "empty")
    for name in ("a.txt", "b.txt", "c.csv", "sub/x.png"):
        (tmp_path / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / name).write_text("text")
    with pytest.raises(FusionError, match=r"texts: no image .*it holds 2 \.txt, 1 \.csv, 1 folder"):
        list_files(tmp_path / "texts")
