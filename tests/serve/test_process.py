"""The server as a process: its client, many requests at once, kill -9, a full disk."""

from __future__ import annotations

import io
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image
from serve_tools import Files, Process, noise

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.serve import Client
from anyfuse.serve.store import Store, sweep

Start = Callable[..., Process]
Shots = Callable[..., Files]
QUICK = {"model": "average", "align": "none", "deghost": "off", "metrics": False}


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for seed, path in enumerate(paths):
        write_image(path, to8(scene(64, 80, seed, 3)))
    return [str(path) for path in paths]


def left(base: Path) -> list[str]:
    """What lies in a server's folder."""
    return [str(path.relative_to(base)) for path in base.rglob("*")]


def test_client(start: Start, pair: list[str], tmp_path: Path) -> None:
    server = start("--log")
    client = Client(server.url)
    heard: list[tuple[str, float]] = []
    result = client.fuse(pair, out=tmp_path / "fused.png", progress=lambda *one: heard.append(one), format="png")
    assert Image.open(tmp_path / "fused.png").size == (80, 64)
    assert (tmp_path / "fused.png").read_bytes() == result.content()
    assert result.name == "fused.png"
    assert [row["name"] for row in result.report["inputs"]] == ["one.png", "two.png"]
    assert Image.open(io.BytesIO(result.weights(1))).size == (80, 64)
    assert heard, "what a small job tells last may come after its result"
    assert all(0 <= share <= 1 for _, share in heard)
    with pytest.raises(FusionError, match="exists already"):
        result.save(tmp_path / "fused.png")
    with pytest.raises(FusionError, match="align 'much' is not known"):
        client.fuse(pair, align="much")
    with pytest.raises(FusionError, match=r"^notes: "):
        client.fuse([("notes", b"no picture"), pair[0]])
    with pytest.raises(FusionError, match="no such file"):
        client.fuse(["nothing.png", pair[0]])
    assert "anyfuse" in [row["name"] for row in client.models()]
    result.remove()
    with pytest.raises(FusionError, match="no such job"):
        result.content()
    log = server.stop()
    assert "POST /v1/fuse 202" in log
    assert "one.png" not in log
    assert result.id not in log
    assert "Traceback" not in log
    assert left(server.base) == []
    with pytest.raises(FusionError, match="does not answer"):
        client.fuse(pair)


def test_token(start: Start, pair: list[str]) -> None:
    """An open address makes a token; with it and an address in digits all works."""
    server = start("--host", "0.0.0.0", "--token", "auto")
    assert server.token
    assert Client(server.url, token=server.token).fuse(pair, **QUICK).name == "fused.png"
    assert Client(f"{server.url}#token={server.token}").models()
    with pytest.raises(FusionError, match="token"):
        Client(server.url, token="another-token-of-letters").models()


def test_many_at_once(start: Start) -> None:
    """60 jobs of 60 clients: each gets its own result; what is over the limit is told to come again."""
    server = start("--jobs", "2", "--max-waiting", "64")
    client = Client(server.url)

    def one(number: int) -> bool:
        values = np.full((24, 24, 3), number * 4, np.uint8)
        values[: number % 20 + 1] += 1  # no two images are the same picture
        files = []
        for k in range(2):
            file = io.BytesIO()
            Image.fromarray(values + np.uint8(2 * k)).save(file, "PNG")
            files.append((f"{number}-{k}.png", file.getvalue()))
        result = client.fuse(files, format="png", **QUICK)
        got = np.asarray(Image.open(io.BytesIO(result.content())))
        names = [row["name"] for row in result.report["inputs"]]
        return bool(np.array_equal(got, values + 1)) and names == [name for name, _ in files]

    with ThreadPoolExecutor(60) as pool:
        assert all(pool.map(one, range(60)))
    assert server.stop().count("Traceback") == 0
    assert left(server.base) == []


def test_too_many_are_told_so(start: Start, pair: list[str]) -> None:
    server = start("--max-waiting", "3")
    client = Client(server.url)
    client.fuse(pair, **QUICK)

    def one(number: int) -> str:
        try:
            return client.fuse(pair, **QUICK).name
        except FusionError as error:
            return str(error)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    assert "fused.png" in answers
    assert all(answer == "fused.png" or "try again" in answer for answer in answers)


def workers(parent: int) -> list[int]:
    """Processes that a process has started."""
    text = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    ).stdout
    return [int(word) for word in text.split()]


