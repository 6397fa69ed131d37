"""Names with several dots: results, maps and pairs are called as people would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import scene, to8, to16
from PIL import Image

from anyfuse.cli.main import main
from anyfuse.io.names import stem_of, suffix_of


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("brain.nii.gz", "brain", ".nii.gz"),
        ("sub-01.v2.NII.GZ", "sub-01.v2", ".NII.GZ"),
        ("cells.ome.tif", "cells", ".ome.tif"),
        ("cells.ome.tiff[3]", "cells", ".ome.tiff"),
        ("a.b.jpg", "a.b", ".jpg"),
        ("stack.tif[3:40]", "stack", ".tif"),
        ("1.2.840.113619.2.5", "1.2.840.113619.2.5", ""),
        ("scan.001", "scan.001", ""),
        ("IM0001", "IM0001", ""),
        ("x/y.z/photo.JPG", "photo", ".JPG"),
        (".nii.gz", ".nii", ".gz"),
    ],
)
def test_stems_and_suffixes(name: str, stem: str, suffix: str) -> None:
    assert (stem_of(name), suffix_of(name)) == (stem, suffix)


def run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in (*arguments, "--model", "average", "-q")])
    return int(stop.value.code or 0)


def volume(path: Path, seed: int) -> None:
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.stack([scene(40, 48, seed + k) for k in range(3)], 2)
    nibabel.save(nibabel.Nifti1Image((1000 * values).astype(np.int16), np.eye(4)), path)


def test_results_and_maps_of_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, folder in enumerate(("pet", "mri")):
        for name in ("brain.nii.gz", "sub-01.v2.nii.gz"):
            volume(tmp_path / folder / name, k)
    call = ("fuse", tmp_path / "pet", tmp_path / "mri", "-o", tmp_path / "out", "--weights-out", tmp_path / "w")
    assert run(*call) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["brain.png", "sub-01.v2.png"]
    maps = sorted(str(p.relative_to(tmp_path / "w")) for p in (tmp_path / "w").rglob("*.png"))
    assert maps[:2] == ["brain/01-brain.png", "brain/02-brain.png"]
    assert "results of .nii.gz are written as .png" in capsys.readouterr().err
    assert run("fuse", tmp_path / "pet", "-o", tmp_path / "all.nii.gz", "--group", "2", "--plan") == 0
    assert "brain.png" in capsys.readouterr().out


def test_results_of_ome_tiffs_and_of_names_without_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "cells.ome.tif", to16(scene(40, 48, k)))
        for number in (5, 6):
            Image.fromarray(to8(scene(40, 48, k))).save(tmp_path / folder / f"1.2.840.{number}", format="PNG")
    assert run("fuse", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.2.840.5.png", "1.2.840.6.png", "cells.tif"]
    score = ("score", tmp_path / "out", "--sources", tmp_path / "a", tmp_path / "b", "--metrics", "mi", "--plan")
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in score])
    assert not stop.value.code
    assert capsys.readouterr().out.count(" + ") == 3


def test_a_folder_is_one_image_of_every_format_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for k in range(2):
        Image.fromarray(to8(scene(40, 48, k))).save(tmp_path / "s" / f"{k}.png")
    for name in ("o.exr", "o.ppm", "o.v2.png", "o.ome.tif"):
        assert run("fuse", tmp_path / "s", "-o", tmp_path / name) == 0
        assert (tmp_path / name).is_file()
