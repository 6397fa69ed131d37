"""Blind estimation of degradations: a small network reads the statistics of images (statistics.py) and gives
probabilities and strengths.

    result = estimate([infrared, visible])
    result.task, result.images[1]["haze"].probability, result.control()

Without an instruction, models that restore are conditioned on this. Below a threshold, which is set so that clean
images are left alone, nothing is assumed. Origin: ours. Licence of code and weights: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..arrays import Tensor, nn, torch
from ..control import DEGRADATIONS, STRENGTHS, TASKS, Control
from ..errors import FusionError
from ..image.colour import to_luma
from ..image.stack import Stack, Window
from ..weights import WEIGHTS_NAME, check_sha256, load_state, package_folder, read_config, save_folder
from .plan import FAULT_OF, VARIED
from .statistics import pair_statistics, statistics

SHA256 = "30428a2bc114aea2e31cb0cf2b865249da6bcaf2fa362c352aa57b8307664b0b"
ROLES = ("infrared", "visible", "exposure", "focus")
FAULTS = tuple(name for name in DEGRADATIONS if name != "sensor_noise")
"""What can be found, by the names of instructions. No menu has sensor noise; it is found as noise, if at all."""
LARGEST = 480 * 448
"""Pixels of an image that is looked at as a whole; of a larger one, five windows of WINDOW, as they are."""
WINDOW = (384, 448)
ABSENT = 0.05
"""Probability below which a degradation that a person names is surely not there."""
TASTE = ("high_exposure",)
"""What is never taken as absent."""
KIN = (("stripes", "fixed_pattern"), ("rain", "snow"))
"""Degradations that look alike, so that people call one by the name of the other."""


def menu_of(role: str, task: str | None = None) -> tuple[str, ...]:
    """Faults that a source of a role may have; a visible image of no known task may have those of all tasks."""
    menus = {
        "infrared": VARIED["ivf"]["infrared"],
        "visible": VARIED["ivf"]["visible"],
        "exposure": VARIED["mef"]["visible"],
        "focus": VARIED["mff"]["visible"],
    }
    ops = menus[role] + (menus["focus"] if role == "visible" and task is None else ())
    names = {FAULT_OF.get(op, op) for op in ops}
    return tuple(name for name in FAULTS if name in names)


@dataclass(frozen=True)
class Fault:
    """An estimated degradation."""

    probability: float  # 0 to 1, that the image has it
    strength: float  # 0 to 1, as in degradation/plan.py, if the image has it
    threshold: float  # probability from which it is assumed

    @property
    def assumed(self) -> bool:
        """Whether the probability is at or above the threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True)
class Estimate:
    """The degradations of one image, or of several of one scene."""

    task: str | None  # ivf, mef, mff, mif; None: one image, or neither given nor clear
    certainty: float  # probability of the task; 1 where it was given
    roles: tuple[str, ...]  # of each image
    images: tuple[Mapping[str, Fault], ...]  # of each image: degradations that its role may have; mif has none

    def assumed(self) -> list[dict[str, Any]]:
        """The faults at or above their thresholds, surest first: image (place, from 0), fault, probability,
        strength.
        """
        surest = [
            {
                "image": place,
                "fault": name,
                "probability": round(fault.probability, 3),
                "strength": round(fault.strength, 2),
            }
            for place, faults in enumerate(self.images)
            for name, fault in faults.items()
            if fault.assumed
        ]
        return sorted(surest, key=lambda one: -float(one["probability"]))

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """For a report: what was assumed, of images with these names."""
        faults = [one | {"image": names[one["image"]]} for one in self.assumed()]
        return {"task": self.task, "certainty": round(self.certainty, 3), "faults": faults}

    def control(self) -> Control:
        """What to restore, as a Control for one or two images; strengths as users give them (0.25, 0.5 or 1).

        FusionError for more images.
        """
        if len(self.images) > 2:
            raise FusionError(f"an instruction speaks of two images at most, not of {len(self.images)}")
        degradations: dict[str, dict[str, float]] = {}
        for one in self.assumed():
            degradations.setdefault(one["fault"], {})[("first", "second")[one["image"]]] = _level(one["strength"])
        return Control(degradations=degradations)

    def kin(self, control: Control) -> dict[str, dict[str, float]]:
        """What else the images have of the kin of what a control names, where it names it."""
        more: dict[str, dict[str, float]] = {}
        for one in self.assumed():
            fault, image = one["fault"], one["image"]
            alike = {name for family in KIN if fault in family for name in family}
            here = {"all", ("first", "second")[image], self.roles[image]}
            if fault not in control.degradations and any(
                here & set(control.degradations.get(name, {})) for name in alike
            ):
                more.setdefault(fault, {})[("first", "second")[image]] = _level(one["strength"])
        return more

    def absent(self, control: Control) -> list[str]:
        """The degradations of a control that are surely in none of the images; in an image without structure nothing
        is sure.
        """
        surely = []
        for name in control.degradations:
            own = "noise" if name == "sensor_noise" else name
            chances = [faults[own].probability for faults in self.images if own in faults]
            if chances and name not in TASTE and 0 < max(chances) < ABSENT:
                surely.append(name)
        return surely


