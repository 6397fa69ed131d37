"""Sets of images as people have them: pairs by names, brackets in one folder, tables."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import scene, to8
from PIL import ExifTags, Image

from anyfuse.cli import main
from anyfuse.errors import FusionError
from anyfuse.io.folders import list_files, pair_by_stem, pair_folders
from anyfuse.io.groups import Pairing, find_sets
from anyfuse.io.read import read_image
from anyfuse.io.shots import read_shot
from anyfuse.io.write import write_image

GREY = to8(scene(24, 32))


def touch(folder: Path, *names: str) -> Path:
    """A folder with small images of these names."""
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GREY).save(place, "PNG")
    return folder


def shot(
    path: Path,
    seconds: float,
    bias: float | None = None,
    exposure: float | None = None,
    camera: str = "Camera",
    side: int = 8,
) -> None:
    """A JPEG with the time and exposure of a camera."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = camera
    own = exif.get_ifd(ExifTags.IFD.Exif)
    own[ExifTags.Base.DateTimeOriginal] = f"2026:05:01 12:{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
    own[ExifTags.Base.SubsecTimeOriginal] = f"{round(seconds % 1 * 100):02d}"
    if bias is not None:
        own[ExifTags.Base.ExposureBiasValue] = bias
    if exposure is not None:
        own[ExifTags.Base.ExposureTime] = exposure
        own[ExifTags.Base.FNumber] = 8.0
        own[ExifTags.Base.ISOSpeedRatings] = 100
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side)).save(path, exif=exif)


def names(sets: dict[str, tuple[Path, ...]]) -> dict[str, list[str]]:
    return {name: [p.name for p in paths] for name, paths in sets.items()}


PAIRS = [
    (["DJI_0001_T.JPG", "DJI_0002_T.JPG"], ["DJI_0001_V.JPG", "DJI_0002_V.JPG"], ["DJI_0001", "DJI_0002"]),
    (["FLIR0001.jpg", "FLIR0002.jpg"], ["FLIR0001_RGB.jpg", "FLIR0002_RGB.jpg"], ["FLIR0001", "FLIR0002"]),
    (["IMG_1.png", "IMG_2.PNG"], ["img_1.png", "img_2.jpg"], ["IMG_1", "IMG_2"]),
    (["1_IR.png", "2_ir.png"], ["1_RGB.png", "2_rgb.png"], ["1", "2"]),
    (["ir_01.png", "ir_02.png"], ["vis_01.png", "vis_02.png"], ["01", "02"]),
    (["IR01.png", "IR02.png"], ["VIS01.png", "VIS02.png"], ["01", "02"]),
    (["00123ir.png", "00124ir.png"], ["00123vis.png", "00124vis.png"], ["00123", "00124"]),
    (["a-thermal.png", "b-thermal.png"], ["a.png", "b.png"], ["a", "b"]),
    (["scan 1 CT.png"], ["scan 1 MR.png"], ["scan 1"]),
]


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS, ids=str)
def test_pairs_of_two_folders(first: list[str], second: list[str], expected: list[str], tmp_path: Path) -> None:
    both = [touch(tmp_path / "a", *first), touch(tmp_path / "b", *second)]
    (complete, partial), how = pair_folders(both)
    assert partial == {}
    assert list(complete) == expected
    assert [[p.name for p in paths] for paths in complete.values()] == [
        list(x) for x in zip(first, second, strict=True)
    ]
    assert how


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS[:1] + PAIRS[3:4], ids=str)
def test_pairs_within_one_folder(first: list[str], second: list[str], expected: list[str], tmp_path: Path) -> None:
    folder = touch(tmp_path, *first, *second)
    for pairing in (Pairing("name"), Pairing("auto")):
        found = find_sets([folder], pairing)
        assert list(found.sets) == expected
        assert [len(paths) for paths in found.sets.values()] == [2] * len(expected)


