"""Which image of a pair is the infrared one: by colour where there is any, else by what the images show.

A thermal image has soft texture, its own histogram, other edges. Two linear scores, fitted by `anyfuse train roles` to
pairs whose roles are known, say whether two grey images are of two kinds of camera, and which one is the infrared; the
brightness of the training images was changed at random, so that darkness says nothing. Pairs that are not of two
kinds, as exposures, are ordered by brightness as before. Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..arrays import F, Tensor, torch
from ..weights import WEIGHTS_NAME, package_folder, read_tensors
from .colour import to_luma
from .cover import Window
from .stack import Frame, order_of_roles

SIDE = 384
"""Pixels of the side of the middle that is looked at."""
SURE = 0.8
"""Confidence below which it is said."""
FARTHEST = 6.0
"""Deviations from the training images beyond which nothing is said of a pair."""


@dataclass(frozen=True)
class Roles:
    """The order in which a model with roles gets two images or more."""

    order: list[int]  # infrared or darker first
    infrared: int | None  # the infrared one, None: none is known to be
    confidence: float | None  # 0.5 to 1, that it is; None where colour, the user or nothing decided

    def notes(self, names: Sequence[str]) -> list[str]:
        """A warning where it is not sure."""
        if self.confidence is None or self.confidence >= SURE or self.infrared is None:
            return []
        return [
            f"{names[self.infrared]} is taken for the infrared image, with a confidence of {self.confidence:.2f}; "
            "say which one it is by --infrared"
        ]


def find_roles(frames: Sequence[Frame], infrared: int | None = None) -> Roles:
    """The order of frames by role.

    Args:
        frames: of one size.
        infrared: place of the infrared one, from 0; None: it is found.
    """
    order = order_of_roles(frames)
    if infrared is not None:
        return Roles([infrared, *(k for k in order if k != infrared)], infrared, None)
    grey = [k for k in range(len(frames)) if frames[k].is_grey]
    if len(frames) != 2 or len(grey) != 2:
        mixed = len(frames) == 2 and len(grey) == 1
        return Roles(order, grey[0] if mixed else None, None)
    first, second = (_view(frame) for frame in frames)
    two_kinds, chance = scores(first, second)
    if two_kinds < 0.5:
        return Roles(order, None, None)
    chosen = 0 if chance >= 0.5 else 1
    return Roles([chosen, 1 - chosen], chosen, max(chance, 1 - chance))


def _view(frame: Frame) -> Tensor:
    window: Window = (_middle(frame.height), _middle(frame.width))
    planes = frame.read(window)
    return to_luma(planes)[0] if len(planes) == 3 else planes[0]


def _middle(length: int) -> slice:
    start = max(0, length - SIDE) // 2
    return slice(start, start + min(length, SIDE))


@lru_cache(maxsize=1)
def coefficients() -> dict[str, Tensor]:
    """What `anyfuse train roles` fitted: mean and spread of the numbers, weights of both scores."""
    return read_tensors(package_folder("roles") / WEIGHTS_NAME)


def scores(first: Tensor, second: Tensor, table: dict[str, Tensor] | None = None) -> tuple[float, float]:
    """Luma (H, W) of two grey images of one scene -> probability that they are of two kinds of camera, and that the
    first one is then the infrared one. (0, 0.5) for images too small, empty or unlike all that were seen.
    """
    if min(first.shape) < 32 or min(float(x.max() - x.min()) for x in (first, second)) < 8 / 255:
        return 0.0, 0.5
    table = table or coefficients()
    one, two = (squared((numbers(x) - table["mean"]) / table["spread"]) for x in (first, second))
    if max(float(x[: len(table["mean"])].abs().max()) for x in (one, two)) > FARTHEST:
        return 0.0, 0.5
    pair = squared((pair_numbers(first, second) - table["pair_mean"]) / table["pair_spread"])
    kinds = (pair * table["pair"]).sum() + ((one + two) * table["both"]).sum() + table["bias"][0]
    return float(kinds.sigmoid()), float(((one - two) * table["order"]).sum().sigmoid())


def squared(x: Tensor) -> Tensor:
    """(..., F) -> (..., 2 F): numbers and their squares, outliers cut off"""
    return torch.cat([x, x.clamp(-3, 3).square() - 1], -1)


# ---------------------------------------------------------------------- the numbers


def numbers(y: Tensor) -> Tensor:
    """Luma (H, W) -> texture, gradients and histogram (F,), none of which a change of gain or offset moves."""
    low, high = _quantile(y, 0.01), _quantile(y, 0.99)
    y = ((y - low) / (high - low).clamp_min(0.02)).clamp(0, 1)
    shares = torch.histc(y, 32, 0, 1) / y.numel()
    entropy = -(shares * (shares + 1e-6).log()).sum()
    levels = torch.stack([_quantile(y, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)])
    centred = (y - y.mean()) / y.std().clamp_min(1e-3)
    out = [levels, torch.stack([y.std(), entropy, (centred**3).mean(), (centred**4).mean().log(), shares.max()])]
    x, first = y[None, None], None
    for _ in range(3):
        across, down = x[0, 0, :, 1:].sub(x[0, 0, :, :-1]).abs(), x[0, 0, 1:].sub(x[0, 0, :-1]).abs()
        mean = (across.mean() + down.mean()) / 2 + 1e-4
        first = mean if first is None else first
        peak = _quantile(across, 0.98) / mean
        small = _quantile(across, 0.3) / mean
        out.append(
            torch.stack([mean.log(), (mean / first).log(), peak, small, (across.mean() / (down.mean() + 1e-4)).log()])
        )
        x = F.avg_pool2d(x, 2) if min(x.shape[-2:]) >= 16 else x
    laplace = F.conv2d(y[None, None], torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]]))[0, 0]
    cells = F.unfold(laplace[None, None, : laplace.shape[0] // 8 * 8, : laplace.shape[1] // 8 * 8], 8, stride=8)[0]
    noise = cells.std(0).add(1e-4).log()
    spread = (
        F.unfold(y[None, None, : y.shape[0] // 8 * 8, : y.shape[1] // 8 * 8], 8, stride=8)[0].std(0).add(1e-3).log()
    )
    out += [torch.stack([_quantile(noise, q) for q in (0.1, 0.5, 0.9)])]
    out += [torch.stack([_quantile(spread, q) for q in (0.1, 0.5, 0.9)])]
    lines, rows = (y - y.mean(0)).median(1).values, (y - y.mean(1, keepdim=True)).median(0).values
    out += [torch.stack([lines.diff().std().add(1e-4).log(), rows.diff().std().add(1e-4).log()])]
    third = y.shape[0] // 3
    out += [torch.stack([y[:third].mean() - y[-third:].mean(), y[:third].std() - y[-third:].std()])]
    return torch.cat(out).nan_to_num()


def pair_numbers(a: Tensor, b: Tensor) -> Tensor:
    """Luma of two images (H, W) -> how far they agree (P,): values, edges and their direction, at two scales."""
    out = []
    for scale in (1, 4):
        x, y = (F.avg_pool2d(z[None, None], scale)[0, 0] for z in (a, b))
        out.append(_correlation(x, y))
        gx, gy = (torch.stack([z[1:, :-1] - z[:-1, :-1], z[:-1, 1:] - z[:-1, :-1]]) for z in (x, y))
        out += [_correlation(gx, gy), _correlation(gx.abs(), gy.abs())]
        strong = (gx.abs() > _quantile(gx.abs(), 0.8)) & (gy.abs() > _quantile(gy.abs(), 0.8))
        out.append(((gx * gy)[strong] > 0).float().mean() if strong.any() else torch.tensor(0.5))
        out.append(strong.float().mean())
    return torch.stack(out).nan_to_num()


def _quantile(x: Tensor, q: float) -> Tensor:
    flat = x.flatten()
    flat = flat[:: max(1, flat.numel() // 16_000)].sort().values
    return flat[min(len(flat) - 1, int(q * len(flat)))]


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    x, y = x - x.mean(), y - y.mean()
    return (x * y).mean() / (x.square().mean() * y.square().mean()).sqrt().clamp_min(1e-8)
