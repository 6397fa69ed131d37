"""Images in scratch files: the same results to the bit, bounded memory, and nothing left on the disk."""

from __future__ import annotations

import mmap
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyfuse import Fuser, budget, prepare, tiling
from anyfuse.errors import FusionError, MemoryLimitError
from anyfuse.filemaps import FileContext
from anyfuse.image.frame import in_memory
from anyfuse.io.frames import read_frames
from anyfuse.io.scratch import Scratch
from anyfuse.io.write import write_image
from anyfuse.models.registry import load_model
from anyfuse.runtime import in_file, release, resident_bytes

RNG = np.random.default_rng(0)


def hills(height: int = 90, width: int = 120, channels: int = 3, top: int = 255, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 17.0
    planes = [0.5 + 0.3 * np.sin(x + c + seed) * np.cos(y * (1 + 0.2 * c)) for c in range(channels)]
    noise = np.random.default_rng(seed).normal(0, 0.02, (height, width, channels))
    return (np.clip(np.stack(planes, 2) + noise, 0, 1) * top).astype(np.uint8 if top == 255 else np.uint16)


def alpha(kind: str) -> np.ndarray:
    out = np.full((90, 120), 255 if kind == "uint8" else 65535, kind)
    out[10:40, 20:70] = 0
    return out


def files(folder: Path, kind: str) -> list[Path]:
    """Three files of one kind of trouble."""
    paths = [folder / f"{k}.{'tif' if kind in ('counts', 'nan') else 'png'}" for k in range(3)]
    for k, path in enumerate(paths):
        if kind == "counts":
            write_image(path, (7000 + hills(channels=1, seed=k).astype(np.uint16)))
        elif kind == "nan":
            values = hills(channels=1, seed=k).astype(np.float32) / 10 - 3
            values[:, : 5 + k] = np.nan
            write_image_float(path, values)
        elif kind == "alpha":
            write_image(path, hills(seed=k), alpha=alpha("uint8") if k == 1 else None)
        elif kind == "profiles":
            from PIL import ImageCms

            icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
            write_image(path, hills(seed=k), icc=wide(icc) if k == 1 else icc)
        elif kind == "sizes":
            write_image(path, hills(90 + 10 * k, 120, seed=k))
        else:
            write_image(path, hills(top=65535 if kind == "deep" else 255, seed=k))
    return paths


def write_image_float(path: Path, values: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(values[:, :, 0]).save(path)


def wide(icc: bytes) -> bytes:
    """A profile with exchanged red and green columns."""
    return icc.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], Path]:
    """Turns scratch files on or off, whatever the limit."""

    def turn(on: bool) -> Path:
        folder = tmp_path / "scratch"
        folder.mkdir(exist_ok=True)
        made = Scratch(str(folder)) if on else None
        monkeypatch.setattr(prepare, "scratch_for", lambda *args, **options: made)
        return folder

    return turn


CASES: list[tuple[str, dict[str, Any]]] = [
    ("plain", {}),
    ("plain", {"with_weights": True}),
    ("plain", {"align": "shift"}),
    ("plain", {"masks": "first"}),
    ("deep", {}),
    ("deep", {"range": "p1,p99"}),
    ("counts", {}),
    ("nan", {}),
    ("alpha", {}),
    ("alpha", {"reference": 1}),
    ("profiles", {}),
    ("sizes", {"resize": True}),
]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_results_are_equal_to_the_bit(
    kind: str, options: dict[str, Any], tmp_path: Path, forced: Callable[[bool], Path]
) -> None:
    paths = files(tmp_path, kind)
    if options.get("masks"):
        write_image(tmp_path / "mask.png", alpha("uint8")[:, :, None])
        options = options | {"masks": [tmp_path / "mask.png", None, None]}
    results = []
    for on in (False, True):
        folder = forced(on)
        results.append(Fuser("anyfuse").run(paths, **options))
        assert list(folder.iterdir()) == [], "files without a name"
    plain, spilled = results
    assert not in_file(plain.stack.frames[0].pixels)
    assert all(in_file(f.pixels) for f in spilled.stack.frames)
    assert all(f.opacity is None or in_file(f.opacity) for f in spilled.stack.frames)
    np.testing.assert_array_equal(plain.pixels, spilled.pixels)
    for a, b in ((plain.weights, spilled.weights), (plain.stack.alpha, spilled.stack.alpha)):
        np.testing.assert_array_equal(a, b) if a is not None else None
    same = [{k: v for k, v in r.report.items() if k not in ("seconds", "peak_memory_mib")} for r in results]
    assert same[0] == same[1]


