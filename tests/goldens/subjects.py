"""What the goldens hold: each subject computes its values from the package.

All imports of the package stand here: where a module moves, this file alone changes.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import inspect
import io
import json
import os
import random
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer.main
from goldens.store import TRAINING, Tolerance, inputs
from safetensors.numpy import load_file
from torch import Tensor

import anyfuse
from anyfuse import api, control, metrics, tiling
from anyfuse.benchmark import versions
from anyfuse.cli.main import app
from anyfuse.cli.main import main as run_command
from anyfuse.data import prompts, synthetic, tones
from anyfuse.data.batches import DataSet
from anyfuse.degradation import masked_pairs as m3
from anyfuse.degradation import plan as degradation
from anyfuse.degradation import statistics as statistics_of
from anyfuse.degradation.estimator import FAULTS, ROLES, estimate, estimate_stack
from anyfuse.image.stack import Stack
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.language.instruction import parse_instruction
from anyfuse.models.base import FusionModel
from anyfuse.models.registry import ALIASES as SHORT
from anyfuse.models.registry import CONFIGS, MODELS, is_there, load_model
from anyfuse.models.unifusion.backbone import BACKBONES, Source, Vit, VitConfig, save_vit
from anyfuse.training import recipes
from anyfuse.training.loop import Loop
from anyfuse.training.parts.backbone import DISTILLATIONS, distil
from anyfuse.training.parts.codec import CODEC_PLANS, train_codec
from anyfuse.training.parts.estimator import ESTIMATES, train_estimate
from anyfuse.training.parts.gate import GATES
from anyfuse.training.parts.language import LANGUAGES, train_language
from anyfuse.training.parts.masks import MASKS
from anyfuse.training.parts.roles import ROLES_PLANS
from anyfuse.training.parts.segmenter import SEGMENTERS
from anyfuse.training.pools.degraded_pairs import DegradedPairs
from anyfuse.training.pools.instructions import InstructPairs
from anyfuse.training.recipes import RECIPES
from anyfuse.training.strategies.table import options_of, settings_of
from anyfuse.training.train import train

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHIPPED = [name for name, spec in MODELS.items() if is_there(spec) and not spec.fetch]
Values = dict[str, Any]


def tensor(image: np.ndarray) -> Tensor:
    """(H, W[, 3]) uint8 -> (1 or 3, H, W) in [0, 1]"""
    x = torch.from_numpy(image).float() / 255
    return x[None] if x.ndim == 2 else x.movedim(-1, 0).contiguous()


def grey(image: np.ndarray) -> np.ndarray:
    """The middle channel of a colour image."""
    return np.ascontiguousarray(image[..., 1])


def deep(image: np.ndarray, seed: int) -> np.ndarray:
    """uint8 -> uint16 that uses the low bits as well."""
    low = np.random.default_rng(seed).integers(0, 257, image.shape)
    return np.clip(image.astype(np.int64) * 256 + low, 0, 65535).astype(np.uint16)


# ---------------------------------------------------------------------- pixels


SAY = {
    "mmaif": {
        "haze": "remove strong haze from the visible image, and the noise",
        "nothing": "repair nothing",
        "tags": "[RESTORE] blur 0.5 first, low_exposure visible",
    },
    "ditfuse": {
        "brighter": "much brighter, with more contrast",
        "darker": "a little darker",
        "exposures": "[FUSION] <MULTI-EXPOSURE>",
        "masks": "highlight the cars in red and the road",
    },
}
SINGLE = "highlight the pedestrians in blue and the road"


def said(name: str) -> dict[str, str]:
    return next((texts for system, texts in SAY.items() if name.startswith(system)), {})


def takes_sets(name: str) -> bool:
    return load_model(name).arity[1] is None


def parts_of(result: Any, case: str) -> Values:
    """Everything that a result holds, by name."""
    fused = result.fused
    found: Values = {case: fused.pixels}
    if fused.weights is not None:
        found[f"{case}, weights"] = fused.weights
    found |= {f"{case}, mask {name}": mask for name, mask in fused.masks.items()}
    for name, value in fused.explained.items():
        found[f"{case}, explain {name}"] = value.numpy() if value.ndim else float(value)
    report = {k: v for k, v in result.report.items() if k in ("understood", "assumed", "order", "colour_rule", "shown")}
    found[f"{case}, report"] = report
    return found


def explains(model: FusionModel) -> bool:
    return type(model).explain is not FusionModel.explain


def pixels(name: str) -> Values:
    """A shipped model in every mode that it has."""
    x, found = inputs(), {}
    fuser = api.Fuser(name, device="cpu")
    explain = explains(fuser.model) and not said(name)

    def run(case: str, *images: np.ndarray, fuser: Any = fuser, **options: Any) -> None:
        found.update(parts_of(fuser.run(list(images), **options), case))

    run("grey pair", x["thermal"], grey(x["visible"]), with_weights=True, explain=explain)
    run("grey and colour", x["thermal"], x["visible"], with_weights=True)
    run("two in colour", x["exposure1"], x["exposure4"], with_weights=True)
    run("reference 1", x["far"], x["near"], reference=1)
    run("16 bit", deep(x["thermal"], 0), deep(x["visible"], 1))
    run("float", *(x[k].astype(np.float32) / 255 for k in ("mri", "pet")))
    run("odd size", x["exposure2"][:51, :67], x["exposure3"][:51, :67])
    if fuser.model.ordered:
        run("order kept", x["visible"], x["thermal"], keep_order=True)
    if fuser.model.arity[1] is None:
        run("four", *(x[f"exposure{k}"] for k in (3, 1, 4, 2)), with_weights=True)
        run("three of mixed kinds", x["thermal"], x["visible"], deep(grey(x["visible"]), 2))
    for case, text in said(name).items():
        pair = ("exposure1", "exposure4") if case == "exposures" else ("thermal", "visible")
        run(f"say {case}", *(x[k] for k in pair), say=text, explain=case == "masks")
    if fuser.model.has_masks:
        run("one image with masks", x["visible"], say=SINGLE)
    if fuser.model.low_precision:
        run("bfloat16", x["thermal"], grey(x["visible"]), fuser=api.Fuser(name, device="cpu", dtype="bfloat16"))
    return found | network(name) | tiled(name)


@torch.inference_mode()
def network(name: str) -> Values:
    """The model alone, in float32."""
    x, model = inputs(), load_model(name)
    sources = torch.stack([tensor(x["thermal"]), tensor(grey(x["visible"]))])[
        None, ..., :64
    ]  # a multiple of every stride
    return {"network": model(sources.expand(-1, -1, model.channels, -1, -1)).numpy()}


def tiled(name: str) -> Values:
    """In tiles of 32 pixels, with the weights of the images and maps to explain them."""
    x, model = inputs(), load_model(name)
    sources = torch.stack([tensor(x["thermal"]), tensor(grey(x["visible"]))]).expand(-1, model.channels, -1, -1)
    fused, shares = torch.zeros_like(sources[0]), torch.zeros_like(sources[:, 0])
    with_weights: list[bool] = []

    def step(sources: Tensor, context: Any) -> Values:
        weights = model.weights(sources, context=context)
        maps = {"fused": model(sources, context=context), **({} if weights is None else {"weights": weights})}
        return maps | (model.explain(sources, context=context) if explains(model) else {})

    layout = tiling.plan_tiles(model, 2, model.channels, 64, 80, tile=32)
    maps: dict[str, Tensor] = {}
    for window, parts in tiling.run_tiles(model, layout, lambda w: sources[..., w[0], w[1]], step):
        fused[:, window[0], window[1]] = parts.pop("fused")
        if "weights" in parts:
            with_weights.append(True)
            shares[:, window[0], window[1]] = parts.pop("weights")
        for name_of, value in parts.items():
            if value.ndim == 0:
                maps[name_of] = value
                continue
            maps.setdefault(name_of, torch.zeros(64, 80))[window] = value
    found: Values = {"tiled": fused.numpy(), "tiled, count": layout.count}
    found |= {"tiled, weights": shares.numpy()} if with_weights else {}
    return found | {f"tiled, explain {k}": v.numpy() if v.ndim else float(v) for k, v in maps.items()}


def budgets() -> Any:
    """Tiles that a memory budget gives, and the least budget, by model."""
    found: Values = {}
    for name in SHIPPED:
        model = load_model(name)
        for height, width in ((480, 640), (3000, 4000)):
            least = tiling.min_bytes(model, 2, model.channels, height, width)
            allowed = [b for b in (None, least, 2 * least, 1 << 31) if b is None or b >= least]
            layouts = [tiling.plan_tiles(model, 2, model.channels, height, width, budget) for budget in allowed]
            found[f"{name} {width}x{height}"] = [least, *([p.side, p.halo, p.margin, p.count] for p in layouts)]
    return found


# ---------------------------------------------------------------------- degradation and synthetic data


def degradations() -> Values:
    """Every operation at two strengths with a seed, on grey and colour; plans; combinations."""
    x, found = inputs(), {}
    images = {"grey": tensor(x["thermal"]), "colour": tensor(x["exposure3"])}
    for name, operation in degradation.OPERATIONS.items():
        for kind, image in images.items():
            for strength in (0.3, 1.0):
                key = f"{name} {strength} {kind}"
                bad, done = degradation.apply(image, [degradation.Step(name, strength)], 7, source=1)
                found[key], found[f"{key}, done"] = bad.numpy(), done
        found[f"{name}, kind"] = [operation.suits, operation.depth, operation.scene]
    ramp = torch.linspace(0, 1, 80).expand(64, 80).contiguous()
    plan = degradation.parse("haze:0.6,rain:0.4,noise:0.2,jpeg:0.5")
    bad, done = degradation.apply(images["colour"], plan, 3, depth=ramp, source=0, frame=400)
    found["together"], found["together, done"] = bad.numpy(), done
    for task in degradation.MENUS:
        gen = degradation.generator(5, task)
        found[f"plans {task}"] = [degradation.draw(task, 2, gen) for _ in range(12)]
    return found


def masked_pairs() -> Values:
    """Pairs of M3 by settings and seed."""
    image, found = tensor(inputs()["exposure3"]), {}
    settings = {
        "paper": m3.M3(),
        "code": m3.M3(tiles=m3.CODE_TILES, both=0.25, local_blur=True),
        "complements": m3.M3(tiles=(8, 16), complements=True),
    }
    for name, config in settings.items():
        for seed in range(3):
            views, degraded, done = m3.m3_pair(image, torch.Generator().manual_seed(seed), config)
            found[f"{name} {seed}"] = views.numpy()
            found[f"{name} {seed}, degraded"] = degraded.numpy().astype(np.uint8)
            found[f"{name} {seed}, done"] = done
    return found


def synthetic_data() -> Values:
    """Focus and exposure stacks, tones, statistics of images."""
    x = inputs()
    image, found = tensor(grey(x["exposure3"]))[0], {}
    for name, make in (("focus", synthetic.focus_scene), ("exposure", synthetic.exposure_stack)):
        stack, truth = make(image, 3, torch.Generator().manual_seed(1))
        found[name], found[f"{name}, truth"] = stack.numpy(), truth.numpy()
    for names in (("LIGHT++",), ("LIGHT-", "CONTRAST+"), ("CONTRAST-",)):
        found[f"tones {' '.join(names)}"] = tones.apply_tones(image[None], names).numpy()
    found["statistics"] = statistics_of.statistics(image).numpy()
    found["pair statistics"] = statistics_of.pair_statistics(image, tensor(x["thermal"])[0]).numpy()
    return found


# ---------------------------------------------------------------------- words, estimates, metrics


def instructions() -> Any:
    """Text -> Control of every stored instruction; null where it is refused."""
    found: Values = {}
    for path in sorted((ROOT / "tests" / "data").glob("instructions*.json")):
        for text, _ in json.loads(path.read_text()):
            try:
                read = parse_instruction(text).as_dict()
            except anyfuse.FusionError:
                found[text] = None
                continue
            found[text] = {k: v for k, v in read.items() if v and k != "text"}
    return found


def prompt_bank() -> Any:
    """Prompts that training draws, with what they mean."""
    rng, found = random.Random(0), []
    for kind in (*prompts.KINDS, "mixed", "other"):
        for _ in range(4):
            drawn = prompts.draw(rng, kind)
            found.append([kind, drawn.text, None if drawn.control is None else str(drawn.control)])
    return found


def embeddings() -> Values:
    """Vectors of texts."""
    texts = ("remove the haze", "much brighter, and highlight the cars", "smog and drizzle", "[FUSION]")
    return {text: control.Control(text=text).embedding().numpy() for text in texts}


def estimates() -> Values:
    """What the estimator finds in the examples, in crops of them, and in degraded crops."""
    x, found = inputs(), {}

    def write(name: str, result: Any) -> None:
        found[name] = {"task": result.task, "certainty": result.certainty, "roles": result.roles}
        rows = [[(f.probability, f.strength, f.threshold) for f in image.values()] for image in result.images]
        found[f"{name}, faults"] = [list(image) for image in result.images]
        if any(rows):
            found[f"{name}, values"] = np.array([v for image in rows for fault in image for v in fault], np.float32)

    examples = {
        "infrared": ("infrared/thermal.png", "infrared/visible.jpg"),
        "exposure": ("exposure/1.jpg", "exposure/4.jpg"),
        "focus": ("focus_pair/near.jpg", "focus_pair/far.jpg"),
        "medical": ("medical/mri.png", "medical/pet.png"),
    }
    for name, files in examples.items():
        write(f"example {name}", estimate_stack(Stack(tuple(read_image(EXAMPLES / f) for f in files), 0)))
    pairs = (("thermal", "visible"), ("exposure1", "exposure4"), ("near", "far"), ("mri", "pet"))
    for names in pairs:
        write(f"crops {' '.join(names)}", estimate([tensor(x[n]) for n in names]))
    for ops in ("haze:0.8", "noise:0.6", "blur:0.9", "low_exposure:0.8", "jpeg:0.9"):
        bad = degradation.apply(tensor(x["exposure3"]), degradation.parse(ops), 5)[0]
        write(f"visible with {ops}", estimate([bad]))
        write(f"pair with {ops}", estimate([tensor(x["thermal"]), bad], "ivf"))
    return found


def metric_values() -> Values:
    """Every metric of a mean image."""
    x = inputs()
    sources = [x["thermal"], grey(x["visible"])]
    fused = np.rint(np.mean(sources, 0)).astype(np.uint8)
    return {name: {"value": value} for name, value in metrics.score(fused, sources).items()}


def metric_versions() -> Any:
    return versions.metric_versions(metrics.METRICS)


# ---------------------------------------------------------------------- models: names, shapes, configurations


ATTRIBUTES: tuple[str, ...] = (
    "stride",
    "halo",
    "margin",
    "arity",
    "channels",
    "carries_chroma",
    "ordered",
    "low_precision",
    "repairs",
    "shows",
)
RENAMED = {"repairs": "restores", "shows": "has_masks"}
ATTRIBUTES += ("context_scale", "context_halo", "context_bytes", "stored_bytes", "working_bytes")


def digest(value: Any) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()[:24]


def built(name: str) -> FusionModel:
    """Without memory for its numbers where that works."""
    spec = MODELS[name]
    try:
        with torch.device("meta"):
            return spec.cls(spec.config)
    except (RuntimeError, NotImplementedError, ValueError):
        return spec.cls(spec.config)


def model_table() -> Any:
    """Per preset: system, configuration, whether it survives JSON, attributes, and keys and shapes of its state."""
    found: Values = {"short names": dict(SHORT), "systems": {n: c.__name__ for n, c in CONFIGS.items()}}
    for name, spec in MODELS.items():
        model = built(name)
        saved = json.loads(json.dumps(asdict(spec.config)))
        config = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
        state = [[k, list(v.shape), str(v.dtype)] for k, v in model.state_dict().items()]
        found[name] = {
            "system": type(model).__name__,
            "config": saved,
            "round trip": CONFIGS[type(model).__name__](**config) == spec.config,
            "attributes": {k: getattr(model, RENAMED.get(k, k)) for k in ATTRIBUTES},
            "state": [len(state), digest(sorted(state))],
            "parts": {n: sum(p.numel() for p in part.parameters()) for n, part in model.named_children()},
            "spec": [spec.weights, spec.needs_weights, spec.sha256, spec.licence, spec.trained_on],
        }
    return found


def weight_files() -> Any:
    """Keys of each safetensors file in the package, and its configuration."""
    folder, found = Path(anyfuse.__file__).parent / "assets", {}
    for path in sorted(folder.rglob("*.safetensors")):
        raw = path.read_bytes()
        head = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
        keys = [[k, v["dtype"], v["shape"]] for k, v in sorted(head.items()) if k != "__metadata__"]
        name = str(path.relative_to(folder))
        found[name] = {"sha256": sha256(raw).hexdigest()[:24], "count": len(keys), "keys": digest(keys)}
        found[name] |= {"first": [k for k, _, _ in keys[:3]], "last": [k for k, _, _ in keys[-3:]]}
        config = path.with_name("config.json")
        if config.exists():
            found[name]["config"] = json.loads(config.read_text())
    return found


# ---------------------------------------------------------------------- public names


def signature(function: Any) -> list[str]:
    """Parameters with their defaults and kinds, without types."""
    found = []
    for p in inspect.signature(function).parameters.values():
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f"={p.default!r}"
        found.append(f"{star}{p.name}{default}" + (" (by name)" if p.kind is p.KEYWORD_ONLY else ""))
    return found


def members(cls: type) -> Values:
    """Public methods with their signatures, and other public attributes."""
    found: Values = {}
    if is_dataclass(cls):
        found["fields"] = [f.name for f in fields(cls)]
    own = {
        k: v for base in reversed(cls.__mro__) if base.__module__.startswith("anyfuse") for k, v in vars(base).items()
    }
    for name, value in sorted(own.items()):
        if name in ("__init__", "__call__") or not name.startswith("_"):
            function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            found[name] = signature(function) if inspect.isfunction(function) else "attribute"
    return found


def public_api() -> Any:
    """Public names with their signatures, as kornia keeps them."""
    x = inputs()
    result = api.Fuser("average", device="cpu").run([x["thermal"], x["visible"]])
    return {
        "anyfuse.__all__": sorted(anyfuse.__all__),
        "fuse": signature(anyfuse.fuse),
        "load_model": signature(anyfuse.load_model),
        "Fuser": members(anyfuse.Fuser),
        "result of Fuser.run": members(type(result)),
        "FusionModel": members(FusionModel),
        "Control": members(control.Control),
        "parse_instruction": signature(parse_instruction),
        "estimate": signature(estimate),
        "faults": [FAULTS, ROLES],
        "models": list(MODELS),
        "metrics.__all__": sorted(metrics.__all__),
        "score": signature(metrics.score),
        "score_batch": signature(metrics.score_batch),
        "metrics": {n: [m.family, m.better, m.variant_of] for n, m in metrics.METRICS.items()},
        "operations": list(degradation.OPERATIONS),
        "aliases of operations": degradation.ALIASES,
        "menus": degradation.MENUS,
        "tones": control.TONES,
        "classes": control.CLASSES,
        "colours": control.COLOURS,
        "recipes": [*RECIPES, *DISTILLATIONS, *CODEC_PLANS, *LANGUAGES, *ESTIMATES],
    }


def documented_imports() -> list[str]:
    """'module name' of each import that README.md or docs/ shows."""
    found = set()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for module, names in re.findall(r"^\s*(?:>>> )?from (anyfuse[\w.]*) import ([\w, ]+)", path.read_text(), re.M):
            found |= {f"{module} {name.split()[0]}" for name in names.split(",")}
        found |= {f"{module} " for module in re.findall(r"python -m (anyfuse[\w.]*)", path.read_text())}
    return sorted(found)


def missing_imports(names: list[str]) -> list[str]:
    """Those of `documented_imports` that do not work any more."""
    lost = []
    for entry in names:
        module, _, name = entry.partition(" ")
        try:
            found = importlib.import_module(module) if name or module != "anyfuse.training.words" else None
        except ImportError:
            lost.append(entry)
            continue
        if name and not hasattr(found, name):
            lost.append(entry)
    return lost


def command_line() -> Any:
    """Every command with its arguments and flags: names, whether it is needed, whether it may be repeated, default."""

    def many(parameter: Any) -> bool:
        return bool(getattr(parameter, "multiple", False)) or getattr(parameter, "nargs", 1) != 1

    def rows(command: Any) -> list[Any]:
        return [
            [*sorted((*p.opts, *p.secondary_opts)), bool(p.required), many(p), plain_default(p.default)]
            for p in command.params
            if "--help" not in p.opts
        ]

    def plain_default(value: Any) -> Any:
        return value if isinstance(value, str | int | float | bool | None) else repr(value)

    def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        yield name, rows(command)
        for part, child in sorted(getattr(command, "commands", {}).items()):
            yield from walk(child, f"{name} {part}")

    return dict(walk(typer.main.get_command(app), "anyfuse"))


def called(*arguments: Any) -> tuple[int, str, str]:
    """A command line -> exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_command([str(a) for a in arguments])
            code: Any = 0
        except SystemExit as stop:
            code = stop.code
    return int(code or 0), out.getvalue(), err.getvalue()


