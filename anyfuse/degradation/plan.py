"""Degradations of images: a table of operations, the menus of each fusion task, random draws from them, and their
application.

The menus are those of MMAIF (ICCV 2025, arXiv 2503.14944): every task has blur, motion, low resolution, noise, JPEG and
weather; infrared + visible also low exposure and low contrast (visible) and detector faults (infrared); exposures low
contrast; focus planes low and high exposure. The paper names no strengths; ours are in each function. Weather never
falls on infrared: long waves pass thin haze, and drops and flakes have about the temperature of the air; what is left
of fog there is low contrast.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..arrays import Generator, Tensor, torch
from ..errors import FusionError
from ..image.random import integer, uniform
from . import optics, sensor, variants, weather
from .depth import plausible_depth
from .operation import Degraded

FAULT_OF = {"gaussian_blur": "blur", "gaussian_noise": "noise", "dark_stripes": "stripes", "bright_stripes": "stripes"}
"""Operation -> name of the degradation in instructions, where they differ."""
FAULT_OF |= {"mist": "haze", "rain_streaks": "rain", "rain_lines": "rain", "snow_flakes": "snow"}
FAULT_OF |= {"defocus": "blur", "straight_motion": "motion_blur", "resample": "downsample", "low_jpeg": "jpeg"}
FAULT_OF |= {"low_light": "low_exposure", "washed_out": "low_contrast"}
FAULT_OF |= dict.fromkeys(("row_stripes", "line_offsets", "line_drift"), "stripes")
COVERED_BY = {"noise": ("noise", "sensor_noise")}
"""Degradation -> names that count as it: the menus of training have no sensor noise."""

Kind = Literal["infrared", "visible"]


@dataclass(frozen=True)
class Operation:
    """A degradation."""

    run: Callable[..., Degraded]  # (image, strength, generator[, depth=(H, W)]) -> degraded image and its parameters
    suits: Literal["any", "visible", "infrared"]  # kinds of sources
    words: str  # description
    depth: bool = False  # whether it takes depth
    scene: bool = False  # all sources see it: it is drawn for all visible ones together, and they share the depth


OPERATIONS: dict[str, Operation] = {
    "haze": Operation(weather.haze, "visible", "haze, thicker with distance", depth=True, scene=True),
    "rain": Operation(weather.rain, "visible", "rain streaks in layers", depth=True, scene=True),
    "snow": Operation(weather.snow, "visible", "snow flakes in layers", depth=True, scene=True),
    "gaussian_blur": Operation(optics.gaussian_blur, "any", "out of focus, Gaussian"),
    "motion_blur": Operation(optics.motion_blur, "any", "shaken camera, along a smooth path"),
    "low_exposure": Operation(sensor.low_exposure, "visible", "too dark by up to 4 stops"),
    "high_exposure": Operation(sensor.high_exposure, "visible", "too bright by up to 2.5 stops, clipped"),
    "sensor_noise": Operation(sensor.sensor_noise, "any", "photon and read noise in linear light"),
    "gaussian_noise": Operation(sensor.gaussian_noise, "any", "white noise on encoded values"),
    "fixed_pattern": Operation(sensor.fixed_pattern, "infrared", "column and pixel offsets, gains and shading"),
    "dark_stripes": Operation(sensor.dark_stripes, "infrared", "columns that read too low"),
    "bright_stripes": Operation(sensor.bright_stripes, "infrared", "columns that read too high"),
    "dead_pixels": Operation(sensor.dead_pixels, "infrared", "pixels stuck at black or white"),
    "low_contrast": Operation(sensor.low_contrast, "any", "values drawn towards the mean"),
    "downsample": Operation(optics.downsample, "any", "low resolution, down and up again"),
    "jpeg": Operation(optics.jpeg, "any", "blocks and colour bleeding of a low JPEG quality"),
}
"""In the order of nature: the air, the lens, exposure, the sensor, the file. Combinations that are drawn follow it."""

VARIANTS: dict[str, Operation] = {
    "mist": Operation(variants.mist, "visible", "haze of one thickness or by depth, of any airlight", True, True),
    "rain_streaks": Operation(variants.rain_streaks, "visible", "rain from any direction, mostly no veil", True, True),
    "rain_lines": Operation(variants.rain_lines, "visible", "straight bright streaks, no veil", scene=True),
    "snow_flakes": Operation(variants.snow_flakes, "visible", "flakes of any size, no veil at times", True, True),
    "defocus": Operation(variants.defocus, "any", "out of focus, by the iris of a lens"),
    "straight_motion": Operation(variants.straight_motion, "any", "camera that moved straight"),
    "low_light": Operation(variants.low_light, "visible", "too dark by up to 4.5 stops, with the sensor's noise"),
    "line_offsets": Operation(variants.line_offsets, "any", "columns or rows with Gaussian offsets"),
    "line_drift": Operation(variants.line_drift, "any", "columns or rows that drift slowly"),
    "row_stripes": Operation(variants.row_stripes, "any", "rows that read too low or too high"),
    "washed_out": Operation(variants.washed_out, "any", "values drawn towards some grey"),
    "resample": Operation(variants.resample, "any", "low resolution, by any interpolation"),
    "low_jpeg": Operation(variants.low_jpeg, "any", "a JPEG quality from 60 down to 8"),
}
"""Other forms of operations, drawn by `draw_varied` and known by name; in no menu, so that `draw` stays as it was."""
KNOWN = OPERATIONS | VARIANTS

ALIASES = {"blur": "gaussian_blur", "motion": "motion_blur", "noise": "gaussian_noise", "stripes": "dark_stripes"}

_CAMERA = ("gaussian_blur", "motion_blur", "downsample", "gaussian_noise", "jpeg")
_WEATHER = ("rain", "haze", "snow")

MENUS: dict[str, dict[Kind, tuple[str, ...]]] = {
    "ivf": {
        "infrared": (*_CAMERA, "low_contrast", "dark_stripes", "bright_stripes", "fixed_pattern", "dead_pixels"),
        "visible": (*_CAMERA, *_WEATHER, "low_exposure", "low_contrast"),
    },
    "mef": {"visible": (*_CAMERA, *_WEATHER, "low_contrast")},
    "mff": {"visible": (*_CAMERA, *_WEATHER, "low_exposure", "high_exposure")},
}
"""Task -> kind of source -> names of operations. Of MMAIF's table, with the detector faults beyond dark stripes added.
"""


VARIED: dict[str, dict[Kind, tuple[str, ...]]] = {
    task: {kind: (*menu, "dark_stripes") if kind == "visible" else menu for kind, menu in menus.items()}
    for task, menus in MENUS.items()
}
"""As MENUS, for `draw_varied`: a visible camera may have stripes too."""


def forms(op: str) -> tuple[str, ...]:
    """An operation of the menus and its other forms."""
    fault = FAULT_OF.get(op, op)
    return (op, *(name for name in VARIANTS if FAULT_OF[name] == fault))


class Step(NamedTuple):
    """One operation of a plan."""

    op: str  # name in OPERATIONS
    strength: float  # 0 to 1


DegradationPlan = tuple[Step, ...]
Plan = DegradationPlan
"""The name of version 0.1."""


def find(name: str) -> str:
    """The name in OPERATIONS that `name` means (case, hyphens and ALIASES aside); FusionError with the nearest one."""
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    key = ALIASES.get(key, key)
    if key not in KNOWN:
        near = difflib.get_close_matches(key, [*KNOWN, *ALIASES], 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(OPERATIONS)}"
        raise FusionError(f"unknown operation '{name}': {hint}")
    return key


def parse(text: str) -> DegradationPlan:
    """ "haze:0.5,noise:0.3" -> a plan, in the order given; a name alone means 0.5.

    Args:
        text: names of OPERATIONS or ALIASES, with strengths from 0 to 1.

    Raises:
        FusionError: an unknown name, or a strength outside 0 to 1.
    """
    steps = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, colon, value = part.partition(":")
        op = find(name)
        try:
            strength = float(value) if colon else 0.5
        except ValueError:
            raise FusionError(
                f"'{part}': {value!r} is no number; give NAME:STRENGTH with 0 to 1, as haze:0.5"
            ) from None
        if not 0 <= strength <= 1:
            raise FusionError(f"'{part}': strength {value} is not in 0 to 1")
        steps.append(Step(op, strength))
    if not steps:
        raise FusionError("no operation was given; give some, as haze:0.5,noise:0.3")
    return tuple(steps)


def kinds_of(task: str, n_sources: int) -> tuple[Kind, ...]:
    """What the sources of a task are: the first of `ivf` is infrared, all others are visible."""
    if task not in MENUS:
        raise FusionError(f"no degradations for task '{task}'; known: {', '.join(MENUS)}")
    if n_sources < 1:
        raise FusionError(f"{n_sources} sources; give one or more")
    first: Kind = "infrared" if "infrared" in MENUS[task] else "visible"
    rest: list[Kind] = ["visible"] * (n_sources - 1)
    return (first, *rest)


def draw(task: str, n_sources: int, gen: Generator, kinds: Sequence[Kind] | None = None) -> tuple[DegradationPlan, ...]:
    """Draws one to three operations for the sources of one scene.

    An operation is drawn evenly from those that any source may have, with a strength from 0.3 to 1, none twice. Weather
    affects all visible sources alike. Any other operation affects one source that may have it or, half of the time, all
    of those, each with its own strength.

    Args:
        task: ivf, mef or mff.
        n_sources: number of sources.
        gen: random generator.
        kinds: of each source; None: as `kinds_of`.

    Returns:
        One plan per source; some may be empty.
    """
    kinds = kinds_of(task, n_sources) if kinds is None else tuple(kinds)
    menus = [MENUS[task].get(kind, ()) for kind in kinds] if task in MENUS else []
    if len(kinds) != n_sources or not any(menus):
        raise FusionError(f"task {task} has no sources of the kinds {', '.join(kinds) or 'none'}; see MENUS")
    names = [name for name in OPERATIONS if any(name in menu for menu in menus)]
    plans: list[list[Step]] = [[] for _ in kinds]
    for _ in range(integer(1, 3, gen)):
        name = names.pop(integer(0, len(names) - 1, gen))
        able = [index for index, menu in enumerate(menus) if name in menu]
        if OPERATIONS[name].scene:
            strength = round(uniform(0.3, 1, gen), 3)
            for index in able:
                plans[index].append(Step(name, strength))
            continue
        if uniform(0, 1, gen) < 0.5:
            able = [able[integer(0, len(able) - 1, gen)]]
        for index in able:
            plans[index].append(Step(name, round(uniform(0.3, 1, gen), 3)))
    order = list(OPERATIONS)
    return tuple(tuple(sorted(plan, key=lambda step: order.index(step.op))) for plan in plans)


def draw_varied(
    task: str, n_sources: int, gen: Generator, kinds: Sequence[Kind] | None = None, most: int = 3
) -> tuple[DegradationPlan, ...]:
    """Draws one to `most` degradations as they occur: of the kinds of VARIED, in any of their forms and in any order,
    with strengths from 0.15 to 1. Arguments and result as those of `draw`.
    """
    kinds = kinds_of(task, n_sources) if kinds is None else tuple(kinds)
    menus = [VARIED[task].get(kind, ()) for kind in kinds] if task in VARIED else []
    if len(kinds) != n_sources or not any(menus):
        raise FusionError(f"task {task} has no sources of the kinds {', '.join(kinds) or 'none'}; see VARIED")
    names = [name for name in OPERATIONS if any(name in menu for menu in menus)]
    plans: list[list[Step]] = [[] for _ in kinds]
    for _ in range(integer(1, most, gen)):
        name = names.pop(integer(0, len(names) - 1, gen))
        able = [index for index, menu in enumerate(menus) if name in menu]
        form = forms(name)[integer(0, len(forms(name)) - 1, gen)]
        strength = round(uniform(0.15, 1, gen), 3)
        if not KNOWN[form].scene and uniform(0, 1, gen) < 0.5:
            able = [able[integer(0, len(able) - 1, gen)]]
        for index in able:
            own = strength if KNOWN[form].scene else round(uniform(0.15, 1, gen), 3)
            plans[index].append(Step(form, own))
    for plan in plans:
        if uniform(0, 1, gen) < 0.5:
            order = list(KNOWN)
            plan.sort(key=lambda step: order.index(forms_of(step.op)))
        else:
            shuffled = torch.randperm(len(plan), generator=gen).tolist()
            plan[:] = [plan[k] for k in shuffled]
    return tuple(tuple(plan) for plan in plans)


def forms_of(op: str) -> str:
    """The operation of the menus that an operation is a form of."""
    return next((name for name in OPERATIONS if op in forms(name)), op)


def faults_done(done: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What `apply` did -> name of each degradation in instructions and its strength, 0 to 1, on the scale of the plain
    operation: a low JPEG quality and low light are the stronger for it, and low light has noise too.
    """
    found: dict[str, float] = {}
    for record in done:
        op, strength = record["op"], float(record["strength"])
        faults = {FAULT_OF.get(op, op): strength}
        if op == "low_jpeg":
            faults["jpeg"] = min(1.0, (95 - record["quality"]) / 75)
        elif op == "low_light" and strength:
            faults["low_exposure"] = min(1.0, max(0.0, -record["stops"] / 4))
            if record["sigma"] > 2.5 / 255:
                faults["noise"] = min(1.0, record["sigma"] * 255 / 40)
        for fault, value in faults.items():
            found[fault] = max(value, found.get(fault, 0.0))
    return found


