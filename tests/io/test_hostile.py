"""Hostile files are refused in one line, quickly and within a bounded memory; honest ones are not."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import hostile
import numpy as np
import pytest
import tifffile
from conftest import scene, to8
from PIL import Image

from anyfuse.errors import FusionError
from anyfuse.io.limits import MAX_ICC
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image


def refusal(path: str | Path) -> str:
    with pytest.raises(FusionError) as caught:
        read_image(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", hostile.FILES)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    data, part = hostile.FILES[name]
    path = tmp_path / "x.img"
    path.write_bytes(data)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert part in refusal(path)
    assert time.perf_counter() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024, "KiB more than before"


def test_profile_that_inflates_without_end(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(hostile.icc_bomb())
    assert f"over {MAX_ICC >> 20} MiB" in refusal(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(hostile.icc_bomb(1 << 20))
    assert read_image(tmp_path / "b.png").width == 8


def test_profile_of_another_type_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(hostile.grey_tiff((34675, 3, 1, 7)))
    assert read_image(tmp_path / "a.tif").icc is None


@pytest.mark.parametrize("suffix", [".null", ".exr", ".term", "", ".jpg"])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_the_content_decides_on_the_reader(suffix: str, kind: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"a.{kind}", to8(scene(20, 30)))
    os.rename(tmp_path / f"a.{kind}", tmp_path / f"a{suffix}")
    frame = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(frame.pixels[..., 0], to8(scene(20, 30)))


@pytest.mark.parametrize("kind", ["png", "tif", "jpg"])
def test_names_that_are_no_text(kind: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"a.{kind}", to8(scene(20, 30)))
    name = os.fsdecode(os.fsencode(tmp_path) + b"/b\xff\xe9." + kind.encode())
    os.rename(tmp_path / f"a.{kind}", name)
    assert read_image(name).height == 20


def test_pipes_sockets_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "is a pipe" in refusal(tmp_path / "pipe.png")
    assert "is a device" in refusal("/dev/zero")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(str(tmp_path / "plug"))
        assert "is a socket" in refusal(tmp_path / "plug")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        code = "import os; from anyfuse.io.read import read_image; os.setuid(65534); read_image('{}')"
        write_image(tmp_path / "a.png", to8(scene(20, 30)))
        os.chmod(tmp_path / "a.png", 0)
        for folder in (tmp_path, *tmp_path.parents[:2]):
            os.chmod(folder, 0o755)
        done = subprocess.run(
            [sys.executable, "-c", code.format(tmp_path / "a.png")], capture_output=True, text=True, check=False
        )
        assert "Permission denied" in done.stderr
        assert "save or download" not in done.stderr


@pytest.mark.parametrize("tag", [254, 274])
@pytest.mark.parametrize("value", ["abcd", "9"])
def test_numbers_of_a_tiff_that_are_words(tag: int, value: str, tmp_path: Path) -> None:
    """Found by the fuzzer: an orientation in letters was a traceback. Without a number it counts as missing."""
    image = to8(scene(20, 30))
    tifffile.imwrite(tmp_path / "a.tif", image, extratags=[(tag, "s", 0, value, True)])
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels[:, :, 0], image)


def test_libraries_add_no_lines(tmp_path: Path) -> None:
    data = bytearray(hostile.png(64, 64))
    at = data.index(b"IDAT")
    body = b"\x01" + bytes(data[at + 5 : -16])  # deflated data that begins wrongly, with a checksum that is right
    data = data[: at - 4] + hostile.chunk(b"IDAT", body) + data[-12:]
    (tmp_path / "a.png").write_bytes(data)
    write_image(tmp_path / "b.png", to8(scene(64, 64)))
    call = [sys.executable, "-m", "anyfuse", "fuse", "a.png", "b.png", "-o", "f.png"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("anyfuse: a.png: ")
    assert done.stderr.count("\n") == 1


def test_honest_files_are_within_the_budgets(tmp_path: Path) -> None:
    """Flat pictures compress best: the largest honest claims."""
    flat = np.zeros((3000, 4000), np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.png")
    Image.fromarray(flat).convert("1").save(tmp_path / "b.png")
    Image.fromarray(flat).save(tmp_path / "c.jpg", quality=5, progressive=True, optimize=True)
    Image.fromarray(flat).save(tmp_path / "d.webp", lossless=True)
    for index, compression in enumerate(("zlib", "lzw", "packbits", "lzma", "zstd", "none")):
        if compression in ("zlib", "lzw", "packbits"):
            Image.fromarray(flat).save(
                tmp_path / f"e{index}.tif",
                compression={"zlib": "tiff_adobe_deflate", "lzw": "tiff_lzw"}.get(compression, compression),
            )
    Image.fromarray(flat).convert("1").save(tmp_path / "f.tif", compression="group4")
    tifffile.imwrite(tmp_path / "g.tif", flat.astype(np.uint16))
    Image.fromarray(flat).save(tmp_path / "h.bmp")
    for path in sorted(tmp_path.iterdir()):
        assert (read_image(path).height, read_image(path).width) == flat.shape, path.name
