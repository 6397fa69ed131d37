"""QP: are the features (edges, lines, corners of any contrast) of the sources in the fused image?

Features are phase congruency and its moments after Kovesi (1999, 2003): 4 scales, 6 orientations of log-Gabor filters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..native import Kernels, kernels
from ..native import metrics as compiled
from .shared import Shared, gaussian_taps, separable

SCALES, ORIENTATIONS = 4, 6
WAVELENGTH, FACTOR = 3.0, 2.1
BANDWIDTH, SPREAD = 0.55, math.pi / ORIENTATIONS / 1.2
NOISE_K, NOISE_DIVISOR = 2.0, 1.7
CUTOFF, GAIN, EPS = 0.5, 10.0, 1e-4
THRESHOLD, STABILISER = 0.1, 1e-4


def _radius(size: tuple[int, int], odd_divisor: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Radial frequency (H, W), centred, with its axes y (H, 1) and x (1, W); odd sides n are divided by n -
    odd_divisor.
    """
    axes = []
    for n in size:
        index = torch.arange(n, dtype=torch.float64, device=device) - n // 2
        axes.append(index / (n if n % 2 == 0 else max(n - odd_divisor, 1)))
    y, x = axes[0][:, None], axes[1][None]
    return torch.sqrt(x * x + y * y), y, x


