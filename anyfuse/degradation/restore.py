"""Classical restoration: filters that undo one fault of an image each.

    noise             non-local means (Buades, Coll, Morel 2005), the deviation taken from the finest diagonal
                      differences (Donoho 1994)
    blur              Wiener deconvolution in linear light
    haze              dark-channel prior (He, Sun, Tang 2009), the transmission refined by the guided filter
    dull or dark      CLAHE (Zuiderveld 1994)
    dead pixels, stripes, fixed pattern
                      median where a pixel or column differs from its neighbours; columns shifted to their neighbours
    JPEG              the mean of what the same compression makes of shifted copies (Nosratinia 2001)

All functions take and give luma (H, W) float32 in [0, 1]. Origin: ours, after the papers. Licence: Apache-2.0.
"""

from __future__ import annotations

import math

from ..arrays import F, Tensor, torch
from ..image.filters import box, guided_filter
from .operation import gaussian_taps, mirror, to_encoded, to_linear
from .optics import jpeg

ALIASED = 6 / 255
"""Noise that deconvolution of a low resolution assumes at least, as it is no blur alone. Chosen on training images."""


def without_noise(image: Tensor) -> Tensor:
    """Non-local means, by the noise that the image has."""
    return non_local_means(image, noise_deviation(image))


def without_haze(image: Tensor) -> Tensor:
    """Dark-channel prior."""
    return dehaze(image, 0.95)


def without_rain(image: Tensor) -> Tensor:
    """Median across the streaks, and less of a veil than haze is."""
    return dehaze(median(image, 1, 7), 0.6)


def without_snow(image: Tensor) -> Tensor:
    """Median over flakes, and less of a veil than haze is."""
    return dehaze(median(image, 5, 5), 0.6)


def without_dead_pixels(image: Tensor) -> Tensor:
    """Median where a pixel differs from its neighbours by more than 0.1."""
    return without_outliers(image, median(image, 3, 3), 0.1)


def deblurred(image: Tensor, strength: float) -> Tensor:
    """Of a Gaussian blur of that strength."""
    return in_light(image, gaussian_kernel(3 * strength))


def deblur_downsampling(image: Tensor, factor: float) -> Tensor:
    """Of a resolution that was `factor` times lower."""
    return in_light(image, gaussian_kernel(0.3 * factor), ALIASED)


def adjust_exposure(image: Tensor, stops: float) -> Tensor:
    """Light times 2^stops."""
    return to_encoded(to_linear(image) * 2.0**stops)


def noise_deviation(image: Tensor) -> float:
    """Deviation of white noise, from the median of the finest diagonal differences."""
    if min(image.shape) < 2:
        return 0.0
    a = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    diagonal = (a[::2, ::2] - a[1::2, ::2] - a[::2, 1::2] + a[1::2, 1::2]) / 2
    return float(diagonal.abs().median()) / 0.6745


def non_local_means(image: Tensor, deviation: float, reach: int = 6, patch: int = 2, strength: float = 0.7) -> Tensor:
    """Each pixel by the mean of those within `reach` whose surroundings of 2 `patch` + 1 look alike, noise of
    `deviation` allowed for.
    """
    if deviation <= 0:
        return image
    h, w = image.shape
    side, wide = 2 * patch + 1, reach + patch
    padded = mirror(image[None], wide)[0]
    own = padded[reach : reach + h + 2 * patch, reach : reach + w + 2 * patch]
    total, weights, largest = torch.zeros_like(image), torch.zeros_like(image), torch.zeros_like(image)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy == dx == 0:
                continue
            other = padded[reach + dy : reach + dy + h + 2 * patch, reach + dx : reach + dx + w + 2 * patch]
            square = (own - other).square_()
            rows = square[:h]
            for k in range(1, side):
                rows = rows + square[k : k + h]
            far = rows[:, :w]
            for k in range(1, side):
                far = far + rows[:, k : k + w]
            weight = (
                far.div_(side**2).sub_(2 * deviation**2).clamp_min_(0).mul_(-1 / (strength * deviation) ** 2).exp_()
            )
            total += weight * other[patch : patch + h, patch : patch + w]
            weights += weight
            largest = torch.maximum(largest, weight)
    largest = largest.clamp_min(1e-6)  # where nothing is alike a pixel stays: quotients of smaller sums are noise
    return (total + largest * image) / (weights + largest)


