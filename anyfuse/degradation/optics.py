"""Degradations by lens, motion, resampling and codec. See `operation.operation` for what all of them take and
return.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from ..arrays import F, Generator, Tensor, torch
from ..errors import FusionError
from ..image.random import uniform
from .operation import Degraded, gaussian, mirror, operation, to_encoded, to_linear


@operation
def gaussian_blur(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Blur of linear light by a Gaussian; sigma = 3 s pixels."""
    sigma = 3 * strength
    return to_encoded(gaussian(to_linear(image), sigma)), {"sigma": sigma}


@operation
def motion_blur(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Mean of linear light along a smooth path that the camera's axis took; length = 21 s pixels.

    The heading turns with two slow sines and the speed varies by up to a half, so the path is an arc or a slight S.
    """
    length = 21 * strength
    angle = uniform(0, 2 * math.pi, gen)
    bend, wave, surge = (torch.randn(3, generator=gen, dtype=torch.float64) * torch.tensor([0.6, 0.4, 0.25])).tolist()
    time = torch.linspace(0, 1, max(9, 4 * math.ceil(length)) + 1, dtype=torch.float64)
    heading = angle + bend * (2 * time - 1) + wave * torch.sin(2 * math.pi * time)
    speed = 1 + max(-0.5, min(0.5, surge)) * torch.cos(2 * math.pi * time)
    step = length * speed / speed.mean() / (len(time) - 1)
    path = torch.stack([(step * heading.sin()).cumsum(0), (step * heading.cos()).cumsum(0)])  # (2, T) rows, columns
    kernel = path_kernel(path - path.mean(1, keepdim=True)).float()
    margin = kernel.shape[0] // 2
    height, width = image.shape[-2:]
    padded, result = mirror(to_linear(image), margin), torch.zeros_like(image)
    for y, x in kernel.nonzero().tolist():
        result += kernel[y, x].item() * padded[:, y : y + height, x : x + width]
    return to_encoded(result), {"length": length, "angle_degrees": round(math.degrees(angle), 1)}


def path_kernel(path: Tensor) -> Tensor:
    """Points (2, T) of rows and columns about the origin -> how long the path stays over each pixel: odd
    square, sum 1.
    """
    margin = math.ceil(float(path.abs().max())) + 1
    kernel = torch.zeros((2 * margin + 1) ** 2, dtype=path.dtype)
    base = path.floor()
    part = path - base
    y, x = (base + margin).long()
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (part[0] if dy else 1 - part[0]) * (part[1] if dx else 1 - part[1])
            kernel += torch.bincount((y + dy) * (2 * margin + 1) + x + dx, weight, len(kernel))
    return (kernel / path.shape[1]).view(2 * margin + 1, -1)


@operation
def downsample(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Mean over areas down, bicubic up, the size unchanged; factor = 1 + 3 s, each side at least one pixel."""
    factor = 1 + 3 * strength
    height, width = image.shape[-2:]
    small = max(1, round(height / factor)), max(1, round(width / factor))
    low = area_means(area_means(image, small[0]).transpose(1, 2), small[1]).transpose(1, 2)
    high = F.interpolate(low[None], (height, width), mode="bicubic", align_corners=False)[0]
    return high, {"factor": factor, "height": small[0], "width": small[1]}


def area_means(image: Tensor, count: int) -> Tensor:
    """(C, H, W) -> (C, count, W): means over `count` equal parts of the height, pixels at their ends shared by their
    share.
    """
    n = image.shape[1]
    sums = F.pad(image.double().cumsum(1), (0, 0, 1, 0))  # (C, H + 1, W)
    edge = torch.arange(count + 1, dtype=torch.float64, device=image.device) * (n / count)
    below = edge.floor().long().clamp_max(n - 1)
    part = (edge - below)[:, None]
    at = sums[:, below] * (1 - part) + sums[:, below + 1] * part
    return (at.diff(dim=1) * (count / n)).to(image.dtype)


@operation
def jpeg(image: Tensor, strength: float, gen: Generator) -> Degraded:
    """Through a JPEG file by Pillow, 8 bits, chroma at half size (4:2:0); quality = 95 - 75 s, rounded."""
    return through_jpeg(image, round(95 - 75 * strength))


def through_jpeg(image: Tensor, quality: int) -> Degraded:
    """Image (1 or 3, H, W) written with a quality from 1 to 95 and read again, and how many bytes it took."""
    if max(image.shape[-2:]) > 65535:
        raise FusionError(f"jpeg: {image.shape[-1]}x{image.shape[-2]} is over the codec's 65535 pixels a side; cut it")
    pixels = (image.clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()  # (H, W, C)
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(
        file, "JPEG", quality=quality, subsampling=2
    )
    decoded = np.array(Image.open(file), dtype=np.float32).reshape(pixels.shape)
    done = {"quality": quality, "bytes": len(file.getvalue())}
    return torch.from_numpy(decoded / 255).permute(2, 0, 1).to(image), done
