"""The behaviour of the package equals the stored one: a rearrangement of code changes nothing. See store.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from goldens import store, subjects


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """How sums are split among threads decides their last bits, and so would compiled kernels."""
    monkeypatch.setenv("ANYFUSE_NATIVE", "0")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(before)


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-goldens"))


@pytest.mark.parametrize("name", subjects.PLAIN)
def test_plain(name: str, update: bool) -> None:
    wrong = store.check_plain(name, subjects.PLAIN[name](), update)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.numerics
@pytest.mark.parametrize("name", subjects.MEASURED)
def test_measured(name: str, update: bool, request: pytest.FixtureRequest) -> None:
    compute, tolerance = subjects.MEASURED[name]
    wrong = store.check_measured(name, compute(), tolerance, update, request.config.getoption("--add-goldens"))
    assert not wrong, "\n".join(wrong[:20])


def test_documented_imports_work(update: bool) -> None:
    """Those that the documentation has ever shown."""
    path = store.HERE / "plain" / "imports.json"
    if update:
        store.write_json(path, sorted({*(store.read_json(path) or []), *subjects.documented_imports()}))
    assert not subjects.missing_imports(store.read_json(path))
    assert set(subjects.documented_imports()) <= set(store.read_json(path)), "store the new ones with --update-goldens"
