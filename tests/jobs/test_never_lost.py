"""Nothing is lost: what is there stays, a bad set never stops the others, a killed run is made good by the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8

from anyfuse.api import Fuser
from anyfuse.cli import main
from anyfuse.errors import FusionError, MemoryLimitError
from anyfuse.io import atomic
from anyfuse.io.atomic import Inputs, write_whole
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.jobs.choices import Choices
from anyfuse.jobs.folders import fuse_folders


def run(*arguments: object) -> int:
    """Exit code of `anyfuse ARGUMENTS`."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return int(caught.value.code or 0)


def folders(root: Path, count: int, side: int = 40) -> list[Path]:
    """Two folders of `count` pairs."""
    for name in ("a", "b"):
        for index in range(count):
            write_image(root / name / f"{index}.png", to8(scene(side, side, index + 50 * ord(name))))
    return [root / "a", root / "b"]


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kill_when(call: list[str], ready: Path, count: int) -> None:
    """Kills a process with SIGKILL as soon as a folder holds `count` entries."""
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if ready.is_dir() and len(os.listdir(ready)) >= count:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.wait()


FAST = ("--model", "average", "-q")


def test_any_error_of_one_set_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = folders(tmp_path, 4)
    whole = Fuser.run
    for error in (ZeroDivisionError("odd"), MemoryError(), RecursionError("deep")):

        def fail(self: Fuser, images: list[str], error: Exception = error, **options: object) -> object:
            if images[0].endswith("2.png"):
                raise error
            return whole(self, images, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Fuser, "run", fail)
        assert fuse_folders([str(f) for f in both], str(tmp_path / "out"), Choices(model="average", quiet=True)) == 1
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "3.png"]
        monkeypatch.undo()


