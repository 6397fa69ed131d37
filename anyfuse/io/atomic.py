"""Any file, written whole or not at all, and never over an input."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import FusionError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = re.compile(r"\.anyfuse-[0-9a-f]{12}\.tmp")
"""Names of the temporary files of `write_whole`. The writer holds a lock on its file, so a file without a lock belongs
to a run that was killed."""


class Inputs:
    """Files that no output may replace. It knows them by device and number, so every other name of them counts too."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self.known: set[tuple[int, int]] = set()
        for path in paths:
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(path)
                self.known.add((status.st_dev, status.st_ino))

    def has(self, path: Path) -> bool:
        """Whether an existing file is one of them."""
        status = os.stat(path)
        return (status.st_dev, status.st_ino) in self.known


Protected = Inputs | Iterable[str | os.PathLike[str]]


def write_whole(
    path: str | os.PathLike[str],
    chunks: Iterable[bytes],
    *,
    overwrite: bool = False,
    inputs: Protected = (),
    same: bool = False,
) -> None:
    """A file of any kind, whole or not at all: temporary file in the same folder, fsync, rename.

    Args:
        path: of the file.
        chunks: what it holds.
        overwrite: replaces an existing file.
        inputs: files never overwritten, even with `overwrite`.
        same: without `overwrite`, an existing file that holds the same bytes is no error: it stays.

    Raises:
        FusionError: the file cannot be written; then nothing is left or changed.
    """
    name = os.fspath(path)
    inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs)
    target = target_of(name, overwrite, inputs, same)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(target.parent) as (temporary, file):
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            if not overwrite:
                _put_new(temporary, target, name, same)
                return
            if target.exists():
                target_of(name, overwrite, inputs)  # it may have come into being meanwhile
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    except OSError as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = ("free some space or " if error.errno in full else "") + "choose another folder"
        raise FusionError(f"{name}: cannot be written ({one_line(error.strerror or error)}); {remedy}") from None


def _put_new(temporary: Path, target: Path, name: str, same: bool) -> None:
    """Gives the file its name, in one step that fails where that name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        if not (same and target.is_file() and _equal(temporary, target)):
            raise FusionError(_exists(name)) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FusionError(_exists(name)) from None
        os.replace(temporary, target)


def _equal(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            piece = first.read(1 << 20)
            if piece != second.read(1 << 20):
                return False
            if not piece:
                return True


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new hidden file that is locked as long as it is open, and removed at the end unless it was renamed."""
    clean_temporaries(folder)
    while True:
        path = folder / f".anyfuse-{secrets.token_hex(6)}.tmp"
        file = open(path, "xb")  # noqa: SIM115  it stays open while the caller writes
        if _lock(file) and path.exists():
            break
        file.close()  # another run took it for a leftover, between its creation and its lock
    try:
        with file:
            yield path, file
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _lock(file: BinaryIO) -> bool:
    """Locks a file for this process; True where the system or the file system has no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


_cleaned: set[str] = set()


def clean_temporaries(folder: str | os.PathLike[str]) -> None:
    """Removes the temporary files that killed runs left in a folder; once a process for each folder."""
    place = os.path.realpath(folder)
    if place in _cleaned or fcntl is None:
        return
    _cleaned.add(place)
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            path = os.path.join(place, name)
            if TEMPORARY.fullmatch(name) and not os.path.islink(path) and os.path.isfile(path):
                with contextlib.suppress(OSError), open(path, "rb+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its writer lives
                    os.unlink(path)


def target_of(name: str, overwrite: bool, inputs: Protected, same: bool = False) -> Path:
    """The file that writing to `name` would make or replace, links followed; FusionError where it must not.

    same: an existing file is looked at later, as in `write_whole`.
    """
    try:
        target = Path(os.path.realpath(name))
        if target.is_dir():
            raise FusionError(f"{name}: is a folder; name a file in it")
        _check_place(name, target.parent, target.name)
        if not os.path.lexists(target):
            if os.path.lexists(name) and not overwrite:  # a link to a file that is not there
                raise FusionError(_exists(name))
            return target
        if not target.is_file():
            raise FusionError(f"{name}: is not a regular file; write to another place")
        if (inputs if isinstance(inputs, Inputs) else Inputs(inputs)).has(target):
            raise FusionError(f"{name}: is one of the inputs and is not overwritten; give another output")
    except FusionError:
        raise
    except (OSError, ValueError) as error:  # too long, or a null byte in it
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise FusionError(f"{name}: cannot be written ({one_line(detail)}); choose another name") from None
    if not (overwrite or same):
        raise FusionError(_exists(name))
    return target


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises FusionError, before any work is done, where no file can be written into a folder that may be missing."""
    name = os.fspath(folder)
    if not name:
        raise FusionError("the name of the output folder is empty; name a folder for the results")
    if os.path.lexists(name) and not os.path.isdir(name):
        raise FusionError(f"{name}: is a file; name a folder for the results")
    _check_place(name, Path(os.path.realpath(name)))


def _check_place(name: str, folder: Path, file: str = "") -> None:
    """Raises FusionError where `file` cannot be made in a folder, or a folder of its path cannot be made."""
    missing = [file] if file else []
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        missing.append(place.name)
        place = place.parent
    why = None
    if not place.is_dir():
        why = errno.ENOTDIR
    elif not os.access(place, os.W_OK | os.X_OK):
        why = errno.EACCES
    if why is not None:
        raise FusionError(f"{name}: cannot be written ({place}: {os.strerror(why)}); choose another folder")
    if hasattr(os, "pathconf") and max((len(os.fsencode(part)) for part in missing), default=0) > _longest(place):
        raise FusionError(f"{name}: cannot be written ({os.strerror(errno.ENAMETOOLONG)}); choose another name")


def _longest(folder: Path) -> int:
    """Bytes that a name in a folder may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return 255


def _exists(name: str) -> str:
    return f"{name}: exists already; give another output or add --overwrite"


def one_line(text: object) -> str:
    """The text in one line, whatever a library put into it."""
    return " ".join(str(text).split()) or "no reason given"


def unforeseen(error: Exception) -> str:
    """The line for an error that nobody has thought of."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error).lower()):
        return "out of memory"
    return one_line(f"{type(error).__name__}: {error}; please report this")