def apply(
    image: Tensor,
    plan: Sequence[Step | tuple[str, float]],
    seed: int,
    *,
    depth: Tensor | None = None,
    source: int = 0,
    frame: int | None = None,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Applies a plan to an image.

    Args:
        image: (1 or 3, H, W) in [0, 1].
        plan: operations with strengths from 0 to 1.
        seed: one per scene.
        depth: (H, W) in [0, 1], 0 at the camera; None: made up from the seed.
        source: number of the source. Sources of one scene share depth and haze under one seed; noise, drops and flakes
            are each one's own.
        frame: shorter side in pixels of the picture that the image is a part of, for the size of drops and flakes;
            None: the image is whole.

    Returns:
        The degraded image of the same shape, and the parameters of each operation.

    Raises:
        FusionError: an unknown operation, or a value outside its range.
    """
    done = []
    for index, (op, strength) in enumerate(plan):
        name = find(op)
        chosen = KNOWN[name]
        if chosen.depth and depth is None and strength > 0:
            depth = plausible_depth(image.shape[-2], image.shape[-1], generator(seed, "depth"))
        whose = () if name in ("haze", "mist") else (index, source)
        more: dict[str, Any] = {"depth": depth} if chosen.depth else {}
        if name in ("rain", "snow", "rain_streaks", "snow_flakes"):
            more["frame"] = frame
        image, record = chosen.run(image, strength, generator(seed, name, *whose), **more)
        done.append(record)
    return image, done


def derive(seed: int, *parts: str | int) -> int:
    """A seed of 63 bits from a seed and words: the same everywhere, unrelated for other words."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *parts: str | int) -> Generator:
    """A CPU generator seeded by `derive`."""
    return Generator().manual_seed(derive(seed, *parts))
