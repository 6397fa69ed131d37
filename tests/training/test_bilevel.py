"""Bilevel training on a problem with a known answer; its refusals; a run that is stopped and goes on to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import scene, to8
from torch import Tensor, nn

from anyfuse.data.batches import Batch, DataSet
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.registry import MODELS, Spec, build_model, load_model
from anyfuse.models.unifusion.unifusion import UniFusion, UniFusionConfig
from anyfuse.training.recipes import RECIPES, Recipe, override
from anyfuse.training.strategies.bilevel import Bilevel, BilevelSettings
from anyfuse.training.strategies.famo import FamoSettings
from anyfuse.training.strategies.table import build_strategy
from anyfuse.training.train import train


class Quadratic(nn.Module):
    """phi and theta, one number each."""

    def __init__(self) -> None:
        super().__init__()
        self.phi, self.theta = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def lower_parameters(self) -> list[nn.Parameter]:
        return [self.phi]

    def upper_parameters(self) -> list[nn.Parameter]:
        return [self.theta]

    def observe(self, sources: Tensor) -> list[Tensor]:
        return []

    def encode(self, sources: Tensor, maps: list[Tensor]) -> list[Tensor]:
        return [self.phi * 1.0]

    def reconstruct(self, features: list[Tensor]) -> Tensor:
        return features[0]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.theta - features[0]


class Toy(Bilevel):
    """lower: (phi - 2)^2 / 2; upper: (theta - phi)^2 / 2 + (theta - 1)^2 / 2.

    Bilevel: phi = 2, then theta = (2 + 1) / 2. Joint, the minimum of the sum, where both derivatives vanish:
    (phi - 2) - (theta - phi) = 0 and (theta - phi) + (theta - 1) = 0, so phi = 5/3 and theta = 4/3.
    """

    def lower_loss(self, features: list[Tensor], batches: list[Batch]) -> tuple[Tensor, dict[str, float]]:
        return 0.5 * (self.model.reconstruct(features) - 2).square().sum(), {}

    def upper_loss(self, features: list[Tensor], batches: list[Batch]) -> tuple[Tensor, dict[str, float]]:
        theta = next(iter(self.model.upper_parameters()))
        return 0.5 * self.model.decode(features).square().sum() + 0.5 * (theta - 1).square().sum(), {}


BATCH = Batch("ivf", torch.zeros(1, 2, 1, 4, 4), torch.zeros(1, 2, 4, 4))


def solve(**options: float) -> tuple[float, float, dict[str, float]]:
    recipe = replace(
        RECIPES["unifusion-small"],
        options=BilevelSettings(**{"angle_every": 1000, **options}),  # type: ignore[arg-type]
        clip=0.0,
        weight_decay=0.0,
        lr=0.02,
    )
    model = Quadratic()
    strategy = Toy(model, recipe)  # type: ignore[arg-type]
    first: dict[str, float] = {}
    for step in range(3000):
        log = strategy.step([BATCH], 0.02 * 0.997**step)
        first = first or log
    return model.phi.item(), model.theta.item(), first


def test_bilevel_quadratic() -> None:
    phi, theta, first = solve()
    assert phi == pytest.approx(2, abs=1e-3)
    assert theta == pytest.approx(1.5, abs=1e-3)
    assert first["reconstruction"] == pytest.approx(2)


def test_joint_finds_another_point() -> None:
    phi, theta, _ = solve(joint=1)
    assert phi == pytest.approx(5 / 3, abs=1e-3)
    assert theta == pytest.approx(4 / 3, abs=1e-3)


def test_a_leak_moves_the_lower_problem() -> None:
    phi, theta, _ = solve(leak=1.0)
    assert phi == pytest.approx(5 / 3, abs=2e-3)
    assert theta == pytest.approx(4 / 3, abs=2e-3)


def test_more_upper_steps_are_still_right() -> None:
    phi, theta, _ = solve(upper_steps=3, lower_steps=2)
    assert (phi, theta) == (pytest.approx(2, abs=1e-3), pytest.approx(1.5, abs=1e-3))


def test_angle_of_opposed_gradients() -> None:
    """At phi = 1, theta = 3 the upper loss pulls phi up as the lower one does; at theta = 0 it pulls down."""
    model = Quadratic()
    strategy = Toy(model, RECIPES["unifusion-small"])  # type: ignore[arg-type]
    for theta, expected in ((3.0, 0.0), (0.0, 180.0)):
        with torch.no_grad():
            model.phi.fill_(1.0)
            model.theta.fill_(theta)
        assert strategy.angle(BATCH.sources, [], [BATCH]) == pytest.approx(expected)


def test_refusals() -> None:
    with pytest.raises(FusionError, match="two levels"):
        Bilevel(build_model("anyfuse"), RECIPES["unifusion-small"])
    with pytest.raises(FusionError, match="no option 'speed'"):
        override(RECIPES["unifusion-small"], ["options.speed=1"])
    with pytest.raises(FusionError, match="takes BilevelSettings as options, not FamoSettings"):
        Bilevel(Quadratic(), replace(RECIPES["unifusion-small"], options=FamoSettings()))  # type: ignore[arg-type]
    with pytest.raises(FusionError, match=r"options\.ratio 0: give more than 0"):
        override(RECIPES["unifusion-small"], ["options.ratio=0"])


def test_settings_of_the_ablations() -> None:
    chosen = override(
        RECIPES["unifusion-small"],
        [
            "config.adapter=false",
            "config.random_backbone=true",
            "options.joint=1",
            "losses.ivf.self_reconstruction=7",
            "one_task=no",
        ],
    )
    assert chosen.config == {"adapter": False, "random_backbone": True}
    assert chosen.options == BilevelSettings(ratio=2.0, joint=True)
    assert chosen.losses["ivf"]["self_reconstruction"] == 7
    assert chosen.one_task is False
    assert isinstance(build_strategy(build_model("unifusion-small", chosen.config, training=True), chosen), Bilevel)
    with pytest.raises(FusionError, match="norm is 'layer'"):
        override(RECIPES["unifusion-small"], ["config.norm=layer"])


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> UniFusionConfig:
    config = UniFusionConfig(
        backbone="tiny", width=16, heads=4, rounds=1, colour="luma", norm="running", random_backbone=True
    )
    monkeypatch.setitem(MODELS, "unifusion-test", Spec(UniFusion, config, "for tests", needs_weights=True))
    return config


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bilevel")
    for index in range(10):
        for name, seed in (("ivif/ir", index), ("ivif/vis", 100 + index), ("natural", 200 + index)):
            write_image(root / name / f"{index}.png", to8(scene(48, 64, seed)))
    return root


def small(**changes: object) -> Recipe:
    recipe = replace(
        RECIPES["unifusion-small"],
        model="unifusion-test",
        tasks={"ivf": 2, "mef": 2, "mff": 2},
        sets=(DataSet("ivf", ("ivif/ir", "ivif/vis")), DataSet("natural", ("natural",))),
        crop=32,
        steps=4,
        warmup=1,
        options=BilevelSettings(angle_every=2),
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{}, {"one_task": False}, {"options": BilevelSettings(joint=True)}, {"options": BilevelSettings(leak=0.1)}],
)
def test_trains_every_part(folders: Path, tmp_path: Path, little: UniFusionConfig, changes: dict[str, object]) -> None:
    out = train(small(**changes), folders, tmp_path / "run", log=lambda s: None)
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert {"loss", "fusion", "reconstruction", "reconstruction_psnr", "angle"} <= last.keys()
    assert 0 <= last["angle"] <= 180
    trained = load_model(out)
    torch.manual_seed(0)
    fresh = UniFusion(trained.config).state_dict()
    for key, value in trained.state_dict().items():
        if value.is_floating_point() and value.numel() > 1:
            assert not torch.equal(value, fresh[key].half().float()), key


def test_other_strategies_leave_the_lower_problem_out(folders: Path, tmp_path: Path, little: UniFusionConfig) -> None:
    plain = override(small(options=None), ["strategy=plain"])
    with pytest.raises(FusionError, match=r"needs strategy=bilevel.*self_reconstruction=0"):
        train(plain, folders, tmp_path / "refused", log=lambda s: None)
    settings = [f"losses.{task}.self_reconstruction=0" for task in plain.tasks]
    out = train(override(plain, settings), folders, tmp_path / "run", log=lambda s: None)
    assert load_model(out).config == replace(little, reconstructors=True)


def test_stop_and_resume_equal_one_run(
    folders: Path, tmp_path: Path, little: UniFusionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(small(), folders, tmp_path / "whole", log=lambda s: None)
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(small(), folders, tmp_path / "parts", save_every=2, log=lambda s: None)
    monkeypatch.setattr(torch, "save", save)
    messages: list[str] = []
    parts = train(small(), folders, tmp_path / "parts", log=messages.append)
    assert messages[0] == "resumed at step 2"
    a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
