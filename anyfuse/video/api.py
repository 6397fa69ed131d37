"""The Python call: a generator of fused frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FusionError, names_arguments

if TYPE_CHECKING:
    import numpy as np

    from ..fuser import Fuser


@names_arguments
def stream(
    *sources: Any,
    model: str | Path | Fuser | None = None,
    order: str = "rgb",
    offset: str | float = "auto",
    align: str = "once",
    transform: str = "auto",
    keep_frame: bool = False,
    reference: int = 0,
    smooth: float = 0.5,
    start: float = 0.0,
    end: float | None = None,
    every: int | None = None,
    rate: float | None = None,
    say: str | None = None,
    black: str | None = None,
    white: str | None = None,
    device: str = "auto",
) -> Iterator[np.ndarray]:
    """Fuses streams of one scene, frame by frame.

    Args:
        sources: paths, URLs or folders of frames; or iterables of arrays (H, W), (H, W, 1 or 3), uint8 or uint16, as a
            loop of OpenCV gives them. Arrays are read as they come, a few ahead.
        model: name, folder or hub id, or a loaded `Fuser`; None: the one that does what `say` asks for.
        order: 'rgb', or 'bgr' for arrays that come and go in that order of channels.
        offset: seconds by which the clock of each further stream is ahead of the reference's, as 0.25 or '0.25,0';
            'auto': found by motion, in files.
        align: 'once', 'track', 'none', or a JSON file with transforms. Arrays and cameras are aligned by their first
            frames.
        transform: the richest one to try: 'auto', 'shift', 'similarity', 'affine', 'homography'.
        keep_frame: keeps the size of the reference; else files are cut to what all show.
        reference: index of the stream that gives times and size.
        smooth: seconds over which decisions are averaged where nothing changes; 0: not at all.
        start, end: seconds of the reference.
        every: of one stream, so many frames make one result, as a bracket.
        rate: frames a second of folders and arrays; None: 25.
        say: instruction, as in `fuse`.
        black, white: levels of 16-bit streams, one or one for each, as '7000,0'.
        device: where the model runs.

    Yields:
        (H, W) or (H, W, 3) in the depth of the streams.

    Raises:
        FusionError: one line that says what to change.
    """
    from ..fuser import Fuser
    from ..language.instruction import read_say
    from ..models.choice import model_for
    from .settings import VideoSettings
    from .sources import open_source
    from .streams import Streams

    if not sources:
        raise FusionError("no stream was given; give two or more, as stream(visible, thermal)")
    settings = VideoSettings(
        offset=str(offset),
        align=align,
        transform=transform,
        keep_frame=keep_frame,
        reference=reference,
        smooth=smooth,
        start=start,
        end=end,
        every=every,
        rate=rate,
        say=say,
        black=black,
        white=white,
        order=order,
    )
    opened = [open_source(source, rate, order, k) for k, source in enumerate(sources, 1)]
    fuser = model if isinstance(model, Fuser) else Fuser(model or model_for(read_say(say)), device=device)
    return _frames(Streams(opened, fuser, settings), order)


def _frames(streams: Any, order: str) -> Iterator[np.ndarray]:
    """The fused frames in the order of channels that is asked for."""
    try:
        streams.prepare()
        for fused in streams.fused():
            pixels = fused.pixels
            if pixels.shape[2] == 1:
                yield pixels[:, :, 0]
            else:
                yield pixels[:, :, ::-1].copy() if order == "bgr" else pixels
    finally:
        streams.close()
