"""`python -m anyfuse`: the same as the command `anyfuse`."""

from __future__ import annotations

from .cli.main import main

main()
