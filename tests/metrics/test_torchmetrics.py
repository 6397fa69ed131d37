"""The classes for torchmetrics give what `score` gives, over batches, processes and types."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anyfuse.errors import FusionError
from anyfuse.metrics import score_batch

torchmetrics = pytest.importorskip("torchmetrics")

from anyfuse.metrics.torchmetrics import FusionMetric, fusion_metrics  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def batch(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    sources = (torch.rand(count, 2, 40, 48, generator=torch.Generator().manual_seed(seed)) * 255).round()
    return sources.mean(1).round(), sources


@pytest.mark.parametrize("name", ["qabf", "mi", "halo"])
def test_the_mean_is_over_images_not_batches(name: str) -> None:
    metric = FusionMetric(name)
    parts = [batch(3, 1), batch(1, 2)]
    for fused, sources in parts:
        metric.update(fused, sources)
    values = torch.cat([score_batch(f, s, [name])[name] for f, s in parts])
    assert float(metric.compute()) == pytest.approx(float(values.mean()), rel=1e-12)
    metric.reset()
    assert math.isnan(float(metric.compute()))
    assert metric.higher_is_better is (name != "halo")


def test_forward_gives_the_value_of_the_batch() -> None:
    metric = FusionMetric("mi")
    metric.update(*batch(1, 1))
    fused, sources = batch(2, 2)
    assert float(metric(fused, sources)) == pytest.approx(float(score_batch(fused, sources, ["mi"])["mi"].mean()))
    assert int(metric.count) == 3


def test_images_in_the_unit_range_and_in_colour() -> None:
    fused, sources = batch(2)
    whole, unit, colour = FusionMetric("qabf"), FusionMetric("qabf", data_range=1), FusionMetric("qabf", data_range=1)
    whole.update(fused, sources)
    unit.update((fused / 255).double(), (sources / 255).double())
    grey = (fused / 255)[:, None].expand(-1, 3, -1, -1), (sources / 255)[:, :, None].expand(-1, -1, 3, -1, -1)
    colour.update(*grey)
    assert float(unit.compute()) == pytest.approx(float(whole.compute()), abs=1e-6)
    assert float(colour.compute()) == pytest.approx(float(whole.compute()), abs=1e-3)  # grey of equal channels rounds


def test_images_without_a_value_are_counted_apart() -> None:
    metric = FusionMetric("cc")
    fused, sources = batch(2)
    nan = score_batch(sources[:, 0], sources, ["scd"])["scd"]
    metric = FusionMetric("scd")
    metric.update(sources[:, 0], sources)
    metric.update(fused, sources)
    assert int(metric.missing) == int(nan.isnan().sum())
    assert math.isfinite(float(metric.compute()))


def test_a_collection_and_its_state() -> None:
    metrics = fusion_metrics(["mi", "qabf", "ssim"])
    fused, sources = batch(2)
    metrics.update(fused, sources)
    expected = {name: float(v.mean()) for name, v in score_batch(fused, sources, ["mi", "qabf", "ssim"]).items()}
    assert {k: float(v) for k, v in metrics.compute().items()} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FusionMetric("qabg"), "did you mean qabf"),
        (lambda: FusionMetric("all"), "takes one metric"),
        (lambda: FusionMetric("mi", data_range=0), "data_range 0"),
        (lambda: FusionMetric("mi", grey="x"), "give one of"),  # type: ignore[arg-type]
        (lambda: FusionMetric("mi").update(torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)), "give \\(B, H, W\\)"),
        (lambda: FusionMetric("mi").update(*(x / 255 for x in batch(1))), "look like 0..1"),
    ],
)
def test_refusals(make: object, text: str) -> None:
    with pytest.raises(FusionError, match=text):
        make()  # type: ignore[operator]


RANK = """
import sys, torch, torch.distributed as dist
from anyfuse.metrics.torchmetrics import FusionMetric
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
torch.manual_seed(rank)
sources = (torch.rand(1 + 2 * rank, 2, 40, 48) * 255).round()
metric = FusionMetric("mi")
metric.update(sources.mean(1).round(), sources)
print(float(metric.compute()))
dist.destroy_process_group()
"""


def test_processes_add_up(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RANK]
    runs = [
        subprocess.Popen([*command, str(k), str(tmp_path / "meet")], env=environment, stdout=subprocess.PIPE, text=True)
        for k in range(2)
    ]
    out = [run.communicate(timeout=120)[0] for run in runs]
    values = []
    for rank in range(2):
        torch.manual_seed(rank)
        sources = (torch.rand(1 + 2 * rank, 2, 40, 48) * 255).round()
        values.append(score_batch(sources.mean(1).round(), sources, ["mi"])["mi"])
    expected = float(torch.cat(values).mean())
    assert [float(text) for text in out] == pytest.approx([expected, expected], rel=1e-12)


def test_without_the_package_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "torchmetrics.py").write_text("raise ImportError('not here')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    code = "import anyfuse.metrics.torchmetrics"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1].endswith("pip install 'anyfuse[torchmetrics]'")
