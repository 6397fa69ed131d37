"""Two processes train as one does: losses, weights, statistics of norms; resume, refusals, who writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import scene, to8

from anyfuse import losses
from anyfuse.data.batches import Batch
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.training import distributed
from anyfuse.training.objectives import BATCH_WIDE, REGIONAL, task_loss
from anyfuse.training.run import run
from anyfuse.training.train import silent

COMMON = ["crop=32", "warmup=1", "stacks=0", "clip=1"]
RUNS = {
    "plain": ("anyfuse-first", ["tasks.ivf=2", "tasks.mef=2", "tasks.mff=2", "tasks.mif=2"]),
    "famo": ("tita-small", ["config.drop_path=0", "autocast=false", "config.extract=1", "config.rebuild=1"]),
    "bilevel": ("unifusion-small", ["tasks.ivf=4", "tasks.mef=4", "tasks.mff=4", "tasks.mif=4"]),
}
"""Strategy -> recipe and settings; each of them on the sets of `folders`."""
SETS = ("ivif/ir", "ivif/vis", "mef/under", "mef/over", "natural")
MEDICAL = tuple(f"mif/{kind}-mri/{one}" for kind in ("ct", "pet", "spect") for one in (kind, "mri"))
PATHS = [str(Path(__file__).resolve().parents[levels]) for levels in (1, 2)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for index in range(10):
        for place, name in enumerate((*SETS, *MEDICAL)):
            write_image(root / name / f"{index}.png", to8(scene(80, 96, 100 * place + index)))
    return root


def command(strategy: str, folders: Path, out: Path, *more: str, steps: int = 2) -> list[str]:
    """What follows `-m anyfuse`."""
    recipe, settings = RUNS[strategy]
    given = [f"--set={one}" for one in (*COMMON, *settings)]
    return ["train", recipe, "--data", str(folders), "--out", str(out), "--steps", str(steps), *given, *more]


def alone(strategy: str, folders: Path, out: Path, steps: int = 2, accumulate: int = 1, log: Any = silent) -> Path:
    """The run of `command` in this process, or in those that `launch` has started."""
    recipe, settings = RUNS[strategy]
    given = [*COMMON, *settings]
    return run(recipe, folders, out, steps=steps, settings=given, accumulate=accumulate, log=log)


def launch(*arguments: str | Path, count: int = 2) -> subprocess.Popen[str]:
    """`torchrun --nproc_per_node COUNT ...`"""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    return subprocess.Popen(
        [*start, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(PATHS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text[-3000:]
    return text


def logged(out: Path, but: Sequence[str] = ()) -> dict[str, float]:
    """The last line of the log: running means of everything that the steps gave."""
    line = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    return {name: float(value) for name, value in line.items() if name not in ("seconds", *but)}


def assert_equal_runs(one: Path, other: Path, tolerance: float = 2e-4, but: Sequence[str] = ()) -> None:
    assert logged(one, but) == pytest.approx(logged(other, but), rel=tolerance, abs=tolerance)
    a, b = (torch.load(out / "last.pt", weights_only=True) for out in (one, other))
    for name, value in a["model"].items():
        torch.testing.assert_close(value.float(), b["model"][name].float(), rtol=1e-2, atol=1e-3, msg=name)
    assert a["generator"].equal(b["generator"])


@pytest.fixture(scope="module")
def together(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder with the runs of RUNS by two processes, one after the other, and what they have printed."""
    out = tmp_path_factory.mktemp("two")
    return out, finish(launch(Path(__file__), str(folders), str(out)))


@pytest.mark.parametrize("strategy", RUNS)
def test_two_processes_equal_one(strategy: str, folders: Path, tmp_path: Path, together: tuple[Path, str]) -> None:
    out, text = together
    alone(strategy, folders, tmp_path / strategy)
    assert text.count("step 2/2") == len(RUNS)
    assert_equal_runs(tmp_path / strategy, out / strategy)
    card = (out / strategy / "README.md").read_text()
    assert card.count("2 processes") == 1
    assert "processes" not in (tmp_path / strategy / "README.md").read_text()


@pytest.mark.cluster
def test_a_run_goes_on_with_another_number_of_processes(folders: Path, tmp_path: Path) -> None:
    """Two processes stop at SIGTERM with a checkpoint; one goes on, and ends as if it had done all of it."""
    process = launch("-m", "anyfuse", *command("plain", folders, tmp_path / "parts", steps=120))
    deadline = time.monotonic() + 120
    assert process.stdout is not None
    while not (tmp_path / "parts" / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    text = process.communicate(timeout=120)[0]
    assert "interrupted: step" in text, text[-3000:]
    state = torch.load(tmp_path / "parts" / "last.pt", weights_only=True)
    assert 50 <= state["step"] < 120
    alone("plain", folders, tmp_path / "parts", steps=120)
    alone("plain", folders, tmp_path / "whole", steps=120)
    one, two = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("parts", "whole"))
    assert one["generator"].equal(two["generator"])


