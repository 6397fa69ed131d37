"""The double-angle field of an image: where its edges run, whatever their sign and contrast.

    (gx^2 - gy^2, 2 gx gy) / (|g|^2 + eta^2),   eta^2 half the mean of |g|^2

An edge between cold and warm lies where one between dark and bright lies, and both have the same field, so images of
different sensors and exposures can be laid over each other by it. Correlated by Fourier transform it is the measure of
normalised gradient fields (Haber and Modersitzki 2006).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def field(luma: Tensor, valid: Tensor | None = None) -> Tensor:
    """Luma (H, W), and where it counts (H, W) in [0, 1] -> complex (H, W); 0 where it does not count."""
    smooth = _blur(luma[None, None])
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")[0, 0]
    gx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    gy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    if valid is not None:
        inside = -F.max_pool2d(-valid[None, None], 5, 1, 2)[0, 0]  # the edge of what counts is no edge of the scene
        gx, gy = gx * inside, gy * inside
    power = gx * gx + gy * gy
    counted = power.mean() if valid is None else power.sum() / valid.sum().clamp_min(1)
    return torch.complex(gx * gx - gy * gy, 2 * gx * gy) / (power + 0.5 * counted + 1e-12)


def _blur(x: Tensor) -> Tensor:
    """[1 4 6 4 1] / 16 along both axes."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(x, taps.view(1, 1, 1, 5)), taps.view(1, 1, 5, 1))


def agreement(a: Tensor, b: Tensor) -> float:
    """Normalised correlation of two fields of one size: 1 for the same, 0 for strangers."""
    both = (a.abs() > 0) & (b.abs() > 0)
    a, b = a * both, b * both
    size = (a.abs().square().sum() * b.abs().square().sum()).sqrt()
    return float((a * b.conj()).real.sum() / size.clamp_min(1e-12))


def best_shift(a: Tensor, b: Tensor, reach: int) -> tuple[float, float, float]:
    """The shift (x, y) of b's content against a's within `reach` pixels, and its score.

    a, b: fields of one size. The score is normalised by what overlaps, with a floor of a quarter of each energy, so
    that a small overlap does not win.
    """
    height, width = a.shape
    size = [height + reach, width + reach]
    fa, fb = torch.fft.fft2(a, size), torch.fft.fft2(b, size)
    cross = torch.fft.ifft2(fa.conj() * fb).real
    ea, eb = a.abs().square(), b.abs().square()
    ones = torch.ones_like(ea)
    mask = torch.fft.fft2(ones, size)
    in_b = torch.fft.ifft2(mask.conj() * torch.fft.fft2(eb, size)).real
    in_a = torch.fft.ifft2(torch.fft.fft2(ea, size).conj() * mask).real
    floor_a, floor_b = 0.25 * float(ea.sum()), 0.25 * float(eb.sum())
    score = cross / (in_a.clamp_min(floor_a) * in_b.clamp_min(floor_b)).sqrt().clamp_min(1e-12)
    reach_y, reach_x = min(reach, height - 1), min(reach, width - 1)
    rows = torch.cat([score[-reach_y:], score[: reach_y + 1]])
    part = torch.cat([rows[:, -reach_x:], rows[:, : reach_x + 1]], 1)
    row, col = divmod(int(part.argmax()), part.shape[1])
    return float(col - reach_x), float(row - reach_y), float(part[row, col])