def test_names_that_agree_need_no_rule(tmp_path: Path) -> None:
    both = [touch(tmp_path / "a", "1_T.png", "2_T.png", "3.png"), touch(tmp_path / "b", "1_T.jpg", "2_T.jpg", "4.png")]
    sets, how = pair_folders(both)
    assert how == ""
    assert sets == pair_by_stem(both)


def test_numbers_are_never_cut_off(tmp_path: Path) -> None:
    """scan_1 and scan_2 are two scenes, not two views of one."""
    both = [touch(tmp_path / "a", "scan_1.png"), touch(tmp_path / "b", "scan_2.png")]
    (complete, partial), _ = pair_folders(both)
    assert complete == {}
    assert len(partial) == 2


def test_endings_that_are_given(tmp_path: Path) -> None:
    folder = touch(tmp_path, "x_V.png", "x_T.png", "y_t.png", "y_v.png", "T_z.png", "V_z.png", "odd.png", "w_T.png")
    found = find_sets([folder], Pairing(pairs="_T/_V"))
    assert names(found.sets) == {"x": ["x_T.png", "x_V.png"], "y": ["y_t.png", "y_v.png"]}
    assert "_V" in found.lacking["w"]
    assert {"odd", "T_z", "V_z"} <= set(found.lacking)
    found = find_sets([folder], Pairing(pairs="T_,V_"))
    assert names(found.sets) == {"z": ["T_z.png", "V_z.png"]}
    found = find_sets([touch(tmp_path / "b", "f1.png", "f1_RGB.png")], Pairing(pairs="_RGB/"))
    assert names(found.sets) == {"f1": ["f1_RGB.png", "f1.png"]}
    for wrong in ("_T", "_T/_T", "_T/_t"):
        with pytest.raises(FusionError, match="different endings"):
            find_sets([folder], Pairing(pairs=wrong))


def test_every_few_files(tmp_path: Path) -> None:
    folder = touch(tmp_path, *(f"IMG_{k}.png" for k in range(1, 12)))
    found = find_sets([folder], Pairing("3"))
    assert names(found.sets) == {
        "IMG_1": ["IMG_1.png", "IMG_2.png", "IMG_3.png"],
        "IMG_4": ["IMG_4.png", "IMG_5.png", "IMG_6.png"],
        "IMG_7": ["IMG_7.png", "IMG_8.png", "IMG_9.png"],
    }
    assert "2 of 11" in found.lacking["IMG_10"]
    for wrong in ("1", "0", "-3", "weekly"):
        with pytest.raises(FusionError, match="--group"):
            find_sets([folder], Pairing(wrong))


def brackets(root: Path, biases: Sequence[float], pause: float, sets: int, exposures: bool = False) -> Path:
    number = 0
    for k in range(sets):
        for i, bias in enumerate(biases):
            number += 1
            start = k * (pause + len(biases)) + 0.5 * i
            path = root / f"DSC_{number:04d}.jpg"
            shot(path, start, 0.0 if exposures else bias, 0.01 * 2.0**bias if exposures else 0.01)
    return root


@pytest.mark.parametrize("how", ["auto", "time"])
@pytest.mark.parametrize("exposures", [False, True])
def test_brackets_apart_in_time(how: str, exposures: bool, tmp_path: Path) -> None:
    found = find_sets([brackets(tmp_path, [0, -2, 2], 20, 4, exposures)], Pairing(how))
    assert [len(paths) for paths in found.sets.values()] == [3] * 4
    assert list(found.sets) == ["DSC_0001", "DSC_0004", "DSC_0007", "DSC_0010"]


@pytest.mark.parametrize("exposures", [False, True])
def test_brackets_in_a_row(exposures: bool, tmp_path: Path) -> None:
    """Without a pause, the exposure that comes again begins the next set."""
    found = find_sets([brackets(tmp_path, [0, -2, 2], 0, 4, exposures)], Pairing("auto"))
    assert [len(paths) for paths in found.sets.values()] == [3] * 4


