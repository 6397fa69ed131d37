"""Training of the estimator of faults: images are degraded, their statistics are taken once (scenes.py), a small
network learns them.

thresholds  the smallest, one half at least, at which at most `alarms` of the clean calibration images raise an alarm
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...degradation.estimator import FAULTS, ROLES, Estimator, EstimatorConfig
from ...errors import FusionError
from ...models.base import parameter_counts
from ..card import hardware, write_card
from ..loop import Loop, Stateful
from ..objectives import set_rate
from .scenes import EstimatePlan, Rows, Scenes, joined, make_rows, menus, whole_rows

ESTIMATES: dict[str, EstimatePlan] = {"estimate": EstimatePlan()}


def fit(model: Estimator, rows: Rows, plan: EstimatePlan, out: Path, resume: bool, log: Callable[[str], None]) -> None:
    """Trains both networks, in place.

    Args:
        model: gets the scale of the statistics, and is trained.
        rows: to train on.
        plan: steps, batch, rate and seed.
        out: folder with last.pt and log.jsonl.
        resume: resumes from last.pt of the same plan and rows.
        log: gets lines of progress.

    Raises:
        FusionError: a last.pt of another plan or other rows.
    """
    spread = torch.cat([rows.x.std(0), rows.pair.std(0)])
    model.mean.copy_(torch.cat([rows.x.mean(0), rows.pair.mean(0)]))
    model.spread.copy_(spread.clamp_min(0.01))
    gen = torch.Generator().manual_seed(plan.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    digest = sha256(rows.x.numpy().tobytes()).hexdigest()
    key = {"recipe": json.dumps([asdict(plan), digest], sort_keys=True)}
    parts: dict[str, Stateful] = {"model": model, "optimiser": optimiser}
    loop = Loop(out, key, parts, None, gen, steps=plan.steps, resume=resume, save_every=1000, log_every=200, log=log)
    for step in loop.steps():
        set_rate(optimiser, plan.lr * min(1.0, (step + 1) / 100) * max(0.02, 1 - step / plan.steps))
        loss = _loss(model, rows, plan, gen)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loop.record(step, {"loss": float(loss.detach())})


def _loss(model: Estimator, rows: Rows, plan: EstimatePlan, gen: torch.Generator) -> Tensor:
    """Of a batch of rows: which faults there are, how strong they are, and the task of as many pairs."""
    used = (rows.role >= 0).nonzero()[:, 0]
    part = used[torch.randint(len(used), (plan.batch,), generator=gen)]
    x = rows.x[part]
    x = x + plan.jitter * model.spread[: x.shape[1]] * torch.randn(x.shape, generator=gen)
    logits, strengths = model(x, rows.role[part])
    present, own = rows.present[part], menus()[rows.role[part]]
    loss = (F.binary_cross_entropy_with_logits(logits, present, reduction="none") * own).sum(1).mean()
    loss = loss + 4 * ((strengths - rows.strength[part]).square() * present).sum(1).mean()
    pairs = torch.randint(len(rows.task), (plan.batch,), generator=gen)
    guess = model.tasks(rows.x[rows.first[pairs]], rows.x[rows.second[pairs]], rows.pair[pairs])
    return loss + F.cross_entropy(guess, rows.task[pairs])


def calibrate(model: Estimator, rows: Rows, clean: Rows, alarms: float) -> None:
    """Probabilities by a line through the logits of each fault, pulled to the identity; thresholds by the clean rows,
    in place.
    """
    with torch.no_grad():
        has_role = rows.role >= 0
        role, present = rows.role[has_role], rows.present[has_role]
        logits, _ = model(rows.x[has_role], role)
        pure, _ = model(clean.x[clean.role >= 0], clean.role[clean.role >= 0])
    mask = menus()
    line = torch.tensor([[1.0], [0.0]]).repeat(1, len(FAULTS)).requires_grad_()
    optimiser = torch.optim.LBFGS([line], max_iter=100)

    def closure() -> Tensor:
        optimiser.zero_grad()
        error = F.binary_cross_entropy_with_logits(line[0] * logits + line[1], present, reduction="none") * mask[role]
        loss = error.sum() + 2 * (line[0] - 1).square().sum() + 0.5 * line[1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    model.slope.copy_(line[0].detach().clamp_min(0.2))
    model.offset.copy_(line[1].detach())
    chances = model.probabilities(pure)
    of = clean.role[clean.role >= 0]
    for k in range(len(ROLES)):
        own = chances[of == k] * mask[k]
        for share in torch.linspace(alarms, 0, 13).tolist():  # of each fault, until all together are rare enough
            limits = own.quantile(1 - share, 0).add(1e-3).clamp(0.5, 0.99)
            if float((own >= limits).any(1).float().mean()) <= alarms:
                break
        model.thresholds[k].copy_(limits)


@torch.no_grad()
def measure(model: Estimator, rows: Rows, clean: Rows) -> dict[str, object]:
    """Precision and recall of each fault over degraded scenes of the held-out files, strengths, alarms on clean images,
    and tasks.
    """
    has_role = rows.role >= 0
    role, present = rows.role[has_role], rows.present[has_role].bool()
    logits, strengths = model(rows.x[has_role], role)
    own = menus()[role].bool()
    assumed = (model.probabilities(logits) >= model.thresholds[role]) & own
    faults = {}
    for c, name in enumerate(FAULTS):
        hit = int((assumed[:, c] & present[:, c]).sum())
        strong = present[:, c] & (rows.strength[has_role][:, c] >= 0.5)
        faults[name] = {
            "precision": hit / max(1, int(assumed[:, c].sum())),
            "recall": hit / max(1, int(present[:, c].sum())),
            "strong": float(assumed[strong, c].float().mean()) if strong.any() else 0.0,
            "count": int(present[:, c].sum()),
            "off": float((strengths - rows.strength[has_role])[present[:, c], c].abs().mean())
            if present[:, c].any()
            else 0.0,
        }
    pure = clean.role >= 0
    wrong, _ = model(clean.x[pure], clean.role[pure])
    alarm = (model.probabilities(wrong) >= model.thresholds[clean.role[pure]]) & menus()[clean.role[pure]].bool()
    alarms = {"all": (float(alarm.any(1).float().mean()), len(alarm))}
    for k, name in enumerate(ROLES):
        part = alarm[clean.role[pure] == k]
        alarms[name] = (float(part.any(1).float().mean()), len(part))
    both = [model.tasks(r.x[r.first], r.x[r.second], r.pair).argmax(1) == r.task for r in (rows, clean)]
    tasks = [float(right.float().mean()) for right in both]
    chances = model.probabilities(logits) * own
    return {"faults": faults, "alarms": alarms, "tasks": tasks, "single": _single(rows, has_role, chances, strengths)}


NEAR = dict.fromkeys(("blur", "motion_blur", "downsample"), "blur") | {"fixed_pattern": "stripes"}
"""Degradations that count as one kind beside the exact count: what looks soft, and what a detector's lines leave."""


