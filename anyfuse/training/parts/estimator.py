"""Training of the estimator of faults: images are degraded, their statistics are taken once, a small network learns
them.

rows        pairs of infrared and visible, of exposures (real and made), of focus planes (made), single visible images,
            and for the task alone medical ones; a share `clean` of them as they are, the others by one to three
            operations drawn from the task's menu
files       every tenth of a folder is held out; every tenth after the fifth calibrates: it sets probabilities and
            thresholds, and trains nothing
thresholds  the smallest, one half at least, at which at most `alarms` of the clean calibration images raise an alarm
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...control import TASKS
from ...data.synthetic import exposure_stack, focus_scene
from ...degradation.estimator import FAULTS, ROLES, Estimator, EstimatorConfig, menu_of, windows
from ...degradation.plan import Kind, apply, derive, draw, draw_varied, faults_done, generator
from ...degradation.statistics import pair_statistics, statistics
from ...errors import FusionError
from ...image.colour import to_luma
from ...image.random import integer, uniform
from ...io.folders import list_images, pair_by_stem
from ...io.read import read_image
from ...models.base import parameter_counts
from ..card import hardware, write_card
from ..loop import Loop, Stateful
from ..objectives import set_rate


@dataclass(frozen=True)
class EstimatePlan:
    """Training of the degradation estimator."""

    pairs: int = 1200  # scenes to train on
    tuning: int = 600  # scenes to calibrate on; as many clean ones come on top
    tests: int = 200  # held-out scenes; as many clean ones come on top
    clean: float = 0.25  # share of scenes that stay as they are
    varied: float = 0.7  # share of the degraded scenes with degradations as they occur, not the plain operations
    least: int = 160  # shortest side of the crops, in pixels
    most: int = 300  # longest side
    steps: int = 5000  # updates of the weights
    batch: int = 128  # rows, and as many pairs, per step
    lr: float = 2e-3  # after 100 steps; falls linearly to lr/50
    weight_decay: float = 0.02  # of all weights
    jitter: float = 0.1  # noise on the statistics, as a share of their deviation
    alarms: float = 0.03  # largest share of clean images with an alarm
    seed: int = 0  # of scenes, weights and batches


ESTIMATES: dict[str, EstimatePlan] = {"estimate": EstimatePlan()}
HOLDOUT = 10
FOLDERS: dict[str, tuple[str, ...]] = {
    "ivf": ("ivif/ir", "ivif/vis"),
    "night": ("ivif-llvip/ir", "ivif-llvip/vis"),
    "dark": ("ivif-misc/ir", "ivif-misc/vis"),
    "mef": ("mef/under", "mef/over"),
    "natural": ("natural",),
    "street": ("camvid/images",),
    "ct": ("mif/ct-mri/ct", "mif/ct-mri/mri"),
    "pet": ("mif/pet-mri/pet", "mif/pet-mri/mri"),
    "spect": ("mif/spect-mri/spect", "mif/spect-mri/mri"),
}
SEQUENCES = ("mef-sice", "mef-hdrps", "mef-empa", "mef-merianos")
"""Folders of exposure sequences, a folder a scene, files numbered from dark to bright; the outer two are a pair."""
NIGHTS = ("night", "dark")
KINDS = ("ivf", "mff", "mef", "single", "ivf", "single", "mff", "mef", "ivf", "single", "mff", "mif")
"""What comes in turn; 'single' is one visible image."""


@dataclass
class Rows:
    """Statistics and answers of R images, Q pairs of them among these."""

    x: Tensor  # (R, F), statistics of the images
    role: Tensor  # (R,), place in ROLES; -1: medical, which has no faults
    present: Tensor  # (R, faults), 1 where an image has a fault, else 0
    strength: Tensor  # (R, faults), 0 to 1
    clean: Tensor  # (R,) bool, whether the scene is not degraded
    first: Tensor  # (Q,), row of each pair's first image by role
    second: Tensor  # (Q,), row of its second image
    pair: Tensor  # (Q, P), statistics of the pairs
    task: Tensor  # (Q,), place in TASKS

    def tensors(self) -> dict[str, Tensor]:
        """All columns by name."""
        return dict(self.__dict__)


class Scenes:
    """Luma of all files of FOLDERS (1, H, W) uint8 in groups, in memory, apart in files for training, tuning and
    testing.
    """

    def __init__(self, root: Path) -> None:
        self.groups: dict[str, dict[str, list[list[np.ndarray]]]] = {"train": {}, "tune": {}, "test": {}}
        digest, self.files = sha256(), 0
        for name, folders in FOLDERS.items():
            if not all((root / folder).is_dir() for folder in folders):
                continue
            if len(folders) == 1:
                files = [(path,) for path in list_images(root / folders[0])]
            else:
                files = list(pair_by_stem([root / folder for folder in folders])[0].values())  # type: ignore[arg-type]
            self._add(name, files, root, digest)
        for folder in SEQUENCES:
            scenes = sorted(path for path in (root / folder).glob("*") if path.is_dir())
            sorted_files = [sorted(path for path in list_images(scene) if path.stem.isdigit()) for scene in scenes]
            self._add("mef", [(files[0], files[-1]) for files in sorted_files if len(files) > 1], root, digest)
        self.manifest = digest.hexdigest()
        lacking = [name for name in ("ivf", "mef", "natural") if name not in self.groups["test"]]
        if lacking:
            raise FusionError(f"{root}: lacks ten files or more in {', '.join(FOLDERS[lacking[0]])}; see --data")

    def _add(self, name: str, files: Sequence[tuple[Path, ...]], root: Path, digest: Any) -> None:
        """Reads groups of files into the three parts; `digest` gets their names and hashes."""
        for index, paths in enumerate(files):
            for path in paths:
                digest.update(f"{path.relative_to(root)} {sha256(path.read_bytes()).hexdigest()}\n".encode())
            self.files += len(paths)
            part = {HOLDOUT - 1: "test", HOLDOUT // 2 - 1: "tune"}.get(index % HOLDOUT, "train")
            images = [(to_luma(read_image(p).read()) * 255).round().to(torch.uint8).numpy() for p in paths]
            self.groups[part].setdefault(name, []).append(images)

    def crop(self, part: str, name: str, plan: EstimatePlan, gen: Generator) -> Tensor:
        """(N, h, w) in [0, 1]: a window of a random group, at times reduced, at times mirrored."""
        groups = self.groups[part][name]
        images = groups[integer(0, len(groups) - 1, gen)]
        h, w = images[0].shape[1:]
        scale = uniform(1, 2.2, gen) if uniform(0, 1, gen) < 0.4 else 1.0
        scale = max(1.0, min(scale, h / plan.least, w / plan.least))
        tall = min(h, int(integer(plan.least, plan.most, gen) * scale))
        wide = min(w, int(integer(plan.least, plan.most, gen) * scale))
        top, left = integer(0, h - tall, gen), integer(0, w - wide, gen)
        x = torch.stack([torch.from_numpy(i[0, top : top + tall, left : left + wide].copy()) for i in images]).float()
        x = x / 255
        if scale > 1:
            size = (round(tall / scale), round(wide / scale))
            x = F.interpolate(x[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
        return x.flip(-1) if uniform(0, 1, gen) < 0.5 else x

    def _street(self, part: str, gen: Generator) -> str:
        """A group of infrared and visible pairs: those of nights three times of ten, where there are any."""
        nights = [name for name in NIGHTS if name in self.groups[part]]
        if not nights or uniform(0, 1, gen) >= 0.3:
            return "ivf"
        return nights[integer(0, len(nights) - 1, gen) if uniform(0, 1, gen) < 0.3 else 0]

    def scene(self, part: str, kind: str, plan: EstimatePlan, gen: Generator) -> Tensor:
        """Clean sources (N, h, w) by role, 8 bits."""
        have = self.groups[part]
        scenic = [name for name in ("natural", "street") if name in have]
        if kind == "mif":
            medical = [name for name in ("ct", "pet", "spect") if name in have]
            kind = "ivf" if not medical else medical[integer(0, len(medical) - 1, gen)]
            x = self.crop(part, kind, plan, gen)
        elif kind == "ivf":
            x = self.crop(part, self._street(part, gen), plan, gen)
        elif kind == "mef" and uniform(0, 1, gen) < 0.6:
            x = self.crop(part, "mef", plan, gen)
        else:
            if kind == "single" and uniform(0, 1, gen) < 0.3:
                return self.crop(part, self._street(part, gen), plan, gen)[1:]
            x = self.crop(part, scenic[integer(0, len(scenic) - 1, gen)], plan, gen)
            if kind == "mef":
                x = exposure_stack(x[0], 2, gen)[0]
            elif kind == "mff":
                x = focus_scene(x[0], 2, gen)[0]
        if kind in ("mef", "mff"):
            x = x[x.mean((1, 2)).sort().indices]
        return (x * 255).round() / 255


def make_rows(
    scenes: Scenes, part: str, places: range, plan: EstimatePlan, clean: float, log: Callable[[str], None]
) -> Rows:
    """Statistics of scenes.

    Args:
        scenes: images of all parts.
        part: train, tune or test.
        places: numbers of the scenes.
        plan: sizes of crops, and seed.
        clean: share of scenes that is not degraded, 0 to 1.
        log: gets lines of progress.
    """
    columns: dict[str, list[Tensor]] = {name: [] for name in Rows.__dataclass_fields__}
    start = time.process_time()
    for index in places:
        gen = generator(plan.seed, part, int(clean * 100), index)
        kind = KINDS[index % len(KINDS)]
        task = "mif" if kind == "mif" else kind
        x = scenes.scene(part, kind, plan, gen)
        pure = kind == "mif" or uniform(0, 1, gen) < clean
        found: list[dict[str, float]] = [{} for _ in x]
        if kind == "single":
            task = "ivf" if uniform(0, 1, gen) < 0.6 else "mff"
        if not pure:
            kinds: tuple[Kind, ...] | None = ("visible",) if kind == "single" else None
            varied = uniform(0, 1, gen) < plan.varied
            plans = (draw_varied if varied else draw)(task, len(x), gen, kinds)
            seed = derive(plan.seed, "degrade", part, index)
            made = [apply(s[None], p, seed, source=k) for k, (s, p) in enumerate(zip(x, plans, strict=True))]
            found = [faults_done(done) for _, done in made]
            x = (torch.cat([image for image, _ in made]) * 255).round() / 255
        roles = {"ivf": (0, 1), "mef": (2, 2), "mff": (3, 3), "single": (1,), "mif": (1, 1)}[kind]
        rows = [statistics(image) for image in x]
        at = len(columns["x"])
        if len(x) == 2:
            a, b = (1, 0) if uniform(0, 1, gen) < 0.3 else (0, 1)  # brightness may order them otherwise
            columns["first"].append(torch.tensor(at + a))
            columns["second"].append(torch.tensor(at + b))
            columns["pair"].append(pair_statistics(x[a], x[b]))
            columns["task"].append(torch.tensor(TASKS.index(kind)))
        for k, row in enumerate(rows):
            present, strength = torch.zeros(len(FAULTS)), torch.zeros(len(FAULTS))
            for name, value in found[k].items():
                c = FAULTS.index("noise" if name == "sensor_noise" else name)
                present[c], strength[c] = 1, value
            columns["x"].append(row)
            columns["role"].append(torch.tensor(-1 if kind == "mif" else roles[k]))
            columns["present"].append(present)
            columns["strength"].append(strength)
            columns["clean"].append(torch.tensor(pure))
    log(f"{part}, {clean:.0%} clean: scenes to {places.stop}  {time.process_time() - start:.0f} s of CPU")
    return Rows(**{name: torch.stack(values) for name, values in columns.items()})


def whole_rows(scenes: Scenes, part: str, log: Callable[[str], None]) -> Rows:
    """Statistics of the files of a part, clean and looked at as in use: pairs, and natural and street images as visible
    ones or focus planes.
    """
    rows: dict[str, list[Tensor]] = {name: [] for name in Rows.__dataclass_fields__}
    nothing, start = torch.zeros(len(FAULTS)), time.process_time()
    for name, groups in scenes.groups[part].items():
        if name in ("ct", "pet", "spect"):
            continue
        for index, images in enumerate(groups[:: 3 if part == "train" else 1]):
            x = [torch.from_numpy(image[0]).float() / 255 for image in images]
            if name == "mef":
                x.sort(key=lambda image: float(image.mean()))
            views = [[image[w] for w in windows(*image.shape)] for image in x]
            if len(x) == 2:
                rows["first"].append(torch.tensor(len(rows["x"])))
                rows["second"].append(torch.tensor(len(rows["x"]) + 1))
                rows["pair"].append(torch.stack([pair_statistics(a, b) for a, b in zip(*views, strict=True)]).mean(0))
                rows["task"].append(torch.tensor(TASKS.index("ivf" if name in NIGHTS else name)))
            street = dict.fromkeys(("ivf", *NIGHTS), (0, 1))
            roles = (street | {"mef": (2, 2)}).get(name, (3,) if index % 3 == 2 else (1,))
            for one, role in zip(views, roles, strict=True):
                rows["x"].append(torch.stack([statistics(view) for view in one]).mean(0))
                rows["role"].append(torch.tensor(role))
                rows["present"].append(nothing)
                rows["strength"].append(nothing)
                rows["clean"].append(torch.tensor(True))
    log(f"{part}: {len(rows['x'])} whole images  {time.process_time() - start:.0f} s of CPU")
    return Rows(**{name: torch.stack(values) for name, values in rows.items()})


def joined(a: Rows, b: Rows) -> Rows:
    """The rows of both."""
    both = {name: torch.cat([value, b.tensors()[name]]) for name, value in a.tensors().items()}
    count = len(a.x)
    return replace(
        Rows(**both), first=torch.cat([a.first, b.first + count]), second=torch.cat([a.second, b.second + count])
    )


def menus() -> Tensor:
    """(roles, faults): 1 where a role may have a fault."""
    return torch.tensor([[float(name in menu_of(role)) for name in FAULTS] for role in ROLES])


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


FEATURES_VERSION = 3
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
