"""Which value is black and which is white: options, windows, measured values, counts, false colours, lost values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from anyfuse import Fuser
from anyfuse.errors import FusionError
from anyfuse.image.frame import Frame
from anyfuse.io.frames import from_arrays, read_frames
from anyfuse.io.levels import parse_levels
from anyfuse.io.palettes import palette, recognise, scalar
from anyfuse.io.read import read_image
from anyfuse.io.transfer import decode_srgb, encode_srgb


def hills(height: int = 80, width: int = 96, seed: int = 0) -> np.ndarray:
    """A smooth picture from 0 to 1."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    total = sum(np.sin(x / a + p) * np.cos(y / b + q) for a, b, p, q in rng.uniform(6, 20, (6, 4)))
    return (total - total.min()) / (total.max() - total.min())


def photo(height: int = 80, width: int = 96) -> np.ndarray:
    return np.rint(255 * np.stack([hills(height, width, k) * 0.6 + 0.2 for k in (1, 2, 3)], 2)).astype(np.uint8)


def saved(path: Path, values: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, values, metadata=None, **options)
    return path


def near(frame: Frame, values: np.ndarray, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(frame.read()[0].numpy(), values, atol=tolerance)


def complaint(action: Any, *parts: str) -> None:
    with pytest.raises(FusionError) as caught:
        action()
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


# What the user says


def test_one_value_or_one_per_image() -> None:
    assert [level.white for level in parse_levels(2, "4095,65535")] == [4095, 65535]
    assert [level.white for level in parse_levels(3, 4095)] == [4095] * 3
    assert [level.black for level in parse_levels(2, None, (None, -160))] == [None, -160]
    assert [level.white for level in parse_levels(2, ",700")] == [None, 700]
    assert parse_levels(1, None, None, "p1,p99")[0].range == (1, 99)
    assert parse_levels(1, None, None, "2%,98.5%")[0].range == (2, 98.5)
    for bad in ("4095,1,2", "x", "nan", "1e999"):
        complaint(lambda b=bad: parse_levels(2, b), "--white")
    for bad in ("p99,p1", "p1", "p1,p101", "1,2,3", "all"):
        complaint(lambda b=bad: parse_levels(1, None, None, b), "--range")
    complaint(lambda: parse_levels(1, 10, 20), "--black 20", "--white 10")
    complaint(lambda: parse_levels(1, 10, None, "p1,p99"), "exclude")


def test_a_white_for_each_file(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.tif", np.rint(hills() * 4095).astype(np.uint16))
    b = saved(tmp_path / "b.tif", np.rint(hills(seed=1) * 16383).astype(np.uint16))
    first, second = read_frames([a, b], "4095,16383")
    near(first, hills(), 2e-4)
    near(second, hills(seed=1))
    assert (first.white, second.white) == (4095, 16383)
    complaint(lambda: read_frames([b, a], "4095,16383"), "b.tif", "--white 4095")


def test_black_and_white_cut_a_window(tmp_path: Path) -> None:
    units = np.rint(hills() * 1896 - 1024).astype(np.int16)
    (frame,) = read_frames([saved(tmp_path / "ct.tif", units)], 240, -160)
    near(frame, np.clip((units + 160.0) / 400, 0, 1))
    assert frame.pixels.dtype == np.uint16
    assert frame.scaling is not None
    assert (frame.scaling.black, frame.scaling.white) == (-160, 240)
    assert "beyond" in frame.warnings[0]
    assert frame.facts["values"]["rule"] == "--black and --white"


def test_percentiles(tmp_path: Path) -> None:
    values = np.rint(hills() * 500 + 100).astype(np.uint16)
    values[0, 0] = 65535
    (frame,) = read_frames([saved(tmp_path / "a.tif", values)], range="p1,p99")
    low, high = np.percentile(values, (1, 99))
    near(frame, np.clip((values - low) / (high - low), 0, 1))


def test_8_bit_images_stay_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "v.png")
    for options in ({"white": 100}, {"black": 50, "white": 100}, {"range": "p5,p95"}):
        (frame,) = read_frames([tmp_path / "v.png"], **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(frame.pixels, photo())


# Measured values


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (np.rint(hills() * 2000 - 1024).astype(np.int16), "int16"),
        ((hills() * 40 - 12).astype(np.float32), "celsius"),
        ((hills() * 30 + 285).astype(np.float32), "kelvin"),
        (np.rint(7300 + hills() * 765).astype(np.uint16), "counts"),
    ],
)
def test_measured_values_are_scaled_and_that_is_said(tmp_path: Path, values: np.ndarray, name: str) -> None:
    (frame,) = read_frames([saved(tmp_path / f"{name}.tif", values)])
    low, high = float(values.min()), float(values.max())
    near(frame, (values - low) / (high - low), 2e-3)
    assert frame.scaling is not None
    assert (frame.scaling.black, frame.scaling.white) == pytest.approx((low, high))
    assert "--range" in frame.warnings[0]
    assert f"{low:.6g}" in frame.warnings[0]


