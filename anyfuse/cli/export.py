"""`anyfuse export`."""

from __future__ import annotations

from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="Name, folder or hub id of a model.", show_default=False)],
    output: Annotated[str, typer.Option("-o", "--output", help="File to write, ending in .onnx.", show_default=False)],
    depth: Annotated[str, typer.Option(help="Pixels that go in and come out: uint8, or float32 in [0, 1].")] = "uint8",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a model as an ONNX graph: any number of images, any size, colour and rounding included.

    The graph is compared with PyTorch before it is written. It takes a minute or two.
    """
    from typing import cast

    from ..engines.export import Depth
    from ..engines.export import export as write
    from ..models.registry import load_model

    path = write(load_model(model), model, output, cast("Depth", depth), overwrite=overwrite)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, images (N, H, W, 3) -> fused (H, W, 3), {depth}")