def _single(rows: Rows, has_role: Tensor, chances: Tensor, strengths: Tensor) -> dict[str, float]:
    """Of images with one degradation alone: shares whose likeliest kind is right, exactly and with NEAR, and whose
    strength is right to a quarter.
    """
    present, true = rows.present[has_role].bool(), rows.strength[has_role]
    alone = present.sum(1) == 1
    kind, guess = present[alone].float().argmax(1), chances[alone].argmax(1)
    names = [[NEAR.get(FAULTS[k], FAULTS[k]) for k in part.tolist()] for part in (kind, guess)]
    place = torch.arange(len(kind))
    off = (strengths[alone][place, kind] - true[alone][place, kind]).abs()
    count = max(1, len(kind))
    return {
        "images": len(kind),
        "exact": float((kind == guess).float().sum()) / count,
        "near": sum(a == b for a, b in zip(*names, strict=True)) / count,
        "strength": float((off <= 0.25 * true[alone][place, kind].clamp_min(0.4)).float().sum()) / count,
        "off": float(off.sum()) / count,
    }


def train_estimate(
    plan: EstimatePlan,
    data_root: str | Path,
    out: str | Path,
    *,
    resume: bool = True,
    log: Callable[[str], None] = lambda s: print(s, flush=True),
) -> Path:
    """Trains the estimator and writes model.safetensors, config.json, README.md (card), log.jsonl, last.pt and rows.pt.

    The same plan and images give the same weights on one machine, also of a run that was stopped and resumed.

    Args:
        plan: every choice of the run.
        data_root: folder with those of FOLDERS.
        out: folder to write; rows.pt in it has the statistics for the next run with the same scenes.
        resume: resumes from last.pt in `out`.
        log: gets lines of progress.

    Returns:
        `out`.

    Raises:
        FusionError: a plan that cannot be run, missing images, or a last.pt of another plan.
    """
    if plan.pairs < 1 or plan.steps < 1 or not 32 <= plan.least <= plan.most:
        raise FusionError(
            f"{plan.pairs} scenes, {plan.steps} steps, crops of {plan.least} to {plan.most}: give 1 or more of each, "
            "crops of 32 or more"
        )
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(Path(data_root))
    parts, spent = _all_rows(scenes, plan, out / "rows.pt", log)
    start = time.process_time()
    torch.manual_seed(plan.seed)
    train = joined(parts["train"], parts["train whole"])
    model = Estimator(EstimatorConfig(train.x.shape[1], train.pair.shape[1])).train()
    fit(model, train, plan, out, resume, log)
    model.eval()
    calibrate(model, parts["tune"], joined(parts["tune clean"], parts["tune whole"]), plan.alarms)
    model.save_pretrained(out)
    scores = measure(model, parts["test"], joined(parts["test clean"], parts["test whole"]))
    _card(out, plan, scenes, scores, spent + time.process_time() - start, parameter_counts(model)[0])
    log((out / "README.md").read_text())
    log(f"wrote {out / 'model.safetensors'}, sha256 {sha256((out / 'model.safetensors').read_bytes()).hexdigest()}")
    return out


