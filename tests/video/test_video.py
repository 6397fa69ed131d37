"""`anyfuse video` and `anyfuse.video.stream`, on streams that scene.py makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason='PyAV is not installed: pip install "anyfuse[video]"')

import scene

import anyfuse.video
from anyfuse import Fuser, FusionError
from anyfuse.cli.main import main
from anyfuse.video.job import Job, Run, fuse_video
from anyfuse.video.offset import find_offset
from anyfuse.video.settings import VideoSettings, format_of
from anyfuse.video.sources import open_source
from anyfuse.video.streams import Streams
from anyfuse.video.sync import side_by_side

LUMA = np.array([0.299, 0.587, 0.114])
LATE = 0.24
PLAIN = {"offset": "0", "align": "none"}


def luma(pictures: Any) -> np.ndarray:
    """(T, H, W) float."""
    values = np.stack(list(pictures)).astype(float)
    return values @ LUMA if values.ndim == 4 else values


def blocks(pictures: Any, side: int = 16) -> np.ndarray:
    """(T, h, w) means of blocks of luma."""
    values = luma(pictures)
    count, height, width = values.shape
    height, width = height // side * side, width // side * side
    return values[:, :height, :width].reshape(count, height // side, side, width // side, side).mean((2, 4))


def run(inputs: list[Any], output: Path, codec: str | None = None, **options: Any) -> dict[str, Any]:
    """A job of `anyfuse video`."""
    names = ("model", "resume", "overwrite", "part", "has_audio", "report")
    own = {name: options.pop(name) for name in names if name in options}
    form = format_of(str(output), codec, options.pop("quality", None), options.pop("depth", None))
    settings = VideoSettings(**options)
    return fuse_video(Job([str(i) for i in inputs], str(output), settings, form, quiet=True, **own))


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser("anyfuse")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Visible with sound, thermal: moved by `SHIFT`, its clock `LATE` ahead; 100 pictures."""
    folder = tmp_path_factory.mktemp("streams")
    ones, others = scene.pictures(100, LATE, scene.SHIFT)
    visible = scene.write_video(folder / "visible.mp4", ones, sound=True)
    return visible, scene.write_video(folder / "thermal.mkv", others)