@pytest.mark.parametrize(
    ("order", "sizes"),
    [
        ((0, -2, 2, -2, 2, 0, -2, 2), [3, 2, 3]),  # the second lacks its first frame
        ((0, -2, 2, 0, 2, 0, -2, 2), [3, 2, 3]),
        ((0, -2, 2, 0, -2, 0, -2, 2), [3, 2, 3]),
        ((-2, 0, 2, -2, 0, 2), [3, 3]),
    ],
)
def test_brackets_in_a_row_that_lack_a_frame(order: Sequence[float], sizes: list[int], tmp_path: Path) -> None:
    for k, bias in enumerate(order):
        shot(tmp_path / f"{k:02d}.jpg", 0.5 * k, bias, 0.01)
    found = find_sets([tmp_path], Pairing("auto"))
    assert [len(paths) for paths in found.sets.values()] == sizes


@pytest.mark.parametrize("how", ["auto", "time"])
def test_a_picture_without_a_time_is_in_no_bracket(how: str, tmp_path: Path) -> None:
    folder = brackets(tmp_path, [0, -2, 2], 20, 2)
    Image.new("RGB", (8, 8)).save(folder / "Screenshot.png")
    found = find_sets([folder], Pairing(how))
    assert [len(paths) for paths in found.sets.values()] == [3, 3]
    assert "no time" in found.lacking["Screenshot"]


def test_two_cameras_at_one_time(tmp_path: Path) -> None:
    for camera in ("Canon", "Nikon"):
        for k, bias in enumerate((0, -2, 2)):
            shot(tmp_path / f"{camera}_{k}.jpg", k, bias, 0.01, camera)
    assert names(find_sets([tmp_path], Pairing("auto")).sets) == {
        name: [f"{name[:-2]}_{k}.jpg" for k in range(3)] for name in ("Canon_0", "Nikon_0")
    }


def test_one_shot_of_each_of_two_cameras(tmp_path: Path) -> None:
    for k in range(3):
        for camera, size in (("FLIR", 8), ("Phone", 16)):
            shot(tmp_path / f"{camera}_{k}.jpg", 60 * k, 0, 0.01, camera, size)
    assert [len(paths) for paths in find_sets([tmp_path], Pairing("time")).sets.values()] == [2, 2, 2]


def test_focus_stacks_and_single_shots(tmp_path: Path) -> None:
    for k in range(5):
        shot(tmp_path / f"a{k}.jpg", k, 0.0, 0.01)
    shot(tmp_path / "b.jpg", 60, 0.0, 0.01)
    for k in range(3):
        shot(tmp_path / f"c{k}.jpg", 90 + k, k - 1.0, 0.01)
    found = find_sets([tmp_path], Pairing("auto"))
    assert {name: len(paths) for name, paths in found.sets.items()} == {"a0": 5, "c0": 3}
    assert list(found.lacking) == ["b"]


def test_a_long_exposure_is_no_pause(tmp_path: Path) -> None:
    for k, exposure in enumerate((1.0, 8.0, 30.0)):
        shot(tmp_path / f"{k}.jpg", (0, 2, 11)[k], None, exposure)
    assert len(find_sets([tmp_path], Pairing("time")).sets["0"]) == 3


def test_without_times(tmp_path: Path) -> None:
    folder = touch(tmp_path, "IMG_0001.png", "IMG_0002.png")
    with pytest.raises(FusionError, match="has no time"):
        find_sets([folder], Pairing("time"))
    with pytest.raises(FusionError, match="no two images belong together"):
        find_sets([folder], Pairing("auto"))


def test_a_folder_of_folders(tmp_path: Path) -> None:
    touch(tmp_path, "day/1.png", "day/2.png", "night/10.png", "night/9.png", "alone/1.png")
    found = find_sets([tmp_path], Pairing("auto"))
    assert names(found.sets) == {"day": ["1.png", "2.png"], "night": ["9.png", "10.png"]}
    assert "alone" in found.lacking


