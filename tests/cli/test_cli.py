"""The command line as a user meets it: what works, and one line for everything that can't."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8, to16
from PIL import Image

from anyfuse.cli import main
from anyfuse.cli.options import complete_backbone, complete_model, complete_models, complete_recipe
from anyfuse.io.write import write_image


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for seed, path in enumerate(paths):
        write_image(path, to8(scene(64, 80, seed)))
    return str(paths[0]), str(paths[1])


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `anyfuse ARGUMENTS`."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr of a call that must fail without a traceback."""
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("anyfuse: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_pair(capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "f.png"
    code, text, _ = run(
        capsys, "fuse", *pair, "-o", out, "--weights-out", tmp_path / "w", "--report", tmp_path / "r.json"
    )
    assert code == 0
    assert "80x64" in text
    assert Image.open(out).size == (80, 64)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["model"] == "anyfuse"
    assert report["peak_memory_mib"] > 0
    assert report["warnings"] == []
    shares = [np.asarray(Image.open(p)).astype(int) for p in sorted((tmp_path / "w").iterdir())]
    assert len(shares) == 2
    assert np.abs(shares[0] + shares[1] - 255).max() <= 1


@pytest.mark.parametrize("model", ["average", "maximum", "laplacian", "mertens", "guided"])
def test_other_models_and_many_images(
    model: str, capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path
) -> None:
    write_image(tmp_path / "c.tif", to16(scene(64, 80, 7)))
    code, _, _ = run(capsys, "fuse", *pair, tmp_path / "c.tif", "-o", tmp_path / "f.tif", "--model", model, "--quiet")
    assert code == 0
    from anyfuse.io.read import read_image

    assert read_image(tmp_path / "f.tif").pixels.dtype == np.uint16


def test_folders(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for index in range(3):
        write_image(tmp_path / "a" / f"{index}.png", to8(scene(40, 50, index)))
        write_image(tmp_path / "b" / f"{index}.jpg", to8(scene(40, 50, 10 + index)))
    (tmp_path / "a" / "bad.png").write_text("not an image")
    write_image(tmp_path / "b" / "bad.png", to8(scene(40, 50)))
    write_image(tmp_path / "b" / "alone.png", to8(scene(40, 50)))
    call = [
        "fuse",
        tmp_path / "a",
        tmp_path / "b",
        "-o",
        tmp_path / "out",
        "--report",
        tmp_path / "r.json",
        "--jobs",
        2,
    ]
    code, text, err = run(capsys, *call)
    assert code == 1
    assert "3 fused, 0 already there, 2 failed" in text
    assert "bad.png" in err
    assert "alone" in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["fused"] == 3
    assert set(report["failed"]) == {"bad", "alone"}
    stamp = (tmp_path / "out" / "0.png").stat().st_mtime_ns
    code, text, _ = run(capsys, *call)
    assert "0 fused, 3 already there" in text
    assert (tmp_path / "out" / "0.png").stat().st_mtime_ns == stamp
    (tmp_path / "a" / "bad.png").unlink()
    (tmp_path / "b" / "bad.png").unlink()
    (tmp_path / "b" / "alone.png").unlink()
    code, text, _ = run(capsys, *call, "--overwrite", "--format", "tif")
    assert code == 0
    assert (tmp_path / "out" / "2.tif").exists()


def test_models_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "models", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["anyfuse"]["parameters"] > 0
    assert rows["laplacian"]["weights"] == "none needed"
    code, text, _ = run(capsys, "models")
    assert "Apache-2.0" in text


def completions(words: str) -> list[str]:
    """What the shell offers for the last word of a command line."""
    parts = words.split(" ")
    given = {"COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1), "_ANYFUSE_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-m", "anyfuse"], env={**os.environ, **given}, capture_output=True, text=True, check=False
    )
    return done.stdout.split()


def test_the_shell_completes_names() -> None:
    assert {"tita", "tita-small"} <= set(completions("anyfuse fuse --model ti"))
    assert all(name.startswith("ti") for name in completions("anyfuse fuse --model ti"))
    assert complete_models("anyfuse,old=ti") == ["anyfuse,old=tita", "anyfuse,old=tita-small"]
    assert "average" in complete_models("")
    assert "mmaif" in complete_model("mm"), "short names too"
    assert "codec-tiny" in complete_recipe("codec")
    assert complete_backbone("dinov2") == ["dinov2-s"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_of_completion_is_valid(shell: str) -> None:
    """However the package is called: a shell knows the command by its name."""
    call = [sys.executable, "-m", "anyfuse", "--show-completion", shell]
    named = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # the shell that is named, not our own
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=named)
    script = done.stdout
    assert "_ANYFUSE_COMPLETE=complete_" in script, done.stderr
    assert "python" not in script.lower()
    if shell == "bash" and shutil.which("bash"):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].startswith("anyfuse ")


def broken(folder: Path) -> dict[str, Path]:
    """One file for each way to be wrong."""
    good = to8(scene(64, 80, 1, 3))
    write_image(folder / "good.jpg", good)
    files = {}
    for name, data in {
        "empty.png": b"",
        "text.png": b"hello, I am text\n",
        "truncated.jpg": (folder / "good.jpg").read_bytes()[:1500],
    }.items():
        files[name] = folder / name
        files[name].write_bytes(data)
    nan = scene(64, 80).astype(np.float32)
    from OpenImageIO import FLOAT, ImageBuf, ImageSpec

    nan[3, 4] = np.nan
    buffer = ImageBuf(ImageSpec(80, 64, 1, FLOAT))
    buffer.set_pixels(buffer.roi, nan[..., None])
    assert buffer.write(str(folder / "nan.tif"))
    files["nan.tif"] = folder / "nan.tif"
    return files


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty.png", "empty"), ("text.png", "not an image"), ("truncated.jpg", "truncated"), ("nan.tif", "NaN")],
)
def test_broken_files(
    name: str, message: str, capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path
) -> None:
    path = broken(tmp_path)[name]
    error = fails(capsys, "fuse", path, pair[1], "-o", tmp_path / "f.png")
    assert name in error
    assert message.lower() in error.lower()
    assert not (tmp_path / "f.png").exists()