def test_kill_and_restart(start: Start, pair: list[str], tmp_path: Path) -> None:
    """kill -9 in the middle of a job ends its workers, and the next server removes what it left."""
    server = start()
    large = []
    for k in range(2):
        path = tmp_path / f"large-{k}.png"
        Image.fromarray(noise(3000, 3000, k)).save(path, compress_level=0)
        large.append(str(path))
    client = Client(server.url, timeout=20)
    job = client.submit(large)
    while client.ask("GET", f"/v1/jobs/{job['id']}")["state"] == "queued":
        time.sleep(0.05)
    children = workers(server.process.pid)
    assert children
    assert left(server.base)
    server.kill()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and alive(pid) for pid in children):
        assert time.monotonic() < end, "a worker outlives its server"
        time.sleep(0.05)
    assert left(server.base), "nobody has cleaned yet"
    again = start(base=server.base)
    assert len(list(server.base.iterdir())) == 1, "the new server's folder alone"
    assert Client(again.url).fuse(pair, **QUICK).name == "fused.png"
    with pytest.raises(FusionError, match="no such job"):
        Client(again.url).wait(job["id"])
    again.stop()
    assert left(server.base) == []


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_full_disk(start: Start, pair: list[str], tmp_path: Path) -> None:
    """No room for an upload, or for a result: an error, nothing half written, and the server goes on."""
    server = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)))
    client = Client(server.url)
    big = tmp_path / "big.png"
    Image.fromarray(noise(400, 400, 1)).save(big)
    with pytest.raises(FusionError, match="free some space"):
        client.fuse([str(big), pair[0]], **QUICK)
    flat = []
    for k in range(2):  # small files whose result is larger than they are
        path = tmp_path / f"flat-{k}.png"
        Image.fromarray(np.full((600, 600, 3), 90 + k, np.uint8)).save(path)
        flat.append(str(path))
    with pytest.raises(FusionError):
        client.fuse(flat, format="tif", **QUICK)
    assert not [name for name in left(server.base) if "result" in name or "tmp" in name]
    assert client.fuse(pair, **QUICK).name == "fused.png"
    assert "Traceback" not in server.stop()


def test_a_worker_that_dies(start: Start, pair: list[str]) -> None:
    """The job fails with a line, and the next one is done by a new process."""
    server = start()
    client = Client(server.url)
    client.fuse(pair, **QUICK)
    for pid in workers(server.process.pid):
        os.kill(pid, 9)
    answers = []
    for _ in range(2):
        try:
            answers.append(client.fuse(pair, **QUICK).name)
        except FusionError as error:
            answers.append(str(error))
    assert answers[-1] == "fused.png", answers


def test_a_client_that_goes_away(start: Start, pair: list[str]) -> None:
    """Half a form leaves nothing."""
    server = start()
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(
            b"POST /v1/fuse HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc'
        )
        time.sleep(0.5)
    time.sleep(0.5)
    assert [name for name in left(server.base) if "/" in name and not name.endswith(".lock")] == []
    assert Client(server.url).fuse(pair, **QUICK).name == "fused.png"
    assert "Traceback" not in server.stop()


def test_two_servers_share_a_folder(tmp_path: Path) -> None:
    """Neither takes the other's folder for a leftover; without its owner it is one."""
    one = Store(tmp_path)
    two = Store(tmp_path)
    assert one.root.is_dir()
    one._lock.close()  # as if its process were gone
    sweep(tmp_path)
    assert not one.root.exists()
    assert two.root.is_dir()
    two.close()
    assert not list(tmp_path.iterdir())


def test_help_is_light() -> None:
    """Neither torch nor the extra is loaded for help, nor torch for the server itself."""
    code = (
        "import sys; from anyfuse.cli import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "import anyfuse.serve\n"
        "assert not {'torch', 'fastapi', 'uvicorn'} & set(sys.modules), sorted(sys.modules)\n"
        "import anyfuse.serve.app, anyfuse.serve.run\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from anyfuse.serve.run import needed

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(FusionError, match=r"pip install 'anyfuse\[serve\]'"):
        needed()


def test_a_taken_port(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    from anyfuse.serve.run import Address, listen

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(FusionError, match="give another --port"):
        listen(Address(port=taken.getsockname()[1]))
    assert threading.active_count() < 60
