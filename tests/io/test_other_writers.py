"""Why PNG and TIFF are written here: what the kept writers lose. One that loses nothing any more can replace ours."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from PIL import Image

from anyfuse.io.read import read_image
from anyfuse.io.write import write_image

EXPOSURE, MAKER_NOTE = 33434, 37500
PIXELS = np.random.default_rng(0).integers(0, 1 << 16, (20, 30, 3), np.uint16)


def exif() -> bytes:
    """A block with an exposure time and a note of the maker."""
    block = Image.Exif()
    block.get_ifd(0x8769)[EXPOSURE] = 0.004
    block.get_ifd(0x8769)[MAKER_NOTE] = b"MAKERNOTE" * 10
    return block.tobytes().removeprefix(b"Exif\0\0")


def chunks(path: Path) -> dict[bytes, bytes]:
    data, found, at = path.read_bytes(), {}, 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        found[kind] = data[at + 8 : at + 8 + size]
        at += size + 12
    return found


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_ours_keep_16_bits_and_the_whole_exif(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", PIXELS, exif=exif())
    again = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.pixels, PIXELS)
    block = Image.Exif()
    block.load(b"Exif\0\0" + (again.exif or b""))
    assert block.get_ifd(0x8769)[MAKER_NOTE] == b"MAKERNOTE" * 10
    assert float(block.get_ifd(0x8769)[EXPOSURE]) == pytest.approx(0.004)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pillow_writes_no_16_bit_colours(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(TypeError):
        Image.fromarray(PIXELS).save(tmp_path / f"a{suffix}")  # type: ignore[no-untyped-call]


def test_openimageio_drops_the_makers_note_and_adds_a_gamma(tmp_path: Path) -> None:
    """It writes attributes that it knows, never a block of EXIF."""
    block = exif()
    spec = oiio.ImageSpec(30, 20, 3, "uint16")
    spec.attribute("Exif:ExposureTime", 0.004)
    spec.attribute("Exif:MakerNote", oiio.TypeDesc("uint8[90]"), np.frombuffer(b"MAKERNOTE" * 10, np.uint8))
    out = oiio.ImageOutput.create(str(tmp_path / "a.png"))
    out.open(str(tmp_path / "a.png"), spec)
    out.write_image(PIXELS)
    out.close()
    found = chunks(tmp_path / "a.png")
    assert b"MAKERNOTE" not in found.get(b"eXIf", b"")
    assert b"gAMA" in found
    write_image(tmp_path / "b.png", PIXELS, exif=block)
    ours = chunks(tmp_path / "b.png")
    assert b"MAKERNOTE" in ours[b"eXIf"]
    assert b"gAMA" not in ours


def test_tifffile_writes_no_directory_of_exif(tmp_path: Path) -> None:
    """EXIF lies in a directory of its own, which tag 34665 points to; tifffile leaves it out."""
    tifffile = pytest.importorskip("tifffile")
    block = exif()
    extra = [(34665, "B", len(block), block, True)]
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", extratags=extra)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert 34665 not in file.pages[0].tags
    write_image(tmp_path / "b.tif", PIXELS, exif=block)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags[34665].value["MakerNote"]


@pytest.mark.parametrize("has_isal", [True, False])
def test_both_compressors_make_the_same_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_isal: bool
) -> None:
    """ISA-L packs PNG where it is there; zlib does elsewhere."""
    if has_isal:
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    smooth = np.add.outer(np.arange(3000), np.arange(900)).astype(np.uint16)  # of more than one block
    write_image(tmp_path / "a.png", smooth[..., None])
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), smooth)
    assert (tmp_path / "a.png").stat().st_size < smooth.nbytes / 20
