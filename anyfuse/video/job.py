"""`anyfuse video`: streams into a file or a folder of frames, with progress, a report, and going on after a break."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FusionError
from ..fuser import Fuser
from ..io.atomic import target_of, write_whole
from ..jobs.progress import progress_bar
from ..language.instruction import read_say
from ..models.choice import model_for
from ..runtime import peak_bytes
from .audio import FITS, AudioCopy, sound_of
from .checkpoints import Checkpoint, join_parts
from .outputs import FrameFolder, VideoFile, clock_of, depth_of, in_depth
from .settings import Format, VideoSettings
from .sources import StreamSource, open_source
from .streams import Fused, Streams
from .threads import Behind

PART = 250  # pictures of a part, after which a run can go on


@dataclass(frozen=True)
class Job:
    """One call of `anyfuse video`."""

    inputs: Sequence[str]
    output: str
    settings: VideoSettings
    form: Format
    model: str | None = None
    device: str = "auto"
    report: str | None = None
    save_transforms: str | None = None
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False
    has_audio: bool = True
    part: int = PART


def fuse_video(job: Job) -> dict[str, Any]:
    """Fuses streams as `job` says; the report as plain values.

    Ctrl-C ends it early: what was done is made a file that plays, and the report has `stopped`.

    Raises:
        FusionError: one line that says what to change.
    """
    check_output(job)
    sources = [open_source(name, job.settings.rate, number=k) for k, name in enumerate(job.inputs, 1)]
    try:
        fuser = Fuser(job.model or model_for(read_say(job.settings.say)), device=job.device)
        streams = Streams(sources, fuser, job.settings)
        return Run(job, streams, fuser).go()
    finally:
        for source in sources:
            source.close()


def check_output(job: Job) -> None:
    """Raises FusionError where the output is there already, or is one of the inputs."""
    if not job.inputs:
        raise FusionError("no stream was given; give two files, folders of frames or cameras")
    if job.form.is_folder:
        folder = Path(job.output)
        if folder.is_file():
            raise FusionError(f"{folder}: is a file; give a folder for frames")
        if folder.is_dir() and any(folder.iterdir()) and not (job.resume or job.overwrite):
            raise FusionError(f"{folder}: is not empty; add --resume to go on, --overwrite, or give another folder")
        if any(Path(name).exists() and folder.resolve() == Path(name).resolve() for name in job.inputs):
            raise FusionError(f"{folder}: is an input; give another folder")
    else:
        target_of(job.output, job.overwrite, job.inputs)
    for extra in (job.report, job.save_transforms):
        if extra is not None:
            target_of(extra, job.overwrite, job.inputs)


@contextlib.contextmanager
def stop_asked() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that work ends between two pictures; the second one ends it at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def first(number: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


class Run:
    """The work of one job."""

    def __init__(self, job: Job, streams: Streams, fuser: Fuser) -> None:
        self.job, self.streams, self.fuser = job, streams, fuser
        self.notes: list[str] = []
        self.count, self.resumed, self.zero = 0, 0, 0.0
        self.stop = threading.Event()  # set by Ctrl-C
        self.size: tuple[int, ...] = ()
        self.depth = ""
        self.checkpoint = Checkpoint(job.output, self._identity())
        self.rate = streams.rate
        self.clock = clock_of(streams.reference.time_base, self.rate)
        self.sound = self._sound()

    def _identity(self) -> dict[str, Any]:
        """All that decides on the pictures."""
        files = []
        for name in self.job.inputs:
            there = Path(name).exists()
            files.append([os.path.abspath(name) if there else name, os.stat(name).st_size if there else 0])
        form = self.job.form
        settings = self.job.settings.as_dict()
        return {"files": files, "settings": settings, "model": self.fuser.name, "form": list(vars(form).values())}

    def _sound(self) -> tuple[int, str] | None:
        """The stream whose sound is copied."""
        job = self.job
        if job.form.is_folder or not job.has_audio or job.settings.every is not None:
            return None
        if not any(isinstance(source, StreamSource) for source in self.streams.sources):
            return None
        found = sound_of(self.streams.sources)
        suffix = Path(job.output).suffix.lower()
        if found is not None and suffix in FITS and found[1] not in FITS[suffix]:
            self.notes.append(f"{job.output}: {suffix} does not take {found[1]} sound, so it is left out; write .mkv")
            return None
        return found

    def _copy(self, container: Any) -> AudioCopy | None:
        """The copy of the sound into an open container."""
        if self.sound is None:
            return None
        k = self.sound[0]
        source = self.streams.sources[k]
        assert isinstance(source, StreamSource)
        return AudioCopy(source, container, self.zero + self.streams.offsets[k].seconds + source.first_time)

    # ------------------------------------------------------------------ the work

    def go(self) -> dict[str, Any]:
        """Does it all, and writes the report."""
        job, streams = self.job, self.streams
        begun = clock.perf_counter()
        start = None
        if job.resume and self.checkpoint.load():
            data = self.checkpoint.data
            streams.prepare(data)
            self.checkpoint.memory(streams.fuse.smoother)
            self.count = self.resumed = self.checkpoint.count
            self.zero, start = data["zero"], data["time"] + streams.reference.interval / 4
        else:
            streams.prepare()
        if job.save_transforms is not None:
            self._save_transforms(job.save_transforms)
        found, used = clock.perf_counter(), clock.process_time()
        stopped = False
        try:
            with stop_asked() as self.stop:
                self._write_all(start)
        except KeyboardInterrupt:
            stopped = True
        now = clock.perf_counter()
        report = self._report(found - begun, now - found, stopped)
        report["cpu_seconds"] = round(clock.process_time() - used, 3)
        if job.report is not None:
            text = json.dumps(report, indent=1)
            write_whole(job.report, [text.encode()], overwrite=job.overwrite, inputs=job.inputs)
        return report

    def _write_all(self, start: float | None) -> None:
        total = self.streams.expected
        with progress_bar(self.job.quiet, "frames") as bar:
            task = bar.add_task(Path(self.job.output).name, total=total, completed=self.count)
            advance: Callable[[], None] = lambda: bar.update(task, advance=1)  # noqa: E731
            if self.job.form.is_folder:
                self._frames(start, advance)
            elif self.job.resume:
                self._parts(start, advance)
            else:
                self._file(advance)
            bar.update(task, total=self.count, completed=self.count)

    def _pictures(
        self, start: float | None, advance: Callable[[], None], put: Callable[[Fused, np.ndarray], None]
    ) -> None:
        """Hands each result over in the depth in which it is stored."""
        generator = self.streams.fused(start)
        try:
            for fused in generator:
                depth = depth_of(self.job.form, fused.pixels.dtype)
                if not self.size:
                    self._begin(fused, depth)
                put(fused, in_depth(fused.pixels, depth))
                self.count += 1
                advance()
                if self.stop.is_set():
                    raise KeyboardInterrupt
        finally:
            generator.close()  # type: ignore[attr-defined]

    def _begin(self, fused: Fused, depth: np.dtype) -> None:
        """What the first result says."""
        self.size, self.depth = fused.pixels.shape, str(depth)
        if self.count == 0:
            self.zero = fused.time
        if fused.pixels.dtype == np.uint16 and self.job.form.depth is None and depth != np.uint16:
            self.notes.append(f"{self.job.output}: 16 bits rounded to 8; write .mkv (FFV1) or a folder to keep them")
        elif fused.pixels.dtype == np.uint16 and self.job.form.codec == "prores":
            self.notes.append(f"{self.job.output}: 16 bits rounded to 10; write .mkv (FFV1) or a folder to keep them")

    def _file(self, advance: Callable[[], None]) -> None:
        """One file, under a name of its own until it is whole or the run is stopped."""
        target = Path(self.job.output)
        partial = target.with_name(f".{target.stem}.partial{target.suffix}")
        sound = self._copy if self.sound is not None else None
        file = VideoFile(partial, self.job.form, self.rate, self.clock, sound)
        encoder = Behind(lambda item: file.write(*item))
        try:
            try:
                self._pictures(None, advance, lambda fused, pixels: encoder.put((pixels, fused.time - self.zero)))
            finally:
                encoder.close()
                file.close()
        except KeyboardInterrupt:
            if file.count:
                os.replace(partial, target)
            raise
        except BaseException:  # no half file is left, whatever ended the run
            partial.unlink(missing_ok=True)
            raise
        os.replace(partial, target)

    def _parts(self, start: float | None, advance: Callable[[], None]) -> None:
        """Parts in a folder, joined at the end; a run that is stopped goes on after the last whole one."""
        work = _Parts(self)
        try:
            self._pictures(start, advance, work.put)
            work.finish()
        except FusionError:
            if not self.checkpoint.parts or self.count != self.checkpoint.count:
                raise  # not: a run that was stopped at the very end
        except BaseException:  # whole parts stay for the next run
            work.abandon()
            raise
        files = [(self.checkpoint.folder / part["name"], part["start"]) for part in self.checkpoint.parts]
        target = Path(self.job.output)
        partial = target.with_name(f".{target.stem}.partial{target.suffix}")
        sound = self._copy if self.sound is not None else None
        join_parts(files, partial, sound, self.count / self.rate)
        os.replace(partial, target)
        self.checkpoint.remove()

    def _frames(self, start: float | None, advance: Callable[[], None]) -> None:
        """A folder of frames; those that are there stay, and are counted."""
        if self.job.overwrite and not self.job.resume and Path(self.job.output).is_dir():
            for file in Path(self.job.output).glob("frame_*"):
                file.unlink()
        folder = FrameFolder(self.job.output, self.job.form)
        writer = Behind(lambda item: folder.write(*item))

        def put(fused: Fused, pixels: np.ndarray) -> None:
            writer.put((pixels, self.count))
            if self.job.resume and (self.count + 1) % self.job.part == 0:
                writer.wait()
                self.keep(fused)

        try:
            self._pictures(start, advance, put)
        except FusionError:
            if not self.resumed or self.count != self.resumed:
                raise
        finally:
            writer.close()
        self.checkpoint.remove()

    def keep(self, fused: Fused, **more: Any) -> None:
        """Keeps the state after a result."""
        offsets = [{"seconds": o.seconds, "confidence": o.confidence, "how": o.how} for o in self.streams.offsets]
        smoother = self.streams.fuse.smoother
        self.checkpoint.save(
            self.count + 1, fused.time, smoother, fused.aligner, offsets=offsets, zero=self.zero, **more
        )

    # ------------------------------------------------------------------ what is said

    def _save_transforms(self, path: str) -> None:
        steps = self.streams.aligner.steps
        if not steps:
            raise FusionError("--save-transforms needs streams that are aligned; add --align once")
        sizes = [[s.width, s.height] for s in self.streams.sources]
        data = [
            {"matrix": step.get("matrix", np.eye(3).tolist()), "size": size}
            for step, size in zip(steps, sizes, strict=False)
        ]
        write_whole(path, [json.dumps({"transforms": data}, indent=1).encode()], overwrite=self.job.overwrite)

    def _report(self, preparing: float, seconds: float, stopped: bool) -> dict[str, Any]:
        streams, done = self.streams, self.count - self.resumed
        aligner = streams.aligner.as_dict()
        return {
            "output": self.job.output,
            "codec": self.job.form.codec,
            "depth": self.depth,
            "width": self.size[1] if self.size else 0,
            "height": self.size[0] if self.size else 0,
            "frames": self.count,
            "resumed_at": self.resumed or None,
            "stopped": stopped,
            "resume": self.job.resume,
            "rate": round(self.rate, 4),
            "model": self.fuser.name,
            "inputs": [source.describe() for source in streams.sources],
            "offsets": [offset.as_dict() for offset in streams.offsets],
            "aligned": aligner,
            "smoothed": streams.fuse.is_steady,
            "smooth_seconds": self.job.settings.smooth,
            "scene_cuts": streams.fuse.smoother.cuts,
            "sound": None if self.sound is None else {"stream": self.sound[0] + 1, "codec": self.sound[1]},
            "seconds_preparing": round(preparing, 3),
            "seconds": round(seconds, 3),
            "frames_a_second": round(done / seconds, 2) if seconds > 0 else None,
            "peak_memory_mib": round(peak_bytes() / 2**20, 1),
            "settings": self.job.settings.as_dict(),
            "warnings": [*self.notes, *streams.all_notes()],
        }


class _Parts:
    """Parts of a video file that are written one after the other."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.file: VideoFile | None = None
        self.encoder: Behind | None = None
        self.start, self.name = 0.0, ""
        self.last: Fused | None = None

    def put(self, fused: Fused, pixels: np.ndarray) -> None:
        """Adds a result; ends the part where it is full."""
        run = self.run
        if self.file is None or self.encoder is None:
            suffix = ".mkv" if run.job.form.codec == "ffv1" else ".mov"
            self.name, self.start = f"part-{run.count:08d}{suffix}", fused.time - run.zero
            file = VideoFile(run.checkpoint.folder / self.name, run.job.form, run.rate, run.clock)
            self.file, self.encoder = file, Behind(lambda item: file.write(*item))
        self.encoder.put((pixels, fused.time - run.zero - self.start))
        self.last = fused
        if (run.count + 1) % run.job.part == 0:
            self._end(fused, 0)

    def _end(self, fused: Fused, counted: int) -> None:
        """Closes the part and keeps the state. counted: whether `Run.count` has its last picture, 1, or not, 0."""
        assert self.file is not None
        assert self.encoder is not None
        self.encoder.close()
        self.file.close()
        self.file = self.encoder = None
        run = self.run
        run.count -= counted
        run.keep(fused, parts=[*run.checkpoint.parts, {"name": self.name, "start": self.start}])
        run.count += counted

    def finish(self) -> None:
        """Ends the last part."""
        if self.file is not None and self.last is not None:
            self._end(self.last, 1)

    def abandon(self) -> None:
        """Closes what is open; the next run makes it again."""
        if self.file is not None and self.encoder is not None:
            try:
                self.encoder.close()
            finally:
                self.file.close()
