"""Another package adds models, metrics, readers and losses: the one of docs/own_model.md, as written there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, to8
from PIL import Image

from anyfuse import plugins
from anyfuse.errors import FusionError
from anyfuse.models import registry
from anyfuse.models.classical import Average, AverageConfig
from anyfuse.plugins import Extended

ROOT = Path(__file__).resolve().parents[1]
BROKEN = """
import sys

from anyfuse.metrics import Metric
from anyfuse.models import FusionModel


class Unbuilt(FusionModel):
    def __init__(self, config=None):
        super().__init__()
        raise OSError("weights are not there\\nsecond line")


def unbuilt():
    return Unbuilt()


def fails(fused, sources, shared=None):
    raise ZeroDivisionError("by zero")


def leaves():
    sys.exit(3)


FAILS = Metric("fails", fails, "higher", (0, 1), "edges", "a test")
"""


def install(folder: Path, name: str, files: dict[str, str], groups: dict[str, dict[str, str]]) -> None:
    """What pip install leaves: the modules, and a dist-info folder with the entry points."""
    package = folder / name
    package.mkdir(parents=True)
    for file, text in {"__init__.py": "", **files}.items():
        (package / file).write_text(text)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    lines = [
        line for group, points in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def documented() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Files and entry points that the page shows."""
    page = (ROOT / "docs" / "own_model.md").read_text()
    files = dict(re.findall(r"`anyfuse_example/(\w+\.py)`.*?```python\n(.*?)```", page, re.DOTALL))
    toml = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    groups = {
        group: dict(re.findall(r'^([\w-]+) = "(.*)"$', body, re.M))
        for group, body in re.findall(r'\[project\.entry-points\."(.*?)"\]\n((?:.+\n?)*)', toml)
    }
    return files, groups


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the documented package and one whose parts are all broken, and images to fuse."""
    folder = tmp_path_factory.mktemp("site")
    files, groups = documented()
    assert set(files) == {"gain.py", "tiny_net.py", "middle.py", "raster.py", "darkness.py"}
    assert set(groups) == set(plugins.GROUPS)
    install(folder, "anyfuse_example", files, groups)
    install(
        folder,
        "bad_parts",
        {"parts.py": BROKEN, "syntax.py": "def (:\n", "leaving.py": "import sys\nsys.exit(3)\n"},
        {
            "anyfuse.models": {
                "anyfuse": "bad_parts.parts:unbuilt",
                "absent": "bad_parts.nowhere:x",
                "leaving": "bad_parts.leaving:x",
                "unbuilt": "bad_parts.parts:unbuilt",
            },
            "anyfuse.metrics": {"syntax": "bad_parts.syntax:x", "fails": "bad_parts.parts:FAILS"},
            "anyfuse.readers": {"no-reader": "bad_parts.parts:fails"},
            "anyfuse.losses": {"no-loss": "bad_parts.parts:Unbuilt"},
        },
    )
    data = folder / "data"
    for role, seed in (("ir", 0), ("vis", 1)):
        (data / role).mkdir(parents=True)
        image = to8(scene(48, 64, seed=seed))
        Image.fromarray(image).convert("L").save(data / role / "1.png")
        grey = np.asarray(Image.open(data / role / "1.png"))
        toy = b"RASTER" + np.array([64, 48], "<u2").tobytes() + grey.tobytes()
        (data / role / "2.toy").write_bytes(toy)
    return folder


def run(place: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Stdout and stderr of `python -m anyfuse ARGUMENTS` with both packages installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}
    command = [sys.executable, "-m", "anyfuse", *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_models_are_listed_and_broken_ones_are_named_once(place: Path) -> None:
    out, err = run(place, "models", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["gain"]["system"] == "Average with a gain"
    assert rows["tiny-net"]["parameters"] == 2 * 9 + 1
    assert rows["anyfuse"]["parameters"] > 200_000  # ours, not the one that wants its name
    assert not {"absent", "leaving", "unbuilt"} & set(rows)
    lines = err.strip().splitlines()
    assert [next(n for n in ("'absent'", "'anyfuse'", "'leaving'", "'unbuilt'") if n in line) for line in lines] == [
        "'absent'",
        "'anyfuse'",
        "'leaving'",
        "'unbuilt'",
    ]
    assert "of bad-parts 1.0" in lines[0]
    assert "ModuleNotFoundError" in lines[0]


@pytest.mark.parametrize("name", ["gain", "tiny-net"])
def test_fuse_takes_them_and_the_own_format(place: Path, name: str) -> None:
    sources = [place / "data" / role / "2.toy" for role in ("ir", "vis")]
    target = place / f"{name}.png"
    run(place, "fuse", *map(str, sources), "-o", str(target), "--model", name, "--align", "none")
    mean = np.mean([np.asarray(Image.open(p.with_name("1.png")), np.float64) for p in sources], 0)
    expected = mean * 1.05 if name == "gain" else mean
    assert np.abs(np.asarray(Image.open(target)) - expected.clip(0, 255)).max() <= 1


def test_a_built_in_model_loads_no_other_package(place: Path) -> None:
    _, err = run(place, "fuse", "data/ir/1.png", "data/vis/1.png", "-o", "plain.png", "--align", "none")
    assert "bad-parts" not in err


def test_a_model_that_cannot_be_built_is_one_line(place: Path) -> None:
    _, err = run(place, "fuse", "data/ir/1.png", "data/vis/1.png", "-o", "x.png", "--model", "unbuilt", code=2)
    assert "model 'unbuilt' cannot be built (OSError: weights are not there)" in err.splitlines()[-1]


def test_score_knows_the_metric_and_survives_a_failing_one(place: Path) -> None:
    given = ("score", "data/vis/1.png", "--sources", "data/ir/1.png", "data/vis/1.png", "--json")
    out, err = run(place, *given, "--metrics", "middle,fails,mi")
    values = json.loads(out)
    level = np.asarray(Image.open(place / "data" / "vis" / "1.png"), np.float64).mean()
    assert values["middle"] == pytest.approx(abs(level - 127.5))
    assert values["fails"] is None
    assert values["mi"] > 0
    assert "metric 'fails' fails, its values are NaN (ZeroDivisionError: by zero)" in err
    assert set(json.loads(run(place, *given)[0])).isdisjoint({"middle", "fails"})  # the usual ones stay the usual ones


def test_bench_has_them_all_in_one_table(place: Path) -> None:
    given = ("bench", "--data", "data", "--task", "ivf", "--models", "gain,tiny-net,average", "-o", "bench")
    out, _ = run(place, *given, "--metrics", "middle,qabf", "--quiet")
    assert "2 images" in out
    rows = (place / "bench" / "scores.csv").read_text()
    assert {"gain", "tiny-net"} <= set(re.findall(r"^[12],([\w-]+),", rows, re.M))
    assert re.search(r'"middle": "[0-9a-f]{8}"', rows)
    first = re.search(r"^1,gain,(anyfuse \w+),", rows, re.M)
    changed = (place / "anyfuse_example" / "gain.py").read_text()
    (place / "anyfuse_example" / "gain.py").write_text(changed.replace("self.config.gain *", "0.5 *"))
    run(place, *given, "--metrics", "middle,qabf", "--quiet")
    (place / "anyfuse_example" / "gain.py").write_text(changed)
    second = re.search(r"^1,gain,(anyfuse \w+),", (place / "bench" / "scores.csv").read_text(), re.M)
    assert first is not None
    assert second is not None
    assert first[1] != second[1]  # other code of the package: scored anew


def test_doctor_lists_them(place: Path) -> None:
    out, _ = run(place, "doctor")
    assert "readers: raster (anyfuse-example)" in out


def test_a_loss_is_taken_by_a_recipe(place: Path) -> None:
    code = (
        "import torch; from anyfuse.training.objectives import loss_of;"
        "from anyfuse.training.overrides import override;"
        "from anyfuse.training.recipes import RECIPES;"
        "r = override(RECIPES['anyfuse'], ['losses.ivf.darkness=2']); print(r.losses['ivf']['darkness']);"
        "print(float(loss_of('darkness')(torch.zeros(1, 4, 4), torch.ones(1, 2, 4, 4))))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2.0", "1.0"]


def test_a_recipe_of_own_data_and_an_own_loss(place: Path, tmp_path: Path) -> None:
    """The page's recipe, with one small step."""
    page = (ROOT / "docs" / "own_model.md").read_text()
    code = re.findall(r"```python\n(from dataclasses import replace\n.*?)```", page, re.DOTALL)[0]
    assert "darkness" in code
    for role, seed in (("ir", 0), ("vis", 1)):
        (tmp_path / "DATA" / role).mkdir(parents=True)
        for index in range(3):
            image = Image.fromarray(to8(scene(48, 64, seed=seed + 2 * index))).convert("L")
            image.save(tmp_path / "DATA" / role / f"{index}.png")
    assert code.count("steps=600") == 1
    code = code.replace("steps=600", "steps=1, crop=32")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "darkness" in (tmp_path / "runs" / "mine" / "log.jsonl").read_text()


