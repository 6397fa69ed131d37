"""`anyfuse degrade` as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli.test_cli import fails, run
from conftest import scene, to8, to16
from depth_anything import save_depth_anything
from PIL import Image

from anyfuse.cli import main
from anyfuse.degradation.depth import estimated_depth
from anyfuse.degradation.operation import to_encoded, to_linear
from anyfuse.degradation.plan import KNOWN, MENUS
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images: colour in 8 bits, grey in 16, colour in 16 bits with alpha."""
    write_image(tmp_path / "in" / "colour.png", to8(scene(40, 50, 0, 3)))
    write_image(tmp_path / "in" / "grey.tif", to16(scene(33, 47, 1)))
    alpha = to16(scene(40, 50, 2))
    write_image(tmp_path / "in" / "deep.png", to16(scene(40, 50, 3, 3)), alpha=alpha, dpi=(300, 300))
    return tmp_path / "in"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "what",
    [
        ["--ops", "haze:0.5,rain:0.4,noise:0.3,jpeg:0.2"],
        ["--task", "ivf", "--seed", "7"],
        ["--task", "mff", "--format", "tif"],
        ["--m3"],
        ["--m3", "--tiles", "8,16", "--both", "0.25", "--complements", "--local-blur"],
    ],
)
def test_manifest_makes_the_same_files(
    what: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, _ = run(capsys, "degrade", folder, "-o", tmp_path / "a", *what)
    assert code == 0
    assert "3 degraded, 0 already there, 0 failed" in text
    run(capsys, "degrade", folder, "-o", tmp_path / "b", "--manifest", tmp_path / "a" / "manifest.json")
    first = files(tmp_path / "a")
    assert len(first) == (7 if "--m3" in what else 4)
    assert first == files(tmp_path / "b")
    run(capsys, "degrade", folder, "-o", tmp_path / "c", *what, "--seed", "8")
    assert all(first[name] != data for name, data in files(tmp_path / "c").items())


def test_depth_of_pixels_and_metadata_stay(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "degrade", folder, "-o", tmp_path / "out", "--ops", "noise:0.2")
    for name in ("colour.png", "grey.tif", "deep.png"):
        before, after = read_image(folder / name), read_image(tmp_path / "out" / name)
        assert after.pixels.dtype == before.pixels.dtype
        assert after.pixels.shape == before.pixels.shape
        assert after.dpi == before.dpi
        difference = (after.read() - before.read()).abs().mean()
        assert 0.01 < difference < 0.04
    deep = read_image(tmp_path / "out" / "deep.png")
    assert len(np.unique(deep.pixels % 257)) > 200, "all of the 16 bits are used"
    assert deep.alpha is not None
    assert np.array_equal(deep.alpha, read_image(folder / "deep.png").alpha)  # type: ignore[arg-type]
    run(capsys, "degrade", folder / "deep.png", "-o", tmp_path / "same.png", "--ops", "rain:0,jpeg:0")
    assert np.array_equal(read_image(tmp_path / "same.png").pixels, read_image(folder / "deep.png").pixels)


def test_depth_model_gives_haze_its_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result is the one of that depth, the manifest repeats it, and a folder without a model is one line."""
    write_image(tmp_path / "in.png", to8(scene(40, 50, 0, 3)))
    model, image = save_depth_anything(tmp_path / "model"), read_image(tmp_path / "in.png").read()
    haze = ["--ops", "haze:1", "--seed", "3"]
    for name, more in (("by model", ["--depth-model", model]), ("made up", [])):
        assert run(capsys, "degrade", tmp_path / "in.png", "-o", tmp_path / f"{name}.png", *haze, *more)[0] == 0
    depth, found = estimated_depth(image, model), read_image(tmp_path / "by model.png").read()
    done = json.loads((tmp_path / "by model.json").read_text())["files"]["in.png"]["done"][0]
    clear = torch.exp(-done["beta"] * depth)
    expected = to_encoded(to_linear(image) * clear + done["airlight"] * (1 - clear))
    assert (found - expected).abs().max() < 1.5 / 255
    assert (read_image(tmp_path / "made up.png").read() - expected).abs().mean() > 2 / 255
    again = ["--manifest", tmp_path / "by model.json"]
    assert run(capsys, "degrade", tmp_path / "in.png", "-o", tmp_path / "again.png", *again)[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "by model.png").read_bytes()
    wrong = ["-o", tmp_path / "no.png", *haze, "--depth-model", f"{tmp_path}/none"]
    code, _, errors = run(capsys, "degrade", tmp_path / "in.png", *wrong)
    assert code == 2
    assert "no depth model" in errors


def test_float_and_12_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "f.tif", scene(30, 40).astype(np.float32))
    write_image(tmp_path / "12.png", (scene(30, 40) * 4095).astype(np.uint16))
    run(capsys, "degrade", tmp_path / "f.tif", "-o", tmp_path / "f2.tif", "--ops", "blur:0.5")
    assert read_image(tmp_path / "f2.tif").pixels.dtype == np.float32
    run(capsys, "degrade", tmp_path / "12.png", "-o", tmp_path / "122.png", "--ops", "blur:0.5", "--white", 4095)
    pixels = read_image(tmp_path / "122.png").pixels
    assert 2000 < pixels.max() <= 4095
    assert pixels.dtype == np.uint16


def test_each_file_has_its_own_seed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "degrade", folder, "-o", tmp_path / "all", "--ops", "noise:0.5,snow:0.5", "--seed", 3)
    run(capsys, "degrade", folder / "grey.tif", "-o", tmp_path / "one.tif", "--ops", "noise:0.5,snow:0.5", "--seed", 3)
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "all" / "grey.tif").read_bytes()
    entries = json.loads((tmp_path / "all" / "manifest.json").read_text())["files"]
    assert len({entry["seed"] for entry in entries.values()}) == 3
    assert [done["op"] for done in entries["grey.tif"]["done"]] == ["gaussian_noise", "snow"]
    run(capsys, "degrade", folder / "grey.tif", "-o", tmp_path / "two.tif", "--manifest", tmp_path / "one.json")
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


def test_task_takes_grey_for_infrared(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(12):
        write_image(folder / f"grey{index}.png", to8(scene(20, 20, index)))
        write_image(folder / f"colour{index}.png", to8(scene(20, 20, index, 3)))
    run(capsys, "degrade", folder, "-o", tmp_path / "out", "--task", "ivf")
    run(capsys, "degrade", folder, "-o", tmp_path / "visible", "--task", "ivf", "--source", "visible")
    for run_name in ("out", "visible"):
        entries = json.loads((tmp_path / run_name / "manifest.json").read_text())["files"]
        for name, entry in entries.items():
            kind = "infrared" if name.startswith("grey") and run_name == "out" else "visible"
            assert {op for op, _ in entry["plan"]} <= set(MENUS["ivf"][kind])
            assert 1 <= len(entry["plan"]) <= 3


def test_bad_file_is_skipped_and_the_rest_done_later(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.png").write_text("no image")
    call = ["degrade", folder, "-o", tmp_path / "out", "--ops", "rain:0.5"]
    code, text, err = run(capsys, *call)
    assert code == 1
    assert "3 degraded, 0 already there, 1 failed" in text
    assert err.count("bad.png") >= 1
    first = files(tmp_path / "out")
    (tmp_path / "out" / "grey.tif").unlink()
    (folder / "bad.png").unlink()
    code, text, _ = run(capsys, *call)
    assert code == 0
    assert "1 degraded, 2 already there, 0 failed" in text
    assert files(tmp_path / "out") == first
    assert "other settings" in fails(capsys, *call[:-1], "rain:0.6")
    code, _, _ = run(capsys, *call[:-1], "rain:0.6", "--overwrite")
    assert code == 0
    assert files(tmp_path / "out")["grey.tif"] != first["grey.tif"]


def test_depth_maps(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "grey.tif").unlink()
    ramp = np.repeat(np.linspace(0, 65535, 50)[None], 40, 0).astype(np.uint16)
    write_image(tmp_path / "depth" / "colour.png", ramp)
    code, _, err = run(
        capsys, "degrade", folder, "-o", tmp_path / "o", "--ops", "haze:1", "--depth", tmp_path / "depth"
    )
    assert code == 1
    assert "deep.png" in err
    before, after = read_image(folder / "colour.png").read(), read_image(tmp_path / "o" / "colour.png").read()
    assert (after - before)[:, :, 0].abs().max() < 0.01
    assert after[:, :, -1].std() < 0.5 * before[:, :, -1].std()
    write_image(tmp_path / "small.png", ramp[:, :20])
    text = fails(
        capsys,
        "degrade",
        folder / "colour.png",
        "-o",
        tmp_path / "x.png",
        "--ops",
        "haze",
        "--depth",
        tmp_path / "small.png",
    )
    assert "20x40" in text
    assert "50x40" in text


def test_m3_of_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "degrade", folder / "colour.png", "-o", tmp_path / "pair.png", "--m3", "--tiles", 16)
    clean = np.asarray(Image.open(folder / "colour.png"))
    a, b = (np.asarray(Image.open(tmp_path / f"pair_{v}.png")) for v in "ab")
    assert ((a == clean).all(2) | (b == clean).all(2)).all()
    assert (a != clean).any()
    assert (b != clean).any()
    assert not (tmp_path / "pair.png").exists()
    assert json.loads((tmp_path / "pair.json").read_text())["files"]["colour.png"]["outputs"] == [
        "pair_a.png",
        "pair_b.png",
    ]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "degrade", "--list")
    assert code == 0
    assert "haze" in text
    assert "infrared" in text


def test_mistakes_are_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", tmp_path / "out"]
    assert "did you mean haze" in fails(capsys, "degrade", folder, *out, "--ops", "haez:0.5")
    assert "0 to 1" in fails(capsys, "degrade", folder, *out, "--ops", "haze:1.5")
    assert "known: ivf" in fails(capsys, "degrade", folder, *out, "--task", "mif")
    assert "--ops and --task" in fails(capsys, "degrade", folder, *out, "--ops", "haze", "--task", "ivf")
    assert "none of them" in fails(capsys, "degrade", folder, *out)
    assert "-o OUTPUT" in fails(capsys, "degrade", folder)
    assert "no such" in fails(capsys, "degrade", tmp_path / "no", *out, "--ops", "haze")
    assert "for --m3" in fails(capsys, "degrade", folder, *out, "--ops", "haze", "--both", 0.5)
    assert "--tiles" in fails(capsys, "degrade", folder, *out, "--m3", "--tiles", "a")
    assert "input folder" in fails(capsys, "degrade", folder, "-o", folder, "--ops", "haze")
    assert "--format" in fails(capsys, "degrade", folder, *out, "--ops", "haze", "--format", "gif")
    assert "--source" in fails(capsys, "degrade", folder, *out, "--ops", "haze", "--source", "visible")
    (tmp_path / "m.json").write_text('{"format": 1}')
    assert "no manifest" in fails(capsys, "degrade", folder, *out, "--manifest", tmp_path / "m.json")
    assert "cannot be read" in fails(capsys, "degrade", folder, *out, "--manifest", tmp_path / "none.json")
    assert not (tmp_path / "out").exists()
    image = folder / "colour.png"
    assert "one of the inputs" in fails(capsys, "degrade", image, "-o", image, "--ops", "haze", "--overwrite")
    assert "cannot write" in fails(capsys, "degrade", image, "-o", tmp_path / "x.gif", "--ops", "haze")
    run(capsys, "degrade", image, "-o", tmp_path / "x.png", "--ops", "haze")
    assert "exists already" in fails(capsys, "degrade", image, "-o", tmp_path / "x.png", "--ops", "haze")
    text = fails(capsys, "degrade", folder / "grey.tif", "-o", tmp_path / "y.png", "--manifest", tmp_path / "x.json")
    assert "no file grey.tif" in text


def test_document(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "degradations.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (any|visible|infrared) \|$", text, re.MULTILINE)
    assert dict(rows) == {name: chosen.suits for name, chosen in KNOWN.items()}
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    folder.rename(tmp_path / "folder")
    write_image(tmp_path / "photo.jpg", to8(scene(40, 50, 0, 3)))
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    anyfuse (degrade .+)$", text, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        with pytest.raises(SystemExit) as caught:
            main(command.split())
        assert not caught.value.code
    assert files(tmp_path / "bad") == files(tmp_path / "again")
    scope: dict[str, Any] = {}
    exec(compile(re.findall(r"```python\n(.+?)```", text, re.DOTALL)[0], "degradations.md", "exec"), scope)
    assert scope["done"]


@pytest.mark.parametrize("given", ["nonsense:3", "nonsense:much", "haze:0.5,nonsense:3", "nonsense"])
def test_an_unknown_operation_is_named_before_its_strength(
    given: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = fails(capsys, "degrade", folder, "-o", tmp_path / "out", "--ops", given)
    assert "unknown operation 'nonsense'" in error
    assert "strength" not in error
    assert "strength 3" in fails(capsys, "degrade", folder, "-o", tmp_path / "out", "--ops", "haze:3")
