"""Fusion and scores on a real Ray of two nodes, with workers and drivers that are killed, and S3 by moto's server.

`pytest tests/jobs -m cluster`; the part without Ray is in test_bulk.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray_here import anyfuse, start, workers, write_pairs

from anyfuse.io.read import read_image
from anyfuse.jobs.rows import read_rows

pytestmark = pytest.mark.cluster
SETS = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of images in ir and vis, one of which is broken."""
    root = write_pairs(tmp_path_factory.mktemp("sets"), SETS, 160, 200)
    (root / "ir" / "05.png").write_bytes(b"broken")
    return root


@pytest.fixture(scope="module")
def expected(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of one machine."""
    out = tmp_path_factory.mktemp("alone") / "out"
    anyfuse("fuse", folders / "ir", folders / "vis", "-o", out, status=1)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def wait_for_results(out: Path, count: int) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if out.is_dir() and sum(path.suffix == ".png" for path in out.iterdir()) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} results in {out}")


def assert_complete(out: Path, expected: dict[str, bytes]) -> list[dict[str, Any]]:
    """All results are there, whole, and equal to those of one machine; a row each, and one for the broken set."""
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == expected
    rows = read_rows(str(out / "report.parquet"))
    assert sorted(row["name"] for row in rows) == [f"{index:02d}" for index in range(SETS)]
    failed = [row for row in rows if row["status"] == "failed"]
    assert [row["name"] for row in failed] == ["05"]
    assert "05.png" in failed[0]["reason"]
    return rows


def test_a_run_equals_one_machine(nodes: Any, folders: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed, err = anyfuse(
        "fuse", folders / "ir", folders / "vis", "-o", out, "--on", "ray", status=1, address=nodes.address
    )
    assert f"{SETS - 1} fused, 0 already there, 1 failed" in printed
    rows = assert_complete(out, expected)
    report = json.loads(next(row for row in rows if row["name"] == "03")["report"])
    assert report["model"] == "anyfuse"
    assert "05" in err
    printed, _ = anyfuse(
        "fuse", folders / "ir", folders / "vis", "-o", out, "--on", "ray", status=1, address=nodes.address
    )
    assert f"0 fused, {SETS - 1} already there, 1 failed" in printed
    assert_complete(out, expected)
    (out / "03.png").write_bytes(b"broken")
    scored, _ = anyfuse(
        "score", out, "--sources", folders / "ir", folders / "vis", "--metrics", "mi,ssim", "--json", "--on", "ray",
        "--report", tmp_path / "scores", status=1, address=nodes.address,
    )  # fmt: skip
    alone, _ = anyfuse(
        "score", out, "--sources", folders / "ir", folders / "vis", "--metrics", "mi,ssim", "--json", status=1
    )
    assert json.loads(scored) == json.loads(alone)
    assert list(json.loads(scored)["failed"]) == ["03"]
    assert len(read_rows(str(tmp_path / "scores"))) == SETS - 1


def test_killed_workers_lose_nothing(nodes: Any, folders: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("fuse", folders / "ir", folders / "vis", "-o", out, "--on", "ray", address=nodes.address)
    wait_for_results(out, 2)
    killed = workers(nodes)
    assert killed
    os.kill(killed[0], signal.SIGKILL)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 1, err[-3000:]
    rows = assert_complete(out, expected)
    assert {row["status"] for row in rows} <= {"fused", "there", "failed"}
    assert not list(out.glob(".anyfuse-*"))


def test_a_killed_driver_loses_nothing(nodes: Any, folders: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("fuse", folders / "ir", folders / "vis", "-o", out, "--on", "ray", address=nodes.address)
    wait_for_results(out, 2)
    process.kill()
    process.communicate()
    time.sleep(1)
    there = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert there.items() <= expected.items()
    assert len(there) < len(expected)
    anyfuse("fuse", folders / "ir", folders / "vis", "-o", out, "--on", "ray", status=1, address=nodes.address)
    assert_complete(out, expected)


def test_a_set_that_kills_its_worker_becomes_a_row(nodes: Any) -> None:
    import ray
    from deadly import Deadly

    from anyfuse.jobs.cluster import ATTEMPTS, Cluster, run_rows

    ray.init(nodes.address, log_to_driver=False)
    try:
        jobs = [{"name": str(k), "inputs": [], "image": None} for k in range(4)]
        rows = {row["name"]: row for row in run_rows(ray, Cluster(workers=1), Deadly, (), jobs)}
    finally:
        ray.shutdown()
    assert rows["2"]["status"] == "failed"
    assert f"died in each of {ATTEMPTS} attempts" in rows["2"]["reason"]
    assert {rows[k]["status"] for k in "013"} == {"fused"}


# ---------------------------------------------------------------------- object stores


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """S3 on this machine, with an empty bucket `sets`; a file system for it. Cleared of variables afterwards."""
    pytest.importorskip("moto", reason="pip install 'moto[server]'")
    s3fs = pytest.importorskip("s3fs", reason="pip install 'anyfuse[cluster]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    patch = pytest.MonkeyPatch()
    url = f"http://127.0.0.1:{port}"
    for name, value in {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        patch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    system = s3fs.S3FileSystem()
    system.mkdir("sets")
    yield system
    server.terminate()
    server.wait()
    patch.undo()


def test_sets_and_results_in_s3(bucket: Any, folders: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    """Folders and a table of URLs; results and report in the bucket; a second run does what is missing."""
    for name in ("ir", "vis"):
        for path in (folders / name).iterdir():
            bucket.pipe_file(f"sets/{name}/{path.name}", path.read_bytes())
    command = ["fuse", "s3://sets/ir", "s3://sets/vis", "-o", "s3://sets/out", "--on", "ray", "--workers", "2"]
    printed, _ = anyfuse(*command, status=1, address="local")
    assert f"{SETS - 1} fused, 0 already there, 1 failed" in printed
    names = {Path(name).name for name in bucket.ls("sets/out") if name.endswith(".png")}
    assert names == set(expected)
    for name in ("00.png", "07.png"):
        (tmp_path / name).write_bytes(bucket.cat_file(f"sets/out/{name}"))
        (tmp_path / f"alone-{name}").write_bytes(expected[name])
        one, other = read_image(tmp_path / name), read_image(tmp_path / f"alone-{name}")
        assert np.array_equal(one.pixels, other.pixels)
    rows = read_rows("s3://sets/out/report.parquet")
    assert len(rows) == SETS
    report = json.loads(next(row for row in rows if row["name"] == "03")["report"])
    assert report["inputs"][0]["name"] == "s3://sets/ir/03.png"
    assert report["output"] == "s3://sets/out/03.png"
    bucket.rm_file("sets/out/07.png")
    lines = [f"s3://sets/ir/{k:02d}.png,s3://sets/vis/{k:02d}.png,{k:02d}" for k in range(SETS)]
    lines.append("s3://sets/ir/none.png,s3://sets/vis/00.png,none")
    (tmp_path / "sets.csv").write_text("\n".join(["ir,vis,name", *lines]))
    table = ["fuse", "--list", tmp_path / "sets.csv", "-o", "s3://sets/out", "--on", "ray", "--workers", "2"]
    printed, err = anyfuse(*table, status=1, address="local")
    assert f"1 fused, {SETS - 2} already there, 2 failed" in printed
    assert "s3://sets/ir/none.png: no such file" in err
    assert len(read_rows("s3://sets/out/report.parquet")) == SETS + 1