def test_a_damaged_file_of_an_own_format_is_one_line(place: Path) -> None:
    (place / "cut.toy").write_bytes(b"RASTER" + np.array([64, 48], "<u2").tobytes())
    _, err = run(place, "fuse", "cut.toy", "data/vis/1.png", "-o", "x.png", code=2)
    assert "cut.toy: is truncated; save it again" in err


def test_a_table_lists_lazily_and_a_part_may_list_it() -> None:
    seen = []

    def accept(name: str, part: object) -> int:
        seen.append(name)
        return 1

    table: Extended[int] = Extended({"a": 0}, "anyfuse.none", accept)
    assert "a" in table
    assert table["a"] == 0
    assert table.get("b", 5) == 5
    assert list(table) == ["a"]
    assert len(table) == 1
    with pytest.raises(KeyError):
        table["b"]
    assert not seen


def test_wrap_refuses_what_it_cannot_call() -> None:
    import torch
    from torch import nn

    from anyfuse import Fuser
    from anyfuse.models import wrap

    images = [to8(scene(31, 45, seed=k)) for k in range(2)]
    mean = Fuser(wrap(lambda a, b: (a + b) / 2, ordered=False)).run(images, align="none").pixels
    assert mean.shape[:2] == images[0].shape
    sets = Fuser(wrap(lambda x: x.mean(1), call="set", halo=0, ordered=False)).run(images * 2, align="none").pixels
    assert np.abs(sets.astype(int) - mean).max() <= 1
    coloured = wrap(nn.Conv2d(6, 3, 1), call="stack", channels=3, stride=8)
    assert Fuser(coloured).run(images, align="none").pixels.shape[:2] == (31, 45)
    for wrong in ({"call": "none"}, {"channels": 2}, {"images": 1}, {"halo": -1}):
        with pytest.raises(FusionError):
            wrap(nn.Identity(), **wrong)  # type: ignore[arg-type]
    with pytest.raises(FusionError, match="gives \\(1, 2, 4, 4\\)"):
        wrap(lambda a, b: torch.cat([a, b], 1))(torch.zeros(1, 2, 1, 4, 4))


