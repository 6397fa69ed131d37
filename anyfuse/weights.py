"""Weights and configurations: one loader for models, language, estimator, codecs and backbones.

A trained part is a folder with config.json and model.safetensors: in the package, in the cache, a path, or on the hub.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import re
import shutil
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .arrays import Tensor, nn, torch
from .errors import FusionError
from .runtime import check_regular

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
MAX_CONFIG = 1 << 20
"""Bytes of a config.json."""
MAX_INT, MAX_FLOAT, MAX_WEIGHT = 1 << 16, 1e6, 1e8
"""Largest values of a configuration and of a weight. Released weights are float16, which ends at 65504."""
FROZEN = 1 << 29
"""Parameters that a model may have beside those of its file, in a frozen codec or backbone."""
LOADING_ERRORS = (
    OSError,  # no file, no network, no right; most errors of the hub are of this kind
    ValueError,  # no JSON, another configuration
    LookupError,
    RuntimeError,
    ImportError,
    TypeError,
    AttributeError,
    EOFError,
    struct.error,
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
        for left in folder.glob(".saving-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
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
    path = folder / CONFIG_NAME
    check_regular(path)
    if path.stat().st_size > MAX_CONFIG:
        raise ValueError(f"{path.stat().st_size} bytes are no configuration")
    config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError("not a JSON object")
    return config


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; FusionError where there is none."""
    from safetensors.torch import load_file

    try:
        check_regular(path)
        return load_file(path)
    except FileNotFoundError:
        raise FusionError(f"{path}: no such weights file") from None
    except PermissionError:
        raise FusionError(f"{path}: cannot be opened; you may not read it, ask its owner") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise FusionError(f"{path}: not a safetensors file ({error})") from None


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the header of a safetensors file, without its values; FusionError where there is none."""
    try:
        check_regular(path)
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise FusionError(f"{path}: no such weights file") from None
    except PermissionError:
        raise FusionError(f"{path}: cannot be opened; you may not read it, ask its owner") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise FusionError(f"{path}: not a safetensors file ({error})") from None


def check_values(config: type, values: Mapping[str, Any]) -> None:
    """Raises TypeError or ValueError for values that no field of a configuration can have.

    Args:
        config: a dataclass.
        values: by the names of its fields, as JSON holds them.
    """
    for field in fields(config):
        value, default = values.get(field.name, field.default), field.default
        kind = type(default)
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise TypeError(f"{field.name} is {value!r:.60}, not {kind.__name__}")
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, float) and not abs(one) <= MAX_FLOAT:
                raise ValueError(f"{field.name} is {one:g}, not a number up to {MAX_FLOAT:g}")
            if isinstance(one, int) and not abs(one) <= MAX_INT:
                raise ValueError(f"{field.name} is {one:.3g}, not a whole number up to {MAX_INT}")


def check_fit(build: Callable[[], nn.Module], path: Path) -> None:
    """Builds a module without memory, and refuses it where its file cannot be for it.

    Args:
        build: makes the module.
        path: of its safetensors file.

    Raises:
        FusionError: the module has far more parameters than the file, or other shapes.
    """
    from torch.nn.modules.module import (
        register_module_module_registration_hook,
        register_module_parameter_registration_hook,
    )

    shapes = tensor_shapes(path)
    room = [4 * len(shapes) + 4096, 4 * sum(map(math.prod, shapes.values())) + FROZEN]
    here = threading.get_ident()

    def count(module: nn.Module, name: str, part: Any) -> None:
        if threading.get_ident() != here:
            return
        room[0] -= 1
        room[1] -= part.numel() if isinstance(part, Tensor) else 0
        if min(room) < 0:
            raise FusionError(f"{path}: the configuration beside it is of a far larger model than these weights")

    hooks = [register_module_parameter_registration_hook(count), register_module_module_registration_hook(count)]
    try:
        with torch.device("meta"):
            own = build().state_dict()
    except NotImplementedError:  # a constructor that computes with values
        return
    finally:
        for hook in hooks:
            hook.remove()
    wrong = [k for k in own.keys() & shapes.keys() if tuple(own[k].shape) != shapes[k]]
    if wrong:
        key = sorted(wrong)[0]
        raise FusionError(
            f"{path}: {len(wrong)} keys don't fit ({key} is {shapes[key]} for {tuple(own[key].shape)}): "
            "these weights belong to another model or configuration"
        )


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
    for name, value in state.items():
        if value.is_floating_point() and value.numel() and not value.abs().max() <= MAX_WEIGHT:
            worst = float(value.abs().max())
            raise FusionError(f"{path}: {name} holds {worst:g}, so training went wrong or the file is damaged")
    module.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()}, strict=True)


def save_folder(folder: Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Writes config.json and model.safetensors into `folder`; values keep their dtype.

    Both are written under other names first and then renamed, the weights before the configuration. A run that is cut
    off leaves the earlier model, or a folder without configuration, which nobody takes for a model. Raises FusionError
    where they cannot be written.
    """
    from safetensors.torch import save

    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    contents = {
        WEIGHTS_NAME: save(tensors, metadata={"format": "pt"}),
        CONFIG_NAME: (json.dumps(config, indent=1) + "\n").encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".saving-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as new:
            for name, content in contents.items():
                with open(Path(new) / name, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            known = folder / CONFIG_NAME
            if known.exists() and known.read_bytes() != contents[CONFIG_NAME]:
                known.unlink()  # it does not fit the new weights
            for name in contents:
                os.replace(Path(new) / name, folder / name)
    except OSError as error:
        raise FusionError(f"{folder}: the model cannot be written ({error.strerror}); choose another folder") from None


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
    """Whether a text has the form owner/name, and is not a place in a folder that is here."""
    owner, _, rest = name.partition("/")
    plain = re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", name) is not None and not name.startswith((".", "~"))
    return plain and bool(rest) and owner != "runs" and not os.path.isdir(owner)


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
