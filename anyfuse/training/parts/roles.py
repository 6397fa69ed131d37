"""Fits image/roles.py: which of two grey images is the infrared one, and whether either is.

pairs       infrared and visible (roads, night streets); exposures, focus planes and medical slices, which are of no
            two kinds. Each gets a crop, a size, an exponent and a gain of its own, at random
fit         logistic regression with weight decay, of numbers and their squares
files       every tenth of a folder is held out, as for the estimator
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...degradation.plan import generator
from ...errors import FusionError
from ...image.random import uniform
from ...image.roles import numbers, pair_numbers, scores, squared
from ...weights import save_folder
from ..card import hardware, write_card
from .scenes import EstimatePlan, Scenes

KINDS = ("ivf", "mef", "ivf", "mff", "ivf", "mif")


@dataclass(frozen=True)
class RolesPlan:
    """Fit of the roles of grey pairs."""

    pairs: int = 900  # pairs to fit, half of them infrared and visible
    tests: int = 180  # held-out pairs
    steps: int = 400  # of gradient descent
    decay: float = 0.02  # of the weights
    seed: int = 0  # of pairs


ROLES_PLANS: dict[str, RolesPlan] = {"roles": RolesPlan()}


def _toned(x: Tensor, gen: Generator) -> Tensor:
    """An image with another exponent and gain, 8 bits."""
    x = x.clamp(0, 1) ** 2 ** uniform(-1, 1, gen)
    x = x * uniform(0.5, 1, gen) + uniform(0, 0.15, gen)
    return (x.clamp(0, 1) * 255).round() / 255


def make_pairs(scenes: Scenes, part: str, count: int, seed: int) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Grey pairs, infrared first, and whether they are infrared and visible."""
    crops = EstimatePlan(least=160, most=384)
    pairs, kinds = [], []
    for index in range(count):
        gen, kind = generator(seed, "roles", part, index), KINDS[index % len(KINDS)]
        x = scenes.scene(part, kind, crops, gen)
        if len(x) == 2 and float(x.amax((1, 2)).sub(x.amin((1, 2))).min()) > 0.1:
            pairs.append((_toned(x[0], gen), _toned(x[1], gen)))
            kinds.append(float(kind == "ivf"))
    return pairs, torch.tensor(kinds)


def fit_roles(pairs: list[tuple[Tensor, Tensor]], kinds: Tensor, plan: RolesPlan) -> dict[str, Tensor]:
    """The table that image.roles.scores reads."""
    first, second = (torch.stack([numbers(pair[k]) for pair in pairs]) for k in (0, 1))
    both = torch.stack([pair_numbers(*pair) for pair in pairs])
    every = torch.cat([first, second])
    table = {"mean": every.mean(0), "spread": every.std(0).clamp_min(1e-3)}
    table |= {"pair_mean": both.mean(0), "pair_spread": both.std(0).clamp_min(1e-3)}
    one, two = (squared((x - table["mean"]) / table["spread"]) for x in (first, second))
    pair = squared((both - table["pair_mean"]) / table["pair_spread"])
    for name, width in (("order", one.shape[1]), ("both", one.shape[1]), ("pair", pair.shape[1]), ("bias", 1)):
        table[name] = torch.zeros(width)
    weights = [table[name].requires_grad_() for name in ("order", "both", "pair", "bias")]
    optimiser = torch.optim.Adam(weights, lr=0.03)
    true = kinds > 0.5
    for _ in range(plan.steps):
        order = ((one - two) * table["order"]).sum(1)[true]
        kind = (pair * table["pair"]).sum(1) + ((one + two) * table["both"]).sum(1) + table["bias"][0]
        loss = F.softplus(-order).mean() + F.binary_cross_entropy_with_logits(kind, kinds)
        loss = loss + plan.decay * sum(w.square().sum() for w in weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {name: value.detach() for name, value in table.items()}


def measure_roles(pairs: list[tuple[Tensor, Tensor]], kinds: Tensor, table: dict[str, Tensor]) -> dict[str, float]:
    """Shares of held-out pairs."""
    found = torch.tensor([scores(a, b, table) for a, b in pairs])
    true = kinds > 0.5
    sure = (found[:, 1] - 0.5).abs() >= 0.3
    darker = torch.tensor([float(a.mean() <= b.mean()) for a, b in pairs])
    return {
        "order right": float((found[true, 1] > 0.5).float().mean()),
        "order right where sure": float((found[true & sure, 1] > 0.5).float().mean()),
        "sure": float(sure[true].float().mean()),
        "order right by darkness": float(darker[true].mean()),
        "two kinds recognised": float((found[true, 0] >= 0.5).float().mean()),
        "other pairs taken for two kinds": float((found[~true, 0] >= 0.5).float().mean()),
    }


def train_roles(plan: RolesPlan, data_root: str | Path, out: str | Path, *, log: Callable[[str], None] = print) -> Path:
    """Fits the roles and writes model.safetensors, config.json and README.md (card) into `out`, which it returns.

    Raises FusionError for a plan that cannot be run, or missing images.
    """
    if plan.pairs < len(KINDS) or plan.tests < len(KINDS) or plan.steps < 1:
        raise FusionError(
            f"{plan.pairs} pairs, {plan.tests} tests, {plan.steps} steps: give {len(KINDS)} or more pairs"
        )
    torch.manual_seed(plan.seed)
    out, scenes = Path(out), Scenes(Path(data_root))
    out.mkdir(parents=True, exist_ok=True)
    table = fit_roles(*make_pairs(scenes, "train", plan.pairs, plan.seed), plan)
    save_folder(out, {"system": "Roles", "numbers": len(table["mean"])}, table)
    shares = measure_roles(*make_pairs(scenes, "test", plan.tests, plan.seed), table)
    lines = [
        f"- {plan.pairs} pairs of {scenes.files} files; every tenth file of a folder is held out",
        hardware(torch.device("cpu")),
        *(f"- {name}: {100 * share:.1f} % of held-out pairs" for name, share in shares.items()),
    ]
    intro = "Says which of two grey images is the infrared one; fitted with `anyfuse train roles`; licence Apache-2.0."
    write_card(out, "Roles of grey pairs", intro, lines, plan)
    log((out / "README.md").read_text())
    log(f"sha256 {sha256((out / 'model.safetensors').read_bytes()).hexdigest()}")
    return out