def test_a_folder_without_files_is_no_set(tmp_path: Path) -> None:
    """As the weights of an earlier run."""
    touch(tmp_path, "day/1.png", "day/2.png", "maps/day/1.png", "maps/day/2.png")
    found = find_sets([tmp_path], Pairing("folder"))
    assert (list(found.sets), found.lacking) == (["day"], {})
    assert "maps holds no files" in found.notes[0]


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("heading", ["", "ir{0}vis{0}name\n", "a{0}b{0}c\n"])
def test_tables(between: str, heading: str, tmp_path: Path) -> None:
    touch(tmp_path, "ir/1.png", "ir/2.png", "vis/x.png", "vis/y.png")
    named = "name" in heading
    rows = [
        ["ir/1.png", "vis/x.png", "first" if named else ""],
        ["ir/2.png", "vis/none.png", "second" if named else ""],
    ]
    text = heading.format(between) + "".join(between.join(row) + "\n" for row in rows)
    (tmp_path / "list.csv").write_text("\ufeff" + text)
    found = find_sets([], Pairing(table=str(tmp_path / "list.csv")))
    assert names(found.sets) == {"first" if named else "1": ["1.png", "x.png"]}
    assert "vis/none.png" in found.lacking["second" if named else "2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_tables(encoding: str, tmp_path: Path) -> None:
    touch(tmp_path, "ä/ü.png", "b.png")
    (tmp_path / "sets.csv").write_text('visible;infrared\n"ä\\ü.png";b.png\n', encoding=encoding)
    found = find_sets([], Pairing(table=str(tmp_path / "sets.csv")))
    assert found.sets == {"ü": (tmp_path / "ä" / "ü.png", tmp_path / "b.png")}


def test_pages_in_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "z.tif")
    (tmp_path / "sets.csv").write_text("z.tif[0],z.tif[3]\n")
    found = find_sets([], Pairing(table=str(tmp_path / "sets.csv")))
    assert found.sets == {"z": (tmp_path / "z.tif[0]", tmp_path / "z.tif[3]")}


@pytest.mark.parametrize("text", ["", "only.png\n", 'a,"b\n', "x,y\n", "\0,\0\n"])
def test_tables_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(FusionError, match="--list"):
        find_sets([], Pairing(table=str(tmp_path / "list.csv")))


def test_a_cameras_two_files(tmp_path: Path) -> None:
    touch(tmp_path, "IMG_2.JPG", "IMG_10.JPG", "IMG_2.CR3", "IMG_3.HEIC", ".IMG_4.JPG", "note.txt")
    assert [p.name for p in list_files(tmp_path)] == ["IMG_2.JPG", "IMG_3.HEIC", "IMG_10.JPG"]


# The command


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_one_folder_that_is_a_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(12):
        write_image(tmp_path / "stack" / f"{k}.png", to8(scene(24, 32, k)))
    code, text, _ = run(capsys, "fuse", tmp_path / "stack", "-o", tmp_path / "f.png", "--model", "average")
    assert code == 0
    assert "12 images" in text
    assert read_image(tmp_path / "f.png").width == 32
    code, _, err = run(capsys, "fuse", tmp_path / "stack", "-o", tmp_path / "out")
    assert code == 2
    assert "--group" in err


def test_the_plan_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path / "d", "1_T.png", "1_V.png", "2_T.png", "2_V.png", "3_T.png")
    before = sorted(tmp_path.rglob("*"))
    code, text, err = run(capsys, "fuse", tmp_path / "d", "--pairs", "_T/_V", "-o", tmp_path / "out", "--plan")
    assert code == 1
    assert [line.partition(": ")[2].count(" + ") for line in text.splitlines()] == [1, 1]
    assert "1_T.png" in text
    assert "3: skipped" in err
    assert sorted(tmp_path.rglob("*")) == before
    code, text, _ = run(
        capsys, "fuse", *(tmp_path / "d" / f"1_{k}.png" for k in "TV"), "-o", tmp_path / "f.png", "--plan"
    )
    assert code == 0
    assert " + " in text
    assert sorted(tmp_path.rglob("*")) == before


