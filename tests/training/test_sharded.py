"""DiTFuse with its blocks in parts (FSDP2), by two processes over gloo: equal to whole blocks, saved whole, resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import scene, to8
from safetensors.torch import load_file

from anyfuse.data.batches import DataSet
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.registry import build_model, load_model
from anyfuse.training import distributed, sharded
from anyfuse.training.pools.instructions import InstructPairs
from anyfuse.training.recipes import RECIPES, Recipe, override
from anyfuse.training.strategies.table import build_strategy, settings_of
from anyfuse.training.train import silent, train

CONFIG = {"width": 32, "layers": 2, "heads": 2, "hidden": 48, "steps": 2, "random_codec": True}
OPTIONS = {"pool": 20, "m3": 0.25, "pairs": 0.25, "control": 0.25, "segment": 0.25}
SETS = (
    DataSet("ivf", ("ivif/ir", "ivif/vis")),
    DataSet("mef", ("mef/under", "mef/over")),
    DataSet("natural", ("natural",)),
)
PATHS = [str(Path(__file__).resolve().parents[levels]) for levels in (1, 2)]


def tiny(steps: int, shard: bool) -> Recipe:
    return replace(
        RECIPES["ditfuse-tiny"],
        tasks={"instruct": 4},
        sets=SETS,
        crop=64,
        steps=steps,
        warmup=1,
        schedule="constant",
        config=CONFIG,
        options=settings_of("instruct", OPTIONS),
        shard=shard,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(10):
        for seed, name in enumerate(("ivif/ir", "ivif/vis", "mef/under", "mef/over", "natural", "camvid/images")):
            write_image(root / name / f"{index}.png", to8(scene(72, 80, 100 * seed + index)))
        classes = rng.integers(0, 12, (9, 10)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        write_image(root / "camvid" / "labels" / f"{index}.png", classes)
    return root


@pytest.fixture(scope="module")
def runs(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The runs of `main` by two processes, and what the first one has counted."""
    out = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, __file__, str(folders), str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(PATHS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return out, json.loads((out / "kept.json").read_text())


def logged(out: Path) -> dict[str, float]:
    line = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    return {name: float(value) for name, value in line.items() if name != "seconds"}


def checkpoint(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "last.pt", weights_only=True)
    return state


def assert_equal_tensors(one: dict[str, Any], other: dict[str, Any], tolerance: float = 1e-4) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert type(value) is torch.Tensor, name
        torch.testing.assert_close(
            value, other[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_each_process_keeps_half_of_each_block(runs: tuple[Path, dict[str, Any]]) -> None:
    kept = runs[1]
    assert kept["own"] == kept["blocks"] // 2
    assert kept["moments"] == kept["own"]


def test_parts_equal_whole_blocks(runs: tuple[Path, dict[str, Any]]) -> None:
    """Losses, weights, averages and moments, and the files of the model."""
    out = runs[0]
    assert logged(out / "parts") == pytest.approx(logged(out / "whole"), rel=1e-4, abs=1e-5)
    one, other = checkpoint(out / "parts"), checkpoint(out / "whole")
    for name in ("model", "ema"):
        assert_equal_tensors(one[name], other[name])
    a, b = (state["strategy"]["state"] for state in (one, other))
    assert a.keys() == b.keys()
    for index, moments in a.items():
        assert_equal_tensors(moments, b[index])
    files = [load_file(out / name / "model.safetensors") for name in ("parts", "whole")]
    assert_equal_tensors(*files)
    load_model(str(out / "parts"))


def test_a_run_in_parts_goes_on(runs: tuple[Path, dict[str, Any]], folders: Path, tmp_path: Path) -> None:
    """As one with whole blocks that was cut off too; and one process goes on where two had the blocks in parts."""
    out = runs[0]
    one, other = checkpoint(out / "resumed"), checkpoint(out / "resumed-whole")
    assert one["step"] == other["step"] == 4
    for name in ("model", "ema"):
        assert_equal_tensors(one[name], other[name])
    lines: list[str] = []
    train(tiny(5, True), folders, out / "resumed", log=lines.append)
    assert "resumed at step 4" in lines
    assert checkpoint(out / "resumed")["step"] == 5


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="shard=true is for the strategies instruct, straighten, not 'plain'"):
        train(override(RECIPES["anyfuse-first"], ["shard=true"]), tmp_path, tmp_path / "out", log=silent)
    with pytest.raises(FusionError, match="needs optimiser=adamw"):
        train(replace(tiny(2, True), optimiser="adam"), tmp_path, tmp_path / "out", log=silent)


def kept() -> dict[str, int]:
    """Numbers of the blocks, of this process's parts of them, and of a moment of these after a step."""
    model = build_model("ditfuse-tiny", CONFIG, training=True)
    assert isinstance(model, DiTFuse)
    blocks = sum(p.numel() for p in model.dit.layers.parameters())
    strategy: Any = build_strategy(model, tiny(2, True))
    parameters = list(model.dit.layers.parameters())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    strategy.optimiser.step()
    moments = [strategy.optimiser.state[p]["exp_avg"] for p in parameters]
    own, of_moments = (sum(sharded.own(value).numel() for value in values) for values in (parameters, moments))
    return {"blocks": blocks, "own": own, "moments": of_moments}


def main(folders: Path, out: Path) -> None:
    InstructPairs.scored = 1
    with distributed.processes(torch.device("cpu")):
        train(tiny(4, False), folders, out / "whole", log=print)
        train(tiny(4, True), folders, out / "parts", log=print)
        for steps in (2, 4):
            train(tiny(steps, True), folders, out / "resumed", log=print)
            train(tiny(steps, False), folders, out / "resumed-whole", log=print)
        found = kept()
        if not distributed.rank():
            (out / "kept.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