def _level(strength: float) -> float:
    """The strength of a user that is nearest."""
    return min(STRENGTHS, key=lambda v: abs(v - strength))


@dataclass(frozen=True)
class EstimatorConfig:
    """Shape of the estimator."""

    statistics: int  # numbers of an image
    pairs: int  # numbers of a pair
    hidden: tuple[int, int] = (192, 128)  # widths
    glance: int = 24  # numbers of each image that decide its task
    dropout: float = 0.2  # share of hidden numbers left out in training, 0 to 1


class Estimator(nn.Module):
    """Statistics of images and their roles -> faults; statistics of pairs -> task."""

    mean: Tensor
    spread: Tensor
    slope: Tensor
    offset: Tensor
    thresholds: Tensor

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__()
        self.config = c = config
        n = len(FAULTS)
        self.register_buffer("mean", torch.zeros(c.statistics + c.pairs))
        self.register_buffer("spread", torch.ones(c.statistics + c.pairs))
        self.register_buffer("slope", torch.ones(n))
        self.register_buffer("offset", torch.zeros(n))
        self.register_buffer("thresholds", torch.full((len(ROLES), n), 0.5))
        self.faults = nn.Sequential(
            nn.Linear(c.statistics + len(ROLES), c.hidden[0]),
            nn.SiLU(),
            nn.Dropout(c.dropout),
            nn.Linear(c.hidden[0], c.hidden[1]),
            nn.SiLU(),
            nn.Dropout(c.dropout),
            nn.Linear(c.hidden[1], 2 * n),
        )
        self.glance = nn.Linear(c.statistics, c.glance)
        self.task = nn.Sequential(
            nn.Linear(2 * c.glance + c.pairs, 48), nn.SiLU(), nn.Dropout(c.dropout), nn.Linear(48, len(TASKS))
        )

    def scaled(self, rows: Tensor, pairs: bool = False) -> Tensor:
        """Rows (B, F or P) of statistics with mean 0 and deviation 1 over the training images, outliers cut off."""
        part = slice(self.config.statistics, None) if pairs else slice(0, self.config.statistics)
        return ((rows - self.mean[part]) / self.spread[part]).clamp(-6, 6)

    def forward(self, rows: Tensor, roles: Tensor) -> tuple[Tensor, Tensor]:
        """rows (B, F), roles (B,) places in ROLES -> logits before calibration and strengths in [0, 1], both (B,
        faults)
        """
        own = nn.functional.one_hot(roles, len(ROLES)).to(rows)
        logits, strengths = self.faults(torch.cat([self.scaled(rows), own], 1)).chunk(2, 1)
        return logits, strengths.sigmoid()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (B, faults) -> calibrated probabilities."""
        return (self.slope * logits + self.offset).sigmoid()

    def tasks(self, first: Tensor, second: Tensor, pairs: Tensor) -> Tensor:
        """Statistics (B, F) of the first and second image by role and (B, P) of the pairs -> logits (B, tasks)"""
        glances = [torch.tanh(self.glance(self.scaled(x))) for x in (first, second)]
        return self.task(torch.cat([*glances, self.scaled(pairs, True)], 1))

    def save_pretrained(self, folder: Path) -> None:
        """config.json and model.safetensors in float16, the scales in float32."""
        config = {"system": "Estimator", **asdict(self.config), "faults": FAULTS, "roles": ROLES}
        exact = ("mean", "spread", "slope", "offset", "thresholds")
        save_folder(folder, config, {k: v if k in exact else v.half() for k, v in self.state_dict().items()})


def load_estimator(folder: str | Path) -> Estimator:
    """The network in a folder, strictly; FusionError where the folder holds none, or one for other faults."""
    folder = Path(folder)
    try:
        raw = read_config(folder)
        config = EstimatorConfig(**{k: raw[k] for k in EstimatorConfig.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FusionError(f"{folder}: holds no estimator ({error}); make one with `anyfuse train estimate`") from None
    if tuple(raw.get("faults", ())) != FAULTS or tuple(raw.get("roles", ())) != ROLES:
        raise FusionError(f"{folder}: made for other faults than there are; train it with `anyfuse train estimate`")
    model = Estimator(config)
    load_state(model, folder / WEIGHTS_NAME)
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def built_in() -> Estimator:
    """The estimator of the package; FusionError where its file is not the released one."""
    folder = package_folder("estimate")
    check_sha256(folder / WEIGHTS_NAME, SHA256)
    return load_estimator(folder)


# ---------------------------------------------------------------------- the call


FLAT, SMALL = 4 / 255, 32
"""Nothing is assumed of an image whose values differ by less, or with a side of fewer pixels: there is too little in it
to recognise a degradation.
"""


@dataclass(frozen=True)
class _Look:
    """What is read of an image."""

    views: list[Tensor]  # windows of luma (h, w) in [0, 1]
    coloured: bool
    brightness: float  # mean luma


def estimate(
    images: Sequence[Tensor],
    task: str | None = None,
    *,
    order: Sequence[int] | None = None,
    infrared: bool = False,
    model: Estimator | None = None,
) -> Estimate:
    """Estimates the degradations of one image, or of several of one scene.

    Args:
        images: (1 or 3, H, W) in [0, 1], all of one size. Luma is used, and which of them have colour. Large images are
            read in windows at full resolution.
        task: ivf, mef, mff or mif; None: estimated for two images or more, from the first two by role.
        order: indices of the images by role, infrared or darker first; None: grey before colour, darker before
            brighter.
        infrared: whether a single image is an infrared one.
        model: an Estimator; None: the one of the package.

    Raises:
        FusionError: another shape or an unknown task.
    """
    for image in images:
        if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
            raise FusionError(f"shape {tuple(image.shape)} is no image; give (1 or 3, H, W)")
    if not images or len({tuple(image.shape[1:]) for image in images}) > 1:
        raise FusionError("give one image, or images of one size")
    looks = []
    for image in images:
        luma = to_luma(image.float().cpu())[0]
        coloured = image.shape[0] == 3 and float((image.amax(0) - image.amin(0)).max()) > 1.5 / 255
        looks.append(_Look([luma[w] for w in windows(*luma.shape)], coloured, float(luma.mean())))
    return _estimate(looks, task, order, infrared, model or built_in())


def estimate_stack(
    stack: Stack, task: str | None = None, *, order: Sequence[int] | None = None, infrared: bool = False
) -> Estimate:
    """As `estimate`, for a stack; only the windows of a large image are read.

    Args:
        stack: one image or more.
        task: in control.TASKS; None: it is estimated.
        order: places of the sources by role; None: grey before coloured, then darker first.
        infrared: a single grey image is infrared.

    Raises:
        FusionError: an unknown task.
    """
    places = windows(stack.height, stack.width)
    looks = [_Look([to_luma(f.read(w))[0] for w in places], not f.is_grey, f.brightness) for f in stack.frames]
    return _estimate(looks, task, order, infrared, built_in())


@torch.inference_mode()
def _estimate(
    looks: list[_Look], task: str | None, order: Sequence[int] | None, infrared: bool, model: Estimator
) -> Estimate:
    if task is not None and task not in TASKS:
        raise FusionError(f"unknown task '{task}': known are {', '.join(TASKS)}")
    if order is None:
        order = sorted(range(len(looks)), key=lambda k: (looks[k].coloured, looks[k].brightness, k))
    known = model.config.statistics  # later versions append numbers
    rows = [torch.stack([statistics(view) for view in look.views]).mean(0)[:known] for look in looks]
    certainty = 1.0
    if task is None and len(looks) > 1:
        a, b = order[0], order[1]
        pairs = [pair_statistics(x, y) for x, y in zip(looks[a].views, looks[b].views, strict=True)]
        chances = model.tasks(rows[a][None], rows[b][None], torch.stack(pairs).mean(0)[None])[0].softmax(0)
        chances = chances * torch.tensor([_possible(t, [looks[a].coloured, looks[b].coloured]) for t in TASKS])
        chances = chances / chances.sum().clamp_min(1e-9)
        certainty = float(chances.max())
        task = TASKS[int(chances.argmax())]
    roles = _roles(len(looks), task, order, infrared)
    if task == "mif":
        return Estimate(task, certainty, roles, tuple({} for _ in looks))
    place = torch.tensor([ROLES.index(role) for role in roles])
    logits, strengths = model(torch.stack(rows), place)
    probabilities = model.probabilities(logits)
    faults = []
    for k, role in enumerate(roles):
        limits = model.thresholds[int(place[k])].tolist()
        columns = [FAULTS.index(name) for name in menu_of(role, task)]
        empty = all(min(view.shape) < SMALL or float(view.max() - view.min()) < FLAT for view in looks[k].views)
        sure = 0.0 if empty else 1.0
        faults.append(
            {FAULTS[c]: Fault(sure * float(probabilities[k, c]), float(strengths[k, c]), limits[c]) for c in columns}
        )
    return Estimate(task, certainty, roles, tuple(faults))


def windows(height: int, width: int) -> list[Window]:
    """Where an image is looked at: all of it, or of a large one its middle and those of its quarters, cut at multiples
    of 8 and not resized.
    """
    if height * width <= LARGEST:
        return [(slice(0, height), slice(0, width))]
    tall, wide = min(height, WINDOW[0]), min(width, WINDOW[1])
    places = [(0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    corners = {(int((height - tall) * y) // 8 * 8, int((width - wide) * x) // 8 * 8) for y, x in places}
    return [(slice(top, top + tall), slice(left, left + wide)) for top, left in sorted(corners)]


def _possible(task: str, coloured: list[bool]) -> bool:
    """A grey and a coloured image are of two kinds of camera, and two coloured ones are of one."""
    if all(coloured):
        return task in ("mef", "mff")
    return not any(coloured) or task in ("ivf", "mif")


def roles_of(control: Control, estimate: Estimate | None) -> tuple[str, str]:
    """Names of ROLES for the two sources of a pair, as far as the request or an estimate says."""
    task = control.task or (None if estimate is None else estimate.task)
    both = {"mef": "exposure", "mff": "focus"}.get(task or "", "visible")
    return ("infrared" if task == "ivf" else both), both


def _roles(count: int, task: str | None, order: Sequence[int], infrared: bool) -> tuple[str, ...]:
    role = {"mef": "exposure", "mff": "focus"}.get(task or "", "visible")
    first = order[0] if (task == "ivf" and count > 1) or (infrared and role == "visible") else None
    return tuple("infrared" if k == first else role for k in range(count))
