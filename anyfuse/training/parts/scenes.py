"""Degraded scenes, and the statistics of them that the estimator of faults is trained on.

rows        pairs of infrared and visible, of exposures (real and made), of focus planes (made), single visible images,
            some of them drawn pages (data/pages.py), and for the task alone medical ones; a share `clean` of them as
            they are, the others by one to three operations drawn from the task's menu
files       every tenth of a folder is held out; every tenth after the fifth calibrates: it sets probabilities and
            thresholds, and trains nothing
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...control import TASKS
from ...data.pages import page
from ...data.synthetic import exposure_stack, focus_scene
from ...degradation.estimator import FAULTS, ROLES, menu_of, windows
from ...degradation.plan import Kind, apply, derive, draw, draw_varied, faults_done, generator
from ...degradation.statistics import pair_statistics, statistics
from ...errors import FusionError
from ...image.colour import to_luma
from ...image.random import integer, uniform
from ...io.folders import list_images, pair_by_stem
from ...io.read import read_image


@dataclass(frozen=True)
class EstimatePlan:
    """Training of the degradation estimator."""

    pairs: int = 6000  # scenes to train on
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
PAGES = 0.2
"""Share of single images and of focus planes that are drawn pages."""
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
            if kind in ("single", "mff") and uniform(0, 1, gen) < PAGES:
                x = page(integer(plan.least, plan.most, gen), integer(plan.least, plan.most, gen), gen)
            else:
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
