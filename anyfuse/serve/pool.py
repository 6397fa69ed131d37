"""Worker processes: one task at a time each; a task that is cancelled or too slow ends its process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from .limits import Refused

LINE = 1 << 24  # bytes of the longest answer
Message = dict[str, Any]


class WorkerLost(Exception):
    """The process ended in the middle of a task."""


class Worker:
    """One worker process. It is started by the first task, and again after it ended.

    Args:
        threads: of its arithmetic; None: as many as torch likes.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> asyncio.subprocess.Process:
        """The running process."""
        if self.process is None or self.process.returncode is not None:
            environment = dict(os.environ)
            environment.pop("ANYFUSE_TOKEN", None)  # it has no use for it
            if self.threads is not None:
                environment.setdefault("OMP_NUM_THREADS", str(self.threads))
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                f"import sys; sys.path[:] = {sys.path!r}; from anyfuse.serve.worker import main; main()",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                limit=LINE,
                start_new_session=True,  # Ctrl-C in a terminal reaches the server, which ends it
            )
        return self.process

    async def run(self, task: Message, heard: Callable[[Message], None] = lambda message: None) -> Any:
        """Does a task.

        Args:
            task: for worker.answer.
            heard: is called with each message before the last one.

        Returns:
            What the task gives.

        Raises:
            Refused: the task failed; the line says why.
            WorkerLost: the process ended.
        """
        finished = False
        try:
            process = await self.start()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(task).encode() + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                message = json.loads(line)
                finished = "done" in message or "failed" in message
                if "done" in message:
                    return message["done"]
                if "failed" in message:
                    raise Refused(message["failed"], 422 if message["mistake"] else 500)
                heard(message)
            raise WorkerLost
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerLost from None
        finally:
            if not finished:  # cancelled, too slow or crashed: its next answer would be that of this task
                await self.stop()

    async def stop(self) -> None:
        """Ends the process at once."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
