"""The way back from a worker to its server."""

from __future__ import annotations

import json
from typing import Any, TextIO


class Channel:
    """Where answers go; one line each."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def send(self, **message: Any) -> None:
        """Writes one message."""
        self.out.write(json.dumps(message) + "\n")
        self.out.flush()
