"""Which image is the infrared one: by colour, by content, by the user; and what is said where it is not sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anyfuse import Fuser, FusionError
from anyfuse.image.colour import to_luma
from anyfuse.image.roles import SURE, Roles, find_roles, numbers, scores
from anyfuse.image.stack import Frame
from anyfuse.io.read import read_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def luma(name: str) -> Tensor:
    planes = read_image(EXAMPLES / name).read()
    return to_luma(planes)[0] if len(planes) == 3 else planes[0]


def frame(image: Tensor, name: str = "image") -> Frame:
    return Frame((image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()[..., None], name=name)


def pair(gain: float = 1.0) -> list[Frame]:
    """The thermal image and the visible one in grey, the thermal one so much brighter."""
    thermal, visible = luma("infrared/thermal.png"), luma("infrared/visible.jpg")
    return [frame(thermal * gain), frame(visible / gain)]


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.6])
def test_content_decides_between_grey_images(gain: float) -> None:
    frames = pair(gain)
    for given, place in ((frames, 0), (frames[::-1], 1)):
        roles = find_roles(given)
        assert roles.infrared == place
        assert roles.order == [place, 1 - place]
        assert roles.confidence is not None
        assert roles.confidence > SURE
        assert roles.notes(["a", "b"]) == []


def test_colour_decides_before_content() -> None:
    colour = read_image(EXAMPLES / "infrared" / "visible.jpg")
    roles = find_roles([colour, frame(luma("infrared/visible.jpg"))])
    assert roles == Roles([1, 0], 1, None)


def test_the_user_decides_before_all() -> None:
    roles = find_roles(pair(), infrared=1)
    assert roles == Roles([1, 0], 1, None)
    assert roles.notes(["a", "b"]) == []


def test_exposures_go_from_dark_to_bright() -> None:
    dark, bright = (frame(luma(f"exposure/{k}.jpg")) for k in (1, 4))
    assert dark.brightness < bright.brightness
    for given, order in (([dark, bright], [0, 1]), ([bright, dark], [1, 0])):
        assert find_roles(given) == Roles(order, None, None)


def test_nothing_is_said_of_what_was_never_seen() -> None:
    rng = np.random.default_rng(0)
    dark, bright = (torch.from_numpy(rng.random((64, 80), np.float32)) * 0.4 + low for low in (0.0, 0.5))
    assert find_roles([frame(bright), frame(dark)]).order == [1, 0]
    assert scores(torch.zeros(64, 64), torch.ones(64, 64)) == (0.0, 0.5)
    assert scores(torch.rand(8, 8), torch.rand(8, 8)) == (0.0, 0.5)
    for size in ((32, 33), (200, 40)):
        assert numbers(torch.rand(size)).isfinite().all()


def test_low_confidence_is_said() -> None:
    notes = Roles([1, 0], 1, 0.62).notes(["left.png", "right.png"])
    assert len(notes) == 1
    assert "right.png" in notes[0]
    assert "0.62" in notes[0]
    assert "--infrared" in notes[0]


def test_gain_and_offset_say_nothing() -> None:
    image = luma("infrared/visible.jpg")[:160, :160]
    moved = (image * 0.5 + 0.2) * 255
    assert torch.allclose(numbers(image), numbers(moved.round() / 255), atol=0.35)


def test_fuser_takes_the_infrared_one() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 200, (48, 64), dtype=np.uint8) + add for add in (0, 40)]
    fuser = Fuser("tita-small")
    first, second = (fuser.run(images, infrared=k, align="none") for k in (0, 1))
    assert first.report["order"] == ["image 1", "image 2"]
    assert second.report["order"] == ["image 2", "image 1"]
    with pytest.raises(FusionError, match="infrared 2 is not one of the 2 images"):
        fuser.run(images, infrared=2)
