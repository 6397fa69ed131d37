"""What moved between exposures or within a focus stack comes from one frame; all else stays as it is, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene, to8
from typer.testing import CliRunner

import anyfuse
from anyfuse.align.deghost import Deghosted, deghost
from anyfuse.align.regions import regions
from anyfuse.cli.main import app
from anyfuse.errors import FusionError
from anyfuse.image.frame import Frame, make_frame
from anyfuse.io.read import read_image
from anyfuse.io.write import write_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZE = (160, 224)
GAMMAS = (2.2, 1.0, 0.45)


def colour_scene(seed: int = 3) -> np.ndarray:
    """(H, W, 3) in [0, 1] with smooth shades and edges."""
    return np.stack([0.15 + 0.7 * scene(*SIZE, seed + k) for k in range(3)], 2)


def exposures(things: list[tuple[int, int] | None], seed: int = 3, gammas: tuple[float, ...] = GAMMAS) -> list[Frame]:
    """Frames of one scene at rising exposure, with a disc (row, column) where one is given."""
    frames = []
    for place, gamma in zip(things, gammas, strict=True):
        image = colour_scene(seed)
        if place is not None:
            image[disc(place)] = (0.75, 0.30, 0.20)
        frames.append(make_frame(to8(image**gamma), name=f"{gamma}"))
    return frames


def disc(place: tuple[int, int], radius: int = 18) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(rows - place[0], columns - place[1]) < radius


def values(done: Deghosted) -> list[np.ndarray]:
    return [frame.pixels.astype(float) for frame in done.frames]


@pytest.mark.parametrize(("column", "colour", "shown"), [(196, (0.20, 0.10, 0.05), 1), (60, (0.36, 0.30, 0.02), 2)])
def test_what_moved_comes_from_a_frame_that_shows_what_is_behind_it(
    column: int, colour: tuple[float, ...], shown: int
) -> None:
    """The third frame is exposed best but clips the wall: things before the wall come from the second frame."""
    frames = []
    for row, gain in zip((28, 62, 96, 130), (0.6, 1.0, 2.4, 4.0), strict=True):
        image = 0.2 * colour_scene() ** 2
        image[:, 168:] = 0.46 + 0.05 * colour_scene()[:, 168:]
        image[disc((row, column))] = colour
        frames.append(make_frame(to8((gain * image).clip(0, 1)), name=f"{gain}"))
    changed = {ghost.name for ghost in deghost(frames).ghosts}
    assert [frame.name for frame in frames if frame.name not in changed] == [frames[shown].name]


def test_one_disc_where_it_moved() -> None:
    """The frames become those of a scene in which the disc is where the middle frame has it."""
    places: list[tuple[int, int] | None] = [(80, 50), (80, 112), (80, 174)]
    done = deghost(exposures(places))
    truth = exposures([places[1]] * 3)
    moved = disc((80, 50)) | disc((80, 112)) | disc((80, 174))
    for k, (found, true, before) in enumerate(zip(values(done), truth, exposures(places), strict=True)):
        error = np.abs(found - true.pixels)[moved].mean()
        wrong = np.abs(before.pixels.astype(float) - true.pixels)[moved].mean()
        assert error <= 0 if k == 1 else error < 0.25 * wrong
    assert [ghost.name for ghost in done.ghosts] == ["2.2", "0.45"]
    assert {ghost.source for ghost in done.ghosts} == {"1.0"}
    assert done.mask is not None
    assert done.mask[disc((80, 50), 16)].all()
    assert done.mask.mean() < 0.25
    far = ~(disc((80, 50), 32) | disc((80, 112), 32) | disc((80, 174), 32))
    for found, before in zip(done.frames, exposures(places), strict=True):
        assert np.array_equal(found.pixels[far], before.pixels[far])


@pytest.mark.parametrize("seed", [3, 11, 20])
def test_still_scenes_stay_to_the_bit(seed: int) -> None:
    frames = exposures([None] * 3, seed)
    done = deghost(frames)
    assert done.ghosts == []
    assert done.mask is None
    assert all(a is b for a, b in zip(done.frames, frames, strict=True))


def test_other_sensors_stay_to_the_bit() -> None:
    """A thermal image beside a visible one: nothing in them is an exposure of the other."""
    visible, thermal = to8(scene(*SIZE, 1)), to8(scene(*SIZE, 40) * 0.6)
    pairs = [[visible, thermal], [np.repeat(visible[:, :, None], 3, 2) // [1, 2, 3], thermal]]
    for pair in pairs:
        frames = [make_frame(image.astype(np.uint8), name=str(k)) for k, image in enumerate(pair)]
        assert deghost(frames).ghosts == []


def test_off_does_nothing() -> None:
    frames = exposures([(80, 50), (80, 112), (80, 174)])
    assert deghost(frames, "off").frames == frames


def test_a_moved_thing_looks_as_a_still_one_would() -> None:
    """Two exposures, the thing at two places: the fusion shows it once, in the tone that it has when it stands still.

    That tone lies between those of the two images, as everywhere else in the fusion.
    """
    gammas, places = (1.6, 0.7), [(80, 50), (80, 174)]
    moving = [frame.pixels for frame in exposures(list(places), gammas=gammas)]
    found = anyfuse.fuse(moving, align="none").astype(float)
    still = [
        anyfuse.fuse([f.pixels for f in exposures([place] * 2, gammas=gammas)], align="none").astype(float)
        for place in places
    ]
    inside = disc(places[0], 15) | disc(places[1], 15)
    errors = [np.abs(found - one)[inside].mean() for one in still]
    assert min(errors) < 6
    assert max(errors) > 15


def test_a_dark_thing_before_a_clipped_background_is_seen_from_one_side() -> None:
    """The darker frame has a leg before the ground, the brighter one only white ground: the leg goes."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    dark = np.where(rows[:, :, None] > 70, 0.8 + 0.12 * colour_scene(), 0.2 * colour_scene())
    bright = np.clip(1.4 * dark, 0, 1)
    leg = (np.abs(columns - 110) < 7) & (rows > 90) & (rows < 140)
    dark[leg] = (0.45, 0.40, 0.35)
    done = deghost([make_frame(to8(dark), name="dark"), make_frame(to8(bright), name="bright")], reference=1)
    assert [ghost.name for ghost in done.ghosts] == ["dark"]
    assert done.frames[0].pixels[leg].mean() > 1.8 * to8(dark)[leg].mean()


