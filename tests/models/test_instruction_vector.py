"""Instructions as numbers, and models that follow none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from anyfuse import Fuser
from anyfuse.control import DEGRADATIONS, Control
from anyfuse.degradation.plan import FAULT_OF, KNOWN, MENUS, Step
from anyfuse.errors import FusionError
from anyfuse.language.instruction import parse_instruction
from anyfuse.models.mmaif.instruction import WIDTH, instruction_vector
from anyfuse.models.mmaif.mmaif import MMAIF, MMAIFConfig
from anyfuse.training.strategies.latent import plan_vectors

SMALL = MMAIFConfig(width=32, layers=1, heads=2, hidden=32, rank=4, random_codec=True)


def place(name: str, source: int) -> int:
    return 1 + source * len(DEGRADATIONS) + DEGRADATIONS.index(name)


def listening() -> MMAIF:
    """An untrained model whose result depends on what it is told."""
    torch.manual_seed(0)
    model = MMAIF(SMALL).eval()
    with torch.no_grad():
        for layer in (model.dit.out, model.dit.last, model.dit.shared):
            layer.weight.normal_(0, 0.1)
    return model


def test_sources_find_their_places() -> None:
    said = Control(
        degradations={"haze": {"visible": 1.0}, "noise": {"infrared": 0.25}, "rain": 0.5, "jpeg": {"first": 0.5}}
    )
    for order in ((0, 1), (1, 0)):
        found = instruction_vector(said, order)
        expected = torch.zeros(WIDTH)
        expected[0] = 1
        expected[place("haze", 1)], expected[place("noise", 0)] = 1.0, 0.25
        expected[place("rain", 0)] = expected[place("rain", 1)] = 0.5
        expected[place("jpeg", order.index(0))] = 0.5
        assert torch.equal(found, expected)
    assert instruction_vector(Control(), (0, 1)).nonzero().tolist() == [[0]]  # known: nothing to repair


def test_whatever_users_can_ask_for_was_there_in_training() -> None:
    trained = {op for menus in MENUS.values() for menu in menus.values() for op in menu}
    known = {0} | {place(FAULT_OF.get(op, op), source) for op in trained for source in (0, 1)}
    for name in DEGRADATIONS:
        found = instruction_vector(Control(degradations={name: 1.0}), (0, 1)).nonzero().flatten().tolist()
        assert len(found) == 3
        assert set(found) <= known, name
    assert torch.equal(
        instruction_vector(Control(degradations={"sensor_noise": 0.5, "noise": 0.25}), (0, 1)),
        instruction_vector(Control(degradations={"noise": 0.5}), (0, 1)),
    )


def test_every_operation_of_the_menus_can_be_said() -> None:
    names = {op for menus in MENUS.values() for menu in menus.values() for op in menu}
    assert {FAULT_OF.get(op, op) for op in names} <= set(DEGRADATIONS)
    assert set(FAULT_OF) <= set(KNOWN)


def test_plans_are_told_as_users_would() -> None:
    torch.manual_seed(0)
    plans = [((Step("gaussian_noise", 0.875),), (Step("haze", 0.3125),))] * 400
    found = plan_vectors(plans)
    own, other = found[:, place("noise", 0)], found[:, place("noise", 1)]
    assert set(own.tolist()) == {0.5, 0.875, 1.0}
    for level in (0.5, 0.875, 1.0):
        assert 0.25 < (own == level).float().mean() < 0.42
    assert 0.2 < (other > 0).float().mean() < 0.4
    assert set(found[:, place("haze", 1)].tolist()) == {0.25, 0.3125, 0.5}
    assert plan_vectors([((), ())]).nonzero().tolist() == [[0, 0]]
    stripes = plan_vectors([((Step("dark_stripes", 1.0), Step("bright_stripes", 0.25)), ())] * 40)
    assert set(stripes[:, place("stripes", 0)].tolist()) == {0.5, 1.0}  # the stronger of the two


def test_pairs_fused_at_once_keep_their_own_instructions() -> None:
    rng = np.random.default_rng(0)
    pair = [rng.integers(0, 256, (64, 80), dtype=np.uint8) for _ in range(2)]
    fuser = Fuser(listening())
    instructions = ["remove the heavy haze", "remove the noise in the first image", "repair nothing", "fix the rain"]
    alone = [fuser(pair, say=instruction) for instruction in instructions]
    assert len({one.tobytes() for one in alone}) == 4
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            for one, same in zip(
                alone, pool.map(lambda instruction: fuser(pair, say=instruction), instructions), strict=True
            ):
                assert np.array_equal(one, same)


def test_mmaif_hears_and_the_report_says_what_was_understood() -> None:
    rng = np.random.default_rng(0)
    dark, bright = (rng.integers(low, low + 100, (32, 48), dtype=np.uint8) for low in (0, 150))
    fuser = Fuser(listening())
    plain = fuser.run([dark, bright]).pixels
    told = fuser.run([dark, bright], say="remove the heavy haze, and don't touch the rain")
    assert told.report["understood"] == "[RESTORE] haze 1.0 [KEEP] rain"
    assert any("keep rain" in w for w in told.report["warnings"])
    assert not np.array_equal(told.pixels, plain)
    assert np.array_equal(fuser.run([dark, bright]).pixels, plain)  # nothing stays from the call before
    with pytest.raises(FusionError, match="LIGHT"):
        fuser.run([dark, bright], say="much brighter")


def test_other_models_refuse_repairs_and_ignore_the_task() -> None:
    images = [np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)]
    fuser = Fuser("average")
    with pytest.raises(FusionError, match="mmaif"):
        fuser.run(images, say="remove the noise")
    assert fuser.run(images, say=parse_instruction("fuse these two exposures")).report["warnings"]


@pytest.mark.parametrize("say", [3, ["noise"], b"noise"])
def test_an_instruction_is_words_or_a_control(say: object) -> None:
    pair = [np.zeros((64, 80), np.uint8)] * 2
    with pytest.raises(FusionError, match="give an instruction in words, or a Control"):
        Fuser(listening()).run(pair, say=say)  # type: ignore[arg-type]