def test_sets_of_one_folder_are_fused_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(2):
        for i, end in enumerate("TV"):
            write_image(tmp_path / "d" / f"{k}_{end}.png", to8(scene(64, 64, 10 * k + i)))
    (tmp_path / "d" / "0_T.png").write_bytes(b"ftypheic no image")
    fuse = ("fuse", tmp_path / "d", "-o", tmp_path / "out", "--model", "average", "-q")
    code, _, err = run(capsys, *fuse, "--group", "name")
    assert code == 1
    assert "0_T.png" in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["1.png"]
    score = ("score", tmp_path / "out", "--sources", tmp_path / "d", "--metrics", "en", "--json")
    code, text, _ = run(capsys, *score, "--pairs", "_T/_V")
    assert code == 0
    assert '"1"' in text
    (tmp_path / "list.csv").write_text("d/1_T.png,d/1_V.png\n")
    code, _, _ = run(capsys, *score[:2], "--list", tmp_path / "list.csv", "--metrics", "en", "--json")
    assert code == 2, "the set is named 1_T, and there is no such result"
    (tmp_path / "list.csv").write_text("a,b,name\nd/1_T.png,d/1_V.png,1\n")
    assert run(capsys, *score[:2], "--list", tmp_path / "list.csv", "--metrics", "en", "--json")[1] == text
    code, text, _ = run(capsys, *score, "--pairs", "_T/_V", "--plan")
    assert text.count(" + ") == 1


def test_words_that_contradict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = touch(tmp_path / "a", "1.png", "2.png"), touch(tmp_path / "b", "1.png", "2.png")
    out = ("-o", tmp_path / "out")
    for call in (
        (*both, "--group", "auto"),
        (both[0], "--group", "2", "--pairs", "_T/_V"),
        (both[0], "--list", both[0] / "1.png"),
        (both[0] / "1.png", both[1] / "1.png", "--group", "2"),
        (*both, "--pairs", "_T/_V/_W"),
        ("--list", tmp_path / "none.csv"),
        (),
    ):
        code, _, err = run(capsys, "fuse", *call, *out)
        assert code == 2
        assert err.count("\n") == 1


def test_a_format_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = touch(tmp_path / "a", "1.png", "2.png"), touch(tmp_path / "b", "1.png")
    (both[1] / "2.xyz").write_bytes(b"")
    (both[1] / "2.pfm").write_bytes(b"no such format at all")
    code, _, err = run(capsys, "fuse", *both, "-o", tmp_path / "out", "--model", "average", "-q")
    assert code == 1
    assert "2.pfm" in err
    assert os.listdir(tmp_path / "out") == ["1.png"]


def test_bench_reads_the_same_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path, "1_T.png", "1_V.png", "2_T.png", "2_V.png")
    bench = ("bench", "--data", tmp_path, "--task", "ivf", "--plan")
    for words in (("--pairs", "_T/_V"), ("--group", "name"), ("--group", "2")):
        code, text, _ = run(capsys, *bench, *words)
        assert code == 0
        assert text.count(" + ") == 2


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
def test_a_damaged_file_has_no_shot(suffix: str, tmp_path: Path) -> None:
    """Cut off, or with wrong bytes in its header: what cannot be read is unknown, and no error."""
    exif = Image.Exif()
    exif[306] = "2026:05:01 12:00:00"
    exif.get_ifd(34665).update({33434: 0.01, 36867: "2026:05:01 12:00:00"})
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    data = path.read_bytes()
    assert read_shot(path).time is not None
    draw = random.Random(1)
    for k in range(300):
        changed = bytearray(data if k % 3 else data[: draw.randrange(len(data))])
        for _ in range(0 if k % 3 == 0 else draw.randrange(1, 6)):
            changed[draw.randrange(min(len(changed), 400))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(changed)
        assert read_shot(path).path == path
    path.write_bytes(b"")
    assert read_shot(path).size is None


def test_a_heic_without_its_decoder_has_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from anyfuse.io.shots import Shot, read_shot

    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert read_shot(tmp_path / "a.heic") == Shot(tmp_path / "a.heic")