def test_sixteen_bits_and_any_order() -> None:
    frames = exposures([(80, 50), (80, 112), (80, 174)])
    wide = [make_frame(f.pixels.astype(np.uint16) * 257, name=f.name) for f in frames]
    eight, sixteen = deghost(frames), deghost(wide[::-1])
    for a, b in zip(eight.frames, sixteen.frames[::-1], strict=True):
        assert np.abs(a.pixels - b.pixels / 257).max() <= 1


def test_transparent_places_are_neither_source_nor_target() -> None:
    frames = exposures([(80, 50), (80, 112), (80, 174)])
    alpha = np.full(SIZE, 255, np.uint8)
    alpha[:, :90] = 0
    hidden = [make_frame(f.pixels, alpha if k == 0 else None, name=f.name) for k, f in enumerate(frames)]
    done = deghost(hidden)
    assert np.array_equal(done.frames[0].pixels[:, :88], frames[0].pixels[:, :88])
    assert [ghost.name for ghost in done.ghosts] == ["2.2", "0.45"]


def test_too_much_is_left_alone_and_said(tmp_path: Path) -> None:
    """Two scenes of one tonal order are no bracket: the frame stays, and a warning says why."""
    one = np.linspace(0.1, 0.9, SIZE[1])[None, :, None] * np.ones((*SIZE, 3))
    other = (one**2.2).copy()
    other[:, 60:200] = 0.95
    frames = [make_frame(to8(one), name="one"), make_frame(to8(other), name="other")]
    done = deghost(frames)
    assert all(a is b for a, b in zip(done.frames, frames, strict=True))


