"""Compiled kernels against torch: each one, and whole results, which may differ by one level."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene, to8, to16

from anyfuse import Fuser, native
from anyfuse.doctor import as_text, examine
from anyfuse.image import colour, filters, pyramid
from anyfuse.image.frame import make_frame
from anyfuse.image.stack import Stack
from anyfuse.io import encode
from anyfuse.models.anyfuse import REGIONS, Anyfuse, AnyfuseConfig
from anyfuse.models.set_layers import DETAIL, FoldedStem
from anyfuse.native import build


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "kernels", lambda: None)


def images(n: int, height: int, width: int, channels: int = 3) -> list[np.ndarray]:
    made = scene(height, width, 3, channels)
    return [made ** (0.5 + 0.7 * k) for k in range(n)]


def planes(n: int, height: int, width: int) -> torch.Tensor:
    stacked = np.stack([np.moveaxis(i, 2, 0) for i in images(n, height, width)])
    return colour.to_luma_chroma(torch.from_numpy(stacked).float().contiguous())


@pytest.mark.parametrize("size", [(64, 96), (2, 2), (2, 1090), (34, 6)])
def test_pyramids(found: native.Kernels, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(2, 3, *size)
    down, up = pyramid.reduce(x), pyramid.expand(x)
    without(monkeypatch)
    torch.testing.assert_close(down, pyramid.reduce(x), atol=2e-6, rtol=0)
    torch.testing.assert_close(up, pyramid.expand(x), atol=1e-6, rtol=0)


def test_nothing_with_gradients_or_of_other_kinds(found: native.Kernels) -> None:
    x = torch.rand(1, 1, 4, 4)
    assert native.takes(x) is found
    assert native.takes(x.double()) is None
    assert native.takes(x[..., ::2]) is None
    with torch.enable_grad():
        assert native.takes(x) is None


@pytest.mark.parametrize("kind", [to8, to16, np.float32])
@pytest.mark.parametrize("window", [(slice(0, 40), slice(0, 50)), (slice(3, 11), slice(5, 29))])
def test_reading(found: native.Kernels, kind: object, window: tuple[slice, slice], monkeypatch: object) -> None:
    stack = Stack(tuple(make_frame(kind(i), name="a") for i in images(2, 40, 50)))  # type: ignore[operator]
    read = stack.read_split(window)
    assert read is not None
    torch.testing.assert_close(read, colour.to_luma_chroma(stack.read(window)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [to8, to16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_joining(found: native.Kernels, kind: object, channels: int) -> None:
    stack = Stack(tuple(make_frame(kind(i), name="a") for i in images(2, 40, 56, channels)))  # type: ignore[operator]
    fused = torch.rand(3, 40, 64)[:channels, :, 4:60] * 1.1 - 0.05
    fused[1:] -= 0.5
    pixels = np.zeros((40, 70, channels), stack.depth)
    assert stack.round_joined(fused, pixels[:, 7:63])
    image = fused if channels == 1 else colour.join(fused[:1], fused[1:])
    gap = np.abs(pixels[:, 7:63].astype(float) - stack.quantise(image))
    assert gap.max() <= (1e-6 if stack.depth.kind == "f" else 1)
    assert not pixels[:, :7].any()
    assert not pixels[:, 63:].any()
    assert not stack.round_joined(torch.full((channels, 2, 2), float("nan")), pixels[:2, :2])


def test_specks(found: native.Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = torch.rand(1, 2, 3, 30, 41) * 0.1
    assert filters.without_specks(clean) is clean
    for plane in range(3):
        x = clean.clone()
        x[0, 1, plane, 28, 39] = 0.9
        got = filters.without_specks(x)
        with monkeypatch.context() as patch:
            without(patch)
            assert torch.equal(got, filters.without_specks(x))
        assert not torch.equal(got, x)


def test_what_the_stem_sees(found: native.Kernels) -> None:
    gauss = pyramid.gaussian_pyramid(planes(2, 32, 48), 1)
    stem = FoldedStem(16)
    seen = stem.see(native.stem_input(found, gauss[0], gauss[1], DETAIL))
    luma = gauss[0][:, :1]
    torch.testing.assert_close(seen, stem(luma, luma - pyramid.expand(gauss[1][:, :1])), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [2, 5])
def test_fused_bands(found: native.Kernels, n: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Anyfuse(REGIONS).eval()
    gauss = pyramid.gaussian_pyramid(planes(n, 64, 96)[:, :channels].contiguous(), 3)
    weights = [torch.randn(1, n, 1, *s).softmax(1) for s in ((32, 48), (32, 48), (16, 24))]
    coarse = torch.rand(1, channels, 8, 12)
    got = model._fuse_fine(gauss, weights, coarse)
    without(monkeypatch)
    torch.testing.assert_close(got, model._fuse_fine(gauss, weights, coarse), atol=2e-6, rtol=0)


@pytest.mark.parametrize("settings", [{}, {"near": True}, {"near": True, "strict": True}])
@pytest.mark.parametrize("size", [(40, 64), (8, 8)])
def test_bound(found: native.Kernels, size: tuple[int, int], settings: dict[str, bool]) -> None:
    model, sources = Anyfuse(AnyfuseConfig(**settings)), planes(3, *size)
    smooth = pyramid.gaussian_pyramid(sources[:, :1].contiguous(), 3)[-1][None]
    fused = torch.rand(1, 1, *size)
    bounded, share = fused[0, 0].clone(), model._far(smooth)
    native.bound(found, bounded, sources, model.config.near, None if share is None else share[0, 0])
    wanted = model._bound(fused, sources[None, :, :1], smooth)[0, 0]
    torch.testing.assert_close(bounded, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", [AnyfuseConfig(), REGIONS], ids=["first", "regions"])
@pytest.mark.parametrize("n", [2, 3])
def test_network(found: native.Kernels, n: int, config: AnyfuseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights that no training made, so that every part has a say."""
    torch.manual_seed(0)
    model = Anyfuse(config).eval().to(memory_format=torch.channels_last)
    for head in (model.head4, model.head8, model.head16, model.head32):
        torch.nn.init.normal_(head.out.weight, std=0.5)
    x = planes(n, 64, 96)[None]
    fused, weights = model(x), model.weights(x)
    reduced = model.with_statistics(model.global_features(x))
    again = model(x, context=model.context(reduced))
    without(monkeypatch)
    torch.testing.assert_close(fused, model(x), atol=2e-4, rtol=0)
    torch.testing.assert_close(again, fused, atol=2e-4, rtol=0)
    torch.testing.assert_close(weights, model.weights(x), atol=2e-4, rtol=0)


