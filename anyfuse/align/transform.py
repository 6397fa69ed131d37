"""Plane transforms as 3x3 matrices: fitting them to points, robustly, and warping images by them.

A matrix takes pixel coordinates (x, y, 1) of the reference to those of the other image. Pixel centres are whole
numbers.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["shift", "similarity", "affine", "homography"]
KINDS: tuple[Kind, ...] = ("shift", "similarity", "affine", "homography")


def apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Points (K, 2) -> points (K, 2)"""
    moved = torch.cat([points, torch.ones_like(points[:, :1])], 1) @ matrix.T
    return moved[:, :2] / moved[:, 2:]


def scaled(matrix: Tensor, factor: float) -> Tensor:
    """The same transform for images `factor` times as large; pixel centres at half numbers of the grid."""
    up = torch.tensor([[factor, 0.0, (factor - 1) / 2], [0.0, factor, (factor - 1) / 2], [0.0, 0.0, 1.0]])
    up = up.to(matrix)
    return up @ matrix @ torch.linalg.inv(up)


def fit(kind: Kind, source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The matrix of a kind that takes source (K, 2) nearest to target (K, 2), by weighted least squares, float64."""
    source, target, weights = source.double(), target.double(), weights.double().clamp_min(1e-9)
    total = weights.sum()
    centre = (weights[:, None] * source).sum(0) / total
    other = (weights[:, None] * target).sum(0) / total
    matrix = torch.eye(3, dtype=torch.float64)
    if kind == "shift":
        matrix[:2, 2] = other - centre
        return matrix
    scale = (weights * (source - centre).square().sum(1)).sum().div(total).sqrt().clamp_min(1e-6)
    p, q = (source - centre) / scale, (target - other) / scale
    root = weights.sqrt()[:, None]
    if kind == "similarity":
        a = (weights[:, None] * p * q).sum() / (weights * p.square().sum(1)).sum()
        b = (weights * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])).sum() / (weights * p.square().sum(1)).sum()
        matrix[:2, :2] = torch.stack([torch.stack([a, -b]), torch.stack([b, a])])
    elif kind == "affine":
        left = torch.cat([p, torch.ones_like(p[:, :1])], 1) * root
        matrix[:2] = torch.linalg.lstsq(left, q * root).solution.T
    else:
        zero, one = torch.zeros_like(p), torch.ones_like(p[:, :1])
        rows_x = torch.cat([p, one, zero, zero[:, :1], -q[:, :1] * p], 1)
        rows_y = torch.cat([zero, zero[:, :1], p, one, -q[:, 1:] * p], 1)
        left, right = torch.cat([rows_x * root, rows_y * root]), torch.cat([q[:, :1] * root, q[:, 1:] * root])
        matrix = torch.cat([torch.linalg.lstsq(left, right).solution[:, 0], torch.ones(1, dtype=p.dtype)]).view(3, 3)
    into, out = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    into[:2] = torch.cat([torch.eye(2, dtype=torch.float64), -centre[:, None]], 1) / scale
    out[0, 0] = out[1, 1] = scale
    out[:2, 2] = other
    matrix = out @ matrix @ into
    return matrix / matrix[2, 2]


def robust_fit(kind: Kind, source: Tensor, target: Tensor, weights: Tensor, spread: float) -> tuple[Tensor, float]:
    """`fit` with Cauchy weights of scale `spread` pixels, twelve rounds; also the mean robust residual, in pixels."""
    matrix = fit("shift", source, target, weights)
    cauchy = weights
    for _ in range(12):
        wrong = (apply(matrix, source.double()) - target).norm(dim=1)
        cauchy = weights / (1 + (wrong / spread).square())
        matrix = fit(kind, source, target, cauchy)
    wrong = (apply(matrix, source.double()) - target).norm(dim=1)
    loss = spread * torch.log1p((wrong / spread).square()).sqrt()
    return matrix, float((weights * loss).sum() / weights.sum().clamp_min(1e-9))


def warp(planes: Tensor, matrix: Tensor, height: int, width: int, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """Planes (C, H, W) as the reference (height, width) sees them, and where they are valid (height, width).

    Row by row in blocks, so that a large image needs no grid of its own size.
    """
    inverse_size = torch.tensor([2.0 / planes.shape[2], 2.0 / planes.shape[1]])
    out = torch.empty(planes.shape[0], height, width)
    valid = torch.empty(height, width)
    step = max(1, (1 << 20) // max(1, width))
    xs = torch.arange(width, dtype=torch.float64)
    for top in range(0, height, step):
        ys = torch.arange(top, min(top + step, height), dtype=torch.float64)
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
        places = apply(matrix, torch.stack([grid_x.flatten(), grid_y.flatten()], 1)).float()
        grid = ((places + 0.5) * inverse_size - 1).view(1, len(ys), width, 2)
        part = F.grid_sample(planes[None], grid, mode=mode, padding_mode="border", align_corners=False)
        out[:, top : top + len(ys)] = part[0]
        inside = (places >= -0.01) & (places <= torch.tensor([planes.shape[2] - 0.99, planes.shape[1] - 0.99]))
        valid[top : top + len(ys)] = inside.all(1).view(len(ys), width).float()
    return out, valid
