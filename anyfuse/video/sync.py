"""Streams side by side: to each picture of the reference the nearest ones in time of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import FusionError
from .sources import Picture, Source

REACH = 0.75  # of the longer interval between pictures, up to which the nearest one counts


class Nearest:
    """The picture of a stream that is nearest to a time; times must not fall."""

    def __init__(self, pictures: Iterator[Picture]) -> None:
        self._pictures = pictures
        self._before: Picture | None = None
        self._after: Picture | None = next(pictures, None)

    def at(self, time: float) -> Picture | None:
        """The nearest picture; None: the stream is empty."""
        while self._after is not None and self._after.time <= time:
            self._before, self._after = self._after, next(self._pictures, None)
        pair = [picture for picture in (self._before, self._after) if picture is not None]
        return min(pair, key=lambda picture: abs(picture.time - time)) if pair else None

    @property
    def is_over(self) -> bool:
        """Whether no later picture comes."""
        return self._after is None


def side_by_side(
    sources: Sequence[Source],
    offsets: Sequence[float],
    reference: int = 0,
    start: float = 0.0,
    end: float | None = None,
) -> Iterator[list[Picture]]:
    """The pictures that show one moment, in the order of the streams, for each picture of the reference.

    Args:
        sources: the streams.
        offsets: for each, seconds by which its clock is ahead: its picture at t + offset shows what the reference's
            shows at t.
        reference: index of the stream whose pictures give the times.
        start: seconds of the reference before which pictures are left out.
        end: seconds of the reference from which pictures are left out; None: until one of the streams ends.

    Raises:
        FusionError: no moment is shown by all of them.
    """
    first = sources[reference]
    begin = max(start, *(-offset for offset in offsets))
    reach = {k: REACH * max(first.interval, s.interval) for k, s in enumerate(sources) if k != reference}
    others = {k: Nearest(sources[k].pictures(max(0.0, begin + offsets[k] - 2 * reach[k]))) for k in reach}
    any_given = False
    for picture in first.pictures(start):
        if end is not None and picture.time >= end - 1e-6:
            break
        moment: list[Picture | None] = [None] * len(sources)
        moment[reference] = picture
        for k, nearest in others.items():
            time = picture.time + offsets[k]
            found = nearest.at(time)
            moment[k] = found if found is not None and abs(found.time - time) <= reach[k] else None
        complete = [one for one in moment if one is not None]
        if len(complete) == len(sources):
            any_given = True
            yield complete
        elif any(nearest.is_over for nearest in others.values()) and any_given:
            break
    if not any_given:
        spans = ", ".join(f"{s.name} at {o:+.2f} s" for s, o in zip(sources, offsets, strict=True))
        raise FusionError(f"the streams do not overlap in time ({spans}); check --offset, --start and --end")


def in_sets(source: Source, count: int, start: float = 0.0, end: float | None = None) -> Iterator[list[Picture]]:
    """Every `count` pictures of one stream as a set, as brackets of a timelapse; an incomplete last set is left out."""
    waiting: list[Picture] = []
    for picture in source.pictures(start):
        if end is not None and picture.time >= end - 1e-6:
            return
        waiting.append(picture)
        if len(waiting) == count:
            yield waiting
            waiting = []