def test_counts_are_left_alone_on_wish_and_in_arrays(tmp_path: Path) -> None:
    counts = np.rint(7300 + hills() * 765).astype(np.uint16)
    path = saved(tmp_path / "a.tif", counts)
    (frame,) = read_frames([path], range="none")
    np.testing.assert_array_equal(frame.pixels[:, :, 0], counts)
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], counts)
    np.testing.assert_array_equal(from_arrays([counts])[0].pixels[:, :, 0], counts)
    np.testing.assert_array_equal(read_frames([counts])[0].pixels[:, :, 0], counts)


@pytest.mark.parametrize(
    "values",
    [
        np.rint(hills() * 9000).astype(np.uint16),  # dark, but it begins at black
        np.rint(hills() * 20000 + 30000).astype(np.uint16),  # pale, but of a photograph's contrast
        np.full((80, 96), 9000, np.uint16),
    ],
)
def test_ordinary_16_bit_pictures_are_not_stretched(tmp_path: Path, values: np.ndarray) -> None:
    (frame,) = read_frames([saved(tmp_path / "a.tif", values)])
    np.testing.assert_array_equal(frame.pixels[:, :, 0], values)
    assert all("add --white" in note for note in frame.warnings)


def test_dead_pixels_do_not_hide_counts(tmp_path: Path) -> None:
    counts = np.rint(7300 + hills() * 765).astype(np.uint16)
    low, high = int(counts.min()), int(counts.max())
    counts[3, 4], counts[50, 60] = 0, 65535
    (frame,) = read_frames([saved(tmp_path / "a.tif", counts)])
    assert frame.scaling is not None
    assert (frame.scaling.black, frame.scaling.white) == (low, high)
    assert "dead pixels" in frame.warnings[0]


def test_images_whose_values_overlap_share_one_scale(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.tif", np.rint(7300 + hills() * 500).astype(np.uint16))
    b = saved(tmp_path / "b.tif", np.rint(7600 + hills(seed=1) * 600).astype(np.uint16))
    other = saved(tmp_path / "c.tif", np.rint(21000 + hills(seed=2) * 600).astype(np.uint16))
    scales = [f.scaling for f in read_frames([a, b, other])]
    assert [(s.black, s.white) for s in scales if s] == [(7300, 8200), (7300, 8200), (21000, 21600)]


def test_integers_without_a_scale_need_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", np.rint(hills() * 100000).astype(np.uint32))
    complaint(lambda: read_frames([path]), "a.tif", "100000", "--black")
    near(read_frames([path], 100000, 0)[0], hills(), 1e-3)
    path = saved(tmp_path / "b.tif", np.rint(hills() * 100 - 50).astype(np.int16))
    complaint(lambda: read_frames([path], range="none"), "b.tif", "-50", "--black")


def test_colour_that_leaves_0_to_1_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", (photo() / 100).astype(np.float32), photometric="rgb")
    complaint(lambda: read_frames([path]), "a.tif", "--white")


def test_few_bits_in_16_are_named(tmp_path: Path) -> None:
    twelve, full = (np.rint(hills() * top).astype(np.uint16) for top in (4000, 65535))
    for name, values in (("twelve", twelve), ("full", full)):
        tifffile.imwrite(tmp_path / f"{name}.tif", values)
    (alone,) = read_frames([tmp_path / "twelve.tif"])
    assert alone.warnings == (f"{alone.name}: its values end at 4000 of 65535; if it has 12 bits, add --white 4095",)
    assert not any(f.warnings for f in read_frames([tmp_path / "twelve.tif", tmp_path / "full.tif"]))  # a dark exposure
    assert not read_frames([tmp_path / "twelve.tif"], white=4095)[0].warnings


def test_12_bits_beside_8_fill_the_depth_of_the_result(tmp_path: Path) -> None:
    eight = np.rint(hills() * 255).astype(np.uint8)
    Image.fromarray(eight).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", np.rint(hills() * 4095).astype(np.uint16))
    result = Fuser("average").run([tmp_path / "a.png", tmp_path / "b.tif"], white=",4095")
    assert np.abs(result.pixels[..., 0] / 65535 - eight / 255).max() < 0.003
    result = Fuser("average").run([tmp_path / "b.tif", tmp_path / "a.png"], white="4095,")
    assert np.abs(result.pixels[..., 0] / 4095 - eight / 255).max() < 0.003


# Bytes in the wrong order


@pytest.mark.parametrize(("start", "span"), [(12501, 7400), (7000, 2169), (29315, 1500), (20000, 400)])
@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_swapped_bytes_are_noticed(start: int, span: int, suffix: str, tmp_path: Path) -> None:
    counts = np.rint(start + hills() * span).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":  # some cameras write the bytes as they have them; the format wants the first one first
        path.write_bytes(b"P5\n%d %d\n65535\n" % counts.shape[::-1] + counts.astype("<u2").tobytes())
    elif suffix == "tif":
        tifffile.imwrite(path, counts.byteswap(), byteorder=">")
    else:
        Image.fromarray(counts.byteswap()).save(path)
    frame = read_image(path)
    np.testing.assert_array_equal(frame.pixels[:, :, 0], counts)
    assert "swapped" in frame.warnings[0]


@pytest.mark.parametrize("kind", ["whole range", "8 bits in 16", "8 bits and a half", "12 bits", "noise"])
def test_pictures_in_order_keep_their_bytes(tmp_path: Path, kind: str) -> None:
    values = {
        "whole range": np.rint(hills() * 65535),
        "8 bits in 16": np.rint(hills() * 255) * 257,
        "8 bits and a half": np.rint(hills() * 255) * 256 + 128,
        "12 bits": np.rint(hills() * 4095),
        "noise": np.random.default_rng(0).integers(0, 65536, (80, 96)),
    }[kind].astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels[:, :, 0], values)


