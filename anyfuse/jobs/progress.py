"""Progress on the terminal."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Rate(ProgressColumn):
    """Sets, or what is named, a second."""

    def __init__(self, unit: str = "sets") -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The text of the column; empty before the first one is done."""
        return Text(f"{task.speed:.2f} {self.unit}/s" if task.speed else "")


def progress_bar(quiet: bool, unit: str = "sets") -> Progress:
    """A bar on stderr, with the rate and the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(unit), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


class SlowBar:
    """A bar for one set, on a terminal, where it takes longer than a second: `fuser.progress` tells it what is done."""

    WORDS: ClassVar[dict[str, str]] = {"read": "reading", "align": "aligning", "deghost": "comparing", "fuse": "fusing"}
    PATIENCE = 1.0  # seconds

    def __init__(self, quiet: bool) -> None:
        self.console = Console(stderr=True)
        self.wanted = not quiet and self.console.is_terminal
        self.start = time.monotonic()
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __call__(self, stage: str, share: float) -> None:
        """What a run is doing, and which share of it is done, 0 to 1."""
        if not self.wanted or (self.bar is None and time.monotonic() - self.start < self.PATIENCE):
            return
        if self.bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=1.0)
        assert self.task is not None
        self.bar.update(self.task, description=self.WORDS.get(stage, stage), completed=share)

    def __enter__(self) -> SlowBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()
