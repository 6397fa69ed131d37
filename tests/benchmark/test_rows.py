"""Which rows a run keeps, adds, names and refuses."""

from __future__ import annotations

import base64
import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from mini import make_data, refused, run

from anyfuse.benchmark.bench import beside
from anyfuse.benchmark.page import data_uri
from anyfuse.benchmark.protocol import Protocol, Row, read_scores, write_scores
from anyfuse.benchmark.report import means_table, number
from anyfuse.benchmark.run import bench
from anyfuse.benchmark.stats import Table
from anyfuse.benchmark.versions import code_of, metric_versions, model_version, modules_of
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.models.anyfuse import Anyfuse
from anyfuse.models.classical import Average
from anyfuse.models.tita.tita import TITA

BETTER = {"mi": "higher", "scd": "higher", "psnr": "higher", "halo": "lower"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("bench") / "mini")


def methods(out: Path) -> dict[str, int]:
    """Method -> number of rows in the score file."""
    names = [r.method for r in read_scores(out / "scores.csv")[1]]
    return {name: names.count(name) for name in names}


def test_later_calls_keep_the_rows_of_earlier_ones(data: Path, tmp_path: Path) -> None:
    bench(data, "ivf", ["average"], tmp_path, metrics=["mi"])
    result = bench(data, "ivf", ["laplacian"], tmp_path, metrics=["mi", "en"], limit=1)
    assert {(r.method, r.image) for r in result.rows if r.origin.startswith("anyfuse")} == {("laplacian", "0")}
    assert methods(tmp_path) == {"average": 3, "laplacian": 1, "maximum": 3, "copy 1": 3, "copy 2": 3}
    protocol, rows = read_scores(tmp_path / "scores.csv")
    assert list(protocol.metrics) == ["en", "mi"]
    assert [r.image for r in rows] == sorted(r.image for r in rows)
    assert all("mi" in r.values for r in rows), "scores of other metrics stay"


