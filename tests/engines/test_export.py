"""Exported graphs give what PyTorch gives, for any number of images and any size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anyfuse import Fuser, FusionError, load_model
from anyfuse.engines.export import export, samples, weights_hash
from anyfuse.engines.runner import run_graph, session
from anyfuse.models.base import FusionModel

SLOW = os.environ.get("ANYFUSE_SLOW") == "1"
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[FusionModel, Path]]:
    folder = tmp_path_factory.mktemp("graphs")
    names = ["average", "maximum", *(["anyfuse"] if SLOW else [])]
    models = {name: load_model(name) for name in names}
    return {name: (m, export(m, name, folder / f"{name}.onnx")) for name, m in models.items()}


@pytest.mark.parametrize("name", ["average", "maximum", "anyfuse"])
@pytest.mark.parametrize("shape", [(2, 64, 64), (2, 33, 47), (4, 90, 130), (7, 40, 32)], ids=str)
def test_a_graph_gives_what_fuse_gives(
    graphs: dict[str, tuple[FusionModel, Path]], name: str, shape: tuple[int, int, int]
) -> None:
    if name not in graphs:
        pytest.skip("the export of the network takes minutes; ANYFUSE_SLOW=1 runs it")
    model, path = graphs[name]
    images = samples(*shape, "uint8")
    images[-1] = images[0, :, ::-1]  # all in colour: `fuse` takes three equal channels for colour, too
    fused = run_graph(session(path), images)
    expected = Fuser(model, device="cpu")(list(images), align="none", deghost="off")
    assert fused.dtype == np.uint8
    assert abs(fused.astype(int) - expected.astype(int)).max() <= 1


def test_a_grey_image_has_no_say_in_colour(graphs: dict[str, tuple[FusionModel, Path]]) -> None:
    model, path = graphs["maximum"]
    images = samples(2, 48, 64, "uint8")
    assert (images[1, ..., :1] == images[1]).all()
    expected = Fuser(model, device="cpu")([images[0], images[1, ..., 0]], align="none", deghost="off")
    assert abs(run_graph(session(path), images).astype(int) - expected.astype(int)).max() <= 1


def test_metadata_names_the_weights(graphs: dict[str, tuple[FusionModel, Path]]) -> None:
    model, path = graphs["maximum"]
    facts = session(path).get_modelmeta().custom_metadata_map
    assert facts["model"] == "maximum"
    assert facts["weights"] == weights_hash(model)
    assert facts["depth"] == "uint8"


def test_float_pixels(tmp_path: Path) -> None:
    path = export(load_model("average"), "average", tmp_path / "average.onnx", "float32")
    images = samples(3, 40, 56, "float32")
    fused = run_graph(session(path), images)
    assert fused.dtype == np.float32
    assert abs(fused.mean() - images.mean()) < 0.02


def test_the_runner_loads_no_torch(graphs: dict[str, tuple[FusionModel, Path]]) -> None:
    code = (
        "import sys, numpy as np; from anyfuse.engines.runner import run_graph, session;"
        f"print(run_graph(session({str(graphs['maximum'][1])!r}), np.zeros((2, 40, 40, 3), np.uint8)).shape);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(40, 40, 3)", "False"]


def test_refusals(graphs: dict[str, tuple[FusionModel, Path]], tmp_path: Path) -> None:
    model, path = graphs["maximum"]
    with pytest.raises(FusionError, match="cannot be exported"):
        export(load_model("tita-small"), "tita-small", tmp_path / "a.onnx")
    with pytest.raises(FusionError, match=r"ends in \.onnx"):
        export(model, "maximum", tmp_path / "a.txt")
    with pytest.raises(FusionError, match="exists"):
        export(model, "maximum", path)
    with pytest.raises(FusionError, match="uint8 or float32"):
        export(model, "maximum", tmp_path / "a.onnx", "float16")  # type: ignore[arg-type]
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(FusionError, match="is no ONNX graph"):
        session(tmp_path / "junk.onnx")
    for wrong in (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3))):
        with pytest.raises(FusionError, match="the graph takes"):
            run_graph(session(path), wrong)
