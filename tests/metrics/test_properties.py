"""What must hold for every metric: batches, order of sources, precision, derivatives, copies and averages."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from generated import texture, triple

from anyfuse.metrics import METRICS, PLAIN, Shared, psnr_truth, score, score_batch, ssim_truth, to_grey
from anyfuse.metrics.shared import correlate, separable

SMALL = [name for name in METRICS if name not in ("niqe", "ms_ssim")]  # fit into 56x64
# depend on the order of the sources, as their originals do
ORDERED = {"nabf_tang", "fmi_pixel_tang", "fmi_gradient_tang", "qc_mefb", "qc_zl", "viff"}
# infrared first: the order tells which source is which; other numbers of sources, and images without targets, give NaN
ROLES = {"target_contrast", "target_level", "lit_level"}
# also NaN for one source, and where no place is dark in one source and well exposed in another
SOMETIMES = {*ROLES, "dark_noise"}
DIFFERENTIABLE = [
    "ag",
    "ag_liu",
    "ei",
    "sd",
    "sd_liu",
    "sf",
    "sf_vifb",
    "qsf",
    "qabf",
    "qabf_liu",
    "qg",
    "qm",
    "nabf",
    "labf",
    "mse",
    "mse_tang",
    "rmse",
    "rmse_vifb",
    "psnr",
    "psnr_tang",
    "psnr_vifb",
    "psnr_cdd",
    "cc",
    "scd",
    "ssim",
    "ssim_sum",
    "ssim_cdd",
    "qs",
    "qw",
    "qw_mefb",
    "qe",
    "vif",
    "viff",
    "mef_ssim",
    "halo",
    "gradient_kept",
]


def tensors(name: str) -> tuple[Tensor, Tensor]:
    a, b, f = triple(name)
    return torch.from_numpy(f)[None], torch.from_numpy(np.stack([a, b]))[None]


def call(name: str, fused: Tensor, sources: Tensor) -> Tensor:
    return METRICS[name].function(fused, sources)


def test_table_is_complete() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.function.__name__ == name
        assert metric.function.__doc__, name
        assert metric.better in ("higher", "lower", "none")
        assert metric.range[0] < metric.range[1]
        assert metric.variant_of is None or METRICS[metric.variant_of].variant_of is None
    assert 40 <= len(PLAIN) < len(METRICS)


@pytest.mark.parametrize("name", SMALL)
def test_batch_equals_loop(name: str) -> None:
    f1, s1 = tensors("smooth")
    f2, s2 = s1[:, 0], torch.cat([f1[:, None], s1[:, 1:]], 1)
    both = call(name, torch.cat([f1, f2]), torch.cat([s1, s2]))
    assert both.shape == (2,)
    alone = torch.cat([call(name, f1, s1), call(name, f2, s2)])
    torch.testing.assert_close(both, alone, rtol=1e-11, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", SMALL)
def test_shared_equals_alone(name: str) -> None:
    fused, sources = tensors("smooth")
    s = Shared(fused, sources)
    for other in ("ssim", "qabf", "mi", "qe", "vif", "mef_ssim", "qcv"):
        METRICS[other].function(fused, sources, s)
    alone = call(name, fused, sources)
    torch.testing.assert_close(METRICS[name].function(fused, sources, s), alone, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", [n for n in SMALL if n not in ORDERED | ROLES])
def test_order_of_sources_does_not_matter(name: str) -> None:
    fused, sources = tensors("smooth")
    torch.testing.assert_close(
        call(name, fused, sources), call(name, fused, sources.flip(1)), rtol=1e-9, atol=1e-12, equal_nan=True
    )


@pytest.mark.parametrize("name", [n for n in SMALL if n not in ORDERED])
def test_three_sources(name: str) -> None:
    fused, sources = tensors("smooth")
    third = torch.from_numpy(texture(9, 56, 64, 2))[None, None]
    three = torch.cat([sources, third], 1)
    value = call(name, fused, three)
    assert value.shape == (1,)
    assert torch.isfinite(value).all() or name in SOMETIMES
    torch.testing.assert_close(value, call(name, fused, three[:, [2, 0, 1]]), rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", SMALL)
def test_one_source(name: str) -> None:
    if name == "nabf_tang":
        pytest.skip("the first source plays the fused image: two are needed")
    fused, sources = tensors("smooth")
    value = call(name, fused, sources[:, :1])
    assert value.shape == (1,)
    assert torch.isfinite(value).all() or name in ("scd", "scd_liu", *SOMETIMES)


@pytest.mark.parametrize("name", SMALL)
def test_float32_is_close_to_float64(name: str) -> None:
    """Within 1e-3 relative (halo 2e-4 absolute); exact where the metric counts levels or computes in float64 anyway."""
    fused, sources = tensors("smooth")
    double, single = call(name, fused, sources), call(name, fused.float(), sources.float())
    expected = pytest.approx(float(double), rel=1e-3, abs=2e-4 if name.startswith("halo") else 1e-5, nan_ok=True)
    assert float(single) == expected


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivative(name: str) -> None:
    """The derivative along a direction against central differences, at a point without ties."""
    a, b, f = triple("smooth")
    generator = torch.Generator().manual_seed(1)
    sources = torch.from_numpy(np.stack([a, b]))[None]
    sources = sources * 0.8 + 20 + torch.rand(sources.shape, generator=generator, dtype=torch.float64)
    fused = torch.from_numpy(f)[None] * 0.8 + 20 + torch.rand(1, 56, 64, generator=generator, dtype=torch.float64)
    direction = torch.randn(fused.shape, generator=generator, dtype=torch.float64)
    fused.requires_grad_(True)
    (gradient,) = torch.autograd.grad(call(name, fused, sources).sum(), fused)
    assert torch.isfinite(gradient).all()
    step = 1e-5
    with torch.no_grad():
        difference = call(name, fused + step * direction, sources) - call(name, fused - step * direction, sources)
    assert float((gradient * direction).sum()) == pytest.approx(float(difference) / (2 * step), rel=2e-3, abs=1e-9)


@pytest.mark.parametrize("name", ["ag", "sf", "sd", "qabf", "ssim_cdd", "cc", "mse", "qm"])
def test_gradcheck(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    fused = (torch.rand(1, 9, 8, generator=generator, dtype=torch.float64) * 200 + 20).requires_grad_(True)
    sources = torch.rand(1, 2, 9, 8, generator=generator, dtype=torch.float64) * 200 + 20
    assert torch.autograd.gradcheck(lambda f: call(name, f, sources), (fused,), eps=1e-4, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivative_is_finite_on_flat_images(name: str) -> None:
    """8-bit images have flat patches and pixels equal to a source; only whole-image quotients may be undefined."""
    fused, sources = tensors("flat")
    fused.requires_grad_(True)
    (gradient,) = torch.autograd.grad(call(name, fused, sources).sum(), fused)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["qp", "qcb", "qcb_vifb", "qcv"])
def test_no_gradient_where_there_is_none(name: str) -> None:
    """Stretched and rounded images: the value stands, and nothing pretends to have the derivative 0."""
    fused, sources = tensors("smooth")
    value = call(name, fused.clone().requires_grad_(True), sources)
    assert not value.requires_grad
    assert float(value) == float(call(name, fused, sources))


@given(share=st.floats(0, 1), seed=st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_copies_and_averages_have_no_halo(share: float, seed: int) -> None:
    sources = torch.from_numpy(np.stack([texture(seed, 40, 33, 1), texture(seed + 100, 40, 33, 2)]))[None]
    average = share * sources[:, 0] + (1 - share) * sources[:, 1]
    for name in ("halo", "halo_4", "halo_8", "halo_16", "blotch"):
        assert float(call(name, average, sources)) == 0
        assert float(call(name, sources[:, 0], sources)) == 0


def test_halo_sees_a_cloud() -> None:
    fused, sources = tensors("large")
    y, x = torch.meshgrid(torch.arange(194.0), torch.arange(203.0), indexing="ij")
    cloud = 60 * torch.exp(-((y - 90) ** 2 + (x - 110) ** 2) / (2 * 15**2))
    assert float(call("halo", fused + cloud, sources)) > 10 * float(call("halo", fused, sources)) + 0.1


def test_a_copy_of_equal_sources_is_perfect() -> None:
    fused, _ = tensors("smooth")
    values = score_batch(fused, torch.stack([fused, fused], 1))
    ones = [
        "ssim",
        "mef_ssim",
        "qs",
        "qw",
        "qe",
        "qc",
        "qy",
        "qcb",
        "viff",
        "cc",
        "nmi",
        "fmi_pixel",
        "fmi_gradient",
        "fmi_edge",
        "fmi_dct",
        "fmi_wavelet",
    ]
    for name in ones:
        expected = 2 if name == "nmi" else 1
        assert float(values[name]) == pytest.approx(expected, abs=1e-3), name
    assert float(values["vif"]) == pytest.approx(2)
    assert float(values["mse"]) == 0
    assert math.isinf(values["psnr"])
    assert math.isnan(values["scd"])
    assert float(values["ce"]) == 0
    assert float(values["mi"]) == pytest.approx(2 * float(values["en"]))
    assert float(values["qcv"]) == pytest.approx(0, abs=1e-12)


def test_ranges() -> None:
    for name in ("smooth", "noise", "flat", "large"):
        fused, sources = tensors(name)
        for metric, value in score_batch(fused, sources).items():
            low, high = METRICS[metric].range
            assert math.isnan(value) or low - 1e-9 <= float(value) <= high + 1e-9, (name, metric)


def test_truth() -> None:
    fused, sources = tensors("smooth")
    truth = sources[:, 0]
    assert float(psnr_truth(fused, truth)) == pytest.approx(
        10 * math.log10(65025 / float(((fused - truth) ** 2).mean()))
    )
    assert float(ssim_truth(truth, truth)) == pytest.approx(1)
    values = score(fused[0], [sources[0, 0], sources[0, 1]], ["cc"], reference=truth[0])
    assert list(values) == ["cc", "psnr_truth", "ssim_truth"]


def test_grey_rules() -> None:
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (3, 60, 70), dtype=np.uint8)
    image = torch.from_numpy(rgb)
    pil = pytest.importorskip("PIL.Image").fromarray(rgb.transpose(1, 2, 0)).convert("L")
    assert (to_grey(image, "pil").numpy() == np.array(pil)).all()
    for rule in ("matlab", "opencv"):
        assert float((to_grey(image, rule) - to_grey(image, "pil")).abs().max()) <= 1
    grey = torch.full((3, 2, 2), 77, dtype=torch.uint8)
    for rule in ("matlab", "opencv", "pil"):
        assert (to_grey(grey, rule) == 77).all()


def test_opencv_rule_is_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    rgb = np.random.default_rng(1).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., 0]
    assert (to_grey(torch.from_numpy(rgb).permute(2, 0, 1), "opencv").numpy() == expected).all()


def test_arrays_and_tensors_score_alike() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (3, 48, 50), dtype=np.uint8)
    tensors_ = [torch.from_numpy(rgb).roll(k, -1) for k in range(3)]
    arrays = [t.permute(1, 2, 0).numpy() for t in tensors_]
    names = ["mi", "qabf", "vif"]
    assert score(tensors_[0], tensors_[1:], names) == score(arrays[0], arrays[1:], names)


def test_ssim_matches_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b, f = triple("noise")
    fused, sources = tensors("noise")
    expected = sum(metrics.structural_similarity(f, s, data_range=255) for s in (a, b))
    assert float(call("ssim_cdd", fused, sources)) == pytest.approx(expected, rel=1e-9)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 40),
    size=st.integers(1, 40),
    step=st.integers(1, 2),
    seed=st.integers(0, 9),
)
@settings(max_examples=30, deadline=None)
def test_long_and_short_filters_agree(height: int, width: int, size: int, step: int, seed: int) -> None:
    if size > height:
        return
    generator = np.random.default_rng(seed)
    x, taps = generator.normal(size=(height, width)), generator.normal(size=size)
    expected = np.array([np.correlate(column, taps, "valid") for column in x.T]).T[::step]
    out = correlate(torch.from_numpy(x), taps.tolist(), -2, step).numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)
    turned = correlate(torch.from_numpy(x.T.copy()), taps.tolist(), -1, step).numpy()
    np.testing.assert_allclose(turned.T, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("border", ["zeros", "replicate", "symmetric", "reflect"])
def test_borders_match_numpy(border: str) -> None:
    x = np.arange(15.0).reshape(3, 5) ** 2
    mode = {"zeros": "constant", "replicate": "edge", "symmetric": "symmetric", "reflect": "reflect"}[border]
    wide = np.pad(x, ((4, 4), (4, 4)), mode=mode)  # type: ignore[call-overload]
    taps = [1.0, 2.0, 0.5, 0.0, 1.0, -1.0, 3.0, 0.25, 1.5]
    expected = separable(torch.from_numpy(wide), taps, taps).numpy()
    np.testing.assert_allclose(separable(torch.from_numpy(x), taps, taps, border).numpy(), expected)
