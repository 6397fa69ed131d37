"""Arrays in files of the system's temporary folder, for what does not fit into memory.

A file has no name from the start (POSIX) or goes with its handle (Windows), so that a run that is killed leaves
nothing. Its pages are read through a map; `runtime.release` gives them back after each use.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from ..errors import FusionError
from ..runtime import FileMap, in_file, release
from .atomic import one_line

BLOCK = 1 << 22  # bytes written at a time
_SPARE = 1 << 26  # bytes of a disk that are left free


def scratch_folder() -> str:
    """Where the files go: TMPDIR (TEMP, TMP), else /var/tmp, which is not in memory where /tmp may be."""
    named = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    if not named and os.access("/var/tmp", os.W_OK | os.X_OK):
        return "/var/tmp"
    return tempfile.gettempdir()


class Scratch:
    """Makes arrays that lie in files. An array's file is gone with the last view of the array."""

    def __init__(self, folder: str | None = None) -> None:
        self.folder = scratch_folder() if folder is None else folder
        _allow_many_files()

    def store(self, array: np.ndarray) -> np.ndarray:
        """The same values in a file, read-only; an array that is in one stays as it is.

        Raises FusionError where the disk is full.
        """
        if not array.size or in_file(array):
            return array
        with self._file(array.nbytes) as file:
            step = max(1, BLOCK // max(1, array[:1].nbytes))
            for top in range(0, len(array), step):
                file.write(np.ascontiguousarray(array[top : top + step]).data)
            file.flush()
            kept = FileMap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(kept, array.dtype).reshape(array.shape)

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """A new array in a file, to write into; its values are 0. Raises FusionError where the disk is full."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        with self._file(size) as file:
            if hasattr(os, "posix_fallocate"):  # so that no later write finds the disk full
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            made = FileMap(file.fileno(), size, access=mmap.ACCESS_WRITE)
        return np.frombuffer(made, dtype).reshape(shape)

    @contextlib.contextmanager
    def _file(self, size: int) -> Iterator[IO[bytes]]:
        """A file without a name for `size` bytes; what goes wrong is told in one line."""
        try:
            free = shutil.disk_usage(self.folder).free
            if free < size + _SPARE:
                raise OSError(errno.ENOSPC, f"{free / 2**30:.1f} GiB are free")
            with tempfile.TemporaryFile(dir=self.folder, prefix=".anyfuse-") as file:
                yield file
        except OSError as error:
            reason = one_line(error.strerror or error)
            raise FusionError(
                f"{self.folder}: no place for {size / 2**20:.0f} MiB of images that do not fit into memory ({reason}); "
                "free some, set TMPDIR to another folder, or give a larger --max-memory"
            ) from None


def _allow_many_files() -> None:
    """As many open files as the system lets this process have: each array takes one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


__all__ = ["BLOCK", "Scratch", "release", "scratch_folder"]
