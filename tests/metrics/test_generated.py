"""Golden values of generated triples, and the slow literal definitions that they were checked against.

`python tests/metrics/test_generated.py` writes golden.json anew.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from generated import NAMES, triple
from literal import LITERAL

from anyfuse.metrics import METRICS, Shared
from anyfuse.metrics.shared import TooSmallError

GOLDEN = Path(__file__).parent / "golden.json"
# flat patches leave these to rounding; see the module docstring of weighted.py
ROUNDING = {"qc_mefb", "qc_zl", "qy_mefb", "qy_zl", "qy_liu"}


def shared(name: str) -> Shared:
    a, b, f = triple(name)
    return Shared(torch.from_numpy(f)[None], torch.from_numpy(np.stack([a, b]))[None])


def values(name: str) -> dict[str, float]:
    s, out = shared(name), {}
    for metric, entry in METRICS.items():
        if name == "flat" and metric in ROUNDING:
            continue
        try:
            out[metric] = float(entry.function(s.fused, s.sources, s))
        except TooSmallError:
            out[metric] = math.nan
    return out


@pytest.mark.parametrize("name", NAMES)
def test_golden_values(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    ours = values(name)
    assert ours.keys() == golden.keys()
    for metric, stored in golden.items():
        expected = math.nan if stored is None else stored
        loose = metric in ("niqe", "brisque", "qp", "qcv")
        assert ours[metric] == pytest.approx(expected, rel=1e-7 if loose else 1e-9, abs=1e-12, nan_ok=True), metric


@pytest.mark.parametrize("name", ["smooth", "noise", "flat"])
def test_literal_definitions(name: str) -> None:
    a, b, f = triple(name)
    s = shared(name)
    for metric, definition in LITERAL.items():
        ours = float(METRICS[metric].function(s.fused, s.sources, s))
        assert ours == pytest.approx(definition(a, b, f), rel=1e-9), metric


if __name__ == "__main__":
    torch.set_num_threads(1)
    table = {n: {m: None if math.isnan(v) else v for m, v in values(n).items()} for n in NAMES}
    GOLDEN.write_text(json.dumps(table, indent=1) + "\n")