def test_a_run_that_is_cut_off_keeps_its_rows(data: Path, tmp_path: Path) -> None:
    def step(text: str) -> None:
        if text.startswith("3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(data, "ivf", ["average"], tmp_path, metrics=["mi"], step=step)
    assert methods(tmp_path)["average"] == 2


def test_changed_images_and_weights_are_scored_again(data: Path, tmp_path: Path) -> None:
    given = {"mine": tmp_path / "mine"}
    for index in range(3):
        write_image(tmp_path / "mine" / f"{index}.png", to8(scene(72, 96, 40 + index)))
    first = bench(data, "ivf", ["x=average"], tmp_path / "out", fused=given, metrics=["mi"])
    again = bench(data, "ivf", ["x=average"], tmp_path / "out", fused=given, metrics=["mi"])
    assert again.rows == first.rows, "to the last digit"
    write_image(tmp_path / "mine" / "0.png", to8(scene(72, 96, 50)), overwrite=True)
    write_image(tmp_path / "mine" / "2.png", to8(scene(72, 96, 51)), overwrite=True)
    changed = bench(data, "ivf", ["x=laplacian"], tmp_path / "out", fused=given, metrics=["mi"], limit=1)
    assert [r.values for r in changed.rows if r.method == "mine"] != [first.rows[1].values]
    assert methods(tmp_path / "out") == {"mine": 2, "x": 1, "average": 3, "maximum": 3, "copy 1": 3, "copy 2": 3}


def test_a_file_of_another_protocol_is_not_overwritten(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    bench(data, "ivf", [], tmp_path, metrics=["mi"])
    before = (tmp_path / "scores.csv").read_text()
    call = ["bench", "--data", data, "--task", "ivf", "--models", "average", "-o", tmp_path, "-q", "--grey", "pil"]
    assert "grey is 'opencv' in one and 'pil'" in refused(capsys, *call)
    assert (tmp_path / "scores.csv").read_text() == before


@pytest.mark.parametrize(
    ("models", "fused", "reason"),
    [
        ("copy 1=laplacian", [], "a row copy 1 of its own"),
        ("average=laplacian", [], "a row average of its own"),
        ("..=laplacian", [], "LABEL=MODEL"),
        (".=laplacian", [], "LABEL=MODEL"),
        ("laplacian", ["laplacian"], "another row has this name"),
        ("laplacian", ["maximum"], "a row maximum of its own"),
        ("laplacian", ["copy 1"], "a row copy 1 of its own"),
        ("laplacian", ["x", "x"], "another row has this name"),
        ("laplacian", ["x"], "no image in this folder"),
    ],
)
def test_names_that_collide(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, models: str, fused: list[str], reason: str
) -> None:
    (tmp_path / "given").mkdir()
    options = [o for name in fused for o in ("--fused", f"{name}={tmp_path / 'given'}")]
    call = ["bench", "--data", data, "--task", "ivf", "--models", models, "-o", tmp_path / "out", "-q", *options]
    assert reason in refused(capsys, *call)
    assert not (tmp_path / "out").exists()


def test_mistakes_are_found_before_anything_is_fused(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    bench(data, "ivf", [], tmp_path / "pil", metrics=["mi"], grey="pil")
    peers = tmp_path / "peers.csv"
    peers.write_text("folder,name,method,origin,MI\nmini,1,Average,run,99\nmini,1,Net,run,3\n")
    call = ["bench", "--data", data, "--models", "laplacian", "-o", tmp_path / "out", "-q", "--metrics", "mi"]
    for options, reason in (
        (["--task", "ivf", "--compare", tmp_path / "pil" / "scores.csv"], "cannot be compared"),
        (["--task", "ivf", "--compare", tmp_path / "none.csv"], "cannot be read"),
        (["--task", "ivf", "--peers", peers], "another protocol: mi of Average on 1"),
        (["--task", "ivf", "--peers", tmp_path / "none.csv"], "cannot be read"),
        (["--task", "ivf", "--grey", "foo"], "--grey foo: give one of matlab, pil, opencv"),
        (["--task", ""], "give one of ivf, mef, mff, mif"),
    ):
        assert reason in refused(capsys, *call, *options)
        assert not (tmp_path / "out").exists(), options


def test_rows_of_others_get_names_of_their_own(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    ours = [Row("1", "net", "anyfuse", {}), Row("1", "net (peers)", "given", {})]
    more = [
        Row("1", "net", "x", {}),
        Row("1", "new", "x", {}),
        Row("2", "new", "x", {}),
        Row("1", "copy 1", "trivial", {}),
    ]
    assert [r.method for r in beside(ours, more, "peers")] == ["net (peers 2)", "new"]
    bench(data, "ivf", ["m=laplacian"], tmp_path / "old", metrics=["mi"])
    code, _, _ = run(
        capsys,
        "bench",
        "--data",
        data,
        "--task",
        "ivf",
        "--models",
        "m=average",
        "-o",
        tmp_path / "out",
        "-q",
        "--metrics",
        "mi",
        "--compare",
        tmp_path / "old" / "scores.csv",
    )
    assert code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "m (old)" in page
    assert "copy 1 (old)" not in page


def test_ranks_leave_nan_out_and_say_so() -> None:
    rows = []
    for k in range(4):
        nan_once = math.nan if k == 0 else 1.0
        rows += [
            Row(str(k), "a", "", {"scd": nan_once, "psnr": 30.0, "mi": 5.0}),
            Row(str(k), "b", "", {"scd": 0.5 if k else 99.0, "psnr": math.inf, "mi": 6.0}),
            Row(str(k), "copy 1", "", {"scd": math.nan, "psnr": 40.0, "mi": 7.0}),
        ]
    table = Table(rows, BETTER)
    assert table.ranks("scd") == {"a": 1.0, "b": 2.0}, "image 0, on which b is far ahead, is not in it"
    assert table.ranks("psnr") == {"b": 1.0, "copy 1": 2.0, "a": 3.0}, "infinite PSNR is the best"
    assert table.mean_ranks(["scd", "psnr"]) == {"b": 1.5, "a": 2.0, "copy 1": 2.0}
    notes = " ".join(table.rank_notes(["scd", "psnr"]))
    assert "scd is not in the mean rank of copy 1: NaN" in notes
    assert "3 of 4 images" in notes
    assert "psnr" not in notes
    assert table.win_rate("b", "a", ["psnr"]) == 1
    peers = [Row(str(k), "peer", "", {"psnr": 35.0}) for k in range(4)]
    wider = Table(rows + peers, BETTER)
    assert wider.mean_ranks(["mi", "psnr"]) == {"b": 1.0, "copy 1": 2.0, "peer": 3.0, "a": 4.0}
    assert wider.rank_notes(["mi"]) == ["mi is in no mean rank: not scored for peer."]
    rows = {row["method"]: dict(zip(table.metrics, row["cells"], strict=True)) for row in means_table(table)["rows"]}
    assert rows["a"]["scd"]["missing"] == 1
    assert (rows["b"]["mi"]["place"], rows["b"]["mi"]["value"]) == ("beaten", "6.0000"), "a copy has more mi"
    assert (rows["b"]["psnr"]["place"], rows["b"]["psnr"]["value"]) == ("best", "inf")


def test_pictures_are_exact_unless_large(tmp_path: Path) -> None:
    small, large = to8(scene(30, 40, 1)), np.random.default_rng(0).integers(0, 256, (1300, 1300, 1), np.uint8)
    for name, pixels in (("small", small), ("large", large)):
        write_image(tmp_path / f"{name}.png", pixels)
    assert data_uri(tmp_path / "large.png").startswith("data:image/jpeg")
    kind, _, content = data_uri(tmp_path / "small.png").partition(",")
    assert kind == "data:image/png;base64"
    shown = Image.open(io.BytesIO(base64.b64decode(content)))
    assert np.array_equal(np.asarray(shown), np.asarray(Image.open(tmp_path / "small.png")))


def test_numbers() -> None:
    assert [number(x) for x in (12.345, 1.5, 2e-6, 0.0, -math.inf)] == ["12.35", "1.5000", "2.00e-06", "0.0000", "-inf"]


def test_versions_follow_the_code_alone() -> None:
    before = code_of('def f(x):\n    """One."""\n    return x + 1\n')
    assert before == code_of('"""Top."""\ndef f(x):  # why\n    """Two."""\n\n    return (x + 1)\n')
    assert before != code_of("def f(x):\n    return x + 2\n")
    assert {"anyfuse.metrics.structure", "anyfuse.metrics.shared"} < modules_of("anyfuse.metrics.weighted")
    versions = metric_versions(["mi", "en", "qabf"])
    assert versions["mi"] == versions["en"] != versions["qabf"]


def test_versions_see_shared_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from anyfuse.benchmark import versions

    before, read = metric_versions(["mi"]), versions._source
    for module in ("anyfuse.metrics.shared", "anyfuse.metrics.grey"):
        monkeypatch.setattr(versions, "_source", lambda m, module=module: read(m) + "\nX = 1" * (m == module))
        assert metric_versions(["mi"]) != before, module


def test_versions_of_models_see_the_code_they_use(monkeypatch: pytest.MonkeyPatch) -> None:
    from anyfuse.benchmark import versions

    before = {cls: versions.model_version(cls) for cls in (Anyfuse, TITA, Average)}
    assert len(set(before.values())) == 3
    read = versions._source
    for module, changed in (
        ("anyfuse.models.tita.ipa", {TITA}),
        ("anyfuse.models.anyfuse", {Anyfuse}),
        ("anyfuse.models.base", {Anyfuse, TITA, Average}),
        ("anyfuse.image.pyramid", {Anyfuse, Average}),
        ("anyfuse.tiling", {Anyfuse, TITA, Average}),
        ("anyfuse.benchmark.report", set()),
    ):
        monkeypatch.setattr(versions, "_source", lambda m, module=module: read(m) + "\nX = 1" * (m == module))
        assert {cls for cls in before if versions.model_version(cls) != before[cls]} == changed, module
    monkeypatch.setattr(versions, "_source", lambda m: read(m) + "\n'text alone'")
    assert all(versions.model_version(cls) == digits for cls, digits in before.items())
    monkeypatch.setattr(versions, "__version__", "0")
    assert all(versions.model_version(cls) != digits for cls, digits in before.items())


def test_versions_of_models_without_source() -> None:
    typed_in = type("Mine", (Average,), {"__module__": "nowhere"})
    assert len(model_version(typed_in)) == 8


def test_heads_that_are_no_protocol(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write_scores(path, Protocol("d", "ivf", "x", metrics={"mi": "1"}), [Row("1", "m", "given", {"mi": 1.0})])
    lines = path.read_text().splitlines()
    head = json.loads(lines[1][2:])
    for change, reason in (
        ({"metrics": []}, "must map names"),
        ({"metrics": {}}, "no version of mi"),
        ({"metrics": {"mi": 1}}, "not text"),
        ({"data": 3}, "not text"),
        ({"more": "x"}, "more"),
    ):
        path.write_text("\n".join([lines[0], "# " + json.dumps({**head, **change}), *lines[2:]]))
        with pytest.raises(FusionError, match=reason):
            read_scores(path)
    path.write_text("\n".join([lines[0], "# [1]", *lines[2:]]))
    with pytest.raises(FusionError, match="no JSON object"):
        read_scores(path)
    path.write_bytes(np.random.default_rng(0).bytes(99))
    with pytest.raises(FusionError, match="not a text file"):
        read_scores(path)
