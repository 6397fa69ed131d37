"""Bad input gives one line that says what is wrong and what to do, or a documented NaN."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from anyfuse.errors import FusionError
from anyfuse.metrics import METRICS, PLAIN, native_score, score, score_batch, to_grey
from anyfuse.metrics.shared import TooSmallError


def noise(*size: int) -> Tensor:
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(3)).double()


def refused(match: str, *arguments: object, **options: object) -> None:
    with pytest.raises(FusionError, match=match) as caught:
        score(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_sizes_differ() -> None:
    refused("40x50.*41x50|sources differ", noise(50, 40), [noise(50, 40), noise(50, 41)])
    refused("differ in batch or size", noise(50, 41), [noise(50, 40), noise(50, 40)])
    refused("reference", noise(50, 40), [noise(50, 40)], ["cc"], reference=noise(50, 41))


def test_shapes() -> None:
    refused("grey or RGB", noise(4, 50, 40), [noise(50, 40)])
    refused("grey or RGB", noise(1, 1, 50, 40), [noise(50, 40)])
    refused("no sources", noise(50, 40), [])
    refused("empty", noise(0, 40), [noise(0, 40)])
    with pytest.raises(FusionError, match="fused"):
        METRICS["mi"].function(noise(50, 40), noise(2, 50, 40))


def test_values() -> None:
    x = noise(50, 40)
    broken = x.clone()
    broken[3, 4] = math.nan
    refused("1 NaN pixels of 2000", broken, [x, x])
    refused("source 2 has 1 NaN", x, [x, broken])
    refused("-1..", x - 1 - x.min(), [x])
    refused("510", 2 * x, [x])
    refused("multiply by 255", x / 255, [x])
    refused("16 bits", np.zeros((5, 5), np.uint16), [x])
    refused("True and False", x > 99, [x])
    refused("True and False", (x > 99).numpy(), [x])
    refused("source 1 is a list", x, [[[1.0, 2.0]]])
    refused("fused has values .*300", torch.full((50, 40), 300), [x])
    infinite = x.clone()
    infinite[0, 0] = math.inf
    refused("inf", infinite, [x])


def test_names() -> None:
    refused("unknown metric sim: did you mean ssim", noise(50, 40), [noise(50, 40)], ["sim"])
    refused("did you mean qabf", noise(50, 40), [noise(50, 40)], ["Qabf"])
    refused("no metric named", noise(50, 40), [noise(50, 40)], [])
    refused("grey rule", noise(50, 40), [noise(50, 40)], grey="luma")
    with pytest.raises(FusionError, match="channel rule"):
        native_score(noise(1, 50, 40), [noise(1, 50, 40)], "both")  # type: ignore[arg-type]
    with pytest.raises(FusionError, match="vifb has no metric qp"):
        native_score(noise(1, 50, 40), [noise(1, 50, 40)], "vifb", ["qp"])


def test_repeated_names_count_once() -> None:
    x = noise(50, 40)
    assert score(x, [x], ["mi", "en", "mi"]) == score(x, [x], ["mi", "en"])


def test_levels_of_unchecked_tensors() -> None:
    x = noise(1, 50, 40)
    with pytest.raises(FusionError, match=r"0\.\.255"):
        METRICS["mi"].function(x * 3, x[:, None])
    with pytest.raises(FusionError):
        METRICS["en"].function(x * math.nan, x[:, None])
    assert torch.isnan(METRICS["ssim"].function(x * math.nan, x[:, None])).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 3), (7, 9), (10, 300), (40, 41)])
def test_small_images(size: tuple[int, int]) -> None:
    """By name: an error with both sizes. In a call of all: NaN for what does not fit, numbers for the rest."""
    fused, sources = noise(*size), [noise(*size), noise(*size).flip(-1)]
    values = score(fused, sources)
    assert list(values) == list(PLAIN)
    assert math.isnan(values["vif"])
    refused(f"at least 41x41 pixels, got {size[1]}x{size[0]}", fused, sources, ["vif"])
    assert not math.isnan(values["en"])
    everything = score(fused, sources, "all")
    assert list(everything) == list(METRICS)
    for name in METRICS:
        try:
            score(fused, sources, [name])
        except TooSmallError as error:
            text = str(error)
        else:
            continue
        found = re.fullmatch(r".+ needs images of at least (\d+)x(\d+) pixels, got (\d+)x(\d+): leave .*", text)
        assert found, text
        width, height = int(found[1]), int(found[2])
        assert (int(found[3]), int(found[4])) == (size[1], size[0])
        assert width > size[1] or height > size[0], name
        assert math.isnan(everything[name]), name


@pytest.mark.parametrize("levels", [(0, 0, 0), (255, 255, 255), (10, 20, 15), (10, 20, 20)])
def test_constant_images(levels: tuple[int, int, int]) -> None:
    """Quotients 0 / 0 are NaN as in the references; entropies are 0; the halo of nothing is 0."""
    a, b, f = (torch.full((1, 200, 200), float(v)) for v in levels)
    values = score_batch(f, torch.stack([a, b], 1), ["all"])
    for name in ("en", "mi", "ag", "ei", "sf", "halo"):
        assert float(values[name]) == 0, name
    for name in ("nmi", "cc", "scd", "vif", "qp"):
        assert math.isnan(values[name]), name
    assert float(values["fmi_pixel"]) == 1


def test_nan_pixels_stay_nan() -> None:
    """Functions called on their own, unchecked: an error or NaN, never a number."""
    f = noise(1, 200, 200)
    sources = torch.stack([f.flip(-1), f.flip(-2)], 1)
    f[0, 60, 70] = math.nan
    for name, metric in METRICS.items():
        try:
            value = metric.function(f, sources)
        except FusionError:
            continue
        assert torch.isnan(value).all(), name


@pytest.mark.parametrize(("level", "expected"), [(100.0, 0.9753), (0.0, math.nan)])
def test_constant_images_have_an_edge_at_the_border(level: float, expected: float) -> None:
    x = torch.full((1, 50, 50), level).double()
    assert float(METRICS["qabf"].function(x, torch.stack([x, x], 1))) == pytest.approx(expected, abs=1e-4, nan_ok=True)


def test_constant_fused_image() -> None:
    sources = torch.stack([noise(200, 200), noise(200, 200).flip(-1)])[None]
    values = score_batch(torch.full((1, 200, 200), 90.0), sources, ["all"])
    assert float(values["en"]) == 0
    assert float(values["qabf"]) < 0.01
    assert float(values["vif"]) == pytest.approx(0, abs=1e-6)
    assert math.isnan(values["cc"])


def test_the_batch_goes_on_past_a_nan() -> None:
    x = noise(2, 50, 40)
    sources = torch.stack([x, x.flip(-1)], 1)
    fused = torch.stack([x[0], x[1].flip(-2)])  # the first equals a source
    scd = score_batch(fused, sources, ["scd"])["scd"]
    assert torch.isnan(scd).tolist() == [True, False]


def test_grey_input() -> None:
    with pytest.raises(FusionError, match="1 or 3 channels"):
        to_grey(noise(2, 5, 5))
