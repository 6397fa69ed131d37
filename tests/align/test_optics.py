"""Guesses of how two photographs lie, by the field of view that their files tell; tags of one photograph alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from torch import Tensor

from anyfuse.align.optics import exif_numbers, guesses, optics_of
from anyfuse.align.stage import Align, align_frames
from anyfuse.align.tags import is_photograph_of, tag_matrix
from anyfuse.align.transform import apply, warp
from anyfuse.image.frame import Frame
from anyfuse.image.metadata import LOOK, Inset, Metadata
from anyfuse.io.frames import from_arrays
from anyfuse.io.read import read_image
from tests.align.test_align import picture
from tests.conftest import to8
from tests.io.test_radiometric import counts, fff, flir

POINTS = torch.tensor([[120.0, 80.0], [220.0, 140.0], [160.0, 110.0]], dtype=torch.float64)
DJI = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" '
    b'drone-dji:CalibratedFocalLength="%.1f" drone-dji:CalibratedOpticalCenterX="%.1f" '
    b'drone-dji:RelativeOpticalCenterX="%.2f"><drone-dji:RelativeOpticalCenterY>%.2f</drone-dji:RelativeOpticalCenterY>'
    b"</rdf:Description></x:xmpmeta>"
)


def exif(film: int = 0, zoom: float = 0.0, focal: float = 0.0, per_inch: float = 0.0) -> bytes:
    """An EXIF block with a focal length for 35 mm film, or in mm with pixels per inch of the sensor."""
    inner = Image.Exif()
    own = inner.get_ifd(0x8769)
    if film:
        own[0xA405] = film
    if zoom:
        own[0xA404] = IFDRational(zoom)
    if focal:
        own[0x920A], own[0xA20E], own[0xA210] = IFDRational(focal), IFDRational(per_inch), 2
    return inner.tobytes().removeprefix(b"Exif\0\0")


def views(factor: float, size: tuple[int, int] = (240, 320), shift: float = 0.0) -> tuple[Frame, Frame, Tensor]:
    """A photograph, one of its middle by a lens `factor` times as long, with inverted tones; and the matrix."""
    photo = picture(1)
    matrix = torch.eye(3, dtype=torch.float64)
    scale = factor * size[1] / 320
    matrix[0, 0] = matrix[1, 1] = scale
    matrix[0, 2] = (size[1] - 1) / 2 - scale * 319 / 2 + shift
    matrix[1, 2] = (size[0] - 1) / 2 - scale * 239 / 2 - shift
    seen, _ = warp(photo[None], torch.linalg.inv(matrix), *size, "bicubic")
    frames = from_arrays([to8(photo.numpy()), to8(1 - seen[0].clamp(0, 1).numpy())])
    return frames[0], frames[1], matrix


def wrong(found: Tensor, true: Tensor) -> float:
    return float((apply(found, POINTS) - apply(true, POINTS)).norm(dim=1).max())


def test_film_focal_lengths_give_the_scale() -> None:
    wide, long, true = views(2.3)
    pair = replace(wide, exif=exif(24)), replace(long, exif=exif(55))
    (found,) = guesses(*pair)
    assert abs(float(found[0, 0]) - 55 / 24) < 0.01
    assert wrong(found, true) < 2.0
    assert torch.allclose(guesses(*pair[::-1])[0] @ found, torch.eye(3, dtype=torch.float64), atol=1e-9)


def test_a_sensor_and_a_zoom_give_the_scale() -> None:
    wide, long, _ = views(2.0)
    sensor = replace(wide, exif=exif(focal=10.0, per_inch=1016.0))  # 400 pixels
    optics = optics_of(sensor)
    assert optics is not None
    assert abs(optics.focal[0] - 400) < 0.5
    zoomed = replace(long, exif=exif(24, zoom=2.0))
    scales = [float(found[0, 0]) for found in guesses(replace(wide, exif=exif(24)), zoomed)]
    assert scales == pytest.approx([1.0, 2.0])  # cameras do not agree on whether 24 mm is before the zoom


def test_dji_calibration_counts_after_a_resize() -> None:
    """Relative centres are those of bands; all numbers are in pixels of the sensor, here twice those of the file."""
    frames = from_arrays([np.zeros((240, 320), np.uint8)] * 2)
    packets = [DJI % (700.0, 320.0, 0.0, 0.0), DJI % (700.0, 320.0, 12.0, -6.0)]
    one, other = (replace(f, metadata=Metadata(xmp=p)) for f, p in zip(frames, packets, strict=True))
    optics = optics_of(other)
    assert optics is not None
    assert optics.focal == (350.0,)
    assert optics.centre == (6.0, -3.0)
    (found,) = guesses(one, other)
    assert found[:2, 2].tolist() == [6.0, -3.0]
    _, steps = align_frames([one, other], Align("tags"))
    assert steps[1].kind == "tags"
    assert torch.tensor(steps[1].matrix)[:2, 2].tolist() == [6.0, -3.0]


def test_nothing_is_guessed_from_what_cannot_be() -> None:
    frame = from_arrays([np.zeros((24, 32), np.uint8)])[0]
    for block in (None, b"", b"II*\0\xff\xff\xff\xff", exif(), exif(focal=5.0), exif(65000)):
        assert optics_of(replace(frame, exif=block)) is None
    assert exif_numbers(exif(24)[:30]) == {}
    for packet in (b"drone-dji:", DJI % (1e9, 0.0, 0.0, 0.0), b'drone-dji:CalibratedFocalLength="nan"'):
        assert optics_of(replace(frame, metadata=Metadata(xmp=packet))) is None


@pytest.mark.parametrize("size", [(240, 320), (150, 200)])
def test_edges_refine_a_guess(size: tuple[int, int]) -> None:
    """The photograph sees 3.4 times as much, which no ratio that is tried otherwise comes near enough to."""
    wide, long, true = views(3.4, size, 4.0)
    pair = replace(wide, exif=exif(20)), replace(long, exif=exif(68))
    _, steps = align_frames(list(pair), Align("auto"))
    assert steps[1].trusted
    assert wrong(torch.tensor(steps[1].matrix, dtype=torch.float64), true) < 1.0


def test_false_tags_do_no_harm() -> None:
    """A pair of one size that lies well, and one in which the tags lead nowhere."""
    photo = picture(2)
    still = from_arrays([to8(photo.numpy()), to8(photo.numpy() ** 2)])
    tags = exif(24), exif(70)
    pair = [replace(f, exif=block) for f, block in zip(still, tags, strict=True)]
    out, steps = align_frames(pair, Align("auto"))
    assert steps[1].kind == "none"
    assert out[1] is pair[1]
    strangers = from_arrays([to8(picture(4).numpy()), to8(picture(5).numpy())])
    pair = [replace(f, exif=block) for f, block in zip(strangers, tags, strict=True)]
    _, steps = align_frames(pair, Align("auto"))
    assert not steps[1].trusted


def look(image: Tensor) -> bytes:
    return Image.fromarray(to8(image.numpy())).resize(LOOK, Image.Resampling.BOX).tobytes()


def test_tags_of_another_photograph_are_not_used() -> None:
    photo, foreign = picture(1), picture(7)
    frames = from_arrays([to8(photo.numpy()), np.zeros((60, 80), np.uint8), to8(foreign.numpy())])
    inset = Inset(2.0, 12, -8, 320, 240, look(photo))
    thermal = replace(frames[1], metadata=Metadata(inset=inset))
    assert tag_matrix(frames[0], thermal) is not None
    assert tag_matrix(thermal, frames[0]) is not None
    assert tag_matrix(frames[2], thermal) is None
    assert is_photograph_of(inset, from_arrays([to8(photo.numpy())[::2, ::2]])[0])  # resized
    assert is_photograph_of(inset, from_arrays([to8(0.8 * photo.numpy() ** 0.7)])[0])  # edited
    assert not is_photograph_of(inset, from_arrays([to8(photo.numpy())[:180]])[0])  # cropped
    assert is_photograph_of(replace(inset, look=b""), frames[2])  # nothing to tell by


def test_a_flir_file_knows_its_photograph(tmp_path: Path) -> None:
    """The reader keeps size and look of the photograph inside."""
    photo = picture(1)
    inside = Image.fromarray(to8(photo.numpy()))
    path = flir(tmp_path / "a.jpg", fff(counts().astype("<u2").tobytes(), photo=inside, inset=(2.0, 12, -8)), 60000)
    inset = read_image(path).metadata.inset
    assert inset is not None
    assert (inset.width, inset.height, len(inset.look)) == (320, 240, LOOK[0] * LOOK[1])
    own, other = from_arrays([to8(photo.numpy()), to8(picture(7).numpy())])
    assert is_photograph_of(inset, own)
    assert not is_photograph_of(inset, other)
