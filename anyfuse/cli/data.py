"""`anyfuse data`: training data in one file."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Overwrite

app = typer.Typer(no_args_is_help=True, help="Prepare training data.", rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Prepare training data."""


@app.command()
def pack(
    data: Annotated[str, typer.Option(help="Folder with the training data, laid out as docs/training.md says.")],
    out: Annotated[str, typer.Option(help="File to write, for `anyfuse train --data FILE`.")],
    quality: Annotated[int, typer.Option(min=0, max=100, help="Quality of WebP; 0 keeps the pixels as they are.")] = 0,
    side: Annotated[int, typer.Option(min=0, help="Longest side of an image in pixels; 0 leaves all as they are.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Put luma of the image sets into one file, which training maps into memory."""
    from ..data.pack import pack as write
    from ..training.recipes import VARIED, WIDE

    known = {s.folders for s in WIDE}
    sets = (*WIDE, *(s for s in VARIED if s.folders not in known))
    print(f"wrote {write(data, sets, out, quality=quality, side=side, overwrite=overwrite)}")
