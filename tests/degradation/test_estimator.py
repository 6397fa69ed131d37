"""What is wrong with images: statistics, the shipped estimator on images that it never saw, its training, and who is
told.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import scene, to8
from torch import Tensor

from anyfuse import Fuser
from anyfuse.cli import main
from anyfuse.control import Control
from anyfuse.degradation import estimator as module
from anyfuse.degradation import gate
from anyfuse.degradation.estimator import (
    FAULTS,
    ROLES,
    Estimate,
    Fault,
    built_in,
    estimate,
    estimate_stack,
    load_estimator,
    menu_of,
    windows,
)
from anyfuse.degradation.gate import Shares
from anyfuse.degradation.plan import FAULT_OF, MENUS, apply, parse
from anyfuse.degradation.statistics import _smallest, pair_statistics, statistics
from anyfuse.errors import FusionError
from anyfuse.image.colour import to_luma
from anyfuse.image.stack import Stack
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.language.instruction import parse_instruction
from anyfuse.models.base import parameter_counts
from anyfuse.models.mmaif.instruction import WIDTH
from anyfuse.models.mmaif.mmaif import MMAIF, MMAIFConfig
from anyfuse.training.parts.estimator import EstimatePlan, train_estimate
from anyfuse.weights import package_folder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = MMAIFConfig(width=32, layers=1, heads=2, hidden=32, rank=4, random_codec=True)


def example(name: str) -> Tensor:
    return read_image(EXAMPLES / name).read()


def worse(image: Tensor, ops: str, source: int = 0) -> Tensor:
    return (apply(image, parse(ops), 5, source=source)[0] * 255).round() / 255


# ---------------------------------------------------------------------- statistics


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (24, 24), (63, 65), (150, 210)])
def test_statistics_of_any_size_are_finite_and_of_one_length(size: tuple[int, int]) -> None:
    gen = torch.Generator().manual_seed(0)
    first, second = torch.rand((2, *size), generator=gen)
    found = statistics(first)
    assert found.shape == (495,)
    assert built_in().config.statistics <= 495
    assert pair_statistics(first, second).shape == (built_in().config.pairs,)
    for x in (first, torch.zeros(size), torch.ones(size)):
        assert statistics(x).isfinite().all()
        assert pair_statistics(x, second).isfinite().all()
    assert torch.equal(found, statistics(first))


def test_statistics_refuse_other_shapes() -> None:
    for wrong in (torch.zeros(1, 8, 8), torch.zeros(0, 8)):
        with pytest.raises(FusionError, match="luma"):
            statistics(wrong)


@pytest.mark.parametrize(("height", "width"), [(1, 5), (5, 1), (11, 11), (15, 15), (1, 11)])
def test_smallest_in_a_window(height: int, width: int) -> None:
    x = torch.rand(40, 50)
    plain = -F.max_pool2d(-x[None], (height, width), 1, (height // 2, width // 2))[0]
    assert torch.equal(_smallest(x, height, width), plain)


def test_windows_are_native_pixels_on_the_grid_of_blocks() -> None:
    assert windows(300, 400) == [(slice(0, 300), slice(0, 400))]
    places = windows(3000, 5000)
    assert len(places) == 5
    for rows, columns in places:
        assert (rows.stop - rows.start, columns.stop - columns.start) == module.WINDOW
        assert rows.start % 8 == columns.start % 8 == 0
        assert rows.stop <= 3000
        assert columns.stop <= 5000
    assert all(w[0].stop <= 100 for w in windows(100, 9000))


# ---------------------------------------------------------------------- the shipped estimator


def test_the_shipped_file_is_the_one_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    file = package_folder("estimate") / "model.safetensors"
    assert sha256(file.read_bytes()).hexdigest() == module.SHA256
    assert file.stat().st_size < 500_000
    assert parameter_counts(built_in())[0] < 150_000
    monkeypatch.setattr(module, "SHA256", "0" * 64)
    built_in.cache_clear()
    try:
        with pytest.raises(FusionError, match="is not the released"):
            built_in()
    finally:
        built_in.cache_clear()


@pytest.mark.parametrize(
    ("ops", "fault"),
    [
        ("noise:0.6", "noise"),
        ("jpeg:0.9", "jpeg"),
        ("blur:0.7", "blur"),
        ("haze:0.9", "haze"),
        ("low_exposure:0.9", "low_exposure"),
        ("snow:0.8", "snow"),
        ("rain:0.9", "rain"),
        ("low_jpeg:0.6", "jpeg"),
        ("snow_flakes:0.9", "snow"),
        ("defocus:0.8", "blur"),
        ("mist:0.8", "haze"),
    ],
)
def test_faults_of_a_visible_image_are_found_and_no_other_image_is_blamed(ops: str, fault: str) -> None:
    pair = [example("infrared/thermal.png"), worse(example("infrared/visible.jpg"), ops, 1)]
    found = estimate(pair, "ivf")
    assert found.roles == ("infrared", "visible")
    assert found.images[1][fault].assumed
    assert found.images[1][fault].strength > 0.15
    assert [one["image"] for one in found.assumed()] == [1] * len(found.assumed())
    assert fault in found.control().degradations
    assert set(found.control().degradations[fault]) == {"second"}


@pytest.mark.parametrize(
    ("ops", "fault"),
    [
        ("dark_stripes:0.8", "stripes"),
        ("bright_stripes:0.8", "stripes"),
        ("dead_pixels:0.7", "dead_pixels"),
        ("noise:0.6", "noise"),
    ],
)
def test_faults_of_an_infrared_image_are_found(ops: str, fault: str) -> None:
    pair = [example("infrared/visible.jpg"), worse(example("infrared/thermal.png"), ops)]
    found = estimate(pair, "ivf")
    assert found.roles == ("visible", "infrared")
    assert found.images[1][fault].assumed
    assert "second" in found.control().degradations[fault]


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (("infrared/thermal.png", "infrared/visible.jpg"), "ivf"),
        (("exposure/1.jpg", "exposure/4.jpg"), "mef"),
        (("focus_pair/near.jpg", "focus_pair/far.jpg"), "mff"),
    ],
)
def test_clean_examples_are_left_alone_and_their_task_is_known(names: tuple[str, str], task: str) -> None:
    found = estimate([example(name) for name in names])
    assert found.task == task
    assert 0.5 < found.certainty <= 1
    assert found.assumed() == []
    assert found.control().empty


def test_a_stack_gives_the_same_as_tensors() -> None:
    frames = tuple(read_image(EXAMPLES / "infrared" / name) for name in ("visible.jpg", "thermal.png"))
    one, other = estimate_stack(Stack(frames)), estimate([frame.read() for frame in frames])
    assert (one.task, one.roles) == (other.task, other.roles) == ("ivf", ("visible", "infrared"))
    for faults, same in zip(one.images, other.images, strict=True):
        for name in faults:
            assert faults[name].probability == pytest.approx(same[name].probability, abs=1e-3)


def test_medical_images_have_no_faults_and_colours_say_what_is_possible() -> None:
    pet, mri = example("medical/pet.png"), example("medical/mri.png")
    assert estimate([pet, mri], "mif").images == ({}, {})
    assert estimate([pet, mri]).task in ("ivf", "mif")
    assert 0.25 < estimate([to_luma(pet), mri]).certainty < 1


# ---------------------------------------------------------------------- the call


def test_menus_are_those_of_the_tasks_in_words() -> None:
    assert set(menu_of("infrared", "ivf")) == {FAULT_OF.get(op, op) for op in MENUS["ivf"]["infrared"]}
    assert "high_exposure" in menu_of("visible")
    assert "high_exposure" not in menu_of("visible", "ivf")
    assert set().union(*(menu_of(role) for role in ROLES)) == set(FAULTS)


def test_an_estimate_speaks_of_the_users_images() -> None:
    sure, unsure = Fault(0.9, 0.8, 0.6), Fault(0.5, 0.9, 0.6)
    found = Estimate(
        "ivf", 1.0, ("infrared", "visible"), ({"noise": sure}, {"haze": Fault(0.99, 0.3, 0.6), "rain": unsure})
    )
    assert found.control() == Control(degradations={"noise": {"first": 1.0}, "haze": {"second": 0.25}})
    assert [one["fault"] for one in found.assumed()] == ["haze", "noise"]
    assert found.as_dict(["a.png", "b.png"])["faults"][0]["image"] == "b.png"
    with pytest.raises(FusionError, match="two images"):
        Estimate("mef", 1.0, ("exposure",) * 3, ({}, {}, {})).control()


def test_wrong_arguments() -> None:
    for images in ([torch.zeros(8, 8)], [torch.zeros(2, 8, 8)], [], [torch.zeros(1, 8, 8), torch.zeros(1, 8, 9)]):
        with pytest.raises(FusionError, match="give"):
            estimate(images)
    with pytest.raises(FusionError, match="unknown task"):
        estimate([torch.zeros(1, 8, 8)], "hdr")


def test_a_model_that_repairs_is_told_unless_the_user_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "harmless", lambda sources, default, result, *wish: (result, Shares(1.0, 1.0)))
    torch.manual_seed(0)
    model = MMAIF(SMALL).eval()
    assert model.restores
    assert not MMAIF(replace(SMALL, text=WIDTH + 1)).restores
    with torch.no_grad():
        for layer in (model.dit.out, model.dit.last, model.dit.shared):
            layer.weight.normal_(0, 0.1)
    thermal, visible = example("infrared/thermal.png"), worse(example("infrared/visible.jpg"), "noise:0.7", 1)
    fuser = Fuser(model)
    looked, silent = fuser.run([visible, thermal]), fuser.run([visible, thermal], say="repair nothing")
    assert [(one["image"], one["fault"]) for one in looked.report["assumed"]["faults"]] == [("image 1", "noise")]
    assert looked.report["assumed"]["task"] == "ivf"
    assert "understood" not in looked.report
    assert "assumed" not in silent.report
    kept = fuser.run([visible, thermal], say="fuse the infrared and visible images, keep the people bright")
    assert [one["fault"] for one in kept.report["assumed"]["faults"]] == ["noise"]
    assert kept.report["assumed"]["certainty"] == 1  # the task was said
    assert any("people" in w or "pedestrian" in w for w in kept.report["warnings"])
    assert not np.array_equal(looked.pixels, silent.pixels)
    level = min((0.25, 0.5, 1.0), key=lambda v: abs(v - looked.report["assumed"]["faults"][0]["strength"]))
    said = fuser.run([visible, thermal], say=Control(degradations={"noise": {"first": level}}))
    assert np.array_equal(looked.pixels, said.pixels)
    assert "assumed" not in Fuser("anyfuse").run([visible, thermal]).report


@pytest.mark.parametrize("text", ["repair nothing", "Don't repair anything.", "please change nothing", "no repairs"])
def test_nothing_can_be_asked_for(text: str) -> None:
    assert parse_instruction(text).empty


# ---------------------------------------------------------------------- the command


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad = worse(example("infrared/visible.jpg"), "noise:0.7")
    write_image(tmp_path / "bad.png", (bad * 255).round().byte().permute(1, 2, 0).numpy())
    clean = EXAMPLES / "infrared" / "thermal.png"
    code, out, _ = call(capsys, "estimate", tmp_path / "bad.png", clean)
    assert code == 0
    assert "noise" in out
    assert "nothing" in out
    code, out, _ = call(capsys, "estimate", "--json", tmp_path / "bad.png", clean)
    rows = json.loads(out)
    assert [row["role"] for row in rows] == ["visible", "infrared"]
    assert rows[0]["faults"]["noise"]["assumed"]
    assert not any(fault["assumed"] for fault in rows[1]["faults"].values())
    code, out, _ = call(capsys, "estimate", "--scene", clean, tmp_path / "bad.png")
    assert "task: ivf" in out
    assert call(capsys, "estimate", "--source", "visible", "--json", clean)[1].count("rain") == 1
    for wrong in (["--scene", clean], ["--task", "hdr", clean], [tmp_path / "none.png"]):
        code, _, err = call(capsys, "estimate", *wrong)
        assert code == 2
        assert err.count("\n") == 1


# ---------------------------------------------------------------------- training


def test_training_writes_what_loads_and_keeps_its_rows(tmp_path: Path) -> None:
    for index in range(10):
        for folder, channels in (("ivif/ir", 1), ("ivif/vis", 3), ("mef/under", 3), ("mef/over", 3), ("natural", 3)):
            seed = index + 10 * len(folder)
            write_image(tmp_path / "data" / folder / f"{index}.png", to8(scene(72, 80, seed, channels)))
    plan = EstimatePlan(pairs=24, tuning=12, tests=12, least=48, most=64, steps=30)
    lines: list[str] = []
    train_estimate(plan, tmp_path / "data", tmp_path / "a", log=lines.append)
    model = load_estimator(tmp_path / "a")
    assert (model.thresholds >= 0.5).all()
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| `haze` |" in card
    assert "with a false alarm" in card
    stamp = (tmp_path / "a" / "rows.pt").stat().st_mtime_ns
    first = (tmp_path / "a" / "model.safetensors").read_bytes()
    train_estimate(plan, tmp_path / "data", tmp_path / "a", log=lines.append)
    assert (tmp_path / "a" / "rows.pt").stat().st_mtime_ns == stamp
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == first
    with pytest.raises(FusionError, match="lacks"):
        train_estimate(plan, tmp_path / "data" / "ivif", tmp_path / "b")
    with pytest.raises(FusionError, match="give 1 or more"):
        train_estimate(replace(plan, steps=0), tmp_path / "data", tmp_path / "b")
    (tmp_path / "a" / "config.json").write_text(
        json.dumps({"statistics": 3, "pairs": 2, "hidden": [4, 4], "glance": 2, "dropout": 0.0})
    )
    with pytest.raises(FusionError, match="other faults"):
        load_estimator(tmp_path / "a")
    with pytest.raises(FusionError, match="holds no estimator"):
        load_estimator(tmp_path / "none")


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_nothing_is_wrong_with_a_flat_image(level: float) -> None:
    flat = torch.full((1, 64, 64), level)
    flat[0, 0, 0] += 2 / 255
    photo = read_image(EXAMPLES / "infrared" / "visible.jpg").read()[:, :64, :64]
    found = estimate([flat, photo], "mef")
    assert all(fault.probability == 0 for fault in found.images[0].values())
    assert any(fault.probability > 0 for fault in found.images[1].values())


def test_nothing_is_assumed_of_a_few_pixels() -> None:
    photo = read_image(EXAMPLES / "infrared" / "visible.jpg").read()
    for size in ((1, 1), (3, 5), (31, 200)):
        found = estimate([photo[:, : size[0], : size[1]]] * 2, "mff")
        assert not found.assumed()
