"""Degradations of images by NumPy, SciPy and Pillow alone, from the physics and from what cameras do.

They share nothing with `anyfuse.degradation`, so that a model trained on those can be tested on these. An image is
(H, W) or (H, W, 3) float64 in [0, 1], in the coding of sRGB. A strength is 0 to 1 and grows with the harm. Light is
added, scaled and spread in linear light, as it is in the air, in the lens and on the sensor.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage, signal

Array = np.ndarray


def to_linear(coded: Array) -> Array:
    """Light that the sRGB values stand for, [0, 1]."""
    return np.where(coded <= 0.04045, coded / 12.92, ((np.maximum(coded, 0.04045) + 0.055) / 1.055) ** 2.4)


def to_coded(light: Array) -> Array:
    """sRGB values of light; light above 1 is clipped, as a sensor clips it."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def over_channels(plane: Array, image: Array) -> Array:
    """A plane (H, W) in the shape of the image, to be multiplied with it."""
    return plane[..., None] if image.ndim == 3 else plane


def spread(image: Array, kernel: Array) -> Array:
    """The light of an image spread by a kernel with sum 1; beyond the border the image is mirrored."""
    y, x = kernel.shape[0] // 2, kernel.shape[1] // 2
    edges = [(y, y), (x, x)] + [(0, 0)] * (image.ndim - 2)
    padded = np.pad(to_linear(image), edges, mode="reflect")
    return to_coded(signal.fftconvolve(padded, over_channels(kernel, image), mode="valid", axes=(0, 1)))


# ---------------------------------------------------------------------- air


def haze(image: Array, strength: float, rng: np.random.Generator, depth: bool = False) -> Array:
    """Koschmieder's law: light is scattered away, airlight comes in. With `depth` a scene with ground and horizon."""
    path = made_up_depth(image.shape[:2], rng) * 2.2 if depth else np.full(image.shape[:2], 1.1)
    passed = over_channels(np.exp(-strength * path), image)
    air = 0.78 * (np.array([0.97, 1.0, 1.04]) if image.ndim == 3 else 1.0)
    return to_coded(to_linear(image) * passed + air * (1 - passed))


