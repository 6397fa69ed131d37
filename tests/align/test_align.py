"""Alignment: known motions are found, aligned images stay as they are, strangers are left alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyfuse import Fuser, FusionError
from anyfuse.align import estimate as search
from anyfuse.align import resample
from anyfuse.align.estimate import Scene, estimate, still
from anyfuse.align.resample import rectangle
from anyfuse.align.stage import Align, align_frames, alignment_notes
from anyfuse.align.transform import KINDS, apply, fit, robust_fit, scaled, warp
from anyfuse.image.frame import make_frame
from anyfuse.image.random import smooth_field
from anyfuse.io.frames import from_arrays
from tests.conftest import scene, to8

SHAPE = (240, 320)


def picture(seed: int = 0, shape: tuple[int, int] = SHAPE) -> Tensor:
    """Edges and texture of many sizes, (H, W) in [0, 1]."""
    gen = torch.Generator().manual_seed(seed)
    x = torch.zeros(shape)
    for size in (40, 16, 7, 3):
        x = x + size**0.5 * (smooth_field(*shape, size, gen) > 0.3).float()
    return ((x - x.min()) / (x.max() - x.min()) * 0.9 + 0.05).contiguous()


def motion(kind: str) -> Tensor:
    """A motion by hand: some 10 pixels, 2 degrees, 3 %."""
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 2], matrix[1, 2] = 9.3, -6.7
    if kind == "shift":
        return matrix
    turn = math.radians(2)
    centre = torch.tensor([SHAPE[1] / 2, SHAPE[0] / 2], dtype=torch.float64)
    matrix[:2, :2] = 1.03 * torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix[:2, 2] += centre - matrix[:2, :2] @ centre
    if kind == "homography":
        matrix[2, 0], matrix[2, 1] = 1e-4, -8e-5
    return matrix


def moved(image: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """What a camera that has moved sees of the image, and where it sees it."""
    seen, valid = warp(image[None], torch.linalg.inv(matrix), *image.shape, "bicubic")
    return seen[0].clamp(0, 1), valid


def error(found: Tensor, true: Tensor) -> float:
    """Mean distance in pixels over a grid."""
    ys, xs = torch.meshgrid(torch.linspace(10, 230, 6), torch.linspace(10, 310, 6), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten()], 1).double()
    return float((apply(found, points) - apply(true, points)).norm(dim=1).mean())


@pytest.mark.parametrize("kind", ["shift", "similarity", "homography"])
@pytest.mark.parametrize("seen", ["same", "darker", "inverted", "noisy"])
def test_a_known_motion_is_found(kind: str, seen: str) -> None:
    image, matrix = picture(), motion(kind)
    other, valid = moved(image, matrix)
    if seen == "darker":
        other = (0.15 * other**1.8).clamp(0, 1)
    elif seen == "inverted":
        other = 1 - other
    elif seen == "noisy":
        other = (other + 0.04 * torch.randn(other.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    answer = estimate(image, other, valid=(None, valid))
    assert answer.trusted
    assert error(answer.matrix, matrix) < 0.5
    assert answer.agreement > answer.before


def test_there_and_back_are_inverse() -> None:
    image, matrix = picture(2), motion("similarity")
    other, valid = moved(image, matrix)
    there = estimate(image, other, valid=(None, valid)).matrix
    back = estimate(other, image, valid=(valid, None)).matrix
    assert error(back @ there, torch.eye(3, dtype=torch.float64)) < 0.5


def test_aligned_images_are_not_touched() -> None:
    image = picture(3)
    frames = from_arrays([to8(image.numpy()), to8((0.5 * image.numpy()) ** 1.3)])
    out, steps = align_frames(frames, Align("auto"))
    assert out == frames
    assert [step.kind for step in steps] == ["reference", "none"]
    assert alignment_notes(steps) == []


def shifted_pair(blur: int, shift: float) -> tuple[Tensor, Tensor]:
    """Two exposures of a scene, blurred by a box applied three times; the second has moved along x by some pixels."""
    image = picture(21)[None, None]
    for _ in range(3 if blur else 0):
        image = F.avg_pool2d(image, 2 * blur + 1, 1, blur, count_include_pad=False)
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 2] = shift
    return image[0, 0], 0.6 * moved(image[0, 0], matrix)[0] ** 1.3


def test_a_slight_movement_without_gain_is_recognised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A soft pair that lies 1 pixel off: the full search would leave it alone as well."""
    a, b = shifted_pair(4, 1.0)
    answer = still(Scene(a, None), Scene(b, None), SHAPE[1])
    assert answer is not None
    assert (answer.kind, answer.trusted) == ("none", True)
    assert answer.found is not None
    assert 0.7 < float(answer.found[0, 2]) < 1.3  # known, so that movements along a stack can sum up
    frames = from_arrays([to8(a.numpy()), to8(b.numpy())])
    at_once = align_frames(frames, Align("auto"))
    monkeypatch.setattr(search, "still", lambda *_: None)
    searched = align_frames(frames, Align("auto"))
    for out, steps in (at_once, searched):
        assert out == frames
        assert [step.kind for step in steps] == ["reference", "none"]
        assert alignment_notes(steps) == []


