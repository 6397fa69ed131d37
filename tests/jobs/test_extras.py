"""Depth of a synthetic stack against the known one, the contact sheet, previews in terminals, the bar of one image."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

from anyfuse import Fuser, FusionError
from anyfuse.cli import main
from anyfuse.jobs import extras as extras_module
from anyfuse.jobs import preview, slow_bar
from anyfuse.jobs.depth import depth_of, depth_of_result, surface
from anyfuse.jobs.sheet import contact_sheet, crop_places

COUNT, HEIGHT, WIDTH = 7, 120, 160


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur by the Fourier transform, borders wrapped."""
    v, u = np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])[None]
    return np.fft.ifft2(np.fft.fft2(image) * np.exp(-2 * (np.pi * sigma) ** 2 * (u**2 + v**2))).real


def focus_stack(depth: np.ndarray, texture: np.ndarray, blur: float = 1.6) -> np.ndarray:
    """(N, H, W) uint8: frame k is sharp where depth is k, and blurred by the distance elsewhere."""
    sigmas = np.arange(0, blur * COUNT, 0.4)
    levels = np.stack([blurred(texture, s) for s in sigmas])
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]]
    frames = []
    for k in range(COUNT):
        at = np.abs(depth - k) * blur / 0.4
        low = np.clip(at.astype(int), 0, len(sigmas) - 2)
        share = np.clip(at - low, 0, 1)
        frames.append((1 - share) * levels[low, y, x] + share * levels[low + 1, y, x])
    return np.clip(np.stack(frames), 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((HEIGHT, WIDTH))
    noise = blurred(noise, 1.0)
    return np.clip(128 + 60 * noise / noise.std(), 0, 255)


def truth(name: str) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    if name == "plane":
        return x / (WIDTH - 1) * (COUNT - 1)
    return (COUNT - 1) * (1 - np.exp(-((x - 80) ** 2 + (y - 60) ** 2) / 2 / 40**2))


@pytest.mark.parametrize("name", ["plane", "dome"])
def test_depth_is_known_to_parts_of_a_frame(texture: np.ndarray, name: str) -> None:
    depth = truth(name)
    images = focus_stack(depth, texture)
    result = Fuser("anyfuse").run(list(images), with_weights=True, align="none", deghost="off")
    assert result.weights is not None
    found = depth_of_result(result)
    error = np.abs(found.frames - depth)
    nearest = np.abs(result.weights.argmax(0) - depth)
    assert error.mean() < 0.16
    assert error.mean() < 0.65 * nearest.mean()  # better than the nearest frame
    assert np.percentile(error, 95) < 0.4
    assert np.corrcoef(found.frames.ravel(), depth.ravel())[0, 1] > 0.995


def test_smooth_areas_are_filled_from_around() -> None:
    weights = np.zeros((5, 60, 60), np.uint8)
    weights[2] = 255
    weights[:, 20:40, 20:40] = 51  # every frame as much as the others
    found = depth_of(weights)
    assert found.sure[30, 30] < 0.1
    assert found.sure[5, 5] == pytest.approx(1)
    assert np.abs(found.frames - 2).max() < 0.05
    weights[2], weights[4, 20:40, 20:40], weights[:4, 20:40, 20:40] = 255, 255, 0
    luma = np.random.default_rng(0).normal(128, 20, (60, 60)).astype(np.float32)
    luma[12:48, 12:48] = 128  # decided, but nothing is there to decide on
    assert depth_of(weights).frames[30, 30] > 3.5
    assert depth_of(weights, luma=luma).frames[30, 30] < 3
    with pytest.raises(FusionError, match="two or more"):
        depth_of(weights[:1])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_frames_are_sure_where_one_stands_out(count: int) -> None:
    weights = np.zeros((count, 60, 60), np.uint8)
    weights[1] = 255
    weights[:, :, :30] = 255 // count
    found = depth_of(weights)
    assert found.sure[30, 50] == pytest.approx(1)
    assert found.sure[30, 10] < 0.1
    assert found.frames[30, 50] == pytest.approx(1)
    assert found.frames[30, 5] == pytest.approx(1, abs=0.15)  # filled in from the right


def test_surface_is_a_mesh_over_the_image() -> None:
    weights = np.zeros((3, 8, 10), np.uint8)
    weights[0, :, :5], weights[2, :, 5:] = 255, 255
    found = depth_of(weights, radius=0)
    pixels = np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)
    data = surface(found, pixels, 4.0)
    head, _, body = data.partition(b"end_header\n")
    assert b"element vertex 80\n" in head
    assert b"element face 126\n" in head
    kind = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "u1", (3,))])
    vertices = np.frombuffer(body[: 80 * kind.itemsize], kind)
    assert (vertices["x"][-1], vertices["y"][0], vertices["y"][-1]) == (9, 7, 0)
    assert set(vertices["z"].tolist()) == {0.0, -8.0}
    assert np.array_equal(vertices["rgb"].reshape(8, 10, 3), pixels)
    faces = np.frombuffer(body[80 * kind.itemsize :], [("n", "u1"), ("v", "<i4", (3,))])
    assert len(faces) == 126
    assert (faces["n"] == 3).all()
    assert faces["v"].max() == 79
    points = np.stack([vertices["x"], vertices["y"]], 1)[faces["v"]]
    a, b = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] == 1).all()  # all triangles face the viewer


