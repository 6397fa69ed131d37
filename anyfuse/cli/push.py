"""`anyfuse push`: a trained model onto the hub."""

from __future__ import annotations

from typing import Annotated

import typer

Folder = Annotated[str, typer.Argument(help="Folder of a training, or that save_pretrained wrote.")]
HubId = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hugging Face hub.")]
Private = Annotated[bool, typer.Option("--private", help="Make the repository private, if it is new.")]
Licence = Annotated[str, typer.Option(help="Licence of the weights, as the hub names it.")]


def push(folder: Folder, hub_id: HubId, private: Private = False, licence: Licence = "apache-2.0") -> None:
    """Upload a trained model with its card to the Hugging Face hub."""
    from ..hub import push_to_hub

    print(push_to_hub(folder, hub_id, private=private, licence=licence))
