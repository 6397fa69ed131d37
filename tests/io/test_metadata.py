"""What is carried from the reference to the result, what is put right, and what is said to be dropped."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from formats import by_oiio
from PIL import Image, ImageCms, PngImagePlugin

from anyfuse import Fuser
from anyfuse.errors import FusionError
from anyfuse.image.frame import make_frame
from anyfuse.io.frames import read_frames
from anyfuse.io.profiles import matrix_of, to_one_profile, trilinear
from anyfuse.io.read import read_image
from anyfuse.io.transfer import decode_srgb
from anyfuse.io.write import write_image
from anyfuse.io.xmp import OWN, Record, packet

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RECORD = Record("anyfuse 0", "average", ["a & b.png", "c.png"], "a & b.png")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def xmp(body: str, spaces: str = "") -> bytes:
    inner = f"<rdf:RDF xmlns:rdf='{RDF}'><rdf:Description rdf:about='' {spaces} {body}/></rdf:RDF>"
    return f"<?xpacket begin=''?><x:xmpmeta xmlns:x='adobe:ns:meta/'>{inner}</x:xmpmeta><?xpacket end='w'?>".encode()


def scene(seed: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[0:60, 0:72]
    shift = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = np.stack([np.sin(x / 9 + s) * np.cos(y / 7 - s) for s in shift], 2)[:, :, :channels]
    return np.rint((waves * 0.4 + 0.5) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser("average")


def fused(fuser: Fuser, folder: Path, reference: str, out: str) -> tuple[Path, list[str]]:
    """The result of a file and a plain one, and the notes of writing it."""
    size = read_image(folder / reference)
    Image.fromarray(scene(9)[: size.height, : size.width]).save(folder / "other.png")
    result = fuser.run([folder / reference, folder / "other.png"])
    return folder / out, result.report["warnings"] + result.save(folder / out, overwrite=True)


# XMP


def test_a_packet_keeps_what_holds_and_gets_a_record() -> None:
    spaces = "xmlns:tiff='http://ns.adobe.com/tiff/1.0/' xmlns:d='http://drone/1.0/'"
    source = xmp("tiff:Orientation='6' tiff:ImageWidth='9' d:Yaw='-8.50'", spaces)
    made, dropped = packet(source, RECORD, 72, 60)
    assert dropped == []
    for part in (b'd:Yaw="-8.50"', b'tiff:Orientation="1"', b'tiff:ImageWidth="72"', b"a &amp; b.png", OWN.encode()):
        assert part in made
    again, _ = packet(made, RECORD, 72, 60)
    assert again.count(b"Yaw") == 1


def test_what_holds_for_the_source_alone_goes_and_is_named() -> None:
    spaces = "xmlns:crs='http://ns.adobe.com/camera-raw-settings/1.0/' xmlns:h='http://ns.adobe.com/hdr-gain-map/1.0/'"
    made, dropped = packet(xmp("crs:Exposure='+2' h:Version='1.0' xmlns:k='urn:k:' k:x='1'", spaces), RECORD, 1, 1)
    assert dropped == ["raw settings", "gain map"]
    assert b"Exposure" not in made
    assert b'k:x="1"' in made


@pytest.mark.parametrize(
    "bad", [b"", b"<x", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xff\xfe\0", xmp("a:b='c'")]
)
def test_a_damaged_packet_is_dropped_and_said(bad: bytes) -> None:
    made, dropped = packet(bad, RECORD, 1, 1)
    assert dropped == ["all of it, as it is damaged"]
    assert OWN.encode() in made


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("out", ["o.jpg", "o.png", "o.tif", "o.webp"])
def test_xmp_goes_from_every_format_to_every_format(fuser: Fuser, source: str, out: str, tmp_path: Path) -> None:
    block = xmp("d:Yaw='-8.50'", "xmlns:d='http://drone/1.0/'")
    image = Image.fromarray(scene(0))
    if source == "a.png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", block.decode())
        image.save(tmp_path / source, pnginfo=info)
    elif source == "a.tif":
        tifffile.imwrite(
            tmp_path / source, scene(0), photometric="rgb", extratags=[(700, "B", len(block), block, True)]
        )
    else:
        image.save(tmp_path / source, xmp=block)
    path, notes = fused(fuser, tmp_path, source, out)
    assert not [n for n in notes if "XMP" in n]
    written = read_image(path).metadata.xmp
    assert written is not None
    assert b'd:Yaw="-8.50"' in written
    assert b"average" in written
    assert source.encode() in written
    assert str(tmp_path).encode() not in written
    if out == "o.png":
        with Image.open(path) as other:
            other.load()
            assert b"Yaw" in other.info["xmp"]
    _, notes = fused(fuser, tmp_path, source, "o.bmp")
    assert any("XMP dropped" in n for n in notes)


@pytest.mark.parametrize("bare", [False, True])
def test_boxes_of_jpeg_xl_and_jpeg_2000(bare: bool, fuser: Fuser, tmp_path: Path) -> None:
    block, name = xmp("d:Yaw='-8.50'", "xmlns:d='http://drone/1.0/'"), Image.Exif()
    name[271] = "Camera"
    exif = name.tobytes()[6:]

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + kind + body

    by_oiio(tmp_path / "a.jxl", "uint8", 3)
    more = box(b"Exif", exif if bare else bytes(4) + exif) + box(b"xml ", block)
    (tmp_path / "a.jxl").write_bytes((tmp_path / "a.jxl").read_bytes() + more)
    Image.fromarray(scene(0)).save(tmp_path / "a.jp2")
    whole = (tmp_path / "a.jp2").read_bytes()
    at = whole.index(b"jp2c") - 4
    uuid = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    more = box(b"uuid", b"JpgTiffExif->JP2" + exif) + box(b"uuid", uuid + block)
    (tmp_path / "a.jp2").write_bytes(whole[:at] + more + whole[at:])
    for source in ("a.jxl", "a.jp2"):
        frame = read_image(tmp_path / source)
        assert frame.exif is not None
        assert b"Camera" in frame.exif
        written = read_image(fused(fuser, tmp_path, source, "o.png")[0])
        assert b"Yaw" in (written.metadata.xmp or b"")
        assert b"Camera" in (written.exif or b"")


# IPTC, text


def test_iptc_and_text(fuser: Fuser, tmp_path: Path) -> None:
    records = b"\x1c\x02\x78\0\5hello"
    segment = b"Photoshop 3.0\0008BIM\4\4\0\0" + struct.pack(">I", len(records)) + records
    buffer = BytesIO()
    Image.fromarray(scene(0)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:])
    for out in ("o.jpg", "o.tif"):
        assert read_image(fused(fuser, tmp_path, "a.jpg", out)[0]).metadata.iptc == records
    assert any("IPTC dropped" in n for n in fused(fuser, tmp_path, "a.jpg", "o.png")[1])
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Jörg")
    info.add_text("Comment", "long " * 99, zip=True)
    info.add_itxt("Title", "\N{CAMERA}")
    info.add_text("Software", "the program that wrote the source")
    Image.fromarray(scene(0)).save(tmp_path / "t.png", pnginfo=info)
    text = dict(read_image(fused(fuser, tmp_path, "t.png", "o.png")[0]).metadata.text)
    assert text == {"Author": "Jörg", "Comment": "long " * 99, "Title": "\N{CAMERA}"}
    assert any("Author" in n for n in fused(fuser, tmp_path, "t.png", "o.jpg")[1])


# TIFF


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_descriptive_tags_of_classic_and_big_files(fuser: Fuser, order: Any, big: bool, tmp_path: Path) -> None:
    tags = [(271, 2, 0, "Camera of the year", True), (315, 2, 0, "A. Person", True), (33432, 2, 0, "(c)", True)]
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "extratags": tags, "resolution": (200, 100)}
    tifffile.imwrite(tmp_path / "a.tif", scene(0), bigtiff=big, byteorder=order, **options)
    path, _ = fused(fuser, tmp_path, "a.tif", "o.tif")
    with tifffile.TiffFile(path) as file:
        found = {t.code: t.value for t in file.pages[0].tags}  # type: ignore[union-attr]
    assert (found[271], found[315], found[33432]) == ("Camera of the year", "A. Person", "(c)")
    path, _ = fused(fuser, tmp_path, "a.tif", "o.jpg")
    with Image.open(path) as image:
        assert image.getexif()[315] == "A. Person"


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_place_on_earth_stays_in_tiff(fuser: Fuser, order: Any, tmp_path: Path) -> None:
    keys = (1, 1, 0, 1, 3072, 0, 1, 32633)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0, 0, 0, 5e5, 4.6e6, 0), True),
        (34735, "H", 8, keys, True),
        (34737, "s", 0, "WGS 84|", True),
    ]
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "extratags": tags, "byteorder": order}
    tifffile.imwrite(tmp_path / "a.tif", scene(0), **options)
    path, _ = fused(fuser, tmp_path, "a.tif", "o.tif")
    with tifffile.TiffFile(path) as file:
        found = {t.code: t.value for t in file.pages[0].tags}  # type: ignore[union-attr]
    assert found[33550] == (10.0, 10.0, 0.0)
    assert found[33922] == (0, 0, 0, 5e5, 4.6e6, 0)
    assert tuple(found[34735]) == keys
    assert found[34737] == "WGS 84|"
    assert any("GeoTIFF" in n for n in fused(fuser, tmp_path, "a.tif", "o.png")[1])
    tifffile.imwrite(tmp_path / "b.tif", scene(0), **{**options, "extratags": [*tags, (274, "H", 1, 3, True)]})
    assert any("GeoTIFF" in w for w in read_image(tmp_path / "b.tif").warnings)


def test_images_of_other_places_are_named(tmp_path: Path) -> None:
    def saved(name: str, left: float, scale: float, key: int, step: int = 1) -> Path:
        keys = (1, 1, 0, 1, 3072, 0, 1, key)
        tags = [(33550, "d", 3, (scale, scale, 0.0), True), (33922, "d", 6, (0, 0, 0, left, 4.6e6, 0), True)]
        tags.append((34735, "H", 8, keys, True))  # type: ignore[arg-type]
        data = scene(0)[::step, ::step]
        tifffile.imwrite(tmp_path / name, data, photometric="rgb", metadata=None, extratags=tags)
        return tmp_path / name

    first = saved("a.tif", 5e5, 10.0, 32633)
    coarse = saved("b.tif", 5e5, 20.0, 32633, 2)  # another resolution of the same grid
    assert [f.warnings for f in read_frames([first, coarse])] == [(), ()]
    east, other = saved("c.tif", 5e5 + 300, 10.0, 32633), saved("d.tif", 5e5, 10.0, 32634)
    _, moved, zone = read_frames([first, east, other])
    assert "differ by 300" in moved.warnings[0]
    assert "coordinate system" in zone.warnings[0]


def placed(path: Path, data: np.ndarray, left: float, top: float, size: float, **more: Any) -> Path:
    """A GeoTIFF with square pixels. nodata: as text; point: tie points tie centres of pixels."""
    kind = 2 if more.get("point") else 1
    corner = size / 2 if more.get("point") else 0.0
    keys = (1, 1, 0, 2, 1025, 0, 1, kind, 3072, 0, 1, 32633)
    tie = (0.0, 0.0, 0.0, left + corner, top - corner, 0.0)
    tags: list[Any] = [(33550, "d", 3, (size, size, 0.0), True), (33922, "d", 6, tie, True)]
    tags.append((34735, "H", len(keys), keys, True))
    tags += [(42113, "s", 0, more["nodata"], True)] if "nodata" in more else []
    colours = "rgb" if data.ndim == 3 else "minisblack"
    tifffile.imwrite(path, data, photometric=colours, metadata=None, extratags=tags)
    return path


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize(("factor", "tolerance"), [(2, 0.02), (4, 0.04)])
def test_resolutions_of_one_grid(point: bool, factor: int, tolerance: float, fuser: Fuser, tmp_path: Path) -> None:
    y, x = np.mgrid[0:96, 0:128]
    plane = (60 + 60 * np.sin(x / 19) + 50 * np.cos(y / 23)).clip(0, 255)
    coarse = plane.reshape(96 // factor, factor, 128 // factor, factor).mean((1, 3))
    fine_path = placed(tmp_path / "a.tif", np.rint(plane).astype(np.uint8), 5e5, 4e6, 10, point=point)
    coarse_path = placed(tmp_path / "b.tif", np.rint(coarse).astype(np.uint8), 5e5, 4e6, 10 * factor, point=point)
    result = fuser.run([fine_path, coarse_path])
    assert result.pixels.shape[:2] == (96, 128)
    inner = (slice(factor, -factor), slice(factor, -factor))
    assert np.abs(result.stack.frames[1].pixels[..., 0][inner] - plane[inner]).max() < 255 * tolerance
    small = fuser.run([coarse_path, fine_path])
    assert small.pixels.shape[:2] == coarse.shape
    assert np.abs(small.stack.frames[1].pixels[..., 0][1:-1, 1:-1] - coarse[1:-1, 1:-1]).max() < 255 * tolerance


def test_a_map_that_lies_elsewhere_is_moved_and_transparent_beyond(fuser: Fuser, tmp_path: Path) -> None:
    big = scene(0).repeat(2, 0).repeat(2, 1)
    one, two = big[:40, :50], big[13:53, 7:57].copy()
    two[5:9, 5:9] = 7
    first = placed(tmp_path / "a.tif", one, 5e5, 4e6, 10)
    second = placed(tmp_path / "b.tif", two, 5e5 + 70, 4e6 - 130, 10, nodata="7")
    result = fuser.run([first, second])
    np.testing.assert_array_equal(result.pixels[..., :3], one)
    opacity = result.stack.frames[1].opacity
    assert opacity is not None
    assert opacity[:13].max() == opacity[:, :7].max() == opacity[18:22, 12:16].max() == 0
    assert opacity[13:18, 7:].min() == 255
    assert any("grid of" in note for note in result.report["warnings"])
    far = placed(tmp_path / "c.tif", one, 6e5, 4e6, 10)
    with pytest.raises(FusionError, match="no part of the earth"):
        fuser.run([first, far])


def test_nodata_of_scaled_values_is_left_out(fuser: Fuser, tmp_path: Path) -> None:
    values = scene(0)[..., 0].astype(np.int16) * 9 - 400
    values[:5] = -9999
    paths = [placed(tmp_path / f"{k}.tif", values, 5e5, 4e6, 10, nodata="-9999") for k in range(2)]
    result = fuser.run(paths)
    result.save(tmp_path / "o.tif")
    with tifffile.TiffFile(tmp_path / "o.tif") as file:
        assert 42113 not in file.pages[0].tags  # type: ignore[union-attr]
        assert 33922 in file.pages[0].tags  # type: ignore[union-attr]
        assert (file.asarray()[..., -1] == 0).sum() == 5 * values.shape[1]


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_the_size_of_a_pixel_stays(fuser: Fuser, kind: str, tmp_path: Path) -> None:
    if kind == "imagej":
        options: dict[str, Any] = {"imagej": True, "resolution": (1 / 0.65, 1 / 0.65), "metadata": {"unit": "um"}}
    else:
        sizes = {f"PhysicalSize{a}": 0.65 for a in "XY"} | {f"PhysicalSize{a}Unit": "µm" for a in "XY"}
        options = {"ome": True, "metadata": {"axes": "YX", **sizes}}
    tifffile.imwrite(tmp_path / "a.tif", scene(0, 1)[:, :, 0].astype(np.uint16) * 257, **options)
    frame = read_image(tmp_path / "a.tif")
    assert frame.metadata.pixel_um == pytest.approx((0.65, 0.65))
    path, _ = fused(fuser, tmp_path, "a.tif", "o.tif")
    with tifffile.TiffFile(path) as file:
        assert not file.is_ome
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["unit"] == "micron"
        assert file.pages[0].resolution == pytest.approx((1 / 0.65, 1 / 0.65), rel=1e-3)  # type: ignore[union-attr]
    assert read_image(path).metadata.pixel_um == pytest.approx((0.65, 0.65), rel=1e-3)
    path, _ = fused(fuser, tmp_path, "a.tif", "o.png")
    assert read_image(path).dpi == pytest.approx((25400 / 0.65,) * 2, rel=1e-3)


# Colour


def other_profile() -> bytes:
    """sRGB's curves with wider primaries."""
    block = bytearray(SRGB)
    wide = {b"rXYZ": (0.6097, 0.3111, 0.0195), b"gXYZ": (0.2053, 0.6257, 0.0609), b"bXYZ": (0.1492, 0.0632, 0.7446)}
    for k in range(int.from_bytes(block[128:132], "big")):
        tag, at, _ = struct.unpack_from(">4sII", block, 132 + 12 * k)
        if tag in wide:
            struct.pack_into(">3i", block, at + 8, *[round(v * 65536) for v in wide[tag]])
    return bytes(block)


