"""Degradations as they occur: other forms of the operations, with parameters drawn wider than theirs.

Rain without a veil and from any direction, rows as well as columns, slow drift, a lens out of focus, a camera that
moved straight, low light with the noise of its sensor, haze of one thickness, a lower JPEG quality. plan.VARIANTS
lists them; `plan.draw_varied` draws them among the plain ones. See `operation.operation` for what all of them take
and return.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..arrays import F, Generator, Tensor, torch
from ..image.random import integer, smooth_field, uniform
from .operation import Degraded, mirror, operation, to_encoded, to_linear
from .optics import path_kernel, through_jpeg
from .sensor import bright_stripes, dark_stripes
from .weather import RAIN, SNOW, Layer, depth_of, fall, veil

# ---------------------------------------------------------------------- weather


@operation
def mist(image: Tensor, strength: float, gen: Generator, depth: Tensor | None = None) -> Degraded:
    """Haze of one thickness or by depth, on light or on encoded values; beta = 2.2 s, airlight from 0.55 to 1."""
    airlight, flat, encoded = uniform(0.55, 1.0, gen), uniform(0, 1, gen) < 0.4, uniform(0, 1, gen) < 0.5
    thick = uniform(0.4, 0.8, gen)
    depth = depth_of(image, depth, gen)
    depth = torch.full_like(depth, thick) if flat else depth
    beta = 2.2 * strength
    if encoded:
        result = veil(image, depth, beta, airlight)
    else:
        result = to_encoded(veil(to_linear(image), depth, beta, airlight))
    return result, {"beta": beta, "airlight": airlight, "flat": flat, "encoded": encoded}


def _scaled(layers: tuple[Layer, ...], gen: Generator, longest: float) -> tuple[Layer, ...]:
    """Layers with a common factor on lengths, on widths and on numbers."""
    path, radius = 2 ** uniform(-1.5, longest, gen), 2 ** uniform(-0.5, 0.8, gen)
    count = 2 ** uniform(-1.5, 0.7, gen)
    return tuple(
        replace(a, path=a.path * path, radius=a.radius * radius, count=max(1, round(a.count * count))) for a in layers
    )


@operation
def rain_streaks(
    image: Tensor, strength: float, gen: Generator, depth: Tensor | None = None, frame: int | None = None
) -> Degraded:
    """Streaks as of `rain`, from any direction, shorter to longer, with no veil two times of three; at times before all
    of the scene.
    """
    slant, near = uniform(0, 90, gen), uniform(0, 1, gen) < 0.5
    thick = 0.0 if uniform(0, 1, gen) < 0.67 else uniform(0.1, 0.6, gen)
    glow, layers = uniform(0.8, 1.6, gen), _scaled(RAIN, gen, 0.8)
    depth = torch.ones(image.shape[-2:]) if near else depth
    return fall(image, strength, gen, depth, frame, layers, slant, uniform(0, 6, gen), 1, thick, glow)


@operation
def rain_lines(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Straight streaks of one length and direction, added to the encoded values; no veil.

    5 to 45 pixels long, 1 to 3 wide, up to 90 degrees from upright; the brightest add 0.35 s to 0.9 s.
    """
    height, width = image.shape[-2:]
    length, wide = uniform(5, 45, gen), uniform(0.5, 1.4, gen)
    angle = uniform(-45, 45, gen) if uniform(0, 1, gen) < 0.8 else uniform(-90, 90, gen)
    share, peak = 2 ** uniform(-11, -7.5, gen), uniform(0.35, 0.9, gen)
    kernel = _line(length, angle, wide)
    margin = kernel.shape[-1] // 2
    drops = torch.rand((height + 2 * margin, width + 2 * margin), generator=gen)
    seeds = torch.where(drops < share, 0.5 + drops / (2 * share), 0.0)
    streaks = F.conv2d(seeds[None, None], kernel[None, None] / kernel.max())[0].clamp_max(1)
    done = {"length": length, "angle_degrees": angle, "share": share, "peak": peak * strength}
    return image + peak * strength * streaks.to(image), done