@pytest.fixture
def stack(tmp_path: Path, texture: np.ndarray) -> list[str]:
    images = focus_stack(truth("plane"), texture)[::3]
    for k, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    return [str(tmp_path / f"{k}.png") for k in range(len(images))]


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_the_command_writes_all_of_it(stack: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ["d.png", "d.tif", "d.ply", "sheet.jpg", "r.json", "s.png"]
    d, tif, ply, sheet, report, image = (str(out / name) for name in names)
    given = ("--depth-out", d, "--depth-out", tif, "--depth-out", ply, "--contact-sheet", sheet, "--report", report)
    assert called("stack", *stack, "-o", image, *given, "--align", "none", "-q") == 0
    pixels = np.asarray(Image.open(d))
    assert pixels.dtype == np.uint16
    assert pixels.shape == (HEIGHT, WIDTH)
    assert pixels[:, :10].mean() < 12000
    assert pixels[:, -10:].mean() > 53000
    assert np.array_equal(np.asarray(Image.open(tif)), pixels)
    assert Image.open(sheet).width == 1800
    content = json.loads(Path(report).read_text())
    assert content["depth_map"]["frames"] == 3
    assert content["contact_sheet"] == sheet
    assert content["depth"] == "uint8"  # the bits of the image, as before
    assert called("stack", *stack, "-o", str(out / "t.png"), "--depth-out", d, "--align", "none", "-q") == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--depth-out", "d.jpg"], "ends in .png or .tif"),
        (["--contact-sheet", "c.tif"], "--contact-sheet c.tif: give a name"),
        (["--depth-out", "o.png"], "--depth-out and -o would both write o.png"),
        (["--depth-out", "d.png", "--ghost-mask", "d.png"], "would both write d.png"),
        (["--depth-out", "d.png", "--depth-out", "./d.png"], "one file is given twice"),
        (["--depth-out", "d.png", "--depth-step", "3"], "--depth-step is for surfaces"),
        (["--depth-out", "d.ply", "--depth-step", "-1"], "more than 0"),
        (["--depth-out", "d.png", "--model", "laplacian"], "--depth-out"),
    ],
)
def test_refusals_come_before_the_work(
    stack: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called("fuse", *stack, "-o", "o.png", *options) == 2
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1
    assert not (tmp_path / "o.png").exists()


def test_folders_take_none_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for role in ("a", "b"):
        (tmp_path / role).mkdir()
        Image.fromarray(to8(scene(40, 50))).save(tmp_path / role / "1.png")
    given = (str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "o"))
    assert called("fuse", *given, "--contact-sheet", str(tmp_path / "c.jpg")) == 2
    assert "for one set of images" in capsys.readouterr().err


def test_the_sheet_shows_inputs_weights_result_and_true_crops() -> None:
    images = [to8(scene(300, 420, seed=k, channels=3)) for k in range(2)]
    result = Fuser("anyfuse").run(images, with_weights=True, align="none", deghost="off")
    sheet = np.asarray(contact_sheet(result))
    shown = np.broadcast_to(result.pixels, (300, 420, 3))
    whole = np.lib.stride_tricks.sliding_window_view(sheet[:, :11], 1, axis=0)[..., 0]
    assert whole.shape[1] == 11
    found = [top for top in range(sheet.shape[0] - 300) if np.array_equal(sheet[top : top + 300, 10:430], shown)]
    assert len(found) == 1  # small enough to be there as it is
    without = Fuser("laplacian").run(images, align="none", deghost="off")
    assert contact_sheet(without).height < sheet.shape[0]


def test_crops_are_where_images_differ_and_apart() -> None:
    images = [np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400, 3), np.uint8)]
    images[1][50:100, 60:110] = 255
    images[1][300:350, 200:250] = 200
    assert crop_places(images, 50, 50) == [(50, 60), (300, 200)]