def test_equal_inputs_come_back(found: native.Kernels) -> None:
    same = to8(scene(50, 70, 1, 3))
    assert np.array_equal(Fuser("anyfuse", device="cpu")([same, same, same]), same)


@pytest.mark.parametrize("kind", [to8, to16, np.float32])
@pytest.mark.parametrize("case", ["grey", "colour", "both", "transparent"])
def test_results(found: native.Kernels, case: str, kind: object, monkeypatch: pytest.MonkeyPatch) -> None:
    colours, fuser = images(2, 75, 101), Fuser("anyfuse", device="cpu")
    given = [i[:, :, 0] for i in colours] if case == "grey" else colours
    given = [colours[0][:, :, 0], colours[1]] if case == "both" else given
    if case == "transparent":
        given = [np.dstack([i, np.full((75, 101), 1.0)]) for i in colours]
        given[1][20:40, 30:50, 3] = 0
    given = [kind(i) for i in given]  # type: ignore[operator]
    got = fuser.run(given, with_weights=True)
    without(monkeypatch)
    wanted = fuser.run(given, with_weights=True)
    gap = np.abs(got.pixels.astype(float) - wanted.pixels)
    assert gap.max() <= {"uint8": 1, "uint16": 2, "float32": 3e-5}[got.pixels.dtype.name]
    assert got.weights is not None
    assert np.abs(got.weights.astype(int) - wanted.weights).max() <= 1


