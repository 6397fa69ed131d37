"""Video: frames a second, flicker, trails, and memory against length.

    python experiments/video.py            all of it
    python experiments/video.py speed      one part: speed, stages, flicker, memory

Streams are made here: examples/infrared at 640x480 with sensor noise of 3 levels (visible) and 2 (infrared), and a hot
thing that moves. Speed is file to file: two H.264 files are decoded, fused and encoded as H.264.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples" / "infrared"
LUMA = np.array([0.299, 0.587, 0.114])
WIDTH, HEIGHT, RATE = 640, 480, 25
LENGTHS = (50, 200, 800)


def frames(count: int, moves: bool = True, seed: int = 1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Visible (H, W, 3) and thermal (H, W) uint8."""
    visible, thermal = (
        np.asarray(Image.open(EXAMPLES / name).convert(mode).resize((WIDTH, HEIGHT)), dtype=np.float32)
        for name, mode in (("visible.jpg", "RGB"), ("thermal.png", "L"))
    )
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    ones, others = [], []
    for k in range(count):
        x, y = place(k / RATE)
        share = np.clip(20.5 - np.hypot(columns - x, rows - y), 0, 1).astype(np.float32) * moves
        seen = visible * (1 - share[..., None]) + 50 * share[..., None] + noise(draws, visible.shape, 3)
        felt = thermal * (1 - share) + 235 * share + noise(draws, thermal.shape, 2)
        ones.append(np.clip(seen, 0, 255).astype(np.uint8))
        others.append(np.clip(felt, 0, 255).astype(np.uint8))
    return ones, others


def place(time: float) -> tuple[float, float]:
    """Centre of the moving thing."""
    return WIDTH * (0.5 + 0.35 * np.sin(1.1 * time)), HEIGHT * (0.6 + 0.2 * np.sin(1.7 * time + 1))


def noise(draws: np.random.Generator, shape: tuple[int, ...], spread: float) -> np.ndarray:
    """Gaussian."""
    return draws.standard_normal(shape, np.float32) * np.float32(spread)


