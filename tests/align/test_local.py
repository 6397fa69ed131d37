"""Local displacements: smooth warps are found, nothing moves without need, nothing tears, files give them back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyfuse import FusionError
from anyfuse.align.estimate import Scene
from anyfuse.align.files import read_locals
from anyfuse.align.local import Local, View, estimate_local, local_of, steepest
from anyfuse.align.resample import moved_frame
from anyfuse.align.stage import Align, Step, align_frames, alignment_notes
from anyfuse.align.transform import bent_coordinates, coordinates
from anyfuse.cli.main import main
from anyfuse.io.frames import from_arrays
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image
from anyfuse.unused import align_notes
from tests.align.test_align import motion, moved, picture
from tests.conftest import to8

SHAPE = (360, 480)
EYE = torch.eye(3, dtype=torch.float64)


def waves(size: float = 3.0) -> Tensor:
    """A smooth displacement (2, H, W) of up to about `size` pixels that no homography has."""
    ys, xs = torch.linspace(0, 1, SHAPE[0])[:, None], torch.linspace(0, 1, SHAPE[1])
    x = torch.sin(2 * math.pi * ys) * torch.cos(math.pi * xs)
    y = torch.sin(2 * math.pi * xs) * torch.cos(math.pi * ys)
    return size * torch.stack([x, y])


def bent(image: Tensor, bend: Tensor) -> Tensor:
    """The image that a displacement (2, H, W) lays over the given one."""
    height, width = image.shape
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    back = bend
    for _ in range(8):  # where each pixel of the new image comes from
        back = _at(bend, xs - back[0], ys - back[1])
    return _at(image[None], xs - back[0], ys - back[1])[0].clamp(0, 1)


def _at(planes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    height, width = planes.shape[1:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], 2)[None]
    return F.grid_sample(planes[None], grid, mode="bicubic", padding_mode="border", align_corners=False)[0]


def wrong(local: Local | None, bend: Tensor, matrix: list[list[float]] | None = None) -> Tensor:
    """(H, W): distance in pixels to the true displacement."""
    m = EYE if matrix is None else torch.tensor(matrix, dtype=torch.float64)
    grid = torch.zeros(2, 2, 2) if local is None else local.grid
    found = bent_coordinates(m, grid, SHAPE, 0, SHAPE[0]).permute(2, 0, 1)
    ys, xs = torch.meshgrid(torch.arange(SHAPE[0]), torch.arange(SHAPE[1]), indexing="ij")
    return (found - torch.stack([xs, ys]) - bend).norm(dim=0)[16:-16, 16:-16]


def aligned(arrays: list[np.ndarray], **settings: object) -> tuple[list, list[Step]]:
    return align_frames(from_arrays(arrays), Align("local", keep_frame=True, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("seen", ["same", "darker", "inverted"])
def test_a_smooth_warp_is_found(seen: str) -> None:
    image, bend = picture(1, SHAPE), waves()
    other = bent(image, bend)
    other = {"same": other, "darker": 0.4 * other**1.3, "inverted": 1 - other}[seen]
    _, steps = aligned([to8(image.numpy()), to8(other.numpy())])
    before = float(wrong(None, bend, steps[1].matrix).median())
    after = wrong(steps[1].local, bend, steps[1].matrix)
    assert before > 1.0
    assert float(after.median()) < 0.5
    assert float(after.quantile(0.95)) < 1.5
    facts = steps[1].as_dict()["local"]
    assert 1.0 < facts["largest"] < 6.0
    assert 0.3 < facts["median"] < facts["largest"]
    assert facts["share"] > 0.7


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_what_lies_well_keeps_its_pixels(gain: float) -> None:
    image = picture(3, SHAPE)
    frames = from_arrays([to8(image.numpy()), to8(gain * image.numpy())])
    out, steps = align_frames(frames, Align("local"))
    assert out == frames
    assert [step.local for step in steps] == [None, None]
    assert "local" not in steps[1].as_dict()


def test_strangers_and_flat_images_are_left_alone() -> None:
    for a, b in ((picture(4, SHAPE), picture(5, SHAPE)), (torch.full(SHAPE, 0.4), torch.full(SHAPE, 0.5))):
        frames = from_arrays([to8(a.numpy()), to8(b.numpy())])
        out, steps = align_frames(frames, Align("local"))
        assert out == frames
        assert steps[1].local is None


def test_a_strongly_bent_surface_is_left_alone_and_named() -> None:
    """No transform gains anything there, and yet the images are not aligned."""
    image = picture(32, SHAPE)
    frames = from_arrays([to8(image.numpy()), to8(0.7 * (1 - bent(image, waves(14)).numpy()))])
    out, steps = align_frames(frames, Align("auto"))
    assert out == frames
    assert len(alignment_notes(steps)) == 1
    assert "does not seem aligned" in alignment_notes(steps)[0]


def test_flat_parts_do_not_move() -> None:
    image, bend = picture(6, SHAPE), waves()
    hidden = torch.zeros(SHAPE, dtype=torch.bool)
    hidden[:, 300:] = True
    frames = [torch.where(hidden, torch.tensor(0.5), one) for one in (image, bent(image, bend))]
    local = estimate_local(SHAPE, View(Scene(frames[0], None), EYE), View(Scene(frames[1], None), EYE))
    assert local is not None
    columns = (torch.arange(local.shape[2]) + 0.5) * SHAPE[1] / local.shape[2]
    assert float(local[:, :, columns > 380].abs().max()) < 0.3
    assert float(local[:, :, columns < 250].norm(dim=0).max()) > 1.5


def test_there_and_back_are_inverse() -> None:
    image, bend = picture(7, SHAPE), waves()
    scenes = Scene(image, None), Scene(bent(image, bend), None)
    there, back = (estimate_local(SHAPE, View(a, EYE), View(b, EYE)) for a, b in (scenes, scenes[::-1]))
    assert there is not None
    assert back is not None
    first = bent_coordinates(EYE, there, SHAPE, 0, SHAPE[0])
    full = bent_coordinates(EYE, back, SHAPE, 0, SHAPE[0]) - coordinates(EYE, *SHAPE)
    again = first + _at(full.permute(2, 0, 1), first[..., 0], first[..., 1]).permute(1, 2, 0)
    miss = (again - coordinates(EYE, *SHAPE)).norm(dim=2)[16:-16, 16:-16]
    assert float(miss.median()) < 0.3
    assert float(miss.quantile(0.95)) < 1.0


def test_sixteen_bits_move_as_eight() -> None:
    image, bend = picture(8, SHAPE), waves()
    arrays = [to8(one.numpy()) for one in (image, bent(image, bend))]
    eight, sixteen = aligned(arrays)[0][1], aligned([a.astype(np.uint16) * 257 for a in arrays])[0][1]
    assert sixteen.pixels.dtype == np.uint16
    assert np.abs(eight.pixels - sixteen.pixels / 257).max() <= 1


def test_what_is_transparent_does_not_decide_and_moves_along() -> None:
    image, bend = picture(9, SHAPE), waves()
    other = bent(image, bend)
    noise = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3))
    shown = torch.zeros(SHAPE)
    shown[:, :320] = 1
    hidden = torch.where(shown > 0, other, noise)
    out, steps = aligned([to8(image.numpy()), np.dstack([to8(hidden.numpy())] * 3 + [to8(shown.numpy())])])
    error = wrong(steps[1].local, bend, steps[1].matrix)[:, :260]
    assert float(error.median()) < 0.5
    assert out[1].alpha is not None
    assert out[1].alpha[:, 340:].max() == 0
    assert out[1].alpha[20:-20, 20:300].min() == 255


def test_a_jump_does_not_tear() -> None:
    """A near thing that has moved by 9 pixels before a background that has not: no pixel goes backwards."""
    image, thing = picture(10, SHAPE), picture(11, SHAPE)
    frames = []
    for x in (180, 189):
        one = image.clone()
        one[100:260, x : x + 120] = thing[100:260, 180:300]
        frames.append(Scene(one, None))
    local = estimate_local(SHAPE, View(frames[0], EYE), View(frames[1], EYE))
    if local is None:
        return
    x, y = bent_coordinates(EYE, local, SHAPE, 0, SHAPE[0]).unbind(2)
    assert float(x.diff(dim=1).min()) > 0.2
    assert float(y.diff(dim=0).min()) > 0.2
    assert steepest(local) < 16


def test_neighbours_are_chained() -> None:
    """Five frames, each bent a little more: the last is compared with its neighbours, and lies over the first."""
    image = picture(12, SHAPE)
    arrays = [to8(bent(image, waves(0.9 * k)).numpy()) for k in range(5)]
    _, steps = aligned(arrays)
    assert float(wrong(steps[4].local, waves(3.6), steps[4].matrix).median()) < 0.5


def test_homography_and_displacement_are_one_resampling() -> None:
    """A displacement of nothing moves as the matrix alone does; a constant one as a shift of it."""
    frame = from_arrays([to8(picture(13).numpy())])[0]
    matrix = motion("homography")
    plain, still = moved_frame(frame, matrix)[0], moved_frame(frame, matrix, bend=torch.zeros(2, 3, 4))[0]
    assert np.abs(plain.pixels.astype(int) - still.pixels).max() <= 1
    shift = EYE.clone()
    shift[0, 2] = 2.5
    constant = torch.zeros(2, 3, 4)
    constant[0] = 2.5
    one, two = moved_frame(frame, matrix @ shift)[0], moved_frame(frame, matrix, bend=constant)[0]
    assert np.abs(one.pixels.astype(int) - two.pixels).max() <= 1


def test_files_give_the_same_pixels_again(tmp_path: Path) -> None:
    image = picture(14, SHAPE)
    other, _ = moved(bent(image, waves()), motion("shift"))
    files = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for name, one in zip(files, (image, other), strict=True):
        write_image(name, to8(one.numpy()))
    saved, report = str(tmp_path / "t.json"), str(tmp_path / "r.json")

    def run(folder: str, *extra: str) -> np.ndarray:
        with pytest.raises(SystemExit) as end:
            main(["align", *files, "-o", str(tmp_path / folder), "-q", *extra])
        assert not end.value.code
        return read_image(tmp_path / folder / "02-b.png").pixels

    first = run("one", "--align", "local", "--save-transforms", saved, "--report", report)
    assert json.loads(Path(saved).read_text())["transforms"][1]["local"]["largest"] > 1
    for k, source in enumerate((saved, report)):
        assert np.array_equal(run(f"again{k}", "--use-transforms", source), first)
        said = align_notes(
            Align("local", source), align_frames([read_image(f) for f in files], Align(transforms=source))[1]
        )
        assert said == []
    data = json.loads(Path(saved).read_text())
    data["transforms"][1]["local"]["width"] += 1
    Path(saved).write_text(json.dumps(data))
    with pytest.raises(FusionError, match="for a reference of 481x360"):
        read_locals(saved, SHAPE)
    data["transforms"][1]["local"]["x"] = ["1 2", "3"]
    Path(saved).write_text(json.dumps(data))
    with pytest.raises(FusionError, match="cannot be read"):
        read_locals(saved, SHAPE)


def test_points_by_hand_come_first(tmp_path: Path) -> None:
    """Their transform stays, and a displacement is found on top of it; an image without points keeps its pixels."""
    image, bend = picture(15, SHAPE), waves()
    step = EYE.clone()
    step[0, 2], step[1, 2] = 60.0, -25.0
    table = tmp_path / "points.csv"
    table.write_text("image,x,y,reference_x,reference_y\n2,161,74,100,100\n2,460,275,401,299\n")
    other = bent(image, bend)
    arrays = [to8(one.numpy()) for one in (image, moved(other, step)[0], other)]
    out, steps = aligned(arrays, points=str(table))
    assert [one.kind for one in steps] == ["reference", "similarity", "none"]
    assert steps[1].residual is not None
    assert steps[2].local is None
    assert np.array_equal(out[2].pixels[..., 0], arrays[2])
    true = bend + torch.tensor([60.0, -25.0])[:, None, None]
    inside = np.s_[30:, : SHAPE[1] - 100]  # where the image shows something
    before, after = (wrong(local, true, steps[1].matrix)[inside] for local in (None, steps[1].local))
    assert float(before.median()) > 1.0
    assert float(after.median()) < 0.5
    by_points = align_frames(from_arrays(arrays), Align("auto", points=str(table), keep_frame=True))[1]
    assert by_points[1].matrix == steps[1].matrix
    assert by_points[1].local is None


def test_a_displacement_as_json() -> None:
    grid = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).mul(1000).round().div(1000)
    again = local_of(json.loads(json.dumps(Local(grid, SHAPE).as_dict())))
    assert torch.equal(again.grid, grid)
    assert again.size == SHAPE
