"""`bench` and `degrade` on a real Ray of two nodes: files equal to those of one machine, and reruns.

`pytest tests/jobs -m cluster`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import scene, to8
from ray_here import anyfuse, start

from anyfuse.benchmark.protocol import read_scores
from anyfuse.io.write import write_image
from anyfuse.jobs.rows import read_rows

pytestmark = pytest.mark.cluster
PAIRS = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in ir and vis, of which one is broken; and results of another method, of which one is missing."""
    root = tmp_path_factory.mktemp("pairs")
    for index in range(PAIRS):
        write_image(root / "data" / "ir" / f"{index}.png", to8(scene(72, 96, index)))
        write_image(root / "data" / "vis" / f"{index}.png", to8(scene(72, 96, 20 + index, 3)))
        if index != 2:
            write_image(root / "theirs" / f"{index}.png", to8(scene(72, 96, 40 + index)))
    (root / "data" / "ir" / "5.png").write_bytes(b"broken")
    return root


def bench(data: Path, out: Path, *more: object, address: str | None = None) -> tuple[str, str]:
    models, theirs = "anyfuse,laplacian", f"theirs={data / 'theirs'}"
    command = ["bench", "--data", data / "data", "--task", "ivf", "--models", models, "--fused", theirs, "-o", out]
    return anyfuse(*command, "--metrics", "mi,ssim,psnr", *more, status=1, address=address)


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


def test_a_benchmark_equals_one_machine(nodes: Any, data: Path, tmp_path: Path) -> None:
    """scores.csv and pictures are equal to the byte; failures are rows; a rerun makes what is missing."""
    alone, out = tmp_path / "alone", tmp_path / "out"
    _, expected = bench(data, alone)
    printed, err = bench(data, out, "--on", "ray", address=nodes.address)
    assert f"{PAIRS - 1} images" in printed
    assert sorted(err.splitlines()) == sorted(expected.splitlines())
    assert (out / "scores.csv").read_bytes() == (alone / "scores.csv").read_bytes()
    assert pictures(out) == pictures(alone)
    rows = {row["name"]: row for row in read_rows(str(out / "report.parquet"))}
    assert {name for name, row in rows.items() if row["status"] == "failed"} == {"2", "5"}
    assert "theirs has no 2" in rows["2"]["reason"]
    assert {row["status"] for name, row in rows.items() if name not in "25"} == {"scored"}

    (out / "fused" / "anyfuse" / "3.png").unlink()
    bench(data, out, "--on", "ray", address=nodes.address)
    assert (out / "scores.csv").read_bytes() == (alone / "scores.csv").read_bytes()
    assert pictures(out) == pictures(alone)
    again = {row["name"]: row for row in read_rows(str(out / "report.parquet"))}
    assert len(again) == PAIRS
    made = json.loads(again["3"]["report"])["rows"]
    assert [row["method"] for row in made] == ["anyfuse"]  # the other rows of this image were kept
    assert again["4"] == rows["4"]


def test_a_killed_benchmark_goes_on(nodes: Any, data: Path, tmp_path: Path) -> None:
    alone, out = tmp_path / "alone", tmp_path / "out"
    bench(data, alone)
    command = ["bench", "--data", data / "data", "--task", "ivf", "--models", "anyfuse,laplacian", "-o", out]
    process = start(*command, "--metrics", "mi,ssim,psnr", "--on", "ray", address=nodes.address)
    while process.poll() is None and not pictures(out):
        time.sleep(0.05)
    process.kill()
    process.communicate()
    bench(data, out, "--on", "ray", address=nodes.address)
    assert (out / "scores.csv").read_bytes() == (alone / "scores.csv").read_bytes()
    assert read_scores(out / "scores.csv")[0] == read_scores(alone / "scores.csv")[0]
    assert pictures(out) == pictures(alone)


@pytest.mark.parametrize("what", [["--task", "ivf", "--seed", "7"], ["--m3", "--tiles", "8,16"]])
def test_degraded_images_equal_one_machine(what: list[str], nodes: Any, data: Path, tmp_path: Path) -> None:
    """Pictures and manifest are equal to the byte, also where the manifest lacks what is there."""
    source, alone, out = data / "data" / "ir", tmp_path / "alone", tmp_path / "out"
    _, expected = anyfuse("degrade", source, "-o", alone, *what, "-q", status=1)
    command = ["degrade", source, "-o", out, *what, "--on", "ray"]
    printed, err = anyfuse(*command, status=1, address=nodes.address)
    assert f"{PAIRS - 1} degraded, 0 already there, 1 failed" in printed
    assert expected.strip() in err
    assert (out / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()
    assert pictures(out) == pictures(alone)
    rows = {row["name"]: row for row in read_rows(str(out / "report.parquet"))}
    assert len(rows) == PAIRS
    assert [name for name, row in rows.items() if row["status"] == "failed"] == ["5.png"]

    content = json.loads((out / "manifest.json").read_text())
    del content["files"]["3.png"]  # as where the driver was killed before it wrote the manifest
    (out / "manifest.json").write_text(json.dumps(content))
    next(path for path in out.rglob("4.png")).unlink()
    printed, _ = anyfuse(*command, status=1, address=nodes.address)
    assert f"2 degraded, {PAIRS - 3} already there, 1 failed" in printed
    assert (out / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()
    assert pictures(out) == pictures(alone)
    assert len(read_rows(str(out / "report.parquet"))) == PAIRS


def test_a_manifest_is_replayed(nodes: Any, data: Path, tmp_path: Path) -> None:
    source, alone, out = data / "data" / "vis", tmp_path / "alone", tmp_path / "out"
    anyfuse("degrade", source, "-o", alone, "--ops", "haze:0.5,noise:0.3", "-q")
    replay = ["degrade", source, "-o", out, "--manifest", alone / "manifest.json", "--on", "ray", "-q"]
    anyfuse(*replay, address=nodes.address)
    assert pictures(out) == pictures(alone)
    assert (out / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()


def test_what_a_cluster_does_not_do(data: Path, tmp_path: Path) -> None:
    """One line each, before Ray starts."""
    image, folder = data / "data" / "ir" / "0.png", data / "data"
    wrong = [
        ("degrade", image, "-o", tmp_path / "o.png", "--ops", "noise:0.1", "--on", "ray"),
        ("degrade", folder / "ir", "-o", tmp_path / "o", "--ops", "noise:0.1", "--workers", "2"),
        ("bench", "--data", folder, "--task", "ivf", "--gpus", "1", "-o", tmp_path / "o"),
    ]
    for command in wrong:
        _, err = anyfuse(*command, status=2)
        assert err.count("\n") == 1, err
