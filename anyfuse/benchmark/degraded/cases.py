"""The recipe of the benchmark on degraded pairs: which pair of which data set is degraded how, with which seed, and the
pairs that it makes.

    python -m anyfuse.benchmark.degraded DATA -o anyfuse/assets/degraded.json

writes it: of each task's menu every operation alone, on `EACH` pairs with the strengths CASE_STRENGTHS (on the first
source that may have it, on the last, on all; weather on all visible ones), `COMBINED` combinations of two or three as
degradation/plan.py draws them, and clean pairs. Pictures are cut to their middle, WINDOW at most, so that a run takes
minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...control import STRENGTHS, Control
from ...degradation.plan import (
    FAULT_OF,
    MENUS,
    OPERATIONS,
    DegradationPlan,
    Step,
    apply,
    derive,
    draw,
    find,
    generator,
    kinds_of,
)
from ...errors import FusionError
from ...image.frame import Frame
from ...image.random import integer
from ...io.atomic import write_whole
from ...io.read import read_image
from ...runtime import check_regular
from ..datasets import find_groups

BUILT_IN = "built-in"
CASE_LIST_VERSION = 1
WINDOW = (360, 480)
CASE_STRENGTHS = (0.4, 0.7, 1.0)
COMBINED, CLEAN = 24, 6
SETS = {"ivif-roadscene": "ivf", "mef-mefb": "mef", "mff-mfifb": "mff"}


@dataclass(frozen=True)
class Case:
    """One degraded pair."""

    name: str  # of the case, used for its files
    data: str  # folder of the data set
    task: str  # ivf, mef or mff
    pair: str  # file stem
    kind: str  # the operation, 'combined' or 'clean'
    seed: int  # of the operations' draws
    plans: tuple[DegradationPlan, ...]  # what is done to each source, infrared or the first folder first
    wrong: tuple[DegradationPlan, ...]  # the same with other operations, for what a wrong instruction does


@dataclass(frozen=True)
class CaseList:
    """The cases of the benchmark on degraded pairs, and how they were made; the file of it is called a recipe."""

    window: tuple[int, int]  # rows and columns at most
    cases: tuple[Case, ...]
    sources: dict[str, dict[str, list[str]]]  # data set -> pair -> first 16 digits of the sha256 of its files
    made: dict[str, Any] = field(default_factory=dict)  # the command's settings

    @property
    def digest(self) -> str:
        """sha256 over everything."""
        return sha256(dumps(self).encode()).hexdigest()


def dumps(recipe: CaseList) -> str:
    """JSON, a case a line."""
    head = {"version": CASE_LIST_VERSION, "made": recipe.made, "window": list(recipe.window), "sources": recipe.sources}
    lines = [f'"{key}": {json.dumps(value)},' for key, value in head.items()]
    cases = [json.dumps(asdict(case)) for case in recipe.cases]
    return "{\n" + "\n".join(lines) + '\n"cases": [\n' + ",\n".join(cases) + "\n]}\n"


def read_recipe(path: str | Path) -> CaseList:
    """A recipe from a file, or the package's under the name 'built-in'; FusionError where it is none or names unknown
    operations.
    """
    file = Path(str(files("anyfuse") / "assets" / "degraded.json")) if str(path) == BUILT_IN else Path(path)
    try:
        check_regular(file)
        raw = json.loads(file.read_text())
        if raw["version"] != CASE_LIST_VERSION:
            raise FusionError(
                f"{path}: is of version {raw['version']}, and this anyfuse reads version {CASE_LIST_VERSION}"
            )
        cases = tuple(
            Case(**{**c, "plans": _plans(c["plans"]), "wrong": _plans(c["wrong"]), "seed": int(c["seed"])})
            for c in raw["cases"]
        )
        recipe = CaseList((int(raw["window"][0]), int(raw["window"][1])), cases, raw["sources"], raw.get("made", {}))
    except FusionError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise FusionError(f"{path}: not a recipe of degraded pairs ({error}); '{BUILT_IN}' is the package's") from None
    names = [case.name for case in recipe.cases]
    if len(set(names)) < len(names) or not names:
        raise FusionError(f"{path}: needs cases, each with a name of its own")
    for case in recipe.cases:
        if case.task not in MENUS or len(case.plans) != 2 or len(case.wrong) != 2:
            raise FusionError(f"{path}: case {case.name}: needs a task of {', '.join(MENUS)} and plans for two sources")
    return recipe


def _plans(raw: Sequence[Sequence[Sequence[Any]]]) -> tuple[DegradationPlan, ...]:
    plans = tuple(tuple(Step(find(op), float(strength)) for op, strength in plan) for plan in raw)
    for plan in plans:
        for step in plan:
            if not 0 <= step.strength <= 1:
                raise FusionError(f"strength {step.strength} of {step.op} is not in [0, 1]")
    return plans


# ---------------------------------------------------------------------- what a case is


def clean_frames(case: Case, paths: Sequence[Path], recipe: CaseList) -> tuple[Frame, ...]:
    """The middle of the pair's files, 8 bits.

    Raises FusionError where they are not the files that the recipe was made for.
    """
    known = recipe.sources.get(case.data, {}).get(case.pair)
    digests = [sha256(path.read_bytes()).hexdigest()[:16] for path in paths]
    if known is not None and known != digests:
        raise FusionError(f"{paths[0]}: is another file than the recipe's; get the data set again")
    frames = []
    for path in paths:
        x = read_image(path).read()
        h, w = min(x.shape[1], recipe.window[0]), min(x.shape[2], recipe.window[1])
        top, left = (x.shape[1] - h) // 2, (x.shape[2] - w) // 2
        frames.append(as_frame(x[:, top : top + h, left : left + w], path.name))
    return tuple(frames)


def degraded_frames(case: Case, clean: Sequence[Frame]) -> tuple[tuple[Frame, ...], list[list[dict[str, Any]]]]:
    """The degraded pair, 8 bits, and what each operation did to each source. The same every time."""
    frames, done = [], []
    for k, (frame, plan) in enumerate(zip(clean, case.plans, strict=True)):
        image, records = apply(frame.read(), plan, case.seed, source=k)
        frames.append(as_frame(image, frame.name))
        done.append(records)
    return tuple(frames), done


def as_frame(image: Tensor, name: str) -> Frame:
    """(1 or 3, H, W) in [0, 1] -> a frame of 8 bits, rounded."""
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return Frame(np.ascontiguousarray(levels.permute(1, 2, 0).numpy()), name=name)


def instruction(plans: Sequence[DegradationPlan], order: Sequence[int], exact: bool = False) -> Control:
    """What a user who sees these faults says; the pair comes in this order.

    Strengths become 0.25, 0.5 or 1; exact: they stay.
    """
    degradations: dict[str, dict[str, float]] = {}
    for place, source in zip(("first", "second"), order, strict=True):
        for step in plans[source]:
            level = step.strength if exact else min(STRENGTHS, key=lambda v: abs(v - step.strength))
            own = degradations.setdefault(FAULT_OF.get(step.op, step.op), {})
            own[place] = max(level, own.get(place, 0.0))
    return Control(degradations=degradations)


# ---------------------------------------------------------------------- making one


def make_recipe(data: str | Path, seed: int = 0) -> CaseList:
    """A recipe for the data sets in a folder, of those in SETS. FusionError where there is none."""
    cases: list[Case] = []
    sources: dict[str, dict[str, list[str]]] = {}
    for folder, task in SETS.items():
        if not (Path(data) / folder).is_dir():
            continue
        groups, _ = find_groups(Path(data) / folder, task)
        stems = list(groups)
        order = torch.randperm(len(stems), generator=generator(seed, folder)).tolist()
        planned = _singles(task, seed) + _combined(task, seed) + [("clean", ((), ()))] * CLEAN
        for index, (kind, plans) in enumerate(planned):
            stem = stems[order[index % len(order)]]
            name = f"{task}-{index:03d}-{kind}"
            wrong = _wrong(task, plans, generator(seed, "wrong", name))
            cases.append(Case(name, folder, task, stem, kind, derive(seed, "case", name), plans, wrong))
            digests = [sha256(path.read_bytes()).hexdigest()[:16] for path in groups[stem]]
            sources.setdefault(folder, {})[stem] = digests
    if not cases:
        raise FusionError(f"{data}: holds none of {', '.join(SETS)}")
    made = {"seed": seed, "strengths": CASE_STRENGTHS, "combined": COMBINED, "clean": CLEAN}
    return CaseList(WINDOW, tuple(cases), {k: dict(sorted(v.items())) for k, v in sources.items()}, made)


def _menus(task: str) -> list[tuple[str, ...]]:
    return [MENUS[task][kind] for kind in kinds_of(task, 2)]


def _singles(task: str, seed: int) -> list[tuple[str, tuple[DegradationPlan, ...]]]:
    menus = _menus(task)
    cases: list[tuple[str, tuple[DegradationPlan, ...]]] = []
    for op in OPERATIONS:
        able = [k for k, menu in enumerate(menus) if op in menu]
        if not able:
            continue
        for place, strength in zip(([able[0]], [able[-1]], able), CASE_STRENGTHS, strict=True):
            where = able if OPERATIONS[op].scene else place
            cases.append((op, tuple((Step(op, strength),) if k in where else () for k in (0, 1))))
    return cases


def _combined(task: str, seed: int) -> list[tuple[str, tuple[DegradationPlan, ...]]]:
    cases: list[tuple[str, tuple[DegradationPlan, ...]]] = []
    gen = generator(seed, "combined", task)
    while len(cases) < COMBINED:
        plans = draw(task, 2, gen)
        if len({step.op for plan in plans for step in plan}) > 1:
            cases.append(("combined", plans))
    return cases


def _wrong(task: str, plans: tuple[DegradationPlan, ...], gen: torch.Generator) -> tuple[DegradationPlan, ...]:
    """As many steps on each source as there are and its menu allows, with operations that nothing in the pair is near
    to; of a clean pair, one.
    """
    near = dict.fromkeys(("gaussian_blur", "motion_blur", "downsample"), "blur")
    near |= dict.fromkeys(("haze", "rain", "snow"), "veil")
    present = {near.get(step.op, FAULT_OF.get(step.op, step.op)) for plan in plans for step in plan}
    out = []
    counts = [len(plan) for plan in plans]
    if not any(counts):
        counts[integer(0, 1, gen)] = 1
    for menu, count in zip(_menus(task), counts, strict=True):
        free = [op for op in menu if near.get(op, FAULT_OF.get(op, op)) not in present]
        out.append(tuple(Step(free.pop(integer(0, len(free) - 1, gen)), 0.5) for _ in range(min(count, len(free)))))
    return tuple(out)


def main() -> None:
    """The command `python -m anyfuse.benchmark.degraded DATA -o FILE`."""
    parser = argparse.ArgumentParser(description="Writes a recipe of degraded pairs for the test folders in DATA.")
    parser.add_argument("data")
    parser.add_argument("-o", "--output", default="degraded.json")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    recipe = make_recipe(given.data, given.seed)
    write_whole(Path(given.output), [dumps(recipe).encode()], overwrite=True)
    print(f"{given.output}: {len(recipe.cases)} cases, sha256 {recipe.digest[:12]}")


if __name__ == "__main__":
    main()
