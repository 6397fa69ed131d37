"""How a step changes the weights: the loss falls, tasks weigh as they should, states come back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from anyfuse.data.batches import Batch, DataSet
from anyfuse.errors import FusionError
from anyfuse.models.base import Context, FusionModel
from anyfuse.training.recipes import RECIPES, Recipe
from anyfuse.training.strategies.table import STRATEGIES, build_strategy
from anyfuse.training.strategies.weighting import Plain, PlainSettings, Uncertainty, UncertaintySettings


class Mix(FusionModel):
    """Share of the first source as the only parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.2))

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        return self.share * sources[:, 0] + (1 - self.share) * sources[:, 1]


def recipe(**changes: object) -> Recipe:
    plan = replace(
        RECIPES["anyfuse"],
        tasks={"ivf": 2, "mef": 2},
        losses={"ivf": {"intensity": 1.0}, "mef": {"intensity_mean": 1.0}},
        sets=(DataSet("natural", ("natural",)),),
        weight_decay=0.0,
        clip=0.0,
        optimiser="adam",
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def batches() -> list[Batch]:
    """In ivf the first source is the maximum, in mef the mean is half of both."""
    gen = torch.Generator().manual_seed(0)
    low = torch.rand(2, 1, 1, 24, 24, generator=gen) * 0.4
    pair = torch.cat([low + 0.5, low], 1)
    return [Batch(task, pair, pair[:, :, 0]) for task in ("ivf", "mef")]


def steps(model: Mix, plan: Recipe, given: list[Batch], count: int = 60) -> list[float]:
    strategy = build_strategy(model, plan)
    return [float(strategy.step(given, 0.02)["loss"]) for _ in range(count)]


def test_every_strategy_is_named() -> None:
    assert set(STRATEGIES) >= {"plain", "uncertainty", "famo", "bilevel", "latent", "instruct", "straighten"}
    with pytest.raises(FusionError, match="unknown strategy 'adam'"):
        build_strategy(Mix(), recipe(strategy="adam"))


def test_one_task_is_learned() -> None:
    model = Mix()
    plan = recipe(tasks={"ivf": 2})
    losses = steps(model, plan, batches()[:1])
    assert losses[-1] < 0.3 * losses[0]
    assert float(model.share.detach()) == pytest.approx(1, abs=0.1)


def test_weights_of_losses_decide_between_tasks() -> None:
    found = []
    for weight in (1.0, 5.0):
        model = Mix()
        losses = {"ivf": {"intensity": weight}, "mef": {"intensity_mean": 2.0}}
        steps(model, recipe(losses=losses), batches())
        found.append(float(model.share.detach()))
    assert found[0] == pytest.approx(0.5, abs=0.05)  # the mean outweighs the maximum
    assert found[1] == pytest.approx(1, abs=0.1)


def test_a_weight_of_zero_leaves_a_loss_out() -> None:
    model = Mix()
    losses = {"ivf": {"intensity": 0.0, "intensity_mean": 1.0}, "mef": {"intensity_mean": 1.0}}
    steps(model, recipe(losses=losses), batches())
    assert float(model.share.detach()) == pytest.approx(0.5, abs=0.05)


def test_clipping_bounds_the_step() -> None:
    model = Mix()
    strategy = Plain(model, recipe(optimiser="adam", clip=1e-9))
    values = strategy.step(batches(), 0.02)
    assert float(values["norm"]) > 1e-3
    assert model.share.grad is not None
    assert float(model.share.grad.abs()) <= 1.1e-9


def test_uncertainty_weighs_the_harder_task_less() -> None:
    model = Mix()
    plan = recipe(strategy="uncertainty", options=UncertaintySettings(rate=0.05))
    strategy = Uncertainty(model, plan)
    losses = {"ivf": {"intensity": 20.0}, "mef": {"intensity_mean": 1.0}}
    strategy.recipe = replace(plan, losses=losses)
    for _ in range(80):
        values = strategy.step(batches(), 1e-3)
    assert float(values["weight/ivf"]) < float(values["weight/mef"])


@pytest.mark.parametrize("name", ["plain", "uncertainty", "famo"])
def test_state_comes_back(name: str) -> None:
    def fresh() -> Mix:
        torch.manual_seed(0)
        return Mix()

    plan = recipe(strategy=name)
    whole, parts = fresh(), fresh()
    strategy = build_strategy(whole, plan)
    for _ in range(4):
        strategy.step(batches(), 0.01)
    first = build_strategy(parts, plan)
    for _ in range(2):
        first.step(batches(), 0.01)
    state = first.state_dict()
    second = build_strategy(parts, plan)
    second.load_state_dict(state)
    for _ in range(2):
        second.step(batches(), 0.01)
    assert torch.equal(whole.share, parts.share)


class Nervous(Mix):
    """The brighter the first source is than the second, by a hair, the more it takes of it."""

    def forward(self, sources: Tensor, condition: None = None, context: Context | None = None) -> Tensor:
        first, second = sources.unbind(1)
        share = torch.sigmoid(50 * self.share * (first - second).mean((-2, -1), keepdim=True))
        return share * first + (1 - share) * (1 - first)


def test_steady_holds_what_noise_would_change() -> None:
    gen = torch.Generator().manual_seed(1)
    pair = (0.6 + 0.02 * torch.rand(2, 1, 1, 32, 32, generator=gen)).repeat(1, 2, 1, 1, 1)
    given = [Batch(task, pair, pair[:, :, 0]) for task in ("ivf", "mef")]
    ends = {}
    for weight in (0.0, 500.0):
        torch.manual_seed(0)
        model = Nervous()
        strategy = build_strategy(
            model, recipe(losses={t: {"ssim": 0.01} for t in ("ivf", "mef")}, options=PlainSettings(weight))
        )
        logged = [strategy.step(given, 0.005) for _ in range(40)]
        assert ("steady" in logged[0]) == bool(weight)
        ends[weight] = abs(float(model.share.detach()))
    assert ends[500.0] < 0.7 * ends[0.0]
