"""Flow matching in latents: x_t = (1 - t) noise + t result, and what both latent systems do with it.

Origin: flow and loss as in Lipman et al. 2022 (arXiv 2210.02747) and Liu et al. 2022 (arXiv 2209.03003); shares of
latents: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from ...arrays import Tensor, torch
from ...errors import FusionError
from .codec import LATENT


def velocity(x: Tensor, t: Tensor, result: Tensor) -> Tensor:
    """v (B, 16, h, w) that leads from x at times t (B,) in [0, 1) straight to the result at 1: (result - x) /
    (1 - t).
    """
    return (result - x) / (1 - t).clamp_min(1e-3)[:, None, None, None]


def mix_latents(shares: Tensor, latents: Tensor) -> Tensor:
    """Sum of n latents (B, n, 16, h, w), each number by its share (B, n * 16, h, w): what is given for the last two,
    the sources, is beside one half.
    """
    start = torch.zeros(latents.shape[1], device=latents.device)
    start[-2:] = 0.5
    return ((shares.unflatten(1, (-1, latents.shape[2])) + start[:, None, None, None].to(shares)) * latents).sum(1)


def flow_loss(predicted: Tensor, wanted: Tensor, t: Tensor, gains: Tensor | float, of_result: bool) -> Tensor:
    """Squared error of velocities (B, 16, h, w) at times t (B,), each channel by its gain.

    Args:
        predicted: velocities (B, 16, h, w).
        wanted: the true ones.
        t: times (B,) in [0, 1].
        gains: of the channels, (1, 16, 1, 1), or one number.
        of_result: times (1 - t)^2, which is the error of the result that the velocity leads to.
    """
    weight = (1 - t).square()[:, None, None, None] if of_result else 1.0
    return (weight * gains * (predicted - wanted).square()).mean()


def draw_times(like: Tensor, start: float) -> Tensor:
    """Times (B,) for a batch: sigmoid of a normal number, and 0, where sampling begins, for a share `start`.

    FusionError where that is no share.
    """
    if not 0 <= start <= 1:
        raise FusionError(f"options.at_start={start}: give a share from 0 to 1")
    t = torch.randn(len(like)).sigmoid()
    return t.masked_fill(torch.rand(len(t)) < start, 0.0).to(like)


def noise(latents: Tensor, seed: int = 0, channels: int = LATENT) -> Tensor:
    """Standard normal noise (B, channels, h, w) for latents (B, ..., h, w), the same for each image and each call."""
    gen = torch.Generator().manual_seed(seed)
    drawn = torch.randn((1, channels, *latents.shape[-2:]), generator=gen)
    return drawn.to(latents).expand(len(latents), -1, -1, -1)
