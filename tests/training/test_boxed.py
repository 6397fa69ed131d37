"""Real pairs with boxes drawn by hand, as labels of training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anyfuse.control import CLASSES
from anyfuse.data.boxes import Box, Scene, read_scenes
from anyfuse.errors import FusionError
from anyfuse.io.write import write_image
from anyfuse.training.parts.boxed import (
    BOXES,
    OTHER,
    PEDESTRIAN,
    RIDER,
    UNKNOWN,
    VEHICLE,
    boxed_loss,
    marks_of,
    read_boxed,
)
from anyfuse.training.parts.masks import MasksPlan, draw_boxed

SCENE = Scene(
    "roads/a",
    100,
    80,
    (
        Box("person", 20, 20, 30, 50),
        Box("person", 50, 30, 66, 46),
        Box("vehicle", 70, 50, 95, 70),
        Box("ignore", 0, 60, 10, 80),
    ),
)


def street(hot: float) -> torch.Tensor:
    """(80, 100): a person in the left half of the first box, a round one in the second."""
    image = torch.full((80, 100), 0.4)
    image[20:50, 21:27] = hot
    y, x = torch.meshgrid(torch.arange(80.0), torch.arange(100.0), indexing="ij")
    image[(y - 37.5) ** 2 + (x - 57.5) ** 2 < 36] = hot
    return image


@pytest.mark.parametrize("hot", [0.9, 0.05])
def test_marks_follow_the_heat(hot: float) -> None:
    """White-hot and black-hot alike: what differs from the surround is the thing, the rest of a box is unknown."""
    marks = marks_of(street(hot), SCENE)
    assert set(marks[20:50, 22:26].ravel()) == {PEDESTRIAN}
    assert set(marks[22:48, 28:30].ravel()) == {UNKNOWN}
    assert marks[37, 57] == RIDER  # as wide as high
    assert marks[31, 51] == UNKNOWN
    assert set(marks[60:, :10].ravel()) == {UNKNOWN}
    assert (marks[60, 82], marks[50, 70], marks[5, 5], marks[55, 57]) == (VEHICLE, UNKNOWN, OTHER, OTHER)


def test_no_contrast_is_an_ellipse() -> None:
    marks = marks_of(torch.full((80, 100), 0.4), SCENE)
    assert marks[35, 25] == PEDESTRIAN
    assert marks[20, 20] == UNKNOWN
    assert 0.5 < (marks[20:50, 20:30] == PEDESTRIAN).mean() < 0.8


def test_the_loss_is_of_what_is_marked() -> None:
    """A person that may ride is either class; an unknown pixel is none; other is no person and no car."""
    marks = torch.tensor([[[OTHER, PEDESTRIAN, RIDER, VEHICLE, UNKNOWN]]])
    want = [CLASSES.index(name) for name in ("road", "pedestrian", "bicyclist", "car", "sky")]
    logits = torch.full((1, 11, 1, 5), -20.0)
    for place, name in enumerate(want):
        logits[0, name, 0, place] = 20.0
    assert float(boxed_loss(logits, marks)) < 1e-6
    for place, wrong, change in ((0, "pedestrian", True), (1, "bicyclist", True), (2, "pedestrian", False)):
        other = logits.clone()
        other[0, :, 0, place] = -20.0
        other[0, CLASSES.index(wrong), 0, place] = 20.0
        assert (float(boxed_loss(other, marks)) > 1) == change
    logits = torch.zeros(1, 11, 1, 5, requires_grad=True)
    boxed_loss(logits, marks).backward()
    assert logits.grad is not None
    assert not logits.grad[..., 4].any()
    assert float(boxed_loss(torch.zeros(1, 11, 1, 1), torch.tensor([[[UNKNOWN]]]))) == 0


def test_reads_pairs(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    entry = {"size": [100, 80], "boxes": [[b.kind, b.x0, b.y0, b.x1, b.y1] for b in SCENE.boxes]}
    boxes.write_text(json.dumps({"roads/a": entry}))
    with pytest.raises(FusionError, match=r"the pairs with boxes are not there; --set boxed=0"):
        read_boxed(tmp_path, boxes)
    level = (street(0.9) * 255).round().to(torch.uint8).numpy()
    write_image(tmp_path / "roads/ir/a.png", np.repeat(level[..., None], 3, 2))
    write_image(tmp_path / "roads/vis/a.png", np.repeat(255 - level[..., None], 3, 2))
    (pair,), digest = read_boxed(tmp_path, boxes)
    assert (pair.pair[0] == level).all()
    assert len(digest) == 64
    plan = MasksPlan(height=32, width=48, heat_alone=0.5, black_hot=0.0, plain=1.0, smallest=1.0, largest=1.0)
    drawn = [draw_boxed([pair], plan, torch.Generator().manual_seed(k)) for k in range(40)]
    assert all(x.shape == (2, 32, 48) and y.shape == (32, 48) for x, y in drawn)
    assert 8 <= sum(torch.equal(x[0], x[1]) for x, _ in drawn) <= 32
    assert any((y == PEDESTRIAN).any() for _, y in drawn)
    hot = replace(plan, heat_alone=0.0, black_hot=1.0)
    x, _ = draw_boxed([pair], hot, torch.Generator().manual_seed(1))
    assert float((x[0] - x[1]).abs().max()) < 0.01  # black-hot is what the visible image was made as
    boxes.write_text(json.dumps({"roads/b": entry}))
    with pytest.raises(FusionError, match=r"roads/b: this pair with boxes is not there"):
        read_boxed(tmp_path, boxes)
    boxes.write_text(json.dumps({"roads/a": entry | {"size": [101, 80]}}))
    with pytest.raises(FusionError, match=r"roads/a: is not 101x80, as its boxes are"):
        read_boxed(tmp_path, boxes)


def test_none_of_the_package_is_held_out_or_a_test() -> None:
    scenes = read_scenes(BOXES)
    judged = read_scenes(BOXES.with_name("street_boxes.json"))
    assert {s.name.split("/")[0] for s in scenes} == {"ivif", "ivif-llvip"}
    assert not {s.name for s in scenes} & {s.name for s in judged}
