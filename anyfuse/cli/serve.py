"""`anyfuse serve`: a page in the browser, and a JSON API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runtime import parse_bytes
from .options import Device, complete_model

Host = Annotated[str, typer.Option(help="Address to listen on. Any but those of this machine needs --token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]
Token = Annotated[
    str | None,
    typer.Option(help="Token that each request must bear; auto makes one and prints it. ANYFUSE_TOKEN does the same."),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Name under which the server may be called, as behind a proxy. May be repeated."),
]
Model = Annotated[str, typer.Option(help="Model that is loaded at the start.", autocompletion=complete_model)]
Jobs = Annotated[int, typer.Option(min=1, max=64, help="Jobs at a time, each in a process of its own.")]
Waiting = Annotated[int, typer.Option("--max-waiting", min=0, help="Jobs that may wait.")]
Upload = Annotated[str, typer.Option("--max-upload", help="Size of one file, e.g. 512M.")]
Files = Annotated[int, typer.Option("--max-files", min=1, help="Images in one job.")]
Pixels = Annotated[float, typer.Option("--max-pixels", min=0.01, help="Millions of pixels of one image.")]
Seconds = Annotated[float, typer.Option("--max-seconds", min=0.1, help="Time of one job.")]
Memory = Annotated[
    str | None,
    typer.Option("--max-memory", help="Memory limit of each job, e.g. 2G.  [default: half of the machine's, shared]"),
]
Room = Annotated[str, typer.Option("--max-store", help="Uploads and results that are kept, together.")]
Minutes = Annotated[
    float, typer.Option("--keep", min=0.01, help="Minutes after which what nobody looked at is removed.")
]
Folder = Annotated[
    Path | None, typer.Option(help="Folder for uploads and results.  [default: the system's temporary folder]")
]
Show = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
Log = Annotated[bool, typer.Option("--log", help="Print a line for each request, without names of files.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8765,
    token: Token = None,
    allow_host: AllowHost = None,
    model: Model = "anyfuse",
    device: Device = "auto",
    jobs: Jobs = 1,
    max_waiting: Waiting = 32,
    max_upload: Upload = "512M",
    max_files: Files = 30,
    max_pixels: Pixels = 200.0,
    max_seconds: Seconds = 600.0,
    max_memory: Memory = None,
    max_store: Room = "8G",
    keep: Minutes = 60.0,
    folder: Folder = None,
    show: Show = False,
    log: Log = False,
) -> None:
    """Serve a page for the browser and a JSON API on this machine.

    Uploads and results lie in a private folder that goes with the server.
    """
    from ..serve.limits import Limits, default_memory
    from ..serve.run import Address, serve

    limits = Limits(
        upload=parse_bytes(max_upload, "--max-upload") or 1,
        pixels=int(max_pixels * 1e6),
        files=max_files,
        seconds=max_seconds,
        jobs=jobs,
        waiting=max_waiting,
        memory=default_memory(jobs) if max_memory is None else parse_bytes(max_memory),
        store=parse_bytes(max_store, "--max-store") or 1,
        age=keep * 60,
    )
    address = Address(host, port, token, tuple(allow_host or ()))
    serve(address, limits, device=device, model=model, base=folder, show=show, log=log)
