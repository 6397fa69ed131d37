"""The three ways in which fusion code turns RGB into 8-bit grey.

They differ by one level on some pixels, which moves every metric in its third or fourth digit, so results name the
rule.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from anyfuse.errors import FusionError

GreyRule = Literal["matlab", "pil", "opencv"]
RULES: tuple[str, ...] = get_args(GreyRule)

MATLAB_WEIGHTS = (0.2989360212937753, 0.5870430744511213, 0.1140209042551033)


def to_grey(image: Tensor, rule: GreyRule = "matlab") -> Tensor:
    """Grey levels (..., H, W) float64 of an image (..., C, H, W) in 0..255 with C = 1 or 3; one channel stays as it is.

    matlab: rgb2gray, rounded half up. pil: convert('L'). opencv: the Y of cvtColor's YCrCb, 14-bit weights; RGB2GRAY
    has 15-bit weights in today's OpenCV and differs by a level on about one pixel in 400. RGB values are rounded to
    levels first, as all three work on 8-bit images.
    """
    if rule not in RULES:
        raise FusionError(f"unknown grey rule {rule!r}: use one of {', '.join(RULES)}")
    if image.ndim < 3 or image.shape[-3] not in (1, 3):
        raise FusionError(f"an image has 1 or 3 channels, got shape {tuple(image.shape)}")
    if image.shape[-3] == 1:
        return image[..., 0, :, :].double()
    levels = image if not image.is_floating_point() else (image + 0.5).floor()
    if rule == "matlab":
        r, g, b = levels.double().unbind(-3)
        wr, wg, wb = MATLAB_WEIGHTS
        return torch.floor(r * wr + g * wg + b * wb + 0.5)
    r, g, b = levels.long().unbind(-3)
    if rule == "pil":
        return ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16).double()
    return ((4899 * r + 9617 * g + 1868 * b + 8192) >> 14).double()
