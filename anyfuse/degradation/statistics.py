"""What faults leave in an image, as numbers: levels, spectrum, residuals, 8x8 blocks, columns, streaks and spots, veil.

`statistics` gives one row of numbers for an image of any size and shape of content; `pair_statistics` what two images
of one scene have in common. anyfuse/degradation/estimator.py learns from them what is wrong. No number depends on how
large the image is, only how well it is known.

    levels     percentiles, mean, deviation, how many values are black or white
    spectrum   log power of tiles of 64 pixels in 8 rings of frequency by 8 directions: blur, its direction, low
               resolution
    residuals  second differences at four scales: mean, quantiles, heaviness of tails, lean; correlation with shifts of
               themselves; noise in flat places, dark and bright
    blocks     steps at each of the 8 phases of columns and rows; empty cosine coefficients at the phase of a JPEG file
               and between
    columns    medians along columns of what differs from the neighbours, compared with rows: stripes, fixed pattern
    spots      single pixels far from their neighbours; small bright and dark things upright, level and round: rain,
               snow
    veil       smallest value around a pixel, local contrast, above and below: haze
    bands      what columns and rows share over the whole of the picture, at three scales: offsets, drift
    lines      small bright things that line up in any direction: rain from any side

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

import math
from functools import lru_cache

from ..arrays import F, Tensor, torch
from ..errors import FusionError

LEAST = 24
"""Pixels that the shorter side must have; smaller images are mirrored up to it."""
TILE = 64
RINGS, DIRECTIONS = 8, 8
FLOOR = 1e-4
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0), (0, 4), (4, 0))
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999)


def statistics(luma: Tensor) -> Tensor:
    """Luma (H, W) in [0, 1], of any size -> (F,) float32, finite. Raises FusionError for other shapes."""
    if luma.ndim != 2 or luma.numel() == 0:
        raise FusionError(f"statistics are of luma (H, W), not of {tuple(luma.shape)}")
    y = _at_least(luma.float())
    parts = [
        _levels(y),
        _spectrum(y),
        _residuals(y),
        _blocks(y),
        _columns(y),
        _spots(y),
        _veil(y),
        _bands(y),
        _lines(y),
    ]
    return torch.cat(parts).nan_to_num(0.0, 0.0, 0.0)


def pair_statistics(first: Tensor, second: Tensor) -> Tensor:
    """Luma of two images of one scene, both (H, W) in [0, 1] -> (P,) float32: in how far they agree, and where each is
    the sharper one.
    """
    a, b = (_at_least(x.float())[None, None] for x in (first, second))
    numbers = [(a.mean() - b.mean())[None], ((a > b).float().mean())[None]]
    for scale in (1, 2, 4, 8):
        x, y = (F.avg_pool2d(t, scale) if scale > 1 else t for t in (a, b))
        numbers += [
            _correlation(x, y),
            _correlation(_laplace(x), _laplace(y)),
            _correlation(_laplace(x).abs(), _laplace(y).abs()),
        ]
        e, f = (F.avg_pool2d(_laplace(t)[None, None].square(), 8, ceil_mode=True).add(FLOOR**2).log2() for t in (x, y))
        ratio = e - f
        numbers += [ratio.mean()[None] / 4, ratio.std(correction=0)[None] / 4]
        numbers += [(x - y).abs().mean()[None] * 4]
    return torch.cat(numbers).nan_to_num(0.0, 0.0, 0.0)


def _at_least(y: Tensor) -> Tensor:
    """Mirrored until both sides have LEAST pixels."""
    for axis in (0, 1):
        while y.shape[axis] < LEAST:
            y = torch.cat([y, y.flip(axis)], axis)
    return y


def _log(x: Tensor) -> Tensor:
    return (x.abs() + FLOOR).log2()


def _quantiles(x: Tensor, at: tuple[float, ...]) -> Tensor:
    """Of all values, or of some 12 000 of them spread evenly."""
    flat = x.flatten()
    flat = flat[:: max(1, flat.numel() // 12_000)].sort().values
    place = torch.tensor([min(len(flat) - 1, int(q * len(flat))) for q in at])
    return flat[place]


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    x, y = x - x.mean(), y - y.mean()
    return ((x * y).mean() / (x.square().mean() * y.square().mean() + FLOOR**4).sqrt())[None]


def _laplace(x: Tensor) -> Tensor:
    """(1, 1, H, W) -> second differences along both axes together (H - 2, W - 2)"""
    x = x[0, 0]
    c = x[1:-1, 1:-1]
    return x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * c


# ---------------------------------------------------------------------- the parts


def _levels(y: Tensor) -> Tensor:
    at = (0.0, 0.002, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.998, 1.0)
    q = _quantiles(y, at)
    numbers = torch.stack(
        [
            y.mean(),
            y.std(correction=0),
            (y <= 0.5 / 255).float().mean().sqrt(),
            (y >= 254.5 / 255).float().mean().sqrt(),
            (y > 0.9).float().mean(),
            (y < 0.1).float().mean(),
            _log(y.mean()),
            _log(q[10] - q[2]),
            _log(q[7] - q[5]),
        ]
    )
    return torch.cat([q, q.clamp_min(1 / 512).log2() / 4, numbers])


@lru_cache(maxsize=2)
def _polar() -> tuple[Tensor, Tensor]:
    """Bin of each place of a tile's half spectrum, -1 outside; and the window of a tile."""
    fy = torch.fft.fftfreq(TILE)[:, None].expand(TILE, TILE // 2 + 1)
    fx = torch.fft.rfftfreq(TILE)[None].expand(TILE, TILE // 2 + 1)
    radius = (fx**2 + fy**2).sqrt()
    edges = torch.tensor([0.03, 0.06, 0.1, 0.15, 0.21, 0.28, 0.35, 0.42, 0.5])
    ring = torch.bucketize(radius, edges) - 1
    angle = (torch.atan2(fy, fx) + math.pi / 2 + math.pi / (2 * DIRECTIONS)) % math.pi
    direction = (angle / math.pi * DIRECTIONS).long().clamp_max(DIRECTIONS - 1)
    bins = torch.where((ring >= 0) & (ring < RINGS), ring * DIRECTIONS + direction, -1)
    window = torch.hann_window(TILE, periodic=False)
    return bins, window[:, None] * window


def _spectrum(y: Tensor) -> Tensor:
    for axis in (0, 1):
        while y.shape[axis] < TILE:
            y = torch.cat([y, y.flip(axis)], axis)
    tiles = _tiles(y, TILE, 30)
    bins, window = _polar()
    power = torch.fft.rfft2((tiles - tiles.mean((1, 2), keepdim=True)) * window).abs().square()
    power = power / float(window.square().sum())
    inside = bins >= 0
    where = bins[inside]
    count = torch.bincount(where, minlength=RINGS * DIRECTIONS).float()
    each = torch.zeros(len(tiles), RINGS * DIRECTIONS).index_add_(1, where, power[:, inside]) / count
    logs = (each + 1e-8).log2()
    mean = logs.mean(0).view(RINGS, DIRECTIONS)
    top = logs.view(-1, RINGS, DIRECTIONS).mean(2).quantile(0.9, 0)
    rings = mean.mean(1)
    shape = mean - rings[:, None]
    order = shape.sort(1).values
    flat = (power + 1e-9).log2().mean(0)  # the cepstrum shows the length of a path and the pitch of an enlargement
    cepstrum = torch.fft.irfft2(flat - flat.mean(), s=(TILE, TILE))[:16]
    deep = torch.stack(
        [cepstrum[1:, :16].min(), cepstrum[:, 1:16].min(), cepstrum[2:, 2:14].max(), cepstrum[:4, :4].std()]
    )
    return torch.cat([rings, top, rings.diff(), shape.flatten(), order[:, [0, -1]].flatten(), deep])


def _tiles(y: Tensor, side: int, most: int) -> Tensor:
    """Up to `most` squares spread evenly over the image (K, side, side), corners at multiples of 8."""
    h, w = y.shape
    rows, columns = max(1, h // side), max(1, w // side)
    shrink = max(1.0, (rows * columns / most) ** 0.5)
    rows, columns = max(1, round(rows / shrink)), max(1, round(columns / shrink))
    tops = [int(t) // 8 * 8 for t in torch.linspace(0, h - side, rows).tolist()]
    lefts = [int(t) // 8 * 8 for t in torch.linspace(0, w - side, columns).tolist()]
    return torch.stack([y[t : t + side, s : s + side] for t in tops for s in lefts])


def _residuals(y: Tensor) -> Tensor:
    numbers = []
    x = y[None, None]
    for scale in range(4):
        r = _laplace(x)
        magnitude = r.abs()
        spread = r.square().mean().sqrt() + FLOOR
        z = r / spread
        numbers += [_log(_quantiles(magnitude, _QUANTILES)), _log(spread)[None]]
        numbers += [(z**4).mean().log2()[None], (z**3).mean().clamp(-20, 20)[None] / 4]
        for a, b in ((x[0, 0, :, 1:] - x[0, 0, :, :-1], 0), (x[0, 0, 1:] - x[0, 0, :-1], 1)):
            numbers += [_log(a.abs().mean())[None], _log(_quantiles(a.abs(), (0.5, 0.99)))]
            if scale == 0:
                second = a.diff(dim=1 - b)
                numbers += [_log(second.abs().mean())[None]]
        if scale == 0:
            numbers += [torch.cat([_shifted(r, *s) for s in _SHIFTS]), _noise(y, r)]
        if min(x.shape[-2:]) >= 12:
            x = F.avg_pool2d(x, 2)
    return torch.cat(numbers)


def _shifted(r: Tensor, down: int, right: int) -> Tensor:
    """Correlation of (H, W) with itself moved; extremes cut off, so that noise counts and not the strongest edge."""
    limit = 3 * r.abs().mean()
    r = r.clamp(-limit, limit)
    h, w = r.shape
    a = r[down:, max(0, right) : w + min(0, right)]
    b = r[: h - down, max(0, -right) : w - max(0, right)]
    return _correlation(a, b)


def _noise(y: Tensor, r: Tensor) -> Tensor:
    """Deviation of the residual in the flattest blocks, all and by brightness."""
    side = 8
    h, w = (n // side * side for n in r.shape)
    blocks = r[:h, :w].reshape(h // side, side, w // side, side).transpose(1, 2).reshape(-1, side * side)
    light = y[1 : h + 1, 1 : w + 1].reshape(h // side, side, w // side, side).mean((1, 3)).flatten()
    spread = _log(blocks.std(1, correction=0))
    numbers = [_quantiles(spread, (0.02, 0.1, 0.3, 0.5, 0.9))]
    bright = light.sort().indices
    for third in bright.tensor_split(3):
        part = spread[third] if len(third) else spread
        numbers.append(_quantiles(part, (0.1, 0.5)))
    return torch.cat(numbers)


@lru_cache(maxsize=1)
def _cosines() -> tuple[Tensor, Tensor]:
    """Cosine transform of 8 (8, 8), and group 0..6 of each coefficient by frequency, 7 for the mean."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    table = torch.cos(math.pi * (n + 0.5) * k / 8) * 0.5
    table[0] /= 2**0.5
    total = torch.arange(8)[:, None] + torch.arange(8)[None]
    return table, torch.tensor([7, 0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6])[total]


def _blocks(y: Tensor) -> Tensor:
    numbers = []
    for x in (y, y.T):
        step = (x[:, 2:-1] - x[:, 1:-2]).abs() - ((x[:, 1:-2] - x[:, :-3]).abs() + (x[:, 3:] - x[:, 2:-1]).abs()) / 2
        n = step.shape[1] // 8 * 8
        limit = 0.06
        phases = step[:, :n].clamp(-limit, limit).mean(0).view(-1, 8).mean(0)
        rest = (phases.sum() - phases.max()) / 7
        scale = (x[:, 1:] - x[:, :-1]).abs().mean() + 1e-3
        jump = (phases[6] - (phases.sum() - phases[6]) / 7) / scale
        numbers += [jump, (phases.max() - rest) / scale, jump.clamp_min(0).sqrt(), phases[6] * 50]
    table, group = _cosines()
    for shift in (0, 4):
        blocks = _tiles(y[shift:, shift:], 16, 400)
        blocks = blocks.unfold(1, 8, 8).unfold(2, 8, 8).reshape(-1, 8, 8) * 255
        c = (table @ blocks @ table.T).abs()
        empty = (c < 0.6).float().mean(0)
        size = (c + 0.05).log2().mean(0)
        for index in range(7):
            numbers += [empty[group == index].mean(), size[group == index].mean() / 4]
    return torch.stack(numbers)


def _columns(y: Tensor) -> Tensor:
    numbers = []
    for x in (y, y.T):
        h, w = x.shape
        r = min(6, (w - 1) // 2)
        mean = F.avg_pool1d(F.pad(x[:, None], (r, r), mode="reflect"), 2 * r + 1, 1)[:, 0]
        line = (x - mean).median(0).values
        line = line - line.median()
        spread = line.abs().median() + FLOOR
        parts = torch.stack([(x - mean)[k::4].median(0).values for k in range(4)]) if h >= 16 else line.expand(4, -1)
        common = _correlation(parts[0] + parts[2], parts[1] + parts[3])
        ratio = line / (spread + 0.004)
        at = (0.002, 0.006, 0.015, 0.03, 0.1)
        low, high = _quantiles(line, at), _quantiles(-line, at)
        numbers += [_log(spread)[None], _log(line.std(correction=0))[None], low * 5, high * 5, common]
        numbers += [
            _log(low),
            _log(high),
            (ratio < -6).float().mean()[None].sqrt(),
            (ratio > 6).float().mean()[None].sqrt(),
        ]
        numbers += [_correlation(line[1:], line[:-1]), _correlation(line[2:], line[:-2])]
    return torch.cat(numbers)


def _median3(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def _smallest(x: Tensor, height: int, width: int) -> Tensor:
    """Smallest value (H, W) in an odd window around each pixel, what lies outside left out."""
    for axis, size in ((0, height), (1, width)):
        if size == 1:
            continue
        pad = (0, 0, size // 2, size // 2) if axis == 0 else (size // 2, size // 2, 0, 0)
        x = F.pad(x, pad, value=math.inf)
        reach = 1
        while reach < size:  # a window of twice the reach, or as much as is left
            step = min(reach, size - reach)
            count = x.shape[axis] - step
            x = torch.minimum(x.narrow(axis, 0, count), x.narrow(axis, step, count))
            reach += step
    return x


def _spots(y: Tensor) -> Tensor:
    rows = _median3(y[:, :-2], y[:, 1:-1], y[:, 2:])
    middle = _median3(rows[:-2], rows[1:-1], rows[2:])
    ring = y[1:-1, 1:-1] - middle
    around = torch.stack([y[:-2, 1:-1], y[2:, 1:-1], y[1:-1, :-2], y[1:-1, 2:]])
    above, below = y[1:-1, 1:-1] - around.amax(0), around.amin(0) - y[1:-1, 1:-1]
    width = (_quantiles(y, (0.98,)) - _quantiles(y, (0.02,)))[0] + 0.02
    numbers = []
    for part in (above, below):
        numbers += [(part > k).float().mean().sqrt() for k in (0.04, 0.1, 0.2, 0.4)]
        numbers += [(part > k * width).float().mean().sqrt() for k in (0.25, 0.5, 1.0)]
    numbers += [((below > 0.1) & (y[1:-1, 1:-1] < 0.02)).float().mean().sqrt()]
    numbers += [((above > 0.1) & (y[1:-1, 1:-1] > 0.98)).float().mean().sqrt()]
    numbers += [_log(ring.abs().mean()), ring.mean() * 100, _log((ring.abs() > 0.08).float().mean())]
    more = []
    for z in (y, -y):
        for height, long in ((1, 5), (5, 1), (5, 5), (1, 11), (11, 1), (11, 11)):
            opened = -_smallest(-_smallest(z, height, long), height, long)
            hat = (z - opened).clamp_min(0)
            more += [_log(hat.mean())[None], _log(_quantiles(hat, (0.5, 0.9, 0.99)))]
            if z is y and (height, long) == (1, 5):
                more.append(_streaks(hat))
    return torch.cat([torch.stack(numbers), *more])


@lru_cache(maxsize=1)
def _slants() -> Tensor:
    """Lines of 17 pixels in 8 directions about the upright one (8, 1, 17, 17), each sums to 1."""
    place = torch.arange(17.0) - 8
    kernels = []
    for degrees in (0, 9, -9, 18, -18, 40, -40, 90):
        angle = math.radians(degrees)
        far = (place[None, :] * math.cos(angle) - place[:, None] * math.sin(angle)).abs()
        near = (1 - far).clamp_min(0) * ((place[None] ** 2 + place[:, None] ** 2) <= 72)
        kernels.append(near / near.sum())
    return torch.stack(kernels)[:, None]


def _streaks(hat: Tensor) -> Tensor:
    """How strongly thin upright things (H, W) line up, in each direction."""
    h, w = hat.shape
    top, left = max(0, (h - 200) // 2), max(0, (w - 200) // 2)
    hat = hat[top : top + 200, left : left + 200]  # the middle is enough
    thin = F.pad((hat - hat.mean()).clamp_max(0.3)[None, None], (8, 8, 8, 8))  # oneDNN is slow with so wide a padding
    responses = F.conv2d(thin, _slants())[0]
    spread = responses.std((1, 2), correction=0)
    high = torch.stack([_quantiles(f, (0.98,))[0] for f in responses])
    return torch.cat([_log(spread), _log(high), _log(spread) - _log(spread).mean()])


def _veil(y: Tensor) -> Tensor:
    h, w = y.shape
    dark = _smallest(y, 15, 15)
    numbers = [_quantiles(dark, (0.02, 0.1, 0.5, 0.9, 0.98)), -_quantiles(_smallest(-y, 15, 15), (0.1, 0.5))]
    side = 16
    rows, columns = h // side * side, w // side * side
    blocks = y[:rows, :columns].reshape(h // side, side, w // side, side)
    mean = blocks.mean((1, 3))
    spread = _log((blocks - mean[:, None, :, None]).square().mean((1, 3)).sqrt())
    numbers += [_quantiles(spread, (0.05, 0.25, 0.5, 0.75, 0.95)), _correlation(mean, spread)]
    third = max(1, len(mean) // 3)
    for part in (mean, spread, dark.mean(1)):
        step = max(1, len(part) // 3)
        numbers += [part[:step].mean()[None], (part[:step].mean() - part[-step:].mean())[None]]
    numbers += [spread[:third].std(correction=0)[None], (mean.std(correction=0) * 4)[None]]
    return torch.cat(numbers)


def _bands(y: Tensor) -> Tensor:
    """Steps of the medians of columns and rows, 1, 4 and 16 pixels apart: how large, and whether four bands of the
    picture agree on them.
    """
    numbers = []
    for x in (y, y.T):
        w = x.shape[1]
        bands = torch.stack([band.median(0).values for band in x.tensor_split(4)])
        for apart in (1, 4, 16):
            near = min(apart, w // 3)
            steps = bands[:, near:] - bands[:, :-near]
            steps = steps.clamp(-0.3, 0.3)
            common = steps.mean(0)
            rest = (steps - common).square().mean().sqrt()
            numbers += [_log(common.std(correction=0))[None], _log(common.abs().median())[None], _log(rest)[None]]
            numbers += [_correlation(steps[0], steps[2]), _correlation(steps[1], steps[3])]
    return torch.cat(numbers)


@lru_cache(maxsize=1)
def _turned() -> Tensor:
    """Lines of 15 pixels in 12 directions (12, 1, 15, 15), each sums to 1."""
    place = torch.arange(15.0) - 7
    kernels = []
    for step in range(12):
        angle = math.pi * step / 12
        far = (place[None, :] * math.cos(angle) - place[:, None] * math.sin(angle)).abs()
        near = (1 - far).clamp_min(0) * ((place[None] ** 2 + place[:, None] ** 2) <= 50)
        kernels.append(near / near.sum())
    return torch.stack(kernels)[:, None]


def _lines(y: Tensor) -> Tensor:
    """How strongly small bright things of the middle line up: by direction, strongest first, and against dark ones."""
    h, w = y.shape
    top, left = max(0, (h - 180) // 2), max(0, (w - 180) // 2)
    y = y[top : top + 180, left : left + 180]
    strongest = []
    for z in (y, -y):
        thin = (z + _smallest(-_smallest(z, 7, 7), 7, 7)).clamp(0, 0.4)  # less the opening
        lines = F.conv2d((thin - thin.mean())[None, None], _turned(), stride=2)[0]
        strongest.append(torch.stack([_log(lines.std((1, 2), correction=0)), _log(_far(lines))]))
    bright, dark = strongest
    order = bright.sort(1, descending=True).values
    return torch.cat(
        [order.flatten(), (bright - dark).amax(1), (bright - bright.mean(1, keepdim=True)).amax(1), dark.amax(1)]
    )


def _far(lines: Tensor) -> Tensor:
    """The value that one of a hundred exceeds, of each (K, H, W)."""
    return torch.stack([_quantiles(one, (0.99,))[0] for one in lines])
