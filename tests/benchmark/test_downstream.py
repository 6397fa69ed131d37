"""People and vehicles in pictures: which boxes are right, detectors of a user's own, the section, the segmenter."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import scene as picture
from conftest import to8
from onnx import TensorProto, helper, numpy_helper

from anyfuse.benchmark.downstream import detectors as finding
from anyfuse.benchmark.downstream.boxes import boxes_of, count_matches
from anyfuse.benchmark.downstream.detectors import THRESHOLDS, OnnxDetector, OwnDetector, read_classes
from anyfuse.benchmark.downstream.report import KINDS
from anyfuse.benchmark.downstream.run import BOXES, Choices, detectors_of
from anyfuse.benchmark.downstream.scores import MEASURES, Score, average_precision, draws_of, measure, score
from anyfuse.cli.main import main
from anyfuse.data.boxes import Box, Scene, read_scenes
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.segmenter import SEEDS, Segmenter, SegmenterConfig, segmenter_folder
from anyfuse.training.parts import boxed
from anyfuse.training.parts.segmenter import IGNORED, STORED
from anyfuse.training.run import run

HAND_DRAWN = Path(__file__).parents[1] / "data" / "boxes.json"
PERSON, VEHICLE = 0, 1


# ---------------------------------------------------------------------- which boxes are right


def scene_of(*boxes: Box) -> Scene:
    return Scene("set/one", 100, 100, boxes)


@pytest.mark.parametrize(
    ("found", "iou", "centre"),
    [
        (Box("person", 10, 10, 20, 40), (1, 1, 2), (1, 1, 2)),
        (Box("person", 10, 31, 20, 61), (0, 1, 2), (0, 1, 2)),  # 0.18 of the union, and its centre is outside
        (Box("person", 10, 10, 20, 18), (0, 1, 2), (1, 1, 2)),  # a head: 0.27 of the union
        (Box("person", 10, 10, 30, 40), (1, 1, 2), (1, 1, 2)),  # two people in one box are one find
        (Box("vehicle", 10, 10, 20, 40), (0, 0, 2), (0, 0, 2)),  # not of its kind
        (Box("person", 60, 60, 70, 70), (0, 0, 2), (0, 0, 2)),  # in a crowd that is ignored
        (Box("person", 40, 60, 65, 70), (0, 1, 2), (0, 1, 2)),  # less than half of it is
    ],
)
def test_known_boxes(found: Box, iou: tuple[int, ...], centre: tuple[int, ...]) -> None:
    there = scene_of(Box("person", 10, 10, 20, 40), Box("person", 20, 10, 30, 40), Box("ignore", 55, 55, 90, 90))
    assert count_matches([found], there, "iou")[PERSON].tolist() == list(iou)
    assert count_matches([found], there, "centre")[PERSON].tolist() == list(centre)
    wrong = int(found.kind == "vehicle")
    assert count_matches([found], there, "iou")[VEHICLE].tolist() == [0, wrong, 0]


def test_each_box_counts_once() -> None:
    there = scene_of(Box("person", 10, 10, 20, 40), Box("person", 22, 10, 32, 40))
    twice = [Box("person", 10, 10, 20, 40), Box("person", 11, 11, 21, 40), Box("person", 22, 12, 32, 40)]
    assert count_matches(twice, there, "iou")[PERSON].tolist() == [2, 3, 2]
    assert count_matches([], there, "iou")[PERSON].tolist() == [0, 0, 2]


def test_parts_of_a_mask() -> None:
    mask = np.zeros((40, 50), bool)
    mask[5:15, 10:16] = mask[15:20, 16:20] = True  # they touch at a corner
    mask[30:40, 45:50] = True
    mask[0, :20] = True  # too few pixels
    assert boxes_of(mask, "person") == [Box("person", 10, 5, 20, 20), Box("person", 45, 30, 50, 40)]


def counts_of(*levels: tuple[int, int, int]) -> np.ndarray:
    """(1, 1, thresholds, 3): the last level goes on."""
    rows = [*levels, *[levels[-1]] * (len(THRESHOLDS) - len(levels))]
    return np.array(rows)[None, None]


def scored(counts: np.ndarray, name: str) -> Score:
    return score(measure(counts, name, draws_of(counts.shape[1])))


def test_scores_of_known_counts() -> None:
    assert scored(counts_of((4, 4, 4)), "ap").value == 1
    half = counts_of((4, 8, 4), (2, 2, 4))  # all found with half of the finds wrong, or a half without a wrong one
    assert average_precision(half.sum(1))[0] == pytest.approx((51 * 1 + 50 * 0.5) / 101)
    assert scored(half, "recall").value == 0.5
    assert scored(half, "precision").value == 1
    assert scored(half, "f1").value == pytest.approx(2 / 3)
    nothing = counts_of((0, 0, 4))
    assert [scored(nothing, m).value for m in ("recall", "f1", "ap")] == [0, 0, 0]
    assert math.isnan(scored(nothing, "precision").value)
    assert all(math.isnan(scored(counts_of((0, 0, 0)), m).value) for m in MEASURES)


def test_intervals_are_paired() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 9, (30, 1))
    found = np.repeat(np.stack([truth, truth, truth], -1), len(THRESHOLDS), 1)
    worse = found.copy()
    worse[..., 0] = worse[..., 0] - (np.arange(30) % 2)[:, None]
    two, draws = np.stack([found, worse]), draws_of(30)
    one = scored(two, "recall")
    assert one.least < one.low < one.value < one.high < one.most == 1
    both = measure(two, "recall", draws)
    same = score(both, both)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    less = score(measure(worse[None], "recall", draws), measure(found[None], "recall", draws))
    assert less.low < less.value < less.high < 0


# ---------------------------------------------------------------------- a user's own detector


def graph(
    path: Path, nodes: list[onnx.NodeProto], outputs: dict[str, int], shape: list[object], **values: object
) -> Path:
    made = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of three classes: what is bright is a person."""
    nodes = [
        helper.make_node("Sub", ["one", "image"], ["dark"]),
        helper.make_node("Mul", ["image", "zero"], ["none"]),
        helper.make_node("Concat", ["dark", "image", "none"], ["out"], axis=1),
    ]
    path = tmp_path_factory.mktemp("onnx") / "bright.onnx"
    return graph(path, nodes, {"out": 1}, [1, 1, "h", "w"], one=np.float32(1), zero=np.float32(0))


