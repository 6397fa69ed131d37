"""A client of `anyfuse serve` for Python. It needs nothing beside the standard library."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from ..errors import FusionError
from ..io.atomic import one_line, write_whole

BLOCK = 1 << 20
File = str | os.PathLike[str] | bytes | tuple[str, bytes]
Heard = Callable[[str, float], None]


@dataclass(frozen=True)
class JobResult:
    """A finished job on the server. Its files stay there until the server removes them, or `remove` does."""

    client: Client
    id: str
    facts: dict[str, Any]  # as GET /v1/jobs/ID tells

    @property
    def name(self) -> str:
        """What the server calls the result, as 'fused.png'."""
        return str(self.facts["file"])

    @property
    def report(self) -> dict[str, Any]:
        """What was done."""
        return dict(self.client.ask("GET", f"/v1/jobs/{self.id}/report"))

    def content(self) -> bytes:
        """The file of the result."""
        return b"".join(self.client.download(f"/v1/jobs/{self.id}/result"))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes the file of the result, whole or not at all.

        Args:
            path: file. Its format is the one that `fuse` was asked for, whatever its suffix.
            overwrite: replaces an existing file.

        Raises:
            FusionError: the file cannot be written, or the server has it no longer.
        """
        write_whole(path, self.client.download(f"/v1/jobs/{self.id}/result"), overwrite=overwrite)
        return Path(path)

    def weights(self, index: int) -> bytes:
        """The weight map of an input as PNG, white where it makes up the whole result."""
        return b"".join(self.client.download(f"/v1/jobs/{self.id}/weights/{index}"))

    def remove(self) -> None:
        """Removes the job with its files from the server."""
        self.client.ask("DELETE", f"/v1/jobs/{self.id}")


