"""The notebooks of docs/notebooks run from start to end, on the bundled examples, and are stored without output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("torchmetrics")
pytest.importorskip("matplotlib")

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def outputs(notebook: Any, kind: str) -> list[str]:
    """What the cells show, of one kind: 'image/png' or 'text/plain'."""
    every = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output["data"][kind] for output in every if kind in output.get("data", {})]
    return shown + [output["text"] for output in every if kind == "text/plain" and output.output_type == "stream"]


@pytest.mark.parametrize(
    ("name", "pictures", "texts"),
    [
        ("photographer", 6, ["seconds, 640 x 432"]),
        ("researcher", 1, ["nothing wrong was found", r"\toprule", "Xydeas", "'qabf': tensor("]),
    ],
)
def test_it_runs(name: str, pictures: int, texts: list[str]) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert not outputs(notebook, "image/png")  # pictures stay out of the repository
    assert not [cell for cell in notebook.cells if cell.get("execution_count")]
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert len(outputs(notebook, "image/png")) == pictures
    said = "\n".join(outputs(notebook, "text/plain"))
    assert not [text for text in texts if text not in said]