def test_wrong_arguments(capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "f.png"
    a, b = pair
    assert "missing.png" in fails(capsys, "fuse", tmp_path / "missing.png", b, "-o", out)
    assert "at least two" in fails(capsys, "fuse", a, "-o", out)
    assert "same file" in fails(capsys, "fuse", a, a, "-o", out)
    assert "did you mean laplacian" in fails(capsys, "fuse", a, b, "-o", out, "--model", "laplace")
    assert ".gif" in fails(capsys, "fuse", a, b, "-o", tmp_path / "f.gif")
    assert "folder" in fails(capsys, "fuse", a, tmp_path, "-o", out)
    assert "is a folder" in fails(capsys, "fuse", a, b, "-o", tmp_path)
    assert "--reference 3" in fails(capsys, "fuse", a, b, "-o", out, "--reference", 3)
    assert "--device tpu" in fails(capsys, "fuse", a, b, "-o", out, "--device", "tpu")
    assert "unknown recipe" in fails(capsys, "train", "nope", "--data", tmp_path)
    assert not out.exists()


def test_sizes_differ(capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path) -> None:
    write_image(tmp_path / "c.png", to8(scene(60, 90)))
    error = fails(capsys, "fuse", pair[0], tmp_path / "c.png", "-o", tmp_path / "f.png")
    assert "90x60" in error
    assert "80x64" in error
    assert "--resize reference" in error
    code, _, err = run(capsys, "fuse", pair[0], tmp_path / "c.png", "-o", tmp_path / "f.png", "--resize", "reference")
    assert code == 0
    assert "resized" in err
    assert Image.open(tmp_path / "f.png").size == (80, 64)


def test_nothing_is_overwritten_unasked(
    capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "f.png"
    out.write_text("precious")
    assert "--overwrite" in fails(capsys, "fuse", *pair, "-o", out)
    assert out.read_text() == "precious"
    before = Path(pair[0]).read_bytes()
    assert pair[0] in fails(capsys, "fuse", *pair, "-o", pair[0], "--overwrite")
    assert Path(pair[0]).read_bytes() == before


def test_reports_and_maps_spare_inputs(
    capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "f.png"
    taken = tmp_path / "01-a.png"
    write_image(taken, to8(scene(64, 80, 5)))
    before = {p: Path(p).read_bytes() for p in (*pair, taken)}
    assert ".json" in fails(capsys, "fuse", *pair, "-o", out, "--report", pair[0])
    assert "one of the inputs" in fails(
        capsys, "fuse", pair[0], taken, "-o", out, "--weights-out", tmp_path, "--overwrite"
    )
    assert "weight map" in fails(capsys, "fuse", *pair, "-o", taken, "--weights-out", tmp_path, "--overwrite")
    assert {p: Path(p).read_bytes() for p in before} == before
    assert not out.exists()


def test_a_run_that_was_cut_off_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Weight maps are written before the image: maps without an image are from a run that was killed."""
    for index in range(2):
        for folder in ("a", "b"):
            write_image(tmp_path / folder / f"{index}.png", to8(scene(40, 50, index + ord(folder))))
    call = ["fuse", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out", "--weights-out", tmp_path / "w", "-q"]
    assert run(capsys, *call)[0] == 0
    (tmp_path / "out" / "1.png").unlink()
    assert run(capsys, *call)[0] == 0
    assert (tmp_path / "out" / "1.png").exists()


def test_usage_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--output" in fails(capsys, "fuse", "a.png", "b.png")
    assert "nope" in fails(capsys, "nope")


@pytest.mark.parametrize("size", [(1, 1), (5, 3)])
def test_tiny_images(size: tuple[int, int], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for seed in range(2):
        write_image(tmp_path / f"{seed}.png", to8(scene(64, 64, seed))[: size[1], : size[0]])
    code, _, _ = run(capsys, "fuse", tmp_path / "0.png", tmp_path / "1.png", "-o", tmp_path / "f.png")
    assert code == 0
    assert Image.open(tmp_path / "f.png").size == size


def test_palette_cmyk_alpha(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rgb = Image.fromarray(to8(scene(64, 80, 1, 3)))
    rgb.quantize(64).save(tmp_path / "palette.png")
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    rgb.convert("RGBA").save(tmp_path / "alpha.png")
    files = [tmp_path / "palette.png", tmp_path / "cmyk.jpg", tmp_path / "alpha.png"]
    code, _, _ = run(capsys, "fuse", *files, "-o", tmp_path / "f.png")
    assert code == 0
    fused = np.asarray(Image.open(tmp_path / "f.png").convert("RGB")).astype(int)
    assert np.abs(fused - np.asarray(rgb)).mean() < 12, "three views of one picture give that picture"


def test_no_room_and_no_right_to_write(
    capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path
) -> None:
    assert "/proc" in fails(capsys, "fuse", *pair, "-o", "/proc/nothing/f.png")
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))  # a disk that is full after 512 bytes
    try:
        error = fails(capsys, "fuse", *pair, "-o", tmp_path / "out" / "f.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "free some space" in error
    assert list((tmp_path / "out").iterdir()) == [], "no half-written file"


def test_as_a_process(pair: tuple[str, str], tmp_path: Path) -> None:
    call = [sys.executable, "-m", "anyfuse", "fuse", *pair, "-o", str(tmp_path / "f.png")]
    first = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (first.returncode, first.stderr) == (0, "")
    second = subprocess.run(call, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    usage = subprocess.run([*call[:4]], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert "Traceback" not in usage.stderr


def test_a_report_is_not_overwritten(capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    call = ("fuse", *pair, "-o", tmp_path / "f.png", "--report", mine)
    assert "mine.json: exists already" in fails(capsys, *call)
    assert mine.read_text() == "{}"
    assert not (tmp_path / "f.png").exists()
    assert run(capsys, *call, "--overwrite")[0] == 0
    assert json.loads(mine.read_text())["model"] == "anyfuse"


def test_two_instructions_are_refused(
    capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path
) -> None:
    call = ("fuse", *pair, "-o", tmp_path / "f.png", "--model", "ditfuse", "--say", "brighter", "--prompt", "darker")
    assert "one instruction" in fails(capsys, *call)


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str], pair: tuple[str, str], tmp_path: Path) -> None:
    call = ("fuse", *pair, "-o", tmp_path / "f.png", "--model", tmp_path / "none")
    assert "no such folder" in fails(capsys, *call)
