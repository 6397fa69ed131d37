"""FAMO and the other balancers: closed form, exact resume, and what they refuse; --set; the published losses."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from conftest import scene, to8
from torch import Tensor, nn

from anyfuse import losses
from anyfuse.cli import main
from anyfuse.data.batches import Batch, DataSet, TrainingData
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.registry import load_model
from anyfuse.training.recipes import RECIPES, Recipe, override
from anyfuse.training.strategies.famo import Balance, Famo, FamoSettings
from anyfuse.training.strategies.table import build_strategy, settings_of
from anyfuse.training.strategies.weighting import Plain, Uncertainty, UncertaintySettings
from anyfuse.training.train import learning_rate, same_recipe, train

TASKS = {"ivf": 1, "mef": 1, "mff": 1}


# ---------------------------------------------------------------------- closed form


def test_two_quadratics_by_hand() -> None:
    """Five steps on l_i = s_i (x - c_i)^2 / 2 + 1, every quantity from the formulas in plain numbers, Adam included."""
    scale, centre, lr = (1.0, 30.0), (2.0, -1.0), 0.01
    options = FamoSettings(rate=0.025, gamma=1e-3, bound=0.25, eps=1e-8)
    balance = Balance(("one", "two"), options)
    x = torch.tensor(0.5, dtype=torch.float32, requires_grad=True)

    def each(value: Tensor) -> Tensor:
        return torch.stack([s * (value - c) ** 2 / 2 + 1 for s, c in zip(scale, centre, strict=True)])

    px, xi, m, v = 0.5, [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    for step in range(1, 6):
        before = each(x)
        x.grad = None
        balance.combine(before).backward()
        assert x.grad is not None
        # by hand: gradient = sum_i (z_i / D_i) grad l_i / sum_i z_i / D_i
        total = sum(math.exp(t) for t in xi)
        z = [math.exp(t) / total for t in xi]
        own = [s * (px - c) ** 2 / 2 + 1 for s, c in zip(scale, centre, strict=True)]
        d = [value - 0.25 + 1e-8 for value in own]
        parts = [zi / di for zi, di in zip(z, d, strict=True)]
        slope = [s * (px - c) for s, c in zip(scale, centre, strict=True)]
        expected = sum(w * g for w, g in zip(parts, slope, strict=True)) / sum(parts)
        assert float(x.grad) == pytest.approx(expected, rel=1e-4)
        with torch.no_grad():
            x -= lr * x.grad
        px -= lr * expected
        balance.update(before, each(x))
        after = [s * (px - c) ** 2 / 2 + 1 - 0.25 + 1e-8 for s, c in zip(scale, centre, strict=True)]
        delta = [math.log(a) - math.log(b) for a, b in zip(d, after, strict=True)]
        mean = sum(zi * di for zi, di in zip(z, delta, strict=True))
        for i in range(2):
            g = z[i] * (delta[i] - mean) + 1e-3 * xi[i]
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g
            xi[i] -= 0.025 * (m[i] / (1 - 0.9**step)) / (math.sqrt(v[i] / (1 - 0.999**step)) + 1e-8)
        assert balance.logits.tolist() == pytest.approx(xi, abs=1e-4)
    assert xi[1] < xi[0], "the steep task fell faster and must have lost weight"


def test_gradient_is_a_convex_combination() -> None:
    balance = Balance(("a", "b", "c"), FamoSettings())
    with torch.no_grad():
        balance.logits.copy_(torch.tensor([0.3, -1.0, 2.0]))
    each = torch.tensor([0.5, 4.0, 2.0], requires_grad=True)
    balance.combine(each).backward()
    assert each.grad is not None
    assert float(each.grad.sum()) == pytest.approx(1)
    expected = balance.weights() / (each.detach() + 1e-8)
    assert torch.allclose(each.grad, expected / expected.sum())


def test_negative_losses_are_refused() -> None:
    balance = Balance(("ivf", "mef"), FamoSettings())
    with pytest.raises(FusionError, match=r"task 'mef' is -0\.5, not above 0"):
        balance.combine(torch.tensor([1.0, -0.5]))
    with pytest.raises(FusionError, match="nan"):
        balance.combine(torch.tensor([float("nan"), 1.0]))
    lower = Balance(("ivf", "mef"), FamoSettings(bound=-1.0))
    assert lower.combine(torch.tensor([1.0, -0.5])).isfinite()


# ---------------------------------------------------------------------- strategies on any model


class Blend(nn.Module):
    """Two parameters: a share of the first source, and an offset."""

    arity: ClassVar[tuple[int, int]] = (2, 2)

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.2))
        self.offset = nn.Parameter(torch.tensor([0.1]))

    def forward(self, sources: Tensor) -> Tensor:
        return self.share * sources[:, 0] + (1 - self.share) * sources[:, 1] + self.offset


def batches(seed: int) -> list[Batch]:
    gen = torch.Generator().manual_seed(seed)
    out = []
    for task in TASKS:
        sources = torch.rand(2, 2, 1, 24, 24, generator=gen)
        out.append(Batch(task, sources, sources[:, :, 0]))
    return out


def recipe(strategy: str) -> Recipe:
    return replace(RECIPES["tita-small"], tasks=TASKS, strategy=strategy, lr=1e-2)


@pytest.mark.parametrize("name", ["plain", "uncertainty", "famo"])  # those for special models have tests of their own
def test_state_comes_back_to_the_bit(name: str) -> None:
    one, two = Blend(), Blend()
    first = build_strategy(one, recipe(name))  # type: ignore[arg-type]
    for k in range(3):
        first.step(batches(k), 1e-2)
    two.load_state_dict(one.state_dict())
    second = build_strategy(two, recipe(name))  # type: ignore[arg-type]
    second.load_state_dict(deepcopy(first.state_dict()))
    for k in range(3, 6):
        assert first.step(batches(k), 1e-2) == second.step(batches(k), 1e-2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_famo_step_is_its_formulas() -> None:
    """The strategy against Balance and a plain Adam by hand."""
    model, twin = Blend(), Blend()
    famo = Famo(model, recipe("famo"))  # type: ignore[arg-type]
    adam = torch.optim.Adam(twin.parameters(), lr=1e-2)
    balance = Balance(tuple(TASKS), FamoSettings())

    def each(data: list[Batch]) -> Tensor:
        out = []
        for b in data:
            fused, terms = twin(b.sources)[:, 0], RECIPES["tita-small"].losses[b.task]
            out.append(sum(w * getattr(losses, n)(fused, b.clean) for n, w in terms.items()))
        return torch.stack(out)

    for k in range(4):
        data = batches(k)
        log = famo.step(data, 1e-2)
        before = each(data)
        adam.zero_grad()
        balance.combine(before).backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        adam.step()
        with torch.no_grad():
            balance.update(before, each(data))
        assert log["loss"] == pytest.approx(float(before.detach().sum()), rel=1e-5)
        assert [log[f"weight/{t}"] for t in TASKS] == pytest.approx(balance.weights().tolist(), abs=1e-6)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_uncertainty_step_by_hand() -> None:
    model, twin = Blend(), Blend()
    strategy = Uncertainty(model, recipe("uncertainty"))  # type: ignore[arg-type]
    s = torch.zeros(3, requires_grad=True)
    adam, own = torch.optim.Adam(twin.parameters(), lr=1e-2), torch.optim.Adam([s], lr=1e-2)
    for k in range(3):
        data = batches(k)
        strategy.step(data, 1e-2)
        fused = [twin(b.sources)[:, 0] for b in data]
        terms = RECIPES["tita-small"].losses
        values = [
            sum(w * getattr(losses, n)(f, b.clean) for n, w in terms[b.task].items())
            for f, b in zip(fused, data, strict=True)
        ]
        adam.zero_grad()
        own.zero_grad()
        sum(v / (2 * s[i].exp()) + s[i] / 2 for i, v in enumerate(values)).backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        adam.step()
        own.step()
    assert torch.allclose(strategy.log_variance, s, atol=1e-6)
    assert torch.allclose(model.share, twin.share, atol=1e-6)


def test_famo_needs_all_tasks() -> None:
    famo = Famo(Blend(), recipe("famo"))  # type: ignore[arg-type]
    with pytest.raises(FusionError, match="stacks=0"):
        famo.step(batches(0)[1:], 1e-2)


def test_plain_is_the_sum() -> None:
    model, twin = Blend(), Blend()
    log = Plain(model, recipe("plain")).step(batches(0), 1e-2)  # type: ignore[arg-type]
    total = 0.0
    for b in batches(0):
        fused = twin(b.sources)[:, 0]
        total += sum(
            w * float(getattr(losses, n)(fused, b.clean).detach())
            for n, w in RECIPES["tita-small"].losses[b.task].items()
        )
    assert log["loss"] == pytest.approx(total, rel=1e-5)


def test_unknown_strategy_and_option() -> None:
    with pytest.raises(FusionError, match="unknown strategy 'magic'"):
        build_strategy(Blend(), recipe("magic"))  # type: ignore[arg-type]
    with pytest.raises(FusionError, match="no option 'gama'; known: rate, gamma"):
        override(recipe("famo"), ["options.gama=1"])
    with pytest.raises(FusionError, match="did you mean gamma"):
        settings_of("famo", {"gama": 1.0})
    with pytest.raises(FusionError, match="strategy 'plain' has no option 'gamma'; known: steady"):
        override(recipe("famo"), ["options.gamma=1e-5", "strategy=plain"])


# ---------------------------------------------------------------------- losses


def test_published_losses_by_their_formulas() -> None:
    gen = torch.Generator().manual_seed(0)
    a, b, f = (torch.rand(2, 32, 40, generator=gen) for _ in range(3))
    b = 0.3 * b
    sources = torch.stack([a, b], 1)

    def strength(x: Tensor) -> Tensor:
        kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        padded = nn.functional.pad(x[:, None], (1, 1, 1, 1), mode="reflect")
        return sum(nn.functional.conv2d(padded, k[None, None]).abs() for k in (kernel, kernel.T))[:, 0]

    wa = strength(a).mean() / (strength(a).mean() + strength(b).mean())
    shares = losses.gradient_shares(sources)
    assert shares.tolist() == pytest.approx([float(wa), 1 - float(wa)], abs=1e-5)
    sa, sb = losses.ssim_map(a, f).mean(), losses.ssim_map(b, f).mean()
    assert losses.ssim_weighted(f, sources) == pytest.approx(float(1 - wa * sa - (1 - wa) * sb), abs=1e-5)
    assert losses.ssim_weighted(f, sources, "equal") == pytest.approx(float(1 - sa / 2 - sb / 2), abs=1e-5)
    assert losses.ssim(f, sources) == pytest.approx(float(1 - sa / 2 - sb / 2), abs=1e-5)
    assert losses.intensity_mean(f, sources) == pytest.approx(float((f - (a + b) / 2).abs().mean()), abs=1e-6)
    expected = (strength(f) - torch.maximum(strength(a), strength(b))).abs().mean()
    assert losses.gradient(f, sources) == pytest.approx(float(expected), rel=1e-5)


def test_gradient_shares_of_flat_images() -> None:
    assert losses.gradient_shares(torch.full((1, 2, 16, 16), 0.5)).tolist() == pytest.approx([0.5, 0.5])


# ---------------------------------------------------------------------- training TITA


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train")
    for index in range(10):
        write_image(root / "ivif/ir" / f"{index}.png", to8(scene(72, 80, index)))
        write_image(root / "ivif/vis" / f"{index}.png", to8(scene(72, 80, 100 + index, 3)))
        bright = 0.6 + 0.4 * scene(72, 80, 300 + index)
        write_image(root / "mef/under" / f"{index}.png", to8(bright))  # named the wrong way round on purpose
        write_image(root / "mef/over" / f"{index}.png", to8(0.3 * bright))
        write_image(root / "natural" / f"{index}.png", to8(scene(72, 80, 200 + index)))
    return root


def small(steps: int = 4, *settings: str) -> Recipe:
    tiny = ["config.channels=12", "config.extract=1", "config.interact=2", "config.rebuild=1", "config.drop_path=0.5"]
    chosen = replace(RECIPES["tita-small"], steps=steps, crop=32, tasks={"ivf": 1, "mef": 2, "mff": 1}, warmup=1)
    return override(chosen, [*tiny, *settings])


@pytest.mark.parametrize("strategy", ["famo", "uncertainty"])
def test_stop_and_resume_equal_one_run(
    strategy: str, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With drop path on, so that the global random state must come back too."""
    chosen = small(4, f"strategy={strategy}")
    whole = train(chosen, folders, tmp_path / "whole", log=lambda s: None)
    save = torch.save

    def save_and_stop(state: dict[str, object], path: Path) -> None:
        save(state, path)
        path.replace(path.with_name("last.pt"))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, folders, tmp_path / "parts", save_every=2, log=lambda s: None)
    monkeypatch.setattr(torch, "save", save)
    torch.rand(7)  # somebody else draws in between
    parts = train(chosen, folders, tmp_path / "parts", log=lambda s: None)
    a, b = load_model(whole).state_dict(), load_model(parts).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert load_model(whole).config.channels == 12


