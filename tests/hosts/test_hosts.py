"""The examples for other programs, as far as they go without these programs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import scene, to8

import anyfuse
from anyfuse.errors import FusionError
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image

HOSTS = Path(__file__).resolve().parents[2] / "examples" / "hosts"
PROGRAM = [sys.executable, "-m", "anyfuse"]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH with the command anyfuse, of this Python."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "anyfuse").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anyfuse "$@"\n')
    (folder / "anyfuse").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(HOSTS.parents[1]))
    return folder


def pair(folder: Path) -> list[Path]:
    """Two colour images, dark and bright."""
    image = torch.from_numpy(scene(64, 80, 1, 3))
    for name, part in (("it's dark.png", image * 0.4), ("bright.png", image.clamp(0.3, 1))):
        write_image(folder / name, to8(part.numpy()))
    return [folder / "it's dark.png", folder / "bright.png"]


def loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# napari


@pytest.fixture
def napari(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HOSTS / "napari"))
    return importlib.import_module("anyfuse_napari")


def test_napari_reads_stacks_and_fuses_layers(napari: ModuleType, tmp_path: Path) -> None:
    stack = np.stack([to8(scene(48, 64, k)) for k in range(3)])
    from PIL import Image

    first, *others = [Image.fromarray(page) for page in stack]
    first.save(tmp_path / "z.tif", save_all=True, append_images=others)
    path = str(tmp_path / "z.tif")
    ((data, options, kind),) = napari.reader(path)(path)
    assert kind == "image"
    assert options["name"] == "z.tif"
    np.testing.assert_array_equal(data, stack)
    layer = SimpleNamespace(data=data, rgb=options["rgb"], name=options["name"])
    fused, options, _ = napari.fuse_layers([layer], align="none")
    np.testing.assert_array_equal(fused, anyfuse.fuse(list(stack), align="none"))
    files = pair(tmp_path)
    layers = [SimpleNamespace(data=d, rgb=o["rgb"], name=o["name"]) for d, o, _ in napari.read([str(f) for f in files])]
    fused, options, _ = napari.fuse_layers(layers)
    assert options["rgb"]
    np.testing.assert_array_equal(fused, anyfuse.fuse(files))


def test_napari_scales_measured_layers(napari: ModuleType) -> None:
    kelvin = 280 + 20 * scene(40, 50, 2)
    grey = to8(scene(40, 50, 3))
    layers = [SimpleNamespace(data=data, rgb=False, name="one") for data in (kelvin, grey)]
    fused, options, _ = napari.fuse_layers(layers, align="none")
    assert fused.shape == (40, 50)
    assert not options["rgb"]
    stack = SimpleNamespace(data=np.stack([kelvin, 300 + kelvin / 4]), rgb=False, name="pages")
    first, second = napari._images(stack)
    assert (first.min(), second.max()) == (0, 1)
    assert second.min() > first.max() / 2, "pages keep their relation"
    kelvin[3, 4] = np.nan
    with pytest.raises(FusionError, match="NaN"):
        napari.fuse_layers(layers, align="none")


def test_what_the_manifest_names_is_there(napari: ModuleType) -> None:
    import yaml

    text = yaml.safe_load((HOSTS / "napari/anyfuse_napari/napari.yaml").read_text())
    commands = {one["id"]: one["python_name"] for one in text["contributions"]["commands"]}
    for name in commands.values():
        module, function = name.split(":")
        assert callable(getattr(importlib.import_module(module), function))
    named = [one["command"] for key in ("readers", "widgets") for one in text["contributions"][key]]
    assert set(named) == set(commands)


# ComfyUI


def test_nodes_of_comfyui() -> None:
    nodes = loaded(HOSTS / "comfyui/__init__.py", "comfyui_anyfuse")
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    image = torch.from_numpy(scene(40, 56, 4, 3))
    dark, bright = image * 0.4, image.clamp(0.3, 1)
    (one,) = nodes.FuseImages().fuse(dark[None], bright[None])
    (two,) = nodes.FuseBatch().fuse(torch.stack([dark, bright]))
    expected = torch.from_numpy(anyfuse.fuse([dark.numpy(), bright.numpy()]))
    assert one.shape == (1, 40, 56, 3)
    assert torch.equal(one[0], expected)
    assert torch.equal(two, one)
    (many,) = nodes.FuseImages().fuse(torch.stack([dark, bright]), torch.stack([bright, dark]))
    torch.testing.assert_close(many[0], many[1], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="give equal ones"):
        nodes.FuseImages().fuse(dark[None], torch.stack([bright, dark]))
    for node in nodes.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(node(), node.FUNCTION))
        known = node.INPUT_TYPES()
        for model in known["required"]["model"][0]:
            anyfuse.load_model(model)


# GIMP


def test_gimp_fuses_files(program: Path, tmp_path: Path) -> None:
    script = loaded(HOSTS / "gimp/anyfuse-layers/anyfuse-layers.py", "gimp_anyfuse")
    files = pair(tmp_path)
    script.fuse(files, tmp_path / "fused.png")
    expected = anyfuse.Fuser("anyfuse").run(files).pixels
    assert read_image(tmp_path / "fused.png").pixels.shape == expected.shape
    with pytest.raises(RuntimeError, match="no such file"):
        script.fuse([tmp_path / "none.png", files[0]], tmp_path / "other.png")


def test_gimp_says_that_anyfuse_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = loaded(HOSTS / "gimp/anyfuse-layers/anyfuse-layers.py", "gimp_anyfuse")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="pip install anyfuse"):
        script.fuse(pair(tmp_path), tmp_path / "fused.png")


# darktable

DARKTABLE = """
local said, imported, target = {}, {}, nil
package.preload["darktable"] = function()
  return {
    print = function(text) said[#said + 1] = text end,
    control = { execute = function(command) return select(3, os.execute(command)) end },
    database = { import = function(file) imported[#imported + 1] = file end },
    register_storage = function(name, label, store, finalize) target = finalize end,
  }
end
dofile(arg[1])
local images = {}
for k = 3, #arg do
  images[{ path = arg[2], filename = "IMG_" .. k .. ".NEF" }] = arg[k]
end
target(nil, images, nil)
print(#said > 0 and said[#said] or "", imported[1])
"""


def test_darktable_fuses_what_it_has_exported(program: Path, tmp_path: Path) -> None:
    lua = next((found for name in ("lua5.4", "lua5.3", "lua") if (found := shutil.which(name))), None)
    if lua is None:
        pytest.skip("no lua here: apt-get install lua5.4")
    (tmp_path / "run.lua").write_text(DARKTABLE)
    for number, end in ((1, "-fused.png"), (2, "-fused-2.png")):
        files = [str(f) for f in pair(program)]
        expected = anyfuse.Fuser("anyfuse").run(files).pixels
        command = [lua, "run.lua", str(HOSTS / "darktable/anyfuse.lua"), str(tmp_path), *files]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        result = tmp_path / f"IMG_3{end}"
        assert done.stdout.split("\t")[1].strip() == str(result), number
        np.testing.assert_array_equal(read_image(result).pixels, expected)
        assert not any(Path(f).exists() for f in files)
