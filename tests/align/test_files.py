"""Transforms, points and aligned images in files, and the command that writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from anyfuse import FusionError
from anyfuse.align.files import read_points, read_transforms
from anyfuse.align.stage import Align, align_frames
from anyfuse.align.transform import apply
from anyfuse.cli.main import main
from anyfuse.io.frames import from_arrays
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from tests.align.test_align import SHAPE, error, motion, moved, picture
from tests.conftest import scene, to8


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two exposures of a camera in motion."""
    image = picture(7)
    for name, one in (("a", image * 0.9), ("b", moved(image, motion("shift"))[0] * 0.6)):
        write_image(tmp_path / f"{name}.png", to8(one.numpy()))
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    return int(end.value.code or 0)


def test_align_writes_each_image_and_its_transform(files: list[str], tmp_path: Path) -> None:
    out, saved = tmp_path / "out", tmp_path / "t.json"
    argv = ("align", *files, "-o", str(out), "--save-transforms", str(saved), "--keep-frame", "-q")
    assert run(*argv) == 0
    first, second = read_image(out / "01-a.png"), read_image(out / "02-b.png")
    assert np.array_equal(first.pixels, read_image(files[0]).pixels)
    assert second.alpha is not None
    assert 0 in second.alpha
    shown = second.alpha == 255
    assert np.corrcoef(first.pixels[shown].ravel(), second.pixels[shown].ravel())[0, 1] > 0.98
    assert (
        error(read_transforms(saved, [(first.width, first.height), (second.width, second.height)])[1], motion("shift"))
        < 0.3
    )
    assert run(*argv) == 2
    assert run(*argv, "--overwrite") == 0
    again = tmp_path / "again"
    assert run("align", *files, "-o", str(again), "--use-transforms", str(saved), "--keep-frame", "-q") == 0
    assert np.array_equal(read_image(again / "02-b.png").pixels, second.pixels)


def test_fuse_writes_them_beside_its_result(files: list[str], tmp_path: Path) -> None:
    out, saved = tmp_path / "out", tmp_path / "t.json"
    extra = ("--align", "auto", "--model", "average", "-q", "--save-transforms", str(saved), "--aligned-out", str(out))
    assert run("fuse", *files, "-o", str(tmp_path / "c.png"), *extra) == 0
    assert sorted(path.name for path in out.iterdir()) == ["01-a.png", "02-b.png"]
    assert read_image(out / "01-a.png").pixels.shape == read_image(tmp_path / "c.png").pixels.shape
    assert run("fuse", *files, "-o", str(tmp_path / "d.png"), *extra) == 2
    assert not (tmp_path / "d.png").exists()
    assert run("fuse", *files, "-o", files[0], "--overwrite", "--aligned-out", str(tmp_path / "e")) == 2
    folder = str(tmp_path)
    assert run("fuse", folder, "--group", "2", "-o", str(tmp_path / "f"), "--aligned-out", str(tmp_path / "e")) == 2


def test_aligned_images_are_only_aligned(tmp_path: Path) -> None:
    """What moved is in the result from one image, and in the aligned images as it was; it can be chosen which."""
    names = []
    for k, gamma in enumerate((2.0, 1.0, 0.5)):
        image = np.stack([0.15 + 0.7 * scene(160, 224, c) for c in range(3)], 2)
        image[60:100, 30 + 60 * k : 70 + 60 * k] = (0.75, 0.3, 0.2)
        names.append(str(tmp_path / f"{k}.png"))
        write_image(names[-1], to8(image**gamma))
    out, report = tmp_path / "out", tmp_path / "r.json"
    extra = ("--aligned-out", str(out), "--report", str(report), "--model", "average", "--deghost-reference", "3", "-q")
    assert run("fuse", *names, "-o", str(tmp_path / "c.png"), *extra) == 0
    said = json.loads(report.read_text())["deghosted"]
    assert {Path(entry["name"]).name for entry in said} == {"0.png", "1.png"}
    for k, name in enumerate(names):
        assert np.array_equal(read_image(out / f"0{k + 1}-{k}.png").pixels, read_image(name).pixels)


