"""A restoration does no harm: what a model made of a pair is mixed into the default model's fusion of the untouched
pair only as far as it helps.

    plain      the default model's fusion of the sources as they are
    repaired   what the restoring model made of them
    result     plain + light * L + detail * H, where L and H are the coarse and the fine part of repaired - plain

A small network gives both shares from numbers that need no reference: what was asked for; what the estimator finds in
the sources, in `plain` and in `repaired`; their light, sharpness, noise, dark levels and clipping; and how far the two
differ. `anyfuse train gate` fits it to degraded pairs whose clean fusion is known, told right, told nothing and told
wrong. Where no light was asked for and none is wrong, the mean stays within LIGHT. Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from ..arrays import F, Tensor, nn, torch
from ..control import DEGRADATIONS, Control
from ..errors import FusionError
from ..image.colour import to_luma
from ..weights import WEIGHTS_NAME, check_sha256, load_state, package_folder, read_config, save_folder
from .estimator import FAULTS, ROLES, Estimator, built_in
from .statistics import statistics

SHA256 = "dac783da63edab7e0e62b12fd1ee1effc4972d4157dfc22493a4a6b80b898e4e"
CELL = 16
"""Pixels of the cells whose means are the coarse part."""
VIEW = 256
"""Side of the middle of a picture that is looked at."""
LIGHT = 0.05
"""Share by which the mean may move where no light was asked for."""
DARK = (0.3, 0.6)
"""Ninth decile of luma below which a picture is wholly dark, and from which it is not. On the cases of `anyfuse train
gate` the mean gain over the default model rises from 1.5 to 2.3 dB where low exposure is named rightly, and falls from
1.1 to 0.3 dB where it is named wrongly."""
LIT = ("low_exposure", "high_exposure", "haze", "rain", "snow", "low_contrast")
"""Degradations that change the light of a picture; rain and snow may have a veil."""


@dataclass(frozen=True)
class GateConfig:
    """Shape of the gate."""

    numbers: int  # that it reads
    hidden: int = 32  # width


@dataclass(frozen=True)
class Shares:
    """How much of a restoration is taken, 0 to 1."""

    light: float  # of what is coarser than CELL
    detail: float  # of what is finer

    def as_dict(self) -> dict[str, float]:
        """For a report."""
        return {"light": round(self.light, 3), "detail": round(self.detail, 3)}


class Gate(nn.Module):
    """Numbers of a restoration -> shares of its coarse and fine part."""

    mean: Tensor
    spread: Tensor

    def __init__(self, config: GateConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.numbers))
        self.register_buffer("spread", torch.ones(config.numbers))
        self.net = nn.Sequential(
            nn.Linear(config.numbers, config.hidden),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, 2),
        )

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, F) -> (B, 2) in [0, 1]: light, detail"""
        scaled = ((numbers - self.mean) / self.spread).clamp(-5, 5)
        return (1.2 * self.net(scaled).sigmoid() - 0.1).clamp(0, 1)

    def save_pretrained(self, folder: Path) -> None:
        """config.json and model.safetensors."""
        save_folder(folder, {"system": "Gate", **asdict(self.config)}, self.state_dict())


