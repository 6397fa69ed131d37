"""The scripts below experiments/ on images made here, with untrained models: what they measure, and that they run and
go on.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import scene, to8

from anyfuse.benchmark import segmentation as words
from anyfuse.benchmark import tone_control as tones
from anyfuse.cli.main import main
from anyfuse.control import TONES
from anyfuse.data.tones import apply_tones
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.metrics import METRICS
from anyfuse.models.ditfuse.config import DiTFuseConfig
from anyfuse.models.ditfuse.ditfuse import DiTFuse
from anyfuse.models.mmaif.mmaif import MMAIF, MMAIFConfig
from anyfuse.training.pools.degraded_pairs import DegradedPairs
from anyfuse.training.pools.instructions import InstructPairs
from anyfuse.training.recipes import RECIPES
from anyfuse.training.strategies.instruct import InstructSettings

SMALL = DiTFuseConfig(width=32, layers=2, heads=2, hidden=48, vocabulary=128, guide=4, steps=2, random_codec=True)


def script(name: str) -> ModuleType:
    """experiments/NAME.py as a module."""
    path = Path(__file__).parents[2] / "experiments" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("test")
    for index in range(2):
        for seed, name in enumerate(("ivif-roadscene/ir", "ivif-roadscene/vis")):
            write_image(root / name / f"{index}.png", to8(scene(64, 96, 10 * seed + index)))
        y, x = np.mgrid[0:128, 0:160]
        write_image(root / "natural-bsd100" / f"{index}.png", to8(0.5 + 0.4 * np.sin(x / 9 + y / 7 + index)))
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    made = DiTFuse(SMALL)
    with torch.no_grad():
        for p in made.dit.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    folder = tmp_path_factory.mktemp("models") / "small"
    made.save_pretrained(folder)
    return folder


# ---------------------------------------------------------------------- ablations

TINY = {
    "mmaif-tiny": ["config.hidden=16", "config.rank=4", "tasks.ivf=1", "tasks.mef=1", "tasks.mff=1", "options.pool=12"],
    "ditfuse-tiny": ["config.hidden=48", "config.steps=1", "tasks.instruct=4", "options.pool=20"],
}


@pytest.mark.parametrize("preset", TINY)
def test_ablation_shares_a_pool(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(10):
        for seed, name in enumerate(("ivif/ir", "ivif/vis", "mef/under", "mef/over", "natural", "camvid/images")):
            write_image(tmp_path / "data" / name / f"{index}.png", to8(scene(72, 80, 100 * seed + index)))
        classes = np.random.default_rng(index).integers(0, 12, (9, 10)).repeat(8, 0).repeat(8, 1)
        write_image(tmp_path / "data" / "camvid" / "labels" / f"{index}.png", classes.astype(np.uint8))
    ablation = script("ablation")
    for variant in ablation.VARIANTS[preset].values():
        ablation.override(ablation.RECIPES[preset], variant)  # every option is there
    monkeypatch.setattr(DegradedPairs, "scored", 1)
    monkeypatch.setattr(InstructPairs, "scored", 1)
    variants = dict(list(ablation.VARIANTS[preset].items())[:2])
    monkeypatch.setitem(ablation.VARIANTS, preset, variants)
    changes = [
        "config.heads=2",
        "config.width=32",
        "config.layers=1",
        "config.random_codec=true",
        "crop=64",
        "warmup=1",
    ]
    call = [preset, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--steps", "2", "--seeds", "0,1"]
    call += [part for change in [*changes, *TINY[preset]] for part in ("--set", change)]
    ablation.main(call)
    text = capsys.readouterr().out
    folders = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert len(folders) == 5, folders  # two variants, two seeds, one pool
    assert "| mean rank |" in text.replace("variant ", "")
    assert "psnr_anyfuse" in text
    for variant in variants:
        assert f"| {variant} | " in text
    times = [p.stat().st_mtime_ns for p in sorted((tmp_path / "out").glob("*/scores.json"))]
    assert len(times) == 4
    ablation.main(call)
    assert [p.stat().st_mtime_ns for p in sorted((tmp_path / "out").glob("*/scores.json"))] == times


# ---------------------------------------------------------------------- segmentation


def streets(root: Path, count: int = 10) -> Path:
    for index in range(count):
        write_image(root / "images" / f"{index}.png", to8(scene(72, 80, index)))
        classes = np.random.default_rng(index).integers(0, 12, (9, 10)).repeat(8, 0).repeat(8, 1)
        write_image(root / "labels" / f"{index}.png", classes.astype(np.uint8))
    return root


def test_unet_goes_on_and_is_compared(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmentation = script("segmentation")
    root, device = streets(tmp_path / "camvid"), torch.device("cpu")
    data = words.read(root)

    def weights(path: Path) -> dict[str, torch.Tensor]:
        return torch.load(path, weights_only=True)["weights"]

    segmentation.train_unet(data, tmp_path / "whole.pt", 3000, 102, device, 32)
    assert "9 images, 816 crops" in capsys.readouterr().out  # the tenth is held out

    entropy, seen = torch.nn.functional.cross_entropy, []

    def until(*args: object, **options: object) -> object:
        seen.append(1)
        if len(seen) > 101:
            raise KeyboardInterrupt
        return entropy(*args, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmentation.F, "cross_entropy", until)
        with pytest.raises(KeyboardInterrupt):
            segmentation.train_unet(data, tmp_path / "parts.pt", 3000, 102, device, 32)
    segmentation.train_unet(data, tmp_path / "parts.pt", 3000, 102, device, 32)
    whole, parts = weights(tmp_path / "whole.pt"), weights(tmp_path / "parts.pt")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not list(tmp_path.glob("*.part"))
    found = segmentation.main(["--data", str(root), "--model", str(model), "--unet", str(tmp_path / "whole.pt")])
    assert set(found) == {"words", "chosen", "unet"}
    assert "| pedestrian | " in capsys.readouterr().out
    assert all(0 <= row["mean"] <= 1 and len(row["confusion"]) == 11 for row in found.values())
    assert sum(map(sum, found["unet"]["confusion"])) == pytest.approx(
        sum(any(row) for row in found["unet"]["confusion"])
    )


def test_iou_and_confusion_of_known_masks() -> None:
    segmentation = script("segmentation")
    classes = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 11]])  # sky, car, and one pixel without a label
    table = torch.zeros(11, 11, dtype=torch.float64)
    table[0] = words.counts(torch.tensor([[1, 1, 1, 0], [1, 0, 0, 1]]).bool(), classes)
    table[8] = words.counts(torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]).bool(), classes)
    found, lines = words.report("test", table, [(torch.zeros(2, 4), classes)])
    assert found["iou"]["sky"] == pytest.approx(3 / 5)
    assert found["iou"]["car"] == pytest.approx(2 / 3)
    assert found["mean"] == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert found["confusion"][0][8] == pytest.approx(1 / 4)
    assert "over 2 classes; 2 words mark their own class most" in lines[0]
    recipe = replace(
        RECIPES["ditfuse-tiny"],
        steps=100,
        tasks={"instruct": 8},
        options=InstructSettings(segment=1, m3=3, pairs=0, control=0),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "ditfuse-tiny", recipe)
        assert segmentation.views_of("ditfuse-tiny") == 100 * 8 / 4 * 0.9 * 0.9


# ---------------------------------------------------------------------- MMAIF's parts


def test_mmaif_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(10):  # the tenth is held out
        for seed, name in enumerate(("ivif/ir", "ivif/vis", "natural", "mef/under", "mef/over")):
            held = index == 9 and name.startswith("mef")
            image = scene(*((464, 480) if held else (132, 140)), 10 * seed + index)
            write_image(tmp_path / "data" / name / f"{index}.png", to8(image * (0.5 if name.endswith("under") else 1)))
    torch.manual_seed(0)
    for name, flow in (("one", False), ("flow", True)):
        config = MMAIFConfig(width=32, layers=2, heads=2, hidden=16, rank=4, flow=flow, random_codec=True)
        MMAIF(config).save_pretrained(tmp_path / name)
    parts = script("mmaif_parts")
    names = f"{tmp_path / 'one'},{tmp_path / 'flow'}"
    parts.main(["--data", str(tmp_path / "data"), "--models", names, "--pairs", "1", "--steps", "1,2"])
    lines = capsys.readouterr().out.splitlines()
    quality = [line for line in lines if line.startswith(("| /", "| anyfuse"))]
    assert len(quality) == 4 + 2 + 4  # one, flow twice, the default model; two rows of sizes; two layers each
    default = next(line for line in quality if line.startswith("| anyfuse"))
    clean = float(default.split("|")[4].split("/")[0])
    assert clean > float(default.split("|")[3].split("/")[0]) + 5
    shares = [[float(x) for x in line.split("|")[3].split(",")] for line in quality[-4:]]
    assert all(sum(row) == pytest.approx(1, abs=0.03) for row in shares)
    assert "of 1 pairs" in "\n".join(lines)
    model = parts.load_model(str(tmp_path / "one"))
    x = torch.arange(40.0).expand(1, 40, 40)
    assert parts.centre(x, 16)[0, 0].tolist() == list(range(0, 16))
    assert parts.psnr(x * 0, x * 0 + 0.1) == pytest.approx(20, abs=1e-3)
    assert parts.seconds(model) > 0
    assert model.steps == 4


# ---------------------------------------------------------------------- blocks


def test_blockiness_of_known_images() -> None:
    blockiness = script("blockiness").blockiness
    ramp = torch.arange(64.0).expand(64, 64) / 64
    assert blockiness(ramp + ramp.T, 8) == pytest.approx(1)
    assert blockiness(torch.full((40, 40), 0.3), 8) == pytest.approx(1)
    torch.manual_seed(0)
    assert blockiness(torch.rand(256, 256), 16) == pytest.approx(1, abs=0.03)
    tiles = torch.rand(8, 8).repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert blockiness(tiles, 8) > 100
    assert blockiness(tiles, 16) > blockiness(tiles[4:, 4:], 16)  # the grid begins at the corner
    shifted = ramp + 0.05 * tiles
    assert 1.2 < blockiness(shifted, 8) < 10
    assert blockiness(ramp[:6, :6], 8) == 1
    for image, period in ((torch.rand(1, 8, 8), 8), (torch.rand(8, 8), 1)):
        with pytest.raises(FusionError, match="give"):
            blockiness(image, period)


def test_blockiness_of_models(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = script("blockiness").main
    found = main(["--data", str(data), "--models", f"average,{model}"])
    assert set(found) == {"ivif-roadscene", "m3"}
    assert set(found["m3"]) == {"truth", "views", "average", "small"}
    assert found["m3"]["truth"] == pytest.approx([1, 1, 1], abs=0.1)
    assert min(found["m3"]["views"]) > 1.2
    assert min(found["m3"]["average"]) > 1.2
    text = capsys.readouterr().out
    assert "| average | " in text
    assert "M3 pairs of natural-bsd100, 2 images" in text
    with pytest.raises(FusionError, match="holds none of"):
        main(["--data", str(data / "natural-bsd100"), "--models", "average"])


# ---------------------------------------------------------------------- control


def test_measure_of_tones_is_right_for_the_targets_and_wrong_for_others() -> None:
    image = torch.from_numpy(scene(48, 64)).float()[None]
    right = {tone: apply_tones(image, (tone,) if tone else ()) for tone in ("", *TONES)}
    row = tones.measure(right)
    assert all(row["sign"].values())
    assert row["light order"]
    assert row["contrast order"]
    assert min(row["kept"].values()) > 0.9
    assert row["change"]["LIGHT-"] < 0 < row["change"]["LIGHT+"] < row["change"]["LIGHT++"]
    wrong = {**right, "LIGHT+": right["LIGHT++"], "LIGHT++": right["LIGHT+"], "CONTRAST+": right["CONTRAST-"]}
    row = tones.measure(wrong)
    assert row["sign"] == {**dict.fromkeys(TONES, True), "CONTRAST+": False}
    assert not row["light order"]
    assert not row["contrast order"]
    assert not any(tones.measure(dict.fromkeys(("", *TONES), image))["sign"].values())
    torch.manual_seed(0)
    lost = tones.measure({**right, "LIGHT+": (0.3 + torch.rand_like(image)).clamp(0, 1)})
    assert lost["kept"]["LIGHT+"] < 0.3


def test_control_goes_on(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    control = script("control")
    out = tmp_path / "control.jsonl"
    call = [
        "--model",
        str(model),
        "--data",
        str(data),
        "--pairs",
        "2",
        "--size",
        "64",
        "--steps",
        "1",
        "--out",
        str(out),
    ]
    rows = control.main(call)
    text = capsys.readouterr().out
    assert "| CONTRAST- | " in text
    assert "all, 2 pairs" in text
    assert [row["name"] for row in rows] == ["0", "1"]
    lines = out.read_text().splitlines()
    out.write_text(lines[0] + "\n" + lines[1][:50] + "\n")  # cut off while the second was written
    asked = []
    fuse = tones.fuse
    monkeypatch.setattr(tones, "fuse", lambda *a: (asked.append(a[-1]), fuse(*a))[1])
    assert control.main(call) == rows
    assert asked == ["", *TONES]
    control.main([*call, "--untold"])
    assert len(asked) == 3 * 7  # other settings: both pairs anew
    with pytest.raises(FusionError, match="give a DiTFuse"):
        control.main(["--model", "average", "--data", str(data)])


# ---------------------------------------------------------------------- sections of the bench


def test_sections(data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def bench(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["bench", *map(str, args)])
        return (int(ended.value.code or 0), *capsys.readouterr())

    out, named = tmp_path / "out", f"mine={model}"
    code, text, _ = bench("--section", "control", "--data", data, "--models", named, "--limit", 1, "-o", out)
    assert code == 0
    assert "## mine" in text
    assert "order of light" in (out / "control.md").read_text()
    assert len((out / "control-mine.jsonl").read_text().splitlines()) == 1
    streets(tmp_path / "camvid")
    code, text, _ = bench("--section", "segmentation", "--data", tmp_path, "--models", named, "--limit", 2, "-o", out)
    assert code == 0
    assert "| pedestrian | " in text
    found = json.loads((out / "segmentation-mine.json").read_text())
    assert set(found) == {"words", "chosen"}
    for wrong, words_of_error in (
        (("--section", "fog", "--data", data), "give one of control, segmentation"),
        (("--section", "control", "--data", data, "--models", "average"), "give a DiTFuse"),
        (("--section", "control", "--data", tmp_path, "--models", named), "holds none of"),
        (("--section", "segmentation", "--data", data, "--models", named), "nor camvid"),
        (("--section", "control", "--data", data, "--task", "ivf"), "its own tasks"),
    ):
        code, _, err = bench(*wrong, "-o", out)
        assert code == 2
        assert words_of_error in err
        assert err.count("\n") == 1


# ---------------------------------------------------------------------- steps


def test_steps(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = [
        "--model",
        str(model),
        "--pairs",
        "2",
        "--size",
        "64",
        "--steps",
        "1,3",
        "--uncached",
        "3",
        "--timed",
        "64x48",
    ]
    rows = script("ditfuse_steps").main([*call, "--data", str(data)])
    assert [(row["branches"], row["steps"]) for row in rows] == [(1, 1), (1, 3), (3, 1), (3, 3)]
    assert rows[-1]["psnr"] == 99
    assert all(row["psnr"] < 99 for row in rows[:-1])
    assert all(row["s"] > 0 and 0 < row["qabf"] < 1 for row in rows)
    assert ["s without cache" in row for row in rows] == [False, True, False, True]
    assert "| 3 | 3 | " in capsys.readouterr().out
    assert set(script("ditfuse_steps").main([*call, "--branches", "1"])[0]) == {"branches", "steps", "s"}


# ---------------------------------------------------------------------- boxes and the choice of weights


def test_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infrared, visible = np.full((120, 160), 60, np.uint8), np.full((120, 160), 80, np.uint8)
    infrared[30:90, 60:84] = 220
    visible[10:30, 120:150] = 250
    for index in range(10):
        write_image(tmp_path / "data" / "ivif" / "ir" / f"{index}.png", infrared)
        write_image(tmp_path / "data" / "ivif" / "vis" / f"{index}.png", visible)
    entry = {"size": [160, 120], "boxes": [["person", 60, 30, 84, 90], ["lamp", 118, 8, 152, 32]]}
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"ivif/3": entry, "ivif/9": entry}))
    main = script("boxes").main
    call = ["average", "maximum", "--data", str(tmp_path / "data"), "--boxes", str(file)]
    found = main(call)
    assert found["average"]["ivif", "48-96"] == pytest.approx([0.5, 0.5], abs=0.01)
    assert found["maximum"]["ivif", "people"] == pytest.approx([140 / 160] * 2, abs=0.01)
    assert found["average"]["ivif", "lamps"] == pytest.approx([155 / 250] * 2, abs=0.01)
    text = capsys.readouterr().out
    assert "| average | 0.50 (2) | - | - | 0.50 (2) | - | - | 0.62 (2) | 0 % |" in text
    assert len(main([*call, "--held"])["average"]["ivif", "people"]) == 1, "the tenth of ten"
    file.write_text(json.dumps({"ivif/3": {**entry, "size": [120, 160]}}))
    with pytest.raises(FusionError, match="160x120, its boxes are of"):
        main(call)


def test_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choose = script("choose")
    data = tmp_path / "data"
    folders = [
        "ivif/ir",
        "ivif/vis",
        "ivif-llvip/ir",
        "ivif-llvip/vis",
        "nir-epfl/ir",
        "nir-epfl/vis",
        "mef/under",
        "mef/over",
    ]
    folders += [f"mif/{m}-mri/{k}" for m in ("ct", "pet", "spect") for k in (m, "mri")]
    for seed, name in enumerate([*folders, "natural"]):
        for index in range(10):
            small = index != 9  # only the tenth is read
            image = to8(scene(8, 8, 1) if small else scene(72, 80, 10 * seed))
            write_image(data / name / f"{index}.png", image)
    for name in ("mef-sice", "mef-hdrps", "mef-empa"):
        for index in range(10):
            for k in range(1, 4):
                write_image(data / name / f"{index}" / f"{k}.png", to8(scene(72, 80, index + k) * k / 3))
    found = choose.main(["average", "laplacian", "--data", str(data)])
    text = capsys.readouterr().out
    assert set(found) == {"average", "laplacian"}
    assert all(-1 <= value <= 1 for value in found.values())
    assert "sequences, 3 scenes" in text
    assert "| **score** |" in text
    assert set(choose.ANCHORS) == set(choose.NEW)
    for name, anchors in choose.ANCHORS.items():
        assert set(anchors) == {*choose.NEW[name], *choose.OLD}
        best = {m: one for m, (_, one) in anchors.items()}
        zero = {m: zero for m, (zero, _) in anchors.items()}
        assert choose.set_score(name, best) == pytest.approx(1)
        assert choose.set_score(name, zero) == pytest.approx(0)
        assert choose.set_score(name, {**best, "mi": math.nan}) == pytest.approx(1), "NaN does not count"
        for m, (low, high) in anchors.items():
            better = METRICS[m].better if m in METRICS else "higher"
            assert (high > low) == (better == "higher"), (name, m)
    table = {name: {m: one for m, (_, one) in anchors.items()} for name, anchors in choose.ANCHORS.items()}
    assert choose.choose(table) == pytest.approx(1)
    table["llvip"] = {m: zero for m, (zero, _) in choose.ANCHORS["llvip"].items()}
    assert choose.choose(table) == pytest.approx((8 / 9 + 0) / 2), "the worst camera is half of it"
