"""Reads a form with files: each file goes straight into the store, counted as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import BinaryIO

from python_multipart.multipart import MultipartParser, parse_options_header

from ..io.atomic import one_line
from .limits import Limits, Refused, size_text
from .store import Store, Upload

MAX_FIELD = 8192  # bytes of a field that is no file
MAX_FIELDS = 64
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Form:
    """What came: files, and the other fields by name, each as often as it came."""

    uploads: list[Upload] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)


class _Reader:
    """The callbacks of the parser; `form` grows with them."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store, self.limits, self.form = store, limits, Form()
        self.headers: dict[bytes, bytes] = {}
        self.name = self.value = b""
        self.field = ""
        self.content = bytearray()
        self.upload: Upload | None = None
        self.file: BinaryIO | None = None
        self.count = 0
        self.ended = False

    def callbacks(self) -> dict[str, object]:
        """As the parser names them."""
        return {
            "on_part_begin": self.begin,
            "on_header_field": self.header_name,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.start,
            "on_part_data": self.data,
            "on_part_end": self.finish,
            "on_end": self.end,
        }

    def begin(self) -> None:
        self.headers, self.name, self.value = {}, b"", b""
        self.count += 1
        if self.count > self.limits.files + MAX_FIELDS:
            raise Refused(f"the form has more than {self.limits.files + MAX_FIELDS} fields; leave some out", 413)

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        self.headers[self.name.lower()] = self.value
        self.name = self.value = b""

    def start(self) -> None:
        _, options = parse_options_header(self.headers.get(b"content-disposition", b""))
        self.field = options.get(b"name", b"").decode("utf-8", "replace")
        self.content = bytearray()
        if b"filename" not in options:
            return
        if len(self.form.uploads) >= self.limits.files:
            raise Refused(f"more than {self.limits.files} files; give at most {self.limits.files}", 413)
        self.upload = self.store.new_upload(display_name(options[b"filename"], len(self.form.uploads) + 1))
        self.form.uploads.append(self.upload)
        self.file = open(self.upload.path, "xb")  # noqa: SIM115  closed by `finish` or `close`

    def data(self, data: bytes, start: int, end: int) -> None:
        if self.upload is None or self.file is None:
            self.content += data[start:end]
            if len(self.content) > MAX_FIELD:
                raise Refused(f"{display_name(self.field.encode())}: is longer than {MAX_FIELD} bytes; shorten it", 413)
            return
        count = end - start
        if self.upload.size + count > self.limits.upload:
            most = size_text(self.limits.upload)
            raise Refused(f"{self.upload.name}: is larger than {most}, the most that this server takes", 413)
        self.store.take(count)
        self.upload.size += count
        self.file.write(data[start:end])

    def finish(self) -> None:
        if self.file is None:
            self.form.fields.setdefault(self.field, []).append(self.content.decode("utf-8", "replace"))
            return
        self.file.close()
        self.upload = self.file = None

    def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        """Forgets all files of a form that is refused."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()
        for upload in self.form.uploads:
            self.store.drop(upload)


async def read_form(chunks: AsyncIterator[bytes], content_type: str, store: Store, limits: Limits) -> Form:
    """The form in the body of a request; its files are in the store.

    Args:
        chunks: of the body.
        content_type: of the request.
        store: where files go.
        limits: of files and time.

    Raises:
        Refused: no form, too large, too slow, or a full disk; then none of its files is left.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Refused("the body is no form; send multipart/form-data, with each image as a field 'files'", 415)
    reader = _Reader(store, limits)
    parser = MultipartParser(options[b"boundary"], reader.callbacks())  # type: ignore[arg-type]
    try:
        await asyncio.wait_for(_feed(chunks, parser, reader), limits.seconds)
    except (TimeoutError, asyncio.TimeoutError):
        reader.close()
        raise Refused(f"the upload took longer than {limits.seconds:g} s; send smaller files", 408) from None
    except OSError as error:
        reader.close()
        full = error.errno in FULL_DISK
        remedy = "free some space on the server" if full else "look at the server's folder"
        text = f"the upload cannot be written ({one_line(error.strerror or error)}); {remedy}"
        raise Refused(text, 507 if full else 500) from None
    except Refused:
        reader.close()
        raise
    except Exception as error:  # of the parser, whose classes differ between its versions; or the client went away
        reader.close()
        raise Refused(f"the form cannot be read ({one_line(error)}); send it again", 400) from None
    except BaseException:  # also a cancelled request must not leave files
        reader.close()
        raise
    return reader.form


async def _feed(chunks: AsyncIterator[bytes], parser: MultipartParser, reader: _Reader) -> None:
    async for chunk in chunks:
        parser.write(chunk)
    parser.finalize()
    if not reader.ended:
        raise Refused("the form ends too early; send it again", 400)


def display_name(raw: bytes, number: int = 1) -> str:
    """What a file is called in messages: the last part of its name, in one line of at most 120 letters."""
    text = re.split(r"[/\\]", raw.decode("utf-8", "replace"))[-1]
    text = re.sub(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]+", " ", text).strip()
    return (text if len(text) <= 120 else f"{text[:80]}...{text[-36:]}") or f"image {number}"
