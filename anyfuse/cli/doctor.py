"""`anyfuse doctor`: what this installation is, and what it uses."""

from __future__ import annotations

import json

from .options import Json


def doctor(as_json: Json = False) -> None:
    """Show versions, processor, compiled kernels, GPU, folders and extras."""
    from ..doctor import as_text, examine

    facts = examine()
    print(json.dumps(facts, indent=1) if as_json else as_text(facts))
