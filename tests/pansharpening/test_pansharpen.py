"""Panchromatic and multispectral images, from files to files: who is taken for a pair, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from conftest import scene, to8, to16

import anyfuse
from anyfuse import Fuser
from anyfuse.cli.main import main
from anyfuse.errors import FusionError
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.metrics.spectral import ergas
from anyfuse.pansharpening import METHODS, pansharpen
from anyfuse.pansharpening.detail import Coarse, Pair
from anyfuse.pansharpening.grid import Grid
from anyfuse.pansharpening.register import registered
from anyfuse.pansharpening.wald import Example, reduced

SHARPER = [name for name in METHODS if name != "bicubic"]


def ground(count: int, height: int = 96, width: int = 120, seed: int = 0) -> np.ndarray:
    """(H, W, count) in [0, 1]: fields and things that all bands show, each in its own brightness."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 5, (height // 7 + 1, width // 9 + 1)).repeat(7, 0).repeat(9, 1)[:height, :width]
    colours = np.linspace(0.15, 0.6, 5)[:, None] * rng.uniform(0.75, 1.25, (5, count))
    texture = 0.7 + 0.6 * scene(height, width, seed)
    return (colours[cells] * texture[:, :, None]).clip(0.02, 0.98)


def example(count: int = 4, ratio: int = 4, kind: str = "uint16", **size: int) -> Example:
    values = ground(count, **size)
    scaled = {"uint8": to8, "uint16": lambda x: to16(x / 16), "int16": lambda x: (x * 9000 - 2000).astype(np.int16)}
    return reduced(scaled.get(kind, lambda x: x.astype(np.float32))(values), ratio)


def written(folder: Path, made: Example, **tags: Any) -> tuple[str, str]:
    """The pair as files of another program."""
    pan, ms = folder / "pan.tif", folder / "ms.tif"
    tifffile.imwrite(pan, made.pan)
    tifffile.imwrite(ms, made.ms, photometric="minisblack", planarconfig="contig", **tags)
    return str(pan), str(ms)


def error(result: np.ndarray, made: Example, ratio: int = 4) -> float:
    a, b = (torch.from_numpy(np.moveaxis(x, 2, 0)[None].astype(np.float64)) for x in (result, made.reference))
    return float(ergas(a, b, ratio))


@pytest.fixture(scope="module")
def fusers() -> dict[str, Fuser]:
    return {name: Fuser(name, device="cpu") for name in (*METHODS, "anyfuse")}


