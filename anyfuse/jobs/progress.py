"""Progress on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Rate(ProgressColumn):
    """Sets a second."""

    def render(self, task: Task) -> Text:
        """The text of the column; empty before the first set is done."""
        return Text(f"{task.speed:.2f} sets/s" if task.speed else "")


def progress_bar(quiet: bool) -> Progress:
    """A bar on stderr, with the rate and the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)
