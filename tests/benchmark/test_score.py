"""`anyfuse score`: JSON, small images, outputs, names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import scene, to8

sys.path.insert(0, str(Path(__file__).parent))
from mini import make_data, refused, run

from anyfuse.benchmark.run import DEFAULT_METRICS
from anyfuse.benchmark.versions import metric_versions
from anyfuse.io.write import write_image
from anyfuse.metrics import METRICS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("bench") / "mini")


def call(data: Path, *more: object) -> list[object]:
    ir, vis = data / "ir" / "0.png", data / "vis" / "0.png"
    return ["score", ir, "--sources", ir, vis, *more]


def strict_json(text: str) -> dict[str, float | str | None]:
    def constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=constant)


def test_json_has_no_nan_and_no_infinity(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    ir = data / "ir" / "0.png"
    out = tmp_path / "s.json"
    _, text, _ = run(capsys, "score", ir, "--sources", ir, ir, "--json", "--metrics", "psnr,scd,mse", "-o", out)
    assert strict_json(text) == {"psnr": "inf", "scd": None, "mse": 0.0}
    assert strict_json(out.read_text())["images"] == {"0": strict_json(text)}


def test_small_images_get_nan_unless_a_metric_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for index in range(3):
        write_image(tmp_path / f"{index}.png", to8(scene(3, 5, index)))
    images = ["score", tmp_path / "0.png", "--sources", tmp_path / "1.png", tmp_path / "2.png"]
    code, text, err = run(capsys, *images, "--json")
    values = strict_json(text)
    assert code == 0
    assert list(values) == list(DEFAULT_METRICS)
    assert values["vif"] is None
    assert isinstance(values["mi"], float)
    assert "NaN where the image is smaller than a window: vif, ssim" in err
    code, text, _ = run(capsys, *images, "--json", "--metrics", "all")
    assert code == 0
    assert list(strict_json(text)) == list(METRICS)
    assert "vif needs images of at least 41x41 pixels, got 5x3" in refused(capsys, *images, "--metrics", "mi,vif")


def test_outputs_are_checked_first(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    assert ".csv or .json" in refused(capsys, *call(data, "-o", tmp_path / "x.txt"))
    assert "no folder" in refused(capsys, *call(data, "-o", tmp_path / "none" / "x.csv"))
    assert not (tmp_path / "none").exists()


def test_names(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, text, _ = run(capsys, *call(data, "--json", "--metrics", "mi,en,mi"))
    assert list(strict_json(text)) == ["mi", "en"]
    error = refused(capsys, *call(data, "--metrics", "MI"))
    assert "unknown metric MI: did you mean mi?" in error
    assert len(error) < 150


def test_score_and_bench_have_one_grey_rule(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    colour = data / "vis" / "0.png"
    values = []
    for grey in ([], ["--grey", "opencv"]):
        _, text, _ = run(capsys, "score", colour, "--sources", colour, data / "ir" / "0.png", "--json", *grey)
        values.append(text)
    assert values[0] == values[1]
    run(capsys, *call(data, "--metrics", "mi", "-o", tmp_path / "s.csv"))
    head = strict_json((tmp_path / "s.csv").read_text().splitlines()[1].removeprefix("# "))
    assert head["grey"] == "opencv"
    assert head["metrics"] == metric_versions(["mi"])
