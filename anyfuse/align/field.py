"""The double-angle field of an image: where its edges run, whatever their sign and contrast.

    (gx^2 - gy^2, 2 gx gy) / (|g|^2 + eta^2),   eta^2 half the mean of |g|^2

An edge between cold and warm lies where one between dark and bright lies, and both have the same field, so images of
different sensors and exposures can be laid over each other by it. Correlated by Fourier transform it is the measure of
normalised gradient fields (Haber and Modersitzki 2006).
"""

from __future__ import annotations

import math

from ..arrays import F, Tensor, torch
from .sampling import grid_sample
from .transform import bent_coordinates, coordinates


def field(luma: Tensor, valid: Tensor | None = None) -> Tensor:
    """Luma (H, W), and where it counts (H, W) in [0, 1] -> planes (2, H, W); 0 where it does not count."""
    padded = F.pad(luma[None, None], (3, 3, 3, 3), mode="replicate")[0, 0]
    smooth = _binomial(_binomial(padded).T).T
    gx = smooth[1:-1, 2:] - smooth[1:-1, :-2]
    gy = smooth[2:, 1:-1] - smooth[:-2, 1:-1]
    counted = float(luma.numel())
    if valid is not None:
        inside = -F.max_pool2d(-valid[None, None], 5, 1, 2)[0, 0]  # the edge of what counts is no edge of the scene
        gx, gy = gx * inside, gy * inside
        counted = max(1.0, float(valid.sum()))
    x, y = gx * gx, gy * gy
    power = x + y
    floor = 0.5 * float(power.sum()) / counted + 1e-12
    out = torch.stack([x.sub_(y), gx.mul_(gy).mul_(2)])
    return out.div_(power.add_(floor))


def _binomial(x: Tensor) -> Tensor:
    """[1 4 6 4 1] / 16 along the last axis, which becomes 4 shorter."""
    two = x[:, 1:] + x[:, :-1]
    two = two[:, 1:] + two[:, :-1]
    two = two[:, 1:] + two[:, :-1]
    return (two[:, 1:] + two[:, :-1]).mul_(1 / 16)


def field_under(planes: Tensor, matrices: Tensor, height: int, width: int, bend: Tensor | None = None) -> Tensor:
    """Fields (2, H, W) as the reference sees them through K matrices (K, 3, 3) -> (K, 2, height, width).

    A rotation of the camera turns the edges too. bend: displacements before the matrices, as in `bent_coordinates`.
    """
    count = len(matrices)
    if bend is None:
        grid = torch.stack([coordinates(m, height, width) for m in matrices])
    else:
        grid = torch.stack([bent_coordinates(m, bend, (height, width), 0, height) for m in matrices])
    grid = (grid + 0.5) * torch.tensor([2.0 / planes.shape[2], 2.0 / planes.shape[1]]) - 1
    warped = grid_sample(planes[None].expand(count, -1, -1, -1), grid)
    for k, m in enumerate(matrices):
        turn = 2 * math.atan2(float(m[1, 0] - m[0, 1]), float(m[0, 0] + m[1, 1]))
        if abs(turn) > 1e-3:
            cos, sin = math.cos(turn), math.sin(turn)
            warped[k] = torch.stack([cos * warped[k, 0] + sin * warped[k, 1], cos * warped[k, 1] - sin * warped[k, 0]])
    return warped


def agreement(a: Tensor, b: Tensor) -> float:
    """Normalised correlation of two fields (2, H, W) where neither is 0: 1 for the same, 0 for strangers."""
    ea, eb = a.square().sum(0), b.square().sum(0)
    both = ((ea > 0) & (eb > 0)).float()
    size = math.sqrt(max(float((ea * both).sum()) * float((eb * both).sum()), 1e-24))
    return float((a * b).sum()) / size


def best_shifts(a: Tensor, b: Tensor, reach: int) -> list[tuple[float, float, float]]:
    """For each of K fields b (K, 2, H, W) the shift (x, y) of its content against a's (2, H, W), and its score.

    The score is normalised by what overlaps, with a floor of a quarter of each energy, so that a small overlap does not
    win. reach: largest shift in pixels.
    """
    height, width = a.shape[1:]
    reach_y, reach_x = min(reach, height - 1), min(reach, width - 1)
    size = (fast_size(height + reach_y), fast_size(width + reach_x))
    fa, fb = torch.fft.rfft2(a, size), torch.fft.rfft2(b, size)
    cross = torch.fft.irfft2((fa.conj() * fb).sum(1), size)
    rows = torch.cat([cross[:, -reach_y:], cross[:, : reach_y + 1]], 1)
    part = torch.cat([rows[:, :, -reach_x:], rows[:, :, : reach_x + 1]], 2)
    in_a = _overlaps(a.square().sum(0)[None], -reach_y, -reach_x)
    in_b = _overlaps(b.square().sum(1), reach_y, reach_x)
    floor_a = 0.25 * a.square().sum()
    floor_b = 0.25 * b.square().sum((1, 2, 3))[:, None, None]
    score = part / (torch.maximum(in_a, floor_a) * torch.maximum(in_b, floor_b)).sqrt().clamp_min(1e-12)
    peak, index = score.flatten(1).max(1)
    span = 2 * reach_x + 1
    return [
        (float(k % span - reach_x), float(k // span - reach_y), float(p))
        for k, p in zip(index.tolist(), peak.tolist(), strict=True)
    ]


def _overlaps(energy: Tensor, reach_y: int, reach_x: int) -> Tensor:
    """Sums of energy (K, H, W) over what overlaps when the other moves by -reach to reach -> (K, rows, columns).

    A negative reach turns the direction round: the sums are of the image that moves.
    """
    height, width = energy.shape[1:]
    total = F.pad(energy.cumsum(1).cumsum(2), (1, 0, 1, 0))

    def ends(reach: int, size: int) -> tuple[Tensor, Tensor]:
        step = torch.arange(-abs(reach), abs(reach) + 1) * (1 if reach > 0 else -1)
        return step.clamp_min(0), size + step.clamp_max(0)

    (top, bottom), (left, right) = ends(reach_y, height), ends(reach_x, width)
    lower, upper = total[:, bottom], total[:, top]
    return lower[:, :, right] - upper[:, :, right] - lower[:, :, left] + upper[:, :, left]


def fast_size(size: int) -> int:
    """The next size with the factors 2, 3 and 5 alone."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