def recompress(image: Tensor, strength: float) -> Tensor:
    """Mean over 16 shifts of the image, each compressed as it was, and shifted back."""
    h, w = image.shape
    padded, total = mirror(image[None], 8), torch.zeros_like(image)
    for y in range(0, 8, 2):
        for x in range(0, 8, 2):
            again, _ = jpeg(padded[:, y:, x:].contiguous(), strength, torch.Generator())
            total += again[0, 8 - y : 8 - y + h, 8 - x : 8 - x + w]
    return total / 16


def gaussian_kernel(sigma: float) -> Tensor:
    """Odd square that sums to 1."""
    taps = gaussian_taps(sigma)
    return taps[:, None] * taps


def line_kernel(length: float, degrees: float) -> Tensor:
    """A straight path of `length` pixels: odd square, sum 1. 0 degrees are to the right, 90 down, as in optics.py."""
    count = 8 * math.ceil(length) + 1
    along = torch.linspace(-length / 2, length / 2, count)
    angle = math.radians(degrees)
    rows, columns = along * math.sin(angle), along * math.cos(angle)
    r = math.ceil(length / 2) + 1
    kernel = torch.zeros(2 * r + 1, 2 * r + 1)
    y0, x0 = rows.floor(), columns.floor()
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - (rows - y0 - dy).abs()) * (1 - (columns - x0 - dx).abs())
            kernel.index_put_(((y0 + dy + r).long(), (x0 + dx + r).long()), weight, accumulate=True)
    return kernel / kernel.sum()


def in_light(image: Tensor, kernel: Tensor, least: float = 0.5 / 255) -> Tensor:
    """Wiener deconvolution of linear light; `least`: deviation of noise that is assumed at least."""
    light = to_linear(image)
    return to_encoded(wiener(light, kernel, max(noise_deviation(light), least)))


def wiener(image: Tensor, kernel: Tensor, noise: float) -> Tensor:
    """Deconvolution that trusts a frequency by its share of signal. noise: deviation, of white noise.

    The signal's power falls with the square of the frequency, as that of photographs does.
    """
    h, w = image.shape
    margin = min(32, h, w) if kernel.shape[0] <= 65 else kernel.shape[0]
    padded = mirror(image[None], margin)[0]
    tall, wide = padded.shape
    at = image.device
    edge = torch.sin(torch.linspace(0, math.pi / 2, margin, device=at)).square()
    window = [torch.cat([edge, torch.ones(n - 2 * margin, device=at), edge.flip(0)]) for n in (tall, wide)]
    mean = padded.mean()
    padded = (padded - mean) * window[0][:, None] * window[1]
    r = kernel.shape[0] // 2
    spread = torch.zeros(tall, wide, device=at)
    spread[: 2 * r + 1, : 2 * r + 1] = kernel.to(at)
    response = torch.fft.rfft2(spread.roll((-r, -r), (0, 1)))
    fy, fx = torch.fft.fftfreq(tall, device=at)[:, None], torch.fft.rfftfreq(wide, device=at)[None]
    power = float(image.var(correction=0)) * 0.02 / (fy.square() + fx.square() + 1e-4)
    ratio = noise**2 / power.clamp_min(1e-9)
    inverse = response.conj() / (response.abs().square() + ratio)
    out = torch.fft.irfft2(torch.fft.rfft2(padded) * inverse, s=(tall, wide)) + mean
    return out[margin : margin + h, margin : margin + w]


