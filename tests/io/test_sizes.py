"""Sizes by the header alone are those of the decoded picture, for every format that is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import CASES, Case

from anyfuse.io.read import page_sizes, read_rasters


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_sizes_by_the_header(case: Case, tmp_path: Path) -> None:
    for k, make in enumerate(case.makes):
        path = tmp_path / f"{k}{case.suffix}"
        make(path)
        (raster,) = read_rasters(path)
        (size,) = page_sizes(path)
        assert size is not None
        sides, others = {raster.pixels.shape[0], raster.pixels.shape[1]}, set(size[:2])
        assert sides == others, "an orientation may exchange them"
        decoded = raster.pixels.nbytes + (0 if raster.alpha is None else raster.alpha.nbytes)
        assert decoded <= size[0] * size[1] * size[2] <= 4 * decoded
