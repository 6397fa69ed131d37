"""What classical restoration makes of what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anyfuse.control import Control
from anyfuse.degradation.plan import Step, apply
from anyfuse.image.colour import to_luma
from anyfuse.io.read import read_image
from anyfuse.models.mmaif.classical_restore import RESTORERS, restore
from anyfuse.models.mmaif.instruction import WIDTH, instruction_vector

EXAMPLES = Path(__file__).parents[2] / "examples"
OPERATION = {"noise": "gaussian_noise", "blur": "gaussian_blur", "stripes": "dark_stripes"}


def instruction(name: str, strength: float, source: int) -> Tensor:
    return instruction_vector(Control(degradations={name: {("infrared", "visible")[source]: strength}}), (0, 1))[None]


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("name", RESTORERS)
def test_what_is_said_is_mended(name: str, strength: float) -> None:
    """The source that is named comes nearer to what it was; the other one, and other items of the batch, stay."""
    detector = name in ("dead_pixels", "stripes", "fixed_pattern")
    photo = to_luma(read_image(EXAMPLES / "infrared" / ("thermal.png" if detector else "visible.jpg")).read())
    photo = photo[:, :160, :208]
    clean = photo[None, None].repeat(1, 2, 1, 1, 1)
    bad = clean.clone()
    bad[0, 1] = apply(photo, [Step(OPERATION.get(name, name), strength)], 3)[0]
    both = torch.cat([bad, bad])
    restored = restore(both, torch.cat([instruction(name, strength, 1), instruction("jpeg", 1.0, 1)]))
    assert restored is not None
    assert torch.equal(restored[:, 0], both[:, 0])
    assert torch.equal(restored[1], both[1])
    before, after = ((x[0, 1] - clean[0, 1]).square().mean().log10() * -10 for x in (both, restored))
    if name == "downsample" and strength < 1:
        assert after > before - 0.5  # what little there is to gain depends on the image
    else:
        assert after > before


def test_strengths_count_and_colours_share_their_light() -> None:
    colour = (
        read_image(EXAMPLES / "infrared" / "visible.jpg").read()[:, :96, :128]
        * torch.tensor([1.0, 0.8, 0.5])[:, None, None]
    )
    bad = apply(colour, [Step("low_contrast", 0.8)], 0)[0].expand(1, 2, -1, -1, -1)
    right, wrong = (restore(bad, instruction("low_contrast", strength, 0)) for strength in (0.8, 0.5))
    assert (right[0, 0] - colour).abs().max() < 0.02
    assert (wrong[0, 0] - colour).abs().max() > 0.05
    for nothing in (torch.zeros(1, WIDTH), instruction_vector(Control(), (0, 1))[None], instruction("jpeg", 1.0, 0)):
        assert restore(bad, nothing) is None