def boxes_graph(path: Path, labels: list[int]) -> Path:
    """Gives the same boxes for every picture, as torchvision's detectors do, on an input of 64x48."""
    nodes = [helper.make_node("Identity", [f"{n}_in"], [n]) for n in ("boxes", "labels", "scores")]
    return graph(
        path,
        nodes,
        {"boxes": 1, "labels": 7, "scores": 1},
        [3, 48, 64],
        boxes_in=np.array([[8, 8, 16, 24], [32, 8, 60, 40]], np.float32),
        labels_in=np.array(labels, np.int64),
        scores_in=np.array([0.92, 0.42], np.float32),
    )


def test_boxes_of_a_graph(tmp_path: Path) -> None:
    pixels = np.zeros((96, 128, 1), np.uint8)
    detector = OnnxDetector(boxes_graph(tmp_path / "coco.onnx", [1, 8]))
    found = dict(zip(THRESHOLDS, detector.find(pixels), strict=True))
    assert found[0.4] == [Box("person", 16, 16, 32, 48), Box("vehicle", 64, 16, 120, 80)]  # at the picture's size
    assert found[0.5] == found[0.9] == [Box("person", 16, 16, 32, 48)]
    assert found[0.95] == []
    other = OnnxDetector(tmp_path / "coco.onnx", "person=8,vehicle=3")
    assert [b.kind for b in other.find(pixels)[0]] == ["person"]
    assert other.origin != detector.origin


