"""Radiometric JPEG: temperatures of FLIR files, counts of DJI files."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyfuse.errors import FusionError
from anyfuse.io.frames import read_frames
from anyfuse.io.read import read_image, read_rasters
from anyfuse.io.readers.thermal import Planck

CAMERA = Planck(r1=21106.77, b=1501.0, f=1.0, o=-7340.0, r2=0.012545258)
FIELDS = {0x20: 1.0, 0x24: 0.0, 0x28: 293.15, 0x2C: 293.15, 0x3C: 0.0, 0x58: CAMERA.r1, 0x5C: CAMERA.b, 0x60: 1.0}
FIELDS |= {0x80: 1.0, 0x30C: CAMERA.r2}


def celsius(height: int = 60, width: int = 80) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return 20 + 12 * np.sin(x / 9) * np.cos(y / 8) + x / 20


def counts() -> np.ndarray:
    return np.rint(CAMERA.counts(celsius() + 273.15)).astype(np.uint16)


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8))


def fff(
    body: bytes,
    *,
    camera: bool = True,
    photo: bool | Image.Image = False,
    inset: tuple[float, int, int] | None = None,
    order: str = "<",
) -> bytes:
    """An FFF file: thermal data, the camera's constants, a photograph, and how the one lies in the other."""
    records = [(1, struct.pack(order + "HHH", 2, 80, 60).ljust(32, b"\0") + body)]
    if camera:
        block = bytearray(0x400)
        struct.pack_into(order + "H", block, 0, 2)
        for at, value in FIELDS.items():
            struct.pack_into(order + "f", block, at, value)
        struct.pack_into(order + "i", block, 0x308, int(CAMERA.o))
        records.append((0x20, bytes(block)))
    if photo is not False:
        buffer = BytesIO()
        (picture() if photo is True else photo).save(buffer, "PNG")
        records.append((0x0E, struct.pack(order + "HHH", 3, 80, 60).ljust(32, b"\0") + buffer.getvalue()))
    if inset is not None:
        records.append((0x2A, struct.pack(order + "fhh", *inset).ljust(32, b"\0")))
    table, data, start = b"", b"", 64 + 32 * len(records)
    for k, (kind, record) in enumerate(records):
        table += struct.pack(">HHIIII", kind, 0, 100, k, start + len(data), len(record)).ljust(32, b"\0")
        data += record
    head = b"FFF\0" + b"camera".ljust(16, b"\0") + struct.pack(">III", 101, 64, len(records))
    return head.ljust(64, b"\0") + table + data


def jpeg(path: Path, segments: list[bytes], marker: int = 0xE1, **options: Any) -> Path:
    buffer = BytesIO()
    picture().save(buffer, "JPEG", **options)
    whole = buffer.getvalue()
    at = 2
    while 0xE0 <= whole[at + 1] <= 0xEF:
        at += 2 + struct.unpack_from(">H", whole, at + 2)[0]
    more = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(s) + 2) + s for s in segments)
    path.write_bytes(whole[:at] + more + whole[at:])
    return path


def flir(path: Path, data: bytes, size: int = 4000) -> Path:
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return jpeg(path, [b"FLIR\0\1" + bytes([k, len(parts) - 1]) + part for k, part in enumerate(parts)])


def png(values: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["raw", "png", "swapped png"])
def test_temperatures_of_flir_files(kind: str, order: str, tmp_path: Path) -> None:
    body = {
        "raw": counts().astype(f"{order}u2").tobytes(),
        "png": png(counts()),
        "swapped png": png(counts().byteswap()),
    }[kind]
    path = flir(tmp_path / "a.jpg", fff(body, order=order))
    raster = read_rasters(path)[0]
    assert raster.unit == "°C"
    np.testing.assert_allclose(raster.pixels, celsius(), atol=0.05)
    (frame,) = read_frames([path])
    assert frame.is_grey
    assert frame.scaling is not None
    assert frame.scaling.unit == "°C"
    assert (frame.scaling.black, frame.scaling.white) == pytest.approx((celsius().min(), celsius().max()), abs=0.1)
    assert any("emissivity" in w for w in frame.warnings)


def test_air_and_emissivity_are_part_of_the_temperature() -> None:
    """Against the equation worked through by hand: half of the light is the object's."""
    camera = Planck(CAMERA.r1, CAMERA.b, CAMERA.f, CAMERA.o, CAMERA.r2, emissivity=0.5, reflected=300.0)
    seen = 0.5 * (CAMERA.counts(350.0) - CAMERA.o * 0) + 0.5 * CAMERA.counts(300.0)
    assert float(camera.celsius(np.array([seen]))[0]) == pytest.approx(350.0 - 273.15, abs=0.01)
    near = Planck(CAMERA.r1, CAMERA.b, CAMERA.f, CAMERA.o, CAMERA.r2, distance=0.0, alpha=(0.0066, 0.0126))
    assert float(near.celsius(np.array([CAMERA.counts(310.0)]))[0]) == pytest.approx(310 - 273.15, abs=0.01)


def test_planes_of_a_radiometric_file(tmp_path: Path) -> None:
    path = flir(tmp_path / "a.jpg", fff(png(counts()), photo=True))
    names = [r.name for r in read_rasters(path, "0:3")]
    assert names == [f"{path}[{k}]" for k in range(3)]
    np.testing.assert_array_equal(read_image(f"{path}[1]").pixels, np.asarray(picture()))
    assert read_image(f"{path}[2]").channels == 3
    assert any("photograph" in w and "--pages 0,1" in w for w in read_image(path).warnings)


def test_counts_without_constants(tmp_path: Path) -> None:
    raster = read_rasters(flir(tmp_path / "a.jpg", fff(png(counts()), camera=False)))[0]
    assert raster.unit == "counts"
    np.testing.assert_array_equal(raster.pixels, counts())


def test_damaged_thermal_data_are_one_line(tmp_path: Path) -> None:
    whole = fff(png(counts()))
    for data in (whole[:100], b"FFX" + whole[3:], whole[:64] + bytes(200) + whole[264:], whole[:800]):
        with pytest.raises(FusionError, match=r"a\.jpg.*thermal data"):
            read_image(flir(tmp_path / "a.jpg", data))
    with pytest.raises(FusionError, match="incomplete"):
        read_image(jpeg(tmp_path / "a.jpg", [b"FLIR\0\1\0\2" + whole]))


def test_counts_of_dji_files(tmp_path: Path) -> None:
    block = Image.Exif()
    block[271] = "DJI"
    block[274] = 1
    data = counts().astype("<u2").tobytes()
    parts = [data[i : i + 3000] for i in range(0, len(data), 3000)]
    path = jpeg(tmp_path / "a.jpg", parts, 0xE3, exif=block.tobytes())
    raster = read_rasters(path)[0]
    np.testing.assert_array_equal(raster.pixels, counts())
    assert raster.exif is not None
    assert any("DJI" in w for w in raster.warnings)
    plain = jpeg(tmp_path / "b.jpg", parts, 0xE3)  # of another maker: what APP3 means is not known
    assert read_image(plain).channels == 3
