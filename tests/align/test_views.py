"""Alignment of images of different sizes and fields of view, by tags and without; large images; slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from anyfuse import Fuser, FusionError
from anyfuse.align.estimate import Scene
from anyfuse.align.full import at_full_size, scene_of
from anyfuse.align.slices import estimate_slices, matrix_of
from anyfuse.align.stage import Align, align_frames, are_slices
from anyfuse.align.tags import tag_matrix
from anyfuse.align.transform import apply, resized, warp
from anyfuse.image.frame import Frame
from anyfuse.image.metadata import Inset, Metadata
from anyfuse.io.frames import from_arrays
from tests.align.test_align import error, motion, moved, picture
from tests.conftest import to8

INSET = Inset(2.0, 12, -8, 320)


def pair(inset: Inset | None = INSET, size: tuple[int, int] = (60, 80)) -> tuple[Frame, Frame, Tensor]:
    """A photograph, a small thermal image of its middle, and the matrix from the one to the other."""
    photo = picture(1)
    frames = from_arrays([to8(photo.numpy()), np.zeros(size, np.uint8)])
    matrix = tag_matrix(frames[0], replace(frames[1], metadata=Metadata(inset=INSET)))
    assert matrix is not None
    seen, _ = warp(photo[None], torch.linalg.inv(matrix), *size)
    thermal = replace(frames[1], pixels=to8(1 - seen[0].numpy())[:, :, None], metadata=Metadata(inset=inset))
    return frames[0], thermal, matrix


def test_tags_of_a_camera_lay_its_images_over_each_other() -> None:
    photo, thermal, matrix = pair()
    out, steps = align_frames([photo, thermal], Align("tags"))
    assert steps[1].kind == "tags"
    assert torch.allclose(torch.tensor(steps[1].matrix, dtype=torch.float64), matrix)
    assert out[1].pixels.shape == (240, 320, 1)
    assert out[1].alpha is not None
    assert 0.2 < steps[1].kept < 0.3
    middle = (slice(80, 140), slice(140, 200))
    assert abs(np.corrcoef(out[1].pixels[middle].ravel(), photo.pixels[middle].ravel())[0, 1]) > 0.9


def test_tags_work_both_ways() -> None:
    photo, thermal, matrix = pair()
    back = tag_matrix(thermal, photo)
    assert back is not None
    assert torch.allclose(back @ matrix, torch.eye(3, dtype=torch.float64), atol=1e-9)
    out, _ = align_frames([thermal, photo], Align("tags"))
    assert out[1].pixels.shape[:2] == (60, 80)
    assert out[1].is_opaque


def test_wrong_tags_are_mended_where_the_images_say_so() -> None:
    photo, thermal, truth = pair(Inset(2.0, 16, -4, 320), (120, 160))
    _, steps = align_frames([photo, thermal], Align("auto"))
    found = torch.tensor(steps[1].matrix, dtype=torch.float64)
    points = torch.tensor([[120.0, 80.0], [220.0, 140.0], [160.0, 110.0]], dtype=torch.float64)
    assert float((apply(found, points) - apply(truth, points)).norm(dim=1).max()) < 1.0


def test_a_small_view_is_found_without_tags() -> None:
    photo, thermal, truth = pair(None, (120, 160))
    result = Fuser("average").run([photo.pixels, thermal.pixels], align="auto")
    found = torch.tensor(result.report["aligned"][1]["matrix"], dtype=torch.float64)
    points = torch.tensor([[120.0, 80.0], [220.0, 140.0], [160.0, 110.0]], dtype=torch.float64)
    assert float((apply(found, points) - apply(truth, points)).norm(dim=1).max()) < 1.0
    assert result.pixels.shape[:2] == (240, 320)


def test_a_large_view_is_found_by_a_small_reference() -> None:
    photo, thermal, truth = pair(None, (120, 160))
    _, steps = align_frames([thermal, photo], Align("auto"))
    found = torch.tensor(steps[1].matrix, dtype=torch.float64)
    points = torch.tensor([[10.0, 10.0], [150.0, 15.0], [80.0, 110.0]], dtype=torch.float64)
    assert float((apply(truth @ found, points) - points).norm(dim=1).max()) < 1.0
    assert steps[1].kept == 1.0


def test_sizes_without_a_sure_place_are_an_error() -> None:
    arrays = [to8(picture(4).numpy()), to8(picture(5, (90, 140)).numpy())]
    with pytest.raises(FusionError, match="no place of one in the other is sure; give points, or resize=True"):
        Fuser("average").run(arrays, align="auto")


def test_a_transform_survives_a_resize() -> None:
    matrix = motion("homography")
    there = resized(matrix, ((240, 320), (120, 160)), ((240, 320), (480, 640)))
    back = resized(there, ((120, 160), (240, 320)), ((480, 640), (240, 320)))
    assert torch.allclose(back, matrix, atol=1e-9)


def test_a_large_image_is_reduced_alike_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = from_arrays([to8(picture(2, (360, 480)).numpy())])[0]
    whole = scene_of(frame, 160)
    monkeypatch.setattr("anyfuse.align.full.STRIP", 10_000)
    assert torch.equal(scene_of(frame, 160).luma, whole.luma)
    assert whole.shape == (120, 160)


def test_blocks_at_full_size_mend_a_transform() -> None:
    image = picture(3, (900, 1800))
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[0, 2], matrix[1, 2] = 6.4, -3.3
    frames = from_arrays([to8(image.numpy()), to8(moved(image, matrix)[0].numpy())])
    rough = matrix.clone()
    rough[0, 2] += 0.8
    assert error(at_full_size(frames[0], frames[1], rough, "shift"), matrix) < 0.1
    assert torch.equal(at_full_size(frames[0], frames[1], rough, "given"), rough)


def test_slices_of_scanners_stay_as_they_are() -> None:
    ground = torch.zeros(200, 200)
    one, two = ground.clone(), ground.clone()
    one[40:160, 40:160] = picture(6, (120, 120))
    assert not are_slices(Scene(one, None), Scene(0.5 * one, None))  # two exposures of one thing
    two[46:166, 46:166] = picture(7, (120, 120))
    two[80:120, 60:150] = 0
    frames = from_arrays([to8(one.numpy()), to8(two.numpy())])
    out, steps = align_frames(frames, Align("auto"))
    assert out == frames
    assert steps[1].trusted


def test_slices_that_are_to_be_aligned_are_by_information() -> None:
    """Two scanners show one head by other tones, with edges of their own; asked for, the one is laid over the other."""
    rows, columns = np.mgrid[:192, :192]
    head = np.hypot((rows - 96) / 1.2, columns - 96) < 62
    parts = (picture(8, (192, 192)).numpy() * 4).astype(int) / 4  # tissues
    one = torch.from_numpy(head * (0.2 + 0.7 * parts)).float()
    other = torch.from_numpy(head * np.select([parts < 0.3, parts < 0.6], [0.7, 0.15], 0.45)).float()
    true = matrix_of((0.04, -0.02, 0.06, 0.0), (192, 192))
    moved_slice, _ = warp(other[None], torch.linalg.inv(true), 192, 192)
    found = estimate_slices(Scene(one, None), Scene(moved_slice[0], None))
    assert found is not None
    assert error(found[0], true) < 1.0
    assert estimate_slices(Scene(one, None), Scene(other, None)) is None  # it lies well