def test_profiles_become_one() -> None:
    wide = other_profile()
    reference = make_frame(scene(0), name="reference", icc=SRGB)
    eight = make_frame(scene(1), name="eight", icc=wide)
    sixteen = make_frame(scene(1).astype(np.uint16) * 257, name="sixteen", icc=wide)
    floats = make_frame(scene(1).astype(np.float32) / 255, name="floats", icc=wide)
    grey = make_frame(scene(2, 1), name="grey")
    ready = to_one_profile([reference, eight, sixteen, floats, grey], 0)
    assert [f.icc == SRGB for f in ready] == [True, True, True, True, False]
    assert "converted" in ready[1].warnings[0]
    assert ready[0] is reference
    np.testing.assert_array_equal(ready[4].pixels, grey.pixels)
    assert np.abs(ready[1].pixels.astype(int) - eight.pixels).max() > 10  # wide colours grow
    for frame, scale in ((ready[2], 257), (ready[3], 1 / 255)):
        assert np.abs(frame.pixels / scale - ready[1].pixels).max() < 1.5


def test_a_profile_that_is_the_same_or_unusable_changes_no_pixel() -> None:
    plain, tagged = make_frame(scene(0), name="plain"), make_frame(scene(1), name="tagged", icc=SRGB)
    one, two = to_one_profile([plain, tagged], 0)
    np.testing.assert_array_equal(two.pixels, tagged.pixels)
    assert (one.icc, two.icc, two.warnings) == (None, None, ())
    broken = make_frame(scene(1), name="broken", icc=bytes(16) + b"RGB " + bytes(108))
    _, two = to_one_profile([plain, broken], 0)
    assert "cannot be used" in two.warnings[0]
    np.testing.assert_array_equal(two.pixels, broken.pixels)


