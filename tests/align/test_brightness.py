"""A focus stack whose light changes takes the reference's light; brackets and other sensors stay to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene, to8
from typer.testing import CliRunner

import anyfuse
from anyfuse.align.brightness import match_brightness
from anyfuse.cli.main import app
from anyfuse.data.synthetic import exposure_stack, focus_scene
from anyfuse.image.frame import Frame, make_frame
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZE = (240, 320)


def steady(n: int = 2, seed: int = 1) -> np.ndarray:
    """(n, H, W) in [0, 1]: a focus stack of a scene with fine details, not clipped."""
    noise = np.random.default_rng(seed).random(SIZE)
    sharp = torch.from_numpy(0.15 + 0.5 * scene(*SIZE, seed) + 0.15 * noise).float()
    return focus_scene(sharp, n, torch.Generator().manual_seed(seed))[0].double().numpy()


def bowl(rim: float) -> np.ndarray:
    """(H, W) factors, 1 in the middle and `rim` in the corners."""
    ys, xs = np.linspace(-1, 1, SIZE[0])[:, None], np.linspace(-1, 1, SIZE[1])
    return 1 + (rim - 1) * (ys**2 + xs**2) / 2


def framed(images: np.ndarray) -> list[Frame]:
    return [make_frame(to8(image.clip(0, 1)), name=f"{k}") for k, image in enumerate(images)]


@pytest.mark.parametrize("gain", [0.7, 0.9, 1.2])
@pytest.mark.parametrize("seed", [1, 2])
def test_gains_are_undone(gain: float, seed: int) -> None:
    images = steady(seed=seed)
    true = framed(images)
    images[1] *= gain
    frames = framed(images)
    out, done = match_brightness(frames)
    assert out[0] is frames[0]
    assert [one.name for one in done] == ["1"]
    assert done[0].least == pytest.approx(1 / gain, rel=0.02)
    assert np.abs(out[1].pixels.astype(float) - true[1].pixels).mean() < 0.6


@pytest.mark.parametrize("rim", [0.75, 1.2])
def test_vignettes_are_undone(rim: float) -> None:
    images = steady(3)
    true = framed(images)
    images[1:] *= bowl(rim)
    out, done = match_brightness(framed(images))
    assert len(done) == 2
    for found, before in zip(out[1:], true[1:], strict=True):
        assert np.abs(found.pixels.astype(float) - before.pixels).mean() < 1.0


def test_the_light_is_that_of_the_reference() -> None:
    images = steady()
    images[1] *= 0.8
    frames = framed(images)
    out, done = match_brightness(frames, 1)
    assert out[1] is frames[1]
    assert done[0].most == pytest.approx(0.8, rel=0.02)
    assert match_brightness(frames[::-1], 0)[1] == done


@pytest.mark.parametrize("gain", [1.0, 0.995, 1.008])
def test_steady_light_stays_to_the_bit(gain: float) -> None:
    images = steady(3)
    images[1] *= gain
    frames = framed(images)
    out, done = match_brightness(frames)
    assert done == []
    assert all(a is b for a, b in zip(out, frames, strict=True))


def test_equal_frames_of_other_gain_stay() -> None:
    """Nothing is sharper anywhere: these are exposures."""
    sharp = steady()[0]
    assert match_brightness(framed(np.stack([sharp, 0.7 * sharp])))[1] == []


@pytest.mark.parametrize("seed", range(6))
def test_made_brackets_stay(seed: int) -> None:
    sharp = torch.from_numpy(scene(*SIZE, seed)).float()
    images = exposure_stack(sharp, 3, torch.Generator().manual_seed(seed))[0].double().numpy()
    assert match_brightness(framed(images))[1] == []
    assert match_brightness(framed(images[:2]))[1] == []


@pytest.mark.parametrize("folder", ["exposure", "focus_pair", "focus_stack", "infrared", "medical"])
def test_examples_stay(folder: str) -> None:
    frames = [read_image(path) for path in sorted((EXAMPLES / folder).iterdir())]
    assert match_brightness(frames)[1] == []
    for k in range(len(frames) - 1):
        assert match_brightness(frames[k : k + 2])[1] == []


def test_other_sensors_stay() -> None:
    images = np.stack([0.1 + 0.8 * scene(*SIZE, 1), 0.1 + 0.5 * scene(*SIZE, 9)])
    assert match_brightness(framed(images))[1] == []


def test_depth_alpha_and_colour() -> None:
    """16 bits as 8, within rounding; colour by one field; alpha stays, and hidden places do not tell."""
    images = steady()
    images[1] *= 0.75
    wide = [make_frame((image * 65535).round().astype(np.uint16), name=str(k)) for k, image in enumerate(images)]
    eight, sixteen = match_brightness(framed(images))[0][1], match_brightness(wide)[0][1]
    assert np.abs(eight.pixels - sixteen.pixels / 257).max() <= 1.5
    tint = np.array([1.0, 0.8, 0.6])
    coloured = [make_frame(to8(image[:, :, None] * tint), name="c") for image in images]
    out = match_brightness(coloured)[0][1].pixels.astype(float).mean((0, 1))
    assert out == pytest.approx(out[0] * tint, rel=0.02)
    alpha = np.full(SIZE, 255, np.uint8)
    alpha[:, :80] = 0
    images[1, :, :80] = 0.9
    hidden = make_frame(to8(images[1]), alpha, name="hidden")
    frame = match_brightness([framed(images)[0], hidden])[0][1]
    assert frame.alpha is not None
    assert np.array_equal(frame.alpha, alpha)
    assert frame.pixels[:, 90:].mean() == pytest.approx(eight.pixels[:, 90:].mean(), rel=0.01)


def test_clipped_places_are_not_dimmed() -> None:
    images = steady()
    images[:, :40, :60] = 1.0
    images[1] *= 1.2
    out = match_brightness(framed(images))[0][1].pixels
    assert (out[:36, :56] == 255).all()


def test_the_whole_way(tmp_path: Path) -> None:
    """The result looks like that of steady light, the report says why, and `--deghost off` leaves the light alone."""
    images = steady()
    true = anyfuse.fuse([frame.pixels for frame in framed(images)]).astype(float)
    images[1] *= 0.8
    names = []
    for k, frame in enumerate(framed(images)):
        names.append(str(tmp_path / f"{k}.png"))
        write_image(names[-1], frame.pixels)
    out, report = str(tmp_path / "out.png"), str(tmp_path / "report.json")
    done = CliRunner().invoke(app, ["fuse", *names, "-o", out, "--report", report])
    assert done.exit_code == 0, done.output
    said = json.loads(Path(report).read_text())["evened"]
    assert [Path(entry["name"]).name for entry in said] == ["1.png"]
    assert said[0]["least"] == pytest.approx(1.25, rel=0.02)
    found, left = (np.squeeze(anyfuse.fuse(names, deghost=mode)).astype(float) for mode in ("auto", "off"))
    assert np.abs(found - np.squeeze(true)).mean() < 1.0 < np.abs(left - np.squeeze(true)).mean()
