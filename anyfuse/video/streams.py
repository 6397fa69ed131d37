"""From streams to fused pictures: offsets, alignment, then one moment after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..errors import FusionError
from ..fuser import Fuser
from ..image.frame import FULL, Frame, make_frame
from .alignment import Aligner
from .fusing import MomentFuser
from .offset import Offset, find_offset
from .settings import VideoSettings
from .sources import Picture, Source
from .sync import in_sets, side_by_side
from .threads import ahead

MOMENTS = 5  # on which an alignment is found
WAITING = 3  # moments that are decoded and aligned ahead


Moment = tuple[float, list[Frame], dict[str, Any]]
"""Time, frames over the reference, and the state of the alignment."""


@dataclass(frozen=True)
class Fused:
    """One fused picture."""

    time: float  # seconds since the first picture of the reference
    pixels: np.ndarray  # (H, W, 1 or 3)
    aligner: dict[str, Any] = field(default_factory=dict)  # the state of the alignment after it


class Streams:
    """Two or more streams of one scene, or one whose every N pictures make one result.

    Args:
        sources: the streams.
        fuser: the loaded model.
        settings: what is chosen.

    Raises:
        FusionError: too few streams, or numbers that do not fit them.
    """

    def __init__(self, sources: Sequence[Source], fuser: Fuser, settings: VideoSettings) -> None:
        self.sources, self.settings = list(sources), settings
        count = len(self.sources)
        if settings.every is None and count < 2:
            raise FusionError(f"video fusion needs two streams, and got {count}; or give one stream and --every N")
        if settings.every is not None and count != 1:
            raise FusionError(f"--every makes sets of one stream, and {count} were given; leave one of them out")
        self.size = settings.every or count  # pictures of a moment
        if not 0 <= settings.reference < self.size:
            raise FusionError(f"--reference {settings.reference + 1} is not one of the {self.size}; count from 1")
        self.levels = settings.levels(count)
        self.is_live = any(source.is_live for source in self.sources)
        self.aligner = Aligner(settings, is_cut=not self.is_live)
        per_moment = self.sources * self.size if settings.every else self.sources
        self.fuse = MomentFuser(fuser, settings, [source.channels == 3 for source in per_moment])
        self.offsets: list[Offset] = []
        self.notes: list[str] = []

    @property
    def reference(self) -> Source:
        """The stream that gives the times."""
        return self.sources[0 if self.settings.every else self.settings.reference]

    @property
    def rate(self) -> float:
        """Results a second."""
        return self.reference.rate / (self.settings.every or 1)

    @property
    def expected(self) -> int | None:
        """About how many results there will be; None: unknown."""
        lengths = [s.length / s.rate for s in self.sources if s.length is not None]
        if self.is_live or not lengths:
            return None
        end = min(lengths) if self.settings.end is None else min(*lengths, self.settings.end)
        return max(1, round((end - self.settings.start) * self.rate))

    def prepare(self, state: dict[str, Any] | None = None) -> None:
        """Finds offsets and alignment, or takes those of a run that was stopped."""
        if state is not None:
            self.offsets = [Offset(o["seconds"], o["confidence"], o["how"]) for o in state["offsets"]]
            self.aligner.load(state["aligner"])
            return
        self.offsets = self._find_offsets()
        if self.settings.align != "none" and not self.is_live:
            moments = [self._frames(m) for m in self._samples()]
            if not moments:  # nothing in common: say so
                next(iter(self._moments(self.settings.start)))
            self.aligner.find(moments)

    def _find_offsets(self) -> list[Offset]:
        given = self.settings.offsets(len(self.sources)) if self.settings.every is None else [0.0]
        if given is not None:
            return [Offset(seconds, 1.0, "given") for seconds in given]
        out: list[Offset] = []
        for k, source in enumerate(self.sources):
            if k == self.settings.reference or self.is_live:
                out.append(Offset(0.0, 1.0 if k == self.settings.reference else 0.0, "none"))
                continue
            found = find_offset(self.reference, source)
            if found.how == "none":
                self.notes.append(
                    f"{source.name}: motion gives no sure offset (confidence {found.confidence:.2f}); "
                    "it is taken as 0, or give --offset SECONDS"
                )
            out.append(found)
        return out

    def _moments(self, start: float) -> Iterator[list[Picture]]:
        if self.settings.every is not None:
            return in_sets(self.sources[0], self.settings.every, start, self.settings.end)
        seconds = [offset.seconds for offset in self.offsets]
        return side_by_side(self.sources, seconds, self.settings.reference, start, self.settings.end)

    def _samples(self) -> list[list[Picture]]:
        """Moments over the whole length, on which the alignment is found."""
        span = (self.expected or 1) / self.rate
        out: list[list[Picture]] = []
        for k in range(MOMENTS):
            try:
                moment = next(self._moments(self.settings.start + span * k / MOMENTS), None)
            except FusionError:  # past the end of what all show
                moment = None
            if moment is not None and (not out or moment[0].time > out[-1][0].time):
                out.append(moment)
        return out

    def _frames(self, moment: Sequence[Picture]) -> list[Frame]:
        """The pictures with their black and white levels."""
        out: list[Frame] = []
        for k, picture in enumerate(moment):
            source = self.sources[0 if self.settings.every else k]
            black, white = self.levels[0 if self.settings.every else k]
            pixels = np.ascontiguousarray(picture.pixels)
            if pixels.dtype == np.uint16 and (black is not None or white is not None):
                low, high = black or 0.0, FULL["uint16"] if white is None else white
                if high <= low:
                    raise FusionError(f"{source.name}: --white {high:g} is not above --black {low:g}")
                scaled = (pixels.astype(np.float32) - low) * (FULL["uint16"] / (high - low))
                pixels = (scaled.clip(0, FULL["uint16"]) + 0.5).astype(np.uint16)
            out.append(make_frame(pixels, name=source.name))
        return out

    def _aligned(self, start: float) -> Iterator[Moment]:
        """Time, frames over the reference, and the state of the alignment, of one moment after the other."""
        reference = 0 if self.settings.every else self.settings.reference
        for moment in self._moments(start):
            frames = self._frames(moment)
            if self.aligner.matrices is None and self.settings.align != "none":
                self.aligner.find([frames])
            yield moment[reference].time, self.aligner(frames), self.aligner.state()

    @staticmethod
    def _alone(moments: Iterator[Moment]) -> Iterator[Moment]:
        """The moments, made on one thread of torch: two threads that each ask for all cores wait for one another."""
        torch.set_num_threads(1)
        yield from moments

    def fused(self, start: float | None = None) -> Iterator[Fused]:
        """The results in the order of time. start: seconds of the reference, where a run that was stopped goes on."""
        threads = torch.get_num_threads()
        moments = ahead(self._alone(self._aligned(self.settings.start if start is None else start)), WAITING)
        try:
            for count, (time, frames, state) in enumerate(moments):
                if not count:
                    torch.set_num_threads(threads)  # for this thread and new ones; that of `moments` keeps its 1
                yield Fused(time, self.fuse(frames, time), state)
        finally:
            moments.close()  # type: ignore[attr-defined]

    def all_notes(self) -> list[str]:
        """What a user should know."""
        return [*self.notes, *self.aligner.notes, *self.fuse.notes]

    def close(self) -> None:
        """Closes the streams."""
        for source in self.sources:
            source.close()