def test_training_order_is_the_order_of_use(folders: Path) -> None:
    gen = torch.Generator().manual_seed(0)
    sets = RECIPES["tita-small"].sets
    data = TrainingData(folders, sets, ordered=True)
    for stacks in data.train["mef"]:
        assert all(s[0].mean() < s[1].mean() for s in stacks), "the darker file first, whatever its folder"
    as_named = TrainingData(folders, sets)
    assert all(s[0].mean() > s[1].mean() for s in as_named.train["mef"][0])
    pairs = zip(data.train["ivf"][0], as_named.train["ivf"][0], strict=True)
    assert all((a == b).all() for a, b in pairs), "grey infrared before colour, as the folders are"
    assert data.manifest == as_named.manifest
    for _ in range(4):
        batch = data.batch("mff", 2, 2, 32, gen)
        means = batch.clean.mean((2, 3))
        assert (means[:, 0] <= means[:, 1]).all()
    swapped = (DataSet("ivf", ("ivif/vis", "ivif/ir")), DataSet("natural", ("natural",)))
    turned = TrainingData(folders, swapped, ordered=True)
    assert (turned.train["ivf"][0][0] == data.train["ivf"][0][0]).all()


def test_stacks_are_refused_for_pairs(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionError, match=r"takes 2 images.*stacks=0"):
        train(small(1, "stacks=4"), folders, tmp_path / "run", log=lambda s: None)


