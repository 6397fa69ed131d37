"""`--tensorboard` writes what the log holds, and goes on with a run that is resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")

from anyfuse.training.tensorboard import Board


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def line(path: Path, step: int, loss: float) -> None:
    with path.open("a") as file:
        file.write(json.dumps({"step": step, "seconds": 1.5, "loss": loss, "ivf/ssim": 0.5}) + "\n")


def test_lines_become_scalars_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Board(tmp_path, {"lr": 1e-3}) as board:
        board.update()
        line(log, 50, 0.25)
        board.update()
        log.open("a").write('{"step": 100, "se')  # a line that is being written
        board.update()
    log.write_text(log.read_text().rpartition("\n")[0] + "\n")
    with Board(tmp_path, {}) as board:
        line(log, 100, 0.125)
    found = scalars(tmp_path / "tensorboard")
    assert found["loss"] == [(50, 0.25), (100, 0.125)]
    assert found["ivf/ssim"] == [(50, 0.5), (100, 0.5)]


def test_training_writes_them(tmp_path: Path) -> None:
    from anyfuse.training.run import run

    out = run("language", "", tmp_path / "run", steps=2, tensorboard=True, log=lambda text: None)
    assert [step for step, _ in scalars(out / "tensorboard")["loss"]] == [2]
