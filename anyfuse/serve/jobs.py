"""Jobs: they wait, run in a worker, and leave a folder; whoever watches one hears of each change."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .limits import Limits, Refused
from .pool import Message, Worker, WorkerLost
from .request import FuseRequest
from .store import Store, Upload, remove

OVER = ("done", "failed", "cancelled")
LOST = (
    "the process that fused this set ended, perhaps for lack of memory; give fewer or smaller images, or start the "
    "server with another --max-memory"
)


@dataclass
class Job:
    """One set of images. state: queued, running, done, failed or cancelled."""

    id: str
    folder: Path
    request: FuseRequest
    names: dict[str, str]  # path of each input -> what its owner calls it
    state: str = "queued"
    stage: str = ""  # load, read, align, deghost, fuse, write or measure
    share: float = 0.0  # of the stage, 0 to 1
    error: str | None = None
    status: int = 422  # of HTTP, where it failed
    facts: dict[str, Any] = field(default_factory=dict)  # what the worker told of the result
    bytes: int = 0
    created: float = field(default_factory=time.time)
    touched: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # is set, and replaced, at each change
    task: asyncio.Task[None] | None = None  # while it runs

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in OVER

    def change(self, **values: Any) -> None:
        """Sets fields, and wakes whoever watches."""
        for name, value in values.items():
            setattr(self, name, value)
        self.touched = time.monotonic()
        event, self.changed = self.changed, asyncio.Event()
        event.set()

    def hear(self, message: Message) -> None:
        """Progress that a worker tells."""
        self.change(stage=message["stage"], share=message["share"])


class Queue:
    """The jobs of one server and the workers that do them.

    Args:
        store: where jobs have their folders.
        limits: of the server.
        device: of the workers.
        model: that each worker loads before its first job.
    """

    def __init__(self, store: Store, limits: Limits, device: str = "auto", model: str = "anyfuse") -> None:
        self.store, self.limits, self.device, self.model = store, limits, device, model
        self.jobs: dict[str, Job] = {}
        self.waiting: deque[Job] = deque()
        self.reading = 0  # uploads that wait for the reader
        self._wake = asyncio.Event()
        self._reader_free = asyncio.Lock()
        self._models_known = asyncio.Lock()
        threads = None if limits.jobs == 1 else max(1, (os.cpu_count() or 1) // limits.jobs)
        self.workers = [Worker(threads) for _ in range(limits.jobs)]
        self.reader = Worker(1)  # looks at uploads while the others fuse
        self._tasks: list[asyncio.Task[None]] = []
        self._models: list[dict[str, Any]] | None = None
        self._ended = False

    def start(self) -> None:
        """Starts to take jobs."""
        self._tasks = [asyncio.create_task(self._serve(worker)) for worker in self.workers]
        self._tasks.append(asyncio.create_task(self._clean()))

    async def stop(self) -> None:
        """Ends all jobs and workers; whoever waits for one hears of it."""
        self._ended = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job in [j for j in self.jobs.values() if not j.over]:
            job.change(state="cancelled")
        for worker in (*self.workers, self.reader):
            await worker.stop()

    async def models(self) -> list[dict[str, Any]]:
        """The models that this server has."""
        async with self._models_known:  # many first requests at once ask one time
            if self._models is None:
                self._models = await self._read({"kind": "models"})
        return self._models

    async def understand(self, text: str) -> dict[str, Any]:
        """How an instruction is understood; raises Refused where it is not."""
        return dict(await self._read({"kind": "say", "text": text}))

    async def inspect(self, upload: Upload) -> None:
        """Looks at an upload: fills `facts`, or `error`."""
        if self.reading >= self.limits.readings:
            raise Refused(f"{self.reading} files wait to be read; try again in a moment", 429, retry=5)
        task: Message = {"kind": "inspect", "path": str(upload.path), "folder": str(upload.folder), "name": upload.name}
        task |= {"names": {str(upload.path): upload.name}, "pixels": self.limits.pixels}
        self.reading += 1
        try:
            upload.facts = await self._read(task)
            view = upload.folder / "view.npy"
            size = view.stat().st_size if view.exists() else 0
            self.store.take(size)
            upload.size += size
        except Refused as error:
            upload.error = str(error)
        finally:
            self.reading -= 1

    async def _read(self, task: Message) -> Any:
        async with self._reader_free:
            self._check_open()
            try:
                return await asyncio.wait_for(self.reader.run(task), self.limits.seconds)
            except WorkerLost:
                self._check_open()
                name = next(iter(task.get("names", {}).values()), "the server")
                raise Refused(f"{name}: the process that read it ended; give another file", 500) from None
            except (TimeoutError, asyncio.TimeoutError):
                raise Refused(f"reading took longer than {self.limits.seconds:g} s; give a smaller file", 503) from None

    def _check_open(self) -> None:
        if self._ended:
            raise Refused("the server ends; start it again", 503)

    def submit(self, uploads: list[Upload], request: FuseRequest) -> Job:
        """A new job at the end of the queue; raises Refused where too many wait."""
        self._check_open()
        if len(self.waiting) >= self.limits.waiting:
            raise Refused(f"{len(self.waiting)} jobs are waiting; try again in a minute", 429, retry=20)
        if not uploads:
            raise Refused("no file was sent; give two or more images of one scene as fields 'files', or 'file_ids'")
        if len(uploads) > self.limits.files:
            raise Refused(f"{len(uploads)} files; give at most {self.limits.files}", 413)
        size = sum(upload.size for upload in uploads)
        self.store.take(size)
        try:
            key, folder = self.store.new_folder()
            names = {}
            for index, upload in enumerate(uploads):
                path = folder / f"in-{index:05d}"
                link(upload.path, path)
                names[str(path)] = upload.name
        except OSError as error:
            self.store.give(size)
            raise Refused(f"the job cannot be written ({error.strerror}); free some space on the server", 507) from None
        job = Job(key, folder, request, names, bytes=size)
        self.jobs[key] = job
        self.waiting.append(job)
        self._wake.set()
        return job

    def find(self, key: str) -> Job:
        """The job of that id, which counts as used now. Raises Refused where there is none."""
        job = self.jobs.get(key)
        if job is None:
            raise Refused("there is no such job here; it was removed, or never sent", 404)
        job.touched = time.monotonic()
        return job

    def place(self, job: Job) -> int | None:
        """How many jobs are before it; None if it does not wait."""
        return self.waiting.index(job) if job in self.waiting else None

    async def cancel(self, job: Job) -> None:
        """Ends a job that waits or runs; what it wrote goes."""
        if job in self.waiting:
            self.waiting.remove(job)
        if job.task is not None:
            job.task.cancel()
            await asyncio.gather(job.task, return_exceptions=True)
        if not job.over:
            self._end(job, state="cancelled")

    async def drop(self, job: Job) -> None:
        """Removes a job with its files; one that is not over is cancelled first."""
        await self.cancel(job)
        self.jobs.pop(job.id, None)
        remove(job.folder)
        self.store.give(job.bytes)
        job.bytes = 0

    async def follow(self, job: Job, beat: float = 15.0) -> AsyncIterator[bool]:
        """True at each change of a job and at its start, False after `beat` seconds without one; ends with the job."""
        yield True
        while not job.over:
            event = job.changed
            if job.over:
                break
            try:
                await asyncio.wait_for(event.wait(), beat)
            except (TimeoutError, asyncio.TimeoutError):
                yield False
                continue
            yield True

    async def wait(self, job: Job) -> None:
        """Returns when a job is over."""
        async for _ in self.follow(job):
            pass

    async def _serve(self, worker: Worker) -> None:
        with suppress(Refused, WorkerLost):
            await worker.run(self._where() | {"kind": "warm"})
        while True:
            while not self.waiting:
                self._wake.clear()
                await self._wake.wait()
            job = self.waiting.popleft()
            for other in self.waiting:
                other.change()
            job.task = asyncio.create_task(self._do(job, worker))
            try:
                await asyncio.shield(job.task)
            except asyncio.CancelledError:
                if not job.task.done():  # the server ends
                    job.task.cancel()
                    await asyncio.gather(job.task, return_exceptions=True)
                    raise
            finally:
                job.task = None

    def _where(self) -> Message:
        return {"model": self.model, "device": self.device, "memory": self.limits.memory}

    async def _do(self, job: Job, worker: Worker) -> None:
        job.change(state="running", started=time.time(), stage="load")
        task = self._where() | {"kind": "fuse", "folder": str(job.folder), "paths": list(job.names)}
        task |= {"names": job.names, "request": job.request.as_dict(), "pixels": self.limits.pixels}
        seconds = self.limits.seconds
        try:
            facts = await asyncio.wait_for(worker.run(task, job.hear), seconds)
            self.store.give(job.bytes)
            job.bytes = 0
            self.store.take(facts["bytes"])
            job.bytes = facts["bytes"]
            self._end(job, state="done", facts=facts, share=1.0)
        except Refused as error:
            self._end(job, state="failed", error=str(error), status=error.status)
        except WorkerLost:
            self._end(job, state="failed", error=LOST, status=500)
        except (TimeoutError, asyncio.TimeoutError):
            text = f"the job took longer than {seconds:g} s; give fewer or smaller images"
            self._end(job, state="failed", error=text, status=503)
        except asyncio.CancelledError:
            self._end(job, state="cancelled")
        except OSError as error:
            self._end(job, state="failed", error=f"the server cannot go on ({error.strerror})", status=500)

    def _end(self, job: Job, **values: Any) -> None:
        """The last change of a job; of one that has no result nothing stays."""
        if values["state"] != "done":
            remove(job.folder)
            if job.bytes:
                self.store.give(job.bytes)
                job.bytes = 0
        job.change(ended=time.time(), **values)

    async def _clean(self) -> None:
        """Removes what nobody looked at for the limit's age."""
        while True:
            await asyncio.sleep(min(30.0, self.limits.age / 4))
            self.store.clean(self.limits.age)
            oldest = time.monotonic() - self.limits.age
            for job in [j for j in self.jobs.values() if j.over and j.touched < oldest]:
                await self.drop(job)


def link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