@pytest.fixture(scope="module")
def fused(files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Both, fused with everything found, and the report."""
    output = tmp_path_factory.mktemp("fused") / "fused.mp4"
    return output, run(list(files), output)


# ---------------------------------------------------------------------- in time and in place


def test_the_offset_is_found_within_a_frame(fused: tuple[Path, dict[str, Any]]) -> None:
    offset = fused[1]["offsets"][1]
    assert offset["how"] == "motion"
    assert abs(offset["seconds"] - LATE) < 1 / scene.RATE


def test_streams_that_go_together_have_no_offset(tmp_path: Path) -> None:
    ones, others = scene.pictures(60)
    paths = [scene.write_video(tmp_path / n, v) for n, v in (("a.mkv", ones), ("b.mkv", others))]
    assert find_offset(*map(open_source, paths)).seconds == 0


def test_noise_alone_gives_no_offset(tmp_path: Path) -> None:
    ones, _ = scene.pictures(40, moves=False)
    _, others = scene.pictures(40, moves=False, seed=2)
    paths = [scene.write_video(tmp_path / n, v) for n, v in (("a.mkv", ones), ("b.mkv", others))]
    found = find_offset(*map(open_source, paths))
    assert (found.how, found.seconds) == ("none", 0)


def test_the_alignment_is_found(fused: tuple[Path, dict[str, Any]]) -> None:
    step = fused[1]["aligned"]["streams"][1]
    assert step["trusted"]
    matrix = np.array(step["matrix"])
    middle = matrix @ [scene.WIDTH / 2, scene.HEIGHT / 2, 1]
    moved = middle[:2] / middle[2] - [scene.WIDTH / 2, scene.HEIGHT / 2]
    assert np.abs(moved - scene.SHIFT).max() < 1


@pytest.mark.parametrize(("pixels", "jumps"), [(3, 0), (9, 1)])
def test_a_moved_camera_is_tracked(pixels: int, jumps: int, fuser: Fuser) -> None:
    """A small movement is followed step by step, a large one that is certain at once."""
    ones, still = scene.pictures(17, moves=False)
    _, moved = scene.pictures(17, shift=(pixels, 0), moves=False)
    settings = VideoSettings(align="track", track_every=4)
    streams = Streams([open_source(ones), open_source(still[:4] + moved[:13])], fuser, settings)
    streams.prepare()
    places = [np.array(f.aligner["matrices"][1])[0, 2] for f in streams.fused()]
    assert abs(places[0]) < 1
    assert abs(places[-1] - pixels) < 1.2
    assert streams.aligner.jumps == jumps
    assert jumps or np.abs(np.diff(places)).max() < 1


def test_other_rates_take_the_nearest_picture(fuser: Fuser) -> None:
    levels = [np.full((32, 32), k, np.uint8) for k in range(40)]
    fast, slow = open_source(levels, 30.0), open_source(levels[:12], 9.0)
    pairs = [(m[0].pixels[0, 0, 0], m[1].pixels[0, 0, 0]) for m in side_by_side([fast, slow], [0, 0])]
    assert pairs[:5] == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1)]
    assert all(abs(a / 30 - b / 9) <= 1 / 18 + 1e-9 for a, b in pairs[:34])


# ---------------------------------------------------------------------- steady decisions


def test_still_areas_flicker_no_more_than_the_sources(fuser: Fuser) -> None:
    ones, others = scene.pictures(30, moves=False)
    flicker = {}
    for smooth in (0.0, 0.5):
        out = anyfuse.video.stream(ones, others, model=fuser, smooth=smooth, **PLAIN)
        flicker[smooth] = blocks(out)[5:].std(0).mean()
    lower = min(blocks(v)[5:].std(0).mean() for v in (ones, others))
    assert flicker[0.5] < lower < flicker[0.0]


def test_moving_things_leave_no_trails(fuser: Fuser) -> None:
    ones, others = scene.pictures(24)
    out = luma(anyfuse.video.stream(ones, others, model=fuser, **PLAIN))
    for k in (12, 23):
        alone = luma([fuser([ones[k], others[k]], align="none", deghost="off")])[0]
        now = scene.disc(k / scene.RATE) > 0
        behind = np.any([scene.disc((k - back) / scene.RATE) > 0 for back in range(1, 12)], axis=0) & ~now
        away = out[k] - alone
        assert np.abs(away[now]).mean() < 0.5
        assert abs(away[behind].mean()) < 0.5
        assert np.abs(blocks([away], 8)).max() < 4


def test_a_scene_cut_begins_anew(fuser: Fuser) -> None:
    ones, others = scene.pictures(8, moves=False)
    ones, others = ([*p[:4], *(np.ascontiguousarray(x[::-1, ::-1]) for x in p[4:])] for p in (ones, others))
    out = list(anyfuse.video.stream(ones, others, model=fuser, **PLAIN))
    alone = fuser([ones[4], others[4]], align="none", deghost="off")
    assert np.array_equal(out[4], alone)


def test_models_without_a_context_are_named(tmp_path: Path) -> None:
    ones, others = scene.pictures(3)
    paths = [scene.write_video(tmp_path / n, v) for n, v in (("a.mkv", ones), ("b.mkv", others))]
    report = run(paths, tmp_path / "f.mkv", model="average", **PLAIN)
    assert not report["smoothed"]
    assert any("one by one" in note for note in report["warnings"])


def test_tiles_are_smoothed_as_the_whole(fuser: Fuser, monkeypatch: pytest.MonkeyPatch) -> None:
    from anyfuse import tiling

    ones, others = scene.pictures(4)
    whole = list(anyfuse.video.stream(ones, others, model=fuser, **PLAIN))
    monkeypatch.setattr(tiling, "WHOLE_BYTES", 1)
    monkeypatch.setattr(tiling, "PREFERRED_TILE", 128)
    tiled = list(anyfuse.video.stream(ones, others, model=fuser, **PLAIN))
    assert np.abs(np.stack(whole).astype(int) - np.stack(tiled)).max() <= 1


# ---------------------------------------------------------------------- files


def test_times_and_sound_are_kept(fused: tuple[Path, dict[str, Any]]) -> None:
    import av

    output, report = fused
    assert report["sound"] == {"stream": 1, "codec": "aac"}
    with av.open(str(output)) as container:
        sound = [p for p in container.demux(container.streams.audio[0]) if p.dts is not None]
        seconds = float(sum(p.duration for p in sound) * sound[0].time_base)
    assert abs(seconds - report["frames"] / scene.RATE) < 0.15
    _, times = scene.read_video(output)
    assert np.allclose(np.diff(times), 1 / scene.RATE)
    assert len(times) == report["frames"]


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    ones, others = scene.pictures(8)
    times = [0, 40, 95, 120, 170, 260, 300, 333]
    a = scene.write_video(tmp_path / "a.mkv", ones, times=times)
    b = scene.write_video(tmp_path / "b.mkv", others, times=times)
    run([a, b], tmp_path / "f.mp4", **PLAIN)
    assert np.allclose(scene.read_video(tmp_path / "f.mp4")[1], np.array(times) / 1000, atol=1e-3)


@pytest.mark.parametrize(("name", "most"), [("f.mp4", 0.5), ("f.mov", 0.5), ("f.mkv", 0.0)])
def test_colours_come_back(name: str, most: float, tmp_path: Path, fuser: Fuser) -> None:
    ones, others = scene.pictures(3)
    paths = [scene.write_video(tmp_path / n, v) for n, v in (("a.mkv", ones), ("b.mkv", others))]
    run(paths, tmp_path / name, quality=4 if name == "f.mp4" else None, **PLAIN)
    found, _ = scene.read_video(tmp_path / name)
    wanted = np.stack(list(anyfuse.video.stream(ones, others, model=fuser, **PLAIN)))
    away = found.astype(float) - wanted
    parts = away[:, :192, :256].reshape(3, 24, 8, 32, 8, 3).mean((2, 4))  # grain of colour is lost in 4:2:0
    assert np.abs(parts).mean() <= most
    assert np.abs(away.mean((0, 1, 2))).max() <= most  # no cast


def test_16_bits_come_back(tmp_path: Path, fuser: Fuser) -> None:
    _, others = scene.pictures(4)
    deep = [p.astype(np.uint16) * 100 + 20000 for p in others]
    more = [p[:, ::-1].astype(np.uint16) * 120 + 15000 for p in others]
    paths = [scene.write_video(tmp_path / n, v) for n, v in (("a.mkv", deep), ("b.mkv", more))]
    wanted = np.stack(list(anyfuse.video.stream(deep, more, model=fuser, **PLAIN)))
    assert wanted.dtype == np.uint16
    assert run(paths, tmp_path / "f.mkv", **PLAIN)["depth"] == "uint16"
    assert np.array_equal(scene.read_video(tmp_path / "f.mkv", "gray16le")[0], wanted)
    run(paths, tmp_path / "frames", codec="tiff", **PLAIN)
    from anyfuse.io.frames import read_frames

    first = read_frames([str(tmp_path / "frames" / "frame_000000.tif")], range="none")[0]
    assert np.array_equal(first.pixels[:, :, 0], wanted[0])
    notes = run(paths, tmp_path / "f.mp4", **PLAIN)["warnings"]
    assert any("16 bits rounded to 8" in note for note in notes)


def test_folders_of_frames(tmp_path: Path, fuser: Fuser) -> None:
    from PIL import Image

    ones, others = scene.pictures(11)
    for name, pictures in (("v", ones), ("t", others)):
        (tmp_path / name).mkdir()
        for k, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / name / f"f{k}.png")
    run([tmp_path / "v", tmp_path / "t" / "f%d.png"], tmp_path / "out", smooth=0, **PLAIN)
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 11
    alone = fuser([ones[10], others[10]], align="none", deghost="off")
    assert np.array_equal(np.asarray(Image.open(written[10])), alone)


def test_brackets_of_a_timelapse(tmp_path: Path) -> None:
    ones, _ = scene.pictures(7)
    gains = (0.4, 1.0, 2.0)
    lit = [np.clip(p * gains[k % 3], 0, 255).astype(np.uint8) for k, p in enumerate(ones)]
    path = scene.write_video(tmp_path / "a.mkv", lit)
    report = run([path], tmp_path / "f.mkv", every=3, align="none")
    assert (report["frames"], report["rate"]) == (2, round(25 / 3, 4))


def test_start_and_end(files: tuple[str, str], fuser: Fuser) -> None:
    options: dict[str, Any] = {"offset": str(LATE), "align": "none", "smooth": 0, "model": fuser}
    whole = list(anyfuse.video.stream(*files, end=1.4, **options))
    part = list(anyfuse.video.stream(*files, start=1.0, end=1.4, **options))
    assert (len(whole), len(part)) == (35, 10)
    assert all(np.array_equal(a, b) for a, b in zip(whole[25:], part, strict=True))


# ---------------------------------------------------------------------- stopped, and going on


class Stopped(Exception):
    pass


@pytest.mark.parametrize("output", ["f.mp4", "f.mkv", "frames"])
def test_a_run_that_was_stopped_goes_on(
    output: str, files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"offset": str(LATE), "align": "once", "end": 0.8, "resume": True, "part": 8}
    whole = run(list(files), tmp_path / f"whole-{output}", **options)
    before = Run._begin
    made: list[int] = []

    def stopping(self: Any, count: int = 12) -> None:
        put = self.streams.fused

        def some(start: float | None = None) -> Any:
            for k, one in enumerate(put(start)):
                made.append(k)
                if k == count:
                    raise Stopped
                yield one

        self.streams.fused = some

    monkeypatch.setattr(Run, "_write_all", lambda self, start, real=Run._write_all: (stopping(self), real(self, start)))
    with pytest.raises(Stopped):
        run(list(files), tmp_path / output, **options)
    monkeypatch.undo()
    again = run(list(files), tmp_path / output, **options)
    assert again["resumed_at"] == 8
    assert again["frames"] == whole["frames"] == 20
    assert Run._begin is before
    if output == "frames":
        for file in sorted((tmp_path / "whole-frames").iterdir()):
            assert file.read_bytes() == (tmp_path / output / file.name).read_bytes()
        return
    (one, times), (other, others) = (scene.read_video(tmp_path / name) for name in (f"whole-{output}", output))
    assert np.array_equal(one, other)
    assert np.allclose(times, others)
    assert not (tmp_path / f"{output}.parts").exists()


def test_ctrl_c_leaves_a_file_that_plays(tmp_path: Path) -> None:
    ones, others = scene.pictures(12)
    small = [[p[:96, :128] for p in pictures] * 80 for pictures in (ones, others)]
    paths = [scene.write_video(tmp_path / n, v) for n, v in zip(("a.mkv", "b.mkv"), small, strict=True)]
    output = tmp_path / "f.mp4"
    command = [sys.executable, "-m", "anyfuse", "video", *paths, "-o", str(output), "--align", "none", "--offset", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    limit = time.monotonic() + 40
    while not (tmp_path / ".f.partial.mp4").exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "interrupted" in said.decode()
    assert 2 < len(scene.read_video(output)[0]) < 960


# ---------------------------------------------------------------------- programs


def test_bgr_in_is_bgr_out(fuser: Fuser) -> None:
    ones, others = scene.pictures(2)
    rgb = list(anyfuse.video.stream(ones, others, model=fuser, **PLAIN))
    bgr = list(anyfuse.video.stream([p[:, :, ::-1] for p in ones], iter(others), model=fuser, order="bgr", **PLAIN))
    assert all(np.array_equal(a, b[:, :, ::-1]) for a, b in zip(rgb, bgr, strict=True))


def test_grey_streams_give_grey(fuser: Fuser) -> None:
    _, others = scene.pictures(2)
    out = list(anyfuse.video.stream(others, [p[:, ::-1] for p in others], model=fuser, **PLAIN))
    assert out[0].shape == others[0].shape


def test_arrays_are_read_as_they_come(fuser: Fuser) -> None:
    ones, others = scene.pictures(30)
    read: list[int] = []

    def camera() -> Any:
        for k, picture in enumerate(ones):
            read.append(k)
            yield picture

    frames = anyfuse.video.stream(camera(), others, model=fuser, **PLAIN)
    next(frames)
    assert len(read) < 12
    frames.close()


def test_memory_does_not_grow(tmp_path: Path) -> None:
    ones, others = scene.pictures(10)
    program = (
        "import sys, anyfuse.video, numpy as np, resource; a, b = (np.load(f) for f in sys.argv[1:3]); n = 0\n"
        "for f in anyfuse.video.stream((a[k % 10] for k in range(200)), (b[k % 10] for k in range(200)), "
        "align='none', offset=0):\n"
        "    n += 1\n"
        "    if n in (50, 200): print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    np.save(tmp_path / "a.npy", np.stack(ones)[:, :96, :128])
    np.save(tmp_path / "b.npy", np.stack(others)[:, :96, :128])
    command = [sys.executable, "-c", program, str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    said = subprocess.run(
        command, capture_output=True, check=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    first, last = map(int, said.stdout.split())
    assert last - first < 8 * 1024  # KiB


# ---------------------------------------------------------------------- mistakes


def fails(*arguments: Any) -> str:
    """The one line that a command says."""
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stderr(said), pytest.raises(SystemExit) as stop:
        main(["video", *map(str, arguments)])
    assert stop.value.code == 2
    lines = said.getvalue().strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_mistakes_are_one_line(files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = files
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    (tmp_path / "empty").mkdir()
    out = ["-o", tmp_path / "f.mp4", "-q"]
    assert "no such file" in fails("none.mp4", b, *out)
    assert "cannot be opened" in fails(text, b, *out)
    assert "holds no frames" in fails(tmp_path / "empty", b, *out)
    assert "needs two streams" in fails(a, *out)
    assert "do not overlap" in fails(a, b, "--offset", "100", *out)
    assert "--offset x" in fails(a, b, "--offset", "x", *out)
    assert "h264 holds 8 bits" in fails(a, b, "--depth", "16", *out)
    assert "does not go into .mp4" in fails(a, b, "--codec", "ffv1", *out)
    assert "cannot write .gif" in fails(a, b, "-o", tmp_path / "f.gif")
    assert "give once, track" in fails(a, b, "--align", "often", *out)
    assert "is one of the inputs" in fails(a, b, "-o", a)
    monkeypatch.setitem(sys.modules, "av", None)
    assert 'pip install "anyfuse[video]"' in fails(a, b, *out)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        tone = container.add_stream("flac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        for packet in tone.encode(frame):
            container.mux(packet)
    with pytest.raises(FusionError, match="has no video stream"):
        open_source(str(path))


def test_the_report_is_json(fused: tuple[Path, dict[str, Any]]) -> None:
    assert json.loads(json.dumps(fused[1]))["frames"] > 80


def test_help_imports_neither_torch_nor_av() -> None:
    program = "import sys; from anyfuse.cli import main; print(sorted({'torch', 'av'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "[]"
