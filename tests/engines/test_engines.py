"""The engines give the same: PyTorch, ONNX Runtime beside it, and ONNX Runtime where PyTorch cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engines.engine_cases import cases, image, levels, results
from PIL import Image

import anyfuse
from anyfuse import Fuser, FusionError
from anyfuse.align.settings import Align
from anyfuse.engine_choice import VARIABLE, check_engine
from anyfuse.engines.network import STEPS, inputs_of, shipped_hash
from anyfuse.engines.runner import session
from anyfuse.engines.without_torch import GRAPHS, OUTPUTS, graph_path
from anyfuse.models.anyfuse import Anyfuse
from anyfuse.models.registry import load_model

pytest.importorskip("onnxruntime")
SCRIPT = Path(__file__).with_name("engine_cases.py")
NO_TORCH = "import sys; sys.modules['torch'] = None; "


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return results("torch")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=os.environ | environment
    )


def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, pixels in expected.items():
        assert found[name].dtype == pixels.dtype, name
        assert found[name].shape == pixels.shape, name
        assert levels(found[name], pixels) <= 1, name


def test_onnx_beside_torch(expected: dict[str, np.ndarray]) -> None:
    check(results("onnx"), expected)


@pytest.mark.parametrize("native", ["1", "0"])
def test_onnx_without_torch(native: str, expected: dict[str, np.ndarray], tmp_path: Path) -> None:
    out = tmp_path / "found.npz"
    done = python(str(SCRIPT), str(out), "no-torch", ANYFUSE_NATIVE=native)
    assert done.returncode == 0, done.stderr
    found = dict(np.load(out))
    check(found, expected)
    assert found["tiled, tiles"] > 1
    assert levels(found["whole"], found["tiled"]) <= 1
    assert len(found) == 2 * len(list(cases())) + 4


# ---------------------------------------------------------------------- the graphs


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_made_of_the_shipped_weights(name: str) -> None:
    ready = session(graph_path(name), 1)
    assert ready.get_modelmeta().custom_metadata_map["weights"] == shipped_hash(), "python -m anyfuse.engines.network"
    assert tuple(one.name for one in ready.get_outputs()) == OUTPUTS[name]


def test_graphs_are_small() -> None:
    assert sum(graph_path(name).stat().st_size for name in GRAPHS) < 1 << 20


@pytest.mark.parametrize("shape", [(2, 64, 96), (3, 32, 32), (5, 96, 160)])
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_compute_what_torch_does(name: str, shape: tuple[int, int, int]) -> None:
    model = load_model("anyfuse")
    assert isinstance(model, Anyfuse)
    features = {k: x for k, (x, _) in inputs_of(model, name, *shape).items()}
    with torch.inference_mode():
        wanted = STEPS[name](model, *features.values())
    found = session(graph_path(name), 1).run(None, {k: x.numpy() for k, x in features.items()})
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other.numpy()).max() <= 1e-3 * max(1.0, float(other.abs().max()))


# ---------------------------------------------------------------------- which engine


def test_names_of_engines() -> None:
    with pytest.raises(FusionError, match="--engine tensorrt: give auto, torch, onnx"):
        check_engine("tensorrt")
    with pytest.raises(FusionError, match="engine tensorrt: give auto, torch, onnx"):
        anyfuse.fuse([], engine="tensorrt")
    assert Fuser(engine="auto").engine == "torch"
    assert Fuser(engine="onnx").engine == "onnx"
    with pytest.raises(FusionError, match="model average needs PyTorch: use engine torch"):
        Fuser("average", engine="onnx")
    with pytest.raises(FusionError, match="engine onnx is for the default model by its name"):
        Fuser(load_model("average"), engine="onnx")
    with pytest.raises(FusionError, match=r"computes on the CPU, not on cuda|has no CUDA"):
        Fuser(engine="onnx", device="cuda")
    with pytest.raises(FusionError, match="computes in float32, not in bfloat16"):
        Fuser(engine="onnx", dtype="bfloat16")
    with pytest.raises(FusionError, match="model nope: there is none of that name"):
        Fuser("nope", engine="onnx")


def test_threads_are_those_of_the_process() -> None:
    """One of many cores, as a container or a queue gives it."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to a core")
    code = NO_TORCH + (
        "import os; os.environ.pop('OMP_NUM_THREADS', None)\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from anyfuse.arrays import torch; print(torch.get_num_threads())"
    )
    assert python("-c", code).stdout == "1\n"


