"""Work that kills its worker; a module of its own, so that workers can import it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any


class Deadly:
    """Set 2 kills whoever does it."""

    def there(self, job: Mapping[str, Any]) -> bool:
        return False

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        if job["name"] == "2":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"status": "fused"}