def test_a_frame_that_is_left_alone_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Much moved in the second frame, so it stays; the darkest is compared past it, with the third."""
    monkeypatch.setattr("anyfuse.align.deghost.MOST", 0.15)
    frames = exposures([(80, 50), None, (80, 112), (80, 112)], gammas=(3.0, 2.2, 1.0, 0.45))
    strange = frames[1].pixels.copy()
    strange[disc((80, 170), 40)] = (110, 10, 90)
    frames[1] = make_frame(strange, name="2.2")
    done = deghost(frames)
    said = {ghost.name: (ghost.source, ghost.trusted) for ghost in done.ghosts}
    assert said == {"3.0": ("1.0", True), "2.2": ("1.0", False)}
    assert done.frames[1] is frames[1]


def test_focus_stack_takes_a_moved_thing_from_one_frame() -> None:
    frames = []
    for column, strong in ((70, 1.0), (150, 0.5)):
        image = np.repeat(0.3 + 0.3 * scene(*SIZE, 5)[:, :, None], 3, 2)
        image[disc((80, column), 20)] = 0.02
        smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(image).permute(2, 0, 1)[None], 3, 1, 1)[0]
        mixed = strong * image + (1 - strong) * smooth.permute(1, 2, 0).numpy()
        frames.append(make_frame(to8(mixed), name=str(column)))
    done = deghost(frames)
    dark = [[(frame.pixels[80, column] < 40).all() for column in (70, 150)] for frame in done.frames]
    assert dark[0] == dark[1]


def test_regions_are_numbered_and_counted() -> None:
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[0, :3] = mask[1, 3] = mask[4:, 5:7] = True
    numbers, sizes = regions(mask)
    assert sorted(sizes.tolist()) == [4, 4]
    assert numbers[0, 0] == numbers[1, 3] != numbers[4, 5]
    assert int(numbers[3].sum()) == 0
    assert regions(torch.zeros(3, 3, dtype=torch.bool))[1].tolist() == []


def test_the_whole_way(tmp_path: Path) -> None:
    """Command line: the report says what was replaced, and --ghost-mask shows where."""
    places: list[tuple[int, int] | None] = [(80, 50), (80, 112), (80, 174)]
    names = []
    for k, frame in enumerate(exposures(places)):
        names.append(str(tmp_path / f"{k}.png"))
        write_image(names[-1], frame.pixels)
    out, mask, report = (str(tmp_path / name) for name in ("out.png", "ghosts.png", "report.json"))
    done = CliRunner().invoke(app, ["fuse", *names, "-o", out, "--ghost-mask", mask, "--report", report])
    assert done.exit_code == 0, done.output
    said = json.loads(Path(report).read_text())
    assert [Path(entry["name"]).name for entry in said["deghosted"]] == ["0.png", "2.png"]
    still = anyfuse.fuse([f.pixels for f in exposures([places[1]] * 3)])
    ghosts = anyfuse.fuse(names, deghost="off").astype(float)
    fused = anyfuse.fuse(names).astype(float)
    moved = disc((80, 50)) | disc((80, 174))
    assert np.abs(fused - still)[moved].mean() < 0.3 * np.abs(ghosts - still)[moved].mean()
    with pytest.raises(FusionError, match="deghost"):
        anyfuse.fuse(names, deghost="always")


def test_the_frame_that_shows_moved_things_can_be_chosen() -> None:
    """In a bracket, at either end of it too, and in a focus stack."""
    places: list[tuple[int, int] | None] = [(80, 50), (80, 112), (80, 174)]
    for shown in (0, 2, -1):
        frames = exposures(places)
        done = deghost(frames, reference=shown)
        assert done.frames[shown] is frames[shown]
        assert {ghost.name for ghost in done.ghosts} == {f.name for f in frames} - {frames[shown].name}
        here = disc(places[shown] or (0, 0), 14)
        truth = exposures([places[shown]] * 3)
        for found, true in zip(values(done), truth, strict=True):
            assert np.abs(found - true.pixels)[here].mean() < 20
    with pytest.raises(FusionError, match="deghost_reference 3 is not one of the 3 images"):
        deghost(exposures(places), reference=3)


def test_each_frame_of_a_focus_stack_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two things that moved in one frame: its pixels go to their place once."""
    frames = []
    for columns in ((60, 60), (110, 110)):
        image = np.repeat(0.3 + 0.3 * scene(*SIZE, 5)[:, :, None], 3, 2)
        for row, column in zip((36, 122), columns, strict=True):
            image[disc((row, column), 20)] = 0.02
        frames.append(make_frame(to8(image), name=str(columns)))
    kept: list[np.ndarray] = []

    def store(array: np.ndarray) -> np.ndarray:
        kept.append(array)
        return array

    for shown in (0, 1):
        kept.clear()
        done = deghost(frames, store=store, reference=shown)
        assert len(kept) == 1
        assert done.frames[shown] is frames[shown]
        assert np.abs(done.frames[0].pixels.astype(int) - done.frames[1].pixels)[disc((36, 60), 16)].max() <= 2


@pytest.mark.parametrize("gammas", [(1.0, 1.0, 1.0), (1.6, 1.0, 0.6)])
def test_pieces_of_one_picture_stay_as_they_are(gammas: tuple[float, float, float]) -> None:
    big = read_image(EXAMPLES / "exposure" / "2.jpg").pixels[:440, :660] / 255
    pieces = [(0, 0, 300, 400), (100, 200, 440, 660), (50, 100, 250, 400)]  # top, left, bottom, right
    frames = []
    for (top, left, bottom, right), gamma in zip(pieces, gammas, strict=True):
        pixels, alpha = np.zeros((440, 660, 3), np.uint8), np.zeros((440, 660), np.uint8)
        pixels[top:bottom, left:right] = np.rint(255 * big[top:bottom, left:right] ** gamma)
        alpha[top:bottom, left:right] = 255
        frames.append(make_frame(pixels, alpha, name=str(gamma)))
    for before, after in zip(frames, deghost(frames).frames, strict=True):
        difference = np.abs(after.pixels.astype(int) - before.pixels)[before.alpha > 0]
        assert difference.max() <= (0 if gammas[0] == 1.0 else 12)
