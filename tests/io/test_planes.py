"""TIFF files of microscopes: channels, slices and times, and stacks that have one directory."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from anyfuse.errors import FusionError
from anyfuse.io.frames import read_frames
from anyfuse.io.read import count_pages, read_image
from anyfuse.io.readers.planes import layout_of


def volume(*shape: int) -> np.ndarray:
    """uint16 planes (..., 12, 16) whose level says which plane they are."""
    places = np.arange(int(np.prod(shape))).reshape(*shape, 1, 1)
    return (20000 + 1000 * places + np.arange(16)).astype(np.uint16) + np.zeros((12, 1), np.uint16)


def levels(frames: Any) -> list[int]:
    """Which planes the frames are."""
    return [(int(frame.pixels[0, 0, 0]) - 20000) // 1000 for frame in frames]


@pytest.mark.parametrize(
    ("axes", "shape", "wanted", "note"),
    [
        ("ZYX", (4,), [0, 1, 2, 3], ""),
        ("CYX", (3,), [0, 1, 2], ""),
        ("CZYX", (2, 4), [0, 1, 2, 3], "[0:4] are fused, those of the next channel are {}[4:8]"),
        ("ZCYX", (4, 2), [0, 2, 4, 6], "[0:7:2] are fused, those of the next channel are {}[1:8:2]"),
        ("TZCYX", (2, 3, 2), [0, 2, 4], "2 channels x 2 times x 3 slices"),
        ("TCYX", (3, 2), [0, 1], "the channels [0:2] are fused, those of the next time are {}[2:4]"),
    ],
)
@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_slices_of_one_channel_are_a_stack(
    kind: str, axes: str, shape: tuple[int, ...], wanted: list[int], note: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    if kind == "imagej" and axes == "CZYX":
        return  # ImageJ has no such order
    tifffile.imwrite(path, volume(*shape), metadata={"axes": axes}, photometric="minisblack", **{kind: True})
    frames = read_frames([path])
    assert levels(frames) == wanted
    assert note.format(path) in frames[0].warnings[0] if note else not any("fused" in w for w in frames[0].warnings)
    count = int(np.prod(shape))
    assert levels(read_frames([path], pages=":")) == list(range(count))  # who chooses gets what he names
    assert levels([read_image(f"{path}[{count - 1}]")]) == [count - 1]


def test_colours_of_a_page_are_no_channels(tmp_path: Path) -> None:
    stack = np.repeat(volume(3)[..., None], 3, -1)
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "ZYXS"}, photometric="rgb", ome=True)
    assert levels(read_frames([tmp_path / "a.ome.tif"])) == [0, 1, 2]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_stack_of_imagej_with_one_directory(order: Any, dtype: str, tmp_path: Path) -> None:
    """ImageJ writes stacks of over 4 GB so."""
    stack = (np.random.default_rng(0).random((4, 12, 16)) * (1 if dtype == "float32" else 255)).astype(dtype)
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {} if order == ">" else {"byteorder": "<"}
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"}, **options)
    data = bytearray(path.read_bytes())
    mark = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(mark + "I", data, 4)
    (entries,) = struct.unpack_from(mark + "H", data, at)
    struct.pack_into(mark + "I", data, at + 2 + 12 * entries, 0)
    path.write_bytes(data)
    assert count_pages(path) == 4
    frames = read_frames([path], range="none")
    assert len(frames) == 4
    for frame, plane in zip(frames, stack, strict=True):
        np.testing.assert_array_equal(frame.pixels[:, :, 0], plane)
    path.write_bytes(data[: len(data) // 2])  # it cannot hold what it claims
    assert count_pages(path) == 1
    with pytest.raises(FusionError, match="has no 3"):
        read_image(f"{path}[3]")


def test_the_size_of_a_pixel_holds_for_every_page(tmp_path: Path) -> None:
    sizes = {f"PhysicalSize{axis}": 0.5 for axis in "XY"}
    tifffile.imwrite(tmp_path / "a.ome.tif", volume(3), metadata={"axes": "ZYX", **sizes}, ome=True)
    assert read_image(f"{tmp_path / 'a.ome.tif'}[2]").metadata.pixel_um == (0.5, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ImageJ=1.5\nimages=8\nchannels=2\nslices=3\n",
        "ImageJ=1.5\nchannels=x\nslices=4\n",
        '<OME><Pixels DimensionOrder="XYCZT" SizeC="2" SizeZ="5" SizeT="1"/></OME>',
        '<OME><Pixels DimensionOrder="XYQQQ" SizeC="2" SizeZ="4" SizeT="1"/></OME>',
        '<OME><Pixels SizeC="-2" SizeZ="4" SizeT="1"/></OME>',
    ],
)
def test_descriptions_that_do_not_fit(text: str) -> None:
    assert layout_of(text, 8, 1) is None
