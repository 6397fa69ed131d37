"""`anyfuse train language` and `train estimate`: stopped and resumed, a run equals one that was never stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import scene, to8

from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.training.loop import Loop
from anyfuse.training.run import run

SETTINGS = {
    "language": ["batch=8", "buckets=200", "hidden=16", "dim=8", "width=8"],
    "estimate": ["pairs=12", "tuning=12", "tests=12", "least=48", "most=64", "batch=16"],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("estimate")
    for index in range(10):
        for seed, folder in enumerate(("ivif/ir", "ivif/vis", "mef/under", "mef/over", "natural")):
            write_image(root / folder / f"{index}.png", to8(scene(72, 80, 100 * seed + index)))
    return root


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Ctrl-C in the step after so many."""
    record = Loop.record

    def interrupted(self: Loop, step: int, values: Mapping[str, Any], scores: Mapping[str, Any] | None = None) -> None:
        record(self, step, values, scores)
        if step + 1 == steps:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Loop, "record", interrupted)


@pytest.mark.parametrize("name", SETTINGS)
def test_stop_and_resume_equal_one_run(
    name: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "" if name == "language" else images
    lines: list[str] = []

    def trained(out: Path, **changes: Any) -> Path:
        lines.clear()
        return run(name, data, out, steps=7, settings=SETTINGS[name], device="cpu", log=lines.append, **changes)

    whole = trained(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "parts")
    assert lines[-1].startswith("interrupted: step 3 is in")
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    parts = trained(tmp_path / "parts")
    assert "resumed at step 3" in lines
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()
    logs = [(folder / "log.jsonl").read_text().splitlines()[-1] for folder in (whole, parts)]
    assert '"step": 7' in logs[0]
    assert '"step": 7' in logs[1]
    with pytest.raises(FusionError, match=r"another length \(steps 7, now 9\)") as caught:
        run(name, data, parts, steps=9, settings=SETTINGS[name], device="cpu", log=lines.append)
    assert "give --steps 7" in str(caught.value)
    with pytest.raises(FusionError, match=r"another recipe \(lr [\d.]+, now 1e-05\)"):
        run(name, data, parts, steps=7, settings=[*SETTINGS[name], "lr=1e-5"], device="cpu", log=lines.append)
    begun = trained(tmp_path / "parts", resume=False)
    assert "resumed at step 7" not in lines
    assert (whole / "model.safetensors").read_bytes() == (begun / "model.safetensors").read_bytes()
