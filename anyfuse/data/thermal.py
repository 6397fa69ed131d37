"""Infrared-visible pairs as other cameras would give them: augmentation of real pairs, and pseudo-thermal images of
labelled streets.

Images are luma (H, W) in [0, 1]; every function is deterministic given its `torch.Generator`. What is noise stays
apart: an augmented pair comes with its clean form, which losses compare with.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..image.random import integer, smooth_field, uniform
from .synthetic import convolve, defocus_kernel

TEMPERATURE: tuple[tuple[float, float], ...] = (
    (0.02, 0.15),  # sky
    (0.30, 0.55),  # building
    (0.25, 0.50),  # pole
    (0.30, 0.60),  # road
    (0.30, 0.55),  # pavement
    (0.20, 0.42),  # tree
    (0.25, 0.50),  # sign
    (0.25, 0.50),  # fence
    (0.40, 0.65),  # car
    (0.80, 1.00),  # pedestrian
    (0.75, 1.00),  # bicyclist
    (0.25, 0.50),  # unlabelled
)
"""Range of the mean level of CamVid's classes in a white-hot image."""
CAR = 8


def pseudo_thermal(luma: Tensor, labels: Tensor, gen: Generator) -> Tensor:
    """Luma and class map (H, W) of a street (CamVid's order, 11: unlabelled) -> white-hot thermal image (H, W).

    Each class has a temperature of its own, people are hot, and some cars have warm engines and wheels. A little of the
    visible texture shows, as emissivity does; the sensor blurs.
    """
    height, width = luma.shape
    level = torch.tensor([uniform(low, high, gen) for low, high in TEMPERATURE])
    image = level[labels.clamp(0, len(TEMPERATURE) - 1)]
    image = image + uniform(0.02, 0.08, gen) * smooth_field(height, width, uniform(20, 80, gen), gen)
    image = image + uniform(-0.12, 0.25, gen) * (luma - luma.mean())
    if uniform(0, 1, gen) < 0.6:
        warm = (smooth_field(height, width, uniform(6, 16, gen), gen) > 0.5).float() * (labels == CAR)
        image = image + uniform(0.15, 0.45, gen) * warm
    return convolve(image.clamp(0, 1)[None], defocus_kernel(uniform(0.6, 1.8, gen), True))[0]


def augment_pair(pair: Tensor, statistics: Tensor, gen: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Infrared and visible (2, H, W) with the mean and deviation (2, 2) of their whole images, as other cameras would
    see them.

    -> observed pair, the same without noise and dead pixels, and the statistics to match. Gain, offset, blur and
    vignette belong to both; noise, grain and dead pixels to the observed one alone. Now and then the infrared image is
    black-hot, or the visible one dark.
    """
    height, width = pair.shape[-2:]
    infrared, visible = pair
    (mean_i, dev_i), (mean_v, dev_v) = statistics.tolist()
    gain, offset = uniform(0.65, 1.25, gen), uniform(-0.1, 0.12, gen)
    infrared, mean_i, dev_i = gain * infrared + offset, gain * mean_i + offset, gain * dev_i
    if uniform(0, 1, gen) < 0.06:
        infrared, mean_i = 1 - infrared, 1 - mean_i
    if uniform(0, 1, gen) < 0.3:
        infrared = convolve(infrared[None], defocus_kernel(uniform(0.5, 1.8, gen), True))[0]
    dark = uniform(0, 1, gen) < 0.15
    gain, offset = (uniform(0.15, 0.5, gen), 0.0) if dark else (uniform(0.7, 1.2, gen), uniform(-0.05, 0.05, gen))
    visible, mean_v, dev_v = gain * visible + offset, gain * mean_v + offset, gain * dev_v
    if uniform(0, 1, gen) < 0.15:
        visible = convolve(visible[None], defocus_kernel(uniform(0.5, 1.5, gen), True))[0]
    clean = torch.stack([infrared, visible])
    if uniform(0, 1, gen) < 0.2:
        fall = smooth_field(height, width, 90, gen)
        clean = clean * (1 - uniform(0.05, 0.25, gen) * fall.clamp(0, 1))
    clean = clean.clamp(0, 1)
    noise = torch.zeros(2)
    if uniform(0, 1, gen) < 0.5:
        noise[0] = uniform(0.004, 0.035, gen)
    if uniform(0, 1, gen) < 0.5:
        noise[1] = uniform(0.004, 0.035, gen)
    observed = clean + noise[:, None, None] * torch.randn(clean.shape, generator=gen)
    if uniform(0, 1, gen) < 0.25:
        observed = dead_pixels(observed, gen)
    return observed.clamp(0, 1), clean, torch.tensor([[mean_i, dev_i], [mean_v, dev_v]])


def dead_pixels(stack: Tensor, gen: Generator) -> Tensor:
    """A few hot or dead pixels in one image of a stack (N, H, W)."""
    count, height, width = stack.shape
    stack = stack.clone()
    which = integer(0, count - 1, gen)
    for _ in range(integer(1, 8, gen)):
        stack[which, integer(0, height - 1, gen), integer(0, width - 1, gen)] = float(uniform(0, 1, gen) < 0.6)
    return stack