def grey_profile(gamma: float) -> bytes:
    """A grey profile with a curve."""
    numbers = struct.pack(">3i", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79),
        b"wtpt": b"XYZ \0\0\0\0" + numbers,
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", 128 + len(table + body), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    return (head + bytes(12) + b"acsp" + bytes(28) + numbers).ljust(128, b"\0") + table + body


def test_grey_profiles_become_the_curve_of_the_result() -> None:
    encoded = np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32)
    light = np.rint(decode_srgb(encoded / 255) * 65535).astype(np.uint16)
    linear = make_frame(light, name="linear", icc=grey_profile(1.0))
    for reference in (make_frame(scene(0)[:32, :32], name="colour"), make_frame(encoded, name="grey")):
        _, ready = to_one_profile([reference, linear], 0)
        assert np.abs(ready.pixels[..., 0] / 257 - encoded).max() < 0.6
        assert "curve" in ready.warnings[0]
        assert ready.icc is None
    two = make_frame(np.rint((light / 65535) ** (1 / 1.8) * 65535).astype(np.uint16), name="1.8", icc=grey_profile(1.8))
    _, ready = to_one_profile([linear, two], 0)
    assert np.abs(ready.pixels.astype(int) - linear.pixels).max() < 16
    assert ready.icc == linear.icc
    plain = make_frame(encoded, name="plain")
    assert to_one_profile([linear, plain], 0)[1] is plain


def test_tables_and_curves() -> None:
    axis = np.linspace(0, 1, 33)
    table = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    colours = np.random.default_rng(0).random((50, 3))
    np.testing.assert_allclose(trilinear(table, colours), colours, atol=1e-12)
    profile = ImageCms.ImageCmsProfile(BytesIO(SRGB))
    np.testing.assert_allclose(matrix_of(profile, profile)(colours), colours, atol=1e-3)


def test_a_file_of_another_profile_is_fused_in_the_colours_of_the_reference(fuser: Fuser, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", scene(0), icc=SRGB)
    write_image(tmp_path / "b.png", scene(0), icc=other_profile())
    result = fuser.run([tmp_path / "a.png", tmp_path / "b.png"])
    assert any("converted" in w for w in result.report["warnings"])
    assert result.stack.icc == SRGB