def write(path: Path, pictures: list[np.ndarray]) -> str:
    """An H.264 file."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast"}
        for picture in pictures:
            colour = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
            container.mux(stream.encode(av.VideoFrame.from_ndarray(colour, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def command(files: list[str], output: Path, threads: int, *options: str) -> dict[str, float]:
    """The report of `anyfuse video`."""
    report = output.with_suffix(".json")
    words = [sys.executable, "-m", "anyfuse", "video", *files, "-o", str(output), "--report", str(report), "-q"]
    words += ["--overwrite", *options]
    subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    return json.loads(report.read_text())


def speed(folder: Path) -> None:
    """Frames a second."""
    ones, others = frames(120)
    files = [write(folder / "visible.mp4", ones), write(folder / "thermal.mp4", others)]
    matrices = [np.eye(3), np.array([[1, 0, 3.3], [0, 1, -2.2], [0, 0, 1]])]
    moved = folder / "moved.json"
    moved.write_text(json.dumps([{"matrix": m.tolist()} for m in matrices]))
    print("| model | threads | alignment | frames a second | CPU ms a frame | seconds before |")
    print("|---|---:|---|---:|---:|---:|")
    for model in ("anyfuse", "laplacian"):
        for threads in (1, 2):
            for name, align in {"none": "none", "moved by 4 pixels": str(moved)}.items():
                found = command(files, folder / "f.mp4", threads, "--model", model, "--align", align)
                rate, before = found["frames_a_second"], found["seconds_preparing"]
                cost = 1000 * found["cpu_seconds"] / found["frames"]
                print(f"| {model} | {threads} | {name} | {rate:.1f} | {cost:.0f} | {before:.1f} |", flush=True)


def stages(folder: Path) -> None:
    """Processor time of each of the three threads, which counts on a busy machine too; one thread of the model."""
    import torch

    from anyfuse import Fuser
    from anyfuse.video.outputs import VideoFile, clock_of
    from anyfuse.video.settings import Format, VideoSettings
    from anyfuse.video.sources import open_source
    from anyfuse.video.streams import Streams

    torch.set_num_threads(1)
    ones, others = frames(60)
    files = [write(folder / "visible.mp4", ones), write(folder / "thermal.mp4", others)]
    print("| model | reading, CPU ms a frame | fusion | writing | frames a second of the slowest |")
    print("|---|---:|---:|---:|---:|")
    for model in ("anyfuse", "laplacian"):
        sources = [open_source(name) for name in files]
        streams = Streams(sources, Fuser(model), VideoSettings(offset="0", align="none"))
        streams.prepare()
        begun = time.process_time()
        moments = list(streams._aligned(0.0))
        costs, fused = [time.process_time() - begun], []
        streams.fuse(moments[0][1], moments[0][0])  # the first one loads kernels
        begun = time.process_time()
        for moment in moments[1:]:
            fused.append(streams.fuse(moment[1], moment[0]))
        costs.append(time.process_time() - begun)
        out = VideoFile(folder / "out.mp4", Format("h264"), RATE, clock_of(sources[0].time_base, RATE))
        begun = time.process_time()
        for k, pixels in enumerate(fused):
            out.write(pixels, k / RATE)
        out.close()
        costs.append(time.process_time() - begun)
        each = [1000 * cost / len(fused) for cost in costs]
        print(f"| {model} | " + " | ".join(f"{ms:.0f}" for ms in each) + f" | {1000 / max(each):.0f} |", flush=True)
        streams.close()


def blocks(pictures: list[np.ndarray], side: int = 16) -> np.ndarray:
    """(T, h, w) means of blocks of luma."""
    values = np.stack([p.astype(np.float32) @ LUMA if p.ndim == 3 else p.astype(np.float32) for p in pictures])
    return values.reshape(len(values), HEIGHT // side, side, WIDTH // side, side).mean((2, 4))


def flicker(_: Path) -> None:
    """Deviation over time of still blocks, and what is left behind a moving thing."""
    from anyfuse import Fuser, video

    still, moving = frames(50, moves=False), frames(30)
    print("| | blocks, levels | pixels, levels | behind the moving thing, levels |\n|---|---:|---:|---:|")
    for name, pictures in zip(("visible", "infrared"), still, strict=True):
        print(
            f"| {name} | {blocks(pictures)[10:].std(0).mean():.3f} | {blocks(pictures, 1)[10:].std(0).mean():.2f} | |"
        )
    for model in ("anyfuse", "laplacian"):
        fuser = Fuser(model)
        for smooth in (0.0, 0.5):
            options = {"model": fuser, "offset": 0, "align": "none", "smooth": smooth}
            out = list(video.stream(*still, **options))
            moved = list(video.stream(*moving, **options))
            alone = fuser([moving[0][-1], moving[1][-1]], align="none", deghost="off")
            away = blocks([moved[-1]], 1)[0] - blocks([alone], 1)[0]
            rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
            gone = [np.hypot(columns - x, rows - y) < 20 for x, y in (place(k / RATE) for k in range(15, 30))]
            behind = np.any(gone[:-1], axis=0) & ~gone[-1]
            own = f"{blocks(out)[10:].std(0).mean():.3f} | {blocks(out, 1)[10:].std(0).mean():.2f}"
            print(f"| {model}, --smooth {smooth:g} | {own} | {np.abs(away[behind]).mean():.2f} |", flush=True)


def memory(folder: Path) -> None:
    """Peak of the process against the number of frames."""
    ones, others = frames(50)
    print("| frames | peak memory, MiB | frames a second |\n|---:|---:|---:|")
    for count in LENGTHS:
        times = count // 50
        files = [write(folder / f"{n}.mp4", p * times) for n, p in (("a", ones), ("b", others))]
        found = command(files, folder / "f.mp4", 1, "--align", "none", "--offset", "0")
        print(f"| {count} | {found['peak_memory_mib']:.0f} | {found['frames_a_second']:.1f} |", flush=True)


PARTS = {"speed": speed, "stages": stages, "flicker": flicker, "memory": memory}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place_of_files:
        for part in sys.argv[1:] or PARTS:
            PARTS[part](Path(place_of_files))
