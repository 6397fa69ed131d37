"""Models by name: a literal table of what there is, and one loader for names, folders and hub ids."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import FusionError
from ..files import one_line
from .anyfuse import Anyfuse, AnyfuseConfig
from .base import CONFIG_NAME, WEIGHTS_NAME, Context, FusionModel, parameter_counts
from .classical import (
    Average,
    AverageConfig,
    Guided,
    GuidedConfig,
    Laplacian,
    LaplacianConfig,
    Maximum,
    MaximumConfig,
    Mertens,
    MertensConfig,
)
from .unifusion import UniFusion, UniFusionConfig


@dataclass(frozen=True)
class Spec:
    """A model that has a name: how to build it, where its weights are, and under which terms.

    weights: folder below anyfuse/assets/weights, or None for a model without weights. sha256: of its model.safetensors.
    """

    cls: type[FusionModel]
    config: Any
    system: str
    licence: str = "Apache-2.0"
    weights: str | None = None
    sha256: str | None = None
    trained_on: str | None = None
    needs_weights: bool = False
    """The model cannot be used untrained; it is listed also where its weights are not in the package."""

    @property
    def weights_path(self) -> Path | None:
        """The weights file inside the package, or None."""
        if self.weights is None:
            return None
        return Path(str(files("anyfuse") / "assets" / "weights" / self.weights / WEIGHTS_NAME))


MODELS: dict[str, Spec] = {
    "anyfuse": Spec(
        Anyfuse,
        AnyfuseConfig(),
        "set encoder, weights on a Laplacian pyramid (ours)",
        weights="anyfuse",
        sha256="98ebc14eb2f75aadc69815fec3b003b2e6e8fce036551d0d5b7342b0cc421394",
        trained_on="RoadScene, FusionDN exposures, Harvard Whole Brain Atlas, BSDS500 (training splits)",
    ),
    "average": Spec(Average, AverageConfig(), "mean of the images"),
    "maximum": Spec(Maximum, MaximumConfig(), "largest luma"),
    "laplacian": Spec(Laplacian, LaplacianConfig(), "Laplacian pyramid, strongest detail (Burt 1993)"),
    "mertens": Spec(Mertens, MertensConfig(), "exposure fusion (Mertens 2007)"),
    "guided": Spec(Guided, GuidedConfig(), "guided-filter fusion (Li 2013)"),
    "unifusion": Spec(
        UniFusion,
        UniFusionConfig(),
        "UniFusion (CVPR 2026), DINOv3-S",
        weights="unifusion",
        needs_weights=True,
    ),
    "unifusion-dinov2": Spec(
        UniFusion,
        UniFusionConfig(backbone="dinov2-s", colour="luma", norm="running", scaled=True),
        "UniFusion (CVPR 2026), DINOv2-S",
        weights="unifusion-dinov2",
        needs_weights=True,
    ),
    "unifusion-small": Spec(
        UniFusion,
        UniFusionConfig(backbone="tiny", width=32, colour="luma", norm="running", scaled=True),
        "UniFusion (CVPR 2026), tiny ViT",
        weights="unifusion-small",
        needs_weights=True,
    ),
}

SYSTEMS: dict[str, type[FusionModel]] = {spec.cls.__name__: spec.cls for spec in MODELS.values()}
CONFIGS: dict[str, type] = {spec.cls.__name__: type(spec.config) for spec in MODELS.values()}


def build_model(name: str, training: bool = False) -> FusionModel:
    """A fresh, untrained model of a named preset; `training` adds the parts that only training needs."""
    spec = MODELS[name]
    config = spec.config
    if training and hasattr(config, "reconstructors"):
        config = replace(config, reconstructors=True)
    model = spec.cls(config)
    if training:
        model.prepare()
    return model


def is_there(spec: Spec) -> bool:
    """Whether a named model can be used: it needs no weights, or they are in the package."""
    return not spec.needs_weights or (spec.weights_path is not None and spec.weights_path.exists())


def load_model(name: str | Path) -> FusionModel:
    """The model of a name in MODELS, of a folder that `save_pretrained` wrote, or of a hub id 'owner/name'.

    In evaluation mode, float32, on the CPU. Raises FusionError for an unknown name (with the nearest ones), a folder without a
    model, weights that don't fit or whose sha256 is not the recorded one, a hub that cannot be reached.
    """
    if str(name) in MODELS:
        spec = MODELS[str(name)]
        if not is_there(spec):
            raise FusionError(
                f"the weights of model {name} are not in this package: train it with `anyfuse train {name}` and give its folder as --model"
            )
        model = spec.cls(spec.config)
        if spec.weights_path is not None:
            if spec.sha256 is not None:
                check_sha256(spec.weights_path, spec.sha256)
            model.load_weights(spec.weights_path)
        return model.eval()
    if not isinstance(name, str | Path):
        raise FusionError(f"a model is a name, a folder or a hub id, not a {type(name).__name__}")
    if str(name) and Path(name).is_dir():
        return from_pretrained(Path(name))
    if isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return from_pretrained(download(name))
    near = difflib.get_close_matches(str(name), MODELS, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}? " if near else ""
    raise FusionError(f"unknown model '{name}': {hint}Known: {', '.join(MODELS)}; or a folder, or a hub id owner/name")


def from_pretrained(folder: Path) -> FusionModel:
    """The model in a folder with config.json and model.safetensors."""
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text())
        system = config.pop("system")
        cls, config_cls = SYSTEMS[system], CONFIGS[system]
        if not isinstance(config, dict):
            raise TypeError("not an object")
        for field in fields(config_cls):
            if not isinstance(config.get(field.name, field.default), type(field.default)):
                raise TypeError(f"{field.name} is {config[field.name]!r}, not {type(field.default).__name__}")
        lists_as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        model = cls(config_cls(**lists_as_tuples))
    except OSError:
        raise FusionError(f"{folder}: no {CONFIG_NAME} there, so it is not the folder of a model") from None
    except KeyError as error:
        raise FusionError(f"{path}: no or unknown system {error}; known: {', '.join(SYSTEMS)}") from None
    except FusionError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise FusionError(f"{path}: not a configuration of a model ({one_line(error)})") from None
    if model.state_dict():
        model.load_weights(folder / WEIGHTS_NAME)
    return model.eval()


def download(hub_id: str) -> Path:
    """Fetches config.json and model.safetensors of a hub id into the hub's cache (HF_HUB_OFFLINE and HF_HOME are obeyed)."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME]))
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FusionError(f"'{hub_id}': no such folder, and the hub did not give it ({first})") from None


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


def describe(name: str) -> dict[str, Any]:
    """One row of `anyfuse models`: a flat dict of plain values."""
    spec = MODELS[name]
    model = spec.cls(spec.config)
    total, trainable = parameter_counts(model)
    low, high = model.arity
    path = spec.weights_path
    return {
        "name": name,
        "system": spec.system,
        "parameters": total,
        "trainable": trainable,
        "inputs": f"{low}" if low == high else f"{low}+" if high is None else f"{low}-{high}",
        "channels": "luma" if model.channels == 1 else "RGB",
        "weights": "none needed" if path is None else str(path) if path.exists() else "not there",
        "licence": spec.licence,
        "trained_on": spec.trained_on,
    }


__all__ = [
    "MODELS",
    "Context",
    "FusionModel",
    "Spec",
    "build_model",
    "describe",
    "from_pretrained",
    "is_there",
    "load_model",
]
