"""The benchmark on degraded pairs: fidelity of the fusion of a degraded pair to the fusion of the clean one.

The reference of a case is the default model's fusion of the clean pair. Rows: the default model on the degraded pair;
classical restoration with the true degradations, then the default model; and the chosen models. A model that restores
has a row for each condition:

    exact      every degradation, its source and its strength
    oracle     the same as a user would word it: strengths are slight, usual or strong
    estimate   without an instruction: degradations from anyfuse/degradation/estimator.py
    none       an instruction to restore nothing
    wrong      as many degradations as there are, none of them the true ones

PSNR and SSIM are of 8-bit luma. PSNR counts as 60 dB where it is more, so that one exact result does not decide a mean.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from ...control import Control
from ...degradation.estimator import estimate_stack
from ...errors import FusionError
from ...fuser import Fuser
from ...image.frame import Frame
from ...image.stack import Stack, order_of_roles
from ...io.atomic import write_whole
from ...io.write import write_image
from ...metrics import psnr_truth, ssim_truth
from ..datasets import find_groups
from ..page import Pictures, pictures, render
from ..run import identity, labels
from ..scene import levels
from .cases import Case, CaseList, clean_frames, degraded_frames, instruction
from .restore_baseline import restore

DEFAULT = "anyfuse"
CLASSICAL = "restored, anyfuse"
SAYS = ("exact", "oracle", "estimate", "none", "wrong")
HIGHEST = 60.0


@dataclass(frozen=True)
class Score:
    """One method on one case; psnr in dB, ssim up to 1, seconds of fusing (and restoring)."""

    case: str
    task: str
    kind: str
    method: str
    psnr: float
    ssim: float
    seconds: float


@dataclass
class DegradedBench:
    """The result of a run."""

    recipe: CaseList
    scores: list[Score] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)  # method -> hash of its code and weights
    failures: dict[str, str] = field(default_factory=dict)  # case -> reason
    conditions: dict[str, dict[str, str]] = field(default_factory=dict)  # case -> method -> tags of its instruction

    @property
    def methods(self) -> list[str]:
        """Rows of the table, in the order in which they were scored."""
        return list(dict.fromkeys(score.method for score in self.scores))

    def mean(self, method: str, kind: str = "", task: str = "") -> tuple[float, float, int]:
        """Mean PSNR, mean SSIM and number of cases; kind '': all that are not clean; task '': all."""
        chosen = [
            s
            for s in self.scores
            if s.method == method and (s.kind == kind if kind else s.kind != "clean") and task in ("", s.task)
        ]
        if not chosen:
            return float("nan"), float("nan"), 0
        return float(np.mean([s.psnr for s in chosen])), float(np.mean([s.ssim for s in chosen])), len(chosen)

    def kinds(self) -> list[str]:
        """Single operations in the order of the recipe, then 'combined' and 'clean', those that were run."""
        present = {score.kind for score in self.scores}
        named = [k for k in dict.fromkeys(c.kind for c in self.recipe.cases) if k in present]
        last = [k for k in ("combined", "clean") if k in named]
        return [k for k in named if k not in last] + last

    def wins(self, method: str) -> tuple[int, int]:
        """On how many single operations a method has the highest mean PSNR of it and both baselines, and of how
        many.
        """
        single = [k for k in self.kinds() if k not in ("combined", "clean")]
        rivals = [m for m in (DEFAULT, CLASSICAL) if m != method]
        return sum(all(self.mean(method, k)[0] > self.mean(m, k)[0] for m in rivals) for k in single), len(single)


def run_degraded(
    recipe: CaseList,
    data: Sequence[str | Path],
    models: Sequence[str],
    out: str | Path,
    *,
    say: Sequence[str] = SAYS,
    device: str = "auto",
    limit: int | None = None,
    step: Callable[[str], None] = lambda text: None,
) -> DegradedBench:
    """Runs all cases whose data set is in one of the folders `data` (or is one of them) and writes OUT/cases and
    OUT/fused.

    Args:
        recipe: the cases.
        data: folders that hold the data sets, or are one.
        models: names, folders or LABEL=MODEL.
        out: folder of the results.
        say: what models that restore get, of SAYS.
        device: auto, cpu or cuda.
        limit: only the first N of each kind and task.
        step: called with a line for each step.

    Raises:
        FusionError: nothing can be run. A case that fails is in `failures`.
    """
    for way in say:
        if way not in SAYS:
            raise FusionError(f"--say {way}: give some of {', '.join(SAYS)}, with commas")
    chosen = labels(models)
    for label in chosen:
        if label == CLASSICAL or (label == DEFAULT and chosen[label] != DEFAULT):
            raise FusionError(
                f"the table has a row '{label}' of its own; give the model another label, as mine={chosen[label]}"
            )
    folders = _folders(recipe, data)
    fusers = {label: Fuser(name, device=device) for label, name in chosen.items()}
    base = next((f for label, f in fusers.items() if chosen[label] == DEFAULT), None) or Fuser(DEFAULT, device=device)
    fusers = {DEFAULT: base} | {label: f for label, f in fusers.items() if f is not base}
    groups = {name: find_groups(folder, _task_of(recipe, name))[0] for name, folder in folders.items()}
    result = DegradedBench(recipe)
    result.origins = {label: identity(fuser) for label, fuser in fusers.items()}
    cases = _limited([c for c in recipe.cases if c.data in folders], limit)
    for index, case in enumerate(cases):
        step(f"{index + 1}/{len(cases)} {case.name}")
        paths = groups[case.data].get(case.pair)
        try:
            if paths is None:
                raise FusionError(f"no pair {case.pair} in {folders[case.data]}")
            _run_case(case, clean_frames(case, paths, recipe), fusers, say, Path(out), result)
        except FusionError as error:
            result.failures[case.name] = str(error)
    if not result.scores:
        name, reason = next(iter(result.failures.items()), ("", "no cases"))
        raise FusionError(f"nothing could be run; {name}: {reason}")
    return result


def _run_case(
    case: Case, clean: tuple[Frame, ...], fusers: dict[str, Fuser], say: Sequence[str], out: Path, result: DegradedBench
) -> None:
    bad, done = degraded_frames(case, clean)
    order = [0, 1] if case.task == "ivf" else order_of_roles(bad)  # the folders of ivf say which one is infrared
    lumas, goals = ([_luma(frame) for frame in frames] for frames in (bad, clean))
    base = fusers[DEFAULT]
    goal = base.run(goals, keep_order=True, say=Control(), align="none", deghost="off").pixels
    write_image(out / "cases" / f"{case.name}-goal.png", goal, overwrite=True)
    for k, frame in enumerate(lumas):
        write_image(out / "cases" / f"{case.name}-{k + 1}.png", frame.pixels, overwrite=True)
    spent: dict[str, float] = {}
    assumed: dict[str, str] = {}
    jobs: list[tuple[str, Fuser, list[Frame], Control]] = []
    for label, fuser in fusers.items():
        given = [lumas[k] for k in order] if fuser.model.ordered else lumas
        if not fuser.model.restores:
            jobs.append((label, fuser, given, Control()))
            continue
        places = order if fuser.model.ordered else [0, 1]
        start, estimated = time.perf_counter(), f"{label} (estimate)"
        looked = [bad[k] for k in places]  # in colour, as a user's files
        estimate = estimate_stack(Stack(tuple(looked)), order=[0, 1])
        spent[estimated] = time.perf_counter() - start
        faults = estimate.as_dict([f.name for f in looked])["faults"]
        assumed[estimated] = ", ".join(f"{one['fault']} {one['probability']} {one['image']}" for one in faults)
        conditions = {
            "exact": instruction(case.plans, places, exact=True),
            "oracle": instruction(case.plans, places),
            "estimate": estimate.control(),
            "none": Control(),
            "wrong": instruction(case.wrong, places),
        }
        jobs += [(f"{label} ({way})", fuser, given, conditions[way]) for way in say]
        for way in say:
            result.origins.setdefault(f"{label} ({way})", result.origins[label])
    start = time.perf_counter()
    restored = [_restored(frame, records) for frame, records in zip(lumas, done, strict=True)]
    spent[CLASSICAL] = time.perf_counter() - start
    result.origins[CLASSICAL] = result.origins[DEFAULT]
    jobs.insert(1, (CLASSICAL, base, restored, Control()))
    truth = levels(Frame(goal), "opencv")[None].double()
    scores: list[Score] = []
    instructions: dict[str, str] = {}
    for method, fuser, frames, control in jobs:
        start = time.perf_counter()
        fused = fuser.run(frames, keep_order=True, say=control, align="none", deghost="off")
        seconds = time.perf_counter() - start + spent.get(method, 0.0)
        if fuser.model.restores:
            instructions[method] = assumed.get(method, fused.report["understood"])
        write_image(out / "fused" / method.replace(", ", "-") / f"{case.name}.png", fused.pixels, overwrite=True)
        got = levels(Frame(fused.pixels), "opencv")[None].double()
        psnr, ssim = min(HIGHEST, float(psnr_truth(got, truth))), float(ssim_truth(got, truth))
        scores.append(Score(case.name, case.task, case.kind, method, psnr, ssim, seconds))
    result.scores += scores  # all methods or none
    if instructions:
        result.conditions[case.name] = instructions


def _luma(frame: Frame) -> Frame:
    return Frame(levels(frame, "opencv").to(torch.uint8).numpy()[..., None], name=frame.name)


def _restored(frame: Frame, records: list[dict]) -> Frame:
    image = restore(frame.read()[0], records)
    return Frame((image * 255).round().to(torch.uint8).numpy()[..., None], name=frame.name)


def _folders(recipe: CaseList, data: Sequence[str | Path]) -> dict[str, Path]:
    """Data set -> folder, of those that are in the folders given or are one of them."""
    names = list(dict.fromkeys(case.data for case in recipe.cases))
    folders: dict[str, Path] = {}
    for folder in map(Path, data):
        if not folder.is_dir():
            raise FusionError(f"{folder}: no such folder")
        for name in names:
            place = folder if folder.resolve().name == name else folder / name
            if place.is_dir():
                folders.setdefault(name, place)
    if not folders:
        raise FusionError(f"{', '.join(map(str, data))}: holds none of the recipe's data sets {', '.join(names)}")
    return folders


def _task_of(recipe: CaseList, data: str) -> str:
    return next(case.task for case in recipe.cases if case.data == data)


def _limited(cases: list[Case], limit: int | None) -> list[Case]:
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for case in cases:
        count = counts[case.task, case.kind] = counts.get((case.task, case.kind), 0) + 1
        if limit is None or count <= limit:
            kept.append(case)
    return kept


# ---------------------------------------------------------------------- what is written


def write_results(result: DegradedBench, out: str | Path, images: int = 4) -> None:
    """OUT/scores.csv (a row per case and method, the protocol in its head), summary.json, report.md and report.html."""
    out = Path(out)
    text = io.StringIO()
    text.write(f"# anyfuse degraded 1\n# {json.dumps(protocol(result), sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Score.__dataclass_fields__)
    writer.writerows(asdict(score).values() for score in result.scores)
    write_whole(out / "scores.csv", [text.getvalue().encode()], overwrite=True)
    rows = [
        {"method": m, "task": t or "all", "kind": k or "degraded", "psnr": p, "ssim": s, "cases": n}
        for m in result.methods
        for t in ("", *dict.fromkeys(score.task for score in result.scores))
        for k in ("", *result.kinds())
        for p, s, n in [result.mean(m, k, t)]
        if n
    ]
    content = {"protocol": protocol(result), "means": rows, "told": result.conditions, "failures": result.failures}
    write_whole(out / "summary.json", [(json.dumps(content, indent=1) + "\n").encode()], overwrite=True)
    write_whole(out / "report.md", [markdown(result).encode()], overwrite=True)
    write_whole(out / "report.html", [_page(result, out, images)], overwrite=True)


def protocol(result: DegradedBench) -> dict[str, object]:
    """What the numbers were made with."""
    return {
        "recipe": result.recipe.digest,
        "window": list(result.recipe.window),
        "cases": len({s.case for s in result.scores}),
        "goal": DEFAULT,
        "levels": "8-bit luma by the opencv rule, rounded half up",
        "origins": result.origins,
        "threads": torch.get_num_threads(),
    }


def table(result: DegradedBench) -> list[list[str]]:
    """Heading, then a row per kind, per task and for all, with 'PSNR / SSIM' of each method."""
    rows = [["", "cases", *result.methods]]
    lines = [(k, k, "") for k in result.kinds()]
    lines += [(f"all of {t}", "", t) for t in dict.fromkeys(score.task for score in result.scores)]
    lines.append(("all, clean ones left out", "", ""))
    for name, kind, task in lines:
        means = [result.mean(m, kind, task) for m in result.methods]
        rows.append([name, str(means[0][2]), *(f"{p:.2f} / {s:.3f}" if n else "–" for p, s, n in means)])
    seconds = [np.mean([s.seconds for s in result.scores if s.method == m]) for m in result.methods]
    rows.append(["seconds a pair", "", *(f"{x:.2f}" for x in seconds)])
    wins = [result.wins(m) for m in result.methods]
    rows.append(
        [
            "single operations won",
            "",
            *(
                "" if m in (DEFAULT, CLASSICAL) else f"{a} of {b}"
                for m, (a, b) in zip(result.methods, wins, strict=True)
            ),
        ]
    )
    return rows


NOTE = (
    f"PSNR in dB / SSIM of 8-bit luma to what the default model makes of the clean pair; PSNR over {HIGHEST:.0f} "
    f"counts as {HIGHEST:.0f}. "
    f"'{CLASSICAL}': classical restoration (non-local means, Wiener, dark channel, CLAHE, medians) with the true "
    "degradations, strengths and directions, which are unknown for a real image; then the default model. In "
    "brackets the model's condition: the true degradations with their strength (exact) or in words (oracle), the "
    "estimator's (estimate), an instruction to restore nothing (none), as many wrong degradations (wrong). 'Won': "
    "single operations on which a row has a higher PSNR than both baselines."
)


def markdown(result: DegradedBench) -> str:
    """The table as Markdown, with what it means."""
    head, *rows = table(result)
    lines = [
        "# anyfuse on degraded pairs",
        "",
        NOTE,
        "",
        "| " + " | ".join(head) + " |",
        "| --- |" + " ---: |" * (len(head) - 1),
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", *(f"- left out: {case}: {reason}" for case, reason in result.failures.items())]
    return "\n".join(lines).rstrip() + "\n"


def _page(result: DegradedBench, out: Path, images: int) -> bytes:
    head, *rows = table(result)
    names = list(dict.fromkeys(score.case for score in result.scores))
    return render(
        "degraded.html",
        note=NOTE,
        head=head,
        rows=[_marked(row) for row in rows],
        shown=[_pictures(result, out, name) for name in names[:: max(1, len(names) // max(1, images))][:images]],
        protocol_text=json.dumps(protocol(result), indent=1),
        left_out=result.failures,
    )


def _marked(row: list[str]) -> list[tuple[str, str]]:
    """The cells of a row, each with its mark: 'best' for the highest PSNR."""
    values = [float(cell.split(" / ")[0]) if " / " in cell else -math.inf for cell in row[2:]]
    best = max(values, default=-math.inf)
    marks = ["", "", *("best" if value == best > -math.inf else "" for value in values)]
    return list(zip(row, marks, strict=True))


def _pictures(result: DegradedBench, out: Path, name: str) -> Pictures:
    case = next(c for c in result.recipe.cases if c.name == name)
    said = ["; ".join(f"{step.op} {step.strength:g}" for step in plan) or "clean" for plan in case.plans]
    files = [(f"source {k + 1}: {said[k]}", out / "cases" / f"{name}-{k + 1}.png") for k in (0, 1)]
    files.append(("goal", out / "cases" / f"{name}-goal.png"))
    scores = {s.method: s for s in result.scores if s.case == name}
    files += [
        (f"{method}: {s.psnr:.1f} dB", out / "fused" / method.replace(", ", "-") / f"{name}.png")
        for method, s in scores.items()
    ]
    return pictures(name, files)
