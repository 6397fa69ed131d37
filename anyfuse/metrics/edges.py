"""How well edges of the sources survive in the fused image: Qabf, QG, Nabf, Labf, QM.

Xydeas and Petrovic's idea: each edge pixel has a strength and an orientation; two sigmoids turn their change into a
preservation value, and strong edges weigh more.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shared import Shared, safe_sqrt, sobel

HALF_PI = math.pi / 2


def _angle(gx: Tensor, gy: Tensor) -> Tensor:
    """atan(-gy / gx), rows counted upwards, and +pi/2 where gx is 0."""
    flat = gx == 0
    angle = torch.atan(-gy / torch.where(flat, torch.ones_like(gx), gx))
    return torch.where(flat, torch.full_like(angle, HALF_PI), angle)


def _preservation(strength: Tensor, angle: Tensor) -> Tensor:
    """Q of Xydeas and Petrovic for relative strength (0..1) and relative orientation, with the usual constants."""
    q_strength = 0.9994 / (1 + torch.exp(-15 * (strength - 0.5)))
    q_angle = 0.9879 / (1 + torch.exp(-22 * (angle - 0.8)))
    return q_strength * q_angle


def _relative_strength(g_source: Tensor, g_fused: Tensor, equal: Tensor) -> Tensor:
    """Weaker over stronger; `equal` where both are the same."""
    low, high = torch.minimum(g_source, g_fused), torch.maximum(g_source, g_fused)
    ratio = low / torch.where(high > 0, high, torch.ones_like(high))
    return torch.where(g_source == g_fused, equal, ratio)


def qabf(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Gradient transfer Q^AB/F (Xydeas and Petrovic 2000; identical in VIFB, MEFB, TANG; right in CDD, UniFusion).

    sum_S Q_SF g_S / sum_S g_S over pixels and sources. Range 0..0.987, higher is better; N sources: the same sums.
    Where strengths are equal the relative strength is g_F itself, as in the originals. Constant sources have an edge at
    the zero border: not NaN unless they are 0. Differentiable. On float32 within 1e-4 of float64.
    """
    s = Shared.of(fused, sources, shared)
    gx, gy = sobel(s.images, "zeros")
    strength, angle = safe_sqrt(gx * gx + gy * gy), _angle(gx, gy)
    g_fused, g_source = strength[:, :1], strength[:, 1:]
    relative = _relative_strength(g_source, g_fused, g_fused.expand_as(g_source))
    turned = 1 - (angle[:, 1:] - angle[:, :1]).abs() / HALF_PI
    quality = _preservation(relative, turned)
    return (quality * g_source).sum((1, 2, 3)) / g_source.sum((1, 2, 3))


def _liu_edges(s: Shared) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Z. Liu's edges: horizontal differences of 0 become 1e-5 first. Strengths, relative strengths, angles."""

    def make() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gx, gy = sobel(s.images, "zeros")
        gx = torch.where(gx == 0, torch.full_like(gx, 1e-5), gx)
        strength = torch.sqrt(gx * gx + gy * gy)
        g_fused, g_source = strength[:, :1], strength[:, 1:]
        relative = _relative_strength(g_source, g_fused, torch.ones_like(g_source))
        angle = torch.atan(gy / gx)
        return g_source, relative, angle[:, 1:], angle[:, :1]

    return s.once("liu edges", make)