def test_a_wrapped_module_keeps_its_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from torch import nn

    from anyfuse.models import load_model, wrap

    net = nn.Conv2d(6, 3, 1)
    wrap(net, call="stack", channels=3).save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert state.keys() == net.state_dict().keys()
    assert all(bool((state[k] == v).all()) for k, v in net.state_dict().items())
    with pytest.raises(FusionError, match="Wrapped"):
        load_model(tmp_path)


class Plain(Average):
    """Plain mean."""

    def __init__(self) -> None:
        super().__init__(AverageConfig())
        self.config = None  # type: ignore[assignment]


class Fails(Plain):
    """Fails when it is built."""

    def __init__(self) -> None:
        super().__init__()
        raise OSError("not there")


def test_a_class_without_configuration_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = registry.as_spec("plain", Plain)
    assert (spec.cls, spec.config, spec.system) == (Plain, None, "Plain mean")
    assert isinstance(spec.make(), Plain)
    monkeypatch.setitem(registry.MODELS, "plain", spec)
    monkeypatch.setitem(registry.MODELS, "fails", registry.Spec(Fails, None, "", build=Fails))
    assert isinstance(registry.build_model("plain"), Plain)
    with pytest.raises(FusionError, match="no configuration to change"):
        registry.build_model("plain", {"gain": 2})
    with pytest.raises(FusionError, match=r"'fails' cannot be built \(OSError: not there\)"):
        registry.build_model("fails")


def test_a_part_is_named_once_whatever_it_says(caplog: pytest.LogCaptureFixture) -> None:
    for text in ("fails on 1", "fails on 2"):
        plugins.complain("anyfuse.metrics", "once", text)
    plugins.complain("anyfuse.readers", "once", "fails too")
    assert [record.args for record in caplog.records] == [("fails on 1",), ("fails too",)]
