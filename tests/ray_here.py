"""A real Ray of two nodes on this machine, and the command line in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import scene, to8

from anyfuse.io.write import write_image

PACKAGE = Path(__file__).resolve().parents[1]
STARTS = 3  # of Ray, which gives a node 30 seconds, less than a busy machine may need


def write_pairs(root: Path, count: int, height: int, width: int) -> Path:
    """Pairs of images in root/ir and root/vis, by numbers of two digits."""
    for index in range(count):
        for place, name in enumerate(("ir", "vis")):
            write_image(root / name / f"{index:02d}.png", to8(scene(height, width, 2 * index + place)))
    return root


def _started() -> Any:
    """Two nodes with a CPU each."""
    from ray.cluster_utils import Cluster

    for left in reversed(range(STARTS)):
        cluster = Cluster()
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
            return cluster
        except Exception:  # Ray raises no other kind
            cluster.shutdown()
            if not left:
                raise
    raise AssertionError


@pytest.fixture(scope="session")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes, for all tests of a session: its start takes seconds."""
    pytest.importorskip("ray", reason="pip install 'anyfuse[cluster]'")
    path = os.pathsep.join(map(str, (PACKAGE, PACKAGE / "tests" / "jobs")))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PYTHONPATH", path), ("OMP_NUM_THREADS", "1"), ("RAY_USAGE_STATS_ENABLED", "0")):
            patch.setenv(name, value)
        cluster = _started()
        yield cluster
        cluster.shutdown()


def start(*arguments: object, address: str | None = None) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_ADDRESS": address} if address else {}
    return subprocess.Popen(
        [sys.executable, "-m", "anyfuse", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def anyfuse(*arguments: object, status: int = 0, address: str | None = None) -> tuple[str, str]:
    process = start(*arguments, address=address)
    out, err = process.communicate(timeout=600)
    assert process.returncode == status, (process.returncode, out[-500:], err[-3000:])
    return out, err


def workers(nodes: Any) -> list[int]:
    """Actors with a model, by the processes that the raylets of this cluster have started."""
    raylets = {info.process.pid for node in nodes.list_all_nodes() for info in node.all_processes["raylet"]}
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            title = (folder / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent in raylets and title.startswith(b"ray::") and b"Actor" in title:
            found.append(int(folder.name))
    return found
