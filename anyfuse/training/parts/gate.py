"""Training of the gate that keeps restorations from doing harm (degradation/gate.py).

cases       pairs of infrared and visible, of exposures and of focus planes, degraded; a share is clean. Each is
            restored with the true instruction, with a wrong one, and with the estimator's
goal        the default model's fusion of the clean pair. The squared error of a mixture is quadratic in both shares, so
            that a case is six numbers beside what the gate reads
loss        mean gain over the default model's fusion of the degraded pair in dB, harm counted `harm` times
files       every tenth of a folder is held out, as for the estimator
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Generator, Tensor

from ...control import DEGRADATIONS, STRENGTHS, Control
from ...degradation.estimator import ABSENT, FAULTS, ROLES, TASTE, built_in, estimate
from ...degradation.estimator import SHA256 as ESTIMATOR
from ...degradation.gate import Gate, GateConfig, differences, gate_numbers, luma_view, parts, rows_of, said
from ...degradation.plan import (
    VARIED,
    DegradationPlan,
    apply,
    derive,
    draw,
    draw_varied,
    faults_done,
    generator,
    kinds_of,
)
from ...degradation.statistics import statistics
from ...errors import FusionError
from ...held import plain_fusion
from ...image.random import integer, uniform
from ...models.registry import load_model
from ..card import hardware, write_card
from .scenes import EstimatePlan, Scenes

PAIR_ROLES = {"ivf": ("infrared", "visible"), "mef": ("exposure", "exposure"), "mff": ("focus", "focus")}
WAYS = ("right", "estimate", "wrong")
GATE_VERSION = 2
"""Of the cases: to be raised where making them changes."""


@dataclass(frozen=True)
class GatePlan:
    """Training of the gate."""

    pairs: int = 600  # pairs to train on, three cases each
    tests: int = 180  # held-out pairs
    clean: float = 0.12  # share of pairs that stay as they are
    model: str = "mmaif-tiny"  # that restores
    side: int = 176  # of the crops, in pixels, a multiple of 16
    steps: int = 3000  # updates of the weights
    batch: int = 192  # cases per step
    lr: float = 2e-3  # falls linearly to zero
    weight_decay: float = 0.2  # of all weights
    jitter: float = 0.4  # noise on the numbers, as a share of their deviation
    harm: float = 8.0  # how much a loss against the default model counts, gains count 1
    seed: int = 0  # of pairs, weights and batches


GATES: dict[str, GatePlan] = {"gate": GatePlan()}


@dataclass
class Cases:
    """What is known of C cases."""

    rows: Tensor  # (C, 4, F), statistics of the sources and of both fusions
    asked: Tensor  # (C, degradations), strengths of the instruction
    gaps: Tensor  # (C, 7), how far the fusions differ
    roles: Tensor  # (C, 2), places in ROLES
    error: Tensor  # (C,), squared error of the default model's fusion
    gain: Tensor  # (C, 2), what a little of each part takes off it
    cost: Tensor  # (C, 3), squares of both parts, and their product
    way: Tensor  # (C,), place in WAYS
    kind: Tensor  # (C,), how many degradations there are


def told(plans: list[dict[str, float]]) -> Control:
    """What a user who sees these degradations of a first and a second source says."""
    degradations: dict[str, dict[str, float]] = {}
    for place, faults in zip(("first", "second"), plans, strict=True):
        for name, strength in faults.items():
            level = min(STRENGTHS, key=lambda v: abs(v - strength))
            degradations.setdefault("noise" if name == "sensor_noise" else name, {})[place] = level
    return Control(degradations=degradations)


def untrue(task: str, found: list[dict[str, float]], gen: Generator) -> Control:
    """As many degradations as there are, one at least, of other kinds."""
    present = {name for faults in found for name in faults}
    wrong: list[dict[str, float]] = []
    for kind, faults in zip(kinds_of(task, 2), found, strict=True):
        menu = [op for op in VARIED[task][kind] if op not in present]
        names = [menu[integer(0, len(menu) - 1, gen)] for _ in range(max(len(faults), integer(0, 1, gen)))]
        steps = [(op, uniform(0.2, 1, gen)) for op in names]
        wrong.append(faults_done([{"op": op, "strength": s} for op, s in steps if op != "low_light"]))
    return told(wrong)


@torch.inference_mode()
def make_cases(scenes: Scenes, part: str, places: range, plan: GatePlan) -> dict[str, Tensor]:
    """Cases of scenes with these numbers, by column."""
    model = load_model(plan.model)
    crops = EstimatePlan(least=plan.side, most=plan.side)
    columns: dict[str, list[Tensor]] = {name: [] for name in Cases.__dataclass_fields__}
    for index in places:
        gen = generator(plan.seed, "gate", part, index)
        task = ("ivf", "mff", "mef")[index % 3]
        x = scenes.scene(part, task, crops, gen)[:, None]
        if len(x) != 2 or min(x.shape[-2:]) < 64:
            continue
        x = x[..., : x.shape[-2] // 16 * 16, : x.shape[-1] // 16 * 16]
        plans: tuple[DegradationPlan, ...] = ((), ())
        if uniform(0, 1, gen) >= plan.clean:
            most = 1 if uniform(0, 1, gen) < 0.65 else 3
            plans = draw_varied(task, 2, gen, most=most) if uniform(0, 1, gen) < 0.7 else draw(task, 2, gen)
        seed = derive(plan.seed, "gate", part, index)
        made = [apply(s, p, seed, source=k) for k, (s, p) in enumerate(zip(x, plans, strict=True))]
        bad = (torch.stack([image for image, _ in made]) * 255).round() / 255
        found = [faults_done(done) for _, done in made]
        goal, plain = plain_fusion(x[None]), plain_fusion(bad[None])
        roles = [ROLES.index(role) for role in PAIR_ROLES[task]]
        shared = rows_of(bad[0], bad[1], plain[0])
        guess = estimate(list(bad), None if uniform(0, 1, gen) < 0.5 else task, order=[0, 1]).control()
        for way, control in zip(WAYS, (told(found), guess, untrue(task, found, gen)), strict=True):
            repaired = model(bad[None], model.condition(control, [0, 1]))
            repaired = (repaired * 255).round() / 255
            coarse, fine = parts(plain, repaired)
            miss = goal - plain
            columns["rows"].append(torch.cat([shared, statistics(luma_view(repaired[0]))[None]]))
            columns["asked"].append(said(control.degradations))
            columns["gaps"].append(differences(plain[0], repaired[0]))
            columns["roles"].append(torch.tensor(roles))
            columns["error"].append(miss.square().mean())
            columns["gain"].append(torch.stack([(miss * coarse).mean(), (miss * fine).mean()]))
            columns["cost"].append(torch.stack([coarse.square().mean(), fine.square().mean(), (coarse * fine).mean()]))
            columns["way"].append(torch.tensor(WAYS.index(way)))
            columns["kind"].append(torch.tensor(len({name for faults in found for name in faults})))
    return {name: torch.stack(values) for name, values in columns.items()}


FLOOR = 1e-5
"""Added to squared errors, so that pairs that are nearly exact do not decide all: 50 dB."""


def gained(cases: Cases, shares: Tensor) -> Tensor:
    """Decibels over the default model's fusion, of shares (C, 2): (C,)"""
    a, b = shares.unbind(1)
    change = -2 * (a * cases.gain[:, 0] + b * cases.gain[:, 1])
    change = change + a.square() * cases.cost[:, 0] + b.square() * cases.cost[:, 1] + 2 * a * b * cases.cost[:, 2]
    after = (cases.error + change).clamp_min(0)
    return 10 * ((cases.error + FLOOR) / (after + FLOOR)).log10()


