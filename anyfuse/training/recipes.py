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
    holds 3 to 5 inputs instead of two (0: never). `lr` warms up over `warmup` steps, then follows a cosine to lr/50.
    `strategy`: a name in strategies.STRATEGIES, `options`: its own settings."""

    model: str
    tasks: dict[str, int]
    losses: dict[str, dict[str, float]]
    steps: int = 1800
    crop: int = 128
    stacks: int = 4
    lr: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 1e-2
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    strategy: str = "plain"
    options: dict[str, float] = field(default_factory=dict)
    sets: tuple[DataSet, ...] = field(default=REAL_AND_NATURAL)


RECIPES: dict[str, Recipe] = {
    "anyfuse": Recipe(
        model="anyfuse",
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
            "mff": {"reconstruction": 10.0, "qabf": 1.5, "vif": 0.4, "mutual_information": 0.5, "halo": 2.0},
            "mif": {
                "qabf": 3.0,
                "ssim": 3.5,
                "mutual_information": 0.08,
                "scd": 1.0,
                "base_max": 1.0,
                "intensity": 2.0,
                "gradient": 0.5,
                "halo": 4.0,
            },
        },
    ),
}
