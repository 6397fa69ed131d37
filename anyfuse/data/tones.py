"""Tones of a Control as curves: what LIGHT++ or CONTRAST- does to an image, without clipping.

Origin: ours; DiTFuse (arXiv 2512.07170) publishes no factors. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..control import TONES
from ..errors import FusionError

LIGHTS = {"LIGHT++": 1.6, "LIGHT+": 1.25, "LIGHT-": 0.8, "LIGHT--": 0.6}
CONTRASTS = {"CONTRAST+": 1.6, "CONTRAST-": 0.7}
"""Factors of the values, and of their distance from the image's mean.

The shoulders take some of it: 1.6 raises the deviation by about 1.4.
"""
KNEE = 0.5


def apply_tones(image: Tensor, tones: Sequence[str]) -> Tensor:
    """Luma (..., H, W) in [0, 1] with these tones, light first, in [0, 1].

    The curves rise strictly, so no structure is lost.

    The contrast is that beside the image given, whatever the light does to it: much darker with more contrast has a
    larger deviation than the image, not than its darker form. Raises FusionError for an unknown tone.
    """
    spread = deviation(image)
    for tone in sorted(tones, key=lambda name: name not in LIGHTS):
        if tone in LIGHTS:
            image = shoulder(image * LIGHTS[tone], LIGHTS[tone], KNEE)
        elif tone in CONTRASTS:
            mean = image.mean((-2, -1), keepdim=True)
            factor = CONTRASTS[tone] * (spread / deviation(image)).clamp(0.5, 2)
            image = mean + factor * (image - mean)
            image = shoulder(image, mean + factor * (1 - mean), (1 + mean) / 2)
            image = 1 - shoulder(1 - image, 1 + (factor - 1) * mean, 1 - mean / 2)
        else:
            raise FusionError(f"unknown tone '{tone}': known are {', '.join(TONES)}")
    return image.clamp(0, 1)


def deviation(image: Tensor) -> Tensor:
    """RMS contrast (..., 1, 1) of luma (..., H, W), not below 1e-3."""
    return image.std((-2, -1), correction=0, keepdim=True).clamp_min(1e-3)


def shoulder(x: Tensor, top: Tensor | float, knee: Tensor | float) -> Tensor:
    """Values up to `knee` stay, those between it and `top` are drawn below 1: a hyperbola with slope 1 at the knee and
    `top` at 1.

    Where top <= 1 nothing changes.
    """
    top, knee = torch.as_tensor(top).to(x), torch.as_tensor(knee).to(x)
    over, room = (top - knee).clamp_min(1e-6), (1 - knee).clamp_min(1e-6)
    u = (x - knee).clamp_min(0)
    bent = knee + u / (1 + u * (over - room) / (over * room))
    return torch.where((x > knee) & (top > 1), bent, x)
