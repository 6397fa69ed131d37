"""Folders of every kind of image that is read, whatever their names end in."""

from __future__ import annotations

from pathlib import Path

import formats
import numpy as np
import pytest

from anyfuse.cli import main
from anyfuse.errors import FusionError
from anyfuse.io.folders import left_out, list_files
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.jobs.choices import Choices, suffix_notes, suffix_of


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return int(str(caught.value.code))


PICTURES = [case for case in formats.CASES if case.title != "DICOM"]  # folders of those are volumes


@pytest.mark.parametrize("case", PICTURES, ids=lambda case: case.title)
def test_two_folders_of_any_format(case: formats.Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(2):
            case.makes[0](tmp_path / name / f"{k}{case.suffix}")
    call = ["fuse", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "out"), "--model", "average"]
    assert run(*call) == 0, capsys.readouterr().err
    results = sorted((tmp_path / "out").iterdir())
    assert len(results) == 2
    assert all(read_image(path).height for path in results)
    said = capsys.readouterr().err
    assert (case.suffix in (".png", ".jpg", ".tif", ".webp", ".bmp")) == ("are written as" not in said)


def test_content_decides_where_names_say_nothing(tmp_path: Path) -> None:
    for name in ("IM0001", "IM0002", "scan.raw16", "notes.txt", "copy.bak"):
        write_image(tmp_path / "x.png", np.zeros((8, 8), np.uint8), overwrite=True)
        (tmp_path / "x.png").rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert [p.name for p in list_files(tmp_path)] == ["IM0001", "IM0002", "scan.raw16"]


def test_what_is_no_image_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    for k in range(3):
        (tmp_path / "a" / f"{k}.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(600))
    (tmp_path / "a" / "x.psd").write_bytes(b"8BPS" + bytes(600))
    (tmp_path / "a" / "readme.html").write_bytes(b"<html>")
    document, video = left_out(tmp_path / "a")
    assert video.endswith("0.mp4 is a video, not an image that can be read, as 2 more are")
    assert "a Photoshop document" in document
    with pytest.raises(FusionError, match=r"no image in this folder.*is a Photoshop"):
        list_files(tmp_path / "a")
    for k in range(2):
        write_image(tmp_path / "a" / f"s-{k}.png", np.full((8, 8), 99 * k, np.uint8))
    call = ["fuse", str(tmp_path / "a"), "-o", str(tmp_path / "out"), "--group", "2", "--model", "average"]
    assert run(*call) == 0
    assert "is a video, not an image that can be read" in capsys.readouterr().err


def test_suffixes_of_results() -> None:
    assert [suffix_of(Path(f"a{s}"), None) for s in (".JPG", ".heic", ".dng", ".exr", ".pfm", "")] == [
        ".jpg",
        ".png",
        ".png",
        ".tif",
        ".tif",
        ".png",
    ]
    sets = [(Path("a.heic"), Path("b.heic")), (Path("c.exr"), Path("d.exr")), (Path("e.png"), Path("f.png"))]
    notes = suffix_notes(sets, Choices())
    assert notes == [
        "results of .heic are written as .png; --format changes that",
        "results of .exr are written as .tif; --format changes that",
    ]
    assert suffix_notes(sets, Choices(suffix="png")) == []
