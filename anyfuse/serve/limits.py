"""What a server allows, and the error for a request that is refused."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import FusionError


class Refused(FusionError):
    """A request that is not done: one line with the remedy, and the status of HTTP.

    retry: seconds after which the same request may succeed; None: it will not.
    """

    def __init__(self, text: str, status: int = 400, retry: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry = retry


@dataclass(frozen=True)
class Limits:
    """What one server takes on. Sizes are in bytes, times in seconds."""

    upload: int = 512 << 20  # of one file
    pixels: int = 200_000_000  # of one image
    files: int = 30  # images in one job
    seconds: float = 600.0  # of one job, once it runs; also of one upload
    jobs: int = 1  # worker processes, so jobs that run at a time
    waiting: int = 32  # jobs that wait
    readings: int = 120  # uploads whose pictures wait to be read
    memory: int | None = None  # of each worker process
    store: int = 8 << 30  # uploads and results together
    age: float = 3600.0  # after which a file or a job that nobody looked at is removed

    def as_dict(self) -> dict[str, int | float | None]:
        """Plain values for JSON."""
        return dict(self.__dict__)


def default_memory(jobs: int) -> int | None:
    """Half of the machine's memory, in equal shares, at least 1 GiB each; None where the system does not tell."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
    return max(1 << 30, total // 2 // max(1, jobs))


def size_text(count: float) -> str:
    """Bytes as people write them: '512 MiB'."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
