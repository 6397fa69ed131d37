"""`anyfuse data`: training data in one file, and pansharpening pairs with a reference."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Overwrite

app = typer.Typer(no_args_is_help=True, help="Prepare training and test data.", rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Prepare training and test data."""


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


@app.command()
def reduce(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Image of many bands, or several whose bands are put together (a photograph and its near-infrared "
            "image); or folders of them, paired by file names."
        ),
    ],
    out: Annotated[str, typer.Option("-o", "--output", help="Folder for pan/, ms/ and reference/, a TIFF an image.")],
    ratio: Annotated[int, typer.Option(min=2, help="By which the bands are reduced.")] = 4,
    nyquist: Annotated[
        float, typer.Option(help="Response of the multispectral sensor at its Nyquist frequency, 0 to 1.")
    ] = 0.3,
    pan: Annotated[
        str | None, typer.Option(help="Panchromatic image or folder; without it, one is made of the bands.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights of the bands in a panchromatic image that is made, as 1,1,1,0.5.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make pansharpening pairs with a reference, at a lower resolution (Wald's protocol)."""
    from ..errors import FusionError
    from ..pansharpening.wald import reduce_files

    try:
        shares = [float(part) for part in weights.split(",")] if weights else []
    except ValueError:
        raise FusionError(f"--weights {weights}: give numbers as 1,1,1,0.5") from None
    if not 0 < nyquist < 1:
        raise FusionError(f"--nyquist {nyquist:g}: give more than 0 and less than 1")
    done = reduce_files(
        inputs, out, ratio=ratio, nyquist=nyquist, pan=pan, weights=shares, overwrite=overwrite
    )  # fmt: skip
    print(f"{out}: {len(done)} {'pair' if len(done) == 1 else 'pairs'} with a reference")