@pytest.mark.parametrize("name", ["anyfuse", "anyfuse-first", "laplacian"])
@pytest.mark.parametrize("n", [2, 5])
def test_contexts_in_files_are_equal(name: str, n: int, tmp_path: Path) -> None:
    model = load_model(name)
    planes = 3 if model.carries_chroma else 1
    sources = torch.rand(n, planes, 600, 700, generator=torch.Generator().manual_seed(0))
    grid = tiling.plan_tiles(model, n, planes, 600, 700, tile=256)
    grid = replace(grid, context_side=32)
    contexts = []
    for one in (grid, replace(grid, spilled=True)):
        read = lambda w: sources[..., w[0], w[1]]  # noqa: E731
        contexts.append(tiling.whole_context(model, one, read, torch.device("cpu"), Scratch(str(tmp_path))))
    assert isinstance(contexts[1], FileContext)
    window = (slice(3, 60), slice(8, 70))
    for a, b in zip(contexts[0].crop(*window).maps, contexts[1].crop(*window).maps, strict=True):  # type: ignore[union-attr]
        assert torch.equal(a, b)


def test_the_limit_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for k in range(8):
        paths.append(tmp_path / f"{k}.png")
        write_image(paths[-1], hills(400, 500, seed=k))
    model = load_model("anyfuse")
    assert budget.scratch_for(paths, model, None) is None
    assert budget.scratch_for(paths, model, 1 << 40) is None
    used = 1 << 30
    monkeypatch.setattr(budget, "resident_bytes", lambda: used)
    monkeypatch.setattr(tiling, "resident_bytes", lambda: used)
    assert isinstance(budget.scratch_for(paths, model, used + (130 << 20)), Scratch)
    whole = Fuser(model).run(paths)
    tight = Fuser(model, max_memory=used + (130 << 20)).run(paths)
    assert in_file(tight.stack.frames[0].pixels)
    assert tight.report["tiles"] > whole.report["tiles"]
    assert np.abs(whole.pixels.astype(int) - tight.pixels).max() <= 1


def test_a_set_that_cannot_fit_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path, "plain")

    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("it was decoded")

    fuser = Fuser("anyfuse", max_memory=(1 << 30) + (1 << 20))
    monkeypatch.setattr(budget, "resident_bytes", lambda: 1 << 30)
    monkeypatch.setattr(prepare, "read_frames", never)
    with pytest.raises(MemoryLimitError, match=r"too little for 3 images of 120x90: .* give \d+M or more") as caught:
        fuser.run(paths)
    assert "\n" not in str(caught.value)


def test_a_limit_that_a_refusal_names_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path, "plain")
    for module in (budget, tiling):
        monkeypatch.setattr(module, "resident_bytes", lambda: 1 << 30)
    with pytest.raises(MemoryLimitError) as caught:
        Fuser("anyfuse", max_memory=(1 << 30) + (1 << 20)).run(paths)
    named = re.search(r"give (\d+)M", str(caught.value))
    assert named
    with pytest.raises(MemoryLimitError) as caught:  # the planes of colour are known now
        Fuser("anyfuse", max_memory=f"{named[1]}M").run(paths)
    named = re.search(r"give (\d+)M", str(caught.value))
    assert named
    assert Fuser("anyfuse", max_memory=f"{named[1]}M").run(paths).pixels.shape == (90, 120, 3)


