"""What a run that was stopped needs to go on with the same pictures: done parts, decisions so far, alignment."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..errors import FusionError
from .audio import AudioCopy
from .pyav import load_av
from .smoothing import Smoother


class Checkpoint:
    """A folder beside the output with the state of a run.

    Args:
        output: what is being made; the folder is `OUTPUT.parts`.
        identity: all that decides on the pictures. A run with another one is refused.
    """

    def __init__(self, output: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        self.folder = Path(f"{os.fspath(output).rstrip('/')}.parts")
        self.identity = json.loads(json.dumps(identity))
        self.data: dict[str, Any] = {"identity": self.identity, "parts": [], "count": 0}

    @property
    def count(self) -> int:
        """Pictures that are done."""
        return int(self.data["count"])

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Done parts of a video file: name, start in seconds."""
        return list(self.data["parts"])

    def load(self) -> bool:
        """Whether there is a state to go on from."""
        file = self.folder / "state.json"
        if not file.is_file():
            return False
        try:
            data = json.loads(file.read_text())
            same = data["identity"] == self.identity
        except (OSError, ValueError, KeyError):
            raise FusionError(f"{self.folder}: its state cannot be read; delete the folder and start again") from None
        if not same:
            raise FusionError(f"{self.folder}: is of a run with other inputs or options; delete it, or give the same")
        self.data = data
        return True

    def memory(self, smoother: Smoother) -> None:
        """Gives the smoother its memory back."""
        file = self.folder / str(self.data.get("memory"))
        if file.is_file():
            smoother.load(load_file(str(file)))

    def save(self, count: int, time: float, smoother: Smoother, aligner: dict[str, Any], **more: Any) -> None:
        """Keeps the state after `count` pictures, of which the last was at `time`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"memory-{count:08d}.safetensors"
        with torch.inference_mode(False):
            state = {key: value.clone().contiguous() for key, value in smoother.state().items()}
        save_file(state, str(self.folder / name))
        old = self.data.get("memory")
        self.data = {**self.data, "count": count, "time": time, "memory": name, "aligner": aligner, **more}
        temporary = self.folder / "state.tmp"
        temporary.write_text(json.dumps(self.data))
        os.replace(temporary, self.folder / "state.json")
        if old is not None and old != name:
            (self.folder / old).unlink(missing_ok=True)

    def remove(self) -> None:
        """Deletes the folder, once the output is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)


def join_parts(
    parts: list[tuple[Path, float]], output: Path, sound: Callable[[Any], AudioCopy | None] | None, end: float
) -> None:
    """Parts of a video, (file, start in seconds), joined without encoding them again.

    Args:
        parts: in the order of time.
        output: the file.
        sound: as in `VideoFile`.
        end: seconds up to which sound is copied.
    """
    av = load_av()
    mov = output.suffix.lower() in (".mp4", ".m4v", ".mov")
    with av.open(str(output), "w", options={"movflags": "+faststart"} if mov else {}) as container:
        stream, audio = None, None
        for file, start in parts:
            with av.open(str(file)) as given:
                if stream is None:
                    stream = container.add_stream_from_template(given.streams.video[0])
                    stream.time_base = given.streams.video[0].time_base
                    audio = None if sound is None else sound(container)
                for packet in _shifted(given, start):
                    if audio is not None:
                        audio.until(float(packet.pts * packet.time_base))
                    packet.stream = stream
                    container.mux(packet)
        if audio is not None:
            audio.until(end)
            audio.close()


def _shifted(given: Any, start: float) -> Iterator[Any]:
    """Packets of a part on the clock of the whole."""
    first = given.streams.video[0]
    shift = round(start / Fraction(first.time_base))
    for packet in given.demux(first):
        if packet.dts is None:
            continue
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        yield packet
