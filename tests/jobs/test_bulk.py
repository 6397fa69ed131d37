"""What a cluster is given to do, and its report, without a cluster; stores by fsspec's own in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anyfuse.benchmark.score import Values
from anyfuse.benchmark.score_cluster import is_done, protocol_of
from anyfuse.errors import FusionError
from anyfuse.io import stores
from anyfuse.io.groups import Pairing
from anyfuse.io.write import write_image
from anyfuse.jobs.bulk import Sets, check_results, existing, find_bulk, plan_bulk
from anyfuse.jobs.choices import Choices
from anyfuse.jobs.cluster import Actor, Cluster, Ledger, _free, _local, _named, connected, fetch, store
from anyfuse.jobs.fuse_cluster import fuse_on

ROOT = "memory://anyfuse-test"


@pytest.fixture(autouse=True)
def memory() -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").store.clear()
    for name in ("ir/scene_1_T.png", "ir/scene_2_T.png", "vis/scene_1_V.png", "vis/scene_3_V.png", "vis/notes.txt"):
        stores.write_store(f"{ROOT}/{name}", name.encode())


def test_a_store_writes_whole_files_and_lists_them() -> None:
    assert stores.list_store(f"{ROOT}/vis") == ["notes.txt", "scene_1_V.png", "scene_3_V.png"]
    assert stores.read_store(f"{ROOT}/ir/scene_1_T.png") == b"ir/scene_1_T.png"
    assert stores.exists_in_store(f"{ROOT}/ir/scene_1_T.png")
    assert not stores.exists_in_store(f"{ROOT}/ir/scene_9_T.png")
    assert stores.list_store(f"{ROOT}/none", missing=True) == []
    for call in (stores.read_store, stores.list_store):
        with pytest.raises(FusionError, match="no such file or folder"):
            call(f"{ROOT}/none.png")
    with pytest.raises(FusionError, match="nosuch://x"):
        stores.read_store("nosuch://x")


def test_folders_of_a_store_are_paired_by_names() -> None:
    found = find_bulk([f"{ROOT}/ir", f"{ROOT}/vis"], Pairing(pairs="_T/_V"))
    assert found.files == {"scene_1": (f"{ROOT}/ir/scene_1_T.png", f"{ROOT}/vis/scene_1_V.png")}
    assert set(found.lacking) == {"scene_2", "scene_3"}
    with pytest.raises(FusionError, match="two or more"):
        find_bulk([f"{ROOT}/ir"], Pairing())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_name_files_anywhere(kind: str, tmp_path: Path) -> None:
    rows = [("s3://b/a.png", "file:///data/b.png", "one"), ("c.png", "/d/d.tif[2]", "two"), ("e.png", "", "three")]
    path = tmp_path / f"sets.{kind}"
    if kind == "csv":
        path.write_text("\n".join(["first,second,name", *map(",".join, rows)]))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow.parquet import write_table

        columns = zip(("first", "second", "name"), zip(*rows, strict=True), strict=True)
        write_table(pyarrow.table({name: list(values) for name, values in columns}), path)
    found = find_bulk([], Pairing(table=str(path)))
    assert found.files == {
        "one": ("s3://b/a.png", "/data/b.png"),
        "two": (str(tmp_path / "c.png"), "/d/d.tif[2]"),
    }
    assert found.lacking == {"three": "one image alone, e.png"}
    planned, failures = plan_bulk(found, "s3://b/out", Choices())
    assert [one.image for one in planned] == ["s3://b/out/one.png", "s3://b/out/two.png"]
    assert not failures
    own = find_bulk([], Pairing(table=_table(tmp_path)))
    with pytest.raises(FusionError, match="one of the inputs"):
        plan_bulk(own, str(tmp_path), Choices())


def _table(folder: Path) -> str:
    """A table whose result would replace its input."""
    path = folder / "own.csv"
    path.write_text("a,b,name\nx.png,s3://b/y.png,x")
    return str(path)


def test_what_cannot_be_read_or_written_is_a_row() -> None:
    job = {"name": "a", "inputs": [f"{ROOT}/ir/scene_1_T.png", f"{ROOT}/none.png"]}
    task = fetch({"jobs": json.dumps([job, {"name": "b", "inputs": ["local.png"]}])})
    assert task["data"] == [b"", b"", b""]  # one of each input, so that those of a set can be told
    assert task["reasons"][0].startswith(f"{ROOT}/none.png: no such file")
    assert task["reasons"][1] == ""
    done = store({"row": json.dumps({"output": "nosuch://x/a.png", "status": "fused"}), "result": b"1"})
    assert json.loads(done["row"])["status"] == "failed"
    done = store({"row": json.dumps({"output": f"{ROOT}/out/a.png", "status": "fused"}), "result": b"1"})
    assert json.loads(done["row"])["status"] == "fused"
    assert existing(f"{ROOT}/out") == {"a.png"}


def test_fetched_files_keep_their_names_and_pages(tmp_path: Path) -> None:
    assert _local(tmp_path / "0", "/a/b.png", [b""], 0) == "/a/b.png"
    name = _local(tmp_path / "1", f"{ROOT}/stack.tif[3:5]", [b"", b"data"], 1)
    assert name == f"{tmp_path / '1' / 'stack.tif'}[3:5]"
    assert (tmp_path / "1" / "stack.tif").read_bytes() == b"data"
    assert _named(json.dumps({"name": name}), [name], ["s3://b/stack.tif"]) == '{"name": "s3://b/stack.tif"}'


def test_a_report_has_one_row_a_set(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from anyfuse.jobs.rows import Rows, read_rows

    for place in (str(tmp_path / "report"), f"{ROOT}/report"):
        for _ in range(2):
            rows = Rows(place, lambda row: row["status"] != "failed")
            for name, status in (("a", "fused"), ("b", "failed")):
                if name not in rows.known:
                    rows.add({"name": name, "status": status, "inputs": ["x", "y"], "more": 1})
            rows.flush()
            found = read_rows(place)
            assert sorted((row["name"], row["status"]) for row in found) == [("a", "fused"), ("b", "failed")]
    (tmp_path / "report" / "part-1.parquet").write_bytes(b"no")
    with pytest.raises(FusionError, match="is no report of a cluster"):
        read_rows(str(tmp_path / "report"))


def test_a_report_keeps_what_is_not_of_this_run(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    from anyfuse.jobs.rows import Rows, read_rows

    place = str(tmp_path / "report")
    rows = Rows(place, lambda row: True)
    (tmp_path / "report").mkdir()
    for name in ("a", "b", "c"):
        rows.add({"name": name, "status": "failed"})
    rows.flush()
    again = Rows(place, _fate)
    assert again.known == {"b"}
    assert [row["name"] for row in read_rows(place)] == ["b", "c"]
    before = {path: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    for number, table in enumerate(({"id": [1]}, {"id": []}, {"name": ["x"]})):
        write_table(pyarrow.table(table), tmp_path / "report" / f"part-9{number}.parquet")
    with pytest.raises(FusionError, match="is no report of a cluster; give another --report"):
        Rows(place, lambda row: False)
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((tmp_path / "report").iterdir())) == 4


def _fate(row: Mapping[str, Any]) -> bool | None:
    return {"a": False, "b": True, "c": None}[row["name"]]


def test_scores_count_again_by_the_same_protocol_alone() -> None:
    settings = {"names": ["mi", "en"], "grey": "opencv", "strict": False, "values_of": Values()}
    protocol = protocol_of(settings)
    report = json.dumps({"values": {"mi": 1.0, "en": 1.0}, "small": [], **protocol})
    row = {"name": "1", "inputs": ["f", "a", "b"], "status": "scored", "report": report}
    sets = {"1": ("f", "a", "b")}
    assert is_done(row, sets, protocol) is True
    for change in ({"grey": "pil"}, {"values_of": Values(white="4095")}, {"names": ["mi"]}, {"strict": True}):
        assert is_done(row, sets, protocol_of(settings | change)) is False
    assert is_done(row, sets, protocol | {"versions": {"mi": "0", "en": "0"}}) is False
    assert is_done(row | {"report": json.dumps({"values": {"mi": 1.0}, "small": []})}, sets, protocol) is False
    assert is_done(row | {"status": "failed", "report": None}, sets, protocol) is False
    assert is_done(row, {"1": ("other", "a", "b")}, protocol) is None


@pytest.mark.parametrize("name", ["s3://b/out/x.tif[0]", "s3a://b/out/x.tif", "s3://b//out/x.tif[1:3]"])
def test_inputs_in_stores_are_not_overwritten(name: str) -> None:
    with pytest.raises(FusionError, match="one of the inputs"):
        plan_bulk(Sets({"x": (name, "s3://b/y.tif")}, {}, []), "s3://b/out/", Choices())
    with pytest.raises(FusionError, match="input folder too"):
        check_results([name.rpartition("/")[0], "s3://b/vis"], "s3://b/out/", ())


def test_names_in_tables_are_those_of_one_machine(tmp_path: Path) -> None:
    path = tmp_path / "sets.csv"
    path.write_text(
        "a,b,name\ns3://b/1.png,s3://b/2.png,res.jpg\ns3://b/3.png,s3://b/4.png,night.2\ns3://b/5.png,c.png"
    )
    assert list(find_bulk([], Pairing(table=str(path))).files) == ["res", "night.2", "5"]
    for name in ("..", ".", "a/.."):
        path.write_text(f"a,b,name\ns3://b/1.png,s3://b/2.png,{name}")
        with pytest.raises(FusionError, match="is no name of a result"):
            find_bulk([], Pairing(table=str(path)))


def test_gpus_and_cpus_of_a_cluster() -> None:
    for gpus in (1.5, -1, float("nan"), float("inf")):
        with pytest.raises(FusionError, match="--gpus"):
            Cluster(gpus=gpus)
    resources = {"CPU": 0.5, "GPU": 2.0}
    ray = SimpleNamespace(cluster_resources=lambda: resources)
    assert _free(ray, Cluster(gpus=0.25)) == 8
    with pytest.raises(FusionError, match="has 2 GPUs"):
        _free(ray, Cluster(gpus=3))
    with pytest.raises(FusionError, match=r"has 0\.5 CPUs"):
        _free(ray, Cluster())


class _Once:
    """Work whose result is there after the first time."""

    done = False

    def there(self, job: Mapping[str, Any]) -> bool:
        return self.done

    def do(self, job: Mapping[str, Any], files: Sequence[str], result: str) -> dict[str, Any]:
        self.done = True
        return {"status": "fused", "report": "{}"}


def test_a_task_that_is_done_again_keeps_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Error(Exception):
        pass

    ray = SimpleNamespace(get=lambda value: value, exceptions=SimpleNamespace(RayError=Error))
    monkeypatch.setitem(sys.modules, "ray", ray)
    ledger = Ledger()
    calls = {call: SimpleNamespace(remote=getattr(ledger, call)) for call in ("enter", "step")}
    actor = Actor(_Once, (), SimpleNamespace(**calls))
    task = {"jobs": json.dumps([{"name": "a", "inputs": [], "image": None}])}
    first, again = (json.loads(actor(task)[0]["row"]) for _ in range(2))
    assert first["status"] == "fused"
    assert again == first
    ledger.rows.clear()
    assert json.loads(actor(task)[0]["row"])["status"] == "there"


def test_the_ledger_counts_attempts_and_keeps_rows() -> None:
    ledger = Ledger()
    assert ledger.enter(["a", "b"]) is None
    assert ledger.step("a", "", "") == 1
    assert ledger.step("b", "a", "{}") == 1  # the worker dies over b
    assert ledger.enter(["a", "b"]) == {"a": "{}"}
    assert ledger.step("b", "", "") == 2
    ledger.step("", "b", "{}")
    assert ledger.step("b", "", "") == 1


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FusionError, match="--on spark"):
        Cluster("spark")
    for folder in ("ir", "vis"):
        write_image(tmp_path / folder / "1.png", np.zeros((16, 16), np.uint8))
    given = [str(tmp_path / "ir"), str(tmp_path / "vis")]
    assert fuse_on(Cluster(), given, str(tmp_path / "out"), Choices(), Pairing(), plan=True) == 0
    assert capsys.readouterr().out.startswith(str(tmp_path / "out" / "1.png"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(FusionError, match="input folder too"):
        fuse_on(Cluster(), given, given[0], Choices(), Pairing())
    with pytest.raises(FusionError, match="needs results in a local folder"):
        fuse_on(Cluster(), given, f"{ROOT}/out", Choices(), Pairing(), explain=str(tmp_path / "maps"))
    with pytest.raises(FusionError, match="no such folder"):
        fuse_on(Cluster(), [str(tmp_path / "no"), given[0]], str(tmp_path / "out"), Choices(), Pairing())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FusionError, match=r"pip install 'anyfuse\[cluster\]'"), connected(Cluster()):
        pass
    with pytest.raises(FusionError, match=r"pip install 'anyfuse\[cluster\]'"):
        fuse_on(Cluster(), given, str(tmp_path / "out"), Choices(), Pairing())
    assert not (tmp_path / "out").exists()
