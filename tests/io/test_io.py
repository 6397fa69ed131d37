"""Files in and out: every format, depth and channel count; metadata; and every way a file can be bad."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ExifTags, Image, ImageCms, ImageOps

from anyfuse.errors import FusionError
from anyfuse.image.frame import FULL, convert_depth
from anyfuse.io.atomic import write_whole
from anyfuse.io.encode import encode
from anyfuse.io.exif import exif_orientation, upright_exif
from anyfuse.io.read import read_image
from anyfuse.io.write import WRITES, writable, write_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_ICC = SRGB[:16] + b"GRAY" + SRGB[20:]  # not a usable profile, but its header says grey
LOSSLESS = [("png", "uint8"), ("png", "uint16"), ("tif", "uint8"), ("tif", "uint16"), ("tif", "float32")]


def picture(height: int, width: int, channels: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Noise that uses the whole range of the dtype, corners included."""
    values = np.random.default_rng(seed).random((height, width, channels))
    values.flat[0], values.flat[-1] = 0.0, 1.0
    return convert_depth(values.astype(np.float32), dtype)


def smooth(height: int, width: int) -> np.ndarray:
    """A smooth colour picture, which JPEG keeps almost exactly; no two of its corners look alike."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return np.rint(255 * np.stack([x, y, (x + 2 * y) / 4 + 0.2], axis=2).clip(0, 1)).astype(np.uint8)


def exif_block(order: str = "<", orientation: int = 6, thumbnail: bool = False) -> bytes:
    """EXIF with a maker note, GPS and, if asked, a thumbnail."""
    note = b"MAKER\0" + bytes(range(60))
    exif = Image.Exif()
    exif.endian = order
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera & Sons"
    exif[ExifTags.Base.Software] = "darkroom 1.0"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.ExposureTime] = 0.125
    inner[ExifTags.Base.ExifImageWidth] = 50
    inner[ExifTags.Base.ExifImageHeight] = 40
    inner[ExifTags.Base.MakerNote] = note
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    block = bytearray(exif.tobytes()[6:])
    if thumbnail:
        (first,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, first)
        struct.pack_into(order + "I", block, first + 2 + 12 * count, len(block))
        block += struct.pack(order + "HHHIIHHIII", 2, 513, 4, 1, len(block) + 30, 514, 4, 1, 4, 0) + b"\xff\xd8\xff\xd9"
    return bytes(block)


def tags(block: bytes) -> dict[str, Any]:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    flat: dict[str, Any] = {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in exif.items()}
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        flat |= {f"{ifd.name}.{tag}": value for tag, value in exif.get_ifd(ifd).items()}
    return {key: value for key, value in flat.items() if key not in ("ExifOffset", "GPSInfo")}


def complaint(action: Any, *parts: str) -> str:
    """The one line of the FusionError that `action` must raise, with all parts in it."""
    with pytest.raises(FusionError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
    return text


# Round trips


@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("suffix", "dtype"), LOSSLESS)
def test_round_trip_is_exact(tmp_path: Path, suffix: str, dtype: str, channels: int, has_alpha: bool) -> None:
    pixels = picture(37, 23, channels, dtype)
    alpha = picture(37, 23, 1, dtype, seed=1)[:, :, 0] if has_alpha else None
    assert write_image(tmp_path / f"a.{suffix}", pixels, alpha=alpha) == []
    frame = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.pixels.dtype == dtype
    assert frame.white == FULL[dtype]
    if alpha is None:
        assert frame.alpha is None
    else:
        np.testing.assert_array_equal(frame.alpha, alpha)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    kind=st.sampled_from(LOSSLESS),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])),
)
def test_round_trip_of_any_shape_and_content(
    tmp_path: Path, data: st.DataObject, kind: tuple[str, str], shape: tuple[int, int, int]
) -> None:
    suffix, dtype = kind
    elements = st.floats(0, 1, width=32) if dtype == "float32" else None
    pixels = data.draw(hnp.arrays(dtype, shape, elements=elements))
    write_image(tmp_path / f"a.{suffix}", pixels, overwrite=True)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}").pixels, pixels)


@pytest.mark.parametrize(("suffix", "dtype"), LOSSLESS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_other_programs_read_what_is_written(tmp_path: Path, suffix: str, dtype: str, order: str) -> None:
    """The encoders are our own, so two foreign decoders judge them; several strips and blocks."""
    pixels = picture(700, 901, 3, dtype)
    path = tmp_path / f"a.{suffix}"
    write_image(path, pixels, exif=exif_block(order), icc=SRGB, dpi=(300, 150))
    image = oiio.ImageBuf(str(path))
    assert not image.has_error
    np.testing.assert_array_equal(image.get_pixels(image.spec().format), pixels)
    assert image.spec().get_float_attribute("XResolution") == pytest.approx(300, abs=0.02)
    if dtype == "uint8":
        with Image.open(path) as other:
            other.load()
            np.testing.assert_array_equal(np.asarray(other), pixels)
            assert other.info["icc_profile"] == SRGB
            assert other.getexif()[ExifTags.Base.Software] == "darkroom 1.0"


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_stay_near(tmp_path: Path, suffix: str, channels: int) -> None:
    pixels = smooth(61, 47)[:, :, :channels]
    assert write_image(tmp_path / f"a.{suffix}", pixels) == []
    frame = read_image(tmp_path / f"a.{suffix}")
    assert np.abs(frame.pixels.astype(int) - pixels).max() <= (0 if suffix == "bmp" else 6)
    assert frame.is_grey == (channels == 1)


def test_jpeg_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", smooth(32, 32))
    sampling = Image.open(tmp_path / "a.jpg").layer  # type: ignore[attr-defined]
    assert [part[1:3] for part in sampling] == [(1, 1)] * 3


def test_quality_changes_the_size(tmp_path: Path) -> None:
    pixels = picture(64, 64, 3)
    write_image(tmp_path / "a.jpg", pixels, quality=60)
    write_image(tmp_path / "b.jpg", pixels)
    assert (tmp_path / "a.jpg").stat().st_size < 0.7 * (tmp_path / "b.jpg").stat().st_size


def test_webp_keeps_alpha_and_the_colour_under_it(tmp_path: Path) -> None:
    pixels, alpha = smooth(40, 40), np.zeros((40, 40), np.uint8)
    write_image(tmp_path / "a.webp", pixels, alpha=alpha)
    frame = read_image(tmp_path / "a.webp")
    np.testing.assert_array_equal(frame.alpha, alpha)
    assert np.abs(frame.pixels.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp"])
def test_16_bit_into_an_8_bit_format_is_rounded_and_said(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((16, 16, 1), 10 * 257 + 129, np.uint16)  # 10.502 of 255: truncation would give 10
    (note,) = write_image(tmp_path / f"a.{suffix}", pixels)
    assert "uint16 rounded to uint8" in note
    assert abs(int(read_image(tmp_path / f"a.{suffix}").pixels[3, 3, 0]) - 11) <= (suffix == "webp")


def test_float_into_png_is_16_bit_and_white_counts(tmp_path: Path) -> None:
    (note,) = write_image(tmp_path / "a.png", np.full((4, 4), 0.5, np.float32))
    assert "float32 rounded to uint16" in note
    assert read_image(tmp_path / "a.png").pixels[0, 0, 0] == 32768
    write_image(tmp_path / "b.jpg", np.full((4, 4), 4095, np.uint16), white=4095)
    assert read_image(tmp_path / "b.jpg").pixels[0, 0, 0] == 255


@pytest.mark.parametrize("suffix", list(WRITES))
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 300), (300, 1)])
def test_tiny_images(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 77, np.uint8)
    write_image(tmp_path / f"a{suffix}", pixels)
    frame = read_image(tmp_path / f"a{suffix}")
    assert (frame.height, frame.width) == size
    assert np.abs(frame.pixels.astype(int) - 77).max() <= 2


def test_suffix_case_is_ignored_and_content_beats_suffix(tmp_path: Path) -> None:
    write_image(tmp_path / "A.PNG", picture(5, 6, 3, "uint16"))
    (tmp_path / "really_png.jpg").write_bytes((tmp_path / "A.PNG").read_bytes())
    assert read_image(tmp_path / "really_png.jpg").pixels.dtype == np.uint16


@pytest.mark.parametrize("name", ["a b.png", "größe.tif", "what?x=1.tif", "frame.%04d.png", "a#1.tif", "@.png"])
def test_odd_file_names(tmp_path: Path, name: str) -> None:
    pixels = picture(4, 4, 3, "uint16")
    write_image(tmp_path / name, pixels)
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels, pixels)


# What other programs write


def test_alpha_of_other_programs_stays_unassociated(tmp_path: Path) -> None:
    rgba = picture(20, 30, 4)
    rgba[:5, :, 3] = 0
    for suffix in ("png", "tif"):
        Image.fromarray(rgba).save(tmp_path / f"a.{suffix}")
        frame = read_image(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(frame.pixels, rgba[:, :, :3])
        np.testing.assert_array_equal(frame.alpha, rgba[:, :, 3])


def test_associated_alpha_is_divided_out(tmp_path: Path) -> None:
    spec = oiio.ImageSpec(8, 8, 4, "uint16")
    out = oiio.ImageOutput.create("a.tif")
    out.open(str(tmp_path / "a.tif"), spec)  # OpenImageIO writes alpha as associated unless told otherwise
    out.write_image(np.broadcast_to(np.array([10000, 20000, 0, 32768], np.uint16), (8, 8, 4)).copy())
    out.close()
    frame = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(frame.pixels[4, 4], [20000, 40000, 0], atol=1)
    assert frame.alpha is not None
    assert frame.alpha[4, 4] == 32768


def test_palette_one_bit_and_grey_alpha(tmp_path: Path) -> None:
    blocks = np.kron([[0, 1], [2, 3]], np.ones((8, 8))).astype(np.uint8)
    palette = Image.fromarray(blocks, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)[blocks]
    palette.save(tmp_path / "p.png")
    frame = read_image(tmp_path / "p.png")
    np.testing.assert_array_equal(frame.pixels, colours)
    palette.save(tmp_path / "t.png", transparency=2)
    frame = read_image(tmp_path / "t.png")
    np.testing.assert_array_equal(frame.pixels, colours)
    assert frame.alpha is not None
    np.testing.assert_array_equal(frame.alpha, np.where(blocks == 2, 0, 255))
    bits = Image.fromarray((blocks > 1).astype(np.uint8) * 255).convert("1")
    for name in ("b.png", "b.tif", "b.bmp"):
        bits.save(tmp_path / name)
        frame = read_image(tmp_path / name)
        assert frame.is_grey
        np.testing.assert_array_equal(frame.pixels[:, :, 0], (blocks > 1) * 255)
    pair = picture(8, 8, 2)
    Image.fromarray(pair, "LA").save(tmp_path / "la.png")
    frame = read_image(tmp_path / "la.png")
    np.testing.assert_array_equal(frame.pixels[:, :, 0], pair[:, :, 0])
    np.testing.assert_array_equal(frame.alpha, pair[:, :, 1])


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_is_not_inverted(tmp_path: Path, name: str) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)  # white paper
    inks[8:, :, 0] = 255  # cyan below
    Image.fromarray(inks, "CMYK").save(tmp_path / name, quality=100)
    frame = read_image(tmp_path / name)
    assert frame.pixels[2, 2].min() >= 250
    assert frame.pixels[13, 13, 0] <= 5
    assert frame.pixels[13, 13, 1] >= 250
    assert "CMYK" in frame.warnings[0]
    assert frame.icc is None


def test_layouts_of_scientific_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    plain, colour = picture(9, 7, 1, "uint16")[:, :, 0], picture(9, 7, 3, "uint16")
    tifffile.imwrite(path, plain, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path).pixels[:, :, 0], 65535 - plain)
    tifffile.imwrite(path, np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate", byteorder=">")
    frame = read_image(path)
    np.testing.assert_array_equal(frame.pixels, colour)
    assert frame.exif is None or b"shape" not in frame.exif  # what tifffile says of its own layout
    for kind, kwargs in (("f8", {"rowsperstrip": 4}), ("f4", {"tile": (16, 16)})):
        tifffile.imwrite(path, (colour / 65535.0).astype(kind), photometric="rgb", **kwargs)
        np.testing.assert_allclose(read_image(path).pixels, colour / 65535.0, atol=1e-7)
    tifffile.imwrite(path, colour / 65535.0, photometric="rgb", tile=(16, 16))
    complaint(lambda: read_image(path), "64-bit floats in tiles")
    tifffile.imwrite(path, colour, photometric="rgb", bigtiff=True)
    np.testing.assert_array_equal(read_image(path).pixels, colour)
    tifffile.imwrite(path, colour, photometric="rgb", bigtiff=True, byteorder=">")
    np.testing.assert_array_equal(read_image(path).pixels, colour)
    tifffile.imwrite(path, (plain / 65535).astype("f4"), photometric="miniswhite")
    np.testing.assert_allclose(read_image(path).pixels[:, :, 0], 1 - plain / 65535, atol=1e-6)
    inks = np.zeros((9, 7, 4), np.uint16)
    inks[:, :, 0] = 65535
    tifffile.imwrite(path, inks, photometric="separated")
    assert tuple(read_image(path).pixels[0, 0]) == (0, 65535, 65535)
    tifffile.imwrite(path, picture(9, 7, 4, "uint16"), photometric="rgb", extrasamples=["unspecified"])
    assert "not marked as alpha" in read_image(path).warnings[0]
    tifffile.imwrite(path, colour, photometric="minisblack", planarconfig="contig")
    assert "called grey, are taken for red, green, blue" in read_image(path).warnings[0]
    extra = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified", "unassalpha"]}
    tifffile.imwrite(path, colour, **extra)
    complaint(lambda: read_image(path), "one of another kind and alpha")
    tifffile.imwrite(path, picture(9, 7, 6), photometric="minisblack", planarconfig="contig")
    complaint(lambda: read_image(path), "6 channels")


def test_multi_page_tiff_gives_the_first_page_and_says_so(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((6, 6), 40 * i, np.uint8)) for i in range(1, 4)]
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])
    frame = read_image(tmp_path / "m.tif")
    assert frame.pixels.max() == 40
    assert "first of 3 pages" in frame.warnings[0]
    pages[0].save(tmp_path / "one.tif")
    assert read_image(tmp_path / "one.tif").warnings == ()


def test_animated_webp_gives_the_first_frame_and_says_so(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), v, np.uint8)) for v in (10, 200)]
    frames[0].save(tmp_path / "m.webp", save_all=True, append_images=frames[1:], lossless=True)
    frame = read_image(tmp_path / "m.webp")
    assert frame.pixels.max() <= 12
    assert "first of 2 pages" in frame.warnings[0]


def test_white_of_12_bit_data(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.array([[0, 4095]], np.uint16))
    assert read_image(tmp_path / "a.png", white=4095).read().max() == 1.0
    assert read_image(tmp_path / "a.png").read().max() == pytest.approx(4095 / 65535)
    complaint(lambda: read_image(tmp_path / "a.png", white=1000), "a.png", "4095", "--white")


# Metadata


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_obeyed(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth(24, 40)).save(path, exif=exif.tobytes(), **({"quality": 95} if suffix == "jpg" else {}))
    with Image.open(path) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == orientation
        expected = np.asarray(ImageOps.exif_transpose(image))
    frame = read_image(path)
    assert (frame.height, frame.width) == expected.shape[:2]
    assert np.abs(frame.pixels.astype(int) - expected).max() <= 2
    assert exif_orientation(frame.exif) == 1
    write_image(tmp_path / f"b.{suffix}", frame.pixels, exif=frame.exif)
    again = read_image(tmp_path / f"b.{suffix}")
    assert (again.height, again.width) == expected.shape[:2]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_and_icc_go_through_byte_for_byte(tmp_path: Path, suffix: str, order: str) -> None:
    block = exif_block(order, orientation=1)
    write_image(tmp_path / f"a.{suffix}", smooth(40, 50), exif=block, icc=SRGB)
    frame = read_image(tmp_path / f"a.{suffix}")
    assert frame.exif == block
    assert frame.icc == SRGB


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_keeps_exif_values_and_maker_note_offsets(tmp_path: Path, order: str, dtype: str) -> None:
    block = exif_block(order, orientation=1)
    pixels = convert_depth(smooth(40, 50), dtype)
    write_image(tmp_path / "a.tif", pixels, exif=block, icc=SRGB)
    raw = (tmp_path / "a.tif").read_bytes()
    assert raw[8 : len(block)] == block[8:]  # every absolute offset of the block is right in the file too
    frame = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.exif is not None
    assert tags(frame.exif) == {key: value for key, value in tags(block).items() if key != "Orientation"}
    assert frame.icc == SRGB
    write_image(tmp_path / "b.tif", pixels, exif=frame.exif)  # and a second time, from our own block
    again = read_image(tmp_path / "b.tif")
    assert again.exif == frame.exif


def test_exif_is_upright_has_the_new_size_and_no_thumbnail() -> None:
    block = exif_block(orientation=6, thumbnail=True)
    assert b"\xff\xd8\xff\xd9" in block
    fixed = upright_exif(block, 123, 77)
    assert fixed is not None
    assert len(fixed) == len(block)
    old, new = tags(block), tags(fixed)
    assert new["Orientation"] == 1
    assert (new[f"Exif.{ExifTags.Base.ExifImageWidth}"], new[f"Exif.{ExifTags.Base.ExifImageHeight}"]) == (
        123,
        77,
    )
    changed = {key for key in old if old[key] != new[key]}
    assert changed == {
        "Orientation",
        *(f"Exif.{tag.value}" for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)),
    }
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    assert exif.get_ifd(ExifTags.IFD.IFD1)
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + fixed)
    assert not exif.get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_resolution_is_kept(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a.{suffix}", smooth(8, 8), dpi=(300.0, 150.0))
    assert read_image(tmp_path / f"a.{suffix}").dpi == pytest.approx((300.0, 150.0), abs=0.02)


def test_what_a_format_cannot_keep_is_said(tmp_path: Path) -> None:
    pixels, alpha = smooth(8, 8), np.full((8, 8), 9, np.uint8)
    notes = write_image(tmp_path / "a.bmp", pixels, alpha=alpha, exif=exif_block(), icc=SRGB)
    assert [word for word in ("alpha", "EXIF", "ICC") if any(word in note for note in notes)] == [
        "alpha",
        "EXIF",
        "ICC",
    ]
    assert write_image(tmp_path / "a.jpg", pixels, alpha=alpha) == [
        f"{tmp_path / 'a.jpg'}: alpha dropped, jpeg has none"
    ]
    assert "resolution (300 dpi) dropped" in write_image(tmp_path / "a.webp", pixels, dpi=(300.0, 300.0))[0]
    assert not write_image(tmp_path / "b.webp", pixels, dpi=(72.0, 72.0))
    (note,) = write_image(tmp_path / "b.jpg", pixels, exif=exif_block() + bytes(70000))
    assert "EXIF dropped" in note
    (note,) = write_image(tmp_path / "c.jpg", pixels, exif=b"II*\0\xff\xff\xff\xff")
    assert "damaged" in note
    (note,) = write_image(tmp_path / "d.png", pixels, icc=GREY_ICC)
    assert "ICC" in note
    assert read_image(tmp_path / "d.png").icc is None
    assert write_image(tmp_path / "e.png", pixels[:, :, 0], icc=GREY_ICC) == []
    assert read_image(tmp_path / "e.png").icc == GREY_ICC


def test_damaged_exif_does_not_stop_the_reading(tmp_path: Path) -> None:
    Image.fromarray(smooth(8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    frame = read_image(tmp_path / "a.jpg")
    assert frame.exif is None
    assert "EXIF" in frame.warnings[0]


# Bad input


def encoded(suffix: str, dtype: str = "uint8") -> bytes:
    buffer = BytesIO()
    if suffix in ("jpg", "webp", "bmp"):
        Image.fromarray(picture(64, 64, 3)).save(buffer, {"jpg": "JPEG"}.get(suffix, suffix))
        return buffer.getvalue()
    return b"".join(encode({"tif": "tiff"}.get(suffix, suffix), picture(64, 64, 3, dtype), None, None, None))


KINDS = [("jpg", "uint8"), ("webp", "uint8"), ("bmp", "uint8"), *LOSSLESS]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
@pytest.mark.parametrize(("suffix", "dtype"), KINDS)
def test_truncated(tmp_path: Path, suffix: str, dtype: str, share: float, capfd: pytest.CaptureFixture[str]) -> None:
    whole = encoded(suffix, dtype)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(whole)
    read_image(path)
    path.write_bytes(whole[: int(len(whole) * share)])
    complaint(lambda: read_image(path), str(path), "again")
    assert capfd.readouterr() == ("", "")  # C libraries like to print


def test_damaged_png(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = bytearray(encoded("png", "uint16"))
    whole[len(whole) // 2] ^= 0x10
    (tmp_path / "a.png").write_bytes(whole)
    complaint(lambda: read_image(tmp_path / "a.png"), "a.png", "damaged", "checksum")
    assert capfd.readouterr() == ("", "")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
    early=st.booleans(),
)
def test_damage_never_escapes_as_another_exception(
    tmp_path: Path, kind: tuple[str, str], changes: list[tuple[float, int]], early: bool
) -> None:
    whole = bytearray(encoded(*kind))
    for where, value in changes:
        whole[int(where * (min(200, len(whole)) if early else len(whole)))] = value
    path = tmp_path / f"a.{kind[0]}"
    path.write_bytes(whole)
    try:
        outcome = str(read_image(path).name)
    except FusionError as error:
        outcome = str(error)
    assert outcome.startswith(str(path))
    assert "\n" not in outcome


def test_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "t.png").write_text("hello, I am text")
    complaint(lambda: read_image(tmp_path / "t.png"), "t.png", "not an image", "hello")
    (tmp_path / "e.jpg").write_bytes(b"")
    complaint(lambda: read_image(tmp_path / "e.jpg"), "e.jpg", "empty", "0 bytes")
    complaint(lambda: read_image(tmp_path / "none.png"), "none.png", "no such file")
    complaint(lambda: read_image(tmp_path), str(tmp_path), "folder")
    complaint(lambda: read_image(tmp_path / "t.png" / "x.png"), "x.png")


def test_a_png_that_claims_to_be_huge(tmp_path: Path) -> None:
    whole = bytearray(encoded("png"))
    struct.pack_into(">II", whole, 16, 100000, 100000)
    struct.pack_into(">I", whole, 29, zlib.crc32(whole[12:29]))
    (tmp_path / "a.png").write_bytes(whole)
    complaint(lambda: read_image(tmp_path / "a.png"), "100000x100000")


def test_bad_values_in_float_files(tmp_path: Path) -> None:
    pixels = picture(8, 8, 3, "float32")
    for value, parts in (
        (np.nan, ("1 of 192", "NaN")),
        (np.inf, ("1 of 192",)),
        (-0.5, ("-0.5",)),
        (200.0, ("200", "--white")),
    ):
        bad = pixels.copy()
        bad[2, 3, 1] = value
        write_image(tmp_path / "a.tif", bad, overwrite=True)
        complaint(lambda: read_image(tmp_path / "a.tif"), "a.tif", *parts)
    assert read_image(tmp_path / "a.tif", white=200).read().max() == 1.0


def test_integers_that_have_no_scale(tmp_path: Path) -> None:
    Image.fromarray(np.array([[5, -5]], np.int32)).save(tmp_path / "a.tif")
    complaint(lambda: read_image(tmp_path / "a.tif"), "a.tif", "16-bit")


# Writing or not writing


def test_unknown_output_suffix_lists_the_known() -> None:
    text = complaint(lambda: writable("out.gif"), "out.gif", ".gif")
    assert all(suffix in text for suffix in WRITES)
    complaint(lambda: writable("out"), "without suffix")


def test_sizes_that_a_format_cannot_hold(tmp_path: Path) -> None:
    complaint(lambda: write_image(tmp_path / "a.webp", np.zeros((1, 16384), np.uint8)), "16384x1", "16383", ".tif")
    complaint(lambda: write_image(tmp_path / "a.jpg", np.zeros((65536, 1), np.uint8)), "65535")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    complaint(lambda: write_image(path, picture(4, 4, 3)), "a.png", "exists", "--overwrite")
    assert path.read_bytes() == b"precious"
    write_image(path, picture(4, 4, 3), overwrite=True)
    assert read_image(path).width == 4
    before = path.read_bytes()
    (tmp_path / "link.png").symlink_to(path)
    for name in ("a.png", "link.png"):
        complaint(
            lambda n=name: write_image(tmp_path / n, picture(5, 5, 3), overwrite=True, inputs=[path]),
            name,
            "inputs",
        )
    assert path.read_bytes() == before
    complaint(lambda: write_image(tmp_path, picture(4, 4, 3)))


def test_any_file_is_written_whole_and_never_over_an_input(tmp_path: Path) -> None:
    path, report = tmp_path / "a.png", tmp_path / "new" / "report.json"
    path.write_bytes(b"precious")
    write_whole(report, [b"{", b"}"])
    assert report.read_bytes() == b"{}"
    complaint(lambda: write_whole(report, [b"other"]), "report.json", "--overwrite")
    complaint(lambda: write_whole(path, [b"{}"], overwrite=True, inputs=[path]), "a.png", "inputs")
    complaint(lambda: write_whole(tmp_path, [b"{}"], overwrite=True), "folder")
    assert (path.read_bytes(), os.listdir(report.parent)) == (b"precious", ["report.json"])


def test_a_link_is_written_through_and_the_mode_is_kept(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write_image(tmp_path / "deep" / "a.png", picture(4, 4, 3))
    (tmp_path / "deep" / "a.png").chmod(0o640)
    (tmp_path / "link.png").symlink_to(tmp_path / "deep" / "a.png")
    write_image(tmp_path / "link.png", picture(7, 7, 3), overwrite=True)
    assert (tmp_path / "link.png").is_symlink()
    assert read_image(tmp_path / "deep" / "a.png").width == 7
    assert (tmp_path / "deep" / "a.png").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device file")
def test_device_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "null.png").symlink_to("/dev/null")
    complaint(lambda: write_image(tmp_path / "null.png", picture(4, 4, 3), overwrite=True), "not a regular file")
    assert Path("/dev/null").is_char_device()


def test_folders_are_made_and_cannot_be_made(tmp_path: Path) -> None:
    write_image(tmp_path / "x" / "y" / "a.png", picture(4, 4, 3))
    assert [p.name for p in (tmp_path / "x" / "y").iterdir()] == ["a.png"]
    (tmp_path / "file").write_bytes(b"")
    complaint(lambda: write_image(tmp_path / "file" / "a.png", picture(4, 4, 3)), "a.png", "another folder")


def test_names_that_the_system_refuses(tmp_path: Path) -> None:
    complaint(lambda: write_image(tmp_path / f"{'x' * 300}.png", picture(4, 4, 3)), "cannot be written", "name")
    complaint(lambda: write_image(f"{tmp_path}/a\0.png", picture(4, 4, 3)), "cannot be written", "name")
    complaint(lambda: read_image(f"{tmp_path}/a\0.png"), "cannot be read")
    longest = tmp_path / ("\N{CAMERA}" * 62 + ".png")  # 252 of the 255 bytes that a name may have
    write_image(longest, picture(4, 4, 3))
    assert read_image(longest).width == 4


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a file system that nobody may write to")
def test_read_only_folder() -> None:
    complaint(lambda: write_image("/proc/self/a.png", picture(4, 4, 3)), "/proc/self/a.png", "another folder")


@pytest.mark.parametrize("suffix", list(WRITES))
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_failure_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, error: BaseException
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"the old picture")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FusionError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_image(path, picture(16, 16, 3), overwrite=True)
    if isinstance(error, OSError):
        assert "No space left on device" in str(caught.value)
        assert "free some space" in str(caught.value)
    assert path.read_bytes() == b"the old picture"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_limit_on_the_file_size_is_a_clear_error(tmp_path: Path) -> None:
    """The nearest thing to a full disk that needs no privileges: the system itself refuses the bytes."""
    code = """
import resource, signal, sys, numpy as np
from anyfuse.io import write_image
from anyfuse.errors import FusionError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
for suffix in ("png", "tif", "jpg", "webp", "bmp"):
    try:
        write_image(f"{sys.argv[1]}/a.{suffix}", pixels)
    except FusionError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert len(lines) == 5
    assert all("cannot be written" in line and "free some space" in line for line in lines)
    assert os.listdir(tmp_path) == []
