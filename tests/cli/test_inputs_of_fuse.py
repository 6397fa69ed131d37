"""`anyfuse fuse` and `score` on pages, measured values and values per image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from anyfuse.cli.main import main
from anyfuse.io.read import read_image


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def waves(seed: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[0:80, 0:96]
    return 0.5 + 0.5 * np.sin(x / 9 + seed) * np.cos(y / 8)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Counts, Celsius, two depths, a z-stack, a photograph."""
    made = {name: tmp_path / f"{name}.tif" for name in ("counts", "celsius", "twelve", "fourteen", "stack")}
    tifffile.imwrite(made["counts"], np.rint(7300 + 700 * waves()).astype(np.uint16))
    tifffile.imwrite(made["celsius"], (waves() * 40 - 12).astype(np.float32))
    tifffile.imwrite(made["twelve"], np.rint(waves(1) * 4095).astype(np.uint16))
    tifffile.imwrite(made["fourteen"], np.rint(waves() * 16383).astype(np.uint16))
    pages = np.stack([np.rint(waves(k) * 255).astype(np.uint8) for k in range(4)])
    tifffile.imwrite(made["stack"], pages, photometric="minisblack")
    made["photo"] = tmp_path / "photo.png"
    colours = np.stack([waves(2), waves(3), waves(4)], 2)
    Image.fromarray(np.rint(colours * 200).astype(np.uint8)).save(made["photo"])
    return made


AVERAGE = ("--model", "average")


@pytest.mark.parametrize("name", ["counts", "celsius"])
def test_measured_values_show_in_the_result_and_in_the_report(
    name: str, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = tmp_path / "r.json", tmp_path / "o.png"
    code, _, err = call(capsys, "fuse", files[name], files["photo"], "-o", out, "--report", report, *AVERAGE)
    assert code == 0
    assert "range" in err
    values = json.loads(report.read_text())["inputs"][0]["values"]
    assert values["rule"] == "smallest and largest value"
    luma = read_image(out).read().mean(0).numpy()
    photo = read_image(files["photo"]).read().mean(0).numpy()
    assert np.abs(luma - (waves() + photo) / 2).mean() < 0.05
    code, out_text, err = call(
        capsys, "score", out, "--sources", files[name], files["photo"], "--metrics", "mi", "--json"
    )
    assert code == 0
    assert json.loads(out_text)["mi"] > 1
    assert "range" in err


def test_a_white_per_image(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = files["twelve"], files["fourteen"]
    assert call(capsys, "fuse", *pair, "-o", tmp_path / "o.tif", "--white", "4095,16383", *AVERAGE)[0] == 0
    got = read_image(tmp_path / "o.tif", white=4095).read()[0].numpy()
    np.testing.assert_allclose(got, (waves() + waves(1)) / 2, atol=5e-4)
    scored = ("score", tmp_path / "o.tif", "--sources", *pair, "--metrics", "mi", "--json")
    assert call(capsys, *scored, "--white", "4095,16383")[0] == 0
    for flag, text, message in (
        ("--white", "1,2,3", "3 values for 2 images"),
        ("--black", "x", "no number"),
        ("--range", "p9", "percentiles"),
    ):
        code, _, err = call(capsys, "fuse", *pair, "-o", tmp_path / "x.tif", flag, text)
        assert (code, message in err) == (2, True)
        code, _, err = call(capsys, *scored, flag, text)
        assert (code, message in err) == (2, True)


def test_a_window_with_a_negative_black(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--black", "-2,0", "--white", "18,255")
    out = tmp_path / "o.tif"
    assert call(capsys, "fuse", files["celsius"], files["photo"], "-o", out, *options, *AVERAGE)[0] == 0
    thermal = np.clip((waves() * 40 - 10) / 20, 0, 1)
    photo = read_image(files["photo"]).read().mean(0).numpy()
    assert np.abs(read_image(out).read().mean(0).numpy() - (thermal + photo) / 2).mean() < 0.05


def test_pages(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = files["stack"]
    for number, arguments, pages in (
        (1, (stack,), (0, 1, 2, 3)),
        (2, (stack, "--pages", "1:3"), (1, 2)),
        (3, (f"{stack}[0]", f"{stack}[3]"), (0, 3)),
        (4, (f"{stack}[:2]", "--reference", "2"), (0, 1)),
    ):
        out = tmp_path / f"{number}.png"
        code, text, _ = call(capsys, "fuse", *arguments, "-o", out, "--report", tmp_path / f"{number}.json", *AVERAGE)
        assert code == 0
        assert f"{len(pages)} images" in text
        expected = np.mean([np.rint(waves(k) * 255) for k in pages], axis=0)
        assert np.abs(read_image(out).pixels[:, :, 0] - expected).max() <= 1
        assert len(json.loads((tmp_path / f"{number}.json").read_text())["inputs"]) == len(pages)
    code, _, err = call(capsys, "fuse", f"{stack}[7]", files["photo"], "-o", tmp_path / "x.png")
    assert (code, "4 pages" in err) == (2, True)
    code, _, err = call(capsys, "fuse", f"{stack}[0:1]", "-o", tmp_path / "x.png")
    assert (code, "at least two" in err) == (2, True)


def test_a_file_is_no_output_of_its_own_pages(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files["stack"].read_bytes()
    for arguments in ((files["stack"],), (f"{files['stack']}[0:3]",)):
        code, _, err = call(capsys, "fuse", *arguments, "-o", files["stack"], "--overwrite", *AVERAGE)
        assert (code, "one of the inputs" in err) == (2, True)
    assert files["stack"].read_bytes() == before
