"""Guidance and sampling of DiTFuse (arXiv 2512.07170), as OmniGen's: three passes of one transformer, with the same
noise.

    v = v_neg + s_img (v_img - v_neg) + s_txt (v_full - v_img)

v_neg has neither images nor an instruction, v_img the images alone, v_full both. x moves from noise (t = 0) to the
result (t = 1) in Euler steps: x += v / n at t = 0, 1/n, ..., (n - 1)/n.

Guidance by images and text: Brooks et al. 2023 (arXiv 2211.09800), equation 3, as OmniGen uses it. The numbers of the
papers' own equations are not known to us.

Origin: written from the formulas. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...arrays import Tensor
from .prompt import IMAGES, NOTHING, encode


class Branch(NamedTuple):
    """One pass of guidance."""

    ids: Tensor  # word ids of its prompt, (1 or B, T)
    images: bool  # whether it has the images


def guidance(texts: Sequence[str], branches: int, text_scale: float, image_scale: float) -> list[tuple[float, Branch]]:
    """The passes with their shares of the velocity, which sum to 1; the full one comes last.

    texts: prompts, one for all images or one for each.
    branches: 3; 2 leaves out v_neg (s_img = 1); 1 leaves v_full alone (s_txt = 1 too).
    text_scale, image_scale: s_txt and s_img.
    """
    text = text_scale if branches > 1 else 1.0
    image = image_scale if branches == 3 else 1.0
    no_images, no_text = encode([NOTHING]), encode([IMAGES])
    shares = (
        (1 - image, Branch(no_images, False)),
        (image - text, Branch(no_text, True)),
        (text, Branch(encode(texts), True)),
    )
    return [(share, branch) for share, branch in shares if share]


def euler(x: Tensor, velocity: Callable[[Tensor, Tensor], Tensor], steps: int) -> Tensor:
    """Noise x (B, 16, h, w) -> the result's latents. velocity: (x, times (B,)) -> v like x."""
    for step in range(steps):
        t = x.new_full((len(x),), step / steps)
        x = x + velocity(x, t) / steps
    return x