def qg(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Z.

    Liu's gradient metric (LIU metricXydeas; Liu et al. 2012, eq. 5): the mean of local ratios, not a ratio of sums,
    other sigmoids than `qabf`, no leading constants, orientation change folded at pi/2.

    Range 0..1, higher is better; .05 to .2 away from `qabf`. N sources: sums over the sources in each local ratio.
    Differentiable.
    """
    g_source, relative, a_source, a_fused = _liu_edges(Shared.of(fused, sources, shared))
    turned = ((a_source - a_fused).abs() - HALF_PI).abs() / HALF_PI
    q_strength = 1 / (1 + torch.exp(-10 * (relative - 0.5)))
    q_angle = 1 / (1 + torch.exp(-20 * (turned - 0.75)))
    return (q_strength * q_angle * g_source).sum(1).div(g_source.sum(1)).mean((-2, -1))


def qabf_liu(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Yu Liu's metricXydeas: constants and ratio of sums of `qabf` on Z. Liu's edges; about 1e-3 from `qabf`."""
    g_source, relative, a_source, a_fused = _liu_edges(Shared.of(fused, sources, shared))
    quality = _preservation(relative, 1 - (a_source - a_fused).abs() / HALF_PI)
    return (quality * g_source).sum((1, 2, 3)) / g_source.sum((1, 2, 3))


def _nabf_edges(images: Tensor) -> tuple[Tensor, Tensor]:
    """Strength and orientation, Sobel / 8 with a mirrored border."""
    gx, gy = sobel(images, "reflect")
    gx, gy = gx / 8, gy / 8
    return safe_sqrt(gx * gx + gy * gy), _angle(gx, gy)


def _petrovic(s: Shared, fused: int, sources: list[int]) -> tuple[Tensor, Tensor]:
    """Total fusion performance terms: artefacts N and losses L for image `fused` against `sources` (indices)."""

    def make() -> tuple[Tensor, Tensor]:
        strength, angle = s.once("nabf edges", lambda: _nabf_edges(s.images))
        g_fused, g_source = strength[:, fused, None], strength[:, sources]
        relative = _relative_strength(g_source, g_fused, torch.ones_like(g_source))
        relative = torch.where((g_source == 0) | (g_fused == 0), torch.zeros_like(relative), relative)
        turned = ((angle[:, sources] - angle[:, fused, None]).abs() - HALF_PI).abs() / HALF_PI
        q_strength = 0.9999 / (1 + torch.exp(-19 * (relative - 0.5)))
        q_angle = 0.9995 / (1 + torch.exp(-22 * (turned - 0.5)))
        quality = safe_sqrt(q_strength * q_angle)
        weight = torch.where(g_source >= 2, g_source.clamp_min(2) ** 1.5, torch.full_like(g_source, 0.001))
        missing = (1 - quality) * weight
        total = weight.sum((1, 2, 3))
        added = (g_fused > g_source).all(1, keepdim=True)
        artefacts = (missing * added).sum((1, 2, 3)) / total
        losses = (missing * (g_fused <= g_source).any(1, keepdim=True)).sum((1, 2, 3)) / total
        return artefacts, losses

    return s.once(("petrovic", fused, tuple(sources)), make)


def nabf(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Artefacts N^AB/F (Petrovic and Xydeas 2005, Kumar 2013): edges of F stronger than in every source.

    Range 0..1, lower is better. Differentiable almost everywhere. Arguments in the order that the formula means; tables
    made with TANG's analysis_Reference.m hold `nabf_tang`.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(2, 2, "nabf")
    return _petrovic(s, 0, list(range(1, s.images.shape[1])))[0]


def nabf_tang(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """`nabf` as TANG calls it, analysis_nabf(A, B, F): the first source plays the fused image. Depends on
    source order.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(2, 2, "nabf_tang")
    return _petrovic(s, 1, [*range(2, s.images.shape[1]), 0])[0]


def labf(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Information lost L^AB/F (Petrovic and Xydeas 2005): the same sum where F is no stronger than some source.

    Range 0..1, lower is better. Differentiable almost everywhere.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(2, 2, "labf")
    return _petrovic(s, 0, list(range(1, s.images.shape[1])))[1]


def _haar(x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One orthonormal Haar level: the low band and the three details; an odd last row or column is left out."""
    rows, columns = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
    x = x[..., :rows, :columns]
    low, high = (x[..., ::2, :] + x[..., 1::2, :]) / 2, (x[..., ::2, :] - x[..., 1::2, :]) / 2
    details = [low[..., ::2] - low[..., 1::2], high[..., ::2] + high[..., 1::2], high[..., ::2] - high[..., 1::2]]
    return low[..., ::2] + low[..., 1::2], details


def qm(fused: Tensor, sources: Tensor, shared: Shared | None = None) -> Tensor:
    """Multiscale wavelet metric (Wang and Liu 2008; LIU metricPWW): two Haar levels, Q1^(2/3) Q2^(1/3).

    Q_l = sum_S w_S (e^-|dH| + e^-|dV| + e^-|dD|) / sum_S w_S with d the difference of detail bands of S and F and w_S
    the energy of those of S. Range 0..3 (the code has no division by 3), higher is better. Differentiable. Needs 4x4
    pixels.
    """
    s = Shared.of(fused, sources, shared)
    s.at_least(4, 4, "qm")
    low = s.images
    product = torch.ones_like(s.fused[:, 0, 0])
    for power in (2 / 3, 1 / 3):
        low, details = _haar(low)
        kept = torch.zeros_like(details[0][:, 1:])
        energy = torch.zeros_like(kept)
        for d in details:
            kept = kept + torch.exp(-(d[:, 1:] - d[:, :1]).abs())
            energy = energy + d[:, 1:] * d[:, 1:]
        product = product * ((kept * energy).sum((1, 2, 3)) / energy.sum((1, 2, 3))) ** power
    return product
