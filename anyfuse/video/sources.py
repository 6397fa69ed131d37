"""Streams of pictures: files and cameras by PyAV, folders of numbered frames, arrays."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FusionError
from ..io.frames import read_frames
from .pyav import exactly, load_av, reason

IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm", ".jp2")
HEAD = 3  # first pictures that decide whether a stream has colour
WITHIN = (0.25, 0.5, 0.75)  # parts of a file and of a folder at which one more picture does
NEUTRAL = 3  # levels of 255 by which the channels of a grey stream stored in colour may differ
RATE = 25.0  # frames a second of folders and arrays where none is given
PLANAR = re.compile(r"yuvj?4(20|22|44)p")
"""Formats whose first plane is luma in 8 bits."""
HD = 720  # rows from which streams that do not name their matrix are BT.709
FULL_RANGE = 2  # of ffmpeg's AVColorRange: luma from 0 to 255, not from 16 to 235
FROM_VIDEO = np.clip((np.arange(256) - 16) * 255 / 219 + 0.5, 0, 255).astype(np.uint8)
"""Level of an image for each luma from 16 to 235."""


@dataclass(frozen=True)
class Picture:
    """One picture of a stream. time: seconds since the first picture of the stream."""

    pixels: np.ndarray  # (H, W, 1 or 3) uint8 or uint16, RGB
    time: float
    name: str = ""  # of its file


class Source:
    """A stream. `pictures` gives its pictures in the order of time."""

    name: str
    rate: float  # frames a second, on average
    width: int
    height: int
    depth: str  # uint8 or uint16
    channels: int  # 1 or 3
    length: int | None = None  # pictures, where it is known
    is_live: bool = False  # a camera, or arrays: it is read once
    time_base: Fraction = Fraction(1, 90000)

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Pictures from `start` seconds on. A live source is read once."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives back what is open."""

    @property
    def interval(self) -> float:
        """Seconds between two pictures."""
        return 1.0 / self.rate

    def describe(self) -> dict[str, Any]:
        """Plain values for the report."""
        names = ("name", "width", "height", "depth", "channels", "length")
        return {name: getattr(self, name) for name in names} | {"rate": round(self.rate, 4)}


def open_source(given: Any, rate: float | None = None, order: str = "rgb", number: int = 1) -> Source:
    """The stream that a path, a URL, a folder, a pattern or an iterable of arrays stands for.

    Args:
        given: file, folder of numbered frames, 'frames/*.png' or 'frames/%05d.png', 'rtsp://...', '/dev/video0', or
            arrays (H, W), (H, W, 1 or 3).
        rate: frames a second of folders and arrays; None: 25.
        order: 'rgb' or 'bgr', of arrays.
        number: of the stream, for messages.

    Raises:
        FusionError: there is no such stream, or it holds no pictures.
    """
    if not isinstance(given, str | os.PathLike):
        if not isinstance(given, Iterable):
            raise FusionError(f"stream {number} is a {type(given).__name__}; give a path or an iterable of arrays")
        return ArraySource(given, rate or RATE, order, f"stream {number}")
    name = os.fspath(given)
    path = Path(name)
    if path.is_dir():
        return FolderSource(name, [str(p) for p in path.iterdir() if p.suffix.lower() in IMAGES], rate or RATE)
    if not path.exists() and ("%" in path.name or "*" in path.name):
        pattern = re.sub(r"%0?\d*d", "*", name)
        return FolderSource(name, [p for p in glob.glob(pattern) if Path(p).suffix.lower() in IMAGES], rate or RATE)
    return StreamSource(name)


