"""Starts a server: who may reach it, and what is printed."""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import FusionError
from ..io.atomic import one_line
from .limits import Limits

SHORTEST = 16  # letters of a token that can be guessed by nobody


@dataclass(frozen=True)
class Address:
    """Where a server listens, and what callers need."""

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None  # 'auto' makes one
    hosts: Sequence[str] = ()  # names by which it may be called


def serve(
    address: Address, limits: Limits, *, device: str, model: str, base: Path | None, show: bool, log: bool
) -> None:
    """Runs until it is interrupted.

    Args:
        address: where it listens.
        limits: what it takes on.
        device: where models run.
        model: that is loaded at the start.
        base: folder in which it makes its own; None: the temporary folder of the system.
        show: opens the page in the browser.
        log: a line on stderr for each request, without names of files.

    Raises:
        FusionError: the address cannot be used, or the extra is not installed.
    """
    app_of, uvicorn = needed()
    token = checked_token(address)
    open_to_all = not is_local(address.host)
    listener = listen(address)
    app = app_of(
        limits,
        token=token,
        hosts=[*address.hosts, *([] if is_any(address.host) else [address.host])],
        addresses=open_to_all,
        device=device,
        model=model,
        base=base,
    )
    url = page_url(address.host, listener.getsockname()[1])
    print(f"anyfuse: {url}" + (f"#token={token}" if token else ""), flush=True)
    if token:
        print(f"anyfuse: token {token}", flush=True)
    print("anyfuse: stop with Ctrl-C; uploads and results go with it", file=sys.stderr, flush=True)
    if log:
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
        logging.getLogger("anyfuse.serve").setLevel(logging.INFO)
    if show:
        threading.Timer(1.0, webbrowser.open, [url + (f"#token={token}" if token else "")]).start()
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    running = uvicorn.Server(config)
    shutdown = running.shutdown

    async def end(sockets: list[socket.socket] | None = None) -> None:
        await app.state.server.queue.stop()  # first, or those who wait for a job would hold the server
        await shutdown(sockets)

    running.shutdown = end
    running.run(sockets=[listener])


def needed():  # type: ignore[no-untyped-def]
    """The application and its server; FusionError where the extra is not installed."""
    try:
        import uvicorn

        from .app import create_app
    except ImportError as error:
        missing = error.name or "fastapi"
        text = f"anyfuse serve needs {missing.split('.')[0]}, which is not installed; pip install 'anyfuse[serve]'"
        raise FusionError(text) from None
    return create_app, uvicorn


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def is_any(host: str) -> bool:
    """Whether an address stands for all of the machine's."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


def checked_token(address: Address) -> str | None:
    """The token that callers need, None for none; FusionError for an open server without one."""
    token = address.token or os.environ.get("ANYFUSE_TOKEN") or None
    if token is None and not is_local(address.host):
        raise FusionError(
            f"--host {address.host}: others can reach this address, so they need a token; add --token auto to make one"
        )
    if token == "auto":
        return secrets.token_urlsafe(24)
    if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
        raise FusionError(f"--token: give {SHORTEST} or more letters and digits without spaces, or auto to make one")
    return token


def listen(address: Address) -> socket.socket:
    """The socket of a server; FusionError where the address is taken or is not one of this machine."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
    except (OSError, OverflowError, UnicodeError) as error:
        listener.close()
        detail = one_line(error.strerror if isinstance(error, OSError) and error.strerror else error)
        text = f"--host {address.host} --port {address.port}: cannot be used ({detail}); give another --port, or 0"
        raise FusionError(text) from None
    listener.listen(256)
    listener.set_inheritable(False)
    return listener


def page_url(host: str, port: int) -> str:
    """Where the page is."""
    name = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