def test_map_of_a_graph(bright: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:28] = 255
    pixels[5:15, 40:50] = 128  # as likely as not
    found = OnnxDetector(bright).find(pixels)
    assert found[THRESHOLDS.index(0.6)] == [Box("person", 20, 10, 28, 30)]
    assert len(found[THRESHOLDS.index(0.45)]) == 2
    swapped = OnnxDetector(bright, "vehicle=1,person=2").find(pixels)
    assert swapped[THRESHOLDS.index(0.6)] == [Box("vehicle", 20, 10, 28, 30)]


def test_map_of_numbers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Greater", ["image", "half"], ["mask"]),
        helper.make_node("Cast", ["mask"], ["classes"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["classes", "axis"], ["map"]),
    ]
    values = {"half": np.float32(0.5), "axis": np.array([0], np.int64)}
    path = graph(tmp_path / "numbers.onnx", nodes, {"map": 7}, [1, 1, "h", "w"], **values)
    pixels = np.zeros((40, 60, 1), np.uint8)
    pixels[10:30, 20:28] = 255
    assert OnnxDetector(path, "person=1,vehicle=2").find(pixels)[0] == [Box("person", 20, 10, 28, 30)]
    with pytest.raises(FusionError, match="say which, --classes"):
        OnnxDetector(path).find(pixels)


@pytest.mark.parametrize("text", ["person=1", "person=1,vehicle=x", "person,vehicle", "person=1,vehicle=-2", "a=1,b=2"])
def test_classes_in_one_line(text: str) -> None:
    with pytest.raises(FusionError, match=r"^--classes .*as person=1,vehicle=3\+6\+8$"):
        read_classes(text)


