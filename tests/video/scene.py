"""Streams of a scene that is made here: a still background, a hot thing that moves in both, noise, two clocks."""

from __future__ import annotations

import functools
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from anyfuse.video.pyav import exactly

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "infrared"
HEIGHT, WIDTH, RATE = 192, 256, 25
SHIFT = (5, -4)  # x, y of the thermal camera against the visible one, in pixels
RADIUS = 9


@functools.lru_cache
def backgrounds() -> tuple[np.ndarray, np.ndarray]:
    """Visible (H, W, 3) and thermal (H, W) of the example, with room for a shift, as float."""
    visible = np.asarray(Image.open(EXAMPLES / "visible.jpg").convert("RGB"), dtype=float)
    thermal = np.asarray(Image.open(EXAMPLES / "thermal.png").convert("L"), dtype=float)
    rows, columns = slice(60, 60 + HEIGHT + 32), slice(60, 60 + WIDTH + 32)
    return visible[rows, columns], thermal[rows, columns]


def place(time: float) -> tuple[float, float]:
    """Centre x, y of the moving thing: it goes left and right, fast and slow."""
    x = WIDTH * (0.5 + 0.3 * np.sin(1.7 * time) + 0.1 * np.sin(4.1 * time))
    return x, HEIGHT * (0.55 + 0.15 * np.sin(2.3 * time + 1))


def disc(time: float, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """(H, W) 1 within the thing, 0 outside."""
    x, y = place(time)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    away = np.hypot(columns - x - shift[0], rows - y - shift[1])
    return np.clip(RADIUS + 0.5 - away, 0, 1)


def visible(time: float, draws: np.random.Generator, noise: float = 3.0, moves: bool = True) -> np.ndarray:
    """(H, W, 3) uint8."""
    background, _ = backgrounds()
    picture = background[16 : 16 + HEIGHT, 16 : 16 + WIDTH]
    share = disc(time)[:, :, None] * moves
    picture = picture * (1 - share) + np.array([60, 40, 40]) * share
    return np.clip(picture + draws.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def thermal(
    time: float, draws: np.random.Generator, noise: float = 2.0, shift: tuple[int, int] = (0, 0), moves: bool = True
) -> np.ndarray:
    """(H, W) uint8; shift: x, y by which its picture is moved."""
    _, background = backgrounds()
    top, left = 16 - shift[1], 16 - shift[0]
    picture = background[top : top + HEIGHT, left : left + WIDTH]
    share = disc(time, shift) * moves
    picture = picture * (1 - share) + 235 * share
    return np.clip(picture + draws.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def pictures(count: int, late: float = 0.0, shift: tuple[int, int] = (0, 0), seed: int = 1, moves: bool = True):
    """Lists of visible and thermal pictures; the thermal clock is ahead by `late` seconds."""
    draws = np.random.default_rng(seed)
    times = np.arange(count) / RATE
    ones = [visible(t, draws, moves=moves) for t in times]
    others = [thermal(t - late, draws, shift=shift, moves=moves) for t in times]
    return ones, others


def write_video(path: Path, frames, rate: int = RATE, sound: bool = False, times=None, lossless: bool = True) -> str:
    """A video file of the pictures, with a tone as sound; times in milliseconds, where they are uneven."""
    import av

    with av.open(str(path), "w") as container:
        first = frames[0]
        grey, deep = first.ndim == 2, first.dtype == np.uint16
        codec = "ffv1" if path.suffix == ".mkv" else "libx264"
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = first.shape[:2]
        layout = ("gray16le" if deep else "gray") if grey else "rgb24"
        stream.pix_fmt = (layout if grey else "bgr0") if codec == "ffv1" else "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "10", "preset": "ultrafast"}
        tone = container.add_stream("aac" if path.suffix != ".mkv" else "flac", rate=16000) if sound else None
        clock = Fraction(1, 1000)
        if times is not None:
            stream.codec_context.time_base = stream.time_base = clock
        for k, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format=layout)
            if times is not None:
                frame.pts, frame.time_base = times[k], clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(16000 * len(frames) // rate) * 0.17) * 9000
            kind = "s16" if tone.codec_context.name == "flac" else "fltp"
            values = wave.astype(np.int16) if kind == "s16" else (wave / 32768).astype(np.float32)
            for k in range(0, len(values) - 1024, 1024):
                part = av.AudioFrame.from_ndarray(values[None, k : k + 1024], format=kind, layout="mono")
                part.sample_rate, part.pts = 16000, k
                container.mux(tone.encode(part))
            container.mux(tone.encode(None))
    return str(path)


def read_video(path: Path | str, layout: str = "rgb24") -> tuple[np.ndarray, list[float]]:
    """All pictures of a file, and their times."""
    import av

    with av.open(str(path)) as container:
        found = [
            (f.reformat(format=layout, interpolation=exactly("read")).to_ndarray(), float(f.time))
            for f in container.decode(video=0)
        ]
    return np.stack([f for f, _ in found]), [t for _, t in found]
