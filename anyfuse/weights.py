"""Weights and configurations: one loader for models, language, estimator, codecs and backbones.

A trained part is a folder with config.json and model.safetensors: in the package, in the cache, a path, or on the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from .errors import FusionError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
LOADING_ERRORS = (
    OSError,  # no file, no network, no right; most errors of the hub are of this kind
    ValueError,  # no JSON, another configuration
    LookupError,
    RuntimeError,
    ImportError,
    TypeError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What diffusers, transformers and torch.load raise for a folder or file that is not what it should be. They check
little themselves, so a wrong value shows as whatever error it leads to.
"""


def package_folder(name: str) -> Path:
    """Where the package keeps the trained part `name`."""
    return Path(str(files("anyfuse") / "assets" / "weights" / name))


def cache_folder() -> Path:
    """Where fetched parts are: $ANYFUSE_CACHE, or ~/.cache/anyfuse."""
    return Path(os.environ.get("ANYFUSE_CACHE") or Path.home() / ".cache" / "anyfuse")


def check_writable(folder: Path) -> None:
    """Makes a folder of the cache; raises FusionError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FusionError(
            f"{folder}: cannot be written ({error.strerror}); set ANYFUSE_CACHE to another folder"
        ) from None


def store_in_cache(save: Callable[[Path], None], name: str) -> Path:
    """Puts a trained part into the cache, whole or not at all, in the place of an earlier one.

    Args:
        save: writes config.json and model.safetensors into the folder that it is given.
        name: of the folder below `cache_folder`.

    Returns:
        The folder.

    Raises:
        FusionError: the cache cannot be written.
    """
    target = cache_folder() / name
    check_writable(target.parent)
    scratch = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        save(scratch)
        os.chmod(scratch, 0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise FusionError(f"{target}: cannot be written ({error.strerror})") from None
    return target


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder; OSError where there is none, ValueError where it is no JSON object."""
    config = json.loads((folder / CONFIG_NAME).read_text())
    if not isinstance(config, dict):
        raise ValueError("not a JSON object")
    return config


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; FusionError where there is none."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise FusionError(f"{path}: no such weights file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise FusionError(f"{path}: not a safetensors file ({error})") from None


def load_state(module: nn.Module, path: Path, accepts: Callable[[str], bool] = lambda key: True) -> None:
    """Loads a safetensors file into `module`, strictly, in the module's own dtypes.

    accepts: whether a key of the file is looked at; others are passed over. Raises FusionError where the file cannot be
    read, or where keys or shapes don't fit; it names the first ones.
    """
    own = module.state_dict()
    state = {k: v for k, v in read_tensors(path).items() if accepts(k)}
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or unexpected or shapes:
        wrong = [f"missing {k}" for k in missing[:2]] + [f"unexpected {k}" for k in unexpected[:2]]
        wrong += [f"{k} is {tuple(state[k].shape)} for {tuple(own[k].shape)}" for k in shapes[:2]]
        count = len(missing) + len(unexpected) + len(shapes)
        raise FusionError(
            f"{path}: {count} keys don't fit {type(module).__name__} ({'; '.join(wrong)}): "
            "these weights belong to another model or configuration"
        )
    module.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()}, strict=True)


def save_folder(folder: Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Writes config.json and model.safetensors into `folder`; values keep their dtype."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=1) + "\n")
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    (folder / WEIGHTS_NAME).write_bytes(save(tensors, metadata={"format": "pt"}))


def check_sha256(path: Path, expected: str) -> None:
    """Raises FusionError where a file is missing or is not the one that was released."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise FusionError(f"{path}: the weights are missing; install anyfuse again") from None
    if digest != expected:
        raise FusionError(
            f"{path}: sha256 {digest[:12]}... is not the released {expected[:12]}...; install anyfuse again"
        )


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """First 16 hexadecimal digits of the sha256 over the values, in float16 so that storage does not matter."""
    digest = hashlib.sha256()
    for value in tensors:
        digest.update(value.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def is_hub_id(name: str) -> bool:
    """Whether a text has the form owner/name."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def from_hub(hub_id: str) -> Path:
    """Fetches config.json and model.safetensors of a hub id into the hub's cache (HF_HUB_OFFLINE and HF_HOME are
    obeyed).

    Raises FusionError with the first line of the reason alone: the caller says what to do.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME]))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FusionError(first) from None
