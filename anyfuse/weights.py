from __future__ import annotations

import hashlib
import os
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from .errors import FusionError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; FusionError where there is none."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise FusionError(f"{path}: no such weights file") from None
    except Exception as error:
        raise FusionError(f"{path}: not a safetensors file ({error})") from None


def is_hub_id(name: str) -> bool:
    """Whether a text has the form owner/name."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def from_hub(hub_id: str) -> Path:
    """Fetches config.json and model.safetensors of a hub id into the hub's cache (HF_HUB_OFFLINE and HF_HOME are obeyed).

    Raises FusionError with the first line of the reason alone: the caller says what to do.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME]))
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FusionError(first) from None


def check_sha256(path: Path, expected: str) -> None:
    """Raises FusionError where a file is missing or is not the one that was released."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise FusionError(f"{path}: the weights are missing; install anyfuse again") from None
    if found != expected:
        raise FusionError(
            f"{path}: sha256 {found[:12]}... is not the released {expected[:12]}...; install anyfuse again"
        )


def cache_folder() -> Path:
    """Where fetched backbones are: $ANYFUSE_CACHE, or ~/.cache/anyfuse."""
    return Path(os.environ.get("ANYFUSE_CACHE") or Path.home() / ".cache" / "anyfuse")