def shape_of(value: Any) -> Any:
    """Keys of nested values, and the kinds of what they hold."""
    if isinstance(value, dict):
        return {k: shape_of(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return type(value).__name__


def command_lines(root: Path, x: dict[str, np.ndarray]) -> dict[str, list[Any]]:
    """Arguments by case; what starts with 'out' is below a folder of the case."""
    a, b = root / "thermal.png", root / "visible.png"
    return {
        "fuse": ["fuse", a, b, "-o", "out/a.png", "--report", "out/a.json", "--weights-out", "out/weights"],
        "fuse, explain": [
            "fuse",
            a,
            b,
            "-o",
            "out/a.tif",
            "--model",
            "tita-small",
            "--explain",
            "out/explain",
            "--report",
            "out/a.json",
        ],
        "fuse, assumed": ["fuse", a, b, "-o", "out/a.png", "--model", "mmaif-tiny", "--report", "out/a.json"],
        "fuse, masks": [
            "fuse",
            b,
            "-o",
            "out/a.png",
            "--model",
            "ditfuse",
            "--say",
            SINGLE,
            "--mask-out",
            "out/m.png",
            "--report",
            "out/a.json",
        ],
        "fuse, folders": [
            "fuse",
            root / "thermal",
            root / "visible",
            "-o",
            "out",
            "--report",
            "out/a.json",
            "--weights-out",
            "out/weights",
        ],
        "fuse, nothing there": ["fuse", a, root / "nowhere.png", "-o", "out/a.png"],
        "fuse, one image": ["fuse", a, "-o", "out/a.png"],
        "fuse, unknown model": ["fuse", a, b, "-o", "out/a.png", "--model", "anyfuze"],
        "fuse, unknown flag": ["fuse", a, b, "--outt", "out/a.png"],
        "fuse, bad ending": ["fuse", a, b, "-o", "out/a.xyz"],
        "say": ["say", "much brighter, keep the haze", "--json"],
        "say, not understood": ["say", "segment the giraffes"],
        "estimate": ["estimate", a, b, "--json"],
        "models": ["models", "--json"],
        "datasets": ["datasets"],
        "score": ["score", a, "--sources", a, grey_file(root, x), "--json"],
        "degrade": ["degrade", root / "visible", "-o", "out", "--task", "ivf", "--seed", "3"],
        "degrade, m3": ["degrade", b, "-o", "out/v.png", "--m3"],
        "degrade, list": ["degrade", "--list"],
        "bench": [
            "bench",
            "--data",
            root / "bench",
            "--models",
            "average,maximum",
            "-o",
            "out",
            "--limit",
            "1",
            "--metrics",
            "mi,qabf,vif",
            "--quiet",
            "--task",
            "ivf",
        ],
        "train, unknown": ["train", "anyfuze", "--data", root],
        "train, no data": ["train", "anyfuse"],
    }


def written_files() -> Any:
    """What commands write: exit codes, names of files, keys of reports, columns of tables."""
    x, found = inputs(), {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, image in x.items():
            write_image(root / f"{name}.png", image)
        for index, kind in ((i, k) for i in range(2) for k in ("thermal", "visible")):
            write_image(root / kind / f"{index}.png", np.roll(x[kind], index, 0))
            write_image(root / "bench" / kind / f"{index}.png", x[kind])
        for case, arguments in command_lines(root, x).items():
            home = root / "runs" / case.replace(",", "").replace(" ", "-")
            home.mkdir(parents=True)
            code, out, err = called(*(home / v if str(v).startswith("out") else v for v in arguments))
            entry: Values = {"code": code, "lines on stderr": min(2, err.count("\n"))}
            if out.lstrip().startswith(("{", "[")):
                entry["stdout"] = shape_of(json.loads(out))
            entry["files"] = sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file())
            for path in sorted(home.rglob("*.json")):
                entry[f"keys of {path.relative_to(home)}"] = shape_of(json.loads(path.read_text()))
            for path in sorted(home.rglob("*.csv")):
                entry[f"columns of {path.relative_to(home)}"] = next(
                    row for row in csv.reader(path.read_text().splitlines()) if row and not row[0].startswith("#")
                )
            found[case] = entry
    return found


def grey_file(root: Path, x: dict[str, np.ndarray]) -> Path:
    write_image(root / "grey.png", grey(x["visible"]))
    return root / "grey.png"


# ---------------------------------------------------------------------- recipes and training


def recipe_table() -> Any:
    """Every recipe with all that it decides."""
    tables = {
        "recipes": RECIPES,
        "distillations": DISTILLATIONS,
        "codecs": CODEC_PLANS,
        "languages": LANGUAGES,
        "estimates": ESTIMATES,
        "gates": GATES,
        "roles": ROLES_PLANS,
        "segmenters": SEGMENTERS,
        "masks": MASKS,
    }
    found = {f"{kind}: {name}": asdict(plan) for kind, table in tables.items() for name, plan in table.items()}
    for name, plan in RECIPES.items():
        found[f"recipes: {name}"]["options"] = written_options(name, plan)
    return found | {f"command: {name}": recipes.command(plan) for name, plan in RECIPES.items()}


def written_options(name: str, plan: recipes.Recipe) -> dict[str, float]:
    """The options that a recipe gives: those that differ from the defaults of its strategy, and one that does not."""
    options = options_of(plan)
    if options is None:
        return {}
    default, own = asdict(type(options)()), asdict(options)
    given = {"ratio"} if name == "unifusion-small" else set()
    return {k: v for k, v in own.items() if v != default[k] or k in given}


def pictures(root: Path, height: int = 72, width: int = 80) -> Path:
    """Ten images of every kind that a recipe draws from."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    names: tuple[str, ...] = ("ivif/ir", "ivif/vis", "mef/under", "mef/over", "natural", "camvid/images")
    names += tuple(f"mif/{kind}-mri/{part}" for kind in ("ct", "pet", "spect") for part in (kind, "mri"))
    for index in range(10):
        for name in names:
            blocks = rng.integers(0, 256, (height // 8, width // 8)).repeat(8, 0).repeat(8, 1)
            image = (blocks + 3 * y + rng.integers(1, 5) * x + rng.integers(0, 32, (height, width))) % 256
            write_image(root / name / f"{index}.png", image.astype(np.uint8))
        classes = rng.integers(0, 12, (height // 8, width // 8)).repeat(8, 0).repeat(8, 1)
        write_image(root / "camvid" / "labels" / f"{index}.png", classes.astype(np.uint8))
    return root


SETS = (
    DataSet("ivf", ("ivif/ir", "ivif/vis")),
    DataSet("mef", ("mef/under", "mef/over")),
    DataSet("natural", ("natural",)),
)
MMAIF = {"width": 32, "layers": 2, "heads": 2, "hidden": 16, "rank": 4, "text": 4, "random_codec": True}
DITFUSE = {"width": 32, "layers": 2, "heads": 2, "hidden": 48, "steps": 2, "random_codec": True}
THREE = {"ivf": 1, "mef": 1, "mff": 1}
INSTRUCT = {"pool": 24, "m3": 0.25, "pairs": 0.25, "control": 0.25, "segment": 0.25}
TRAININGS: dict[str, dict[str, Any]] = {
    "anyfuse": {"tasks": THREE, "crop": 64, "stacks": 2},
    "anyfuse, uncertainty": {"tasks": THREE, "crop": 64, "strategy": "uncertainty"},
    "tita-small": {"tasks": THREE, "crop": 32},
    "unifusion-small": {
        "tasks": {"ivf": 2, "mef": 2, "mff": 2},
        "crop": 32,
        "options": {"ratio": 2.0, "angle_every": 2},
    },
    "unifusion-small, joint": {"tasks": {"ivf": 2, "mff": 2}, "crop": 32, "options": {"joint": 1}, "one_task": False},
    "mmaif-tiny": {"tasks": THREE, "crop": 64, "config": MMAIF, "options": {"pool": 6}},
    "mmaif-tiny-flow": {"tasks": THREE, "crop": 64, "config": MMAIF, "options": {"pool": 6}},
    "ditfuse-tiny": {"tasks": {"instruct": 4}, "crop": 64, "config": DITFUSE, "options": INSTRUCT},
    "ditfuse-tiny, lora": {
        "tasks": {"instruct": 4},
        "crop": 64,
        "config": DITFUSE,
        "options": {**INSTRUCT, "lora": 4},
        "start": "ditfuse-tiny",
    },
    "ditfuse-tiny-fast": {
        "tasks": {"instruct": 4},
        "crop": 64,
        "config": DITFUSE,
        "start": "ditfuse-tiny",
        "options": {**INSTRUCT, "teacher_steps": 2, "ends": 24},
    },
}


def quiet(_: str) -> None: ...


@contextlib.contextmanager
def watched() -> Iterator[list[dict[str, float]]]:
    """The losses of each step of a run; validation looks at few images."""
    steps: list[dict[str, float]] = []
    record, scored = Loop.record, (DegradedPairs.scored, InstructPairs.scored)

    def keep(self: Loop, step: int, values: Any, scores: Any = None) -> None:
        steps.append({name: float(value) for name, value in values.items()})
        record(self, step, values, scores)

    Loop.record = keep  # type: ignore[method-assign]
    DegradedPairs.scored = InstructPairs.scored = 1
    try:
        yield steps
    finally:
        Loop.record = record  # type: ignore[method-assign]
        DegradedPairs.scored, InstructPairs.scored = scored
        torch.set_flush_denormal(False)


def weights_of(folder: Path) -> Values:
    """All numbers of a weights file in one array, and its keys."""
    state = {k: v for k, v in sorted(load_file(folder / "model.safetensors").items()) if v.dtype.kind == "f"}
    flat = np.concatenate([v.astype(np.float32).ravel() for v in state.values()])
    return {"weights": flat, "keys": digest(list(state))}


def trained(case: str, root: Path, runs: Path) -> Values:
    """Losses of three steps and the weights after them."""
    changes = changes_of(case)
    if changes.get("start"):
        start = runs / f"start {changes['start']}"
        first = fitting(changes["start"])
        if not start.exists():
            train(replace(first, steps=1), root, start, validated=1, log=quiet)
        changes["start"] = str(start)
    recipe = replace(RECIPES[case.partition(",")[0]], sets=SETS, steps=3, warmup=1, **changes)
    with watched() as steps:
        out = train(recipe, root, runs / case, validated=1, log=quiet)
    card = (out / "README.md").read_text()
    return {
        "steps": steps,
        **weights_of(out),
        "sections of the card": re.findall(r"^- (\w+)|^  - ([^:]+):", card, re.M),
    }


def fitting(case: str) -> Any:
    return replace(RECIPES[case], sets=SETS, warmup=1, **{k: v for k, v in changes_of(case).items() if k != "start"})


def changes_of(case: str) -> dict[str, Any]:
    """Of the recipe, options as the settings of its strategy."""
    changes, recipe = dict(TRAININGS[case]), RECIPES[case.partition(",")[0]]
    if "options" in changes:
        changes["options"] = settings_of(changes.get("strategy", recipe.strategy), changes["options"])
    return changes


def trainings(case: str) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        return trained(case, pictures(Path(folder) / "data"), Path(folder) / "runs")


def other_trainings() -> Values:
    """Three steps of the codec, the tiny ViT (its teacher has random numbers), the estimator and the language model."""
    lines: list[str] = []
    found: Values = {}
    with tempfile.TemporaryDirectory() as folder:
        root, runs = pictures(Path(folder) / "data"), Path(folder) / "runs"

        def write(name: str, out: Path, steps: list[dict[str, float]]) -> None:
            found.update({f"{name}, {key}": value for key, value in weights_of(out).items()})
            told = [float(v) for line in lines for v in re.findall(r"step \d+/\d+  loss ([\d.]+)", line)]
            found[f"{name}, steps"] = list(steps) or told
            lines.clear()
            steps.clear()

        with watched() as steps:
            codec = replace(
                next(iter(CODEC_PLANS.values())), folders=("natural", "ivif/ir"), crop=32, batch=2, steps=3, warmup=1
            )
            write("codec", train_codec(codec, root, runs / "codec", log=lines.append), steps)
            with teacher(runs / "teacher"):
                plan = replace(
                    DISTILLATIONS["tiny-vit"],
                    teacher="little",
                    folders=("natural",),
                    pool=8,
                    held_out=4,
                    crop=32,
                    batch=2,
                    steps=3,
                )
                write("tiny-vit", distil(plan, root, runs / "vit", log=lines.append), steps)
            faults = replace(ESTIMATES["estimate"], pairs=24, tuning=12, tests=12, least=48, most=64, steps=3, batch=16)
            write("estimate", train_estimate(faults, root, runs / "estimate", log=lines.append), steps)
            words = replace(LANGUAGES["language"], steps=3, batch=8)
            write("language", train_language(words, runs / "language", log=lines.append), steps)
    return found


@contextlib.contextmanager
def teacher(folder: Path) -> Iterator[None]:
    """A backbone 'little' of random numbers, where the tiny ViT looks for its teacher."""
    config, before = VitConfig(width=48, heads=3, depth=4), os.environ.get("ANYFUSE_CACHE")
    vit = Vit(config)
    vit.initialise(7)
    save_vit(vit, folder / "little")
    BACKBONES["little"] = Source(config)
    os.environ["ANYFUSE_CACHE"] = str(folder)
    try:
        yield
    finally:
        del BACKBONES["little"]
        if before is None:
            del os.environ["ANYFUSE_CACHE"]
        else:
            os.environ["ANYFUSE_CACHE"] = before


# ---------------------------------------------------------------------- the tables


PLAIN: dict[str, Callable[[], Any]] = {
    "api": public_api,
    "commands": command_line,
    "files": written_files,
    "instructions": instructions,
    "metric-versions": metric_versions,
    "models": model_table,
    "prompts": prompt_bank,
    "recipes": recipe_table,
    "tiles": budgets,
    "weights": weight_files,
}
"""Subjects that are the same on every processor."""

GATED = dict.fromkeys(("mmaif-tiny", "mmaif-tiny-flow"), Tolerance(mean=1 / 255 / 2, share=0.02))
"""How much of a restoration is taken hangs on counts and quantiles of its pixels, which step where a value does: the
shares, and the whole picture with them, may move by half a level."""

MEASURED: dict[str, tuple[Callable[[], Values], Tolerance]] = {
    **{f"pixels-{name}": (lambda name=name: pixels(name), GATED.get(name, Tolerance())) for name in SHIPPED},
    "degradations": (degradations, Tolerance()),
    "masked-pairs": (masked_pairs, Tolerance()),
    "synthetic": (synthetic_data, Tolerance()),
    "embeddings": (embeddings, Tolerance()),
    "estimates": (estimates, Tolerance()),
    "metrics": (metric_values, Tolerance()),
    **{f"training-{case.replace(', ', '-')}": (lambda case=case: trainings(case), TRAINING) for case in TRAININGS},
    "training-others": (other_trainings, TRAINING),
}
"""Subjects that are computed, and how far they may be off on another processor."""
