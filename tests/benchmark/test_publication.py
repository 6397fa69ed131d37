"""What `bench --paper` writes: marks of the table, references, figures, and that LaTeX takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mini import make_data, refused, run

from anyfuse.benchmark import paper
from anyfuse.benchmark.citations import PAPERS, bibtex, credits_of, entry, key_of
from anyfuse.errors import FusionError
from anyfuse.metrics import METRICS

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from anyfuse.cli import main

    root = tmp_path_factory.mktemp("paper")
    data = make_data(root / "LL_VIP 50%")
    with pytest.raises(SystemExit) as caught:
        main(
            f"bench|--data|{data}|--task|ivf|--models|guided,laplacian,mine_1=mertens|--metrics|mi,qabf,halo,psnr,qsf|"
            f"--paper|-o|{root / 'out'}|-q".split("|")
        )
    assert caught.value.code == 0
    return root / "out" / "paper"


def test_files(written: Path) -> None:
    names = {"table.tex", "paper.tex", "references.bib", "CITATIONS.txt", "scores.pdf", "pictures.pdf"}
    assert {p.name for p in written.iterdir()} == names
    for name in ("scores.pdf", "pictures.pdf"):
        data = (written / name).read_bytes()
        assert data.startswith(b"%PDF")
        assert b"CreationDate" not in data


def cells(written: Path) -> dict[str, list[str]]:
    text = (written / "table.tex").read_text()
    rows = re.findall(r"^(.+?) & (.+) \\\\$", text, re.M)
    return {re.sub(r"~\\cite\{\w+\}", "", name): row.split(" & ") for name, row in rows}


def test_best_is_bold_second_is_underlined_and_simple_rows_are_not_marked(written: Path) -> None:
    rows = cells(written)
    assert "mine\\_1" in rows
    methods = [name for name in rows if not name.startswith(("\\textit", "Method"))]
    for k, better in enumerate(("higher", "higher", "lower", "higher")):
        column = {name: rows[name][k] for name in methods}
        values = {name: float(re.sub(r"\\\w+\{|\}", "", text)) for name, text in column.items()}
        order = sorted(set(values.values()), reverse=better == "higher")
        assert {n for n, t in column.items() if "textbf" in t} == {n for n, v in values.items() if v == order[0]}
        assert {n for n, t in column.items() if "underline" in t} == {n for n, v in values.items() if v == order[1]}
    assert not [row for name, row in rows.items() if "textit" in name and any("\\text" in cell for cell in row)]
    assert not any("\\" in rows[name][4] for name in methods)  # no direction, no mark
    assert "LL\\_VIP 50\\%" in (written / "table.tex").read_text()


def test_references_are_those_of_the_table(written: Path) -> None:
    bib, text = (written / "references.bib").read_text(), (written / "CITATIONS.txt").read_text()
    for key in ("qu2002", "xydeas2000", "li2013", "burt1993", "mertens2007", "zheng2007"):
        assert f"{{{key}," in bib
    assert "% metric psnr: no entry (true decibels of the mean MSE)" in bib
    assert "data set LL_VIP 50%: not known here: cite where you have it from" in text
    cited = set(
        re.findall(r"\\cite\{(.*?)\}", (written / "table.tex").read_text() + (written / "paper.tex").read_text())
    )
    assert {key for group in cited for key in group.split(",")} <= set(re.findall(r"^@\w+\{(\w+),", bib, re.M))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not here")
def test_latex_takes_it(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "p")
    for command in ("pdflatex", "bibtex", "pdflatex", "pdflatex"):
        flags = ["-interaction=nonstopmode", "-halt-on-error"] if command == "pdflatex" else []
        done = subprocess.run(
            [command, *flags, "paper"], cwd=tmp_path / "p", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout
    assert "Overfull" not in done.stdout
    assert (tmp_path / "p" / "paper.pdf").stat().st_size > 10_000


def test_keys_are_unique_and_every_entry_is_complete() -> None:
    keys = [key_of(name) for name in PAPERS]
    assert len(set(keys)) == len(keys)
    for name in PAPERS:
        text = entry(name)
        assert text.count("{") == text.count("}")
        assert "title = {{" in text
        assert "others" not in text
    given = credits_of(METRICS, {"x": ""}, "msrs", "")
    assert len(given) == len(METRICS) + 2
    assert "% method x: no entry" in bibtex(given)


def test_without_matplotlib_it_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "find_spec", lambda name: None)
    data = make_data(tmp_path / "d")
    line = refused(
        capsys, "bench", "--data", data, "--task", "ivf", "--models", "average", "--paper", "-o", tmp_path / "o"
    )
    assert "pip install 'anyfuse[paper]'" in line
    assert not (tmp_path / "o" / "scores.csv").exists()


def test_infinite_and_missing_values_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = make_data(tmp_path / "d")
    code, _, err = run(
        capsys, "bench", "--data", data, "--task", "ivf", "--models", "guided", "--metrics", "scd,psnr",
        "--fused", f"same={data / 'vis'}", "--paper", "-o", tmp_path / "o", "-q",
    )  # fmt: skip
    assert code == 0, err
    rows = cells(tmp_path / "o" / "paper")
    assert rows["same"][0] == "--"  # a copy of a source has no SCD


def test_crop_is_where_images_differ() -> None:
    images = [np.zeros((40, 60, 3)), np.zeros((40, 60, 3))]
    images[1][20:30, 40:50] = 1
    top, left, tall, wide = paper.crop_box(images)
    assert (tall, wide) == (10, 15)
    assert 18 <= top <= 20
    assert 35 <= left <= 40


def test_without_any_value_there_is_no_paper(tmp_path: Path) -> None:
    table: Any = SimpleNamespace(metrics=["scd"], defined=lambda metric: ([], []))
    with pytest.raises(FusionError, match="no metric has a value"):
        paper.write_paper(tmp_path / "p", None, table)  # type: ignore[arg-type]
    assert not (tmp_path / "p").exists()


def test_metrics_without_a_value_are_not_cited(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = paper.column
    monkeypatch.setattr(paper, "column", lambda table, m: ([], []) if m == "scd" else whole(table, m))
    code, _, err = run(
        capsys, "bench", "--data", make_data(tmp_path / "d"), "--task", "ivf", "--models", "guided",
        "--metrics", "scd,mi", "--paper", "-o", tmp_path / "o", "-q",
    )  # fmt: skip
    assert code == 0, err
    cited = (tmp_path / "o" / "paper" / "CITATIONS.txt").read_text()
    assert re.search(r"\bmi\b", cited)
    assert not re.search(r"\bscd\b", cited)


def test_pictures_of_an_earlier_run_are_removed(
    written: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(tmp_path / "d")
    folder = tmp_path / "o" / "paper"
    folder.mkdir(parents=True)
    shutil.copy(written / "pictures.pdf", folder)
    monkeypatch.setattr(paper, "_pictures_figure", lambda *given: None)
    code, out, err = run(
        capsys, "bench", "--data", data, "--task", "ivf", "--models", "guided", "--metrics", "mi", "--paper",
        "-o", tmp_path / "o", "-q",
    )  # fmt: skip
    assert code == 0, err
    assert not (folder / "pictures.pdf").exists()
    assert "pictures.pdf" not in out
    assert "table.tex" in out