@pytest.mark.parametrize("strategy", RUNS)
def test_parts_of_a_step_equal_the_whole(strategy: str, folders: Path, tmp_path: Path) -> None:
    """--accumulate 2; batch norms see a part, so here they keep running statistics."""
    settings = [*RUNS[strategy][1], *(["config.norm=group"] if strategy == "bilevel" else [])]
    for count in (1, 2):
        run(
            RUNS[strategy][0],
            folders,
            tmp_path / str(count),
            steps=2,
            settings=[*COMMON, *settings],
            accumulate=count,
            log=silent,
        )
    measured = ("angle", "reconstruction_psnr")  # of each part
    assert_equal_runs(tmp_path / "1", tmp_path / "2", but=measured)


@pytest.mark.parametrize("name", [n for n in BATCH_WIDE if n != "even"] + ["even", "qabf", "mef_ssim"])
def test_losses_of_parts_average_to_the_loss(name: str) -> None:
    gen = torch.Generator().manual_seed(0)
    sources = torch.rand(4, 2, 48, 48, generator=gen) * torch.tensor([0.4, 0.7, 0.9, 1.2])[:, None, None, None]
    sources = sources.clamp(0, 1)
    sources[:2, 1, :30] = 0.98  # a lit sky in two of the rows
    sources[:2, 0, :30] = 0.6
    fused = torch.rand(4, 48, 48, generator=gen)
    statistics = torch.stack([sources.mean((2, 3)), sources.std((2, 3))], -1)
    batch = Batch("ivf", sources[:, :, None], sources, statistics=statistics)
    whole, _ = task_loss(fused, batch, {name: 1.0})
    parts = [distributed.part_of(batch, index, 2) for index in range(2)]
    each = [task_loss(fused[index::2], part, {name: 1.0})[0] for index, part in enumerate(parts)]
    assert float(sum(each)) / 2 == pytest.approx(float(whole), abs=1e-6)
    if name in BATCH_WIDE:
        for part in parts:
            part.whole = None
        apart = [task_loss(fused[index::2], part, {name: 1.0})[0] for index, part in enumerate(parts)]
        assert float(sum(apart)) / 2 != pytest.approx(float(whole), abs=1e-6)


def test_every_loss_that_is_not_a_mean_is_named() -> None:
    """Losses of random rows: those whose parts do not average to the whole are in BATCH_WIDE."""
    gen = torch.Generator().manual_seed(0)
    sources, fused = torch.rand(4, 2, 48, 48, generator=gen), torch.rand(4, 48, 48, generator=gen)
    for name in ("intensity", "intensity_mean", "base_max", "base_mean", "gradient", "ssim", "vif", "scd", "closeness"):
        loss: Any = getattr(losses, name)
        parts = [float(loss(fused[index::2], sources[index::2])) for index in range(2)]
        assert sum(parts) / 2 == pytest.approx(float(loss(fused, sources)), abs=1e-5), name
    assert set(REGIONAL) < set(BATCH_WIDE)


def test_parts_keep_every_field_of_the_rows() -> None:
    batch = Batch("mff", torch.rand(6, 2, 1, 4, 4), torch.rand(6, 2, 4, 4), torch.rand(6, 4, 4))
    parts = [distributed.part_of(batch, index, 3) for index in range(3)]
    assert [len(part.sources) for part in parts] == [2, 2, 2]
    assert all(part.whole is batch for part in parts)
    for f in fields(Batch):
        value = getattr(batch, f.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(torch.stack([getattr(p, f.name) for p in parts], 1).flatten(0, 1), value)
    assert distributed.part_of(parts[1], 1, 2).whole is batch


def test_refusals(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FusionError, match=r"--set tasks.ivf=3 --set tasks.mef=3"):
        alone("plain", folders, tmp_path / "odd", accumulate=3)
    with pytest.raises(FusionError, match="trains in one process"):
        run("language", "", tmp_path / "language", accumulate=2)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FusionError, match="trains in one process"):
        run("codec-tiny", folders, tmp_path / "codec")


def test_seeds_of_processes_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    for seed in (2**62, -(2**62)):
        distributed.own_draws(seed, 3)


@pytest.mark.parametrize("recipe", ["anyfuse-first", "language"])
def test_no_parts_are_refused(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(FusionError, match=r"give 1 part|each step at once"):
        run(recipe, tmp_path, tmp_path / "out", accumulate=0)


def test_one_group_after_the_other() -> None:
    """Runs in the same processes never call the addresses of the run before; the late process makes them differ."""
    assert finish(launch(Path(__file__), "groups")).count("60.0") == 2


def groups(count: int = 40) -> float:
    """20 + 40, added up by two processes in the last of `count` groups."""
    for index in range(count):
        with distributed.processes(torch.device("cpu")):
            total = torch.full((), 20.0 * (1 + distributed.rank()))
            torch.distributed.all_reduce(total)
            time.sleep(0.01 * (distributed.rank() == index % 2))
    return float(total)


if __name__ == "__main__":
    if sys.argv[1] == "groups":
        sys.stdout.write(f"{groups()}\n")  # text and line end in one piece: two processes write into one pipe
        sys.exit()
    for each in RUNS:
        alone(each, Path(sys.argv[1]), Path(sys.argv[2]) / each, log=print)
