"""A real Ray of two nodes on this machine, and the command line in processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes with a CPU each."""
    pytest.importorskip("ray", reason="pip install 'anyfuse[cluster]'")
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS", "RAY_USAGE_STATS_ENABLED")}
    path = os.pathsep.join(map(str, (PACKAGE, Path(__file__).parent)))
    os.environ |= {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    small = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    cluster.add_node(**small)
    yield cluster
    cluster.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


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
    assert process.returncode == status, err[-3000:]
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
