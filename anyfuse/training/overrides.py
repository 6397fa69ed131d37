"""`--set KEY=VALUE`: a recipe, or any frozen dataclass of plain values, with some of its fields changed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import FusionError
from ..models.registry import FULL, MODELS
from .objectives import LOSSES, is_own_loss
from .recipe import Recipe, StrategySettings
from .strategies.table import options_of, unknown_option, with_strategy

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with 'key=value' settings, as 'lr=1e-4', 'tasks.ivf=2', 'losses.mff.intensity=20',
    'config.phi=sigmoid'.

    Numbers in tasks and losses may be new; other names must exist. A task or a loss of 0 is left out, and lists have
    commas. A strategy is set before its options, wherever it stands among the settings.

    Args:
        recipe: what to start from; it is not changed.
        settings: 'key=value' each.

    Returns:
        The recipe with the settings, the later of two for the same key.

    Raises:
        FusionError: an unknown name (with the nearest), or a value of the wrong kind or out of range.
    """
    for setting in sorted(settings, key=lambda setting: not setting.startswith("strategy=")):
        name, path, text = _split(setting)
        value: Any
        known = {f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name not in ("model", "sets")}
        _known(setting, name, known)
        if name == "config":
            config = (FULL.get(recipe.model) or MODELS[recipe.model]).config
            present = {f.name: getattr(config, f.name) for f in fields(config)}
            _depth(setting, path, 1, "config.phi=sigmoid")
            _known(setting, path[0], present)
            value = {**recipe.config, path[0]: _parse(setting, text, present[path[0]])}
            replace(config, **value)  # the configuration checks itself
        elif name == "tasks":
            _depth(setting, path, 1, "tasks.ivf=2")
            _known(setting, path[0], recipe.losses)
            value = {**recipe.tasks, path[0]: _parse(setting, text, 1)}
            if min(value.values()) < 0:
                raise FusionError(f"--set {setting}: give 0 or more pairs")
            value = {task: count for task, count in value.items() if count > 0}
        elif name == "options":
            _depth(setting, path, 1, "options.gamma=1e-5")
            value = _option(recipe, setting, path[0], text)
        elif name == "losses":
            _depth(setting, path, 2, "losses.mff.intensity=20")
            _known(setting, path[0], recipe.losses)
            if not is_own_loss(path[1]) and path[1] not in LOSSES:
                raise FusionError(f"--set {setting}: there is no loss '{path[1]}'; see docs/training.md")
            terms = {**recipe.losses[path[0]], path[1]: _parse(setting, text, 1.0)}
            value = {**recipe.losses, path[0]: {loss: weight for loss, weight in terms.items() if weight}}
        elif name == "strategy":
            value = _field_value(setting, known)
            recipe = with_strategy(recipe, value)
        else:
            value = _field_value(setting, known)
        recipe = replace(recipe, **{name: value})
    return recipe


def _option(recipe: Recipe, setting: str, name: str, text: str) -> StrategySettings:
    """The strategy's settings with one changed."""
    options = options_of(recipe)
    if options is None or name not in {f.name for f in fields(options)}:
        raise unknown_option(recipe.strategy, name)
    return replace(options, **{name: _parse(setting, text, getattr(options, name))})


def override_fields(plan: Settings, settings: Sequence[str]) -> Settings:
    """Any frozen dataclass of plain values with 'key=value' settings.

    Args:
        plan: what to start from; it is not changed.
        settings: 'key=value' each.

    Returns:
        The plan with the settings.

    Raises:
        FusionError: as `override`.
    """
    for setting in settings:
        value = _field_value(setting, {f.name: getattr(plan, f.name) for f in fields(plan)})
        plan = replace(plan, **{_split(setting)[0]: value})
    return plan


YES, NO = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")
CHOICES = {"schedule": ("cosine", "constant"), "optimiser": ("adamw", "adam")}


def _split(setting: str) -> tuple[str, list[str], str]:
    """'losses.mff.intensity=20' -> name, path below it, text of the value"""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise FusionError(f"--set {setting}: give KEY=VALUE, as lr=1e-4")
    name, *path = key.split(".")
    return name, path, text


def _field_value(setting: str, known: dict[str, Any]) -> Any:
    """The value of a setting of a field without parts; `known`: the fields' present values."""
    name, path, text = _split(setting)
    _known(setting, name, known)
    _depth(setting, path, 0, f"{name}=...")
    value = _parse(setting, text, known[name])
    if name in CHOICES and value not in CHOICES[name]:
        raise FusionError(f"--set {setting}: give one of {', '.join(CHOICES[name])}")
    return value


def _known(setting: str, name: str, names: dict[str, Any]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise FusionError(f"--set {setting}: unknown '{name}'; {hint}Known: {', '.join(names)}")


def _depth(setting: str, path: list[str], depth: int, example: str) -> None:
    if len(path) != depth or not all(path):
        raise FusionError(f"--set {setting}: give it as {example}")


def _parse(setting: str, text: str, like: Any) -> Any:
    """The text as a value of the kind of `like`."""
    try:
        if isinstance(like, bool):
            return {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}[text.lower()]
        if isinstance(like, int) and float(text).is_integer():
            return int(float(text))
        if isinstance(like, int | float):
            number = type(like)(text)
            if not math.isfinite(number):
                raise ValueError
            return number
        if isinstance(like, tuple):
            kind = type(like[0]) if like else str
            return tuple(kind(part) for part in text.split(",") if part)
        return text
    except (ValueError, KeyError):
        raise FusionError(f"--set {setting}: '{text}' is no {type(like).__name__}") from None
