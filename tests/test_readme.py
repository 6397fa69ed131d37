"""What the README says works, word for word."""

from __future__ import annotations

import glob
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8, to16

from anyfuse.cli import main
from anyfuse.io.write import write_image
from anyfuse.models.registry import MODELS
from tests.align.test_align import picture

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    anyfuse ((?:fuse|stack|hdr|thermal|medical|score|bench) .+)$", TEXT, re.MULTILINE)
SNIPPETS = re.findall(r"```python\n(.+?)```", TEXT, re.DOTALL)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and the files that the README's commands speak of."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")  # some results go beside their inputs
    for index, name in enumerate(["a.tif", "b.tif", "c.tif", "d.tif", "big_a.tif", "big_b.tif"]):
        write_image(tmp_path / name, to16(scene(60, 70, index, 3)))
    for index, folder in enumerate(["infrared_folder", "visible_folder"]):
        write_image(tmp_path / folder / "one.png", to8(scene(60, 70, index, 1 + 2 * index)))
        write_image(tmp_path / "some_set" / ("ir", "vis")[index] / "one.png", to8(scene(60, 70, index)))
    for index in range(2):
        write_image(tmp_path / "bracket" / f"{index}.jpg", to8(scene(60, 70, 3, 3) * (1 + index) / 2))
    names = ["visible.jpg", "thermal.jpg", "scale.png"]
    names += ["brackets_folder/s_1.tif", "brackets_folder/s_2.tif", "drone_folder/1_T.png", "drone_folder/1_V.png"]
    for index, name in enumerate(names):
        write_image(tmp_path / name, to8(scene(60, 70, index)))
    write_image(tmp_path / "pan.tif", to16(scene(60, 72)))
    write_image(tmp_path / "bands.tif", np.stack([to16(scene(60, 72))[::4, ::4]] * 5, -1), bands=True)
    photo = picture(1)
    write_image(tmp_path / "photo.jpg", to8(photo.numpy()))
    write_image(tmp_path / "small_thermal.png", to8(1 - photo[60:180, 80:240].numpy()))
    write_image(tmp_path / "fused.png", to8(scene(432, 640)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_examples_to_run() -> None:
    assert len(COMMANDS) >= 6
    assert len(SNIPPETS) >= 2


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, desk: Path) -> None:
    words = [w for word in shlex.split(command) for w in (sorted(glob.glob(word)) if "*" in word else [word])]
    words += ["--overwrite"] if words[0] == "fuse" else []
    words += ["--max-memory", "4G"] if "--max-memory" in words else []  # the test process itself is large
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code in (0, None)
    assert "-o" not in words or (desk / words[words.index("-o") + 1]).exists()


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippet(code: str, desk: Path) -> None:
    before = set(desk.iterdir())
    exec(compile(code.replace('"2G"', '"4G"'), "README.md", "exec"), {})
    assert set(desk.iterdir()) > before, "it wrote something"


def test_every_model_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*)", TEXT, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == set(MODELS)


def test_examples_name_their_licence() -> None:
    text = (ROOT / "examples" / "README.md").read_text()
    images = [path for kind in ("png", "jpg") for path in (ROOT / "examples").glob(f"*/*.{kind}")]
    folders = sorted({path.parent.name for path in images})
    assert len(folders) >= 4
    for name in folders:
        row = next(line for line in text.splitlines() if f"`{name}/" in line)
        assert re.search("CC0|BSD|notice", row)
