"""Any file, written whole or not at all, and never over an input."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..errors import FusionError


def write_whole(
    path: str | os.PathLike[str],
    chunks: Iterable[bytes],
    *,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """A file of any kind, whole or not at all: temporary file in the same folder, fsync, rename.

    inputs: files never overwritten, even with `overwrite`.  Raises FusionError; then nothing is left or changed.
    """
    name = os.fspath(path)
    target = target_of(name, overwrite, inputs)
    temporary = target.with_name(f".{target.stem[:40]}.{secrets.token_hex(4)}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            target_of(name, overwrite, ())  # it may have come into being meanwhile
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = ("free some space or " if error.errno in full else "") + "choose another folder"
        raise FusionError(f"{name}: cannot be written ({one_line(error.strerror or error)}); {remedy}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def target_of(name: str, overwrite: bool, inputs: Iterable[str | os.PathLike[str]]) -> Path:
    """The file that writing to `name` would make or replace, links followed; FusionError where it must not."""
    try:
        target = Path(os.path.realpath(name))
        if target.is_dir():
            raise FusionError(f"{name}: is a folder; name a file in it")
        if not os.path.lexists(target):
            return target
        if not target.is_file():
            raise FusionError(f"{name}: is not a regular file; write to another place")
        if any(os.path.exists(path) and os.path.samefile(path, target) for path in inputs):
            raise FusionError(f"{name}: is one of the inputs and is not overwritten; give another output")
    except FusionError:
        raise
    except (OSError, ValueError) as error:  # too long, or a null byte in it
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise FusionError(f"{name}: cannot be written ({one_line(detail)}); choose another name") from None
    if not overwrite:
        raise FusionError(f"{name}: exists already; give another output or add --overwrite")
    return target


def one_line(text: object) -> str:
    """The text in one line, whatever a library put into it."""
    return " ".join(str(text).split()) or "no reason given"
