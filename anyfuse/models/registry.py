"""Models by name: how to build them, where their weights are, under which terms."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from ..arrays import WITH_TORCH
from ..engine_choice import lacks_torch
from ..errors import FusionError
from ..io.atomic import one_line
from ..plugins import Extended, complain, first_line
from ..weights import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    check_fit,
    check_sha256,
    check_values,
    from_hub,
    is_hub_id,
    package_folder,
    read_config,
)
from .anyfuse import REGIONS, Anyfuse, AnyfuseConfig
from .base import FusionModel, parameter_counts
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
from .ditfuse.config import FAST as DITFUSE_FAST
from .ditfuse.config import TINY as DITFUSE_TINY
from .ditfuse.config import DiTFuseConfig
from .ditfuse.ditfuse import DiTFuse
from .ditfuse.omnigen import OmniGen, OmniGenConfig, is_pipeline
from .mmaif.mmaif import MMAIF
from .mmaif.mmaif import SMALL as MMAIF_SMALL
from .mmaif.mmaif import TINY as MMAIF_TINY
from .sharpening import SHARPENERS, Sharpener, SharpenerConfig, sharpener_rows
from .tita.tita import SMALL, TITA, TITAConfig
from .unifusion.backbone import is_fetched
from .unifusion.unifusion import UniFusion, UniFusionConfig


@dataclass(frozen=True)
class Spec:
    """A named model: how to build it, where its weights are, and under which terms."""

    cls: type[FusionModel]  # the model
    config: Any  # its configuration
    system: str  # description
    licence: str = "Apache-2.0"  # of code and weights
    weights: str | None = None  # folder below anyfuse/assets/weights, or an absolute one; None: none are shipped
    needs_weights: bool = False  # False: a model without parameters
    sha256: str | None = None  # of model.safetensors
    trained_on: str | None = None  # data sets
    fetch: str = ""  # command that gets the frozen part which the package does not carry; "": it carries all
    build: Callable[[], FusionModel] | None = None  # what makes the model; None: `cls` of `config`

    @property
    def weights_path(self) -> Path | None:
        """The weights file inside the package, or None."""
        if self.weights is None:
            return None
        return package_folder(self.weights) / WEIGHTS_NAME

    def make(self) -> FusionModel:
        """The model with fresh weights; of a `build`, as that makes it."""
        model: FusionModel = self.build() if self.build is not None else self.cls(self.config)
        return model


NO_MEDICAL = "RoadScene, FusionDN exposures, BSDS500 (training splits)"
TRAINED_ON = "RoadScene, FusionDN exposures, Harvard Whole Brain Atlas, BSDS500 (training splits)"
MORE_PLACES = f"{NO_MEDICAL}, LLVIP samples, SICE, Fairchild's survey, EMPA and Merianos exposures"
DEFAULT_DATA = (
    "RoadScene, LLVIP samples, EPFL near-infrared, CamVid, FusionDN exposures, SICE, Fairchild's survey, "
    "EMPA and Merianos exposures, Harvard Whole Brain Atlas, BSDS500 (training splits)"
)
WITH_STREETS = "RoadScene, LLVIP, FusionDN exposures, Harvard Whole Brain Atlas, BSDS500, CamVid (training splits)"

OWN_MODELS: dict[str, Spec] = {
    "anyfuse": Spec(
        Anyfuse,
        REGIONS,
        "set encoder, weights on a Laplacian pyramid (ours)",
        weights="anyfuse",
        needs_weights=True,
        sha256="573461fa18f032b8f64b7350d32c51074114c3612c89482440545d5ea3c3594c",
        trained_on=DEFAULT_DATA,
    ),
    "anyfuse-first": Spec(
        Anyfuse,
        AnyfuseConfig(),
        "the first default model (ours)",
        weights="anyfuse-first",
        needs_weights=True,
        sha256="dc801c640364d94d00b3c63dc46281524d6356781cc5d151b8ea524e786cd5d6",
        trained_on=TRAINED_ON,
    ),
    "tita": Spec(
        TITA,
        TITAConfig(),
        "TITA (ICCV 2025), size of the paper",
        weights="tita",
        needs_weights=True,
        sha256="1eff9673132aa7c81bec4c4fe5a74b5e8cb761ebab3ada7aeee57f4b3c007491",
        trained_on=MORE_PLACES,
    ),
    "tita-small": Spec(
        TITA,
        SMALL,
        "TITA (ICCV 2025), small",
        weights="tita-small",
        needs_weights=True,
        sha256="d04daee25a4f3a7ed07423980f414898fa83a74f9f421d1e49a8d3396cc5d5da",
        trained_on=NO_MEDICAL,
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
        needs_weights=True,
    ),
    "unifusion-dinov2": Spec(
        UniFusion,
        UniFusionConfig(backbone="dinov2-s", colour="luma", norm="running", scaled=True),
        "UniFusion (CVPR 2026), DINOv2-S",
        weights="unifusion-dinov2",
        needs_weights=True,
        sha256="4b0233a8dcd2ab8f28ea3be3f5b6e87cc2d48a8263ad2887098fd5327c056893",
        trained_on=f"{TRAINED_ON}, LLVIP samples, SICE, Fairchild's survey, EMPA and Merianos exposures",
        fetch="anyfuse backbone fetch dinov2-s",
    ),
    "unifusion-small": Spec(
        UniFusion,
        UniFusionConfig(backbone="tiny", width=32, colour="luma", norm="running", scaled=True),
        "UniFusion (CVPR 2026), tiny ViT",
        weights="unifusion-small",
        needs_weights=True,
        sha256="27662085cd84c10b1b3fb067fff580915d824a2850222b8871c9499d8234a69b",
        trained_on=TRAINED_ON,
    ),
    "mmaif-small": Spec(MMAIF, MMAIF_SMALL, "MMAIF (ICCV 2025), small", needs_weights=True),
    "mmaif-small-flow": Spec(
        MMAIF, replace(MMAIF_SMALL, flow=True, mend=False), "MMAIF (ICCV 2025), small, flow", needs_weights=True
    ),
    "mmaif-tiny": Spec(
        MMAIF,
        MMAIF_TINY,
        "MMAIF (ICCV 2025), tiny",
        weights="mmaif-tiny",
        needs_weights=True,
        sha256="b9a6901ee1b8da0c34d49d43d6c90d64c68283d554a5240e21bf0c062a3212f5",
        trained_on=NO_MEDICAL,
    ),
    "mmaif-tiny-flow": Spec(
        MMAIF,
        replace(MMAIF_TINY, flow=True, mend=False, reference="anyfuse-first"),
        "MMAIF (ICCV 2025), tiny, flow",
        weights="mmaif-tiny-flow",
        needs_weights=True,
        sha256="5edcef3841c29a04d758321d9d3df07ebff7075e09c8360965c4f31ad4d38450",
        trained_on=NO_MEDICAL,
    ),
    "ditfuse-small": Spec(DiTFuse, DiTFuseConfig(), "DiTFuse (TPAMI 2025), small", needs_weights=True),
    "ditfuse-tiny": Spec(
        DiTFuse,
        DITFUSE_TINY,
        "DiTFuse (TPAMI 2025), tiny",
        weights="ditfuse-tiny",
        needs_weights=True,
        sha256="15d982e159a45c454f120558d3ca322e72d0a5fb0bc13aead14934da0915c166",
        trained_on=WITH_STREETS,
    ),
    "ditfuse-tiny-fast": Spec(
        DiTFuse,
        DITFUSE_FAST,
        "DiTFuse (TPAMI 2025), tiny, few steps",
        weights="ditfuse-tiny-fast",
        needs_weights=True,
        sha256="a4c93fae9962b4b3f161e898922fa80d5e7b3422922955e175e3b4217d6d29e4",
        trained_on=WITH_STREETS,
    ),
}


def as_spec(name: str, part: Any) -> Spec:
    """The entry of a model that another package adds.

    Args:
        name: of the model.
        part: a Spec, a subclass of FusionModel that needs no arguments, or a function that gives a FusionModel.

    Raises:
        FusionError: it is none of these.
    """
    if isinstance(part, Spec):
        return part
    text = ((getattr(part, "__doc__", None) or "").strip().splitlines() or ["from another package"])[0].rstrip(".")
    if isinstance(part, type) and issubclass(part, FusionModel):
        config = getattr(part(), "config", None)
        if is_dataclass(config) and inspect.signature(part).parameters:
            return Spec(part, config, text, licence="not stated")
        return Spec(part, None, text, licence="not stated", build=part)
    if callable(part) and not isinstance(part, type | FusionModel):
        return Spec(FusionModel, None, text, licence="not stated", build=part)
    raise FusionError(f"give a Spec, a class of FusionModel or a function that returns one, not {type(part).__name__}")


MODELS: Extended[Spec] = Extended(OWN_MODELS, "anyfuse.models", as_spec)
"""By name: ours, and those that other packages add (plugins.py)."""
ALIASES = {"mmaif": "mmaif-tiny", "ditfuse": "ditfuse-tiny-fast"}
"""Short names of those that ship."""
FULL = {"omnigen": Spec(OmniGen, OmniGenConfig(), "DiTFuse (TPAMI 2025), full size", needs_weights=True)}
"""What is trained by name, and has none in MODELS: it is 8 GB and comes as a folder."""
SYSTEMS: dict[str, type[FusionModel]] = {s.cls.__name__: s.cls for s in (*OWN_MODELS.values(), *FULL.values())}
CONFIGS: dict[str, type] = {s.cls.__name__: type(s.config) for s in (*OWN_MODELS.values(), *FULL.values())}


def build_model(name: str, changes: dict[str, Any] | None = None, training: bool = False) -> FusionModel:
    """A fresh, untrained model of a named preset.

    Args:
        name: in MODELS or FULL.
        changes: of its configuration, field -> value.
        training: also builds what only training needs, and loads what it needs beside its own weights.
    """
    spec = FULL.get(name) or MODELS[name]
    if spec.build is not None or spec.config is None:
        if changes:
            raise FusionError(f"model '{name}' has no configuration to change")
        return _made(name, spec)
    config = replace(spec.config, **changes or {})
    if training and hasattr(config, "reconstructors"):
        config = replace(config, reconstructors=True)
    own = name in FULL or name in MODELS.own
    model = spec.cls(config) if own else _made(name, replace(spec, config=config))
    if training:
        model.prepare()
    return model


def is_there(spec: Spec) -> bool:
    """Whether a named model can be used: it needs no weights, or they and what it fetches are here."""
    path = spec.weights_path
    shipped = not spec.needs_weights or (path is not None and path.exists())
    return shipped and (not spec.fetch or is_fetched(spec.config.backbone))


def load_model(name: str | Path) -> FusionModel:
    """A model with its weights, in evaluation mode, float32, on the CPU.

    Args:
        name: in MODELS or ALIASES, a folder that `save_pretrained` wrote, or a hub id 'owner/name'.

    Raises:
        FusionError: an unknown name (the error names the nearest ones), a folder without a model, weights that do not
            fit or whose sha256 differs from the recorded one, or a hub that cannot be reached.
    """
    if not WITH_TORCH:
        raise lacks_torch("load_model")
    name = ALIASES.get(str(name), name)
    if str(name) in SHARPENERS:
        return Sharpener(SharpenerConfig(str(name))).eval()
    folder = os.sep in str(name) or len(str(name)) > 4096 or "\0" in str(name)  # no name, so nothing to look for
    if not folder and str(name) in MODELS:
        spec = MODELS[str(name)]
        if spec.weights is None and not is_there(spec):
            raise FusionError(
                f"model '{name}' comes without weights: train it with `anyfuse train {name} --data DATA`, "
                f"then give its folder, --model runs/{name}"
            )
        if spec.fetch and not is_there(spec):
            raise FusionError(f"model '{name}' needs `{spec.fetch}` first, once")
        model = spec.make() if name in MODELS.own else _made(str(name), spec)
        if spec.weights_path is not None:
            if spec.sha256 is not None:
                check_sha256(spec.weights_path, spec.sha256)
            model.load_weights(spec.weights_path)
        return model.eval()
    if not isinstance(name, str | Path):
        raise FusionError(f"a model is a name, a folder or a hub id, not a {type(name).__name__}")
    if len(str(name)) > 4096 or "\0" in str(name):
        raise FusionError(
            f"model '{str(name)[:40]}...': no name of {len(str(name))} letters; give one of {', '.join(MODELS)}"
        )
    if str(name) and os.path.isdir(name):
        return from_pretrained(Path(name))
    if isinstance(name, str) and is_hub_id(name):
        return from_pretrained(download(name))
    raise _unknown(name)


def _unknown(name: str | Path) -> FusionError:
    """The error of a name that is no model's; it names the nearest one."""
    known = [*MODELS, *SHARPENERS]
    if isinstance(name, Path) or os.sep in str(name):
        return FusionError(f"{name}: no such folder; give the folder of a model, or a name: {', '.join(known)}")
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}? " if near else ""
    return FusionError(f"unknown model '{name}': {hint}Known: {', '.join(known)}; or a folder, or a hub id owner/name")