FEATURES_VERSION = 4
"""Of the rows: to be raised where making them changes."""
CHUNK = 200
"""Scenes that are written at once; a run that was stopped, or one of more scenes, goes on after them."""


def _all_rows(
    scenes: Scenes, plan: EstimatePlan, path: Path, log: Callable[[str], None]
) -> tuple[dict[str, Rows], float]:
    """Rows by part, and the seconds of CPU that they took; those that an earlier run with the same kind of scenes and
    images left in `path` are read.
    """
    made_of = [getattr(plan, name) for name in ("clean", "varied", "least", "most", "seed")]
    key = sha256(json.dumps([made_of, scenes.manifest, FEATURES_VERSION]).encode()).hexdigest()
    saved = torch.load(path, weights_only=True) if path.exists() else {}
    if saved.get("key") != key:
        saved = {"key": key, "seconds": 0.0}

    def made(name: str, make: Callable[[], Rows]) -> Rows:
        if name not in saved:
            start = time.process_time()
            saved[name] = make().tensors()
            saved["seconds"] += time.process_time() - start
            torch.save(saved, path.with_suffix(".tmp"))
            os.replace(path.with_suffix(".tmp"), path)
        return Rows(**saved[name])

    rows: dict[str, Rows] = {}
    for part, count, shares in (
        ("tune", plan.tuning, {"": 0.0, " clean": 1.0}),
        ("test", plan.tests, {"": 0.0, " clean": 1.0}),
        ("train", plan.pairs, {"": plan.clean}),
    ):
        rows[f"{part} whole"] = made(f"{part} whole", partial(whole_rows, scenes, part, log))
        for name, clean in shares.items():
            for first in range(0, count, CHUNK):
                places = range(first, min(first + CHUNK, count))
                more = made(
                    f"{part}{name} {places.start} to {places.stop}",
                    partial(make_rows, scenes, part, places, plan, clean, log),
                )
                rows[part + name] = joined(rows[part + name], more) if first else more
    return rows, float(saved["seconds"])


def _card(out: Path, plan: EstimatePlan, scenes: Scenes, scores: dict, seconds: float, parameters: int) -> None:
    alarms = ", ".join(f"{name} {100 * share:.1f} % of {count}" for name, (share, count) in scores["alarms"].items())
    intro = (
        "Says which degradations an image has; trained with `anyfuse train estimate`; "
        f"{parameters:,} parameters; licence Apache-2.0."
    )
    alone = scores["single"]
    lines = [
        f"- data: {scenes.files} files, manifest sha256 `{scenes.manifest}`; every tenth file of a folder is held out, "
        "another tenth calibrates",
        f"- {plan.pairs} scenes degraded by `anyfuse/degradation/plan.py`, {100 * plan.varied:.0f} % as they occur, "
        f"{plan.steps} steps of {plan.batch}, seed {plan.seed}; {seconds / 60:.0f} minutes of CPU time",
        hardware(torch.device("cpu")),
        f"- clean images, crops and whole ones, with a false alarm: {alarms}",
        f"- task right: {100 * scores['tasks'][0]:.1f} % of degraded pairs, {100 * scores['tasks'][1]:.1f} % of clean "
        "ones",
        f"- of {alone['images']} images with one degradation alone, the likeliest kind is right for "
        f"{100 * alone['exact']:.1f} %, with what looks alike (blurs, lines) {100 * alone['near']:.1f} %; the strength "
        f"to a quarter for {100 * alone['strength']:.1f} %, off by {alone['off']:.2f}",
        "",
        f"On {plan.tests} held-out scenes with one to three operations each, at the shipped thresholds:",
        "",
        "| degradation | precision | recall | recall from strength 0.5 | error of strength | images with it |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| `{name}` | {100 * v['precision']:.0f} | {100 * v['recall']:.0f} | {100 * v['strong']:.0f} "
            f"| {v['off']:.2f} | {v['count']} |"
            for name, v in scores["faults"].items()
        ),
    ]
    write_card(out, "Degradation estimator", intro, lines, plan)