def dehaze(image: Tensor, strength: float, radius: int = 7) -> Tensor:
    """Dark-channel prior on luma: airlight from the haziest 0.1 %, transmission 1 - `strength` dark / airlight, at
    least 0.1.
    """
    dark = smallest(image, radius)
    count = max(1, image.numel() // 1000)
    airlight = float(image.flatten()[dark.flatten().topk(count).indices].mean().clamp_min(0.05))
    clear = 1 - strength * smallest(image / airlight, radius)
    clear = guided_filter(image[None, None], clear[None, None], 30, 1e-3)[0, 0].clamp(0.1, 1)
    return (image - airlight) / clear + airlight


def smallest(image: Tensor, radius: int) -> Tensor:
    """Smallest value within `radius` rows and columns."""
    for axis in (0, 1):
        pad = (0, 0, radius, radius) if axis == 0 else (radius, radius, 0, 0)
        image = F.pad(image, pad, value=math.inf).unfold(axis, 2 * radius + 1, 1).amin(-1)
    return image


def median(image: Tensor, height: int, width: int) -> Tensor:
    """Median in an odd window, mirrored at the borders."""
    r = max(height, width) // 2
    padded = mirror(image[None], r)[0]
    h, w = image.shape
    near = [
        padded[r + y : r + y + h, r + x : r + x + w]
        for y in range(-(height // 2), height // 2 + 1)
        for x in range(-(width // 2), width // 2 + 1)
    ]
    return torch.stack(near).median(0).values


def without_outliers(image: Tensor, near: Tensor, limit: float) -> Tensor:
    """`near` where the image is farther than `limit` from it."""
    return torch.where((image - near).abs() > limit, near, image)


def without_stripes(image: Tensor) -> Tensor:
    """Columns whose median departs from that of their neighbours by far more than usual are filled in from these."""
    near = median(image, 1, 9)
    line = (image - near).median(0).values
    usual = 1.4826 * float((line - line.median()).abs().median()) + 1e-3
    bad = ((line - line.median()).abs() > 6 * usual) & ((line - line.median()).abs() > 0.02)
    return torch.where(bad, near, image)


def correct_columns(image: Tensor) -> Tensor:
    """Each column less what its median of differences to the surrounding 17 columns is."""
    around = box(image[None, None], 8)[0, 0]
    line = (image - around).median(0).values
    return image - line


def clahe(image: Tensor, clip: float = 2.0, tiles: int = 8) -> Tensor:
    """Histogram equalisation of `tiles` x `tiles` parts, 256 levels, counts cut at `clip` times the mean and spread
    evenly; bilinear between.
    """
    h, w = image.shape
    tall, wide = math.ceil(h / tiles), math.ceil(w / tiles)
    extra = max(tall * tiles - h, wide * tiles - w)
    padded = mirror(image[None], extra)[0][extra : extra + tall * tiles, extra : extra + wide * tiles]
    levels = (padded * 255).round().long()
    parts = levels.view(tiles, tall, tiles, wide).permute(0, 2, 1, 3).reshape(tiles * tiles, -1)
    counts = torch.zeros(tiles * tiles, 256).scatter_add_(1, parts, torch.ones(parts.shape))
    limit = max(1.0, clip * tall * wide / 256)
    over = (counts - limit).clamp_min(0).sum(1, keepdim=True)
    curves = (counts.clamp_max(limit) + over / 256).cumsum(1) / (tall * wide)
    y = (torch.arange(h) + 0.5) / tall - 0.5
    x = (torch.arange(w) + 0.5) / wide - 0.5
    own = levels[:h, :w]
    out = torch.zeros(h, w)
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = y.floor() + dy, x.floor() + dx
            weight = (1 - (y - row).abs())[:, None] * (1 - (x - column).abs())
            place = row.clamp(0, tiles - 1).long()[:, None] * tiles + column.clamp(0, tiles - 1).long()
            out += weight * curves[place, own]
    return out
