"""`anyfuse datasets check` finds what was put in, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from mini import refused, run

from anyfuse.benchmark import check_data
from anyfuse.benchmark.check_data import Print, check_dataset, distances, leaks, look_of, print_of, read_prints
from anyfuse.errors import FusionError


def save(path: Path, seed: int, size: tuple[int, int] = (72, 96)) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = to8(scene(*size, seed=seed))
    Image.fromarray(image).save(path)
    return image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for k in range(4):
        save(tmp_path / "set" / "ir" / f"{k}.png", k)
        save(tmp_path / "set" / "vis" / f"{k}.png", 50 + k)
    return tmp_path / "set"


def test_a_clean_set_is_clean(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "datasets", "check", data, "-q")
    assert code == 0
    assert out == f"{data}: 8 images in sets: 4\nnothing wrong was found\n"


def test_everything_that_is_wrong_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(data / "ir" / "0.png", 0, (72, 95))
    (data / "vis" / "1.png").write_bytes((data / "vis" / "1.png").read_bytes()[:300])
    save(data / "ir" / "alone.png", 9)
    Image.new("L", (96, 72), 7).save(data / "ir" / "2.png")
    save(data / "ir" / "3.png", 53)
    save(data / "ir" / "5.png", 8)
    save(data / "vis" / "5.png", 50)
    code, out, _ = run(capsys, "datasets", "check", data, "-q", "--json")
    found = json.loads(out)
    assert code == 1
    assert set(found["errors"]) == {"sizes differ", "unreadable", "lacks a source", "equal sources"}
    assert found["errors"]["sizes differ"] == ["0: 95x72, 96x72"]
    assert "vis/1.png" in found["errors"]["unreadable"][0]
    assert "alone" in found["errors"]["lacks a source"][0]
    assert found["errors"]["equal sources"] == ["3: ir/3.png and vis/3.png have equal pixels"]
    assert "ir/2.png" in found["notes"]["flat"][0]
    assert any("vis/5.png has the pixels of vis/0.png" in line for line in found["notes"]["repeated"])


def test_leaks_are_found_by_file_pixels_and_look(data: Path, tmp_path: Path) -> None:
    test = tmp_path / "test"
    test.mkdir()
    image = Image.open(data / "ir" / "0.png")
    (test / "file.png").write_bytes((data / "ir" / "0.png").read_bytes())
    Image.open(data / "ir" / "1.png").save(test / "pixels.bmp")
    Image.open(data / "ir" / "2.png").resize((64, 48)).save(test / "small.jpg", quality=40)
    Image.open(data / "vis" / "3.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(test / "mirrored.png")
    save(test / "other.png", 77)
    found, _ = check_dataset(data, against=[test])
    lines = found.errors["leak"]
    assert len(lines) == 4
    assert lines[0] == f"ir/0.png is the file {test / 'file.png'}"
    assert lines[1] == f"ir/1.png has the pixels of {test / 'pixels.bmp'}"
    assert lines[2].startswith(f"ir/2.png looks like {test / 'small.jpg'} (")
    assert lines[3].startswith(f"vis/3.png looks like {test / 'mirrored.png'}, mirrored (")
    assert image.size == (96, 72)
    assert not check_dataset(data, against=[test], alike=0)[0].errors["leak"][4:]


def test_hashes_stand_in_for_a_test_set(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hashes.json"
    assert run(capsys, "datasets", "check", data, "-q", "--hashes-out", file)[0] == 0
    assert len(read_prints(file)) == 8
    code, out, _ = run(capsys, "datasets", "check", data, "-q", "--against", file)
    assert code == 1
    assert "error: leak (8)" in out
    assert "is the file ir/0.png" in out
    assert "exists" in refused(capsys, "datasets", "check", data, "-q", "--hashes-out", file)
    (tmp_path / "bad.json").write_text("{}")
    assert "holds no hashes" in refused(capsys, "datasets", "check", data, "-q", "--against", tmp_path / "bad.json")
    assert "no such folder" in refused(capsys, "datasets", "check", data, "-q", "--against", tmp_path / "nowhere")


def test_splits_are_compared_with_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, seeds in (("train", (0, 1)), ("test", (1, 2))):
        for seed in seeds:
            for role, more in (("ir", 0), ("vis", 50)):
                save(tmp_path / split / role / f"{seed}.png", seed + more)
    code, out, _ = run(capsys, "datasets", "check", tmp_path, "-q", "--task", "ivf")
    assert code == 1
    assert "8 images in sets: 2 in test, 2 in train" in out
    assert "test/ir/1.png is the file train/ir/1.png" in out
    assert "error: leak (2)" in out


def test_a_folder_of_several_sets(tmp_path: Path) -> None:
    for part in ("ivif", "mif/ct-mri"):
        save(tmp_path / part / "ct" / "1.png", 1)
        save(tmp_path / part / "mri" / "1.png", 2)
    found, _ = check_dataset(tmp_path / "mif", task="mif")
    assert found.sets == {"ct-mri": 1}


def test_no_sets_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no sources found" in refused(capsys, "datasets", "check", tmp_path, "-q")
    with pytest.raises(FusionError, match="no such folder"):
        check_dataset(tmp_path / "nowhere")


def test_the_list_is_still_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "datasets")
    assert code == 0
    assert out.startswith("msrs")


def test_looks_of_one_picture_are_close_and_of_others_are_far(tmp_path: Path) -> None:
    images = [scene(72, 96, seed=k).mean(2) if scene(72, 96).ndim == 3 else scene(72, 96, seed=k) for k in range(12)]
    images = [np.asarray(image, np.float64) / max(1.0, float(image.max())) for image in images]
    looks = [look_of(image) for image in images]
    bright = [look_of(image**0.8) for image in images]
    assert np.diag(distances(looks, bright)).max() <= 40
    far = distances(looks, looks) + 256 * np.eye(12, dtype=int)
    assert far.min() > 60
    assert look_of(np.full((40, 40), 0.5)) == ""
    Image.new("L", (40, 40), 9).save(tmp_path / "flat.png")
    flat = print_of(tmp_path / "flat.png", "flat")[0]
    assert leaks([flat], [flat]) == ["flat is the file flat"]


@pytest.mark.parametrize(
    "layout", ["ivif/{split}/{role}", "{role}/{split}", "sub/{role}/{split}", "{split}/part/{role}"]
)
def test_leaks_between_splits_are_found_in_every_layout(tmp_path: Path, layout: str) -> None:
    for split, seeds in (("train", (0, 1)), ("test", (1, 2))):
        for seed in seeds:
            for role, more in (("infrared", 0), ("visible", 50)):
                save(tmp_path / layout.format(split=split, role=role) / f"{seed}.png", seed + more)
    found, _ = check_dataset(tmp_path)
    assert found.images == 8
    assert len(found.sets) == 2
    assert {len(lines) for lines in found.errors.values()} == {2}
    assert "leak" in found.errors


def test_a_split_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "train" / "ir" / "1.png", 1)
    save(tmp_path / "train" / "vis" / "1.png", 2)
    save(tmp_path / "test" / "left" / "1.png", 1)
    save(tmp_path / "test" / "right" / "1.png", 2)
    found, _ = check_dataset(tmp_path)
    assert found.sets == {"train": 1}
    assert "no sources found" in found.errors["layout"][0]
    for name, seed in (("ir", 1), ("vis", 2)):
        save(tmp_path / "b" / name / "train" / "1.png", seed)
    save(tmp_path / "b" / "ir" / "test" / "1.png", 3)
    assert len(check_dataset(tmp_path / "b")[0].errors["layout"]) == 1


def test_malformed_hashes_are_refused_and_a_missing_mirror_is_left_out(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "h.json"
    one = print_of(data / "ir" / "0.png", "a")[0]
    for bad in ({"look": "xyz"}, {"mirrored": "ab"}, {"file": ["a"]}):
        content = {"format": "anyfuse image hashes 1", "images": [{**vars(one), **bad}]}
        file.write_text(json.dumps(content))
        with pytest.raises(FusionError, match="holds no hashes"):
            read_prints(file)
    other = print_of(data / "ir" / "1.png", "b")[0]
    assert leaks([Print("c", other.file, other.pixels, other.look, "")], [one]) == []


def test_a_test_image_whose_decoder_fails_is_a_note(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = check_data.print_of

    def fails(path: Path, name: str) -> object:
        if name.endswith("0.png") and name.startswith("/"):
            raise KeyError("odd")
        return whole(path, name)

    monkeypatch.setattr(check_data, "print_of", fails)
    found, _ = check_dataset(data, against=[data / "ir"])
    assert "KeyError" in found.notes["unreadable test image"][0]
