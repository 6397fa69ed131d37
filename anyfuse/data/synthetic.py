"""Focus stacks and exposure brackets made from one sharp image, so that the truth is known.

All functions take a `torch.Generator` and are deterministic given its state. Images are luma (H, W) in [0, 1].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..image.random import integer, smooth_field, uniform


def random_depth(height: int, width: int, layers: int, gen: Generator) -> Tensor:
    """Depth map (H, W) of integers 0 (nearest) .. layers - 1, every layer of a similar area."""
    kind = integer(0, 3, gen)
    rows = torch.linspace(-1, 1, height)[:, None].expand(height, width)
    cols = torch.linspace(-1, 1, width)[None, :].expand(height, width)
    if kind == 0:  # a plane that recedes, with bumps
        angle = uniform(0, 2 * math.pi, gen)
        field = math.cos(angle) * rows + math.sin(angle) * cols
        field = field + uniform(0, 0.4, gen) * smooth_field(height, width, uniform(16, 64, gen), gen)
    elif kind == 1:  # blobs
        field = smooth_field(height, width, uniform(20, 80, gen), gen)
    elif kind == 2:  # thin structures
        field = smooth_field(height, width, uniform(8, 30, gen), gen).abs()
    else:  # an object with a sharp outline in front of something
        angle, aspect = uniform(0, math.pi, gen), uniform(0.4, 1.0, gen)
        y, x = rows - uniform(-0.5, 0.5, gen), cols - uniform(-0.5, 0.5, gen)
        u, v = math.cos(angle) * x + math.sin(angle) * y, (math.cos(angle) * y - math.sin(angle) * x) / aspect
        power = (1.0, 2.0, 8.0)[integer(0, 2, gen)]
        field = (u.abs() ** power + v.abs() ** power) ** (1 / power)
        field = field + 0.05 * smooth_field(height, width, uniform(6, 30, gen), gen)
    cuts = torch.linspace(0, 1, layers + 1)[1:-1] + (torch.rand(layers - 1, generator=gen) - 0.5) * 0.5 / layers
    thresholds = torch.quantile(field.flatten()[:: max(1, field.numel() // 4096)], cuts)
    return torch.bucketize(field, thresholds)


def defocus_kernel(radius: float, gaussian: bool) -> Tensor:
    """Point spread function, odd square, sums to 1: an anti-aliased disc of `radius` pixels, or a Gaussian as wide."""
    size = math.ceil(radius * (1.5 if gaussian else 1)) + 1
    axis = torch.arange(-size, size + 1, dtype=torch.float32)
    distance = (axis[:, None] ** 2 + axis[None, :] ** 2).sqrt()
    if gaussian:
        kernel = torch.exp(-0.5 * (distance / max(radius / 2, 1e-3)) ** 2)
    else:
        kernel = (radius + 0.5 - distance).clamp(0, 1)
    return kernel / kernel.sum()


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """(K, H, W) with one kernel for all, borders reflected (replicated where the image is too small for that)."""
    r = kernel.shape[-1] // 2
    mode = "reflect" if min(x.shape[-2:]) > r else "replicate"
    padded = F.pad(x[:, None], (r, r, r, r), mode=mode)
    return F.conv2d(padded, kernel[None, None])[:, 0]


def focus_stack(sharp: Tensor, n: int, gen: Generator) -> Tensor:
    """The images (n, H, W) of `focus_scene`."""
    return focus_scene(sharp, n, gen)[0]


def focus_scene(sharp: Tensor, n: int, gen: Generator, largest: float = 0.0) -> tuple[Tensor, Tensor]:
    """(H, W) -> images (n, H, W) of a scene in `n` depth layers, image k focused on layer k, and each pixel's layer (H,
    W).

    Layers are blurred with their own alpha and composited back to front, so that a blurred foreground bleeds over what
    is behind it and a sharp foreground hides it, as a lens does. What a layer hides is filled in from around. Truth:
    `sharp`. largest: where it is above 6, half of the scenes have a blur from 4 to that many pixels, in place of 0.8 to
    6.
    """
    height, width = sharp.shape
    depth = random_depth(height, width, n, gen)
    gaussian = uniform(0, 1, gen) < 0.3
    spread = uniform(0.8, 6.0, gen)
    if largest > 6.0 and uniform(0, 1, gen) < 0.5:
        spread = 4.0 * (largest / 4.0) ** uniform(0, 1, gen)
    spread = spread / max(1, (n - 1) ** 0.5)
    soft = defocus_kernel(0.7, True)
    alphas, contents = [], []
    fill_kernel = defocus_kernel(6.0, True)
    for layer in range(n):
        own = convolve((depth == layer).float()[None], soft)[0]
        near = convolve((depth <= layer).float()[None], soft)[0] if layer < n - 1 else torch.ones_like(sharp)
        around = convolve(torch.stack([sharp * own, own]), fill_kernel)  # (2, H, W): sum of values, and of weights
        fill = around[0] / around[1].clamp_min(1e-3)
        known = (around[1] > 1e-2).float()
        fill = fill * known + sharp * (1 - known)
        alphas.append(near)
        contents.append(own * sharp + (1 - own) * fill)
    images = []
    for focus in range(n):
        image = torch.zeros_like(sharp)
        for layer in reversed(range(n)):
            colour = torch.stack([contents[layer] * alphas[layer], alphas[layer]])
            if layer != focus:
                colour = convolve(colour, defocus_kernel(spread * abs(layer - focus), gaussian))
            image = colour[0] + (1 - colour[1]) * image
        images.append(image)
    return torch.stack(images).clamp(0, 1), depth


def exposure_stack(sharp: Tensor, n: int, gen: Generator) -> tuple[Tensor, Tensor]:
    """(H, W) -> observed and clean exposures, both (n, H, W), darkest first or last at random.

    A scene with a wide range of light is made of the image (sRGB decoded, lit unevenly, with sharp edges of shadow at
    times), exposed `n` times, clipped, given sensor noise in linear light, a camera curve and 8 bits. The clean ones
    lack noise and rounding.
    """
    height, width = sharp.shape
    light = uniform(0.0, 2.0, gen) * smooth_field(height, width, uniform(40, 120, gen), gen)
    if uniform(0, 1, gen) < 0.5:
        shade = convolve((random_depth(height, width, 2, gen) == 0).float()[None], defocus_kernel(1.0, True))[0]
        light = light + uniform(-4, 4, gen) * shade
    radiance = sharp.clamp(0, 1) ** 2.2 * torch.exp2(light)
    centre = torch.quantile(radiance.flatten()[:: max(1, radiance.numel() // 4096)], 0.5).clamp_min(1e-3)
    span = uniform(2.0, 6.0, gen)
    stops = torch.linspace(-span / 2, span / 2, n) + uniform(-1.0, 1.0, gen)
    exposed = radiance[None] * (0.2 / centre) * torch.exp2(stops)[:, None, None]
    clean = exposed.clamp(0, 1)
    read, shot = uniform(0, 0.004, gen), uniform(0, 0.012, gen)
    noise = torch.randn(exposed.shape, generator=gen) * (read**2 + shot**2 * clean).sqrt()
    gamma = 1 / uniform(1.8, 2.6, gen)
    toe = uniform(0, 0.4, gen)

    def curve(x: Tensor) -> Tensor:
        y = x.clamp_min(1e-8) ** gamma
        return (1 - toe) * y + toe * y * y * (3 - 2 * y)

    observed = (curve((exposed + noise).clamp(0, 1)) * 255).round() / 255
    clean = curve(clean)
    if uniform(0, 1, gen) < 0.5:
        observed, clean = observed.flip(0), clean.flip(0)
    return observed, clean