def load_gate(folder: str | Path) -> Gate:
    """The network in a folder, strictly; FusionError where the folder holds none."""
    folder = Path(folder)
    try:
        raw = read_config(folder)
        config = GateConfig(**{k: raw[k] for k in GateConfig.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FusionError(f"{folder}: holds no gate ({error}); make one with `anyfuse train gate`") from None
    gate = Gate(config)
    load_state(gate, folder / WEIGHTS_NAME)
    return gate.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def built_in_gate() -> Gate:
    """The gate of the package; FusionError where its file is not the released one."""
    folder = package_folder("gate")
    check_sha256(folder / WEIGHTS_NAME, SHA256)
    return load_gate(folder)


# ---------------------------------------------------------------------- the numbers


def luma_view(image: Tensor) -> Tensor:
    """Image (C, H, W) in [0, 1] -> luma of its middle (h, w), VIEW pixels a side at most, 8 bits."""
    luma = (to_luma(image)[0] if len(image) == 3 else image[0]).float().cpu()
    top, left = max(0, luma.shape[0] - VIEW) // 2 // 8 * 8, max(0, luma.shape[1] - VIEW) // 2 // 8 * 8
    return (luma[top : top + VIEW, left : left + VIEW].clamp(0, 1) * 255).round() / 255


def rows_of(*images: Tensor) -> Tensor:
    """Statistics (K, F) of images (C, H, W): of both sources, by role, the plain fusion and the repaired one."""
    return torch.stack([statistics(luma_view(image)) for image in images])


def said(degradations: Mapping[str, Mapping[str, float]]) -> Tensor:
    """(degradations,) the largest strength that a request names for each."""
    return torch.tensor([max(degradations.get(name, {}).values(), default=0.0) for name in DEGRADATIONS])


LOOKS = {
    "levels": (0, 13),
    "spectrum": (26, 43),
    "residuals": (142, 151),
    "noise in flat places": (171, 182),
    "dark levels": (414, 421),
}
"""What an image looks like -> its places in a row of degradation/statistics.py, from the first to before the last."""


def gate_numbers(rows: Tensor, asked: Tensor, gaps: Tensor, roles: tuple[int, int], estimator: Estimator) -> Tensor:
    """What the gate reads (F,).

    Args:
        rows: (4, F) of `rows_of`.
        asked: of `said`.
        gaps: of `differences`.
        roles: places of the sources' roles in ROLES.
        estimator: gives probabilities.
    """
    shown = rows[:, : estimator.config.statistics]
    places = torch.tensor([*roles, ROLES.index("visible"), ROLES.index("visible")])
    logits, strengths = estimator(shown, places)
    found = estimator.probabilities(logits)
    sources = found[:2].amax(0)
    named = (asked[[DEGRADATIONS.index(name) for name in FAULTS]] > 0).float()
    less = found[2] - found[3]
    over = [
        (named * sources).sum() / named.sum().clamp_min(1),  # how much of what was asked for is there
        (named * sources).amax(),
        (named * (1 - sources)).amax(),
        (named * less).sum(),  # how much of it goes
        (named * sources * less).amax(),
        (-less).clamp_min(0).amax(),  # what comes in its place
        (-less).clamp_min(0).sum(),
        less.clamp_min(0).sum(),
    ]
    plain, repaired = rows[2], rows[3]
    return torch.cat(
        [
            asked,
            (asked > 0).float().sum()[None],
            sources,
            (found[:2] * strengths[:2]).amax(0),
            (found[2] - found[3]),
            found[3],
            (logits[2] - logits[3]).clamp(-4, 4) / 4,
            named * (1 - sources),
            named * sources,
            torch.stack(over),
            _looks(plain),
            _looks(repaired) - _looks(plain),
            gaps,
        ]
    )


def _looks(row: Tensor) -> Tensor:
    """The parts of a row of statistics.py that LOOKS names."""
    return torch.cat([row[first:last] for first, last in LOOKS.values()])


def differences(plain: Tensor, repaired: Tensor) -> Tensor:
    """How far two fusions (C, H, W) are from each other (7,)."""
    a, b = luma_view(plain), luma_view(repaired)
    coarse, fine = parts(a[None, None], b[None, None])
    numbers = [
        coarse.square().mean().sqrt(),
        fine.square().mean().sqrt(),
        coarse.mean(),
        (b.mean() / (a.mean() + 0.02)),
    ]
    clipped = ((b < 2 / 255).float().mean() - (a < 2 / 255).float().mean()).sqrt().nan_to_num()
    white = ((b > 253 / 255).float().mean() - (a > 253 / 255).float().mean()).sqrt().nan_to_num()
    numbers += [clipped, white, (b.std() / (a.std() + 0.02))]
    return torch.stack([x.clamp(-3, 3) for x in numbers])


# ---------------------------------------------------------------------- mixing


def parts(plain: Tensor, repaired: Tensor) -> tuple[Tensor, Tensor]:
    """Fusions (B, C, H, W) -> the coarse and the fine part of repaired - plain."""
    gap = repaired - plain
    height, width = gap.shape[-2:]
    small = max(1, math.ceil(height / CELL)), max(1, math.ceil(width / CELL))
    coarse = F.interpolate(F.adaptive_avg_pool2d(gap, small), (height, width), mode="bilinear", align_corners=False)
    return coarse, gap - coarse


def mixed(plain: Tensor, repaired: Tensor, shares: Shares) -> Tensor:
    """plain + light * coarse + detail * fine, in [0, 1]; (B, C, H, W)"""
    coarse, fine = parts(plain, repaired)
    return (plain + shares.light * coarse + shares.detail * fine).clamp(0, 1)


def within_light(plain: Tensor, repaired: Tensor, shares: Shares, control: Control, sources: Tensor) -> Shares:
    """The shares, less light where the mean would move by more than LIGHT and neither the request nor the estimate
    `sources` (faults,) of the sources speaks of light.
    """
    seen = any(float(sources[FAULTS.index(name)]) > 0.5 for name in LIT)
    if seen or any(name in control.degradations for name in LIT):
        return shares
    before, after = float(plain.mean()), float(repaired.mean())
    moved = abs(after - before) * shares.light
    allowed = LIGHT * before
    return shares if moved <= allowed else Shares(shares.light * allowed / moved, shares.detail)


def darkness(sources: Tensor) -> float:
    """How dark the second of sources (1, 2, C, H, W) is, the visible or brighter one: 1 where nine tenths of it lie
    below DARK[0], 0 where they reach DARK[1].

    Who asks for light in a dark picture gets that much of it: what a dark picture would look like is not known from it,
    so that the gate alone takes little.
    """
    level = float(luma_view(sources[0, 1]).quantile(0.9))
    return min(1.0, max(0.0, (DARK[1] - level) / (DARK[1] - DARK[0])))


@torch.inference_mode()
def harmless(
    sources: Tensor,
    plain: Tensor,
    repaired: Tensor,
    control: Control,
    roles: tuple[str, str] = ("visible", "visible"),
    told: bool = False,
    gate: Gate | None = None,
    estimator: Estimator | None = None,
) -> tuple[Tensor, Shares]:
    """The restoration as far as it helps; none of it where nothing is to be restored.

    Args:
        sources: (1, 2, C, H, W) in [0, 1], by role.
        plain: the default model's fusion of them (1, C, H, W).
        repaired: the restoring model's (1, C, H, W).
        control: what was asked for, or estimated.
        roles: of the sources, names of estimator.ROLES.
        told: a person asked for it; it was not estimated.
        gate: None: the one of the package.
        estimator: None: the one of the package.

    Returns:
        The result (1, C, H, W), and the shares.
    """
    if not control.degradations:
        return plain, Shares(0.0, 0.0)
    gate, estimator = gate or built_in_gate(), estimator or built_in()
    rows = rows_of(sources[0, 0], sources[0, 1], plain[0], repaired[0])
    places = (ROLES.index(roles[0]), ROLES.index(roles[1]))
    numbers = gate_numbers(rows, said(control.degradations), differences(plain[0], repaired[0]), places, estimator)
    light, detail = gate(numbers[None])[0].tolist()
    if told and "low_exposure" in control.degradations:
        least = darkness(sources)
        light, detail = max(light, least), max(detail, least)
    found = numbers[len(DEGRADATIONS) + 1 :][: len(FAULTS)]
    shares = within_light(plain, repaired, Shares(light, detail), control, found)
    return mixed(plain, repaired, shares), shares
