"""`anyfuse datasets`: where the field's data sets are, and what is wrong with one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .options import Json, Overwrite, Quiet, Task

app = typer.Typer(rich_markup_mode=None)

Folder = Annotated[str, typer.Argument(metavar="DIR", help="Folder of a data set, or one that holds several.")]
Against = Annotated[
    list[str] | None,
    typer.Option(help="Folder with test images, or a file of --hashes-out: images that are in it too are leaks."),
]
Distance = Annotated[
    int,
    typer.Option(min=0, max=100, help="Bits of 256 by which the looks of two images may differ and be one picture."),
]
HashesOut = Annotated[
    str | None, typer.Option(help="Write the hashes of all images, for --against elsewhere, without the images.")
]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """List the field's data sets (where they are, their terms and splits), or check one."""
    if context.invoked_subcommand is None:
        from ..benchmark.bench import datasets_text

        print(datasets_text())


@app.command()
def check(
    folder: Folder,
    task: Task = "",
    against: Against = None,
    distance: Distance = 40,
    hashes_out: HashesOut = None,
    as_json: Json = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Check layout, pairs, sizes, unreadable files, repeats, and leaks between training and test images."""
    from pathlib import Path

    from rich.console import Console

    from ..benchmark import check_data

    with Console(stderr=True).status("") as status:
        step = (lambda text: None) if quiet else status.update
        found, prints = check_data.check_dataset(folder, task=task, against=against or [], alike=distance, step=step)
    if hashes_out is not None:
        check_data.write_prints(Path(hashes_out), prints, overwrite)
    print(json.dumps(check_data.as_json(found), indent=1) if as_json else check_data.as_text(found))
    raise typer.Exit(1 if found.errors else 0)