# No value


def test_a_margin_without_values_is_told_from_a_hole(tmp_path: Path) -> None:
    values = hills().astype(np.float32)
    values[:7], values[:, -5:] = np.nan, np.nan
    frame = read_image(saved(tmp_path / "margin.tif", values))
    assert frame.valid is not None
    np.testing.assert_array_equal(frame.valid, np.isfinite(values))
    assert np.isfinite(frame.pixels).all()
    assert "no value" in frame.warnings[0]
    values[40, 40] = np.nan
    complaint(lambda: read_image(saved(tmp_path / "hole.tif", values)), "NaN")


def test_nodata_is_kept_out_of_the_scale(tmp_path: Path) -> None:
    values = np.rint(hills() * 3000 - 100).astype(np.int16)
    values[:9] = -9999
    frame = read_image(saved(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "-9999", True)]))
    assert frame.scaling is not None
    assert frame.scaling.black >= -100
    assert frame.valid is not None
    assert not frame.valid[:9].any()
    assert frame.valid[9:].all()


# Linear light and false colours


def test_srgb_curve_and_back() -> None:
    x = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(decode_srgb(encode_srgb(x)), x, atol=1e-12)
    assert encode_srgb(np.array(0.5)) == pytest.approx(0.7353569830524495)


@pytest.mark.parametrize("name", ["ironbow", "inferno", "jet", "rainbow", "hot", "plasma", "turbo", "magma"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_false_colours_become_values(tmp_path: Path, name: str, suffix: str) -> None:
    places = np.rint(hills(160, 192) * 255).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.rint(palette(name)[places]).astype(np.uint8)).save(path, quality=90)
    (frame,) = read_frames([path])
    assert frame.is_grey
    assert name in frame.warnings[0]
    assert np.abs(frame.pixels[:, :, 0].astype(int) - places).mean() < (1 if suffix == "png" else 4)
    (kept,) = read_frames([path], range="none")
    assert kept.channels == 3
    assert read_image(path).channels == 3


def test_photographs_are_no_false_colours(tmp_path: Path) -> None:
    assert recognise(photo(200, 200)) is None
    Image.fromarray(photo(200, 200)).save(tmp_path / "v.png")
    assert read_frames([tmp_path / "v.png"])[0].warnings == ()
    assert scalar(np.rint(palette("hot"))[None].astype(np.uint8), "hot").tolist() == [list(range(256))]


def test_an_unknown_palette_is_named(tmp_path: Path) -> None:
    ramp = np.stack([np.linspace(255, 0, 64), np.linspace(0, 90, 64), np.linspace(80, 255, 64)], 1).astype(np.uint8)
    Image.fromarray(ramp[np.rint(hills(160, 192) * 63).astype(int)]).save(tmp_path / "a.png")
    (frame,) = read_frames([tmp_path / "a.png"])
    assert frame.channels == 3
    assert "unknown palette" in frame.warnings[0]