def _made(name: str, spec: Spec) -> FusionModel:
    """The model of another package; FusionError in one line, whatever goes wrong in its code."""
    try:
        model: Any = spec.make()
    except FusionError:
        raise
    except Exception as error:
        raise FusionError(f"model '{name}' cannot be built ({first_line(error)}); ask its authors") from None
    if not isinstance(model, FusionModel):
        raise FusionError(f"model '{name}' gives a {type(model).__name__}, not a FusionModel; see `wrap`")
    return model


def _system(name: str) -> tuple[type[FusionModel], type]:
    """The class and the configuration's class of a system in a config.json; KeyError: there is none."""
    if name not in SYSTEMS:
        for spec in MODELS.values():
            if spec.cls.__name__ == name and spec.config is not None:
                return spec.cls, type(spec.config)
    return SYSTEMS[name], CONFIGS[name]


def from_pretrained(folder: Path) -> FusionModel:
    """The model in a folder with config.json and model.safetensors, or of OmniGen in diffusers' layout."""
    if is_pipeline(folder):
        return OmniGen(OmniGenConfig(source=str(folder), rank=0)).eval()
    path = folder / CONFIG_NAME
    try:
        config = read_config(folder)
        system = config.pop("system")
        cls, config_cls = _system(system)
        config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        check_values(config_cls, config)
        settings = config_cls(**config)
        if cls is not OmniGen and (folder / WEIGHTS_NAME).exists():
            check_fit(lambda: cls(settings), folder / WEIGHTS_NAME)
        model = cls(settings)
    except PermissionError:
        raise FusionError(f"{path}: cannot be opened; you may not read it, ask its owner") from None
    except OSError:
        raise FusionError(f"{folder}: no {CONFIG_NAME} there, so it is not the folder of a model") from None
    except KeyError as error:
        known = f"known: {', '.join(SYSTEMS)}; another model needs an entry in models/registry.py"
        raise FusionError(f"{path}: no or unknown system {error}; {known}") from None
    except FusionError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise FusionError(f"{path}: not a configuration of a model ({one_line(error)})") from None
    if model.state_dict():
        model.load_weights(folder / WEIGHTS_NAME)
    return model.eval()