def test_threads_change_nothing(found: native.Kernels) -> None:
    given, fuser = [to8(i) for i in images(3, 130, 170)], Fuser("anyfuse", device="cpu")
    before, results = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(fuser(given).astype(int))
    torch.set_num_threads(before)
    assert np.abs(results[0] - results[1]).max() <= 1


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYFUSE_NATIVE", "0")
    assert native.kernels() is None
    assert "ANYFUSE_NATIVE=0" in examine()["kernels"]
    assert "not used: turned off" in as_text(examine())


def test_why_not(tmp_path: Path, library: native.Kernels) -> None:
    assert "not built" in native.load(tmp_path / "kernels.so")[1]
    (tmp_path / "broken.so").write_bytes(b"no library")
    assert "cannot be loaded" in native.load(tmp_path / "broken.so")[1]


def test_a_library_of_other_sources_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "sources_hash", lambda: "0" * 64)
    path, how = build.build(tmp_path)
    if path is None:
        pytest.skip(how)
    assert "built from other sources" in native.load(path)[1]


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "there-is-no-such-compiler")
    assert build.build(tmp_path) == (None, "no C compiler was found")
    monkeypatch.setenv("CC", "false")
    assert build.build(tmp_path)[0] is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [1, 3, 4, 6, 8])
def test_png_filter(found: native.Kernels, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = np.cumsum(np.random.default_rng(0).integers(-3, 4, (21, 9000 * step)), 1)
    rows = smooth.astype(np.uint8)
    rows[5:9] = rows[4]
    got = encode._png_filter(rows[1:], rows[:1], step)
    without(monkeypatch)
    assert np.array_equal(got, encode._png_filter(rows[1:], rows[:1], step))


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 64), (2, 2), (1, 9)])
def test_places(found: native.Kernels, size: tuple[int, int], mode: str, padding: str) -> None:
    x, points = torch.rand(2, 3, *size), torch.rand(2, 21, 34, 2) * 3 - 1.5
    points[0, 0, :2] = torch.tensor([[1e9, -1e9], [-1.0, 1.0]])
    done = native.grid_sample(found, x, points, mode, padding == "border")
    true = torch.nn.functional.grid_sample(x, points, mode=mode, padding_mode=padding, align_corners=False)
    torch.testing.assert_close(done, true, atol=2e-5, rtol=0)
    one = x[:1].expand(2, -1, -1, -1)  # the same planes for all places
    torch.testing.assert_close(
        native.grid_sample(found, one, points, mode, False)[0], native.grid_sample(found, x, points, mode, False)[0]
    )


@pytest.mark.parametrize("size", [(176, 176), (48, 64), (20, 32), (33, 32)])
def test_sides_that_do_not_fit_are_refused_and_read_no_foreign_memory(
    found: native.Kernels, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sources = Anyfuse(REGIONS).eval(), torch.rand(1, 2, 1, *size)
    with pytest.raises((ValueError, RuntimeError)):
        model(sources)
    without(monkeypatch)
    with pytest.raises((ValueError, RuntimeError)):
        model(sources)


def test_a_processor_is_asked_for_every_kind_of_instruction_that_is_used() -> None:
    """A kernel with an instruction that was not asked for would end the process on a processor without it."""
    asked = set(re.findall(r'__builtin_cpu_supports\("(\w+)"\)', build.SOURCES[0].read_text()))
    for _, flags in build.LEVELS:
        used = {flag.removeprefix("-m") for flag in flags if "=" not in flag}
        assert used <= asked
        assert not any(flag.startswith("-march") for flag in flags)
