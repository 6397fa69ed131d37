"""`anyfuse stack`, `hdr`, `thermal` and `medical`: what they stand for, and where their results go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

from anyfuse.cli import main
from anyfuse.io.write import write_image
from anyfuse.jobs.presets import PRESETS, default_output

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return int(caught.value.code or 0)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stack(desk: Path) -> None:
    """The result lies beside the folder, named after it, and is that of `fuse`."""
    assert run("stack", "examples/focus_stack", "--report", "r.json") == 0
    assert Image.open("examples/focus_stack-stacked.jpg").size == Image.open("examples/focus_stack/1.jpg").size
    assert len(json.loads(Path("r.json").read_text())["inputs"]) == 5
    assert run("fuse", "examples/focus_stack", "-o", "same.jpg") == 0
    one, two = (np.asarray(Image.open(p)) for p in ("examples/focus_stack-stacked.jpg", "same.jpg"))
    assert np.array_equal(one, two)
    assert run("stack", "examples/focus_stack") == 2, "it is there already"
    assert run("stack", "examples/focus_stack", "--overwrite", "--align", "none", "-q") == 0


def test_hdr_files_and_groups(desk: Path) -> None:
    files = sorted(Path("examples/exposure").glob("*.jpg"))
    assert run("hdr", *files) == 0
    assert Path("examples/exposure/1-hdr.jpg").exists()
    Path("day").mkdir()
    for index, file in enumerate(files):
        shutil.copy(file, f"day/{index}.jpg")
    assert run("hdr", "day", "--group", 2) == 0
    assert len(list(Path("day-hdr").glob("*.jpg"))) == 2


def test_thermal(desk: Path) -> None:
    """The photograph gives colours, size and name; a swap of both is seen in the name."""
    assert run("thermal", "examples/infrared/thermal.png", "examples/infrared/visible.jpg", "--report", "r.json") == 0
    assert Image.open("examples/infrared/visible-thermal.jpg").mode == "RGB"
    assert json.loads(Path("r.json").read_text())["reference"].endswith("visible.jpg")
    for folder, channels in (("ir", 1), ("vis", 3)):
        write_image(Path(folder) / "one.png", to8(scene(60, 70, channels, channels)))
    assert run("thermal", "ir", "vis") == 0
    assert Path("vis-thermal/one.png").exists()


def test_medical(desk: Path) -> None:
    assert run("medical", "examples/medical/mri.png", "examples/medical/pet.png", "--report", "r.json") == 0
    assert Path("examples/medical/mri-fused.png").exists()
    assert "aligned" not in json.loads(Path("r.json").read_text())
    assert run("medical", "examples/medical/mri.png") == 2


def test_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.nii.gz", "b.nef"):
        (tmp_path / name).write_bytes(b"")
    names = [str(tmp_path / name) for name in ("a.nii.gz", "b.nef")]
    assert default_output(PRESETS["medical"], names, False) == str(tmp_path / "a-fused.nii.gz")
    assert default_output(PRESETS["thermal"], names, False) == str(tmp_path / "b-thermal.png")
    assert run("hdr", tmp_path / "nothing") == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert run("stack", tmp_path, "--align", "much") == 2
