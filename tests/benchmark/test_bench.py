"""Score and bench: values, protocol, resume, refusal, statistics, report, bad input."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from mini import make_data, run

from anyfuse.benchmark.datasets import DATASETS, ROLE_FOLDERS, find_groups
from anyfuse.benchmark.protocol import (
    Protocol,
    Row,
    check_peers,
    check_same,
    differences,
    read_peers,
    read_scores,
    write_scores,
)
from anyfuse.benchmark.run import SALIENT, labels, ranked_groups, sparse_metrics
from anyfuse.benchmark.stats import Table, mean_of
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.metrics import METRICS, score


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("bench") / "mini")


def bench(capsys: pytest.CaptureFixture[str], data: Path, out: Path, *more: object) -> tuple[int, str, str]:
    return run(
        capsys, "bench", "--data", data, "--task", "ivf", "--models", "average,laplacian", "-o", out, "-q", *more
    )


def test_bench_writes_scores_images_and_report(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    code, text, _ = bench(capsys, data, tmp_path)
    assert code == 0
    assert "3 images" in text
    protocol, rows = read_scores(tmp_path / "scores.csv")
    assert protocol.saving == "8-bit, rounded half up, no stretch"
    assert {r.method for r in rows} == {"average", "laplacian", "maximum", "copy 1", "copy 2"}
    assert sorted(p.name for p in (tmp_path / "fused" / "laplacian").iterdir()) == ["0.png", "1.png", "2.png"]
    ir = np.asarray(Image.open(data / "ir" / "1.png"))
    vis = np.asarray(Image.open(data / "vis" / "1.png"))
    fused = np.asarray(Image.open(tmp_path / "fused" / "laplacian" / "1.png"))
    direct = score(fused, [ir, vis], ["qabf", "mi"], grey="opencv")
    saved = next(r.values for r in rows if r.method == "laplacian" and r.image == "1")
    assert saved["qabf"] == pytest.approx(direct["qabf"], rel=1e-9)
    assert saved["mi"] == pytest.approx(direct["mi"], rel=1e-9)
    page = (tmp_path / "report.html").read_text()
    assert "copy 2" in page
    assert "data:image" in page
    assert "http" not in page.replace("http-equiv", ""), "self-contained"


def test_second_run_scores_nothing_again(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    bench(capsys, data, tmp_path)
    stamp = (tmp_path / "fused" / "average" / "0.png").stat().st_mtime_ns
    first = (tmp_path / "scores.csv").read_text()
    bench(capsys, data, tmp_path)
    assert (tmp_path / "fused" / "average" / "0.png").stat().st_mtime_ns == stamp
    assert (tmp_path / "scores.csv").read_text() == first


def test_a_change_of_model_code_scores_again(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anyfuse.benchmark import versions

    bench(capsys, data, tmp_path)
    before = read_scores(tmp_path / "scores.csv")[1]
    (tmp_path / "fused" / "laplacian" / "0.png").write_bytes(b"old")
    read = versions._source
    changed = "anyfuse.models.classical"
    monkeypatch.setattr(versions, "_source", lambda m: read(m) + "\nX = 1" * (m == changed))
    assert bench(capsys, data, tmp_path)[0] == 0
    assert (tmp_path / "fused" / "laplacian" / "0.png").read_bytes() != b"old"
    after = read_scores(tmp_path / "scores.csv")[1]
    values = [repr([r.values for r in rows if r.method == "laplacian"]) for rows in (before, after)]
    assert values[0] == values[1]
    origins = [{r.origin for r in rows if r.method == "laplacian"} for rows in (before, after)]
    assert origins[0].isdisjoint(origins[1])


def test_sets_that_lack_a_source_are_skipped(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    """They are named, and are no failures: the run did all that the data set holds."""
    mine = tmp_path / "mini"
    shutil.copytree(data, mine)
    (mine / "vis" / "2.png").unlink()
    code, text, err = bench(capsys, mine, tmp_path / "out")
    assert code == 0
    assert "2 images" in text
    assert "anyfuse: 2: skipped, not in" in err
    assert "<li>2: not in" in (tmp_path / "out" / "report.html").read_text()


def test_models_have_labels(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    folder = str(tmp_path / "mine")
    assert labels(["anyfuse", folder, f"old={folder}", "somebody/model"]) == {
        "anyfuse": "anyfuse",
        "mine": folder,
        "old": folder,
        "somebody-model": "somebody/model",
    }
    for wrong, reason in (
        (["average", "average"], "two models"),
        (["=average"], "LABEL=MODEL"),
        (["x="], "LABEL=MODEL"),
    ):
        with pytest.raises(FusionError, match=reason):
            labels(wrong)


def test_given_images_and_failures(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    for index in range(2):
        write_image(tmp_path / "mine" / f"{index}.png", to8(scene(72, 96, index)))
    write_image(tmp_path / "mine" / "2.png", to8(scene(60, 96, 2)))
    code, _, err = bench(capsys, data, tmp_path / "out", "--fused", f"mine={tmp_path / 'mine'}")
    assert code == 1
    assert "96x60" in err
    _, rows = read_scores(tmp_path / "out" / "scores.csv")
    mine = [r for r in rows if r.method == "mine"]
    assert len(mine) == 2
    assert all(r.origin.startswith("given ") for r in mine)
    assert math.isnan(mine[0].values["scd"]), "a copy of a source has no SCD, and the file says so"


def test_other_protocols_are_refused(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    bench(capsys, data, tmp_path / "a", "--metrics", "mi,qabf")
    bench(capsys, data, tmp_path / "b", "--metrics", "mi,qabf", "--grey", "pil")
    code, _, err = bench(
        capsys, data, tmp_path / "c", "--metrics", "mi,qabf", "--compare", tmp_path / "b" / "scores.csv"
    )
    assert code == 2
    assert "grey is 'opencv'" in err
    code, _, _ = bench(capsys, data, tmp_path / "c", "--metrics", "mi,qabf", "--compare", tmp_path / "a" / "scores.csv")
    assert code == 0


def test_protocol_differences() -> None:
    a = Protocol("d", "ivf", "abc", metrics={"mi": "1", "vif": "1"})
    assert differences(a, replace(a, metrics={"mi": "1"})) == []
    assert "metric mi" in differences(a, replace(a, metrics={"mi": "2"}))[0]
    with pytest.raises(FusionError, match="x and y cannot be compared: saving"):
        check_same(a, replace(a, saving="stretched"), ("x", "y"))


def test_scores_round_trip(tmp_path: Path) -> None:
    rows = [Row("1", "m", "given", {"mi": 1.1234567890123456, "scd": math.nan}), Row("2", "m", "given", {"mi": 2.0})]
    write_scores(tmp_path / "s.csv", Protocol("d", "ivf", "x", metrics={"mi": "1", "scd": "1"}), rows)
    _, again = read_scores(tmp_path / "s.csv")
    assert again[1] == rows[1]
    assert again[0].values["mi"] == 1.1234567890123456
    assert math.isnan(again[0].values["scd"])
    (tmp_path / "t.csv").write_text("image,method\n1,2\n")
    with pytest.raises(FusionError, match="no protocol"):
        read_scores(tmp_path / "t.csv")


def test_peers_are_put_to_the_test(tmp_path: Path) -> None:
    ours = [Row("1", "average", "trivial", {"mi": 2.0, "scd": math.nan})]
    path = tmp_path / "peers.csv"
    head = "folder,name,method,origin,MI,SCD,EN\n"

    def peers(*lines: str) -> list[Row]:
        path.write_text(head + "\n".join(lines))
        return check_peers(path, read_peers(path, "set"), ours)

    net = "set,1,Net,run,3.5,1.1,7"
    assert peers("set,1,Average,run,2.0001,1,7", net) == [Row("1", "Net", "run", {"mi": 3.5})], "scd, en: not testable"
    with pytest.raises(FusionError, match="another protocol: mi of Average"):
        peers("set,1,Average,run,1.4,1,7", net)
    with pytest.raises(FusionError, match="cannot be checked"):
        peers(net)
    for lines, reason in (
        (["set,1,Average,run,2,1,high"], "line 2: .*'high'"),
        (["set,1,Average"], "line 2 has another number of cells"),
        (["set,1,Average,run,2,1,7,8"], "line 2 has another number of cells"),
        (["other,1,Average,run,2,1,7"], "holds nothing for 'set'"),
    ):
        with pytest.raises(FusionError, match=reason):
            peers(*lines)
    head = "folder,name,MI\n"
    with pytest.raises(FusionError, match="no column method, origin"):
        peers("set,1,2")


def table() -> Table:
    rows = []
    for image in range(4):
        rows += [
            Row(str(image), "good", "", {"mi": 3.0 + image, "halo": 0.1}),
            Row(str(image), "bad", "", {"mi": 1.0 + image, "halo": 0.2}),
            Row(str(image), "twin", "", {"mi": 1.0 + image, "halo": 0.3}),
        ]
    rows.append(Row("0", "rare", "", {"mi": 99.0, "halo": 0.0}))
    return Table(rows, {name: m.better for name, m in METRICS.items()})


def test_ranks_and_wins() -> None:
    t = table()
    assert "rare" not in t.ranked, "one image of four is no basis for a rank"
    assert t.ranks("mi") == {"good": 1.0, "bad": 2.5, "twin": 2.5}
    assert t.ranks("halo") == {"good": 1.0, "bad": 2.0, "twin": 3.0}
    assert list(t.mean_ranks(["mi", "halo"]).items()) == [("good", 1.0), ("bad", 2.25), ("twin", 2.75)]
    assert t.win_rate("good", "bad", ["mi", "halo"]) == 1.0
    assert t.win_rate("bad", "twin", ["mi"]) == 0.5


def test_mean_counts_nan_and_never_averages_it() -> None:
    mean = mean_of([1.0, 3.0, math.nan])
    assert (mean.value, mean.count, mean.missing) == (2.0, 3, 1)
    assert 1.0 <= mean.low <= 2.0 <= mean.high <= 3.0
    assert math.isnan(mean_of([math.nan]).value)
    perfect = mean_of([40.0, math.inf, math.nan])
    assert (perfect.value, perfect.missing) == (math.inf, 1)
    values = list(np.random.default_rng(0).normal(0, 1, 400))
    interval = mean_of(values)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_score_one_image_as_json(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    ir, vis = data / "ir" / "0.png", data / "vis" / "0.png"
    code, text, _ = run(capsys, "score", ir, "--sources", ir, vis, "--json", "--metrics", "mi,ssim", "--grey", "pil")
    assert code == 0
    values = json.loads(text)
    assert set(values) == {"mi", "ssim"}
    images = [np.asarray(Image.open(p)) for p in (ir, vis)]
    assert values["mi"] == pytest.approx(score(images[0], images, ["mi"], grey="pil")["mi"])


def test_score_folders(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    call = ["score", data / "ir", "--sources", data / "ir", "--sources", data / "vis", "--metrics", "mi,scd"]
    code, text, _ = run(capsys, *call, "-o", tmp_path / "s.csv", "--truth", data / "ir")
    assert code == 0
    assert "psnr_truth" in text
    records = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()[2:]))
    assert [r["image"] for r in records] == ["0", "1", "2"]
    assert records[0]["scd"] == "nan"


def test_bad_input(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    ir, vis = data / "ir" / "0.png", data / "vis" / "0.png"
    write_image(tmp_path / "small.png", to8(scene(30, 30)))
    (tmp_path / "empty").mkdir()

    def error(*arguments: object) -> str:
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert err.count("\n") == 1
        return err

    assert "30x30" in error("score", tmp_path / "small.png", "--sources", ir, vis)
    assert "unknown metric" in error("score", ir, "--sources", ir, vis, "--metrics", "mi,nope")
    assert "no image" in error("score", tmp_path / "empty", "--sources", data / "ir", data / "vis")
    assert "no such folder" in error("bench", "--data", tmp_path / "MSRS", "--task", "ivf")
    assert "Linfeng-Tang/MSRS" in error("bench", "--data", tmp_path / "MSRS", "--task", "ivf")
    assert "--task nope" in error("bench", "--data", data, "--task", "nope")
    assert "NAME=FOLDER" in error("bench", "--data", data, "--task", "ivf", "--fused", "x")
    assert "no sources found" in error("bench", "--data", tmp_path / "empty", "--task", "ivf")


def test_layouts(tmp_path: Path) -> None:
    image = to8(scene(20, 20))
    for folder in ("msrs/test/ir", "msrs/test/vi", "llvip/infrared/test", "llvip/visible/test", "M3FD/Ir", "M3FD/Vis"):
        write_image(tmp_path / folder / "1.png", image)
    for name in ("lytro-01-A", "lytro-01-B", "lytro-02-A", "lytro-02-B"):
        write_image(tmp_path / "lytro" / f"{name}.png", image)
    for name, task, stem in (
        ("msrs", "ivf", "1"),
        ("llvip", "ivf", "1"),
        ("M3FD", "ivf", "1"),
        ("lytro", "mff", "lytro-02"),
    ):
        groups, lacking = find_groups(tmp_path / name, task)
        assert stem in groups
        assert not lacking
        assert len(groups[stem]) == 2


def test_known_data_sets_say_where_and_how(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "datasets")
    assert code == 0
    for name in DATASETS:
        assert name in text


def test_rank_by_what_people_look_at(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    _, text, _ = bench(capsys, data, tmp_path)
    _, rows = read_scores(tmp_path / "scores.csv")
    assert set(SALIENT["ivf"]) <= set(rows[0].values)
    assert "seen: mean rank by what people look at (target_contrast, lit_level, blotch)" in text
    page = (tmp_path / "report.html").read_text()
    assert "rank by what people look at" in page
    everything = Table(rows, {name: metric.better for name, metric in METRICS.items()}, sparse_metrics())
    without = [replace(r, values={m: v for m, v in r.values.items() if m not in sparse_metrics()}) for r in rows]
    classical = Table(without, everything.better)
    ranked = ranked_groups(everything.metrics, "ivf")["rank"]
    assert ranked == ["mi", "vif", "qabf", "ssim", "cc", "scd", "halo"]
    assert everything.mean_ranks(ranked) == classical.mean_ranks(ranked), "the old ranks do not notice"


def test_groups_of_ranks() -> None:
    names = ["mi", "halo", "target_contrast", "target_level", "blotch", "gradient_kept"]
    assert ranked_groups(names, "ivf") == {"rank": ["mi", "halo"], "seen": ["target_contrast", "blotch"]}
    assert ranked_groups(names, "mef") == {"rank": ["mi", "halo"], "seen": ["blotch", "gradient_kept"]}
    assert ranked_groups(["mi"], "ivf") == {"rank": ["mi"]}
    assert ranked_groups(["blotch"], "mff") == {"rank": [], "seen": ["blotch"]}
    assert set(ROLE_FOLDERS) == set(SALIENT)


def test_images_without_a_target_do_not_count() -> None:
    rows = []
    for image in range(5):  # one image of five has a target; on another one method has no value
        seen = image == 3
        rows += [
            Row(str(image), "keeps", "", {"target_contrast": 0.9 if seen else math.nan, "blotch": 0.1}),
            Row(str(image), "erases", "", {"target_contrast": 0.2 if seen else math.nan, "blotch": 0.0}),
        ]
    better: dict[str, str] = {name: METRICS[name].better for name in ("target_contrast", "blotch")}
    table = Table(rows, better, sparse_metrics())
    assert table.means("target_contrast")["keeps"].value == 0.9
    assert table.means("target_contrast")["keeps"].missing == 4
    assert table.ranks("target_contrast") == {"keeps": 1.0, "erases": 2.0}
    assert table.mean_ranks(["target_contrast", "blotch"]) == {"keeps": 1.5, "erases": 1.5}
    assert table.rank_notes(["target_contrast"]) == ["target_contrast is ranked on the 1 of 5 images it applies to."]
    assert Table(rows, better).ranks("target_contrast") == {}, "others need half of the images, as before"
    nobody = [replace(r, values={"target_contrast": math.nan}) for r in rows]
    notes = Table(nobody, better, sparse_metrics()).rank_notes(["target_contrast"])
    assert notes == ["target_contrast is in no mean rank: it applies to no image."]
