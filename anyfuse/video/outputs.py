"""Where fused pictures go: a video file, or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FusionError
from ..image.frame import convert_depth
from ..io.write import write_image
from .audio import AudioCopy
from .pyav import exactly, load_av, reason
from .settings import DEEP, FRAME_CODECS, Format
from .sources import HD

QUALITY = 18  # constant rate factor of H.264: differences are hardly seen
NAMES = {"h264": "libx264", "prores": "prores_ks", "ffv1": "ffv1"}
OPTIONS: dict[str, dict[str, str]] = {
    "h264": {"preset": "veryfast"},
    "prores": {"profile": "3"},  # HQ
    "ffv1": {"level": "3", "slicecrc": "1", "slices": "4"},
}
FINEST = 90000  # ticks a second beyond which clocks are not kept


def depth_of(form: Format, depth: np.dtype) -> np.dtype:
    """The depth in which pictures are stored."""
    if form.depth is not None:
        return np.dtype(np.uint8 if form.depth == 8 else np.uint16)
    return depth if form.codec in (*DEEP, "prores") else np.dtype(np.uint8)


def clock_of(time_base: Fraction, rate: float) -> Fraction:
    """The clock of the output: that of the reference, if it is fine enough and no finer than files have."""
    ticks = 1 / Fraction(time_base)
    return Fraction(time_base) if 4 * rate <= ticks <= FINEST else Fraction(1, FINEST)


class VideoFile:
    """A video file that is being written. `write` takes pictures in the order of time; `close` makes it play.

    Args:
        path: file; the container is that of its suffix.
        form: codec and quality.
        rate: frames a second, on average.
        clock: time base of the output.
        sound: makes the copy of the sound, from the open container; None: silent.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        form: Format,
        rate: float,
        clock: Fraction,
        sound: Callable[[Any], AudioCopy | None] | None = None,
    ) -> None:
        self.path, self.form, self.rate, self.clock = os.fspath(path), form, rate, clock
        self.count = 0
        self._av = load_av()
        self._sound = sound
        self._container: Any = None
        self._stream: Any = None
        self._audio: AudioCopy | None = None
        self._size = (0, 0)

    def write(self, pixels: np.ndarray, time: float) -> None:
        """Adds a picture (H, W, 1 or 3); time: seconds since the first one."""
        try:
            if self._container is None:
                self._open(pixels)
            frame = self._frame(pixels)
            frame.pts, frame.time_base = round(time / self.clock), self.clock
            if self._audio is not None:
                self._audio.until(time)
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (self._av.FFmpegError, OSError) as error:
            raise FusionError(
                f"{self.path}: cannot be written ({reason(error)}); free some space or choose another folder"
            ) from None
        self.count += 1

    def _open(self, pixels: np.ndarray) -> None:
        """Opens the file for pictures like this one."""
        codec, (height, width) = self.form.codec, pixels.shape[:2]
        if NAMES[codec] not in self._av.codecs_available:
            raise FusionError(f"{self.path}: this PyAV has no {NAMES[codec]}; choose another --codec")
        suffix = Path(self.path).suffix.lower()
        options = {"movflags": "+faststart"} if suffix in (".mp4", ".m4v", ".mov") else {}
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        self._container = self._av.open(self.path, "w", options=options)
        rate = Fraction(self.rate).limit_denominator(1001)
        stream = self._container.add_stream(NAMES[codec], rate=rate, options=dict(OPTIONS[codec]))
        even = 2 if codec == "h264" else 1
        stream.width, stream.height = -(-width // even) * even, -(-height // even) * even
        stream.pix_fmt = self._layout(pixels)
        context = stream.codec_context
        context.time_base = stream.time_base = self.clock
        if codec == "h264":
            quality = QUALITY if self.form.quality is None else self.form.quality
            context.options = {**OPTIONS[codec], "crf": str(quality)}
        if codec != "ffv1":
            context.colorspace = 1 if height >= HD else 6  # BT.709, SMPTE 170M
            context.color_primaries = context.color_trc = 1 if height >= HD else 6
            context.color_range = 1  # limited
        self._stream, self._size = stream, (stream.height, stream.width)
        self._audio = None if self._sound is None else self._sound(self._container)

    def _layout(self, pixels: np.ndarray) -> str:
        """The pixel format of the file."""
        if self.form.codec == "h264":
            return "yuv420p"
        if self.form.codec == "prores":
            return "yuv422p10le"
        deep, grey = pixels.dtype == np.uint16, pixels.shape[2] == 1
        if grey:
            return "gray16le" if deep else "gray"
        return "gbrp16le" if deep else "bgr0"

    def _frame(self, pixels: np.ndarray) -> Any:
        """A frame of the file's pixel format."""
        missing = [(0, a - b) for a, b in zip(self._size, pixels.shape[:2], strict=True)]
        if any(after for _, after in missing):
            pixels = np.pad(pixels, [*missing, (0, 0)], mode="edge")
        deep, layout = pixels.dtype == np.uint16, self._stream.pix_fmt
        if self.form.codec == "ffv1" and pixels.shape[2] == 1:
            return self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:, :, 0]), format=layout)
        colour = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
        frame = self._av.VideoFrame.from_ndarray(colour, format="rgb48le" if deep else "rgb24")
        if self.form.codec == "ffv1":
            return frame.reformat(format=layout)
        matrix = "ITU709" if pixels.shape[0] >= HD else "ITU601"
        way = exactly("write")
        return frame.reformat(
            format=layout, dst_colorspace=matrix, dst_color_range="MPEG", interpolation=way, threads=1
        )

    def close(self) -> None:
        """Writes what the encoder still holds, the rest of the sound, and the index."""
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            for packet in self._stream.encode(None):
                container.mux(packet)
            if self._audio is not None:
                self._audio.until(self._end)
                self._audio.close()
            container.close()
        except (self._av.FFmpegError, OSError) as error:
            raise FusionError(f"{self.path}: cannot be written ({reason(error)}); free some space") from None

    @property
    def _end(self) -> float:
        """Seconds at which the last picture ends, by the mean rate."""
        return self.count / self.rate


class FrameFolder:
    """A folder of numbered frames. A frame that is there stays."""

    def __init__(self, folder: str | os.PathLike[str], form: Format) -> None:
        self.folder, self.form = Path(folder), form
        self.count = 0

    def path(self, index: int) -> Path:
        """The file of a frame."""
        return self.folder / f"frame_{index:06d}{FRAME_CODECS[self.form.codec]}"

    def has(self, index: int) -> bool:
        """Whether a frame is there."""
        return self.path(index).is_file()

    def write(self, pixels: np.ndarray, index: int) -> None:
        """Writes a frame, whole or not at all, if it is not there."""
        if not self.has(index):
            write_image(self.path(index), pixels, overwrite=True)
        self.count += 1


def in_depth(pixels: np.ndarray, depth: np.dtype) -> np.ndarray:
    """Pixels in the depth in which they are stored."""
    return convert_depth(pixels, depth)
