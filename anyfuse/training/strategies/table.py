"""Optimisation strategies: how one update is made from the batches of all tasks.

Every strategy has the same three calls, so each can train every model that meets its needs, and an ablation is a flag
of the recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...data.batches import TrainingData
from ...data.pack import PackedData
from ...errors import FusionError
from ...models.base import FusionModel
from ...models.ditfuse.ditfuse import DiTFuse
from ...models.mmaif.mmaif import MMAIF
from ..pools.degraded_pairs import DegradedPairs
from ..pools.instructions import InstructPairs
from ..recipes import Recipe
from .bilevel import Bilevel
from .famo import Famo
from .instruct import Instruct, Reflow
from .latent import Latent
from .weighting import Plain, Strategy, Uncertainty

STRATEGIES: dict[str, Callable[[FusionModel, Recipe], Strategy]] = {
    "plain": Plain,
    "uncertainty": Uncertainty,
    "famo": Famo,
    "bilevel": Bilevel,
    "latent": Latent,
    "instruct": Instruct,
    "straighten": Reflow,
}


def build_strategy(model: FusionModel, recipe: Recipe) -> Strategy:
    """The strategy that the recipe names; FusionError for an unknown one."""
    if recipe.strategy not in STRATEGIES:
        raise FusionError(f"unknown strategy '{recipe.strategy}'; known: {', '.join(STRATEGIES)}")
    return STRATEGIES[recipe.strategy](model, recipe)


def build_data(
    model: FusionModel, recipe: Recipe, root: str | Path, out: Path, device: str, log: Callable[[str], None]
) -> TrainingData:
    """What the strategy of a recipe draws its batches from; a pool goes beside the folder `out`."""
    if isinstance(model, DiTFuse) and recipe.strategy in ("instruct", "straighten"):
        return InstructPairs(root, recipe, model, out.resolve().parent, device, log)
    if isinstance(model, MMAIF) and recipe.strategy == "latent":
        return DegradedPairs(root, recipe, model, out.resolve().parent, device, log)
    if Path(root).is_file():
        return PackedData(root, recipe.sets, varied=recipe.varied)
    return TrainingData(root, recipe.sets, ordered=model.ordered, varied=recipe.varied)
