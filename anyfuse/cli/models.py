"""`anyfuse models`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from .options import Json

Verbose = Annotated[bool, typer.Option("--verbose", help="Also parameters by part, and configurations.")]


def models(as_json: Json = False, verbose: Verbose = False) -> None:
    """List the named models."""
    from ..arrays import WITH_TORCH
    from ..engine_choice import lacks_torch
    from ..models.registry import MODELS, describe_all, is_there, parts_text

    rows = describe_all()
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("name", "system", "parameters", "trainable", "inputs", "channels", "weights", "licence"):
        table.add_column(heading, justify="right" if heading in ("parameters", "trainable") else "left")
    for row in rows:
        weights = "in the package" if str(row["weights"]).endswith(".safetensors") else row["weights"]
        if row["fetch"] and not is_there(MODELS[row["name"]]):
            weights = f"first `{row['fetch']}`"
        counts = [f"{row[key]:,}" if row[key] is not None else "" for key in ("parameters", "trainable")]
        table.add_row(row["name"], row["system"], *counts, row["inputs"], row["channels"], weights, row["licence"])
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if not WITH_TORCH:
        print(lacks_torch("every model but anyfuse"))
    elif verbose:
        print(parts_text(), end="")