def test_crops_of_large_images_lie_within() -> None:
    images = [np.zeros((803, 805, 3), np.uint8), np.zeros((803, 805, 3), np.uint8)]
    images[1][-6:, -6:] = 255
    for top, left in crop_places(images, 51, 51):
        assert top <= 803 - 51
        assert left <= 805 - 51


def test_a_tall_image_makes_no_endless_sheet() -> None:
    images = [np.random.default_rng(k).integers(0, 255, (9000, 20), np.uint8) for k in range(2)]
    result = Fuser("average").run(images, align="none", deghost="off")
    assert contact_sheet(result).height < 8000


def test_the_report_is_there_when_the_sheet_fails(
    stack: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extras_module, "contact_sheet", lambda result: Image.new("RGB", (20000, 4)))
    given = ("-o", "o.png", "--contact-sheet", "c.webp", "--report", "r.json", "--align", "none", "-q")
    assert called("fuse", *stack, *given) == 2
    assert "c.webp: a sheet of 20000x4 cannot be saved" in capsys.readouterr().err
    assert json.loads(Path("r.json").read_text())["output"] == "o.png"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, ""),
        ({}, ""),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, ""),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/t"}, ""),
    ],
)
def test_only_terminals_that_say_so(environment: dict[str, str], expected: str) -> None:
    assert preview.protocol(environment) == expected


def test_kitty_and_iterm_get_the_picture_whole() -> None:
    image = Image.fromarray(to8(scene(300, 900, channels=3)))
    data = preview.encode(image, "kitty")
    parts = re.findall(rb"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", data)
    assert parts[0][0] == b"a=T,f=100,m=1"
    assert [keys for keys, _ in parts[1:]] == [b"m=1"] * (len(parts) - 2) + [b"m=0"]
    assert all(len(part) <= 4096 for _, part in parts)
    shown = Image.open(io.BytesIO(base64.b64decode(b"".join(part for _, part in parts))))
    assert shown.size == (640, 213)
    found = re.fullmatch(rb"\x1b\]1337;File=inline=1;size=(\d+);.*?:(.*)\x07\n", preview.encode(image, "iterm2"))
    assert found is not None
    assert len(base64.b64decode(found[2])) == int(found[1])


def test_sixels_decode_to_the_picture() -> None:
    pixels = np.zeros((14, 20, 3), np.uint8)
    pixels[3:9, 5:15] = (255, 0, 0)
    pixels[10:, :] = (0, 0, 255)
    data = preview.sixel(Image.fromarray(pixels), 8).decode()
    assert data.startswith('\x1bP0;1q"1;1;20;14')
    assert data.endswith("\x1b\\")
    table = {int(k): [int(v) for v in rest.split(";")] for k, rest in re.findall(r"#(\d+);2;(\d+;\d+;\d+)", data)}
    drawn = np.zeros((18, 20, 3))
    body = re.sub(r"#\d+;2;\d+;\d+;\d+", "", data[data.index("14") + 2 : -2])
    for band, text in enumerate(body.split("-")[:-1]):
        for line in text.split("$"):
            colour, x = int(re.match(r"#(\d+)", line)[1]), 0  # type: ignore[index]
            for run, one, single in re.findall(r"!(\d+)(.)|([?-~])", re.sub(r"^#\d+", "", line)):
                for _ in range(int(run or 1)):
                    bits = ord(one or single) - 63
                    for k in range(6):
                        if bits >> k & 1:
                            drawn[band * 6 + k, x] = table[colour]
                    x += 1
            assert x == 20
    assert np.abs(drawn[:14] * 2.55 - pixels).max() <= 3


def test_preview_without_such_a_terminal_is_a_note(stack: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    result = Fuser("average").run(stack, align="none", deghost="off")
    extras_module.show(result)
    out, err = capsys.readouterr()
    assert not out
    assert err == "anyfuse: note: --preview: this terminal does not say that it shows pictures\n"


def test_the_bar_of_one_image_comes_after_a_second_and_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    text = io.StringIO()
    monkeypatch.setattr(
        slow_bar, "console", lambda: Console(file=text, force_terminal=True, width=80, color_system=None)
    )
    with slow_bar.SlowBar(False) as bar:
        bar("fuse", 0.2)
        assert bar.bar is None  # quick runs show nothing
        bar.start -= 2
        bar("align", 0.0)
        bar("fuse", 0.5)
        assert bar.bar is not None
        bar.bar.refresh()
    assert "fusing" in text.getvalue()
    assert "50%" in text.getvalue()
    for wanted, quiet in ((True, True), (False, False)):
        monkeypatch.setattr(slow_bar, "console", lambda on=wanted: Console(file=text, force_terminal=on))
        with slow_bar.SlowBar(quiet) as bar:
            bar.start -= 2
            bar("fuse", 0.5)
            assert bar.bar is None
