"""Images made here, for all tests."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyfuse.runtime import yield_threads

yield_threads()  # before torch is loaded

import torch  # noqa: E402

pytest_plugins = ["serve_tools", "ray_here"]

from anyfuse import native  # noqa: E402
from anyfuse.native import build  # noqa: E402

DATA_ROOT = Path(os.environ.get("ANYFUSE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
"""Research images, which are not shipped: $ANYFUSE_DATA, or a folder beside the repository."""

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, torch.get_num_threads()))

GOLDENS: Counter[str] = Counter()
"""How goldens were compared by the other processes of `pytest -n`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="Store all values of tests/goldens anew.")
    parser.addoption("--add-goldens", action="store_true", help="Add this processor's hashes to tests/goldens.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that start clusters run where -m asks for them."""
    if "cluster" not in (config.option.markexpr or ""):
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(pytest.mark.skip(reason="starts a cluster: pytest -m cluster"))


def goldens_used() -> Counter[str]:
    """How this process compared goldens, with counts."""
    store = sys.modules.get("goldens.store")
    return Counter(store.used.values() if store else ())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands the counts to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["goldens"] = dict(goldens_used())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes the counts of a process that has ended."""
    GOLDENS.update(getattr(node, "workeroutput", {}).get("goldens", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which comparison the goldens used."""
    for how, count in (goldens_used() + GOLDENS).items():
        terminalreporter.write_line(f"goldens: {count} compared {how}")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> native.Kernels:
    """Compiled kernels of the present sources."""
    path, how = build.build(tmp_path_factory.mktemp("native"))
    if path is None:
        pytest.skip(how)
    found, why = native.load(path)
    assert found is not None, why
    return found


@pytest.fixture(params=[1, 3, 4])
def found(library: native.Kernels, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> native.Kernels:
    """The kernels in use, for each kind of processor that this one is."""
    top = library.library.anyfuse_level()
    if request.param > top:
        pytest.skip("not this processor")
    monkeypatch.setattr(library, "level", request.param)
    monkeypatch.setattr(library, "functions", {})
    monkeypatch.delenv("ANYFUSE_NATIVE", raising=False)
    monkeypatch.setattr(native, "kernels", lambda: library)
    return library


def scene(height: int = 96, width: int = 128, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Smooth areas, edges and texture: (H, W) or (H, W, 3) float in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(channels):
        field = sum(
            rng.uniform(0.2, 1) * np.sin(x * rng.uniform(0.02, 0.4) + y * rng.uniform(0.02, 0.4) + rng.uniform(0, 6))
            for _ in range(5)
        )
        blocks = rng.uniform(-1, 1, (height // 24 + 1, width // 24 + 1)).repeat(24, 0).repeat(24, 1)[:height, :width]
        plane = field + 2 * blocks + rng.normal(0, 0.1, (height, width))
        planes.append((plane - plane.min()) / np.ptp(plane))
    return planes[0] if channels == 1 else np.stack(planes, -1)


def to8(image: np.ndarray) -> np.ndarray:
    return np.rint(image * 255).astype(np.uint8)


def to16(image: np.ndarray) -> np.ndarray:
    return np.rint(image * 65535).astype(np.uint16)


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Training turns them off for its process, and hypothesis wants them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The shared research images, where they are; tests that need them skip otherwise."""
    if not DATA_ROOT.is_dir():
        pytest.skip(f"research images are not at {DATA_ROOT} (set ANYFUSE_DATA)")
    return DATA_ROOT