def test_an_input_is_never_overwritten(files: list[str], tmp_path: Path) -> None:
    write_image(tmp_path / "01-b.png", read_image(files[1]).pixels)
    before = (tmp_path / "01-b.png").read_bytes()
    argv = ("align", str(tmp_path / "01-b.png"), files[0], "-o", str(tmp_path), "--overwrite", "--reference", "2")
    assert run(*argv) == 0  # 01-01-b.png
    (tmp_path / "01-b.png").rename(tmp_path / "b2.png")
    (tmp_path / "01-a.png").symlink_to(tmp_path / "a.png")
    assert run("align", files[0], files[1], "-o", str(tmp_path), "--overwrite") == 2
    assert (tmp_path / "b2.png").read_bytes() == before


def points(path: Path, count: int, noise: float = 0.0) -> str:
    """A table of points of the second image, under a known homography."""
    gen = torch.Generator().manual_seed(0)
    fixed = torch.rand(count, 2, generator=gen, dtype=torch.float64) * 200
    seen = apply(motion("homography"), fixed) + noise * torch.randn(count, 2, generator=gen, dtype=torch.float64)
    both = zip(seen, fixed, strict=True)
    lines = [f"{'b.png' if k % 2 else 2},{x},{y},{u},{v}" for k, ((x, y), (u, v)) in enumerate(both)]
    path.write_text("\n".join(["image,x,y,reference_x,reference_y", *lines]))
    return str(path)


@pytest.mark.parametrize(("count", "kind"), [(1, "shift"), (2, "similarity"), (3, "affine"), (9, "homography")])
def test_points_decide_on_the_kind(count: int, kind: str, tmp_path: Path) -> None:
    answer = read_points(points(tmp_path / "p.csv", count), ["a.png", "folder/b.png"], 0)
    assert answer[0] is None
    assert answer[1] is not None
    matrix, found, residual = answer[1]
    assert (found, residual < 1e-6) == (kind, True)
    if kind == "homography":
        assert error(matrix, motion("homography")) < 1e-3


def test_points_align_images_and_report_their_error(files: list[str], tmp_path: Path) -> None:
    table = points(tmp_path / "p.csv", 12, 1.0)
    frames = [read_image(path) for path in files]
    _, steps = align_frames(frames, Align(points=table, keep_frame=True))
    assert steps[1].kind == "homography"
    assert steps[1].residual is not None
    assert 0.3 < steps[1].residual < 2.0
    report = tmp_path / "r.json"
    argv = ("align", *files, "-o", str(tmp_path / "out"), "--points", table, "--report", str(report))
    assert run(*argv) == 0
    assert json.loads(report.read_text())["aligned"][1]["residual"] == round(steps[1].residual, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "first line must be image,x,y,reference_x,reference_y"),
        ("image,x,y,reference_x,reference_y\n5,1,2,3,4\n", "image 5 is not one of the 2 images"),
        ("image,x,y,reference_x,reference_y\n2,1,q,3,4\n", "four numbers"),
    ],
)
def test_wrong_tables_of_points(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(FusionError, match=message):
        read_points(tmp_path / "p.csv", ["a", "b"], 0)


def test_files_need_an_alignment() -> None:
    with pytest.raises(FusionError, match="add --align auto"):
        Align("none", aligned_out="folder")


def test_points_and_transforms_are_not_given_together() -> None:
    with pytest.raises(FusionError, match="give one of them"):
        Align(transforms="t.json", points="p.csv")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_order_of_images_does_not_matter(order: tuple[int, ...]) -> None:
    image, step = picture(9), motion("similarity")
    given = [image * 0.9, moved(image, step)[0] * 0.5, moved(image, step @ step)[0] * 0.25]
    arrays = [to8(given[k].numpy()) for k in order]
    _, steps = align_frames(from_arrays(arrays), Align("auto"), order.index(0))
    for k, found in zip(order, steps, strict=True):
        true = torch.linalg.matrix_power(step, k)
        assert error(torch.tensor(found.matrix, dtype=torch.float64), true) < 0.6
    assert arrays[0].shape == SHAPE
