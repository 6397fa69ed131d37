"""`--on ray://HOST:PORT`: a driver outside of the cluster, through Ray's client server on loopback."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_here import PACKAGE, anyfuse, write_pairs

from anyfuse.jobs.rows import read_rows

pytestmark = pytest.mark.cluster
SETS = 6


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"{process.args!s:.200} does not listen")


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of Ray's client server, beside a head node that `ray start` runs."""
    pytest.importorskip("ray", reason="pip install 'anyfuse[cluster]'")
    pytest.importorskip("grpc", reason="ray:// needs pip install 'ray[client]'")
    place = tempfile.mkdtemp(prefix="ray-")  # short, for the names of sockets
    port, client = free_port(), free_port()
    patch = pytest.MonkeyPatch()  # Ray's client makes no token of its own; this cluster and its driver share this one
    patch.setenv("RAY_AUTH_MODE", "token")
    patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    environment = os.environ | {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    processes: list[subprocess.Popen[bytes]] = []

    def run(listens: int, *arguments: object) -> None:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        wait_for(listens, processes[-1])

    try:
        start = ("ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "2", "--port", port)
        places = ("--min-worker-port", 0, "--max-worker-port", 0, "--temp-dir", place)
        run(port, *start, *places, "--include-dashboard", "false", "--object-store-memory", 100 << 20)
        server = ("ray.util.client.server", "--host", "127.0.0.1", "--port", client, "--mode", "legacy")
        run(client, *server, "--address", f"127.0.0.1:{port}")
        yield f"ray://127.0.0.1:{client}"
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        patch.undo()
        shutil.rmtree(place, ignore_errors=True)


def test_a_driver_outside_of_the_cluster(head: str, tmp_path: Path) -> None:
    """Results equal those of one machine, a bad set is a row, and a rerun finds all there."""
    write_pairs(tmp_path, SETS, 96, 120)
    (tmp_path / "ir" / "04.png").write_bytes(b"broken")
    alone, out = tmp_path / "alone", tmp_path / "out"
    command = ["fuse", tmp_path / "ir", tmp_path / "vis", "--align", "none"]
    anyfuse(*command, "-o", alone, status=1)
    printed, err = anyfuse(*command, "-o", out, "--on", head, status=1)
    assert f"{SETS - 1} fused, 0 already there, 1 failed" in printed, err
    assert {p.name: p.read_bytes() for p in out.glob("*.png")} == {p.name: p.read_bytes() for p in alone.glob("*.png")}
    assert len(read_rows(str(out / "report.parquet"))) == SETS
    printed, _ = anyfuse(*command, "-o", out, "--on", head, status=1)
    assert f"0 fused, {SETS - 1} already there, 1 failed" in printed


def test_nobody_listens(tmp_path: Path) -> None:
    """One line."""
    pytest.importorskip("ray", reason="pip install 'anyfuse[cluster]'")
    pytest.importorskip("grpc", reason="ray:// needs pip install 'ray[client]'")
    write_pairs(tmp_path, 1, 48, 64)
    address = f"ray://127.0.0.1:{free_port()}"
    _, err = anyfuse("fuse", tmp_path / "ir", tmp_path / "vis", "-o", tmp_path / "out", "--on", address, status=2)
    assert err.count("\n") == 1, err
    assert f"--on {address}: cannot connect" in err