def download(hub_id: str) -> Path:
    """`from_hub`, for a name that is no folder either."""
    try:
        return from_hub(hub_id)
    except FusionError as error:
        raise FusionError(f"'{hub_id}': no such folder, and the hub did not give it ({error})") from None


def describe(name: str) -> dict[str, Any]:
    """One row of `anyfuse models`: a flat dict of plain values."""
    spec = MODELS[name]
    path = spec.weights_path
    return {
        "name": name,
        "system": spec.system,
        **_built_facts(name, spec),
        "weights": ("not included" if spec.needs_weights else "none needed")
        if path is None
        else str(path)
        if path.exists()
        else "not there",
        "licence": spec.licence,
        "trained_on": spec.trained_on,
        "fetch": spec.fetch,
    }


def _built_facts(name: str, spec: Spec) -> dict[str, Any]:
    """What is known of a model when it is built; None for all of it without PyTorch."""
    if not WITH_TORCH:
        return dict.fromkeys(("parameters", "trainable", "inputs", "channels"))
    model = _made(name, spec)
    total, trainable = parameter_counts(model)
    low, high = model.arity
    return {
        "parameters": total,
        "trainable": trainable,
        "inputs": f"{low}" if low == high else f"{low}+" if high is None else f"{low}-{high}",
        "channels": "luma" if model.channels == 1 else "RGB",
    }


