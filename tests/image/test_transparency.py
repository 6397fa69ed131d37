"""What is transparent, masked out, or beside the piece of a canvas has no say in the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from anyfuse import Fuser, FusionError
from anyfuse.image.resize import place
from anyfuse.image.stack import Stack
from anyfuse.io import read_image
from anyfuse.io.frames import from_arrays
from tests.conftest import scene, to8

MODELS = ["anyfuse", "laplacian", "mertens", "guided", "average", "maximum", "tita-small", "unifusion-small"]
SHAPE = (96, 128)


def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two exposures in colour, and the alpha of the second, which ends inside the picture."""
    base = scene(*SHAPE, seed=3, channels=3)
    alpha = np.full(SHAPE, 255, np.uint8)
    alpha[:30], alpha[:, :24] = 0, 0
    return to8(base * 0.5), to8((base * 1.6).clip(0, 1)), alpha


@pytest.mark.parametrize("name", MODELS)
def test_rubbish_below_alpha_0_never_shows(name: str) -> None:
    dark, bright, alpha = pair()
    results = []
    for seed in (0, 1):
        noise = np.random.default_rng(seed).integers(0, 256, bright.shape, np.uint8)
        rubbish = np.where(alpha[..., None] > 0, bright, noise)
        results.append(Fuser(name)([dark, np.dstack([rubbish, alpha])])[..., :3])
    assert np.array_equal(*results)
    assert np.abs(results[0][:20].astype(int) - dark[:20]).max() <= 1


def test_a_frame_that_ends_leaves_no_edge() -> None:
    dark, bright, alpha = pair()
    fused = Fuser("anyfuse")([dark, np.dstack([bright, alpha])])[..., :3].astype(float)
    step = np.abs(np.diff(fused - dark, axis=0))[:, 40:].mean((1, 2))
    assert step[28:32].max() < 4.0  # both exposures differ by some 60 levels


def test_result_is_transparent_where_all_are() -> None:
    near, far = to8(scene(*SHAPE, seed=1, channels=3)), to8(scene(*SHAPE, seed=2, channels=3))
    alphas = np.zeros((2, *SHAPE), np.uint8)
    alphas[0, 20:60, 10:70], alphas[1, 40:80, 50:120] = 255, 255
    fused = Fuser("anyfuse")([np.dstack([x, a]) for x, a in zip((near, far), alphas, strict=True)])
    assert np.array_equal(fused[..., 3], alphas.max(0))
    only = (alphas[1] > 0) & (alphas[0] == 0)
    only[:, :80] = False
    assert np.abs(fused[only][:, :3].astype(int) - far[only]).max() <= 1


def test_masks_take_a_logo_out(tmp_path: Path) -> None:
    visible, thermal = to8(scene(*SHAPE, seed=5)), to8(scene(*SHAPE, seed=6))
    marked, mask = thermal.copy(), np.full(SHAPE, 255, np.uint8)
    marked[20:70, 100:106], mask[20:70, 100:106] = 255, 0
    masks = {"mask": mask, "labels": (mask > 0).astype(np.uint8), "wide": mask.astype(np.uint16) * 257}
    for name, values in masks.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values)
    Image.fromarray(np.dstack([np.full((*SHAPE, 3), 255, np.uint8), mask])).save(tmp_path / "erased.png")
    Image.fromarray(mask).convert("1").save(tmp_path / "bits.png")
    names = ("mask.tif", "labels.tif", "wide.tif", "erased.png", "bits.png")
    for given in ([None, mask], [None, mask > 0], *(["-", str(tmp_path / name)] for name in names)):
        fused = Fuser("anyfuse").run([visible, marked], masks=given).pixels[..., 0]
        assert np.abs(fused[25:65, 102:104].astype(int) - visible[25:65, 102:104]).mean() < 12


@pytest.mark.parametrize("masks", [[None], [None, np.ones((5, 5), bool)], "mask.png", [np.ones(SHAPE, bool)] * 3])
def test_wrong_masks_are_refused(masks: Sequence[Any]) -> None:
    images = [to8(scene(*SHAPE, seed=k)) for k in range(2)]
    with pytest.raises(FusionError, match="mask"):
        Fuser("average").run(images, masks=masks)


def test_brightness_and_colour_come_from_what_counts() -> None:
    grey = to8(scene(*SHAPE, seed=1))
    image = np.dstack([grey] * 3 + [np.full(SHAPE, 255, np.uint8)])
    plain = from_arrays([image.copy()])[0]
    image[:40] = (255, 0, 0, 0)
    frame = from_arrays([image])[0]
    assert frame.is_grey
    assert frame.brightness == pytest.approx(from_arrays([grey[40:]])[0].brightness, abs=1e-6)
    assert plain.is_opaque
    assert not frame.is_opaque


def piece(path: Path, image: np.ndarray, x: int, y: int) -> Path:
    """A TIFF as hugin cuts it, at 150 dots per inch."""
    tags = [(286, 5, 1, (x * 100, 15000), True), (287, 5, 1, (y * 100, 15000), True)]
    tifffile.imwrite(
        path, image, photometric="rgb", resolution=(150, 150), resolutionunit=2, metadata=None, extratags=tags
    )
    return path


def test_pieces_lie_where_their_tags_say(tmp_path: Path) -> None:
    whole = to8(scene(*SHAPE, seed=4, channels=3))
    files = [piece(tmp_path / "0.tif", whole[:80, :100], 0, 0), piece(tmp_path / "1.tif", whole[16:, 28:], 28, 16)]
    result = Fuser("anyfuse").run(files)
    assert result.pixels.shape == (*SHAPE, 3)
    inside = result.stack.alpha == 255
    assert inside.mean() > 0.9
    assert np.abs(result.pixels[inside].astype(int) - whole[inside]).max() <= 1
    assert any("position tags" in note for note in result.report["warnings"])


def test_the_same_offset_moves_nothing(tmp_path: Path) -> None:
    whole = to8(scene(*SHAPE, seed=4, channels=3))
    frames = [read_image(piece(tmp_path / f"{k}.tif", whole, 40, 30)) for k in range(2)]
    assert place(frames) == frames
    assert frames[0].offset == (40, 30)


def test_tiles_equal_the_whole() -> None:
    dark, bright, alpha = pair()
    stack = Stack(tuple(from_arrays([dark, np.dstack([bright, alpha])])))
    whole = stack.read()
    part = (slice(17, 61), slice(9, 90))
    assert np.allclose(stack.read(part), whole[:, :, 17:61, 9:90], atol=1e-6)
    alone = stack.alone((slice(0, SHAPE[0]), slice(0, SHAPE[1])))
    assert np.allclose(stack.alone(part), alone[:, 17:61, 9:90], atol=1e-6)
