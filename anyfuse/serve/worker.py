"""The process that reads and fuses: tasks come in as lines of JSON, what happens goes out as lines of JSON.

It ends with its server: the end of standard input ends it at once, whatever it is doing.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any, TextIO

from .channel import Channel
from .names import names_for, renamed

Task = dict[str, Any]


def answer(task: Task, channel: Channel) -> None:
    """Does one task; sends `done`, or `failed` with the line for the user and whether it is the user's mistake."""
    from ..errors import FusionError
    from ..io.atomic import unforeseen
    from .work import TASKS

    names = task.get("names", {})
    try:
        channel.send(done=renamed(TASKS[task["kind"]](task, channel), names))
    except FusionError as error:
        channel.send(failed=names_for(str(error), names), mistake=True)
    except Exception as error:  # whatever a damaged file leads to: the next task is done all the same
        text = unforeseen(error)
        if text == "out of memory":
            text += ": give fewer or smaller images, or a server with more --max-memory"
        channel.send(failed=names_for(text, names), mistake=False)


def listen(tasks: queue.Queue[Task]) -> None:
    """Takes tasks from standard input until the server is gone."""
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)


def own_output() -> TextIO:
    """Standard output for answers alone: what libraries print goes nowhere."""
    out = open(os.dup(1), "w", encoding="utf-8")  # noqa: SIM115  it stays open
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if os.environ.get("ANYFUSE_SERVE_DEBUG") != "1":
        os.dup2(nowhere, 2)
    return out


def main() -> None:
    """Entry point of the process."""
    from ..runtime import yield_threads

    yield_threads()
    channel = Channel(own_output())
    tasks: queue.Queue[Task] = queue.Queue()
    threading.Thread(target=listen, args=(tasks,), daemon=True).start()
    while True:
        answer(tasks.get(), channel)


if __name__ == "__main__":
    main()