@pytest.mark.parametrize(
    ("count", "ratio", "kind"),
    [(3, 2, "uint8"), (4, 4, "uint8"), (4, 3, "uint16"), (8, 4, "int16"), (5, 6, "float32")],
)
def test_size_of_one_and_bands_of_the_other(
    count: int, ratio: int, kind: str, tmp_path: Path, fusers: dict[str, Fuser]
) -> None:
    made = example(count, ratio, kind)
    out = {name: fuser.run(written(tmp_path, made)) for name, fuser in fusers.items()}
    for name, result in out.items():
        assert result.pixels.shape == made.reference.shape, name
        assert result.pixels.dtype == made.ms.dtype
        assert result.report["pansharpened"]["ratio"] == ratio
        assert result.report["channels"] == count
        assert any("taken for a panchromatic" in note for note in result.report["warnings"])
    result.save(tmp_path / "out.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), result.pixels)
    if kind != "int16":  # whose means are near 0
        plain = error(out.pop("bicubic").pixels, made, ratio)
        for name, result in out.items():
            assert error(result.pixels, made, ratio) < 0.8 * plain, name


@pytest.mark.parametrize("method", SHARPER)
def test_bands_that_the_panchromatic_image_explains_come_back(method: str) -> None:
    """Each band is a multiple of it: then there is one right answer, and it is exact."""
    grey = ground(1, seed=3)[:, :, 0].astype(np.float32)
    shares = np.array([0.5, 1.0, 1.7], np.float32)
    grid = Grid(grey.shape, (24, 30), 4)
    ms = grid.reduce(grey, 0.3)[:, :, None] * shares
    assert pansharpen(grey, ms, method) == pytest.approx(grey[:, :, None] * shares, abs=2e-4)


def test_a_gain_for_each_band() -> None:
    made = example(4)
    one, same = pansharpen(made.pan, made.ms, "mtf-glp"), pansharpen(made.pan, made.ms, "mtf-glp", nyquist=[0.3] * 4)
    assert np.array_equal(one, same)
    mixed = pansharpen(made.pan, made.ms, "mtf-glp", nyquist=[0.3, 0.3, 0.3, 0.15])
    assert np.array_equal(mixed[:, :, :3], one[:, :, :3])
    assert not np.array_equal(mixed[:, :, 3], one[:, :, 3])
    with pytest.raises(FusionError, match="nyquist"):
        pansharpen(made.pan, made.ms, nyquist=[0.3, 0.2])


def test_order_and_arrays(tmp_path: Path) -> None:
    made = example(8)
    pan, ms = written(tmp_path, made)
    right = pansharpen(made.pan, made.ms, "gsa")
    assert np.array_equal(anyfuse.fuse([ms, pan], model="gsa"), right)
    assert np.array_equal(anyfuse.fuse([made.pan, made.ms], model="gsa"), right)
    assert anyfuse.fuse([made.pan, made.ms], out=tmp_path / "a.tif") == tmp_path / "a.tif"
    assert tifffile.imread(tmp_path / "a.tif").shape == made.reference.shape


def test_planes_apart_and_three_bands_in_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = example(8)
    pan, ms = written(tmp_path, made)
    tifffile.imwrite(
        ms, np.moveaxis(made.ms, 2, 0), photometric="minisblack", planarconfig="separate", compression="zlib"
    )
    assert np.array_equal(Fuser("gsa").run([pan, ms]).pixels, pansharpen(made.pan, made.ms, "gsa"))
    made = example(3, kind="uint8")
    for name, pixels in (("p.png", made.pan), ("m.png", made.ms)):
        write_image(tmp_path / name, pixels)
    with pytest.raises(SystemExit) as stop:
        main(["fuse", str(tmp_path / "p.png"), str(tmp_path / "m.png"), "-o", str(tmp_path / "o.png"), "--quiet"])
    assert stop.value.code in (0, None)
    assert "taken for a panchromatic" in capsys.readouterr().err
    assert read_image(tmp_path / "o.png").pixels.shape == made.reference.shape


def test_other_pairs_stay_what_they_are(tmp_path: Path) -> None:
    """A grey image of another kind beside a smaller photograph, false colours, a small grey one beside a photograph."""
    photo = to8(np.stack([scene(48, 60, seed) for seed in (1, 2, 3)], -1))
    for name, big, small in (
        ("another kind", to8(scene(96, 120, 9)), photo),
        ("small and grey", to8(np.stack([scene(96, 120, s) for s in (1, 2, 3)], -1)), photo[:, :, 0]),
    ):
        write_image(tmp_path / "a.png", big, overwrite=True)
        write_image(tmp_path / "b.png", small, overwrite=True)
        result = Fuser("average").run([tmp_path / "a.png", tmp_path / "b.png"], resize=True)
        assert "pansharpened" not in result.report, name
        assert not result.is_bands


def geo(size: float, left: float, top: float, nodata: str | None = None) -> list[Any]:
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32632)
    tags = [(33550, "d", 3, (size, size, 0.0), True), (33922, "d", 6, (0, 0, 0, left, top, 0), True)]
    return [*tags, (34735, "H", len(keys), keys, True), *([] if nodata is None else [(42113, "s", 0, nodata, True)])]


def test_georeference(tmp_path: Path, fusers: dict[str, Fuser]) -> None:
    """Extents differ by part of a pixel, and some bands have no value: both lie where they belong."""
    whole = example(4, height=128, width=160)
    ms = whole.ms.copy()
    ms[20:, 30:] = 0
    pan = whole.pan[6:118, 3:143]  # 112 x 140: cut by no whole pixels of the bands
    tifffile.imwrite(tmp_path / "p.tif", pan, extratags=geo(0.5, 1000 + 1.5, 5000 - 3))
    tifffile.imwrite(
        tmp_path / "m.tif", ms, photometric="minisblack", planarconfig="contig", extratags=geo(2.0, 1000, 5000, "0")
    )
    result = fusers["mtf-glp"].run([tmp_path / "p.tif", tmp_path / "m.tif"])
    facts = result.report["pansharpened"]
    assert facts["by"] == "georeference"
    assert facts["corner"] == [-6.0, -3.0]
    part = slice(0, 60), slice(0, 100)
    truth = whole.reference[6:118, 3:143][part]
    assert error(result.pixels[part], Example(pan, ms, truth)) < 1.6
    assert (result.pixels[80:, 125:] == 0).all()  # no value there
    assert (result.pixels[part] > 0).all()
    result.save(tmp_path / "o.tif")
    with tifffile.TiffFile(tmp_path / "o.tif") as file:
        tags = file.pages[0].tags
        assert tags[33922].value[3:5] == (1001.5, 4997.0)
        assert tags[33550].value[:2] == (0.5, 0.5)
        assert tags[42113].value == "0"
        assert tags[262].value == 1
        assert tags[338].value == (0, 0, 0)


