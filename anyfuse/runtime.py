"""Memory limits, allocator and threads of the process. It loads no torch, so that a command starts at once."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import stat
import sys
from numbers import Real
from pathlib import Path

import numpy as np

from .errors import FusionError


def keep_memory() -> None:
    """Tells glibc to keep freed memory for the next tensor: fresh pages cost more than the arithmetic on them.

    It counts for the whole process. ANYFUSE_KEEP_MEMORY=0 in the environment leaves the allocator as it is.
    """
    import ctypes

    if os.environ.get("ANYFUSE_KEEP_MEMORY") == "0":
        return
    mmap_max, trim_threshold, arena_max = -4, -1, -8
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 1 << 30)
        libc.mallopt(arena_max, 1)  # what one thread has freed, as that of a folder's set, the next one takes


def return_memory() -> None:
    """Tells glibc to give large freed blocks back at once: what it keeps lies in pieces that fit nothing, and counts
    against a limit. Fresh pages cost time (measured: twice the processor time of a stack of 30 in small tiles).
    """
    import ctypes

    mmap_max, mmap_threshold, trim_threshold = -4, -3, -1
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 1 << 16)
        libc.mallopt(mmap_threshold, 1 << 20)
        libc.mallopt(trim_threshold, 1 << 22)


def yield_threads() -> None:
    """Tells the OpenMP that torch brings (libgomp) not to spin for long while a thread waits for others. It counts for
    the whole process, and only before torch is loaded; OMP_WAIT_POLICY or GOMP_SPINCOUNT in the environment go first.

    libgomp spins for milliseconds at each of a model's hundreds of parallel parts, and beside other busy processes the
    one that spins holds the core that the others need: beside two of them a 640x480 pair took 0.92 s on two threads,
    and 0.07 s now (experiments/waiting.py). On an idle machine both took the same.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_bytes(text: int | str | None, option: str = "--max-memory") -> int | None:
    """'2G', '512MiB', 1073741824 -> bytes; `option` is what an error calls it."""
    if text is None:
        return None
    if isinstance(text, str):
        match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)i?b?\s*", text.lower())
        size = None if match is None else int(float(match[1]) * UNITS[match[2]])
    else:
        real = isinstance(text, Real) and not isinstance(text, bool) and math.isfinite(text)
        size = int(text) if real else None
    if size is None or not 0 < size < 1 << 60:
        shown = one_line_of(text)
        raise FusionError(f"{option} {shown}: give a size as 2G, 512M or a number of bytes")
    return size


def one_line_of(value: object) -> str:
    """A value in one line of at most 80 letters, for messages."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:76]} ..."


def check_regular(name: str | os.PathLike[str]) -> None:
    """Refuses pipes, sockets and devices, which wait for ever or never end; OSError where there is nothing."""
    mode = os.stat(name).st_mode
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    what = kinds.get(stat.S_IFMT(mode), "no regular file")
    raise FusionError(f"{os.fspath(name)}: is {what}, not a file; save its content as a file first")


def resident_bytes() -> int:
    """Memory that the process holds now; its peak where the system does not report that."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """Most memory that the process has held."""
    try:
        import resource
    except ImportError:  # Windows has none
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class FileMap(mmap.mmap):
    """A file in memory that `release` may drop from it: nothing but a scratch file of io/scratch.py."""


def _map_of(array: np.ndarray) -> FileMap | None:
    """The scratch file that an array lies in, or None."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    return base if isinstance(base, FileMap) else None


def in_file(array: np.ndarray) -> bool:
    """Whether an array lies in a scratch file."""
    return _map_of(array) is not None


def release(*arrays: np.ndarray | None) -> None:
    """Gives back the memory of arrays that lie in scratch files; their values stay. Others are left alone."""
    for array in arrays:
        found = None if array is None else _map_of(array)
        if found is not None and hasattr(mmap, "MADV_DONTNEED"):
            found.madvise(mmap.MADV_DONTNEED)


def trim_memory() -> None:
    """Gives freed memory back to the system, where `keep_memory` holds it."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def check_argument(name: str, value: object, *kinds: type) -> None:
    """Raises FusionError for a value of another kind."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        known = [kind.__name__ for kind in kinds if kind is not type(None)]
        raise FusionError(f"{name}={one_line_of(repr(value))}: is a {type(value).__name__}; give {' or '.join(known)}")
