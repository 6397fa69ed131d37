"""Optimisation strategies: how one update is made from the batches of all tasks.

Every strategy has the same three calls, so each can train every model that meets its needs, and an ablation is a flag
of the recipe.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ...data.batches import TrainingData
from ...data.pack import PackedData
from ...errors import FusionError
from ...models.base import FusionModel
from ...models.ditfuse.ditfuse import DiTFuse
from ...models.ditfuse.omnigen import OmniGen
from ...models.mmaif.mmaif import MMAIF
from ..pools.colours import ColourPairs
from ..pools.degraded_pairs import DegradedPairs
from ..pools.instructions import InstructPairs
from ..recipe import Recipe, StrategySettings
from .adapt import Adapt, AdaptSettings
from .bilevel import Bilevel, BilevelSettings
from .famo import Famo, FamoSettings
from .instruct import Instruct, InstructSettings, Reflow, ReflowSettings
from .latent import Latent, LatentSettings
from .weighting import Plain, PlainSettings, Strategy, Uncertainty, UncertaintySettings


class Entry(NamedTuple):
    """A strategy."""

    build: Callable[[FusionModel, Recipe], Strategy]  # its class
    settings: type[StrategySettings] | None = None  # class of its settings; None: it has none


STRATEGIES: dict[str, Entry] = {
    "plain": Entry(Plain, PlainSettings),
    "uncertainty": Entry(Uncertainty, UncertaintySettings),
    "famo": Entry(Famo, FamoSettings),
    "bilevel": Entry(Bilevel, BilevelSettings),
    "latent": Entry(Latent, LatentSettings),
    "instruct": Entry(Instruct, InstructSettings),
    "straighten": Entry(Reflow, ReflowSettings),
    "adapt": Entry(Adapt, AdaptSettings),
}


def entry(strategy: str) -> Entry:
    """The entry of a strategy; FusionError for an unknown one."""
    if strategy not in STRATEGIES:
        raise FusionError(f"unknown strategy '{strategy}'; known: {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy]


def settings_of(strategy: str, values: Mapping[str, Any]) -> StrategySettings | None:
    """A strategy's settings from plain numbers, as a card or `--set` has them.

    Args:
        strategy: name in STRATEGIES.
        values: setting -> number; the others keep their defaults.

    Returns:
        The settings, or None for a strategy without.

    Raises:
        FusionError: an unknown strategy or setting, or a number out of range.
    """
    kind = entry(strategy).settings
    default = None if kind is None else kind()
    known = {} if default is None else asdict(default)
    for name in values:
        if name not in known:
            raise unknown_option(strategy, name)
    return default and replace(default, **{name: type(known[name])(value) for name, value in values.items()})


def unknown_option(strategy: str, name: str) -> FusionError:
    """The error for a setting that a strategy lacks, with the nearest one."""
    kind = entry(strategy).settings
    known = [] if kind is None else [f.name for f in fields(kind)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return FusionError(f"strategy '{strategy}' has no option '{name}'; known: {', '.join(known) or 'none'}{hint}")


def options_of(recipe: Recipe) -> StrategySettings | None:
    """The recipe's options, or the defaults of its strategy; None for a strategy without settings."""
    kind = entry(recipe.strategy).settings
    return None if kind is None else recipe.settings(kind)


def with_strategy(recipe: Recipe, strategy: str) -> Recipe:
    """The recipe with another strategy.

    Of its options, those that differ from the defaults stay, as far as the new strategy has them.
    """
    if strategy == recipe.strategy:
        return recipe
    before = options_of(recipe)
    kind = entry(strategy).settings
    if before is None or kind is None:
        return replace(recipe, strategy=strategy, options=None)
    names = {f.name for f in fields(kind)}
    default = asdict(type(before)())
    kept = {k: v for k, v in asdict(before).items() if k in names and v != default[k]}
    return replace(recipe, strategy=strategy, options=settings_of(strategy, kept) if kept else None)


def build_strategy(model: FusionModel, recipe: Recipe) -> Strategy:
    """The strategy of a recipe.

    Args:
        model: what it trains.
        recipe: names the strategy, and has its options.

    Raises:
        FusionError: an unknown strategy, options of another one, or a model that it cannot train.
    """
    return entry(recipe.strategy).build(model, replace(recipe, options=options_of(recipe)))


def build_data(
    model: FusionModel, recipe: Recipe, root: str | Path, out: Path, device: str, log: Callable[[str], None]
) -> TrainingData:
    """What the strategy of a recipe draws its batches from.

    Args:
        model: says which data its strategy needs, and whether its sources have roles.
        recipe: sets, crop, strategy and options.
        root: folder with the data, or a packed file.
        out: folder of the run; a pool goes beside it.
        device: where a pool's teacher and codec run.
        log: gets lines of progress.

    Raises:
        FusionError: missing data, or options that do not fit the strategy.
    """
    recipe = replace(recipe, options=options_of(recipe))
    if isinstance(model, OmniGen) and recipe.strategy == "adapt":
        return ColourPairs(root, recipe, model, out.resolve().parent, device, log)
    if isinstance(model, DiTFuse) and recipe.strategy in ("instruct", "straighten"):
        pool = ColourPairs if model.config.painted else InstructPairs
        return pool(root, recipe, model, out.resolve().parent, device, log)
    if isinstance(model, MMAIF) and recipe.strategy == "latent":
        return DegradedPairs(root, recipe, model, out.resolve().parent, device, log)
    if Path(root).is_file():
        return PackedData(root, recipe.sets, varied=recipe.varied, lens=recipe.lens)
    return TrainingData(root, recipe.sets, ordered=model.ordered, varied=recipe.varied, lens=recipe.lens)