# ---------------------------------------------------------------------- the section


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs: a man whom the infrared image alone has, and one whom both have."""
    root = tmp_path_factory.mktemp("data")
    entries = {}
    for index in range(3):
        infrared, visible = (np.full((72, 96), level, np.uint8) for level in (40, 60))
        infrared[20:50, 10:20] = 250
        for image in (infrared, visible):
            image[20:50, 60:72] = 250
        write_image(root / "test" / "pairs" / "ir" / f"{index}.png", infrared[..., None])
        write_image(root / "test" / "pairs" / "vis" / f"{index}.png", visible[..., None])
        boxes = [["person", 10, 20, 20, 50], ["person", 60, 20, 72, 50], ["lamp", 0, 0, 4, 4]]
        entries[f"pairs/{index}"] = {"size": [96, 72], "boxes": boxes}
    (root / "boxes.json").write_text(json.dumps(entries))
    return root


def bench(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *map(str, args)])
    return (int(ended.value.code or 0), *capsys.readouterr())


def test_section(data: Path, bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["--section", "downstream", "--data", data, "--detector", bright, "--boxes", data / "boxes.json"]
    call += ["--models", "average,mine=maximum", "-o", tmp_path / "out"]
    code, text, _ = bench(capsys, *call)
    assert code == 0
    out = tmp_path / "out"
    assert (out / "downstream.md").read_text() in text
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert list(rows) == ["shown", "visible", "infrared", "average", "mine"]
    table = json.loads((out / "downstream.json").read_text())["iou"]["pairs"]["people"]
    assert {m: table[m]["recall"]["value"] for m in table} == {"visible": 0.5, "infrared": 1, "average": 1, "mine": 1}
    assert table["infrared"]["ap less visible"]["value"] > 0.4
    assert table["visible"]["ap"]["value"] == pytest.approx(51 / 101)
    assert table["mine"]["ap"]["value"] == 1
    assert json.loads((out / "downstream.json").read_text())["iou"]["pairs"]["vehicles"]["mine"]["ap"]["value"] is None
    assert len((out / "found-average.jsonl").read_text().splitlines()) == 3
    assert len(list((out / "pictures").iterdir())) == 3

    def never(*_: object) -> object:
        raise AssertionError("what is known was measured again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding.OnnxDetector, "find", never)
        assert bench(capsys, *call)[:2] == (0, text)
    lines = (out / "found-mine.jsonl").read_text().splitlines()
    (out / "found-mine.jsonl").write_text("\n".join([*lines[:2], lines[2][:40]]) + "\n")  # it was cut off
    assert bench(capsys, *call)[:2] == (0, text)


def test_one_model_never_stops_the_others(
    data: Path, bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--section", "downstream", "--data", data, "--detector", bright, "--boxes", data / "boxes.json"]
    code, text, error = bench(capsys, *call, "--models", "average,unifusion,maximum", "-o", tmp_path / "out")
    page = (tmp_path / "out" / "downstream.md").read_text()
    assert code == 2
    assert page in text
    assert "| average |" in page
    assert "| maximum |" in page
    assert "| unifusion |" not in page
    assert "\nNot shown: unifusion. " in page
    assert error.startswith("anyfuse: unifusion: not in the table")


def test_one_line_errors(data: Path, bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = graph(tmp_path / "two.onnx", [helper.make_node("Identity", ["image"], ["out"])], {"out": 1}, [1, 2, 8, 8])
    flat = graph(tmp_path / "flat.onnx", [helper.make_node("Identity", ["image"], ["out"])], {"out": 1}, [4, 8])
    same = graph(tmp_path / "same.onnx", [helper.make_node("Identity", ["image"], ["out"])], {"out": 1}, [1, 1, 8, 8])
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "outside.json").write_text('{"pairs/0": {"size": [96, 72], "boxes": [["person", 90, 0, 99, 9]]}}')
    (tmp_path / "other.json").write_text('{"pairs/0": {"size": [90, 72], "boxes": []}}')
    (tmp_path / "absent.json").write_text('{"pairs/9": {"size": [96, 72], "boxes": []}}')
    own, section = ("--boxes", data / "boxes.json"), ("--section", "downstream")
    for wrong, words in (
        ((*section, *own, "--detector", tmp_path / "none.onnx"), "no such file"),
        ((*section, *own, "--detector", tmp_path / "text.onnx"), "is no ONNX graph"),
        ((*section, *own, "--detector", two), "takes 2 channels"),
        ((*section, *own, "--detector", flat), "takes one image"),
        ((*section, *own, "--detector", same), "gives 1 classes; say which"),
        ((*section, *own, "--detector", bright, "--classes", "person=1,vehicle=7"), "gives 3 classes"),
        ((*section, *own, "--detector", bright, "--classes", "person"), "give the graph's numbers of both"),
        ((*section, *own, "--classes", "person=1,vehicle=2"), "belongs to --detector"),
        ((*section, "--boxes", tmp_path / "none.json"), "cannot be read"),
        ((*section, "--boxes", tmp_path / "list.json"), "holds no boxes of scenes"),
        ((*section, "--boxes", tmp_path / "outside.json"), "a box from 90,0 to 99,9"),
        ((*section, "--boxes", tmp_path / "other.json"), "its boxes are of 90x72"),
        ((*section, "--boxes", tmp_path / "absent.json"), "has no 9"),
        ((*section,), "holds none of ivif-roadscene"),
        ((*section, *own, "--models", "visible=average"), "a row visible of its own"),
        (("--section", "control", "--detector", bright), "belong to --section downstream"),
        (("--boxes", data / "boxes.json"), "belong to --section downstream"),
    ):
        code, _, err = bench(capsys, "--data", data, "-o", tmp_path / "out", *wrong)
        assert code == 2, words
        assert words in err
        assert err.count("\n") == 1


# ---------------------------------------------------------------------- what is shipped


def test_shipped_boxes() -> None:
    """Those of training sets are of held-out pairs, and as tests/data/boxes.json has them."""
    shipped = json.loads((Path(finding.__file__).parents[2] / "assets" / BOXES).read_text())
    drawn = json.loads(HAND_DRAWN.read_text())
    for name, entry in shipped.items():
        if not name.startswith("ivif-roadscene/"):
            assert entry["boxes"] == [b for b in drawn[name]["boxes"] if b[0] != "lamp"]
            assert entry["size"] == drawn[name]["size"]
    scenes = read_scenes(Path(finding.__file__).parents[2] / "assets" / BOXES)
    people = [b for s in scenes for b in s.boxes if b.kind == "person"]
    assert len(scenes) == 53
    assert len(people) == 108
    assert set(KINDS) == {"people", "vehicles", "people and vehicles"}


def test_shipped_segmenters() -> None:
    folders = [segmenter_folder(seed) for seed in SEEDS]
    assert sum((f / "model.safetensors").stat().st_size for f in folders) <= 1.2e6
    found = detectors_of(Choices())
    assert len({d.origin for d in found}) == len(SEEDS)
    assert sum(p.numel() for p in found[0].net.parameters()) <= 300_000
    pixels = np.tile(np.linspace(40, 90, 90).astype(np.uint8)[:, None, None], (1, 70, 1))
    for detector in found:  # an empty place, of a size that is no multiple of 16
        assert detector.find(pixels)[THRESHOLDS.index(0.5)] == []


# ---------------------------------------------------------------------- training


def test_training_and_its_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data" / "camvid"
    boxes = {"roads/a": {"size": [96, 48], "boxes": [["person", 20, 8, 30, 40], ["vehicle", 50, 20, 90, 40]]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    monkeypatch.setattr(boxed, "BOXES", tmp_path / "boxes.json")
    for part, seed in (("ir", 50), ("vis", 51)):
        write_image(data.parent / "roads" / part / "a.png", to8(picture(48, 96, seed)))
    for index in range(12):
        write_image(data / "images" / f"{index:02d}.png", to8(picture(48, 64, index)))
        classes = np.random.default_rng(index).integers(0, 12, (6, 8)).repeat(8, 0).repeat(8, 1)
        write_image(data / "labels" / f"{index:02d}.png", classes.astype(np.uint8)[..., None])
    small = [
        "boxed=0.5",
        "frames=2",
        "tests=1",
        "frame_height=48",
        "frame_width=64",
        "height=32",
        "width=48",
        "batch=2",
    ]
    lines: list[str] = []

    def trained(name: str, steps: int = 3, **changes: object) -> Path:
        lines.clear()
        return run("segmenter", data.parent, tmp_path / name, steps=steps, settings=small, log=lines.append, **changes)  # type: ignore[arg-type]

    whole = trained("whole")
    assert "pool: 3/3 frames" in lines
    assert "pool: 1/1 real pairs" in lines
    with np.load(next((tmp_path / "segmenter-pool" / "boxed").rglob("0.npz"))) as real:
        assert real["images"].shape == (len(STORED), 32, 64)
        assert set(np.unique(real["objects"])) == {0, 1, 2, IGNORED}
    assert "step 3/3" in " ".join(lines)
    again = trained("again")
    assert not any(line.startswith("pool") for line in lines)  # one pool serves both
    assert (whole / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    other = trained("other", seed=1)
    assert (whole / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()
    assert "| unifusion-small |" in (whole / "README.md").read_text()
    images = np.load(tmp_path / "segmenter-pool" / "images.npy")
    objects = np.load(tmp_path / "segmenter-pool" / "objects.npy")
    assert images.shape == (3, len(STORED), 48, 64)
    assert set(np.unique(objects)) == {0, 1, 2, IGNORED}
    mean = images[:, STORED.index("average")].astype(int)
    assert abs(mean - images[:, :2].astype(int).mean(1)).max() <= 1
    assert len(OwnDetector(whole, "mine").find(images[0, 0][..., None])) == len(THRESHOLDS)
    (whole / "config.json").write_text('{"first": 16}')
    with pytest.raises(FusionError, match=r"holds no segmenter .*anyfuse train segmenter"):
        OwnDetector(whole, "mine")
    with pytest.raises(FusionError, match="multiples of 16"):
        run("segmenter", data.parent, tmp_path / "bad", settings=["height=100"])
    with pytest.raises(FusionError, match="street images of 'segmenter' are not there"):
        run("segmenter", tmp_path, tmp_path / "bad")


def test_network_keeps_the_size() -> None:
    torch.manual_seed(0)
    net = Segmenter(SegmenterConfig()).eval()
    shares = net.probabilities(torch.rand(37, 50))
    assert shares.shape == (2, 37, 50)
    assert bool((shares >= 0).all())
    assert bool((shares.sum(0) <= 1.0001).all())
