"""Recipes: everything that decides a training run, as literals."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..data.batches import DataSet

REAL_AND_NATURAL = (
    DataSet("ivf", ("ivif/ir", "ivif/vis")),
    DataSet("mef", ("mef/under", "mef/over")),
    DataSet("mif", ("mif/ct-mri/ct", "mif/ct-mri/mri")),
    DataSet("mif", ("mif/pet-mri/pet", "mif/pet-mri/mri")),
    DataSet("mif", ("mif/spect-mri/spect", "mif/spect-mri/mri")),
    DataSet("natural", ("natural",)),
)


@dataclass(frozen=True)
class Recipe:
    """`tasks`: crops per step and task. `losses`: task -> loss name -> weight. `stacks`: every so many steps the batch
    holds 3 to 5 inputs instead of two (0: never). `one_task`: each step sees one task, drawn evenly, instead of all. `lr` warms up over `warmup` steps, then follows a cosine to lr/50.
    `strategy`: a name in strategies.STRATEGIES, `options`: its own settings."""

    model: str
    tasks: dict[str, int]
    losses: dict[str, dict[str, float]]
    steps: int = 2000
    crop: int = 128
    stacks: int = 4
    one_task: bool = False
    lr: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 1e-2
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    strategy: str = "plain"
    options: dict[str, float] = field(default_factory=dict)
    sets: tuple[DataSet, ...] = field(default=REAL_AND_NATURAL)


UNIFUSION = {
    "ivf": {"intensity": 20.0, "gradient": 20.0, "ssim_by_gradient": 10.0, "reconstruction_of_sources": 5.0},
    "mef": {"mean_intensity": 20.0, "gradient": 20.0, "ssim": 10.0, "reconstruction_of_sources": 5.0},
    "mff": {"mean_intensity": 20.0, "gradient": 20.0, "ssim_by_gradient": 10.0, "reconstruction_of_sources": 10.0},
    "mif": {"intensity": 20.0, "gradient": 100.0, "ssim": 50.0, "reconstruction_of_sources": 20.0},
}
"""Losses of the paper's four tasks: SwinFusion's, with the reconstruction of the sources."""


RECIPES: dict[str, Recipe] = {
    "anyfuse": Recipe(
        model="anyfuse",
        tasks={"ivf": 3, "mef": 4, "mff": 3, "mif": 3},
        losses={
            "ivf": {
                "qabf": 2.0,
                "vif": 0.2,
                "ssim": 1.0,
                "scd": 0.6,
                "base_max": 1.0,
                "intensity": 1.0,
                "gradient": 0.3,
                "halo": 5.0,
            },
            "mef": {
                "qabf": 2.0,
                "vif": 0.5,
                "ssim": 1.0,
                "mutual_information": 0.1,
                "scd": 0.3,
                "mef_ssim": 2.0,
                "base_mean": 2.0,
                "halo": 8.0,
            },
            "mff": {"reconstruction": 10.0, "qabf": 1.5, "vif": 0.3, "mutual_information": 0.3, "halo": 2.0},
            "mif": {
                "qabf": 2.0,
                "vif": 0.15,
                "ssim": 2.0,
                "mutual_information": 0.03,
                "scd": 0.6,
                "base_max": 1.0,
                "intensity": 2.0,
                "gradient": 0.5,
                "halo": 4.0,
            },
        },
    ),
    "unifusion": Recipe(
        model="unifusion",
        tasks={"ivf": 9, "mef": 9, "mff": 9, "mif": 9},
        losses=UNIFUSION,
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
    ),
    "unifusion-dinov2": Recipe(
        model="unifusion-dinov2",
        tasks={"ivf": 9, "mef": 9, "mff": 9, "mif": 9},
        losses=UNIFUSION,
        steps=10000,
        crop=128,
        stacks=0,
        one_task=True,
        lr=2e-4,
        warmup=100,
        weight_decay=0.0,
        clip=0.0,
        ema=0.999,
        strategy="bilevel",
    ),
    "unifusion-small": Recipe(
        model="unifusion-small",
        tasks={"ivf": 8, "mef": 8, "mff": 8, "mif": 8},
        losses=UNIFUSION,
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
        options={"ratio": 2.0},
    ),
}