@pytest.mark.parametrize(("blur", "shift", "moves"), [(0, 1.0, True), (8, 2.0, False)])
def test_a_real_gain_or_a_longer_way_is_searched(blur: int, shift: float, moves: bool) -> None:
    a, b = shifted_pair(blur, shift)
    assert still(Scene(a, None), Scene(b, None), SHAPE[1]) is None
    _, steps = align_frames(from_arrays([to8(a.numpy()), to8(b.numpy())]), Align("auto"))
    assert (steps[1].kind != "none") == moves
    if moves:
        true = torch.eye(3, dtype=torch.float64)
        true[0, 2] = shift
        assert error(torch.tensor(steps[1].matrix, dtype=torch.float64), true) < 0.3


def test_strangers_are_left_alone_and_named() -> None:
    frames = from_arrays([to8(picture(4).numpy()), to8(picture(5).numpy())])
    out, steps = align_frames(frames, Align("auto"))
    assert out == frames
    assert not steps[1].trusted
    assert "does not seem aligned" in alignment_notes(steps)[0]


def test_flat_images_are_left_alone() -> None:
    frames = from_arrays([np.full(SHAPE, 90, np.uint8), np.full(SHAPE, 120, np.uint8)])
    out, _ = align_frames(frames, Align("auto"))
    assert out == frames


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_bracket_in_motion_is_cut_and_clear(dtype: str) -> None:
    """Three exposures of a moving camera, in any order, in each depth."""
    image = picture(6)
    full = {"uint8": 255, "uint16": 65535, "float32": 1.0}[dtype]
    step = motion("similarity")
    given = [image * 0.9, moved(image, step)[0] * 0.5, moved(image, step @ step)[0] * 0.25]
    arrays = [(x.numpy() * full).astype(dtype) for x in given]
    frames, steps = align_frames(from_arrays([arrays[0], arrays[2], arrays[1]]), Align("auto"))
    assert frames[0].pixels.dtype == dtype
    assert frames[0].height < SHAPE[0]
    assert len({f.pixels.shape for f in frames}) == 1
    assert steps[1].shift > steps[2].shift > 5
    first = frames[0].read()[0]
    for frame, gain in zip(frames[1:], (0.25, 0.5), strict=True):
        wrong = (frame.read()[0] / gain - first / 0.9).abs()
        assert float(wrong.mean()) < 0.03
    result = Fuser("average").run(arrays, align="auto")
    assert result.report["aligned"][0]["kind"] == "reference"
    assert any("cut to" in note for note in result.report["warnings"])


def test_the_frame_can_stay_and_transforms_can_be_used_again(tmp_path: Path) -> None:
    image = picture(7)
    arrays = [to8(image.numpy()), to8(moved(image, motion("shift"))[0].numpy())]
    fuser = Fuser("maximum")
    result = fuser.run(arrays, align=Align("auto", keep_frame=True))
    assert result.pixels.shape[:2] == SHAPE
    (tmp_path / "r.json").write_text(json.dumps(result.report))
    again = fuser.run(arrays, align=Align("auto", str(tmp_path / "r.json"), keep_frame=True))
    assert np.array_equal(again.pixels, result.pixels)
    with pytest.raises(FusionError, match="2 transforms for 3 images"):
        fuser.run([*arrays, arrays[0]], align=Align(transforms=str(tmp_path / "r.json")))
    with pytest.raises(FusionError, match="cannot be read"):
        fuser.run(arrays, align=Align(transforms=str(tmp_path / "none.json")))
    (tmp_path / "bad.json").write_text("[1, 2]")
    with pytest.raises(FusionError, match="has no transforms"):
        fuser.run(arrays, align=Align(transforms=str(tmp_path / "bad.json")))


def test_wrong_settings() -> None:
    with pytest.raises(FusionError, match="give one of none, auto"):
        Align("automatic")