def test_memory_of_files_is_given_back(tmp_path: Path) -> None:
    kept = Scratch(str(tmp_path)).store(RNG.integers(0, 255, (4000, 4000, 3), np.uint8))
    before = resident_bytes()
    total = int(kept.sum())
    assert resident_bytes() > before + kept.nbytes // 2
    release(kept[5:, :, 1])  # any view
    assert resident_bytes() < before + kept.nbytes // 4
    assert int(kept.sum()) == total


def test_written_arrays_keep_their_values(tmp_path: Path) -> None:
    made = Scratch(str(tmp_path)).empty((3, 500, 400), np.float32)
    assert not made.any()
    made[1, 3:9] = 2.5
    release(made)
    assert made.sum() == 2.5 * 6 * 400


def test_arrays_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100 * 100))
    own = np.memmap(tmp_path / "a", np.uint8, "c", shape=(100, 100))
    own[:] = 7  # private: nothing but this memory has it
    release(own)
    assert (own == 7).all()
    assert not in_file(own)
    assert not in_file(np.frombuffer(mmap.mmap(-1, 10), np.uint8))


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    for action in (lambda s: s.store(hills()), lambda s: s.empty((10, 10), np.uint8)):
        with pytest.raises(FusionError, match=r"no place for .* set TMPDIR") as caught:
            action(Scratch(str(tmp_path)))
        assert "\n" not in str(caught.value)
    with pytest.raises(FusionError, match="no place"):
        Scratch(str(tmp_path / "not there")).store(hills())


def test_many_frames_may_be_open(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    arrays = [scratch.store(np.full((2, 2), k % 256, np.uint8)) for k in range(1500)]
    assert all(a[0, 0] == k % 256 for k, a in enumerate(arrays))


def test_tiles_shrink_with_the_number_of_images() -> None:
    model = load_model("anyfuse")
    few, many = (tiling.plan_tiles(model, n, 3, 4000, 6000) for n in (8, 100))
    assert few.side == tiling.plan_tiles(model, 2, 3, 4000, 6000).side
    assert 200 < many.side < few.side / 2
    tight = tiling.plan_tiles(model, 100, 3, 4000, 6000, 1400 << 20, spill=True)
    assert tight.spilled
    assert tight.side >= tiling.SMALLEST_TILE
    with pytest.raises(FusionError, match="MiB at least"):
        tiling.plan_tiles(model, 100, 3, 4000, 6000, 1400 << 20)


def test_reading_into_files_keeps_every_array_there(tmp_path: Path) -> None:
    path = files(tmp_path, "nan")[0]
    (plain,), (kept,) = read_frames([path], store=in_memory), read_frames([path], store=Scratch(str(tmp_path)).store)
    assert in_file(kept.pixels)
    assert kept.valid is not None
    assert in_file(kept.valid)
    np.testing.assert_array_equal(plain.pixels, kept.pixels)
    assert plain.mean.tolist() == kept.mean.tolist()
    assert os.listdir(tmp_path).count(path.name) == 1


def test_the_limit_counts_alignment_and_deghosting(tmp_path: Path) -> None:
    """The least that is asked for grows with the stages before the model."""
    paths = []
    for k in range(2):
        paths.append(str(tmp_path / f"{k}.png"))
        write_image(paths[-1], np.zeros((1200, 1600, 3), np.uint8))
    model, named = load_model("average"), []
    for stages in ({}, {"deghosted": True}, {"aligned": True, "deghosted": True}):
        with pytest.raises(FusionError, match="too little for 2 images of 1600x1200") as error:
            budget.scratch_for(paths, model, 1 << 20, **stages)
        named.append(float(str(error.value).split("fusing them ")[1].split()[0]))
    assert named[0] < named[1] < named[2]
    assert named[1] > 100
