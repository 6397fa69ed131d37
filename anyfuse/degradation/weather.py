"""Haze, rain and snow in linear light, by depth. See `operation.operation` for what all of them take and return.

depth: (H, W) in [0, 1], 0 at the camera; None makes one up from the generator (`depth.plausible_depth`). Sizes are
those of a picture with a shorter side of 480 pixels, and grow with it; frame: that side of the picture that the image
is a part of, None: of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..arrays import F, Generator, Tensor, torch
from ..errors import FusionError
from ..image.colour import to_luma
from ..image.random import uniform
from .depth import plausible_depth
from .operation import Degraded, gaussian_taps, operation, separable, to_encoded, to_linear


@operation
def haze(image: Tensor, strength: float, gen: Generator, depth: Tensor | None = None) -> Degraded:
    """Atmospheric scattering I = J t + A (1 - t), t = exp(-beta d) (Koschmieder 1924; Narasimhan, Nayar 2002); beta =
    1.8 s.

    The airlight A is drawn from 0.7 to 1 of white in linear light.
    """
    airlight = uniform(0.7, 1.0, gen)
    depth = depth_of(image, depth, gen)
    return to_encoded(veil(to_linear(image), depth, 1.8 * strength, airlight)), {
        "beta": 1.8 * strength,
        "airlight": airlight,
    }


@dataclass(frozen=True)
class Layer:
    """Particles at one depth; sizes are those in a picture of 480 x 640."""

    depth: float  # relative, 0 at the camera to 1
    count: int  # at strength 1
    path: float  # pixels that one falls in the time of exposure
    radius: float  # pixels, one sigma
    opacity: float  # share of the background that the middle of one hides, 0 to 1


RAIN = (
    Layer(0.05, 20, 110.0, 1.4, 0.3),
    Layer(0.12, 180, 58.0, 0.8, 0.5),
    Layer(0.25, 900, 30.0, 0.55, 0.5),
    Layer(0.6, 2600, 15.0, 0.45, 0.4),
)
SNOW = (
    Layer(0.04, 12, 9.0, 6.5, 0.6),
    Layer(0.1, 90, 6.0, 2.8, 0.85),
    Layer(0.2, 420, 3.5, 1.5, 0.9),
    Layer(0.4, 1500, 2.0, 0.9, 0.85),
    Layer(0.7, 3500, 1.2, 0.6, 0.7),
)


@operation
def rain(
    image: Tensor, strength: float, gen: Generator, depth: Tensor | None = None, frame: int | None = None
) -> Degraded:
    """Streaks in four layers, fewer, longer and wider the nearer, before what is farther than they are; and a veil of
    beta = 0.5 s.

    A drop shows the light of the whole scene (Garg, Nayar 2007): streaks tend to the brightness that 5 % of the picture
    exceed, at least 0.3 of white. The number of streaks and their opacity grow with s; their slant of up to 20 degrees
    is common to all.
    """
    return fall(image, strength, gen, depth, frame, RAIN, slant=20, spread=2.0, clumps=1, haziness=0.5, glow=1.0)


@operation
def snow(
    image: Tensor, strength: float, gen: Generator, depth: Tensor | None = None, frame: int | None = None
) -> Degraded:
    """Flakes in five layers, fewer and larger the nearer and out of focus there, before what is farther; and a veil of
    beta = 0.6 s.

    A flake is a clump of three soft blobs, drawn out by its fall; directions differ by some 30 degrees about a common
    slant; it is 1.6 times as bright as a streak of rain.
    """
    return fall(image, strength, gen, depth, frame, SNOW, slant=35, spread=30.0, clumps=3, haziness=0.6, glow=1.6)


def fall(
    image: Tensor,
    strength: float,
    gen: Generator,
    depth: Tensor | None,
    frame: int | None,
    layers: tuple[Layer, ...],
    slant: float,
    spread: float,
    clumps: int,
    haziness: float,
    glow: float,
) -> Degraded:
    """Particles in layers that fall before a scene, and a veil of haze; `rain` and `snow` say what each number is."""
    height, width = image.shape[-2:]
    angle = uniform(-slant, slant, gen)
    unit = max(128, frame or min(height, width)) / 480
    seed = int(torch.randint(0, 1 << 62, (), generator=gen))
    depth = depth_of(image, depth, gen)
    light = to_linear(image)
    luma = to_luma(light).flatten()
    bright = torch.quantile(luma[:: max(1, len(luma) // 65536)], 0.95).clamp(0.1, 0.9).item()
    result = veil(light, depth, haziness * strength, bright)
    colour, drawn = min(1.0, max(0.3, bright) * glow), 0
    for index, layer in reversed(list(enumerate(layers))):
        own = Generator().manual_seed(seed + index)
        shrink = max(
            1, int(layer.radius * unit / 1.5)
        )  # wide blobs need no more pixels than they have in a small picture
        small = math.ceil(height / shrink), math.ceil(width / shrink)
        cover, count = _cover(*small, layer, strength, unit / shrink, angle, spread, clumps, own)
        if shrink > 1:
            cover = F.interpolate(cover[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
        behind = ((depth - layer.depth) / (0.2 * layer.depth) + 0.5).clamp(0, 1)  # 1 where the scene is farther
        alpha = cover.to(image) * behind
        result = result * (1 - alpha) + colour * alpha
        drawn += count
    done = {"particles": drawn, "angle_degrees": round(angle, 1), "beta": haziness * strength, "brightness": colour}
    return to_encoded(result), done


def _cover(
    height: int,
    width: int,
    layer: Layer,
    strength: float,
    unit: float,
    angle: float,
    spread: float,
    clumps: int,
    gen: Generator,
) -> tuple[Tensor, int]:
    """(H, W) in [0, 1]: how much the particles of one layer hide, and how many of them there are.

    Particles are numbered, and a smaller strength has the first of them.
    """
    sigma = max(0.35, layer.radius * unit)
    reach = math.ceil(layer.path * unit)
    taps = gaussian_taps(sigma)
    margin = len(taps) // 2
    tall, wide = height + 2 * margin, width + 2 * margin
    area = (tall + 2 * reach) * (wide + 2 * reach) / (480 * 640 * unit**2)
    most = math.ceil(layer.count * area)
    draws = torch.rand((most, 4 + 2 * clumps), generator=gen, dtype=torch.float64)[: round(most * strength)]
    count = len(draws)
    if not count:
        return torch.zeros(height, width), 0
    y = draws[:, 0] * (tall + 2 * reach) - reach
    x = draws[:, 1] * (wide + 2 * reach) - reach
    slope = torch.deg2rad(angle + spread * (2 * draws[:, 2] - 1))
    path = layer.path * unit * (0.6 + 0.8 * draws[:, 3])
    offsets = sigma * 2.2 * (draws[:, 4:].view(count, clumps, 2) - 0.5) * (clumps > 1)  # (particles, clumps, 2)
    steps = max(2, math.ceil(1.4 * reach / max(0.5, sigma)))
    time = torch.linspace(-0.5, 0.5, steps, dtype=torch.float64) * path[:, None]  # (particles, steps)
    rows = (y[:, None] + time * slope.cos()[:, None])[:, :, None] + offsets[:, None, :, 0]
    columns = (x[:, None] + time * slope.sin()[:, None])[:, :, None] + offsets[:, None, :, 1]
    # a line of points a pixel apart, blurred by sigma, peaks at 1 / (sqrt(2 pi) sigma); a single one at its square
    spacing = path / (steps - 1)
    width_of_spread = math.sqrt(2 * math.pi) * sigma
    weight = width_of_spread**2 / torch.maximum(width_of_spread / spacing, torch.ones_like(spacing)).clamp_max(steps)
    density = -math.log(1 - layer.opacity) * (0.4 + 0.6 * strength) / clumps**0.5
    density *= min(1.0, layer.radius * unit / sigma) ** (
        1 if clumps == 1 else 2
    )  # what is thinner than a pixel hides less of it
    canvas = _splat(rows.flatten(), columns.flatten(), (density * weight).repeat_interleave(steps * clumps), tall, wide)
    return 1 - torch.exp(-separable(canvas[None], taps)[0]), count


def _splat(rows: Tensor, columns: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """Points onto the four pixels around each: (H, W); those outside are left out."""
    canvas = torch.zeros(height * width, dtype=torch.float64)
    top, left = rows.floor(), columns.floor()
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = top.long() + dy, left.long() + dx
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            share = weight * (1 - (rows - y).abs()) * (1 - (columns - x).abs())
            canvas += torch.bincount((y * width + x)[inside], share[inside], height * width)
    return canvas.view(height, width).float()


def veil(light: Tensor, depth: Tensor, beta: float, airlight: float) -> Tensor:
    """Light (C, H, W) behind haze of an airlight, by depth (H, W)."""
    clear = torch.exp(-beta * depth)
    return light * clear + airlight * (1 - clear)


def depth_of(image: Tensor, depth: Tensor | None, gen: Generator) -> Tensor:
    """The depth that was given, or a plausible one; FusionError for another size than the image's."""
    if depth is None:
        return plausible_depth(image.shape[-2], image.shape[-1], gen).to(image)
    if depth.shape != image.shape[-2:]:
        raise FusionError(f"the depth map is {tuple(depth.shape)}, the image {tuple(image.shape[-2:])}; give one size")
    return depth.to(image).clamp(0, 1)