def describe_all() -> list[dict[str, Any]]:
    """A row for every model. One of another package that cannot be built is named on stderr and left out."""
    rows = []
    for name in MODELS:
        try:
            rows.append(describe(name))
        except FusionError as error:
            complain("anyfuse.models", name, str(error))
    return [*rows, *sharpener_rows()]


def parts_text() -> str:
    """Exact parameter counts (total, trainable) of every model that has any, by part, with its configuration."""
    lines = []
    for name, spec in MODELS.items():
        try:
            model = _made(name, spec)
        except FusionError:  # `describe_all` names it
            continue
        total, trainable = parameter_counts(model)
        if not total:
            continue
        lines += [f"{name}: {total:,} parameters, {trainable:,} trainable"]
        lines += ["  " + ", ".join(f"{k}={v}" for k, v in config_fields(model).items())]
        lines += [f"  {part:<16} {parameter_counts(child)[0]:>12,}" for part, child in model.named_children()]
        own = sum(p.numel() for p in model.parameters(recurse=False))
        lines += [f"  {'itself':<16} {own:>12,}"] if own else []
    return "\n".join(lines) + "\n"


def config_fields(model: FusionModel) -> dict[str, Any]:
    """The configuration of a model by field; {} where it is no dataclass."""
    config = getattr(model, "config", None)
    return asdict(config) if is_dataclass(config) and not isinstance(config, type) else {}
