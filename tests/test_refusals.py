"""What cannot work is refused in one line: model folders, checkpoints, instructions, arguments of Python."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import scene, to8
from safetensors.torch import load_file, save_file

import anyfuse
from anyfuse.api import Fuser
from anyfuse.cli.main import main
from anyfuse.errors import FusionError, in_python, options_named
from anyfuse.language.instruction import parse_instruction
from anyfuse.models.registry import SYSTEMS, build_model, load_model
from anyfuse.training.loop import read_checkpoint
from anyfuse.weights import is_hub_id

PAIR = [to8(scene(40, 48, 1)), to8(scene(40, 48, 2))]


def refused(action: Callable[[], object]) -> str:
    """The line of a refusal, which takes little work and memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(FusionError) as caught:
        action()
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "KiB more than before"
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1200
    return text


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each system."""
    root = tmp_path_factory.mktemp("models")
    for name in ("anyfuse", "tita-small", "mmaif-tiny", "ditfuse-tiny", "unifusion-small"):
        build_model(name).save_pretrained(root / name)
    return {path.name: path for path in root.iterdir()}


def changed(folder: Path, root: Path, **values: Any) -> Path:
    """The folder with other values in its configuration."""
    root.mkdir()
    config = json.loads((folder / "config.json").read_text()) | values
    (root / "config.json").write_text(json.dumps(config))
    os.link(folder / "model.safetensors", root / "model.safetensors")
    return root


ABSURD: list[tuple[str, dict[str, Any]]] = [
    ("anyfuse", {"margin": math.nan}),
    ("anyfuse", {"margin": 1e308}),
    ("anyfuse", {"margin": math.inf}),
    ("anyfuse", {"deep": 10**9}),
    ("anyfuse", {"blocks": 60000}),
    ("anyfuse", {"quarter": True}),
    ("anyfuse", {"quarter": 60000}),
    ("tita-small", {"channels": 60000}),
    ("tita-small", {"extract": 60000}),
    ("tita-small", {"interact": [60000, 60000]}),
    ("tita-small", {"interact": [1e30]}),
    ("mmaif-tiny", {"hidden": 10**6}),
    ("mmaif-tiny", {"hidden": 60000}),
    ("mmaif-tiny", {"layers": 60000}),
    ("mmaif-tiny", {"experts": 60000}),
    ("mmaif-tiny", {"table": 60000}),
    ("mmaif-tiny", {"active": True}),
    ("mmaif-tiny", {"stretch": math.nan}),
    ("ditfuse-tiny", {"steps": 1e30}),
    ("ditfuse-tiny", {"steps": 10**30}),
    ("ditfuse-tiny", {"width": 64000}),
    ("ditfuse-tiny", {"layers": 60000}),
    ("ditfuse-tiny", {"vocabulary": 10**8}),
    ("unifusion-small", {"width": 60000}),
    ("unifusion-small", {"rounds": 60000}),
    ("unifusion-small", {"heads": -1}),
]


@pytest.mark.parametrize(("name", "values"), ABSURD, ids=str)
def test_absurd_configurations(name: str, values: dict[str, Any], models: dict[str, Path], tmp_path: Path) -> None:
    refused(lambda: load_model(changed(models[name], tmp_path / "m", **values)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("name", ["anyfuse", "mmaif-tiny"])
def test_weights_that_are_no_numbers(name: str, value: float, models: dict[str, Path], tmp_path: Path) -> None:
    state = {k: v.float() for k, v in load_file(models[name] / "model.safetensors").items()}
    key = max(state, key=lambda k: state[k].numel())
    state[key].view(-1)[7] = value
    (tmp_path / "config.json").write_bytes((models[name] / "config.json").read_bytes())
    save_file(state, tmp_path / "model.safetensors")
    assert key in refused(lambda: load_model(tmp_path))


def test_a_result_that_is_no_number_is_refused() -> None:
    class Broken(SYSTEMS["Average"]):  # type: ignore[misc]
        def forward(self, sources: torch.Tensor, condition: None = None, context: None = None) -> torch.Tensor:
            return sources.mean(1) * math.nan

    assert "no numbers" in refused(lambda: Fuser(Broken()).run(PAIR))


def test_good_models_load(models: dict[str, Path]) -> None:
    for path in models.values():
        load_model(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "nul", '{"system": 3}', '{"system": ["Anyfuse"]}', "\xff"])
def test_configurations_that_are_none(text: str, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    refused(lambda: load_model(tmp_path))


def test_places_are_no_names_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert is_hub_id("owner/name")
    assert not is_hub_id("runs/x")
    assert not is_hub_id("mine/x")
    assert "no such folder" in refused(lambda: load_model("runs/x"))
    assert "5000" in refused(lambda: load_model("x" * 5000))


@pytest.mark.parametrize("data", [b"", b"junk", b"PK\3\4torn", {}, [1], 3, {"step": "x", "recipe": 1}], ids=str)
def test_checkpoints_that_are_none(data: Any, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        torch.save(data, path)
    assert "no checkpoint" in refused(lambda: read_checkpoint(path, {"recipe", "step"}, "cpu"))


def test_a_torn_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save({"recipe": torch.randn(1000), "step": 1}, path)
    path.write_bytes(path.read_bytes()[:2000])
    assert "no checkpoint" in refused(lambda: read_checkpoint(path, {"recipe", "step"}, "cpu"))


def test_an_instruction_of_one_endless_word() -> None:
    assert "letters" in refused(lambda: parse_instruction("a" * 20_000))
    assert "letters" in refused(lambda: parse_instruction("haze " * 5000))


def nested() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(5, 4)])


ARGUMENTS: list[dict[str, Any]] = [
    *({"max_memory": v} for v in (math.nan, math.inf, [1], b"2G", -1, 0, True, "9" * 400, {})),
    *({"device": v} for v in (None, 3, [], b"cpu", "")),
    *({"dtype": v} for v in (None, 3, [], torch.float32, {})),
    *({"infrared": v} for v in ("1", 1.5, True, 9, -1, [])),
    *({"model": v} for v in (3, [], b"x", "x" * 5000, "", object(), "a\0b")),
    *({"out": v} for v in (3, b"x.png", object(), [], "", True)),
    *({"images": v} for v in (None, 3, b"ab", {}, "a.png", [], [None, None], [1, 2], [nested(), nested()], object())),
    *({"reference": v} for v in ("1", 1.5, None, 9, [])),
    *({"white": v} for v in ("x", [], -1, 0, math.nan, True)),
    *({"say": v} for v in (3, [], b"brighter", object())),
    *({"black": v} for v in (object(), True, b"1", {})),
    *({"white": v} for v in (object(), b"1", {})),
    *({"masks": v} for v in (5, object(), [1], "a.png")),
    *({"pages": v} for v in (5, [], b"1")),
    *({"resize": v} for v in (None, "yes")),
    *({"keep_order": v} for v in (None, "yes")),
    {"images": [np.zeros(()), np.zeros((4, 4))]},
    {"images": [np.zeros(4), np.zeros((4, 4))]},
]


def title(given: dict[str, Any]) -> str:
    """The same in each process: no addresses."""
    return re.sub(r"\W+", " ", re.sub(r" at 0x\w+", "", f"{given!r}")[:60])


@pytest.mark.parametrize("given", ARGUMENTS, ids=title)
def test_arguments_of_python(given: dict[str, Any]) -> None:
    call = {"images": PAIR, "model": "average"} | given
    try:
        text = refused(lambda: anyfuse.fuse(**call))
    except TypeError as error:
        text = str(error)
    assert not re.search(r"--[a-z]", text), "flags belong to the command line"


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float64", "bool"])
def test_small_floats_in_tensors_are_images(dtype: str) -> None:
    images = [torch.rand(16, 20).to(getattr(torch, dtype)) for _ in range(2)]
    assert anyfuse.fuse(images, model="average").shape == (16, 20)


def test_options_are_named_as_their_user_knows_them() -> None:
    assert in_python("give --max-memory or --resize reference; leave --weights-out out") == (
        "give max_memory or resize=True; leave save_weights out"
    )
    call = {"images": [PAIR[0], PAIR[1][:20]], "model": "average"}
    assert "resize=True" in refused(lambda: anyfuse.fuse(**call))
    with options_named():
        assert "--resize reference" in refused(lambda: anyfuse.fuse(**call))


def test_jobs_share_the_memory() -> None:
    from anyfuse.runtime import resident_bytes
    from anyfuse.tiling import memory_left

    model = load_model("anyfuse")
    limit = resident_bytes() + (1 << 30)
    alone, shared = (memory_left(model, 2, 1, 500, 500, limit, 0, jobs) for jobs in (1, 4))
    assert alone is not None
    assert shared is not None
    assert shared <= alone / 4 + (1 << 22)


def test_arrays_are_unharmed() -> None:
    before = [p.copy() for p in PAIR]
    anyfuse.fuse(PAIR, model="average")
    assert all(np.array_equal(a, b) for a, b in zip(PAIR, before, strict=True))


@pytest.mark.parametrize("what", [["--degraded", "built-in"], ["--section", "control"]])
def test_benchmarks_of_one_machine(what: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what a cluster does instead, before anything is read."""
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--data", str(tmp_path), *what, "--on", "ray", "-o", str(tmp_path / "out")])
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"bench {what[0]} runs on one machine; leave out --on. On a cluster: bench --task" in text
