"""What may be chosen for a video."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..align.settings import MODES
from ..errors import FusionError
from ..io.levels import parse_levels

CODECS = {".mp4": "h264", ".m4v": "h264", ".mov": "prores", ".mkv": "ffv1"}
"""The codec of a suffix, where none is named. All else is a folder of frames."""
FRAME_CODECS = {"png": ".png", "tiff": ".tif"}
CONTAINERS = {"h264": (".mp4", ".m4v", ".mov", ".mkv"), "prores": (".mov", ".mkv"), "ffv1": (".mkv",)}
DEEP = ("ffv1", "png", "tiff")
"""Codecs that keep 16 bits."""


@dataclass(frozen=True)
class VideoSettings:
    """Choices of one video. `align`: once, track, none, or a JSON file with transforms."""

    offset: str = "auto"  # seconds of each further stream, with commas; auto: by motion
    align: str = "once"
    transform: str = "auto"  # richest transform, as --align of `fuse`
    keep_frame: bool = False  # the size of the reference; else cut to what all streams show
    track_every: int = 25  # pictures after which a tracked alignment is found again
    reference: int = 0  # stream that gives times and size
    smooth: float = 0.5  # seconds over which decisions are averaged where nothing changes; 0: not at all
    start: float = 0.0  # seconds of the reference
    end: float | None = None
    every: int | None = None  # pictures of one stream that make one result
    rate: float | None = None  # frames a second of folders and arrays
    say: str | None = None
    black: str | None = None  # of 16-bit streams, one or one for each
    white: str | None = None
    order: str = "rgb"  # of arrays

    def __post_init__(self) -> None:
        if self.smooth < 0:
            raise FusionError(f"--smooth {self.smooth:g} cannot be; give seconds, or 0 for none")
        if self.end is not None and self.end <= self.start:
            raise FusionError(f"--end {self.end:g} is not after --start {self.start:g}")
        if self.start < 0:
            raise FusionError(f"--start {self.start:g} is before the beginning; give seconds from 0")
        if self.every is not None and self.every < 2:
            raise FusionError(f"--every {self.every}: a result is made of 2 frames or more")
        if self.rate is not None and not 0 < self.rate < 1000:
            raise FusionError(f"--fps {self.rate:g} cannot be; give frames a second")
        if self.order not in ("rgb", "bgr"):
            raise FusionError(f"order '{self.order}' is not known; give 'rgb' or 'bgr'")
        if self.align not in ("once", "track", "none") and not Path(self.align).is_file():
            raise FusionError(f"--align {self.align}: give once, track, none, or a file of --save-transforms")
        if self.transform not in MODES or self.transform in ("none", "tags", "local"):
            raise FusionError(f"--transform {self.transform}: give auto, shift, similarity, affine or homography")

    def offsets(self, count: int) -> list[float] | None:
        """Seconds for each of `count` streams, 0 for the reference; None: to be found."""
        if self.offset == "auto":
            return None
        try:
            given = [float(part) for part in str(self.offset).split(",")]
        except ValueError:
            raise FusionError(f"--offset {self.offset}: give seconds, as 0.25, or auto") from None
        if len(given) != count - 1 or not all(abs(value) < 1e6 for value in given):
            raise FusionError(f"--offset {self.offset}: give one number for each of the {count - 1} further streams")
        given.insert(self.reference, 0.0)
        return given

    def levels(self, count: int) -> list[tuple[float | None, float | None]]:
        """Black and white of each stream."""
        return [(level.black, level.white) for level in parse_levels(count, self.white, self.black, "none")]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the report and to know whether a run that was stopped had the same."""
        return asdict(self)


@dataclass(frozen=True)
class Format:
    """How results are stored."""

    codec: str  # h264, prores, ffv1, png or tiff
    quality: int | None = None  # of h264: 0 (lossless) to 51, 18 where none is given
    depth: int | None = None  # bits asked for, 8 or 16; None: those of the streams as far as the codec takes them

    @property
    def is_folder(self) -> bool:
        """Whether results are single files."""
        return self.codec in FRAME_CODECS


def format_of(output: str, codec: str | None, quality: int | None = None, depth: int | None = None) -> Format:
    """How an output is stored; FusionError where the parts do not fit."""
    suffix = Path(output).suffix.lower()
    known = {"h264", "prores", "ffv1", *FRAME_CODECS}
    if codec is not None and codec not in known:
        raise FusionError(f"--codec {codec} is not known; give one of {', '.join(sorted(known))}")
    if codec is None and suffix and suffix not in CODECS:
        raise FusionError(f"{output}: cannot write {suffix}; use .mp4, .mov, .mkv, or a folder for frames")
    chosen = codec or CODECS.get(suffix, "png")
    if chosen in FRAME_CODECS and suffix in CODECS:
        raise FusionError(f"{output}: --codec {chosen} writes single frames; give a folder")
    if chosen in CONTAINERS and suffix not in CONTAINERS[chosen]:
        fitting = " or ".join(CONTAINERS[chosen])
        raise FusionError(f"{output}: {chosen} does not go into {suffix or 'a folder'}; write {fitting}")
    if depth not in (None, 8, 16):
        raise FusionError(f"--depth {depth} cannot be; give 8 or 16")
    if depth == 16 and chosen not in DEEP:
        bits = 8 if chosen == "h264" else 10
        raise FusionError(f"{output}: {chosen} holds {bits} bits, not 16; write .mkv (FFV1), or a folder of frames")
    if quality is not None and chosen != "h264":
        raise FusionError(f"--quality is for h264; {chosen} has none, so leave it out")
    if quality is not None and not 0 <= quality <= 51:
        raise FusionError(f"--quality {quality} cannot be; give 0 (lossless) to 51, 18 is usual")
    return Format(chosen, quality, depth)