class StreamSource(Source):
    """A file, camera or network stream, decoded by PyAV."""

    def __init__(self, name: str) -> None:
        av = load_av()
        self.name = name
        self.is_live = name.startswith("/dev/") or ("://" in name and not name.startswith("file:"))
        if not self.is_live and not Path(name.removeprefix("file:")).exists():
            raise FusionError(f"{name}: no such file; check the path")
        self.errors = (av.FFmpegError, ValueError)
        self._container, self._decoded = self._open()
        try:
            head = list(itertools.islice(self._decoded, HEAD))
        except self.errors as error:
            raise FusionError(f"{name}: cannot be decoded ({reason(error)}); convert it with another program") from None
        if not head:
            raise FusionError(f"{name}: holds no frames; give another file")
        self._head = head
        stream = self._container.streams.video[0]
        first = head[0]
        self.first_time = float(first.time or 0.0)
        self.time_base = Fraction(stream.time_base or Fraction(1, 90000))
        self.rate = self._rate(stream, head)
        self.width, self.height = first.width, first.height
        self.depth = "uint16" if max(c.bits for c in first.format.components) > 8 else "uint8"
        self.length = stream.frames or None
        if self.length is None and not self.is_live and self._container.duration:
            self.length = round(self._container.duration / 1e6 * self.rate)
        self.channels = 1 if first.format.name.startswith("gray") else 3
        if self.channels == 3 and all(_is_neutral(self._pixels(f)) for f in itertools.chain(head, self._later())):
            self.channels = 1

    def _later(self) -> Iterator[Any]:
        """Pictures from within a file, since the first ones may be black."""
        duration, start = self._container.duration, self._container.start_time or 0
        if self.is_live or not duration:
            return
        for share in WITHIN:
            container, decoded = self._open()
            try:
                container.seek(start + int(duration * share), backward=True)
                yield from itertools.islice(decoded, 1)
            except self.errors:
                pass  # a file that cannot seek is judged by its first pictures
            finally:
                container.close()

    def _open(self) -> tuple[Any, Iterator[Any]]:
        av = load_av()
        options = {"rtsp_transport": "tcp"} if self.name.startswith("rtsp") else {}
        kind = "v4l2" if self.name.startswith("/dev/video") else None
        try:
            container = av.open(self.name, format=kind, options=options, timeout=(20, 20) if self.is_live else None)
        except (*self.errors, OSError) as error:
            remedy = "check the address" if self.is_live else "give a video file, a folder of frames or a camera"
            raise FusionError(f"{self.name}: cannot be opened ({reason(error)}); {remedy}") from None
        if not container.streams.video:
            container.close()
            raise FusionError(f"{self.name}: has no video stream; give a file with pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 2
        return container, container.decode(stream)

    @staticmethod
    def _rate(stream: Any, head: list[Any]) -> float:
        for rate in (stream.average_rate, stream.guessed_rate):
            if rate:
                return float(rate)
        times = [float(frame.time) for frame in head if frame.time is not None]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else RATE

    def _pixels(self, frame: Any) -> np.ndarray:
        """(H, W, 1 or 3) in the depth of the stream."""
        name = frame.format.name
        if name == "gray":
            return frame.to_ndarray()[:, :, None]
        if name.startswith("gray"):
            return frame.to_ndarray(format="gray16le")[:, :, None]
        if self.channels == 1 and PLANAR.fullmatch(name):
            return _grey(frame)
        wide = "rgb48le" if self.depth == "uint16" else "rgb24"
        unknown = int(frame.colorspace) in (0, 2)
        matrix = "ITU709" if unknown and frame.height >= HD else None
        pixels = frame.reformat(
            format=wide, src_colorspace=matrix, interpolation=exactly("read"), threads=1
        ).to_ndarray()
        return pixels[:, :, 1:2] if self.channels == 1 else pixels

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        if self.is_live:
            decoded: Iterator[Any] = itertools.chain(self._head, self._decoded)
            self._head = []
        else:
            self.close()
            self._container, self._decoded = self._open()
            if start > 0:
                target = int((start + self.first_time) * 1e6) - 1
                self._container.seek(max(0, target), backward=True)
            decoded = self._decoded
        last = -1.0
        try:
            for count, frame in enumerate(decoded):
                known = frame.time is not None
                time = float(frame.time) - self.first_time if known else start + count * self.interval
                if time < start - 1e-6 or time <= last:
                    continue
                last = time
                yield Picture(self._pixels(frame), time)
        except self.errors as error:
            if last < 0:
                raise FusionError(f"{self.name}: cannot be decoded ({reason(error)}); give another file") from None
            return  # a file that was cut off, a camera that went away: what came before counts

    def close(self) -> None:
        self._head = []
        self._container.close()


class FolderSource(Source):
    """A folder of numbered frames, or files of a pattern, in natural order."""

    def __init__(self, name: str, files: list[str], rate: float) -> None:
        self.name, self.rate = name, rate
        self.files = sorted(files, key=natural)
        if not self.files:
            raise FusionError(f"{name}: holds no frames ({', '.join(IMAGES)}); give a folder of images")
        self.length = len(self.files)
        self.time_base = Fraction(1, 90000)
        head = [self._read(file) for file in self.files[:HEAD]]
        self.height, self.width = head[0].shape[:2]
        self.depth = str(head[0].dtype)
        later = (self._read(self.files[int(len(self.files) * share)]) for share in WITHIN)
        self.channels = 1 if all(p.shape[2] == 1 or _is_neutral(p) for p in itertools.chain(head, later)) else 3

    @staticmethod
    def _read(file: str) -> np.ndarray:
        pixels = read_frames([file], range="none", pages="0")[0].pixels
        if pixels.dtype == np.float32:
            raise FusionError(f"{file}: has float values; save frames with 8 or 16 bits")
        return pixels

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        for k in range(max(0, round(start * self.rate)), len(self.files)):
            pixels = self._read(self.files[k])
            pixels = pixels[:, :, :1] if self.channels == 1 else np.broadcast_to(pixels, (*pixels.shape[:2], 3))
            yield Picture(pixels, k / self.rate, Path(self.files[k]).name)


class ArraySource(Source):
    """Arrays of a program, read once."""

    is_live = True

    def __init__(self, arrays: Iterable[Any], rate: float, order: str, name: str) -> None:
        self.name, self.rate, self.order = name, rate, order
        self._rest = iter(arrays)
        self._head = [self._checked(array) for array in itertools.islice(self._rest, 1)]
        if not self._head:
            raise FusionError(f"{name}: holds no frames; give at least one array")
        first = self._head[0]
        self.height, self.width = first.shape[:2]
        self.depth, self.channels = str(first.dtype), first.shape[2]

    def _checked(self, array: Any) -> np.ndarray:
        pixels = np.asarray(array)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype.name not in ("uint8", "uint16"):
            what = f"{pixels.dtype} of shape {pixels.shape}"
            raise FusionError(f"{self.name}: {what} is no frame; give (H, W) or (H, W, 1 or 3), uint8 or uint16")
        return pixels[:, :, ::-1] if self.order == "bgr" and pixels.shape[2] == 3 else pixels

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        head, self._head = self._head, []
        for count, array in enumerate(itertools.chain(head, map(self._checked, self._rest))):
            if count / self.rate >= start - 1e-6:
                yield Picture(array, count / self.rate)


def natural(name: str) -> list[Any]:
    """Key by which frame2 comes before frame10."""
    return [(int(part), "") if part.isdigit() else (0, part.lower()) for part in re.split(r"(\d+)", name)]


def _grey(frame: Any) -> np.ndarray:
    """(H, W, 1) uint8 of a neutral picture in `PLANAR`: its luma, from the range of video to that of images."""
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width, None]
    is_full = int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj")
    return luma.copy() if is_full else np.take(FROM_VIDEO, luma)


def _is_neutral(pixels: np.ndarray) -> bool:
    """Whether the channels (H, W, 3) agree, up to what storing as YUV does."""
    if pixels.shape[2] == 1:
        return True
    scale = 257 if pixels.dtype == np.uint16 else 1
    values = pixels.astype(np.int32)
    return int((values.max(2) - values.min(2)).max()) <= NEUTRAL * scale