def test_a_set_without_memory_beside_others_is_done_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = folders(tmp_path, 5)
    whole = Fuser.run

    def narrow(self: Fuser, images: list[str], **options: object) -> object:
        if self.jobs > 1 and images[0].endswith(("1.png", "3.png")):
            raise MemoryLimitError("too little")
        return whole(self, images, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Fuser, "run", narrow)
    choices = Choices(model="average", quiet=True, jobs=3)
    assert fuse_folders([str(f) for f in both], str(tmp_path / "out"), choices) == 0
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_an_output_that_leads_to_an_input_of_another_set(tmp_path: Path) -> None:
    both = folders(tmp_path, 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").symlink_to(both[0] / "2.png")
    before = contents(tmp_path)
    assert run("fuse", *both, "-o", tmp_path / "out", "--overwrite", *FAST) == 1
    after = contents(tmp_path)
    assert {k: v for k, v in after.items() if k in before} == before
    assert set(after) - set(before) == {"out/0.png", "out/2.png"}


@pytest.mark.parametrize("option", ["--weights-out", "--report"])
def test_other_outputs_spare_inputs_of_all_sets(option: str, tmp_path: Path) -> None:
    both = folders(tmp_path, 2)
    if option == "--report":
        (tmp_path / "r.json").symlink_to(both[1] / "0.png")
        maps = tmp_path / "r.json"
    else:
        (tmp_path / "w" / "0").mkdir(parents=True)
        (tmp_path / "w" / "0" / "01-0.png").symlink_to(both[1] / "1.png")
        maps = tmp_path / "w"
    before = {**contents(both[0]), **contents(both[1])}
    assert run("fuse", *both, "-o", tmp_path / "out", option, maps, "--overwrite", "-q") != 0
    assert {**contents(both[0]), **contents(both[1])} == before


def test_a_link_to_nothing_is_not_followed_unasked(tmp_path: Path) -> None:
    both = folders(tmp_path, 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.png").symlink_to(tmp_path / "elsewhere.png")
    assert run("fuse", *both, "-o", tmp_path / "out", *FAST) == 1
    assert run("fuse", both[0] / "0.png", both[1] / "0.png", "-o", tmp_path / "out" / "0.png", *FAST) == 2
    assert not (tmp_path / "elsewhere.png").exists()


def test_maps_of_others_stay(tmp_path: Path) -> None:
    both = folders(tmp_path, 2)
    (tmp_path / "w" / "1").mkdir(parents=True)
    (tmp_path / "w" / "1" / "02-1.png").write_text("mine")
    call = ("fuse", *both, "-o", tmp_path / "out", "--weights-out", tmp_path / "w", "-q")
    assert run(*call) == 1
    assert (tmp_path / "w" / "1" / "02-1.png").read_text() == "mine"
    assert run(*call, "--overwrite") == 0
    assert read_image(tmp_path / "w" / "1" / "02-1.png").width == 40


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = folders(tmp_path, 2)
    whole = Fuser.run

    def slow(self: Fuser, images: list[str], **options: object) -> object:
        (tmp_path / "out" / Path(images[0]).name).write_text("of another program")
        return whole(self, images, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Fuser, "run", slow)
    assert fuse_folders([str(f) for f in both], str(tmp_path / "out"), Choices(model="average", quiet=True)) == 2
    assert {p.read_text() for p in (tmp_path / "out").iterdir()} == {"of another program"}


def test_reports_and_tables_of_others_stay(tmp_path: Path) -> None:
    both = folders(tmp_path, 2)
    mine = {name: tmp_path / name for name in ("r.json", "s.csv", "s.json")}
    for path in mine.values():
        path.write_text('{"mine": 1}')
    assert run("fuse", *both, "-o", tmp_path / "out", "--report", mine["r.json"], *FAST) == 2
    assert run("fuse", *both, "-o", tmp_path / "out", *FAST) == 0
    pair = both[0] / "0.png", both[1] / "0.png"
    assert run("fuse", *pair, "-o", tmp_path / "f.png", "--report", mine["r.json"], *FAST) == 2
    for name in ("s.csv", "s.json"):
        call = ("score", tmp_path / "out", "--sources", *both, "--metrics", "en", "-o", mine[name])
        assert run(*call) == 2
        assert mine[name].read_text() == '{"mine": 1}'
        assert run(*call, "--overwrite") == 0
    assert mine["r.json"].read_text() == '{"mine": 1}'


def test_a_second_run_completes_the_report(tmp_path: Path) -> None:
    both = folders(tmp_path, 3)
    call = ("fuse", *both, "-o", tmp_path / "out", "--report", tmp_path / "r.json", *FAST)
    assert run(*call) == 0
    (tmp_path / "out" / "1.png").unlink()
    assert run(*call) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["fused"], report["skipped"]) == (1, 2)
    assert {Path(one["output"]).name for one in report["sets"]} == {"0.png", "1.png", "2.png"}


@pytest.mark.parametrize("rounds", [4])
def test_killed_at_any_moment(rounds: int, tmp_path: Path) -> None:
    """Each round kills the batch a bit later; nothing is half, and the last run does what is missing, bit for bit."""
    both = folders(tmp_path, 8, 160)
    call = [sys.executable, "-m", "anyfuse", "fuse", *map(str, both), "-o"]
    options = ["--weights-out", str(tmp_path / "w"), "-q", "--model", "laplacian"]
    options = ["-q", "--model", "laplacian"]
    assert subprocess.run([*call, str(tmp_path / "whole"), *options], check=False).returncode == 0
    whole = contents(tmp_path / "whole")
    inputs = {**contents(both[0]), **contents(both[1])}
    out = tmp_path / "out"
    for count in range(rounds):
        kill_when([*call, str(out), *options], out, 1 + 2 * count)
        for path in out.iterdir() if out.is_dir() else ():
            assert path.name.startswith(".anyfuse-") or path.read_bytes() == whole[path.name]
    (out / ".anyfuse-0123456789ab.tmp").write_bytes(b"left by a run that was killed")
    assert subprocess.run([*call, str(out), *options], check=False).returncode == 0
    assert contents(out) == whole, "and no temporary file is left"
    assert {**contents(both[0]), **contents(both[1])} == inputs


def test_temporary_files_of_a_living_run_stay(tmp_path: Path) -> None:
    atomic._cleaned.clear()
    with atomic._temporary(tmp_path) as (path, _):
        code = f"from anyfuse.io.atomic import clean_temporaries as c; c({str(tmp_path)!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


def test_writing_in_one_step(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", [b"one"])
    write_whole(tmp_path / "a", [b"one"], same=True)
    with pytest.raises(FusionError, match="exists already"):
        write_whole(tmp_path / "a", [b"two"], same=True)
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(FusionError, match="one of the inputs"):
        write_whole(tmp_path / "b", [b"two"], overwrite=True, inputs=Inputs([tmp_path / "a"]))
    assert (tmp_path / "a").read_bytes() == b"one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


# degrade


def test_degrade_keeps_its_manifest_as_it_goes(tmp_path: Path) -> None:
    source, _ = folders(tmp_path, 12, 160)
    out = tmp_path / "out"
    call = [
        sys.executable,
        "-m",
        "anyfuse",
        "degrade",
        str(source),
        "-o",
        str(out),
        "--ops",
        "noise:0.3,blur:0.4",
        "-q",
    ]
    kill_when(call, out, 6)
    there = {p.name for p in out.glob("[0-9]*.png")}
    entries = json.loads((out / "manifest.json").read_text())["files"]
    assert there <= set(entries)
    assert 0 < len(there) < 12
    assert run(*call[3:-5], "-o", out, "--ops", "haze:0.5", "-q") == 2, "of other settings"
    assert run(*call[3:]) == 0
    entries = json.loads((out / "manifest.json").read_text())["files"]
    assert len(entries) == len(list(out.glob("[0-9]*.png"))) == 12
    assert not list(out.glob(".anyfuse*"))


def test_degrade_spares_what_it_did_not_make(tmp_path: Path) -> None:
    source, _ = folders(tmp_path, 3)
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.png").write_text("mine")
    call = ("degrade", source, "-o", out, "--ops", "noise:0.3", "-q")
    assert run(*call) == 1
    assert (out / "1.png").read_text() == "mine"
    assert set(json.loads((out / "manifest.json").read_text())["files"]) == {"0.png", "2.png"}
    assert run(*call, "--overwrite") == 0
    (out / "2.png").unlink()
    (out / "2.png").symlink_to(source / "0.png")
    before = contents(source)
    assert run(*call, "--overwrite") == 1
    assert contents(source) == before


# names and kinds of files


def test_names_that_are_no_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    both = folders(tmp_path, 1)
    for folder in both:
        os.rename(folder / "0.png", os.fsencode(folder) + b"/\xff\xe9.png")
    name = os.fsdecode(b"\xff\xe9.png")
    call = [sys.executable, "-m", "anyfuse", "fuse"]
    done = [
        subprocess.run([*call, *map(str, inputs), "-o", str(tmp_path / out), *more], capture_output=True, check=False)
        for inputs, out, more in (
            (both, "out", ["--report", str(tmp_path / "r.json"), "--weights-out", str(tmp_path / "w")]),
            ([f / name for f in both], name, []),
        )
    ]
    assert [one.returncode for one in done] == [0, 0]
    assert not any(b"Traceback" in one.stderr for one in done)
    assert (tmp_path / "out" / name).exists()
    assert (tmp_path / name).exists()
    assert json.loads((tmp_path / "r.json").read_text())["fused"] == 1


def test_pipes_never_block(tmp_path: Path) -> None:
    both = folders(tmp_path, 2)
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(both[0] / "2.png")
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "config.json")
    pair = both[0] / "0.png", both[1] / "0.png"
    for call in (
        ("fuse", pair[0], tmp_path / "pipe", "-o", tmp_path / "f.png"),
        ("fuse", *pair, "-o", tmp_path / "f.png", "--model", tmp_path / "model"),
        ("fuse", *pair, "-o", tmp_path / "pipe", "--overwrite"),
        ("fuse", "--list", tmp_path / "pipe", "-o", tmp_path / "o"),
        ("score", pair[0], "--sources", pair[1], tmp_path / "pipe"),
        ("estimate", tmp_path / "pipe"),
        ("degrade", both[0], "-o", tmp_path / "d", "--manifest", tmp_path / "pipe"),
    ):
        assert run(*call) == 2
    assert run("fuse", *both, "-o", tmp_path / "out", *FAST) == 0, "a pipe in a folder is no image"


def test_manifest_of_deep_nesting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.json").write_text("[" * 200_000 + "]" * 200_000)
    source, _ = folders(tmp_path, 1)
    assert run("degrade", source, "-o", tmp_path / "d", "--manifest", tmp_path / "m.json") == 2
    assert "is no manifest" in capsys.readouterr().err


def test_sizes_of_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = folders(tmp_path, 1)
    for size in ("9" * 400, "1e400", "nan", "-1", "0", "G"):
        call = ("fuse", *(f / "0.png" for f in both), "-o", tmp_path / "f.png", f"--max-memory={size}")
        assert run(*call) == 2
        assert "--max-memory" in capsys.readouterr().err


def test_pixels_are_right_after_all(tmp_path: Path) -> None:
    """A result that replaced nothing is the mean of its inputs."""
    both = folders(tmp_path, 1)
    assert run("fuse", *both, "-o", tmp_path / "out", *FAST) == 0
    a, b, fused = (read_image(p / "0.png").pixels.astype(int) for p in (*both, tmp_path / "out"))
    assert np.abs(a + b - 2 * fused).max() <= 2
