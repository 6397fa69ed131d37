"""`anyfuse estimate`: blind estimation of degradations."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .degrade import Source
from .options import White

if TYPE_CHECKING:
    from ..degradation.estimator import Estimate

SHOWN = 0.1
"""Probability from which a fault is in the table."""


Images = Annotated[list[str], typer.Argument(metavar="FILE...", help="Image files.")]
Scene = Annotated[
    bool,
    typer.Option(
        "--scene", help="The files show one scene; their task is estimated too. Otherwise each file is taken alone."
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        help="What the files are for: ivf (infrared + visible), mef (multi-exposure), mff (multi-focus) "
        "or mif (medical)."
    ),
]
SourceKind = Annotated[
    Source, typer.Option(help="Kind of single files: infrared or visible. auto: grey files are infrared.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with all degradations.")]


def estimate(
    images: Images,
    scene: Scene = False,
    task: Task = None,
    source: SourceKind = Source.auto,
    white: White = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the degradations of images: haze, noise, blur and others, with probability and strength."""
    from ..jobs.estimates import estimate_files, estimate_rows

    estimates = estimate_files(images, task, scene=scene, source=source.value, white=white)
    if as_json:
        print(json.dumps([row for names, one in estimates for row in estimate_rows(names, one)], indent=1))
        return
    _show(estimates)


def _show(estimates: list[tuple[list[str], Estimate]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("file", "as", "fault", "probability", "strength", ""):
        table.add_column(heading, justify="right" if heading in ("probability", "strength") else "left")
    notes = []
    for names, one in estimates:
        for name, role, faults in zip(names, one.roles, one.images, strict=True):
            listed = [(fault, f) for fault, f in faults.items() if f.assumed or f.probability >= SHOWN]
            listed.sort(key=lambda pair: (not pair[1].assumed, -pair[1].probability))
            for k, (fault, f) in enumerate(listed):
                head = (name, role) if k == 0 else ("", "")
                table.add_row(
                    *head, fault, f"{f.probability:.2f}", f"{f.strength:.2f}", "" if f.assumed else "not sure"
                )
            if not listed:
                table.add_row(name, role, "nothing", "", "", "")
        if len(names) > 1:
            notes.append(f"task: {one.task} ({one.certainty:.2f} sure)")
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