class Client:
    """Speaks to a server.

    Args:
        url: of the server, as `anyfuse serve` prints it.
        token: that the server wants; None: ANYFUSE_TOKEN from the environment, or none.
        timeout: seconds without a word from the server after which it counts as gone.
    """

    def __init__(self, url: str = "http://127.0.0.1:8765", token: str | None = None, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FusionError(
                f"url '{one_line(url)[:80]}' is no address of a server; give one as http://127.0.0.1:8765"
            )
        found = dict(pair.split("=", 1) for pair in parts.fragment.split("&") if "=" in pair)
        self.token = token or found.get("token") or os.environ.get("ANYFUSE_TOKEN")
        self.secure, self.host, self.port = parts.scheme == "https", parts.hostname, parts.port
        self.base = parts.path.rstrip("/")
        self.timeout = timeout

    def fuse(
        self,
        files: Sequence[File],
        *,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Heard | None = None,
        **options: Any,
    ) -> JobResult:
        """Fuses images on the server, and returns when they are done.

        Args:
            files: paths, or contents as bytes, or (name, content).
            out: file to write the result to; None: see `JobResult.save`.
            overwrite: replaces an existing `out`.
            progress: hears the stage and which share of it is done, 0 to 1.
            options: model, say, align, deghost, format, depth ... as docs/serve.md lists them.

        Raises:
            FusionError: one line that says what is wrong and what to do.
        """
        job = self.submit(files, **options)
        try:
            state = self.wait(job["id"], progress)
        except BaseException:  # also Ctrl-C: nobody wants the result
            self._cancel_quietly(job["id"])
            raise
        if state["state"] != "done":
            raise FusionError(state["error"] or "the job was cancelled")
        result = JobResult(self, job["id"], state)
        if out is not None:
            result.save(out, overwrite=overwrite)
        return result

    def submit(self, files: Sequence[File], **options: Any) -> dict[str, Any]:
        """Sends a job and returns at once: what GET /v1/jobs/ID tells."""
        return dict(self.ask("POST", "/v1/fuse", _Form(files, options)))

    def wait(self, job: str, progress: Heard | None = None) -> dict[str, Any]:
        """Follows a job until it is over; its last state."""
        state: dict[str, Any] = {}
        for line in self._lines(f"/v1/jobs/{job}/events"):
            if line.startswith(b"data:"):
                state = json.loads(line[5:])
                if progress is not None:
                    progress(state["stage"] or state["state"], state["share"])
        return state or dict(self.ask("GET", f"/v1/jobs/{job}"))

    def cancel(self, job: str) -> dict[str, Any]:
        """Cancels a job that waits or runs."""
        return dict(self.ask("DELETE", f"/v1/jobs/{job}"))

    def models(self) -> list[dict[str, Any]]:
        """The models that the server has."""
        return list(self.ask("GET", "/v1/models"))

    def ask(self, method: str, path: str, form: _Form | None = None) -> Any:
        """One request with an answer in JSON."""
        with self._open(method, path, form) as answer:
            return json.loads(answer.read() or b"null")

    def download(self, path: str) -> Iterator[bytes]:
        """The body of an answer, piece by piece; FusionError where it ends too early."""
        with self._open("GET", path) as answer:
            try:
                while piece := answer.read(BLOCK):
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                raise FusionError(f"the server went away in the middle ({one_line(error)}); try again") from None

    def _lines(self, path: str) -> Iterator[bytes]:
        with self._open("GET", path) as answer:
            try:
                yield from iter(answer.readline, b"")
            except (OSError, http.client.HTTPException) as error:
                raise FusionError(f"the server went away in the middle ({one_line(error)}); try again") from None

    def _open(self, method: str, path: str, form: _Form | None = None) -> _Answer:
        connection = (
            http.client.HTTPSConnection(
                self.host, self.port, timeout=self.timeout, context=ssl.create_default_context()
            )
            if self.secure
            else http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        )
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if form is not None:
            headers |= {"Content-Type": f"multipart/form-data; boundary={form.boundary}"}
            headers |= {"Content-Length": str(form.length)}
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it has answered before it had read all
                connection.request(method, self.base + quote(path), form and iter(form), headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise FusionError(_error_of(answer))
        except FusionError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            where = f"{self.host}:{self.port or (443 if self.secure else 80)}"
            raise FusionError(f"{where} does not answer ({one_line(error)}); start it with: anyfuse serve") from None
        return _Answer(connection, answer)

    def _cancel_quietly(self, job: str) -> None:
        try:
            self.cancel(job)
        except FusionError:
            return


class _Answer:
    """An answer that closes its connection."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self.connection, self.read, self.readline = connection, answer.read, answer.readline

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()


def _error_of(answer: http.client.HTTPResponse) -> str:
    """The line of an answer that refuses."""
    body = answer.read(1 << 16)
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {answer.status} {one_line(answer.reason)}; is it anyfuse serve?"


class _Form:
    """A form with files, sent piece by piece: no file is read into memory."""

    def __init__(self, files: Sequence[File], options: dict[str, Any]) -> None:
        if isinstance(files, str | bytes | os.PathLike):
            raise FusionError("give a list of two or more files, not one")
        self.boundary = f"anyfuse-{secrets.token_hex(16)}"
        self.parts: list[tuple[bytes, bytes | str]] = []  # head and content, or the path of the content
        for name, value in options.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if value is not None:
                self.parts.append((self._head(f'name="{name}"'), text.encode()))
        for index, file in enumerate(files):
            name, content = _named(file, index)
            clean = "".join(" " if ord(letter) < 32 else letter for letter in name).replace('"', "'").replace("\\", "/")
            self.parts.append((self._head(f'name="files"; filename="{clean}"'), content))
        self.end = f"--{self.boundary}--\r\n".encode()
        self.length = len(self.end) + sum(len(head) + _size(content) + 2 for head, content in self.parts)

    def _head(self, what: str) -> bytes:
        text = f"--{self.boundary}\r\nContent-Disposition: form-data; {what}\r\n\r\n"
        return text.encode("utf-8", "replace")

    def __iter__(self) -> Iterator[bytes]:
        for head, content in self.parts:
            yield head
            if isinstance(content, bytes):
                yield content
            else:
                with open(content, "rb") as file:
                    yield from _pieces(file)
            yield b"\r\n"
        yield self.end


def _named(file: File, index: int) -> tuple[str, bytes | str]:
    """What a file is called, and its content or where that is."""
    if isinstance(file, bytes):
        return f"image {index + 1}", file
    if isinstance(file, tuple):
        return file
    path = os.fspath(file)
    if not os.path.isfile(path):
        raise FusionError(f"{path}: no such file; check the name")
    return os.path.basename(path), path


def _size(content: bytes | str) -> int:
    return len(content) if isinstance(content, bytes) else os.path.getsize(content)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(BLOCK):
        yield piece