def made_up_depth(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Distance of each pixel, 0 to 1: ground to a horizon, and things that stand on it."""
    height, width = shape
    rows = np.arange(height)[:, None] / height
    horizon = rng.uniform(0.3, 0.5)
    ground = np.clip(0.06 / np.maximum(rows - horizon, 0.06), 0, 1) * np.ones((1, width))
    things = ndimage.gaussian_filter(rng.standard_normal(shape), width / 14)
    return ground * (0.7 + 0.3 * np.tanh(2 * things / things.std()))


def rain(
    image: Array, strength: float, rng: np.random.Generator, veil: bool = False, angle: float = 10, length: float = 20
) -> Array:
    """Streaks of drops that fall while the shutter is open, near and far. angle: from the vertical, degrees."""
    height, width = image.shape[:2]
    layer = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(layer)
    most = int(0.025 * height * width)
    x, y = rng.uniform(-0.1, 1.1, most) * 2 * width, rng.uniform(-0.2, 1.1, most) * 2 * height
    near, tilt = rng.beta(1.2, 3, most), np.deg2rad(angle + rng.normal(0, 2, most))
    extent = 2 * length * (0.35 + 1.3 * near)
    bright = rng.uniform(110, 255, most) * (0.6 + 0.4 * near)
    for k in range(int(most * strength)):
        end = (x[k] + extent[k] * np.sin(tilt[k]), y[k] + extent[k] * np.cos(tilt[k]))
        draw.line([(x[k], y[k]), end], fill=int(bright[k]), width=1 + int(2.2 * near[k]))
    streaks = np.asarray(layer.resize((width, height), Image.Resampling.BOX), np.float64) / 255
    if veil:  # drops too far away to be seen one by one
        image = haze(ndimage.gaussian_filter(image, _sigmas(image, 0.6 * strength)), 0.6 * strength, rng)
    sky = np.clip(ndimage.gaussian_filter(image, _sigmas(image, 25)) + 0.4, 0, 0.97)  # a drop shows the sky around
    seen = over_channels(ndimage.gaussian_filter(streaks, 0.5), image)
    return image + seen * np.maximum(sky - image, 0)


def snow(image: Array, strength: float, rng: np.random.Generator, angle: float = 15, fall: float = 3) -> Array:
    """Flakes of several sizes, which move a little while the shutter is open, and a thin veil."""
    shape = image.shape[:2]
    cover = np.zeros(shape)
    for radius, share, light in ((0.7, 0.016, 0.6), (1.2, 0.006, 0.8), (2.2, 0.0014, 0.9), (4.0, 0.00025, 0.75)):
        seeds = rng.random(shape) < share * strength
        kernel = signal.fftconvolve(_disc(radius), _line(fall * radius / 1.5, 90 - angle))
        cover = np.maximum(cover, light * np.clip(signal.fftconvolve(seeds, kernel / kernel.max(), "same"), 0, 1))
    veiled = haze(image, 0.25 * strength, rng)
    cover = over_channels(ndimage.gaussian_filter(cover, 0.4), image)
    return veiled + cover * np.maximum(0.96 - veiled, 0)


# ---------------------------------------------------------------------- lens and motion


def _sigmas(image: Array, sigma: float) -> tuple[float, ...]:
    """Of a Gaussian over rows and columns, not over channels."""
    return (sigma, sigma, 0)[: image.ndim]


def _disc(radius: float) -> Array:
    """Kernel of a round aperture, with an edge one pixel wide."""
    reach = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)
    return kernel / kernel.sum()


def _trace(y: Array, x: Array) -> Array:
    """Kernel of a point that moves along a path evenly in time; its centre of mass stays in the middle."""
    y, x = y - y.mean(), x - x.mean()
    reach = int(np.ceil(max(np.abs(y).max(), np.abs(x).max()))) + 1
    edges = np.arange(-reach - 0.5, reach + 1)
    kernel = np.histogram2d(y, x, bins=(edges, edges))[0]
    kernel = ndimage.gaussian_filter(kernel, 0.35)
    return kernel / kernel.sum()


def _line(length: float, angle: float) -> Array:
    """Kernel of a straight motion. angle: from the horizontal, degrees."""
    way = np.linspace(0, length, 400)
    return _trace(-way * np.sin(np.deg2rad(angle)), way * np.cos(np.deg2rad(angle)))


def motion_blur(
    image: Array, strength: float, rng: np.random.Generator, angle: float = 0, curved: bool = False
) -> Array:
    """A camera that moves while the shutter is open: straight, or along the path of an unsteady hand."""
    length = 1 + 17 * strength
    if not curved:
        return spread(image, _line(length, angle))
    steps = ndimage.gaussian_filter1d(rng.standard_normal((2, 600)), 60, axis=1)
    path = np.cumsum(steps + 0.6 * steps.std() * np.array([[np.sin(angle)], [np.cos(angle)]]), axis=1)
    path -= path.mean(1, keepdims=True)
    path *= length / np.ptp(path, axis=1).max()
    return spread(image, _trace(*path))


def defocus(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """A lens that is focused elsewhere: each point becomes the disc of the aperture."""
    return spread(image, _disc(0.5 + 5 * strength))


def blur(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """A soft lens: a Gaussian."""
    return ndimage.gaussian_filter(image, _sigmas(image, 0.3 + 3.2 * strength), mode="reflect")


def low_resolution(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """A small image that was made large again."""
    picture, factor = to_picture(image), 1 + 3 * strength
    size = tuple(max(1, round(n / factor)) for n in picture.size)
    small = picture.resize(size, Image.Resampling.BOX)
    return from_picture(small.resize(picture.size, Image.Resampling.BICUBIC))


# ---------------------------------------------------------------------- exposure and sensor


def low_exposure(image: Array, strength: float, rng: np.random.Generator, noisy: bool = False) -> Array:
    """Half a stop to three and a half stops too little light; `noisy`: few photons and the noise of read-out."""
    stops = 0.5 + 3 * strength
    light = to_linear(image) * 2.0**-stops
    if noisy:
        light = counted(light, 3000, 4, rng)
    return to_coded(light)


def high_exposure(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """Up to two and a half stops too much light; what is too bright is lost."""
    return to_coded(to_linear(image) * 2.0 ** (2.5 * strength))


def counted(light: Array, white: float, read: float, rng: np.random.Generator) -> Array:
    """Light as a sensor counts it: photons by Poisson's law and noise of read-out. white: electrons at light 1."""
    return (rng.poisson(light * white) + rng.normal(0, read, light.shape)) / white


def sensor_noise(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """A short exposure in the dark at high gain: few photons, and up to one stop too dark."""
    return to_coded(counted(to_linear(image), 2000 * 2.0 ** (-4 * strength), 3, rng) * 2.0**-strength)


def noise(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """Gaussian noise with a standard deviation of up to 50 of 255 levels."""
    return image + rng.normal(0, 50 / 255, image.shape) * strength


def low_contrast(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """All values nearer to their mean, down to a fifth of their distance."""
    return image.mean() + (image - image.mean()) * (1 - 0.8 * strength)


def stripes(image: Array, strength: float, rng: np.random.Generator, rows: bool = False) -> Array:
    """Column amplifiers (or row amplifiers) with offsets and gains of their own."""
    count = image.shape[0 if rows else 1]
    gain, offset = rng.normal(0, 0.06, count), rng.normal(0, 0.07, count)
    lines = (lambda v: v[:, None]) if rows else (lambda v: v[None, :])
    plane = np.broadcast_to(lines(offset), image.shape[:2]), np.broadcast_to(lines(gain), image.shape[:2])
    return image * (1 + strength * over_channels(plane[1], image)) + strength * over_channels(plane[0], image)


def banding(image: Array, strength: float, rng: np.random.Generator, rows: bool = True) -> Array:
    """Slow waves of brightness across the image, as from lamps and from unstable supplies."""
    count = image.shape[0 if rows else 1]
    where = np.arange(count) / count
    wave = sum(a * np.sin(2 * np.pi * (f * where + p)) for a, f, p in zip(*_waves(rng), strict=True))
    plane = np.broadcast_to(wave[:, None] if rows else wave[None, :], image.shape[:2])
    return image + 0.12 * strength * over_channels(plane, image)


def _waves(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Amplitudes, waves over the image, and phases."""
    return np.array([1, 0.6, 0.4]), rng.uniform((2, 5, 9), (5, 9, 14)), rng.uniform(0, 1, 3)


def dead_pixels(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """Up to two of a hundred pixels are stuck: most of them dead or hot, some half alive; some are pairs."""
    shape = image.shape[:2]
    order, level = rng.permutation(shape[0] * shape[1]), rng.choice([0.0, 0.0, 1.0, 1.0, 0.5], shape[0] * shape[1])
    count = int(0.02 * strength * order.size / 1.25)
    out = image.copy()
    for places in (order[:count], np.minimum(order[: count // 4] + 1, order.size - 1)):  # a quarter are pairs
        y, x = np.unravel_index(places, shape)
        values = level[order[: len(places)]]
        out[y, x] = over_channels(values, image[y, x][:, None]) if image.ndim == 3 else values
    return out


def jpeg(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """JPEG by Pillow, with quality 60 down to 10."""
    file = io.BytesIO()
    to_picture(image).save(file, "JPEG", quality=round(60 - 50 * strength))
    with Image.open(file) as picture:
        return from_picture(picture)


# ---------------------------------------------------------------------- all of them

AIR = (haze, rain, snow)
LENS = (motion_blur, defocus, blur, low_resolution)
SENSOR = (low_exposure, high_exposure, sensor_noise, noise, low_contrast, stripes, banding, dead_pixels, jpeg)
OPERATIONS: dict[str, Callable[..., Array]] = {f.__name__: f for f in (*AIR, *LENS, *SENSOR)}


def from_picture(picture: Image.Image) -> Array:
    """A grey or RGB picture as floats."""
    return np.asarray(picture, np.float64) / 255


def to_picture(image: Array) -> Image.Image:
    """Floats as a picture of 8 bits."""
    return Image.fromarray(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8))


def degrade(image: Array, steps: list[dict[str, Any]], shot: int = 0) -> Array:
    """One source with all of its degradations, in their order.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        steps: `op`, `strength`, `seed` and, where the operation has some, `options`.
        shot: which source it is. Haze has one depth for all shots of a scene; all else is drawn anew for each.

    Returns:
        The shape of the image, uint8. The same for the same arguments.
    """
    values = image.astype(np.float64) / 255
    for step in steps:
        rng = np.random.default_rng([step["seed"], 0 if step["op"] == "haze" else shot])
        values = OPERATIONS[step["op"]](values, step["strength"], rng, **step.get("options", {}))
        values = np.clip(values, 0, 1)
    return np.round(255 * values).astype(np.uint8)
