"""A bar for one set that takes long. The library that draws it is loaded when it is first shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


def console() -> Console:
    """Where a bar is drawn: stderr."""
    from rich.console import Console

    return Console(stderr=True)


class SlowBar:
    """A bar for one set, on a terminal, where it takes longer than a second: `fuser.progress` tells it what is done."""

    WORDS: ClassVar[dict[str, str]] = {"read": "reading", "align": "aligning", "deghost": "comparing", "fuse": "fusing"}
    PATIENCE = 1.0  # seconds

    def __init__(self, quiet: bool) -> None:
        self.wanted = not quiet
        self.start = time.monotonic()
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __call__(self, stage: str, share: float) -> None:
        """What a run is doing, and which share of it is done, 0 to 1."""
        if not self.wanted or (self.bar is None and time.monotonic() - self.start < self.PATIENCE):
            return
        if self.bar is None and not self._begun():
            return
        assert self.bar is not None
        assert self.task is not None
        self.bar.update(self.task, description=self.WORDS.get(stage, stage), completed=share)

    def _begun(self) -> bool:
        """Shows the bar; False where there is no terminal."""
        place = console()
        self.wanted = place.is_terminal
        if self.wanted:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=place, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=1.0)
        return self.wanted

    def __enter__(self) -> SlowBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()