def _filters(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Log-Gabor radial parts (S, H, W) and angular parts (O, H, W), zero frequency first."""
    # the original's low-pass has other axes for odd sizes, and is shifted with fftshift where the rest has ifftshift
    low_pass = torch.fft.fftshift(1 / (1 + (_radius(size, 0, device)[0] / 0.45) ** 30))
    radius, y, x = _radius(size, 1, device)
    angle = torch.fft.ifftshift(torch.atan2(-y, x.expand_as(radius)))
    radius = torch.fft.ifftshift(radius)
    radius[0, 0] = 1
    log_radius = radius.log()
    centres = [-math.log(WAVELENGTH * FACTOR**scale) for scale in range(SCALES)]
    radial = torch.stack([torch.exp((log_radius - c) ** 2 / (-2 * math.log(BANDWIDTH) ** 2)) for c in centres])
    radial *= low_pass
    radial[:, 0, 0] = 0
    parts = []
    for k in range(ORIENTATIONS):
        turn = (angle - k * math.pi / ORIENTATIONS).abs()
        turn = torch.minimum(turn, 2 * math.pi - turn)
        parts.append(torch.exp(turn * turn / (-2 * SPREAD * SPREAD)))
    return radial, torch.stack(parts)


def _mirrored(f: Tensor) -> Tensor:
    """f at the opposite frequency."""
    return torch.roll(f.flip(-2, -1), (1, 1), (-2, -1))


def _median(x: Tensor) -> Tensor:
    """Median with the mean of the two middle values for an even count."""
    x = x.flatten()
    lower = x.median()
    if x.numel() % 2 or int((x <= lower).sum()) > x.numel() // 2:
        return lower
    return (lower + x[x > lower].min()) / 2


def phase_congruency(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Phase congruency and its largest and smallest moment (edges, corners) of images (B, H, W), each (B, H, W)
    float64.
    """
    images = images.double()
    height, width = images.shape[-2], images.shape[-1]
    half = width // 2 + 1
    radial, angular = _filters((height, width), images.device)
    radial_back, angular_back = _mirrored(radial)[..., :half], _mirrored(angular)[..., :half]
    radial, angular = radial[..., :half], angular[..., :half]
    inner = torch.full((half,), 2.0, dtype=torch.float64, device=images.device)  # columns that stand for two
    inner[0] = 1
    if width % 2 == 0:
        inner[-1] = 1
    spectra = torch.fft.rfft2(images)
    found = kernels() if images.device.type == "cpu" else None
    # buffers that are used again: fresh ones would cost more in page faults than the arithmetic
    products = spectra.new_empty(2, height, half)
    columns = torch.empty_like(products[0])
    real, imag = (images.new_empty(SCALES, height, width) for _ in range(2))
    sums = images.new_zeros(len(images), 5, height, width)  # energy, amplitude, moments
    for k in range(ORIENTATIONS):
        # the even part of a filter gives the real part of the response, the odd part the imaginary part
        forth, back = radial * angular[k], radial_back * angular_back[k]
        even, odd = (forth + back) / 2, (forth - back) / 2
        power = (forth[0] ** 2).sum() + (back[0] ** 2 * (inner - 1)).sum()
        inners = (even * inner).flatten(1) @ even.flatten(1).T  # spatial inner products of the filters, by Parseval
        noise_gain = 2 * inners.trace() + 4 * inners.triu(1).sum()
        cos, sin = math.cos(k * math.pi / ORIENTATIONS), math.sin(k * math.pi / ORIENTATIONS)
        for spectrum, total in zip(spectra, sums, strict=True):
            for scale in range(SCALES):
                _filtered(found, spectrum, even[scale], odd[scale], products)
                for product, response in zip(products, (real, imag), strict=True):
                    torch.fft.ifft(product, dim=-2, out=columns)
                    torch.fft.irfft(columns, n=width, dim=-1, out=response[scale])
            noise = _median(torch.addcmul(real[0] * real[0], imag[0], imag[0])) / math.log(2) / power * noise_gain
            tau = torch.sqrt(noise / 2)
            threshold = tau * (math.sqrt(math.pi / 2) + NOISE_K * math.sqrt(2 - math.pi / 2)) / NOISE_DIVISOR
            if found is None:
                _add_energy(real, imag, threshold, (cos, sin), total)
            else:
                compiled.phase_energy(found, real, imag, [float(threshold), CUTOFF, GAIN, EPS, cos, sin], total)
    energy_sum, amplitude_sum, xx, yy, xy = sums.unbind(1)
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    length = torch.sqrt(xy * xy + (xx - yy) ** 2) + EPS
    return energy_sum / (amplitude_sum + EPS), (xx + yy + length) / 2, (xx + yy - length) / 2


def _filtered(found: Kernels | None, spectrum: Tensor, even: Tensor, odd: Tensor, products: Tensor) -> None:
    """A spectrum (H, W) through the even and the odd part (H, W) of a filter, the latter a quarter back: products
    (2, H, W).
    """
    if found is None:
        torch.mul(spectrum, even, out=products[0])
        torch.mul(spectrum * -1j, odd, out=products[1])
    else:
        compiled.phase_filter(found, spectrum, even, odd, products[0], products[1])


def _add_energy(real: Tensor, imag: Tensor, threshold: Tensor, way: tuple[float, float], sums: Tensor) -> None:
    """Adds what one orientation gives to sums (5, H, W): energy, amplitude, and the moments xx, yy and xy.

    real, imag: responses of the scales (S, H, W). way: cosine and sine of the orientation.
    """
    cos, sin = way
    amplitude = torch.addcmul(real * real, imag, imag).sqrt_()
    total = amplitude.sum(0)
    even_sum, odd_sum = real.sum(0), imag.sum(0)
    square = torch.addcmul(odd_sum * odd_sum, even_sum, even_sum)
    length = square.sqrt() + EPS
    even_sum, odd_sum = even_sum.div_(length), odd_sum.div_(length)
    energy = square.div_(length)
    energy -= (real * odd_sum).addcmul_(imag, even_sum, value=-1).abs_().sum(0)
    energy = energy.sub_(threshold).clamp_min_(0)
    spread = total / amplitude.amax(0).add_(EPS).mul_(SCALES)
    energy /= spread.sub_(CUTOFF).mul_(-GAIN).exp_().add_(1)
    sums[0] += energy
    sums[1] += total
    square = energy.div_(total).square_()
    for moment, share in zip(sums[2:], (cos * cos, sin * sin, cos * sin), strict=True):
        moment.add_(square, alpha=share)


_TAPS = gaussian_taps(11, 1.5)


def _local(x: Tensor) -> Tensor:
    found = kernels() if x.device.type == "cpu" else None
    if found is not None:
        return compiled.smooth(found, x, torch.tensor(_TAPS, dtype=torch.float64))
    return separable(x, _TAPS, _TAPS, "zeros")


def _agreement(fused: Tensor, candidates: Tensor) -> Tensor:
    """Local correlation of the fused feature map (B, H, W) with each candidate (B, K, H, W)."""
    mean_f, mean_c = _local(fused), _local(candidates)
    std_f = (_local(fused * fused) - mean_f * mean_f).abs().sqrt()
    std_c = (_local(candidates * candidates) - mean_c * mean_c).abs().sqrt()
    cov = _local(candidates * fused[:, None]) - mean_c * mean_f[:, None]
    return (cov + STABILISER) / (std_c * std_f[:, None] + STABILISER)


def _strongest(maps: Tensor) -> Tensor:
    """(B, N, H, W) -> which of N is largest at each pixel, of equal ones the last, (B, 1, H, W)."""
    most, index = maps[:, :1], torch.zeros_like(maps[:, :1], dtype=torch.int64)
    for k in range(1, maps.shape[1]):
        own = maps[:, k : k + 1]
        index = torch.where(own >= most, k, index)
        most = torch.maximum(own, most)
    return index


def qp(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Zhao, Laganiere and Liu's metric (2007; MEFB Qp, LIU metricZhao): product over phase congruency and its two
    moments of the best local correlation of the fused map with a source's map or with the stronger of them, where a
    source has congruency above .1.

    Range 0..1, higher is better. float64, not differentiable (thresholds): no gradient flows. N sources: the best of N,
    and of the map that takes at each pixel the source of the largest congruency. NaN if no source has features.
    """
    s = Shared.of(fused, sources, shared)
    batch, count = s.images.shape[:2]
    maps = s.once("congruency", lambda: phase_congruency(s.images.detach().nan_to_num(0.0).flatten(0, 1)))
    congruency, largest, smallest = (m.unflatten(0, (batch, count)) for m in maps)
    mask = (congruency[:, 1:] > THRESHOLD).double()
    anywhere = mask.amax(1)
    strongest = _strongest(congruency[:, 1:] * mask)
    everywhere = torch.cat([mask, anywhere[:, None]], 1)
    product = torch.ones_like(anywhere[:, 0, 0])
    for feature in (congruency, largest, smallest):
        source = feature[:, 1:] * mask
        candidates = torch.cat([source, source.gather(1, strongest)], 1)
        best = (_agreement(feature[:, 0], candidates) * everywhere).amax(1)
        product = product * best.sum((-2, -1)) / anywhere.sum((-2, -1))
    return s.keep_nan(product)
