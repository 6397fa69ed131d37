"""What each request passes: the Host header, other sites, the token; headers of the answer; a log without names."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import logging
import re
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("anyfuse.serve")
LOCAL = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
_ID = re.compile(r"^(/v1/(?:jobs|files)/)[^/]+")


class Guard:
    """The outermost layer of the application.

    Args:
        app: what is behind it.
        token: that requests to /v1 must bear; None: none is needed.
        hosts: names under which the server may be called, beside those of this machine.
        addresses: whether it may also be called by any address in digits: no other site's name leads to those.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Sequence[str] = (), addresses: bool = False) -> None:
        self.app = app
        self.token = None if token is None else token.encode()
        self.hosts = {host.lower() for host in (*LOCAL, *hosts)}
        self.addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what is refused, passes on the rest."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), [0]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                private = [(b"cache-control", b"no-store")] if scope["path"].startswith("/v1/") else []
                message["headers"] = [*message.get("headers", ()), *HEADERS, *private]
            await send(message)

        try:
            refused = self.refuse(scope)
            if refused is None:
                await self.app(scope, receive, answer)
            else:
                await _refuse(answer, *refused)
        finally:
            path = _ID.sub(r"\1...", scope["path"])[:80] if status[0] not in (404, 405) else "..."
            LOG.info("%s %s %s %.0f ms", scope["method"], path, status[0], 1000 * (time.perf_counter() - start))

    def refuse(self, scope: Scope) -> tuple[int, str] | None:
        """Status and line for a request that is not answered; None where it is."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self.knows(host_name(host)):
            text = "this server is not called by that name; use its address, or start it with --allow-host NAME"
            return 421, text
        origin = headers.get(b"origin")
        if headers.get(b"sec-fetch-site") == b"cross-site" and scope["path"].startswith("/v1/"):
            return 403, "requests from other sites are not answered; use the page of this server, or a program"
        if origin is not None and urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower():
            return 403, "requests from other sites are not answered; use the page of this server, or a program"
        if self.token is None or not scope["path"].startswith("/v1/") or scope["path"] == "/v1/health":
            return None
        given = headers.get(b"authorization", b"")
        if not (given[:7].lower() == b"bearer " and hmac.compare_digest(given[7:].strip(), self.token)):
            return 401, "this server wants its token; send it as the header 'Authorization: Bearer TOKEN'"
        return None

    def knows(self, host: str) -> bool:
        """Whether the server may be called by this name."""
        if host in self.hosts:
            return True
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            return self.addresses or address.is_loopback
        return False


def host_name(host: str) -> str:
    """A Host header without its port and brackets, in small letters."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@]+)(:\d{1,5})?", host.strip())
    return "" if match is None else match[1].strip("[]").lower()


async def _refuse(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    headers += [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