def test_python_without_torch() -> None:
    code = NO_TORCH + (
        "import anyfuse, numpy as np; a = np.zeros((40, 50, 3), np.uint8); a[:20] = 90; "
        "f = anyfuse.Fuser(); print(f.engine, anyfuse.fuse([a, a[::-1]]).shape, f.run([a, a[::-1]]).report['engine'])"
    )
    done = python("-c", code)
    assert done.stdout.split("\n")[0] == "onnx (40, 50, 3) onnx", done.stderr


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("Fuser('mmaif')", "model mmaif-tiny needs PyTorch"),
        ("Fuser(engine='torch')", "engine torch needs PyTorch"),
        ("fuse([a, b], say='remove the haze')", "say needs PyTorch"),
        ("load_model('anyfuse')", "load_model needs PyTorch"),
    ],
)
def test_what_needs_torch_says_so_in_one_line(call: str, what: str) -> None:
    code = NO_TORCH + (
        "from anyfuse import Fuser, FusionError, fuse, load_model; import numpy as np\n"
        "a = np.zeros((40, 50), np.uint8); b = a + 9\n"
        f"try: {call}\nexcept FusionError as error: print(error)"
    )
    done = python("-c", code)
    assert done.stdout == f'{what}: pip install "anyfuse[torch]"\n', done.stderr


# ---------------------------------------------------------------------- the command line


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    files = []
    for k in range(2):
        files.append(str(tmp_path / f"{k}.png"))
        Image.fromarray(image(60, 80, 3, "uint8", k)).save(files[-1])
    return files


def test_the_command_loads_no_torch(pair: list[str], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    out = str(tmp_path / "out.png")
    line = ["fuse", *pair, "-o", out, "--engine", "onnx", "--report", str(report)]
    code = (
        f"import sys; from anyfuse.cli.main import main\ntry: main({line!r})\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = python("-c", code)
    assert done.stdout.split()[-2:] == ["0", "False"], done.stderr
    assert json.loads(report.read_text())["engine"] == "onnx"
    result = Fuser().run(pair)
    assert levels(np.asarray(Image.open(out)), result.pixels) <= 1


def test_folders_without_torch(pair: list[str], tmp_path: Path) -> None:
    for k, path in enumerate(pair):
        folder = tmp_path / f"in{k}"
        folder.mkdir()
        for name in ("one.png", "two.png"):
            (folder / name).write_bytes(Path(path).read_bytes())
    line = ["fuse", str(tmp_path / "in0"), str(tmp_path / "in1"), "-o", str(tmp_path / "out"), "--jobs", "2"]
    done = python("-c", NO_TORCH + f"from anyfuse.cli.main import main; main({line!r})")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.png", "two.png"]


def test_images_are_aligned_alone_without_torch(pair: list[str], tmp_path: Path) -> None:
    out, saved = tmp_path / "aligned", tmp_path / "transforms.json"
    line = ["align", *pair, "-o", str(out), "--save-transforms", str(saved)]
    done = python("-c", NO_TORCH + f"from anyfuse.cli.main import main; main({line!r})")
    assert done.returncode == 0, done.stderr
    assert len(list(out.iterdir())) == 2
    result = Fuser(engine="onnx").run(pair, align=Align(transforms=str(saved)))
    assert len(result.report["aligned"]) == 2


VISIBLE = str(Path(__file__).resolve().parents[2] / "examples" / "infrared" / "visible.jpg")


@pytest.mark.parametrize(
    "line",
    [
        ["score", "x.png", "y.png", "z.png"],
        ["fuse", "a", "b", "-o", "c", "--engine", "torch"],
        ["bench", "--data", "x", "-o", "y"],
        ["train", "anyfuse"],
        ["degrade", "x"],
        ["estimate", VISIBLE],
        ["say", "remove the haze"],
        ["video", "a", "b", "-o", "c.mp4"],
        ["export", "anyfuse", "-o", "x.onnx"],
        ["datasets", "check", "x"],
    ],
)
def test_commands_that_need_torch_say_so(line: list[str]) -> None:
    done = python("-c", NO_TORCH + f"from anyfuse.cli.main import main; main({line!r})")
    assert done.returncode == 2
    assert done.stderr.strip().endswith('needs PyTorch: pip install "anyfuse[torch]"')
    assert len(done.stderr.strip().splitlines()) == 1


def test_video_names_the_extra_that_brings_all_it_needs() -> None:
    call = "sys.modules['av'] = None; from anyfuse.cli.main import main; main(['video', 'a', 'b', '-o', 'c.mp4'])"
    done = python("-c", NO_TORCH + call)
    assert done.returncode == 2
    assert done.stderr == 'anyfuse: video needs PyAV: pip install "anyfuse[video]"\n'


@pytest.mark.parametrize("line", [["doctor"], ["models"], ["--help"], ["fuse", "--help"]])
def test_commands_that_do_not_need_torch(line: list[str]) -> None:
    done = python("-c", NO_TORCH + f"from anyfuse.cli.main import main; main({line!r})")
    assert done.returncode == 0, done.stderr
    assert "anyfuse" in done.stdout


def test_the_variable_counts_for_the_process(pair: list[str]) -> None:
    code = f"import sys, anyfuse; anyfuse.fuse({pair!r}); print('torch' in sys.modules)"
    done = python("-c", code, **{VARIABLE: "onnx"})
    assert done.stdout == "False\n", done.stderr