def numbers_of(cases: Cases) -> Tensor:
    """What the gate reads of each case (C, F), with the estimator of the package."""
    estimator = built_in()
    each = zip(cases.rows, cases.asked, cases.gaps, cases.roles.tolist(), strict=True)
    return torch.stack([gate_numbers(r, a, g, (p[0], p[1]), estimator) for r, a, g, p in each])


def reached(cases: Cases, numbers: Tensor) -> Tensor:
    """Whether a case comes to the gate in use (C,): something is asked for, and not all that a person names is surely
    absent (`Estimate.absent`).
    """
    first = len(DEGRADATIONS) + 1
    chances = numbers[:, first : first + len(FAULTS)]
    named = cases.asked[:, [DEGRADATIONS.index(name) for name in FAULTS]] > 0
    seen = (named & (chances >= ABSENT)).any(1) | (cases.way == WAYS.index("estimate"))
    taste = cases.asked[:, [DEGRADATIONS.index(name) for name in TASTE]].amax(1) > 0
    return (cases.asked.sum(1) > 0) & (seen | taste)


def fit_gate(cases: Cases, plan: GatePlan, log: Callable[[str], None]) -> Gate:
    """A gate trained on the cases that come to it."""
    torch.manual_seed(plan.seed)
    gen = torch.Generator().manual_seed(plan.seed)
    numbers = numbers_of(cases)
    kept = reached(cases, numbers)
    cases, numbers = Cases(**{name: column[kept] for name, column in vars(cases).items()}), numbers[kept]
    gate = Gate(GateConfig(numbers.shape[1])).train()
    gate.mean.copy_(numbers.mean(0))
    gate.spread.copy_(numbers.std(0).clamp_min(0.02))
    optimiser = torch.optim.AdamW(gate.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    columns = vars(cases)
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.lr * (1 - step / plan.steps)
        chosen = torch.randint(len(numbers), (plan.batch,), generator=gen)
        x = numbers[chosen] + plan.jitter * gate.spread * torch.randn((plan.batch, numbers.shape[1]), generator=gen)
        gains = gained(Cases(**{name: column[chosen] for name, column in columns.items()}), gate(x))
        loss = -torch.where(gains < 0, plan.harm * gains, gains).clamp_max(8).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if (step + 1) % 500 == 0:
            log(f"step {step + 1}/{plan.steps}  loss {float(loss.detach()):.3f}")
    return gate.eval().requires_grad_(False)


def table(gate: Gate, cases: Cases) -> list[str]:
    """Gains in dB by what was told: without the gate, with it, and with the best shares."""
    with torch.no_grad():
        read = numbers_of(cases)
        got = gained(cases, gate(read)) * reached(cases, read)
    grid = torch.linspace(0, 1, 11)
    best = torch.stack([gained(cases, torch.tensor([[a, b]]).expand(len(got), 2)) for a in grid for b in grid]).amax(0)
    whole = gained(cases, torch.ones(len(got), 2))
    lines = ["| told | cases | restored | with the gate | best shares | worst of ten with the gate |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for k, way in enumerate(WAYS):
        chosen = cases.way == k
        numbers = [float(x[chosen].mean()) for x in (whole, got, best)] + [float(got[chosen].quantile(0.1))]
        lines.append(f"| {way} | {int(chosen.sum())} | " + " | ".join(f"{x:+.2f}" for x in numbers) + " |")
    return lines


CHUNK = 30


def train_gate(
    plan: GatePlan,
    data_root: str | Path,
    out: str | Path,
    *,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains the gate and writes model.safetensors, config.json and README.md (card).

    Args:
        plan: every choice of the run.
        data_root: folder with those of estimator.FOLDERS.
        out: folder to write; cases.pt in it has the cases, and a run that was stopped goes on after them.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: a plan that cannot be run, or missing images.
    """
    if plan.pairs < 1 or plan.tests < 1 or plan.steps < 1 or plan.side < 64:
        raise FusionError(f"{plan.pairs} pairs, {plan.steps} steps, crops of {plan.side}: give 1 or more, crops of 64")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(Path(data_root))
    found = {part: _cases(scenes, part, count, plan, out / "cases.pt", log) for part, count in _counts(plan).items()}
    start = time.process_time()
    gate = fit_gate(found["train"], plan, log)
    gate.save_pretrained(out)
    lines = [
        f"- {plan.pairs} pairs of {scenes.files} files, restored by {plan.model}; seed {plan.seed}; "
        f"{(time.process_time() - start) / 60:.0f} minutes of CPU time after the cases were made",
        hardware(torch.device("cpu")),
        "",
        "Mean gain over the default model on the degraded pair, in dB, on held-out files:",
        "",
        *table(gate, found["test"]),
    ]
    intro = "Says how much of a restoration is taken; trained with `anyfuse train gate`; licence Apache-2.0."
    write_card(out, "Gate of restorations", intro, lines, plan)
    log((out / "README.md").read_text())
    log(f"wrote {out / 'model.safetensors'}, sha256 {sha256((out / 'model.safetensors').read_bytes()).hexdigest()}")
    return out


def _counts(plan: GatePlan) -> dict[str, int]:
    return {"test": plan.tests, "train": plan.pairs}


def _cases(scenes: Scenes, part: str, count: int, plan: GatePlan, path: Path, log: Callable[[str], None]) -> Cases:
    """Cases of a part; those that an earlier run left in `path` are read."""
    made_by = [plan.model, plan.side, plan.clean, plan.seed, GATE_VERSION, ESTIMATOR]
    key = sha256(json.dumps(made_by).encode()).hexdigest()
    saved = torch.load(path, weights_only=True) if path.exists() else {}
    saved = saved if saved.get("key") == key else {"key": key}
    columns: list[dict[str, Tensor]] = []
    for first in range(0, count, CHUNK):
        places = range(first, min(first + CHUNK, count))
        name = f"{part} {places.start} to {places.stop}"
        if name not in saved:
            saved[name] = make_cases(scenes, part, places, plan)
            torch.save(saved, path.with_suffix(".tmp"))
            os.replace(path.with_suffix(".tmp"), path)
            log(f"{part}: {places.stop}/{count} pairs")
        columns.append(saved[name])
    return Cases(**{name: torch.cat([column[name] for column in columns]) for name in Cases.__dataclass_fields__})


__all__ = ["GATES", "Cases", "GatePlan", "fit_gate", "train_gate"]