def test_what_is_transparent_does_not_decide() -> None:
    image, matrix = picture(8), motion("shift")
    other, valid = moved(image, matrix)
    hidden = torch.where(valid > 0, other, torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)))
    frames = from_arrays([to8(image.numpy()), np.dstack([to8(hidden.numpy())] * 3 + [to8(valid.numpy())])])
    _, steps = align_frames(frames, Align("shift"))
    assert error(torch.tensor(steps[1].matrix, dtype=torch.float64), matrix) < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_fits_are_exact_where_points_are(kind: str) -> None:
    true = motion("homography" if kind == "homography" else "shift" if kind == "shift" else "similarity")
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 200
    target = apply(true, points)
    assert torch.allclose(fit(kind, points, target, torch.ones(40)), true, atol=1e-6)
    target[::8] += 60  # one in eight is wrong
    found, _ = robust_fit(kind, points, target, torch.ones(40), 1.0)
    assert error(found, true) < 0.2


def test_a_transform_scales_with_the_image() -> None:
    matrix = motion("similarity")
    points = torch.tensor([[10.0, 20.0], [30.0, 5.0]], dtype=torch.float64)
    large = apply(scaled(matrix, 4.0), points * 4 + 1.5)
    assert torch.allclose(large, apply(matrix, points) * 4 + 1.5)


def test_the_common_rectangle() -> None:
    common = np.ones((20, 30), bool)
    common[:3], common[:, 26:], common[19, 5] = False, False, False
    rows, columns = rectangle(common)
    assert common[rows, columns].all()
    assert (rows, columns) == (slice(3, 19), slice(0, 26))


def test_small_movements_of_a_focus_stack_sum_up() -> None:
    """Nine frames that grow by 0.25 % each: neighbours hardly differ, the ends do."""
    image = picture(11)
    arrays = []
    for k in range(-4, 5):
        matrix = torch.eye(3, dtype=torch.float64) * (1 + 0.0025 * k)
        matrix[0, 2], matrix[1, 2], matrix[2, 2] = -0.0025 * k * 160, -0.0025 * k * 120, 1.0
        arrays.append(to8((moved(image, matrix)[0] * (0.8 + 0.02 * (k % 2))).numpy()))
    _, steps = align_frames(from_arrays(arrays), Align("auto"), 4)
    shifts = [step.shift for step in steps]
    assert shifts[0] > shifts[2] > 0
    for k in (0, 8):
        true = 0.01 if k else -0.01
        assert abs(steps[k].matrix[0][0] - 1 - true) < 0.002


def test_a_stack_that_does_not_move_keeps_its_pixels() -> None:
    image = picture(12)
    gen = torch.Generator().manual_seed(2)
    arrays = [
        to8((gain * image + 0.01 * torch.randn(SHAPE, generator=gen)).clamp(0, 1).numpy()) for gain in (1, 0.6, 0.3)
    ]
    frames = from_arrays(arrays)
    out, steps = align_frames(frames, Align("auto"), 1)
    assert out == frames
    assert [step.kind for step in steps] == ["none", "reference", "none"]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bent", [False, True])
def test_strips_of_a_large_frame_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, kind: str, bent: bool) -> None:
    """Read part by part, a frame is moved as if it were read at once, transparent parts and all."""
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[kind]
    values = scene(90, 120, 3, 3) * full
    pixels = values.astype(kind) if kind == "float32" else np.rint(values).astype(kind)
    alpha = np.full((90, 120), full, kind)
    alpha[20:30, 40:60] = 0
    frame = make_frame(pixels, alpha, name="a")
    matrix = torch.tensor([[0.99, -0.05, 7.3], [0.06, 1.01, -4.6], [1e-5, 2e-5, 1.0]], dtype=torch.float64)
    bend = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0)) if bent else None
    whole, seen = resample.moved_frame(frame, matrix, (100, 110), bend)
    monkeypatch.setattr(resample, "LARGE", 0)
    monkeypatch.setattr(resample, "STRIP", 110 * 7)
    strips, shown = resample.moved_frame(frame, matrix, (100, 110), bend)
    np.testing.assert_array_equal(shown, seen)
    tolerance = 1e-4 if kind == "float32" else full * 1e-4 + 1
    for one, other in ((strips.pixels, whole.pixels), (strips.alpha, whole.alpha)):
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.astype(float), other.astype(float), rtol=0, atol=tolerance)
    assert 0.5 < seen.mean() < 1


@pytest.mark.parametrize("seed", [0, 16, 20, 28, 42, 46])
def test_small_strangers_are_left_alone(seed: int) -> None:
    """Of few blocks half agree with one place of many by chance."""
    _, steps = align_frames(from_arrays([to8(scene(seed=seed)), to8(scene(seed=seed + 1))]), Align("auto"))
    assert steps[1].kind == "none"
