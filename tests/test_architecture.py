"""The examples of docs/architecture.md, a model and a metric, work as they are written there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def section(title: str) -> str:
    """What stands under a heading of the page."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    return page.split(f"## {title}", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]


def blocks(text: str) -> list[str]:
    """Its blocks of code."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package to which the example is added."""
    folder = tmp_path_factory.mktemp("example")
    ignored = shutil.ignore_patterns("assets", "__pycache__")
    shutil.copytree(ROOT / "anyfuse", folder / "anyfuse", ignore=ignored)
    (folder / "anyfuse" / "assets").symlink_to(ROOT / "anyfuse" / "assets")
    text = section("Add a model")
    name = re.search(r"enough to use it\. `(anyfuse/models/\w+\.py)`", text)
    assert name is not None
    module, entry = blocks(text)
    (folder / name[1]).write_text(module)
    registry = folder / "anyfuse" / "models" / "registry.py"
    imported, line = entry.split("\n\n")
    changed = registry.read_text().replace("from .base import", f"{imported}\nfrom .base import", 1)
    registry.write_text(changed.replace("MODELS: dict[str, Spec] = {\n", f"MODELS: dict[str, Spec] = {{\n{line}", 1))
    function, entry = blocks(section("Add a metric"))
    weighted, table = (folder / "anyfuse" / "metrics" / f"{file}.py" for file in ("weighted", "table"))
    weighted.write_text(f"{weighted.read_text()}\n\n{function}")
    opening = "METRICS: dict[str, Metric] = {\n"
    table.write_text(table.read_text().replace(opening, opening + entry, 1))
    return folder


def run(package: Path, *arguments: str) -> str:
    """Stdout of `python -m ARGUMENTS` with the changed package."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_line_knows_it(package: Path) -> None:
    """The result is the average times the gain, in any size."""
    images = [to8(scene(37, 53, seed)) for seed in (1, 2)]
    for name, image in zip("ab", images, strict=True):
        Image.fromarray(image).save(package / f"{name}.png")
    assert "gain" in run(package, "anyfuse", "models")
    run(package, "anyfuse", "fuse", "a.png", "b.png", "-o", "c.png", "--model", "gain", "--align", "none", "--quiet")
    expected = np.clip(1.05 * np.mean(images, axis=0), 0, 255)
    assert np.abs(np.asarray(Image.open(package / "c.png")) - expected).max() <= 1


def test_it_keeps_the_contract(package: Path) -> None:
    """All of tests/models/test_contract.py that is about it."""
    contract = str(ROOT / "tests" / "models" / "test_contract.py")
    where = ("--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider")
    said = run(package, "pytest", contract, *where, "-k", "gain", "-rA")
    assert len(re.findall(r"^PASSED .*\bgain\b", said, re.MULTILINE)) > 15


def test_the_metric_is_scored(package: Path) -> None:
    """Its value is the mean level."""
    image = to8(scene(37, 53, 3))
    Image.fromarray(image).save(package / "m.png")
    said = run(package, "anyfuse", "score", "m.png", "--sources", "m.png", "m.png", "--metrics", "middle", "--json")
    assert abs(json.loads(said)["middle"] - image.mean()) < 0.01
