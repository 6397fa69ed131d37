"""Recipes: everything that decides a training run, as literals."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from ..data.batches import DataSet
from .overrides import override, override_fields
from .recipe import REAL_AND_NATURAL, Recipe
from .strategies.adapt import AdaptSettings
from .strategies.bilevel import BilevelSettings
from .strategies.instruct import InstructSettings, ReflowSettings
from .strategies.latent import LatentSettings
from .strategies.table import options_of, with_strategy
from .strategies.weighting import PlainSettings

WIDE = (
    DataSet("ivf", ("ivif/ir", "ivif/vis"), 6.0),
    DataSet("ivf", ("ivif-llvip/ir", "ivif-llvip/vis"), 3.0),
    DataSet("ivf", ("ivif-misc/ir", "ivif-misc/vis"), 1.0),
    DataSet("mef", ("mef/under", "mef/over"), 3.0),
    DataSet("mef", ("mef-sice/*",), 2.0),
    DataSet("mef", ("mef-hdrps/*",), 3.0),
    DataSet("mef", ("mef-empa/*",), 2.0),
    DataSet("mef", ("mef-merianos/*",), 1.0),
    DataSet("mif", ("mif/ct-mri/ct", "mif/ct-mri/mri")),
    DataSet("mif", ("mif/pet-mri/pet", "mif/pet-mri/mri")),
    DataSet("mif", ("mif/spect-mri/spect", "mif/spect-mri/mri")),
    DataSet("natural", ("natural",)),
)
"""Real pairs of more places: also LLVIP and snapshots, and sequences of exposures (SICE, Fairchild's survey, EMPA,
Merianos).
"""

VARIED = (
    DataSet("ivf", ("ivif/ir", "ivif/vis"), 3.0),
    DataSet("ivf", ("ivif-llvip/ir", "ivif-llvip/vis"), 3.0),
    DataSet("ivf", ("nir-epfl/ir", "nir-epfl/vis"), 2.0),
    DataSet("ivf", ("camvid/images", "camvid/labels"), 2.0, "streets"),
    DataSet("mef", ("mef/under", "mef/over"), 3.0),
    *(DataSet("mef", (f"mef-{name}/*",), 2.0) for name in ("sice", "hdrps", "empa", "merianos")),
    *REAL_AND_NATURAL[2:],
)
"""What the default model learns from."""

NO_MEDICAL = tuple(s for s in REAL_AND_NATURAL if s.task != "mif")


UNIFIED_LOSSES = {
    "ivf": {"intensity": 20.0, "gradient": 20.0, "ssim_weighted": 10.0},
    "mef": {"intensity_mean": 20.0, "gradient": 20.0, "ssim": 10.0},
    "mff": {"intensity_mean": 20.0, "gradient": 20.0, "ssim_weighted": 10.0},
}
"""The table that SwinFusion, TITA and UniFusion share: maximum or mean intensity, largest gradient, SSIM weighted by
mean gradients or, for exposures, evenly (`ssim` is the mean over the sources). TITA's text has the maximum for mff, its
numbers come from the mean.
"""

UNIFUSION_LOSSES = {
    "ivf": {**UNIFIED_LOSSES["ivf"], "self_reconstruction": 5.0},
    "mef": {**UNIFIED_LOSSES["mef"], "self_reconstruction": 5.0},
    "mff": {**UNIFIED_LOSSES["mff"], "self_reconstruction": 10.0},
    "mif": {"intensity": 20.0, "gradient": 100.0, "ssim": 50.0, "self_reconstruction": 20.0},
}
"""The four tasks of UniFusion: the same, with the reconstruction of the sources, which is the lower problem of strategy
'bilevel'.
"""

MMAIF_LOSSES = {task: {"reconstruction": 1.0, "closeness": 0.1} for task in ("ivf", "mef", "mff")}
"""Of the decoded image: to the target, and MMAIF's auxiliary loss to the clean sources, small because it pulls to their
median.
"""

RECIPES: dict[str, Recipe] = {
    "anyfuse": Recipe(
        model="anyfuse",
        tasks={"ivf": 3, "mef": 3, "mff": 2, "mif": 2},
        losses={
            "ivf": {
                "qabf": 5.0,
                "vif": 0.2,
                "ssim": 0.8,
                "scd": 1.0,
                "gradient": 3.0,
                "halo": 12.0,
                "hot": 14.0,
                "lit": 8.0,
            },
            "mef": {
                "qabf": 2.5,
                "vif": 0.6,
                "ssim": 0.5,
                "scd": 0.8,
                "mef_ssim": 7.0,
                "base_mean": 8.0,
                "gradient": 3.0,
                "halo": 18.0,
            },
            "mff": {
                "reconstruction": 14.0,
                "qabf": 2.0,
                "vif": 0.4,
                "mutual_information": 0.6,
                "gradient": 10.0,
                "halo": 2.0,
            },
            "mif": {
                "qabf": 4.5,
                "ssim": 3.5,
                "mutual_information": 0.1,
                "scd": 1.6,
                "base_max": 1.0,
                "intensity": 12.0,
                "gradient": 10.0,
                "halo": 18.0,
            },
        },
        steps=3800,
        crop=160,
        stacks=4,
        lr=2e-3,
        ema=0.998,
        sets=VARIED,
        varied=True,
    ),
    "anyfuse-first": Recipe(
        model="anyfuse-first",
        tasks={"ivf": 3, "mef": 4, "mff": 3, "mif": 3},
        losses={
            "ivf": {
                "qabf": 2.5,
                "vif": 0.05,
                "ssim": 1.2,
                "mutual_information": 0.05,
                "scd": 1.0,
                "base_max": 1.5,
                "intensity": 1.0,
                "gradient": 0.3,
                "halo": 6.0,
            },
            "mef": {
                "qabf": 2.5,
                "vif": 0.6,
                "ssim": 1.0,
                "mutual_information": 0.2,
                "scd": 0.6,
                "mef_ssim": 2.0,
                "base_mean": 15.0,
                "halo": 8.0,
            },
            "mff": {
                "reconstruction": 10.0,
                "qabf": 1.5,
                "vif": 0.4,
                "mutual_information": 0.5,
                "gradient": 10.0,
                "halo": 2.0,
            },
            "mif": {
                "qabf": 3.0,
                "ssim": 3.5,
                "mutual_information": 0.08,
                "scd": 1.0,
                "base_max": 1.0,
                "intensity": 10.0,
                "gradient": 10.0,
                "halo": 8.0,
            },
        },
    ),
    "tita": Recipe(  # the paper's choices; their clipping has no effect, so there is none
        model="tita",
        tasks={"ivf": 8, "mef": 8, "mff": 8},
        losses=UNIFIED_LOSSES,
        steps=20_000,
        crop=64,
        stacks=0,
        lr=2e-5,
        warmup=0,
        weight_decay=0.0,
        clip=0.0,
        ema=0.999,
        strategy="famo",
        schedule="constant",
        optimiser="adam",
        sets=NO_MEDICAL,
    ),
    "tita-small": Recipe(  # a CPU's budget: fewer and larger steps, a cosine, clipping, bfloat16
        model="tita-small",
        tasks={"ivf": 2, "mef": 2, "mff": 2},
        losses=UNIFIED_LOSSES,
        steps=1200,
        crop=64,
        stacks=0,
        lr=8e-4,
        warmup=100,
        weight_decay=0.0,
        clip=1.0,
        ema=0.998,
        strategy="famo",
        optimiser="adam",
        autocast=True,
        sets=NO_MEDICAL,
    ),
    "unifusion": Recipe(
        model="unifusion",
        tasks={"ivf": 9, "mef": 9, "mff": 9, "mif": 9},
        losses=UNIFUSION_LOSSES,
        steps=10000,
        crop=128,
        stacks=0,
        one_task=True,
        lr=1e-4,
        warmup=0,
        weight_decay=0.0,
        clip=0.0,
        ema=0.999,
        strategy="bilevel",
        optimiser="adam",
    ),
    "unifusion-small": Recipe(
        model="unifusion-small",
        tasks={"ivf": 8, "mef": 8, "mff": 8, "mif": 8},
        losses=UNIFUSION_LOSSES,
        steps=2000,
        crop=64,
        stacks=0,
        one_task=True,
        lr=8e-4,
        warmup=100,
        weight_decay=0.0,
        clip=0.0,
        ema=0.995,
        strategy="bilevel",
        options=BilevelSettings(ratio=2.0),
        optimiser="adam",
    ),
    "mmaif-tiny": Recipe(
        model="mmaif-tiny",
        tasks={"ivf": 3, "mef": 2, "mff": 3},
        losses=MMAIF_LOSSES,
        steps=6000,
        stacks=0,
        lr=6e-4,
        ema=0.999,
        strategy="latent",
        options=LatentSettings(pool=5000, varied=0.5),
        sets=NO_MEDICAL,
    ),
    "ditfuse-tiny": Recipe(  # more real pairs and control than the paper's 4.3 % and its steps would need
        model="ditfuse-tiny",
        tasks={"instruct": 8},
        losses={"instruct": {"reconstruction": 1.0}},
        steps=3000,
        stacks=0,
        lr=6e-4,
        ema=0.999,
        strategy="instruct",
        options=InstructSettings(pool=5000, m3=0.40, pairs=0.17, control=0.23, segment=0.20, mask=0.5),
        sets=NO_MEDICAL,
    ),
}
RECIPES["anyfuse-lens"] = replace(  # resumes from `anyfuse`: --set start=runs/anyfuse
    RECIPES["anyfuse"],
    tasks={"ivf": 3, "mef": 3, "mff": 3, "mif": 2},
    steps=900,
    lr=6e-4,
    warmup=50,
    ema=0.99,
    options=PlainSettings(steady=300.0),
    lens=True,
)
RECIPES["anyfuse-steady"] = replace(  # resumes from `anyfuse-lens`: --set start=runs/anyfuse-lens
    RECIPES["anyfuse-lens"],
    tasks={"ivf": 3, "mef": 3, "mff": 4, "mif": 2},
    losses={
        "ivf": {**RECIPES["anyfuse"].losses["ivf"], "qabf": 6.0, "hot": 17.0, "mutual_information": 0.15},
        "mef": {**RECIPES["anyfuse"].losses["mef"], "vif": 0.8},
        "mff": {
            **RECIPES["anyfuse"].losses["mff"],
            "reconstruction": 24.0,
            "mutual_information": 1.2,
            "gradient": 16.0,
            "halo": 6.0,
        },
        "mif": RECIPES["anyfuse"].losses["mif"],
    },
    options=PlainSettings(steady=250.0),
)
RECIPES["anyfuse-even"] = replace(  # resumes from `anyfuse-steady`: --set start=runs/anyfuse-steady
    RECIPES["anyfuse-steady"],
    losses={
        **RECIPES["anyfuse-steady"].losses,
        "ivf": {**RECIPES["anyfuse-steady"].losses["ivf"], "hot": 20.0, "even": 24.0},
    },
    steps=600,
    lr=5e-4,
)
RECIPES["anyfuse-people"] = replace(  # resumes from `anyfuse-even`: --set start=runs/anyfuse-even
    RECIPES["anyfuse-even"],
    losses={
        **RECIPES["anyfuse-even"].losses,
        "ivf": {**RECIPES["anyfuse-even"].losses["ivf"], "hot": 34.0},
    },
    steps=400,
)
RECIPES["unifusion-dinov2"] = replace(RECIPES["unifusion"], model="unifusion-dinov2", lr=2e-4, warmup=100)
RECIPES |= {
    name: replace(RECIPES["mmaif-tiny"], model=name, lr=lr, steps=steps)
    for name, lr, steps in (
        ("mmaif-tiny-flow", 5e-4, 4000),
        ("mmaif-small", 4e-4, 12_000),
        ("mmaif-small-flow", 3e-4, 16_000),
    )
}
RECIPES["ditfuse-small"] = replace(RECIPES["ditfuse-tiny"], model="ditfuse-small", lr=4e-4, steps=12_000)
RECIPES["ditfuse-tiny-medical"] = replace(  # goes on from ditfuse-tiny
    RECIPES["ditfuse-tiny"],
    steps=1000,
    lr=3e-4,
    sets=REAL_AND_NATURAL,
    options=InstructSettings(pool=2000, m3=0.30, pairs=0.30, control=0.20, segment=0.20, mask=0.5),
)
RECIPES["ditfuse-tiny-fast"] = replace(
    RECIPES["ditfuse-tiny-medical"],
    model="ditfuse-tiny-fast",
    lr=2e-4,
    strategy="straighten",
    options=ReflowSettings(
        pool=2000, m3=0.30, pairs=0.30, control=0.20, segment=0.20, mask=0.5, ends=1000, teacher_steps=8
    ),
)
RECIPES["omnigen-lora"] = Recipe(  # rate, norm and dropped conditions as in the released code; its run is not published
    model="omnigen",
    tasks={"instruct": 2},
    losses={"instruct": {}},
    steps=5000,
    crop=256,
    stacks=0,
    lr=1e-4,
    warmup=0,
    weight_decay=0.0,
    ema=0.0,
    strategy="adapt",
    options=AdaptSettings(pool=2000),
    schedule="constant",
    optimiser="adam",
    sets=NO_MEDICAL,
)


def command(recipe: Recipe) -> str:
    """What starts a run of this recipe: `anyfuse train` with the preset that is nearest and what to set."""
    near = [
        (name, _settings(plan, recipe))
        for name, plan in RECIPES.items()
        if (plan.model, plan.sets) == (recipe.model, recipe.sets)
    ]
    name, settings = min(near, key=lambda candidate: len(candidate[1]), default=(recipe.model, []))
    return " ".join(["anyfuse train", name, *(f"--set {setting}" for setting in settings)])


def _settings(plan: Recipe, recipe: Recipe) -> list[str]:
    """The settings by which `override` makes the recipe from the plan."""

    def flat(value: Any, path: str) -> dict[str, Any]:
        parts = value.items() if isinstance(value, dict) else []
        return {k: v for key, part in parts for k, v in flat(part, f"{path}.{key}").items()} if parts else {path: value}

    def text(value: Any) -> str:
        return (
            str(value).lower()
            if isinstance(value, bool)
            else ",".join(map(str, value))
            if isinstance(value, tuple)
            else str(value)
        )

    settings = []
    switched = with_strategy(plan, recipe.strategy)
    for part in fields(recipe):
        base = switched if part.name == "options" else plan
        old, new = (flat(_values(r, part.name), part.name) for r in (base, recipe))
        gone = {key: 0 for key, value in old.items() if key not in new and not isinstance(value, dict)}
        settings += [
            f"{k}={text(v)}"
            for k, v in {**gone, **new}.items()
            if not isinstance(v, dict) and (k in gone or old.get(k) != v)
        ]
    return settings


def _values(recipe: Recipe, name: str) -> Any:
    """A field; options as a dictionary of all settings of the strategy."""
    if name != "options":
        return getattr(recipe, name)
    options = options_of(recipe)
    return {} if options is None else asdict(options)


__all__ = ["RECIPES", "Recipe", "command", "override", "override_fields"]
