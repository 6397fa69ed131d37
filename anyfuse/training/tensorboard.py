"""A run's log.jsonl as TensorBoard events, written while the run goes on. Needs the extra 'tensorboard'."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import FusionError


class Board:
    """Follows OUT/log.jsonl and writes OUT/tensorboard.

    Losses have the names that they have in the log, as 'ivf/ssim'; the recipe is a text. A run that is resumed goes
    on in the same folder.

    Args:
        out: folder of the run.
        settings: of the run, for the text; any JSON.

    Raises:
        FusionError: tensorboard is not installed.
    """

    def __init__(self, out: Path, settings: Any) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise FusionError("--tensorboard needs a package: pip install 'anyfuse[tensorboard]'") from None
        self.log = out / "log.jsonl"
        folder = out / "tensorboard"
        known = folder.is_dir() and any(folder.iterdir())
        self.read = self.log.stat().st_size if known and self.log.exists() else 0
        make: Callable[..., Any] = SummaryWriter
        self.writer = make(str(folder))
        if not known:
            self.writer.add_text("recipe", f"```json\n{json.dumps(settings, indent=1, default=str)}\n```")

    def update(self) -> None:
        """Writes what is new in the log."""
        if not self.log.exists():
            return
        with self.log.open("rb") as file:
            file.seek(self.read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read += len(whole)
        for line in whole.splitlines():
            values = json.loads(line)
            step = values.pop("step")
            for name, value in values.items():
                if isinstance(value, int | float):
                    self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.update()
        self.writer.close()
