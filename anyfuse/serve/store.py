"""The private folder of one server: uploads and results under names that nobody can guess."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from .limits import Refused, size_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = "anyfuse-serve-"
LOCK = ".lock"


def new_id() -> str:
    """128 random bits as a name: what is not told is not found."""
    return secrets.token_urlsafe(16)


@dataclass
class Upload:
    """One file that was uploaded. `name` is what its owner calls it, and is never a path here."""

    id: str
    name: str
    folder: Path
    path: Path
    size: int = 0
    facts: dict[str, object] = field(default_factory=dict)  # width, height, depth ... once it was read
    error: str | None = None  # why it cannot be read
    touched: float = field(default_factory=time.monotonic)

    def as_dict(self) -> dict[str, object]:
        """What its owner may know."""
        return {"id": self.id, "name": self.name, "bytes": self.size, **self.facts, "error": self.error}


class Store:
    """A folder with mode 0700 that goes with its server. A lock on it tells later servers whether its owner lives.

    Args:
        base: where the folder goes; None: the system's temporary folder.
        room: bytes that uploads and results may take together.
    """

    def __init__(self, base: str | Path | None = None, room: int = 8 << 30) -> None:
        self.base = Path(tempfile.gettempdir() if base is None else base)
        self.room = room
        self.used = 0
        self.uploads: dict[str, Upload] = {}
        sweep(self.base)
        self.root, self._lock = _own_folder(self.base)

    def new_folder(self) -> tuple[str, Path]:
        """An id and a new folder of that name."""
        name = new_id()
        path = self.root / name
        path.mkdir(mode=0o700)
        return name, path

    def new_upload(self, name: str) -> Upload:
        """A record and a folder for a file that is about to come."""
        key, folder = self.new_folder()
        return Upload(key, name, folder, folder / "data")

    def take(self, count: int) -> None:
        """Counts bytes that are about to be written; raises Refused where there is no room for them."""
        if self.used + count > self.room:
            text = f"the server keeps at most {size_text(self.room)} and has no room now; delete results, or try later"
            raise Refused(text, 507, retry=60)
        self.used += count

    def give(self, count: int) -> None:
        """Counts bytes that were removed."""
        self.used = max(0, self.used - count)

    def add(self, upload: Upload) -> None:
        """From here on the upload is found by its id."""
        self.uploads[upload.id] = upload

    def find(self, key: str) -> Upload:
        """The upload of that id, which counts as used now. Raises Refused where there is none."""
        found = self.uploads.get(key)
        if found is None:
            raise Refused("there is no such file here; it was removed, or never uploaded: upload it again", 404)
        found.touched = time.monotonic()
        return found

    def drop(self, upload: Upload) -> None:
        """Removes an upload. Jobs that use it have their own link to the file."""
        self.uploads.pop(upload.id, None)
        remove(upload.folder)
        self.give(upload.size)

    def clean(self, age: float) -> None:
        """Removes uploads that nobody used for `age` seconds."""
        oldest = time.monotonic() - age
        for upload in [u for u in self.uploads.values() if u.touched < oldest]:
            self.drop(upload)

    def close(self) -> None:
        """Removes everything."""
        self.uploads.clear()
        remove(self.root)
        self._lock.close()


def remove(folder: Path) -> None:
    """Removes a folder with all that is in it; what is not there is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += 0 if path.is_symlink() or not path.is_file() else path.stat().st_size
    return total


def _own_folder(base: Path) -> tuple[Path, BinaryIO]:
    """A new folder and the open file that holds its lock."""
    while True:
        root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))  # mkdtemp gives it mode 0700
        try:
            lock = open(root / LOCK, "xb")  # noqa: SIM115  it stays open as long as the server lives
        except FileNotFoundError:  # another server that starts took it for a leftover
            continue
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (root / LOCK).exists():
            return root, lock
        lock.close()


def sweep(base: Path) -> None:
    """Removes the folders of servers that were killed: those of this user that no living server holds a lock on."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for path in base.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if path.is_symlink() or path.stat().st_uid != os.getuid():
                    continue
                if not (path / LOCK).exists():
                    path.rmdir()  # it is empty, or stays
                    continue
                with open(path / LOCK, "rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its server lives
                    remove(path)
