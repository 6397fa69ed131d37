"""A small thermal image in a photograph: no border, and hot things stay bright."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import scene, to8

from anyfuse.fuser import Fuser
from anyfuse.image.frame import Frame
from anyfuse.image.stack import Stack
from anyfuse.io.frames import from_arrays

ROWS, COLUMNS = slice(60, 180), slice(90, 250)
HOT = slice(110, 130), slice(160, 180)


def photo(level: float = 0.35) -> Frame:
    colours = level + 0.15 * (scene(240, 320, 3, channels=3) - 0.5) * (1.0, 0.9, 0.8)
    return from_arrays([to8(colours)])[0]


def thermal(level: float, hot: float) -> Frame:
    """Of one temperature, with a hot square in it; transparent around."""
    values = np.full((240, 320), level)
    values[HOT] = hot
    alpha = np.zeros((240, 320), np.uint8)
    alpha[ROWS, COLUMNS] = 255
    return replace(from_arrays([to8(values)])[0], alpha=alpha)


@pytest.mark.parametrize(("level", "hot"), [(0.85, 1.0), (0.1, 0.4), (0.1, 0.9)])
@pytest.mark.parametrize("model", ["anyfuse", "laplacian", "average"])
def test_no_border_is_seen_and_hot_things_are(model: str, level: float, hot: float) -> None:
    around = photo()
    pixels = Fuser(model).run([around, thermal(level, hot)], align="none").pixels.astype(float).mean(2)
    change = pixels - around.pixels.astype(float).mean(2)
    calm = np.ones_like(change, bool)
    calm[HOT[0].start - 20 : HOT[0].stop + 20, HOT[1].start - 20 : HOT[1].stop + 20] = False
    field = change[ROWS, COLUMNS][calm[ROWS, COLUMNS]]
    assert abs(field.mean()) < 8
    assert change[HOT].mean() - field.mean() > 0.4 * 255 * (hot - level) * (0.5 if model == "average" else 1)


def test_hot_things_keep_their_detail_in_bright_surroundings() -> None:
    """There is no room for all of their excess below white: they keep their order, and nothing is clipped."""
    around = photo(0.8)
    values = np.full((240, 320), 0.45)
    values[ROWS, :90] = 0.3
    values[HOT] = np.linspace(0.7, 1.0, 20)[:, None]
    alpha = np.zeros((240, 320), np.uint8)
    alpha[ROWS, COLUMNS] = 255
    field = replace(from_arrays([to8(values)])[0], alpha=alpha)
    shown = Stack((around, field)).read()[1].mean(0)[HOT].mean(1)
    assert shown.max() < 0.94
    assert (shown.diff() > 0.002).all()
    assert shown.min() > 0.8


def test_windows_agree_with_the_whole() -> None:
    stack = Stack((photo(), thermal(0.8, 1.0)))
    whole = stack.read()
    for window in ((slice(50, 130), slice(80, 200)), (slice(170, 240), slice(0, 320)), (slice(0, 40), slice(0, 50))):
        assert float((stack.read(window) - whole[(..., *window)]).abs().max()) < 1e-6


def test_values_of_sky_and_wall_get_their_own_level() -> None:
    """A dark sky becomes bright, a bright wall dark, as in the photograph, without a glow between them."""
    values = np.full((240, 320), 0.85)
    values[:, :140] = 0.02
    around = np.full((240, 320, 3), 0.25)
    around[:, :140] = (0.7, 0.8, 0.9)
    alpha = thermal(0.0, 0.0).alpha
    frames = from_arrays([to8(around), to8(values)])
    sources = Stack((frames[0], replace(frames[1], alpha=alpha))).read()
    inner = sources[:, :, 100:140, 110:230].mean(1)
    assert float((inner[0] - inner[1]).abs().max()) < 0.12


def test_a_field_that_fills_most_of_the_picture_has_no_border() -> None:
    """Nine tenths of each side, free all around, and much darker than the photograph: level along the border."""
    alpha = np.zeros((240, 320), np.uint8)
    alpha[12:-12, 16:-16] = 255
    stack = Stack((photo(), replace(thermal(0.05, 0.5), alpha=alpha)))
    own, around = stack.read()[1].mean(0), stack.read()[0].mean(0)
    rim = [(own[k, 20:-20] - around[k, 20:-20]).mean().abs() for k in (slice(20, 26), slice(-26, -20))]
    assert max(float(one) for one in rim) < 0.02


def test_other_frames_keep_their_values() -> None:
    """Frames of colour, masks drawn by hand, logos, pieces of a panorama."""
    odd = thermal(0.8, 0.8)
    drawn = np.add.outer(np.arange(240), np.arange(320)) < 280
    for frame in (
        replace(odd, pixels=to8(scene(240, 320, 5, channels=3))),
        replace(odd, alpha=np.where(drawn, 255, 0).astype(np.uint8)),
        replace(odd, alpha=np.where(np.arange(320) < 300, 255, 0).astype(np.uint8)[None].repeat(240, 0)),
    ):
        stack = Stack((photo(), frame))
        seen = frame.soft_cover() == 1
        own = frame.read().expand(3, -1, -1)
        assert torch.equal(torch.where(seen, stack.read()[1], own), own)
    pieces = Stack((replace(photo(), alpha=255 - np.asarray(odd.alpha)), odd))
    assert float(pieces.read()[1, :, 120, 170].mean()) == pytest.approx(0.8, abs=0.01)
