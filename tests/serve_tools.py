"""A server in this process, and servers as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import scene, to8, to16

if TYPE_CHECKING:
    from starlette.testclient import TestClient

Files = list[tuple[str, tuple[str, bytes, str]]]


def pictures(
    count: int = 2, height: int = 64, width: int = 80, suffix: str = ".png", folder: Path | None = None
) -> Files:
    """Fields of a form with images of one scene."""
    from anyfuse.io.write import write_image

    assert folder is not None
    out: Files = []
    for index in range(count):
        path = folder / f"picture-{index}-{height}{suffix}"
        if not path.exists():
            image = scene(height, width, index, 3)
            write_image(path, to16(image) if suffix == ".tif" else to8(image))
        out.append(("files", (path.name, path.read_bytes(), "application/octet-stream")))
    return out


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Files]:
    """`pictures` in a folder of their own."""
    folder = tmp_path_factory.mktemp("shots")
    return lambda *args, **options: pictures(*args, folder=folder, **options)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server with usual limits, in this process; its `base` is where the server's folder lies."""
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    pytest.importorskip("httpx", reason="httpx is not installed")
    from starlette.testclient import TestClient

    from anyfuse.serve.app import create_app
    from anyfuse.serve.limits import Limits

    base = tmp_path_factory.mktemp("base")
    with TestClient(create_app(Limits(files=4, age=3600), base=base), base_url="http://127.0.0.1") as client:
        client.base = base  # type: ignore[attr-defined]
        yield client


def finished(client: TestClient, job: str, seconds: float = 120) -> dict[str, object]:
    """The last state of a job."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = client.get(f"/v1/jobs/{job}").json()
        if state["state"] in ("done", "failed", "cancelled"):
            return dict(state)
        time.sleep(0.05)
    raise AssertionError("the job does not end")


class Process:
    """`anyfuse serve` as a process."""

    def __init__(self, base: Path, *options: str, **popen: object) -> None:
        self.base = base
        command = [sys.executable, "-m", "anyfuse", "serve", "--port", "0", "--folder", str(base), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)  # type: ignore[call-overload]
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.url = line.split()[-1].split("#")[0]
        self.token = line.strip().partition("#token=")[2] or None

    def kill(self) -> None:
        """As the system does it where memory is short: nothing is cleaned."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> str:
        """As Ctrl-C; returns what it printed on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, text = self.process.communicate(timeout=30)
        return str(text)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts servers that are stopped at the end."""
    running: list[Process] = []

    def begin(*options: str, base: Path | None = None, **popen: object) -> Process:
        folder = base or tmp_path / "server"
        folder.mkdir(exist_ok=True)
        running.append(Process(folder, *options, **popen))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.kill()


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """An image that no format makes small."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
