"""Files in object stores, by their URLs: s3://, gs:// and whatever fsspec knows. A file:// URL is a local path."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import FusionError
from .atomic import one_line

PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""Scheme -> the package that fsspec needs for it. A file of these stores is there whole or not at all."""


def is_url(name: str) -> bool:
    """Whether a name is a URL of a store, and no local path."""
    return "://" in name and not name.startswith("file://")


def local_path(name: str) -> str:
    """The path of a file:// URL; other names as they are."""
    return unquote(urlsplit(name).path) if name.startswith("file://") else name


def join(folder: str, name: str) -> str:
    """The name of a file in a folder, of a store or local."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def canonical(name: str) -> str:
    """One name for one place: links, doubled slashes and schemes of one store (s3a and s3) make no difference."""
    if not is_url(name):
        return os.path.realpath(local_path(name))
    scheme, _, path = name.partition("://")
    scheme = PACKAGES.get(scheme.lower(), scheme.lower())
    return f"{scheme}://{'/'.join(part for part in path.split('/') if part)}"


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError:
        needs = PACKAGES.get(scheme, "fsspec")
        raise FusionError(f"{url}: needs {needs}: pip install 'anyfuse[cluster]' {needs}") from None
    except (OSError, ValueError) as error:
        raise FusionError(f"{url}: cannot be reached ({one_line(error):.200}); check the URL") from None


@contextlib.contextmanager
def _reasons(url: str, what: str) -> Any:
    """Turns what a store raises into one line. Stores raise errors of their own kinds beside OSError."""
    try:
        yield
    except FusionError:
        raise
    except FileNotFoundError:
        raise FusionError(f"{url}: no such file or folder; check the URL") from None
    except Exception as error:
        reason = one_line(error) if str(error) else type(error).__name__
        raise FusionError(f"{url}: cannot be {what} ({reason:.200}); check the URL and the rights") from None


def list_store(url: str, missing: bool = False) -> list[str]:
    """Names of the files in a folder of a store.

    Args:
        url: of the folder.
        missing: a folder that is not there has no files; else it is an error.

    Raises:
        FusionError: the folder is not there, or the store cannot be reached.
    """
    system, path = _open(url)
    with _reasons(url, "listed"):
        system.invalidate_cache()
        try:
            found = system.ls(path, detail=True)
        except FileNotFoundError:
            if missing:
                return []
            raise
    return sorted(one["name"].rstrip("/").rpartition("/")[2] for one in found if one["type"] == "file")


def read_store(url: str) -> bytes:
    """The bytes of a file; FusionError where it cannot be read."""
    system, path = _open(url)
    with _reasons(url, "read"):
        return bytes(system.cat_file(path))


def exists_in_store(url: str) -> bool:
    """Whether a file is there."""
    system, path = _open(url)
    with _reasons(url, "looked for"):
        system.invalidate_cache(path.rpartition("/")[0])
        return bool(system.isfile(path))


def write_store(url: str, data: bytes) -> None:
    """Writes a file whole or not at all, over one that is there; FusionError where it cannot be written."""
    system, path = _open(url)
    with _reasons(url, "written"):
        if url.partition("://")[0] in PACKAGES:
            system.pipe_file(path, data)
            return
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.anyfuse-{secrets.token_hex(6)}.tmp"
        system.makedirs(folder, exist_ok=True)
        system.pipe_file(temporary, data)
        system.mv(temporary, f"{folder}/{name}")


def remove_from_store(url: str) -> None:
    """Removes a file."""
    system, path = _open(url)
    with _reasons(url, "removed"):
        system.rm_file(path)
