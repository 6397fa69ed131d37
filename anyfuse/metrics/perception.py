"""Metrics after models of human contrast vision: QCB (Chen and Blum 2009) and QCV (Chen and Varshney 2007)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shared import Shared, pad, separable, sobel


def stretched(images: Tensor, unit: bool = False) -> Tensor:
    """Each image as round(255 (x - min) / (max - min)), halves up; constant images of 0 stay, others are NaN.

    unit: the quotient is formed on x / 255 as im2double leaves it, which lets other halves fall below .5.
    """
    x = images / 255 if unit else images
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    result = ((x - low) / (high - low) * 255 + 0.5).floor()
    return torch.where((low == 0) & (high == 0), x, result)


def frequencies(length: int, device: torch.device) -> Tensor:
    """Frequencies of fft order in units of the Nyquist frequency, as freqspace(n) gives them: -1..1, (n,) float64."""
    return torch.fft.fftfreq(length, dtype=torch.float64, device=device) * 2


def radius(size: tuple[int, int], divisor: float, device: torch.device) -> Tensor:
    """Radial frequency (H, W // 2 + 1) with axes scaled by H / divisor and W / divisor, real-FFT layout."""
    v = frequencies(size[0], device) * (size[0] / divisor)
    u = frequencies(size[1], device)[: size[1] // 2 + 1] * (size[1] / divisor)
    return torch.sqrt(v[:, None] ** 2 + u[None] ** 2)


def _spectra(s: Shared, unit: bool) -> Tensor:
    """Real FFT of the stretched images."""
    return s.once(("spectra", unit), lambda: torch.fft.rfft2(_stretched(s, unit)))


def _stretched(s: Shared, unit: bool) -> Tensor:
    return s.once(("stretched", unit), lambda: stretched(s.images.detach(), unit))


def _qcb(s: Shared, unit: bool) -> Tensor:
    s = s.double()
    size, images = s.size, s.images
    r = radius(size, 30, images.device)
    sensitivity = torch.exp(-((r / 15.3870) ** 2)) - 0.7622 * torch.exp(-((r / 1.3456) ** 2))
    seen = torch.fft.irfft2(_spectra(s, unit) * sensitivity, s=size)
    blurred = []
    for sigma in (2.0, 4.0):
        taps = [math.exp(-k * k / (2 * sigma * sigma)) / (math.sqrt(2 * math.pi) * sigma) for k in range(-15, 16)]
        blurred.append(separable(seen, taps, taps, "zeros"))
    contrast = (blurred[0] / blurred[1] - 1).abs()
    masked = contrast**3 / (contrast**2 + 1e-4)
    m_fused, m_source = masked[:, :1], masked[:, 1:]
    kept = torch.where(m_source < m_fused, m_source / m_fused, m_fused / m_source)
    energy = m_source * m_source
    return (energy / energy.sum(1, keepdim=True) * kept).sum(1).mean((-2, -1))


def qcb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Chen and Blum's metric (2009; MEFB Qcb, LIU metricChenBlum): contrast preserved after a contrast-sensitivity
    filter and masking, weighted by the sources' squared contrast.

    Range 0..1, higher is better. float64, not differentiable (the images are stretched and rounded): no gradient flows.
    N sources: the same weights over N. NaN for a constant image.
    """
    return _qcb(Shared.of(fused, sources, shared), unit=True)


def qcb_vifb(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`qcb` as VIFB runs it, stretched without the detour over 0..1: up to 2.8e-4 relative from `qcb`.

    Not differentiable.
    """
    return _qcb(Shared.of(fused, sources, shared), unit=False)


def _blocks(x: Tensor) -> Tensor:
    """Sums over 16x16 blocks, the last ones filled with zeros."""
    rows, columns = -x.shape[-2] % 16, -x.shape[-1] % 16
    x = pad(x, (0, rows), (0, columns), "zeros")
    return x.unflatten(-1, (-1, 16)).sum(-1).unflatten(-2, (-1, 16)).sum(-2)


def qcv(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Chen and Varshney's metric (2007; VIFB, MEFB Qcv, LIU metricChen): CSF-filtered squared difference to each source
    in 16x16 blocks, weighted by the fifth power of the source's gradients.

    Range 0.., lower is better. float64, not differentiable (images stretched and rounded): no gradient
    flows. N sources: the same sums. NaN for a constant image.
    """
    s = Shared.of(fused, sources, shared).double()
    size = s.size
    images = _stretched(s, False)
    gx, gy = sobel(images[:, 1:], "zeros")
    square = gx * gx + gy * gy
    saliency = _blocks(square * square * square.sqrt())
    r = 0.144 * radius(size, 8, images.device)
    sensitivity = 2.6 * (0.0192 + r) * torch.exp(-(r**1.1))
    spectra = _spectra(s, False)
    difference = torch.fft.irfft2((spectra[:, 1:] - spectra[:, :1]) * sensitivity, s=size)
    distance = _blocks(difference * difference) / 256
    return (saliency * distance).sum((1, 2, 3)) / saliency.sum((1, 2, 3))
