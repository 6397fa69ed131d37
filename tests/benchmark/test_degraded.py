"""The benchmark on degraded pairs: the recipe, classical restoration, and a run with a model that repairs."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene, to8

sys.path.insert(0, str(Path(__file__).parent))
from mini import refused, run

from anyfuse.benchmark.degraded import cases as degraded
from anyfuse.benchmark.degraded import restore_baseline as restore
from anyfuse.benchmark.degraded.cases import (
    BUILT_IN,
    Case,
    CaseList,
    clean_frames,
    degraded_frames,
    dumps,
    instruction,
    make_recipe,
    read_recipe,
)
from anyfuse.benchmark.degraded.run import CLASSICAL, DegradedBench, Score, markdown
from anyfuse.control import Control
from anyfuse.degradation import restore as restoration
from anyfuse.degradation.plan import MENUS, OPERATIONS, Step, apply
from anyfuse.errors import FusionError
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.models.mmaif.mmaif import MMAIF, MMAIFConfig

SMALL = MMAIFConfig(width=32, layers=1, heads=2, hidden=32, rank=4, random_codec=True)
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("degraded")
    for index in range(2):
        write_image(root / "ivif-roadscene" / "ir" / f"{index}.png", to8(scene(72, 100, index)))
        write_image(root / "ivif-roadscene" / "vis" / f"{index}.png", to8(scene(72, 100, 20 + index, 3)))
    return root


def little(data: Path) -> CaseList:
    """Three cases of the mini set: noise on the infrared, haze and noise on the visible image, clean."""
    whole = make_recipe(data)
    base = replace(whole.cases[0], wrong=((Step("jpeg", 0.5),), (Step("rain", 0.5),)))
    plans = {
        "gaussian_noise": ((Step("gaussian_noise", 1.0),), ()),
        "combined": ((), (Step("haze", 0.7), Step("gaussian_noise", 0.4))),
        "clean": ((), ()),
    }
    cases = tuple(replace(base, name=kind, kind=kind, plans=plan) for kind, plan in plans.items())
    return replace(whole, cases=cases, window=(64, 96))


# ---------------------------------------------------------------------- the recipe


def test_the_shipped_recipe_has_every_operation_and_wrong_ones_are_wrong() -> None:
    recipe = read_recipe(BUILT_IN)
    for task, menus in MENUS.items():
        own = [case for case in recipe.cases if case.task == task]
        kinds = [case.kind for case in own]
        for op in {op for menu in menus.values() for op in menu}:
            assert kinds.count(op) == 3
        assert kinds.count("combined") == 24
        assert kinds.count("clean") == 6
        for case in own:
            there = {step.op for plan in case.plans for step in plan}
            assert there == {case.kind} or case.kind in ("combined", "clean")
            assert len(there) in {"combined": (2, 3), "clean": (0,)}.get(case.kind, (1,))
            for k, plan in enumerate(case.plans):
                kind = "infrared" if task == "ivf" and k == 0 else "visible"
                assert {step.op for step in plan} <= set(menus[kind])
            wrong = {step.op for plan in case.wrong for step in plan}
            assert wrong
            assert not wrong & there
            assert not ({"rain", "snow"} & there and "haze" in wrong)  # both have a veil
    assert all(len(files) == 2 for pairs in recipe.sources.values() for files in pairs.values())


def test_the_shipped_recipe_is_what_the_command_writes(data_root: Path) -> None:
    assert dumps(make_recipe(data_root / "test")) == dumps(read_recipe(BUILT_IN))


def test_recipes_are_read_back_and_wrong_ones_refused(data: Path, tmp_path: Path) -> None:
    recipe = little(data)
    (tmp_path / "r.json").write_text(dumps(recipe))
    assert dumps(read_recipe(tmp_path / "r.json")) == dumps(recipe)
    assert read_recipe(tmp_path / "r.json").digest == recipe.digest
    raw = json.loads(dumps(recipe))
    for changes, message in (
        ({"version": 9}, "version 9"),
        ({"cases": []}, "needs cases"),
        ({"cases": [raw["cases"][0]] * 2}, "name of its own"),
        ({"cases": [raw["cases"][0] | {"plans": [[["fog", 1]], []]}]}, "unknown operation"),
        ({"cases": [raw["cases"][0] | {"plans": [[["haze", 2]], []]}]}, "not in"),
        ({"cases": [raw["cases"][0] | {"task": "mif"}]}, "needs a task"),
        ({"window": 3}, "not a recipe"),
    ):
        (tmp_path / "bad.json").write_text(json.dumps(raw | changes))
        with pytest.raises(FusionError, match=message):
            read_recipe(tmp_path / "bad.json")
    with pytest.raises(FusionError, match="not a recipe"):
        read_recipe(tmp_path / "none.json")
    with pytest.raises(FusionError, match="holds none"):
        make_recipe(tmp_path)


def test_cases_are_the_same_every_time_and_other_files_are_noticed(data: Path, tmp_path: Path) -> None:
    recipe = little(data)
    case = recipe.cases[1]
    folder = data / "ivif-roadscene"
    paths = [folder / kind / f"{case.pair}.png" for kind in ("ir", "vis")]
    clean = clean_frames(case, paths, recipe)
    assert [frame.pixels.shape for frame in clean] == [(64, 96, 1), (64, 96, 3)]
    assert np.array_equal(clean[0].pixels, read_image(paths[0]).pixels[4:68, 2:98])
    bad, done = degraded_frames(case, clean)
    again, _ = degraded_frames(case, clean)
    assert np.array_equal(bad[0].pixels, clean[0].pixels)
    assert np.array_equal(bad[1].pixels, again[1].pixels)
    assert not np.array_equal(bad[1].pixels, clean[1].pixels)
    assert [record["op"] for record in done[1]] == ["haze", "gaussian_noise"]
    with pytest.raises(FusionError, match="another file"):
        clean_frames(case, paths[::-1], recipe)


def test_instructions_speak_of_the_pair_as_it_is_given() -> None:
    plans = ((Step("gaussian_blur", 0.3),), (Step("haze", 0.9), Step("dark_stripes", 0.5)))
    expected = {"blur": {"second": 0.25}, "haze": {"first": 1.0}, "stripes": {"first": 0.5}}
    assert instruction(plans, (1, 0)) == Control(degradations=expected)
    strengths = {"blur": {"second": 0.3}, "haze": {"first": 0.9}, "stripes": {"first": 0.5}}
    assert instruction(plans, (1, 0), exact=True) == Control(degradations=strengths)
    assert instruction(((), ()), (0, 1)).empty


# ---------------------------------------------------------------------- classical restoration


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op not in ("motion_blur", "low_contrast")])
def test_restoration_brings_an_image_nearer(op: str) -> None:
    name = "infrared/thermal.png" if OPERATIONS[op].suits == "infrared" else "infrared/visible.jpg"
    clean = to_luma(read_image(EXAMPLES / name).read())[:, :160, :200]
    bad, done = apply(clean, [Step(op, 0.8)], 1)
    restored = restore.restore(bad[0], done)
    assert restored.shape == clean.shape[1:]
    assert 0 <= restored.min() <= restored.max() <= 1
    before, after = ((x - clean[0]).square().mean() for x in (bad[0], restored))
    assert after < before


def test_contrast_comes_back() -> None:
    clean = to_luma(read_image(EXAMPLES / "infrared" / "visible.jpg").read())
    bad, done = apply(clean, [Step("low_contrast", 1.0)], 1)
    assert restore.restore(bad[0], done).std() > 1.5 * bad.std()


def test_motion_along_a_known_path_is_undone() -> None:
    clean = to_luma(read_image(EXAMPLES / "infrared" / "visible.jpg").read())[0, :160, :200]
    kernel = restoration.line_kernel(9, 30)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    r = kernel.shape[0] // 2
    padded = torch.nn.functional.pad(clean[None, None], (r,) * 4, mode="reflect")
    blurred = torch.nn.functional.conv2d(padded, kernel.flip(0, 1)[None, None])[0, 0]
    restored = restoration.wiener(blurred, kernel, 0.01)
    assert (restored - clean).square().mean() < 0.6 * (blurred - clean).square().mean()


def test_noise_is_measured_and_an_image_without_any_stays() -> None:
    flat = torch.full((200, 200), 0.5)
    noisy = flat + 0.05 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    assert restoration.noise_deviation(noisy) == pytest.approx(0.05, rel=0.05)
    assert torch.equal(restoration.non_local_means(flat, restoration.noise_deviation(flat)), flat)
    assert restoration.non_local_means(noisy, 0.05).std() < 0.012


def test_denoising_of_a_clean_image_leaves_no_specks() -> None:
    """Where nothing is alike, weights are too small for a quotient of their sums."""
    clean = to_luma(read_image(EXAMPLES / "infrared" / "visible.jpg").read())[0]
    made = restoration.non_local_means(clean, 0.1 / 255)
    assert (made - clean).abs().max() < 2 / 255


def test_clahe_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    image = to8(scene(480, 640, 3) * 0.4 + 0.2)
    theirs = cv2.createCLAHE(2.0, (8, 8)).apply(image).astype(float)
    ours = restoration.clahe(torch.from_numpy(image).float() / 255).numpy() * 255
    assert np.abs(ours - theirs).mean() < 1.5
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.998


def test_restoration_refuses_what_it_does_not_know() -> None:
    with pytest.raises(FusionError, match="no classical restoration"):
        restore.restore(torch.zeros(8, 8), [{"op": "fog", "strength": 1.0}])
    assert torch.equal(restore.restore(torch.ones(8, 8), []), torch.ones(8, 8))


# ---------------------------------------------------------------------- the run


def test_run_with_a_model_that_repairs(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    MMAIF(SMALL).eval().save_pretrained(tmp_path / "model")
    (tmp_path / "r.json").write_text(dumps(little(data)))
    call = ["bench", "--degraded", tmp_path / "r.json", "--data", data, "-q"]
    code, _, err = run(capsys, *call, "--models", f"anyfuse={tmp_path / 'model'}", "-o", tmp_path / "no")
    assert (code, "another label" in err) == (2, True)
    call += ["--models", f"average,mine={tmp_path / 'model'}"]
    code, text, err = run(capsys, *call, "-o", tmp_path / "out")
    assert code == 0, err
    assert "3 cases, 8 methods" in text
    lines = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    head = json.loads(lines[1].removeprefix("# "))
    assert head["recipe"] == little(data).digest
    rows = {(row["case"], row["method"]): row for row in csv.DictReader(lines[2:])}
    methods = {method for _, method in rows}
    assert methods == {
        "anyfuse",
        CLASSICAL,
        "average",
        *(f"mine ({way})" for way in ("exact", "oracle", "estimate", "none", "wrong")),
    }
    assert float(rows["clean", "anyfuse"]["psnr"]) == 60
    assert float(rows["clean", CLASSICAL]["psnr"]) == 60
    assert float(rows["clean", "mine (oracle)"]["psnr"]) == float(rows["clean", "mine (none)"]["psnr"])
    assert float(rows["gaussian_noise", CLASSICAL]["psnr"]) > float(rows["gaussian_noise", "anyfuse"]["psnr"])
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["told"]["combined"]["mine (oracle)"] == "[RESTORE] haze second, noise second"
    assert content["told"]["combined"]["mine (none)"] == "[FUSION]"
    assert "rain" in content["told"]["combined"]["mine (wrong)"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image" in page
    assert "http" not in page
    assert "| gaussian_noise |" in (tmp_path / "out" / "report.md").read_text()
    assert len(list((tmp_path / "out" / "fused" / "mine (oracle)").iterdir())) == 3
    first = (tmp_path / "out" / "fused" / "average" / "combined.png").read_bytes()
    code, _, _ = run(capsys, *call, "-o", tmp_path / "again", "--say", "none", "--limit", 1)
    assert (tmp_path / "again" / "fused" / "average" / "combined.png").read_bytes() == first


def test_failures_are_reported(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    recipe = little(data)
    lost = replace(recipe.cases[0], name="lost", pair="nowhere")
    (tmp_path / "r.json").write_text(dumps(replace(recipe, cases=(recipe.cases[2], lost))))
    call = ["bench", "--degraded", tmp_path / "r.json", "--models", "average", "-q", "-o", tmp_path / "out"]
    code, _, err = run(capsys, *call, "--data", data / "ivif-roadscene")
    assert code == 1
    assert "lost: no pair nowhere" in err
    assert "--say" in refused(capsys, *call, "--data", data, "--say", "loudly")
    assert "no such folder" in refused(capsys, *call, "--data", tmp_path / "none")
    assert "holds none" in refused(capsys, *call, "--data", tmp_path)
    assert "leave out" in refused(capsys, *call, "--data", data, "--task", "ivf")
    assert "once" in refused(capsys, "bench", "--data", data, "--data", data, "--task", "ivf")
    assert "--task" in refused(capsys, "bench", "--data", data)


def test_means_and_wins() -> None:
    case = Case("a", "d", "ivf", "p", "haze", 1, ((), ()), ((), ()))
    recipe = CaseList((8, 8), (case, replace(case, name="b", kind="jpeg"), replace(case, name="c", kind="clean")), {})
    values = {"anyfuse": (10, 20, 60), CLASSICAL: (15, 19, 60), "mine": (16, 19.5, 40)}
    scores = [
        Score(c.name, "ivf", c.kind, method, psnr, 0.5, 1.0)
        for method, row in values.items()
        for c, psnr in zip(recipe.cases, row, strict=True)
    ]
    result = DegradedBench(recipe, scores)
    assert result.mean("mine") == (17.75, 0.5, 2)
    assert result.mean("mine", "clean")[0] == 40
    assert math.isnan(result.mean("mine", "rain")[0])
    assert result.wins("mine") == (1, 2)
    assert "1 of 2" in markdown(result)
    assert degraded.WINDOW == (360, 480)
