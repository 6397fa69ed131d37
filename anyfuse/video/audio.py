"""The sound of a stream, copied beside the fused pictures."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .pyav import load_av
from .sources import Source, StreamSource

FITS = {
    ".mp4": ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"),
    ".m4v": ("aac", "mp3", "ac3", "eac3", "alac"),
    ".mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be", "pcm_f32le"),
}
"""Sound that a container takes as it is; Matroska takes all."""


def sound_of(sources: list[Source]) -> tuple[int, str] | None:
    """The first stream with sound and the codec of it; None: none has any."""
    av = load_av()
    for k, source in enumerate(sources):
        if isinstance(source, StreamSource) and not source.is_live:
            with av.open(source.name) as container:
                if container.streams.audio:
                    return k, str(container.streams.audio[0].codec_context.name)
    return None


class AudioCopy:
    """Copies packets of sound, a little ahead of the pictures.

    Args:
        source: the stream with sound.
        output: the container that it goes to; before its first packet.
        start: seconds in the file at which the first fused picture lies.
    """

    def __init__(self, source: StreamSource, output: Any, start: float) -> None:
        self._container = load_av().open(source.name)
        self._given = self._container.streams.audio[0]
        self._stream = output.add_stream_from_template(self._given)
        self._output, self._start = output, start
        self._packets = self._container.demux(self._given)
        self._held: Any = None

    def until(self, time: float) -> None:
        """Writes the sound up to `time` in seconds of the output."""
        base = Fraction(self._given.time_base)
        shift = round(self._start / base)
        while True:
            packet, self._held = self._held or next(self._packets, None), None
            if packet is None:
                return
            if packet.dts is None:
                continue
            if float((packet.pts - shift) * base) > time:
                self._held = packet
                return
            if packet.pts < shift - (packet.duration or 0) // 2:
                continue
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._stream
            self._output.mux(packet)

    def close(self) -> None:
        """Closes the file."""
        self._container.close()
