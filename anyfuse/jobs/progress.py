"""Progress of many sets on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
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
