"""Degradations by exposure and sensor, visible and infrared.

See `operation.operation` for what all of them take and return.
"""

from __future__ import annotations

from ..arrays import Generator, Tensor, torch
from ..image.colour import to_luma
from ..image.random import smooth_field
from .operation import Degraded, operation, to_encoded, to_linear


@operation
def low_exposure(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Less linear light; stops = -4 s."""
    stops = -4 * strength
    return to_encoded(to_linear(image) * 2**stops), {"stops": stops}


@operation
def high_exposure(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """More linear light, clipped at white; stops = 2.5 s."""
    stops = 2.5 * strength
    light = to_linear(image) * 2**stops
    return to_encoded(light), {"stops": stops, "clipped": float((light > 1).float().mean())}


@operation
def low_contrast(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Encoded values drawn towards the image's mean luma; factor = 1 - 0.65 s."""
    factor = 1 - 0.65 * strength
    mean = float(to_luma(image).mean())
    return mean + factor * (image - mean), {"factor": factor, "mean": mean}


@operation
def gaussian_noise(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """White noise on encoded values, each channel its own; sigma = 40 s / 255."""
    sigma = 40 / 255 * strength
    return image + sigma * torch.randn(image.shape, generator=gen).to(image), {"sigma": sigma}


@operation
def sensor_noise(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Poisson-Gaussian noise in linear light; white fills 60 / s^2 electrons, read noise is 0.01 s of white.

    Variance at light x: x / electrons + read^2 (Foi, Trimeche, Katkovnik, Egiazarian 2008). Negative and clipped light
    is cut off.
    """
    electrons, read = 60 / strength**2, 0.01 * strength
    light = to_linear(image)
    counted = torch.poisson(light.cpu().double() * electrons, generator=gen) / electrons
    noisy = counted.float() + read * torch.randn(image.shape, generator=gen)
    return to_encoded(noisy.to(image)), {"electrons": electrons, "read": read}


@operation
def dark_stripes(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Columns of an infrared detector that read too low: 3 s % of them, at least one, scaled by 1 - a, a from half of
    0.9 sqrt(s) to that.
    """
    columns, count = _stripes(image.shape[-1], strength, gen)
    depth = 0.9 * strength**0.5
    return image * (1 - depth * columns.to(image)), {"columns": count, "depth": depth}


@operation
def bright_stripes(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Columns of an infrared detector that read too high: 3 s % of them, at least one, raised towards white by 0.4
    sqrt(s) to 0.8 sqrt(s).
    """
    columns, count = _stripes(image.shape[-1], strength, gen)
    height = 0.8 * strength**0.5
    return image + (1 - image) * height * columns.to(image), {"columns": count, "height": height}


def _stripes(width: int, strength: float, gen: Generator) -> tuple[Tensor, int]:
    """(W,) from 0.5 to 1, 0 outside the stripes of one to three columns, and how many columns are in them."""
    order, levels = torch.rand(width, generator=gen).argsort(), 0.5 + 0.5 * torch.rand(width, generator=gen)
    spans = torch.randint(1, 4, (width,), generator=gen)
    budget = max(1, round(0.03 * strength * width))
    columns = torch.zeros(width)
    for start, level, span in zip(order.tolist(), levels.tolist(), spans.tolist(), strict=True):
        left = budget - int((columns > 0).sum())
        if left <= 0:
            break
        place = slice(start, start + min(span, left))
        columns[place] = columns[place].clamp_min(level)
    return columns, int((columns > 0).sum())


@operation
def fixed_pattern(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Fixed-pattern noise of an uncooled infrared detector: x (1 + g) + o, the same in each frame of that detector.

    o: sigma 0.05 s per column (readout), 0.02 s per pixel, and a smooth 0.06 s of shading (housing and lens). g: sigma
    0.06 s per column.
    """
    height, width = image.shape[-2:]
    columns, gains = torch.randn((2, width), generator=gen)
    pixels = torch.randn((height, width), generator=gen)
    shading = smooth_field(height, width, max(height, width) / 2, gen) if height * width > 1 else torch.zeros(1, 1)
    offset = strength * (0.05 * columns + 0.02 * pixels + 0.06 * shading)
    done = {"column_offset": 0.05 * strength, "column_gain": 0.06 * strength}
    done |= {"pixel_offset": 0.02 * strength, "shading": 0.06 * strength}
    return image * (1 + 0.06 * strength * gains.to(image)) + offset.to(image), done


@operation
def dead_pixels(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Pixels stuck at black or white, half of each, in all channels; a share of 0.02 s."""
    share = 0.02 * strength
    chance, side = torch.rand((2, *image.shape[-2:]), generator=gen).to(image)
    stuck = chance < share
    return torch.where(stuck, (side < 0.5).to(image), image), {"share": share, "pixels": int(stuck.sum())}
