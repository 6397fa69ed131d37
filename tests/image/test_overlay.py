"""Classes shown in a result: colours, which pixel belongs to which, `--mask-out` for files, several classes, folders,
one image, and all that can't be.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cli.test_cli import fails, run
from conftest import scene, to8, to16
from PIL import Image

from anyfuse import Fuser
from anyfuse.control import CLASSES, COLOURS
from anyfuse.errors import FusionError
from anyfuse.image.overlay import PAINTS, assign_classes, colours_of, paint, paint_classes
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.models.ditfuse.config import DiTFuseConfig
from anyfuse.models.ditfuse.ditfuse import DiTFuse

SMALL = DiTFuseConfig(width=32, layers=2, heads=2, hidden=48, vocabulary=128, guide=4, steps=2, random_codec=True)


def model() -> DiTFuse:
    """Its head takes for cars what is bright in the second source, and for sky the rest."""
    torch.manual_seed(0)
    made = DiTFuse(SMALL).eval()
    head = made.mask_head
    assert head is not None
    torch.nn.init.zeros_(head.unfold.weight)
    sources = torch.from_numpy(np.stack([scene(64, 80, k) for k in (0, 1)])).float()[None, :, None]
    truth = torch.where(sources[:, 1, 0] > 0.5, CLASSES.index("car"), CLASSES.index("sky"))
    optimiser = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(80):
        loss = F.cross_entropy(head(torch.zeros(1, 32, 4, 5), sources), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ditfuse")
    model().save_pretrained(path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """The darker first, as the model gets them."""
    first, second = scene(64, 80, 0), scene(64, 80, 1)
    assert first.mean() < second.mean()
    for name, image in (("a.png", first), ("b.png", second)):
        write_image(tmp_path / name, to8(image))
    return str(tmp_path / "a.png"), str(tmp_path / "b.png")


# ---------------------------------------------------------------------- painting


def test_paint() -> None:
    grey, mask = torch.full((1, 4, 4), 0.5), torch.zeros(4, 4)
    mask[0, 0] = 1
    out = paint(grey, mask)
    assert out[:, 0, 0].tolist() == [0.25, 0.25, 0.75]
    assert (out[:, 1:] == 0.5).all()
    assert paint(grey, mask, "orange", 1.0)[:, 0, 0].tolist() == [1, 0.5, 0]
    assert set(PAINTS) == set(COLOURS)
    with pytest.raises(FusionError, match="unknown colour 'pink'"):
        paint(grey, mask, "pink")


def test_colours_differ_as_long_as_there_are_any() -> None:
    assert colours_of({"car": None}) == {"car": "blue"}
    assert colours_of({"car": None, "sky": "blue"}) == {"car": "red", "sky": "blue"}
    every = colours_of(dict.fromkeys(CLASSES))
    assert len(set(every.values())) == len(PAINTS)
    assert set(colours_of({**dict(zip(CLASSES, PAINTS, strict=False)), "bicyclist": None}).values()) == set(PAINTS)


def test_a_pixel_belongs_to_one_class() -> None:
    a, b = torch.tensor([[0.9, 0.6, 0.4, 0.0]]), torch.tensor([[0.6, 0.9, 0.3, 0.7]])
    found = assign_classes({"car": a, "sky": b})
    assert found["car"].tolist() == [[True, False, False, False]]
    assert found["sky"].tolist() == [[False, True, False, True]]
    assert assign_classes({}) == {}
    image = torch.full((1, 1, 4), 0.5)
    shown = paint_classes(image, found, {"car": "red", "sky": None})
    assert shown[:, 0, 0].tolist() == [0.75, 0.25, 0.25]
    assert shown[:, 0, 2].tolist() == [0.5, 0.5, 0.5]
    assert shown[:, 0, 3].tolist() == [0.25, 0.25, 0.75]
    assert torch.equal(paint_classes(image, {}, {"car": None}), image)


# ---------------------------------------------------------------------- in results


def test_overlay_and_mask_of_a_pair(
    capsys: pytest.CaptureFixture[str], folder: Path, pair: tuple[str, str], tmp_path: Path
) -> None:
    plain, told, mask = tmp_path / "plain.png", tmp_path / "told.png", tmp_path / "new" / "cars.png"
    bright = ["--model", folder, "-q", "--say"]
    assert run(capsys, "fuse", *pair, "-o", plain, *bright, "brighter")[0] == 0
    instruction = "brighter, and highlight the cars in red"
    report = tmp_path / "r.json"
    code, _, _ = run(capsys, "fuse", *pair, "-o", told, *bright, instruction, "--mask-out", mask, "--report", report)
    assert code == 0
    where = np.asarray(Image.open(mask))
    assert Image.open(mask).mode == "L"
    assert where.shape == (64, 80)
    assert set(np.unique(where)) == {0, 255}
    truth = np.asarray(Image.open(pair[1])) > 127
    assert ((where == 255) == truth).mean() > 0.9
    before, after = np.asarray(Image.open(plain)).astype(float), np.asarray(Image.open(told)).astype(float)
    assert after.shape == (64, 80, 3)
    expected = np.where(where[..., None] == 255, 0.5 * before[..., None] + (127.5, 0, 0), before[..., None])
    assert np.abs(after - expected).max() <= 1
    content = json.loads(report.read_text())
    assert content["shown"]["car"] == {"colour": "red", "share": pytest.approx((where == 255).mean(), abs=1e-3)}
    assert content["masks"] == [str(mask)]
    assert "already" in fails(capsys, "fuse", *pair, "-o", tmp_path / "x.png", *bright, instruction, "--mask-out", mask)


def test_several_classes(
    capsys: pytest.CaptureFixture[str], folder: Path, pair: tuple[str, str], tmp_path: Path
) -> None:
    instruction = ["--model", folder, "--say", "show the cars, the sky and the road", "--mask-out", tmp_path / "m.png"]
    code, _, err = run(capsys, "fuse", *pair, "-o", tmp_path / "f.png", *instruction)
    assert code == 0
    found = {name: np.asarray(Image.open(tmp_path / f"m-{name}.png")) for name in ("car", "sky", "road")}
    assert not (tmp_path / "m.png").exists()
    assert not ((found["car"] == 255) & (found["sky"] == 255)).any()
    assert (found["car"] == 255).any()
    assert (found["sky"] == 255).any()
    assert "note: no road is found" in err


def test_one_image_keeps_its_pixels(
    capsys: pytest.CaptureFixture[str], folder: Path, pair: tuple[str, str], tmp_path: Path
) -> None:
    colour = scene(50, 70, 3, channels=3)
    write_image(tmp_path / "one.tif", to16(colour))
    out, mask = tmp_path / "f.tif", tmp_path / "m.png"
    call = ["fuse", tmp_path / "one.tif", "-o", out, "--model", folder, "--mask-out", mask]
    code, text, _ = run(capsys, *call, "--say", "show me the cars", "--report", tmp_path / "r.json")
    assert code == 0
    assert "1 image," in text
    pixels, where = read_image(out).pixels.astype(int), np.asarray(Image.open(mask)) == 255
    assert pixels.shape == (50, 70, 3)
    assert 0 < where.mean() < 1
    assert np.abs(pixels - to16(colour))[~where].max() <= 1
    assert np.abs(pixels[where] - (to16(colour)[where] * 0.5 + (0, 0, 32767.5))).max() <= 2
    report = json.loads((tmp_path / "r.json").read_text())
    assert len(report["inputs"]) == len(report["order"]) == 1
    run(capsys, *call, "--say", "much darker, show me the cars", "--overwrite")
    assert np.abs(read_image(out).pixels.astype(int) - to16(colour))[~where].max() > 100  # the network's own
    assert "at least two images" in fails(
        capsys, "fuse", pair[0], "-o", tmp_path / "g.png", "--model", folder, "--say", "brighter"
    )


def test_folders(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    for index in range(2):
        for name in ("a", "b"):
            write_image(tmp_path / name / f"{index}.png", to8(scene(32, 48, 10 * index + len(name))))
    call = ["fuse", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out", "--model", folder, "-q", "--say"]
    assert run(capsys, *call, "highlight the cars", "--mask-out", tmp_path / "masks")[0] == 0
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["0.png", "1.png"]
    assert Image.open(tmp_path / "masks" / "0.png").size == (48, 32)
    several = [*call, "highlight cars and roads", "--overwrite", "--mask-out", tmp_path / "more", "--jobs", 2]
    assert run(capsys, *several)[0] == 0
    assert sorted(p.name for p in (tmp_path / "more").iterdir()) == [
        "0-car.png",
        "0-road.png",
        "1-car.png",
        "1-road.png",
    ]
    one = ["fuse", tmp_path / "a", "-o", tmp_path / "single", "--model", folder, "-q", "--mask-out", tmp_path / "ones"]
    assert run(capsys, *one, "--say", "highlight the cars")[0] == 0
    assert len(list((tmp_path / "ones").iterdir())) == len(list((tmp_path / "single").iterdir())) == 2
    assert "two or more folders" in fails(capsys, *one)
    for place, message in (("out", "another folder"), ("a", "another folder"), ("a/0.png", "is a file")):
        assert message in fails(capsys, *call, "show cars", "--overwrite", "--mask-out", tmp_path / place)


def test_what_cannot_be(
    capsys: pytest.CaptureFixture[str], folder: Path, pair: tuple[str, str], tmp_path: Path
) -> None:
    out, mask = tmp_path / "f.png", tmp_path / "m.png"
    call = ["fuse", *pair, "-o", out, "--mask-out", mask, "--model"]
    for instruction in ([], ["--say", "brighter"]):
        text = fails(capsys, *call, folder, *instruction)
        assert "needs a class to segment" in text
        assert "sky, building, pole" in text
    text = fails(capsys, *call, folder, "--say", "[SEG] zebra")
    assert "unknown class 'zebra': known are sky, building" in text
    assert "bicyclist" in fails(capsys, *call, folder, "--say", "highlight the zebras")
    text = fails(capsys, *call, "anyfuse", "--say", "highlight the cars")
    assert "gives no masks" in text
    assert "ditfuse-tiny" in text
    text = fails(capsys, "fuse", *pair, "-o", out, "--model", "anyfuse", "--say", "highlight the cars")
    assert "ditfuse" in text
    call[call.index(mask)] = out
    assert "name of a mask" in fails(capsys, *call, folder, "--say", "show cars")
    call[call.index(out, 5)] = tmp_path / "m.jpg"
    assert "ends in .png" in fails(capsys, *call, folder, "--say", "show cars")
    call[call.index(tmp_path / "m.jpg")] = pair[0]
    assert "input" in fails(capsys, *call, folder, "--say", "show cars", "--overwrite")
    assert not out.exists()


def test_in_python() -> None:
    fuser = Fuser(model())
    grey = [torch.from_numpy(scene(64, 80, k)).float()[None] for k in (0, 1)]
    result = fuser.run(grey, say="show the cars in green")
    assert list(result.masks) == ["car"]
    assert result.fused is result
    assert result.masks["car"].dtype == np.uint8
    assert result.pixels.shape == (64, 80, 3)
    where = result.masks["car"] == 255
    assert (result.pixels[where][:, 1] > result.pixels[where][:, 0]).all()
    assert np.ptp(result.pixels[~where], axis=1).max() < 1e-6
    assert fuser(grey, say="show the cars").shape == (3, 64, 80)
    assert fuser(grey).shape == (1, 64, 80)
    assert fuser.run(grey).masks == {}
    with pytest.raises(FusionError, match="needs a class"):
        fuser.run(grey).save_masks("m.png")
    same = Fuser(model()).run([grey[0]], say="show the cars")
    assert same.masks["car"].shape == (64, 80)