def test_a_shift_is_found_and_said(fusers: dict[str, Fuser]) -> None:
    whole = example(5, height=160, width=200)
    pan = whole.pan[5:, 3:][:144, :176]
    ms = whole.ms[:36, :44]
    result = fusers["gsa"].run([pan, ms])
    assert result.report["pansharpened"]["corner"] == pytest.approx([-5, -3], abs=0.5)
    assert any("--align none" in note for note in result.report["warnings"])
    still = fusers["gsa"].run([pan, ms], align="none")
    assert still.report["pansharpened"]["corner"] == [0.0, 0.0]
    pair = Pair(whole.pan, whole.ms, Grid(whole.pan.shape, whole.ms.shape[:2], 4))
    assert registered(pair)[0] is pair


def test_not_a_number_is_no_value(fusers: dict[str, Fuser]) -> None:
    made = example(5, kind="float32")
    ms = made.ms.copy()
    ms[:6, :6] = np.nan
    result = fusers["gsa"].run([made.pan, ms])
    lost = np.isnan(result.pixels).all(axis=2)
    assert lost[:24, :24].all()
    assert not lost[25:, 25:].any()
    assert Coarse.of(Pair(made.pan, made.ms, Grid(made.pan.shape, made.ms.shape[:2], 4))).regression()[1] > 0.9


def test_refusals_are_one_line(tmp_path: Path, fusers: dict[str, Fuser]) -> None:
    made = example(8)
    pan, ms = written(tmp_path, made)
    small = made.ms[:-3, :-7]
    grey = to8(scene(24, 30))
    cases = [
        ("anyfuse", [made.pan, small], "no whole multiple"),
        ("gsa", [made.pan, small], "gsa: .*no whole multiple"),
        ("gsa", [to8(scene(96, 120)), grey], "1 band; 3 or more are needed"),
        ("gsa", [made.ms, made.ms], "has to be grey"),
        ("brovey", [pan, ms, pan], "got 3"),
        ("brovey", [made.pan, np.stack([made.pan] * 5, -1)], "same size"),
        ("mtf-glp", [str(tmp_path / "none.tif"), ms], "no such file"),
    ]
    for name, images, text in cases:
        with pytest.raises(FusionError, match=text) as caught:
            fusers[name].run(images)
        assert "\n" not in str(caught.value)
    with pytest.raises(FusionError, match="cannot hold 8 bands"):
        fusers["gsa"].run([pan, ms]).save(tmp_path / "a.png")
    with pytest.raises(FusionError, match="takes no"):
        fusers["gsa"].run([pan, ms], say="brighter")
    with pytest.raises(FusionError, match="did you mean gsa"):
        Fuser("gsaa")


def test_pairs_by_command_and_their_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        values = to8(ground(4, seed=index))
        write_image(tmp_path / "rgb" / f"{index}.png", values[:, :, :3])
        write_image(tmp_path / "nir" / f"{index}.png", values[:, :, 3])
    call = [
        "data",
        "reduce",
        str(tmp_path / "rgb"),
        str(tmp_path / "nir"),
        "-o",
        str(tmp_path / "pairs"),
        "--ratio",
        "2",
    ]
    bench = ["bench", "--section", "pansharpening", "--data", str(tmp_path / "pairs"), "-o", str(tmp_path / "out")]
    for line in (call, [*bench, "--models", "bicubic,mtf-glp"]):
        with pytest.raises(SystemExit) as stop:
            main(line)
        assert stop.value.code in (0, None), capsys.readouterr().err
    assert tifffile.imread(tmp_path / "pairs" / "ms" / "1.tif").shape == (48, 60, 4)
    text = (tmp_path / "out" / "pansharpening.md").read_text()
    files = [tmp_path / "out" / f"pansharpening-{label}.jsonl" for label in ("bicubic", "mtf-glp")]
    rows = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    assert [row["name"] for row in rows[1]] == ["0", "1"]
    assert all(b["ergas"] < a["ergas"] and b["q2n"] > a["q2n"] for a, b in zip(*rows, strict=True))
    assert "| mtf-glp | " in text


def test_a_real_panchromatic_image_is_reduced_too() -> None:
    made = example(4)
    again = reduced(made.ms, 2, pan=made.pan)
    assert again.pan.shape == made.ms.shape[:2]
    assert again.ms.shape == (12, 15, 4)
    assert np.array_equal(again.reference, made.ms)
    with pytest.raises(FusionError, match="cannot be reduced"):
        reduced(made.ms, 9)
    with pytest.raises(FusionError, match="one band has its own detail already"):
        reduced(made.ms[:, :, :1], 2)
    assert reduced(made.ms[:, :, :1], 2, pan=made.pan).reference.shape == (*made.ms.shape[:2], 1)
