"""Formats told by content; pages as frames; compressions; what cannot be read is named."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import Any

import formats
import numpy as np
import pytest
import tifffile
from formats import CASES, by_oiio, by_pydicom, colours
from PIL import Image

from anyfuse.errors import FusionError
from anyfuse.io.frames import read_frames
from anyfuse.io.pages import choose, split_name
from anyfuse.io.raster import Pages, Raster
from anyfuse.io.read import count_pages, read_image, read_rasters
from anyfuse.io.transfer import decode_srgb, encode_srgb
from anyfuse.io.write import write_image


def complaint(action: Any, *parts: str) -> None:
    with pytest.raises(FusionError) as caught:
        action()
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


# The table


@pytest.mark.parametrize("case", CASES, ids=[c.title for c in CASES])
def test_the_table_of_the_documentation(case: formats.Case, tmp_path: Path) -> None:
    assert formats.row(case, tmp_path) in formats.DOC.read_text(), "run python tests/io/formats.py"


@pytest.mark.parametrize("case", CASES, ids=[c.title for c in CASES])
def test_pixels_of_every_format(case: formats.Case, tmp_path: Path) -> None:
    """What is read is the picture that was made, in the right order and not upside down."""
    for frame in formats.read_all(case, tmp_path):
        got = frame.read().numpy()
        if frame.file is not None and case.title.startswith("raw"):
            got = got[:, ::2, ::2]
        expected = colours("float32", 1 if frame.is_grey else 3).transpose(2, 0, 1)
        if case.title in ("OpenEXR", "Radiance HDR"):
            expected = encode_srgb(expected)
        for plane, wanted in zip(got, expected, strict=False):
            assert np.corrcoef(plane.ravel(), wanted.ravel())[0, 1] > 0.97
        if case.title.split()[0] in ("PNG", "TIFF,", "BMP", "JPEG", "PPM,"):
            scale = expected if frame.scaling is None else expected / expected.max()
            assert np.abs(got - scale).max() < 0.02


@pytest.mark.parametrize("case", CASES, ids=[c.title for c in CASES])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files_are_one_line(case: formats.Case, share: float, tmp_path: Path) -> None:
    for k, make in enumerate(case.makes):
        path = tmp_path / f"{k}{case.suffix}"
        make(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        outcome = str(path)
        try:
            read_frames([path])
        except FusionError as error:
            outcome = str(error)
        assert "\n" not in outcome
        assert str(path) in outcome


@pytest.mark.parametrize("case", CASES, ids=[c.title for c in CASES])
def test_damage_is_a_picture_or_one_line(case: formats.Case, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(case.title))
    for k, make in enumerate(case.makes):
        path = tmp_path / f"{k}{case.suffix}"
        make(path)
        whole = path.read_bytes()
        for _ in range(25):
            bad = bytearray(whole)
            for at in rng.integers(0, min(len(bad), int(rng.choice([64, 400, 1 << 30]))), 3):
                bad[at] = int(rng.integers(256))
            path.write_bytes(bad)
            outcome = str(path)
            try:
                read_frames([path])
            except FusionError as error:
                outcome = str(error)
            assert "\n" not in outcome
            assert str(path) in outcome


def test_a_strip_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    import zstandard

    tifffile.imwrite(tmp_path / "a.tif", colours("uint8"), photometric="rgb", metadata=None, rowsperstrip=48)
    bomb = zstandard.compress(bytes(1 << 22))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        start = tags[273].value[0]
        tags[259].overwrite(50000)
        tags[279].overwrite(len(bomb))
        file.filehandle.seek(start)
        file.filehandle.write(bomb)
    complaint(lambda: read_image(tmp_path / "a.tif"), "a.tif", "4194304")


@pytest.mark.parametrize("suffix", [".null", ".exr", ".tif", ".dcm", ""])
def test_the_suffix_decides_nothing(suffix: str, tmp_path: Path) -> None:
    by_oiio(tmp_path / "a.png", "uint16", 3)
    by_oiio(tmp_path / "a.jxl", "uint16", 3)
    for source in ("a.png", "a.jxl"):
        shutil.copy(tmp_path / source, tmp_path / f"b{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"b{suffix}").pixels, colours("uint16"))


@pytest.mark.parametrize(
    ("start", "what"),
    [(b"%PDF-1.7", "PDF"), (b"8BPS\0\1", "Photoshop"), (b"\0\0\0\x18ftypmp42", "video"), (b"PK\3\4abc", "zip archive")],
)
def test_what_is_no_image_is_named(start: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(start.ljust(600, b"\0"))
    complaint(lambda: read_image(tmp_path / "a.png"), "a.png", what, "DICOM")


@pytest.mark.parametrize(
    ("title", "package"), [("HEIC", "pillow_heif"), ("raw", "rawpy"), ("DICOM", "pydicom"), ("NIfTI", "nibabel")]
)
def test_a_missing_package_is_a_hint(title: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(c for c in CASES if c.title.startswith(title))
    path = tmp_path / f"a{case.suffix}"
    case.makes[0](path)
    there = builtins.__import__

    def without(name: str, *values: Any, **options: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return there(name, *values, **options)

    monkeypatch.setattr("anyfuse.io.readers.extra.import_module", without)
    complaint(lambda: read_image(path), str(path), f"pip install 'anyfuse[{case.extra}]'")


# Pages


def zstack(path: Path, count: int = 5, **options: Any) -> np.ndarray:
    pages = np.stack([colours("uint16", 1)[:, :, 0] // 2 + 1000 * k for k in range(count)]).astype(np.uint16)
    tifffile.imwrite(path, pages, photometric="minisblack", **options)
    return pages


@pytest.mark.parametrize(
    "options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"imagej": True}, {"ome": True, "metadata": {"axes": "ZYX"}}]
)
def test_pages_of_a_file_are_frames(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "z.tif"
    pages = zstack(path, **options)
    assert count_pages(path) == 5
    frames = read_frames([path])
    assert [f.name for f in frames] == [f"{path}[{k}]" for k in range(5)]
    for frame, page in zip(frames, pages, strict=True):
        np.testing.assert_array_equal(frame.pixels[:, :, 0], page)
        assert frame.file == str(path)
    assert [f.name for f in read_frames([f"{path}[1:4]"])] == [f"{path}[{k}]" for k in (1, 2, 3)]
    assert [f.name for f in read_frames([path], pages="0,-1")] == [f"{path}[0]", f"{path}[4]"]
    other = tmp_path / "b.tif"
    zstack(other)
    first, _ = read_frames([path, other])
    assert any("first of 5 pages" in w for w in first.warnings)


def test_the_choice_of_pages(tmp_path: Path) -> None:
    pages = Pages(lambda k: Raster(np.zeros((1, 1), np.uint8)), 6)
    assert choose("3", pages, "a") == [3]
    assert choose("-1", pages, "a") == [5]
    assert choose("::2", pages, "a") == [0, 2, 4]
    assert choose("1:3, 5", pages, "a") == [1, 2, 5]
    for bad in ("6", "x", "3:3", "", "1,1", "1:2:3:4", "::0"):
        complaint(lambda b=bad: choose(b, pages, "a.tif"), "a.tif")
    (tmp_path / "odd[1].tif").write_bytes(b"x")
    (tmp_path / "odd[1]").write_bytes(b"x")
    assert split_name(tmp_path / "odd[1].tif") == (str(tmp_path / "odd[1].tif"), None)
    assert split_name(tmp_path / "odd[1]") == (str(tmp_path / "odd[1]"), None)
    assert split_name("a.tif[3:40]") == ("a.tif", "3:40")


def test_a_page_is_given_once(tmp_path: Path) -> None:
    zstack(tmp_path / "z.tif")
    complaint(lambda: read_frames([f"{tmp_path}/z.tif[1]", f"{tmp_path}/z.tif[1]"]), "same file")
    assert len(read_frames([f"{tmp_path}/z.tif[1]", f"{tmp_path}/z.tif[2]"])) == 2


def test_reduced_copies_are_no_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "p.tif") as writer:
        writer.write(colours("uint8"), photometric="rgb")
        writer.write(colours("uint8")[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(colours("uint8")[::-1], photometric="rgb")
    assert count_pages(tmp_path / "p.tif") == 2
    np.testing.assert_array_equal(read_frames([tmp_path / "p.tif"])[1].pixels, colours("uint8")[::-1])


@pytest.mark.parametrize("name", ["a.mpo", "a.png", "a.webp", "a.gif", "a.avif"])
def test_further_frames_are_named_and_read_on_wish(name: str, tmp_path: Path) -> None:
    first, second = Image.fromarray(colours()), Image.fromarray(colours()[::-1].copy())
    first.save(tmp_path / name, save_all=True, append_images=[second])
    assert any("first of 2" in w for w in read_image(tmp_path / name).warnings)
    one, two = read_frames([tmp_path / name], pages="0:2")
    assert np.abs(one.pixels[::-1].astype(int) - two.pixels).mean() < 12


# TIFF


@pytest.mark.parametrize("compression", ["zstd", "lzma", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_compressions(compression: str, dtype: str, tmp_path: Path) -> None:
    data = colours(dtype, 1 if dtype == "uint16" else 3)
    image = Image.fromarray(data[:, :, 0] if dtype == "uint16" else data)
    image.save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, data)


def packed(path: Path, data: np.ndarray, predictor: int, tile: bool, order: str = "<", apart: bool = False) -> None:
    """A ZSTD file as other writers make it: its strips are packed here, for tifffile has no packer."""
    import struct

    import zstandard

    height, width, channels = data.shape
    data = data.astype(data.dtype.newbyteorder(order))
    size = 32 if tile else 17
    across = 32 if tile else width
    blocks = []
    for part in [data[:, :, k : k + 1] for k in range(channels)] if apart else [data]:
        for top in range(0, height, size):
            for left in range(0, width, across):
                block = part[top : top + size, left : left + across]
                if tile:
                    full = np.zeros((size, across, part.shape[2]), data.dtype)
                    full[: block.shape[0], : block.shape[1]] = block
                    block = full
                if predictor == 2:
                    steps = block.copy()
                    steps[:, 1:] = block[:, 1:] - block[:, :-1]
                    raw = steps.astype(data.dtype).tobytes()
                elif predictor == 3:
                    big = block.astype(f">f{data.itemsize}").reshape(len(block), -1)
                    ranks = big.view(np.uint8).reshape(len(block), -1, data.itemsize).transpose(0, 2, 1)
                    ranks = ranks.reshape(len(block), -1, block.shape[2])
                    steps = ranks.copy()
                    steps[:, 1:] = ranks[:, 1:] - ranks[:, :-1]
                    raw = steps.tobytes()
                else:
                    raw = block.tobytes()
                blocks.append(zstandard.compress(raw))
    offsets = [8 + sum(map(len, blocks[:k])) for k in range(len(blocks))]
    body = b"".join(blocks) + b"\0" * (sum(map(len, blocks)) % 2)
    at = 8 + len(body)
    place = (322, 323, 324, 325) if tile else (None, 278, 273, 279)
    entries: list[tuple[int, int, list[int]]] = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [8 * data.itemsize] * channels),
        (259, 3, [50000]),
        (262, 3, [2 if channels == 3 else 1]),
        (277, 3, [channels]),
        (284, 3, [2 if apart else 1]),
        (317, 3, [predictor]),
        (339, 3, [{"u": 1, "i": 2, "f": 3}[data.dtype.kind]] * channels),
        (place[1] or 278, 4, [size]),
        (place[2] or 273, 4, offsets),
        (place[3] or 279, 4, [len(b) for b in blocks]),
    ]
    entries += [(322, 4, [across])] if tile else []
    letters = {3: "H", 4: "I"}
    table, tail = struct.pack(order + "H", len(entries)), b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, kind, values in sorted(entries):
        raw = struct.pack(f"{order}{len(values)}{letters[kind]}", *values)
        table += struct.pack(order + "HHI", tag, kind, len(values))
        if len(raw) <= 4:
            table += raw.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", behind + len(tail))
            tail += raw + b"\0" * (len(raw) % 2)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, at)
    path.write_bytes(head + body + table + b"\0\0\0\0" + tail)


@pytest.mark.parametrize("tile", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("uint16", 1), ("uint16", 2), ("float32", 3)])
def test_zstd_in_every_layout(tile: bool, order: str, dtype: str, predictor: int, tmp_path: Path) -> None:
    data = colours(dtype)
    for apart in (False, True):
        packed(tmp_path / "a.tif", data, predictor, tile, order, apart)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, data)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:8] + bytes(40) + whole[48:])
    complaint(lambda: read_image(tmp_path / "a.tif"), "a.tif", "damaged")


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", colours("uint8"), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags[259].overwrite(34887)  # type: ignore[union-attr]
    complaint(lambda: read_image(tmp_path / "a.tif"), "a.tif", "LERC")


@pytest.mark.parametrize("kind", ["cielab", "icclab"])
def test_16_bit_lab(kind: str, tmp_path: Path) -> None:
    from skimage import color

    lab = color.rgb2lab(colours("float32"))
    if kind == "cielab":
        planes = [lab[..., 0] / 100 * 65535, np.mod(lab[..., 1] * 256, 65536), np.mod(lab[..., 2] * 256, 65536)]
    else:
        planes = [lab[..., 0] / 100 * 65280, (lab[..., 1] + 128) * 256, (lab[..., 2] + 128) * 256]
    stored = np.clip(np.rint(np.stack(planes, 2)), 0, 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=kind)
    frame = read_image(tmp_path / "a.tif")
    assert frame.pixels.dtype == np.uint16
    assert np.abs(frame.read().numpy().transpose(1, 2, 0) - colours("float32")).mean() < 0.01
    assert "Lab" in frame.warnings[0]


# Formats of their own


def test_the_largest_value_of_a_pgm_is_white(tmp_path: Path) -> None:
    values = (colours("uint16", 1) // 16).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 # a comment\n64 48\n4095\n" + values.tobytes())
    frame = read_image(tmp_path / "a.pgm")
    assert frame.white == 4095
    np.testing.assert_array_equal(frame.pixels, values)
    (tmp_path / "b.pgm").write_bytes(b"P2\n2 1\n3\n0 3\n")
    assert read_image(tmp_path / "b.pgm").pixels.ravel().tolist() == [0, 255]
    (tmp_path / "c.pbm").write_bytes(b"P1\n3 1\n101\n")
    assert read_image(tmp_path / "c.pbm").pixels.ravel().tolist() == [0, 255, 0]
    (tmp_path / "d.pgm").write_bytes(b"P5\n2 1\n300\n\xff\xff\0\0")
    complaint(lambda: read_image(tmp_path / "d.pgm"), "65535", "300")


def test_linear_light_goes_out_as_it_came_in(tmp_path: Path) -> None:
    for suffix, tolerance in (("exr", 1e-6), ("hdr", 0.006)):
        write_image(tmp_path / f"a.{suffix}", colours("float32"))
        again = read_image(tmp_path / f"a.{suffix}")
        light = decode_srgb(again.read().numpy().astype(np.float64))
        assert np.abs(light - decode_srgb(colours("float32").astype(np.float64)).transpose(2, 0, 1)).max() < tolerance


def test_brackets_of_linear_light_share_their_white(tmp_path: Path) -> None:
    import OpenImageIO as oiio

    for name, gain in (("a.exr", 0.5), ("b.exr", 4.0)):
        out = oiio.ImageOutput.create(name)
        out.open(str(tmp_path / name), oiio.ImageSpec(64, 48, 3, "float"))
        out.write_image(colours("float32") * gain)
        out.close()
    one, two = read_frames([tmp_path / "a.exr", tmp_path / "b.exr"])
    assert one.scaling == two.scaling
    ratio = decode_srgb(two.read().numpy().astype(float)).mean() / decode_srgb(one.read().numpy().astype(float)).mean()
    assert ratio == pytest.approx(8, rel=0.01)


def test_dicom_without_an_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bytes(128) + b"DICM" + bytes(80))
    complaint(lambda: read_image(tmp_path / "a.png"), "DICOM")
    by_pydicom(tmp_path / "b.dcm", colours("uint16", 1)[:, :, 0], BitsStored=16, HighBit=15)
    assert read_rasters(tmp_path / "b.dcm")[0].unit