def test_paper_recipe() -> None:
    paper = RECIPES["tita"]
    assert (paper.lr, paper.steps, paper.crop, paper.ema) == (2e-5, 20_000, 64, 0.999)
    assert set(paper.tasks.values()) == {8}
    assert learning_rate(paper, 0) == learning_rate(paper, 19_999) == 2e-5
    assert "mif" not in {s.task for s in paper.sets}


def test_older_checkpoints_resume() -> None:
    """A recipe saved before a field existed is the same recipe if the field has its default."""
    import json
    from dataclasses import asdict

    now = asdict(RECIPES["anyfuse"])
    before = {k: v for k, v in now.items() if k not in ("schedule", "optimiser", "config")}
    assert same_recipe(json.dumps(before), json.dumps(now))
    assert not same_recipe(json.dumps(before), json.dumps({**now, "schedule": "constant"}))
    now = asdict(override(RECIPES["unifusion-small"], ["options.joint=1"]))
    assert same_recipe(json.dumps({**now, "options": {"joint": 1.0}}), json.dumps(now))
    assert not same_recipe(json.dumps({**now, "options": {"speed": 1.0}}), json.dumps(now))


# ---------------------------------------------------------------------- --set


def test_override() -> None:
    chosen = override(
        RECIPES["tita-small"],
        [
            "lr=1e-3",
            "config.branches=hpf,mul",
            "config.noise=false",
            "losses.mff.intensity=20",
            "losses.mff.intensity_mean=0",
            "tasks.ivf=5",
            "options.gamma=1e-5",
            "config.interact=2,1",
        ],
    )
    assert (chosen.lr, chosen.strategy, chosen.options) == (1e-3, "famo", FamoSettings(gamma=1e-5))
    other = override(chosen, ["options.rate=0.5", "strategy=uncertainty"])
    assert (other.strategy, other.options) == ("uncertainty", UncertaintySettings(rate=0.5))
    assert override(chosen, ["strategy=plain"]).options is None
    assert other.losses == chosen.losses
    assert chosen.config == {"branches": ("hpf", "mul"), "noise": False, "interact": (2, 1)}
    assert "intensity_mean" not in chosen.losses["mff"]
    assert chosen.losses["mff"]["intensity"] == 20
    assert chosen.tasks["ivf"] == 5
    assert RECIPES["tita-small"].losses["mff"]["intensity_mean"] == 20, "the recipe itself stays as it is"
    assert override(RECIPES["tita-small"], ["tasks.mef=0"]).tasks.keys() == {"ivf", "mff"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr", "give KEY=VALUE"),
        ("learning=1", "unknown 'learning'"),
        ("stepz=1", "did you mean steps"),
        ("steps=many", "'many' is no int"),
        ("config.phy=sigmoid", "did you mean phi"),
        ("config.phi=max", "phi 'max'"),
        ("config.noise=perhaps", "is no bool"),
        ("config=1", r"give it as config\.phi"),
        ("tasks.sharpen=1", "unknown 'sharpen'"),
        ("losses.mff.nonsense=1", "no loss 'nonsense'"),
        ("losses.mff=1", r"give it as losses\.mff"),
        ("schedule=stairs", "one of cosine, constant"),
        ("lr.x=1", "give it as lr"),
    ],
)
def test_override_errors(setting: str, message: str) -> None:
    with pytest.raises(FusionError, match=message):
        override(RECIPES["tita-small"], [setting])


def test_set_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "tita-small", "--data", str(tmp_path), "--set", "config.phi=max"])
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert err.startswith("anyfuse: phi 'max'")
    assert err.count("\n") == 1