@operation
def snow_flakes(
    image: Tensor, strength: float, gen: Generator, depth: Tensor | None = None, frame: int | None = None
) -> Degraded:
    """Flakes as of `snow`, smaller to larger, with no veil half of the time; at times before all of the scene."""
    near = uniform(0, 1, gen) < 0.5
    thick = 0.0 if uniform(0, 1, gen) < 0.5 else uniform(0.2, 0.7, gen)
    glow, layers = uniform(1.2, 1.8, gen), _scaled(SNOW, gen, 0.7)
    depth = torch.ones(image.shape[-2:]) if near else depth
    return fall(image, strength, gen, depth, frame, layers, 70.0, uniform(5, 40, gen), 3, thick, glow)


# ---------------------------------------------------------------------- lens, camera, file


@operation
def defocus(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Blur by the iris of a lens, a disc or a polygon of five to eight blades; radius = 6 s pixels, of light or values.

    As wide as `gaussian_blur` of the same strength.
    """
    radius, blades = 6 * strength, integer(4, 8, gen)
    turn, encoded = uniform(0, math.pi, gen), uniform(0, 1, gen) < 0.4
    blurred = _filtered(image, _iris(radius, blades if blades > 4 else 0, turn), encoded)
    return blurred, {"radius": radius, "blades": blades if blades > 4 else 0}


@operation
def straight_motion(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Mean along a straight line in any direction; length = 26 s pixels, of light or values."""
    length, angle = 26 * strength, uniform(-90, 90, gen)
    encoded = uniform(0, 1, gen) < 0.4
    return _filtered(image, _line(length, angle, 0.3), encoded), {"length": length, "angle_degrees": angle}


@operation
def resample(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Down by areas or points, up by nearest, linear or cubic interpolation; factor = 1 + 3.5 s."""
    factor, smooth = 1 + 3.5 * strength, uniform(0, 1, gen) < 0.7
    up = ("nearest", "bilinear", "bicubic")[integer(0, 2, gen)]
    height, width = image.shape[-2:]
    small = max(1, round(height / factor)), max(1, round(width / factor))
    low = F.interpolate(image[None], small, mode="bilinear", antialias=smooth, align_corners=False)
    more = {} if up == "nearest" else {"align_corners": False}
    high = F.interpolate(low, (height, width), mode=up, **more)[0]
    return high, {"factor": factor, "up": up}


@operation
def low_jpeg(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Through a JPEG file of quality 60 - 52 s."""
    return through_jpeg(image, round(60 - 52 * strength))


# ---------------------------------------------------------------------- light and sensor


@operation
def low_light(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Too little light, and the noise of the sensor that has to do with it.

    stops = -4.5 s, of light, or as much by a factor or an exponent on encoded values; white of the clean picture fills
    200 to 6 000 electrons per pixel, read noise 1 to 6 electrons; the noise has grain of one pixel, or of two.
    """
    stops, way = -4.5 * strength, integer(0, 2, gen)
    electrons, read = 2 ** uniform(7.6, 12.6, gen), uniform(1, 6, gen)
    coarse = uniform(0, 1, gen) < 0.3
    light = to_linear(image)
    if way == 0:
        dark = light * 2**stops
    elif way == 1:
        dark = to_linear(image * 2 ** (stops / 2.2))
    else:
        dark = to_linear(image.clamp_min(1e-4) ** (1 + 0.42 * -stops / 2))
    counted = torch.poisson(dark.cpu().double() * electrons, generator=gen)
    counted = counted + read * torch.randn(image.shape, generator=gen, dtype=torch.float64)
    noise = (counted / electrons).float().to(image) - dark
    if coarse:
        noise = F.avg_pool2d(mirror(noise, 1), 2, 1)[:, : image.shape[-2], : image.shape[-1]] * 1.4
    noisy, plain = to_encoded(dark + noise), to_encoded(dark)
    deviation = float((noisy - plain).square().mean().sqrt())
    lost = float(((light.mean() + 1e-4) / (dark.mean() + 1e-4)).log2())
    return noisy, {"stops": -lost, "electrons": electrons, "sigma": deviation}


@operation
def washed_out(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Encoded values drawn towards a grey from 0.25 to 0.75; factor = 1 - 0.75 s."""
    grey, factor = uniform(0.25, 0.75, gen), 1 - 0.75 * strength
    return grey + factor * (image - grey), {"factor": factor, "grey": grey}


# ---------------------------------------------------------------------- lines of a detector


@operation
def row_stripes(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Rows that read too low or too high, as of `dark_stripes` and `bright_stripes`."""
    faulty = dark_stripes if uniform(0, 1, gen) < 0.5 else bright_stripes
    result, done = faulty(image.transpose(1, 2), strength, gen)
    return result.transpose(1, 2), {"rows": done["columns"], "kind": done["op"]}


@operation
def line_offsets(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Each column, or each row, reads a little too high or too low: Gaussian of 0.1 s, one to four lines together."""
    rows, wide = uniform(0, 1, gen) < 0.4, integer(1, 4, gen)
    wide = 1 if uniform(0, 1, gen) < 0.6 else wide
    count = image.shape[-2 if rows else -1]
    line = torch.randn(math.ceil(count / wide), generator=gen).repeat_interleave(wide)[:count]
    sigma = 0.1 * strength
    return image + sigma * (line[:, None] if rows else line).to(image), {"sigma": sigma, "rows": rows, "wide": wide}


@operation
def line_drift(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Columns, or rows, drift slowly: a smooth curve or a wave of 10 to 90 pixels, deviation 0.1 s."""
    rows, wave = uniform(0, 1, gen) < 0.5, uniform(0, 1, gen) < 0.4
    cell, phase = uniform(10, 90, gen), uniform(0, 2 * math.pi, gen)
    count = image.shape[-2 if rows else -1]
    if count == 1:
        line = torch.ones(1)
    elif wave:
        line = 2**0.5 * torch.sin(torch.arange(count) * (2 * math.pi / cell) + phase)
    else:
        line = smooth_field(count, 1, cell / 2, gen)[:, 0]
    shift = 0.1 * strength * (line[:, None] if rows else line)
    return image + shift.to(image), {"sigma": 0.1 * strength, "rows": rows, "cell": cell, "wave": wave}


# ---------------------------------------------------------------------- what they share


def _line(length: float, angle: float, wide: float) -> Tensor:
    """Kernel (odd square, sum 1) of a line `length` pixels long, `angle` degrees from upright, soft by `wide`."""
    time = torch.linspace(-0.5, 0.5, 4 * math.ceil(length) + 9, dtype=torch.float64) * length
    slope = math.radians(angle)
    kernel = path_kernel(torch.stack([time * math.cos(slope), time * math.sin(slope)])).float()
    if wide > 0.4:
        taps = torch.exp(-0.5 * (torch.arange(-3, 4) / wide) ** 2)
        taps = taps / taps.sum()
        kernel = F.conv2d(kernel[None, None], (taps[:, None] * taps)[None, None], padding=6)[0, 0]
    return kernel / kernel.sum()


def _iris(radius: float, blades: int, turn: float) -> Tensor:
    """Kernel (odd square, sum 1) of a disc, or of a regular polygon with as many sides, with soft edges."""
    margin = math.ceil(radius) + 1
    axis = torch.arange(-margin, margin + 1).float()
    y, x = axis[:, None], axis[None]
    far = (y**2 + x**2).sqrt()
    if blades:
        sector = 2 * math.pi / blades
        part = (torch.atan2(y.expand_as(far), x.expand_as(far)) + turn) % sector - sector / 2
        far = far * part.cos() / math.cos(sector / 2) ** 0.5
    kernel = (radius + 0.5 - far).clamp(0, 1)
    return kernel / kernel.sum()


def _filtered(image: Tensor, kernel: Tensor, encoded: bool) -> Tensor:
    margin = kernel.shape[-1] // 2
    light = image if encoded else to_linear(image)
    result = F.conv2d(mirror(light, margin)[:, None], kernel.to(light)[None, None])[:, 0]
    return result if encoded else to_encoded(result)
