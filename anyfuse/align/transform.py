"""Plane transforms as 3x3 matrices: fitting them to points, robustly, and warping images by them.

A matrix takes pixel coordinates (x, y, 1) of the reference to those of the other image. Pixel centres are whole
numbers.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..arrays import Tensor, torch
from .sampling import grid_sample

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


Size = tuple[int, int]  # height, width
_ROWS = 1 << 18  # pixels that are warped at a time


def resized(matrix: Tensor, first: tuple[Size, Size], other: tuple[Size, Size]) -> Tensor:
    """The same transform after a resize of the reference and of the image, each from one size to another."""
    into, out = _grid(first[1], first[0]).to(matrix), _grid(*other).to(matrix)
    moved = out @ matrix @ into
    return moved / moved[2, 2]


def _grid(before: Size, after: Size) -> Tensor:
    """Pixels of an image -> pixels of the same image in another size."""
    y, x = after[0] / before[0], after[1] / before[1]
    return torch.tensor([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2], [0.0, 0.0, 1.0]], dtype=torch.float64)


def kind_of(matrix: Tensor) -> str:
    """The plainest kind that a matrix is."""
    m = (matrix / matrix[2, 2]).tolist()
    if max(abs(m[2][0]), abs(m[2][1])) > 1e-12:
        return "homography"
    if max(abs(m[0][0] - m[1][1]), abs(m[0][1] + m[1][0])) > 1e-9:
        return "affine"
    return "shift" if max(abs(m[0][0] - 1), abs(m[0][1])) <= 1e-9 else "similarity"


def fit(kind: Kind, source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The matrix of a kind that takes source (K, 2) nearest to target (K, 2), by weighted least squares, float64."""
    points = (x.double().numpy() for x in (source, target, weights))
    return torch.from_numpy(_fit(kind, *points))


def robust_fit(
    kind: Kind, source: Tensor, target: Tensor, weights: Tensor, spread: float, start: Tensor | None = None
) -> tuple[Tensor, float]:
    """`fit` with Cauchy weights of scale `spread` pixels; also the mean robust residual, in pixels.

    Args:
        kind: of transform.
        source: points (K, 2), x and y in pixels.
        target: where they lie in the other image, (K, 2).
        weights: of the points, (K,).
        spread: scale of the Cauchy weights, in pixels.
        start: a matrix near the answer, 3x3; None: the mean shift.
    """
    p, q, w = (x.double().numpy() for x in (source, target, weights))
    matrix = _fit("shift", p, q, w) if start is None else start.numpy()
    for _ in range(12 if start is None else 8):
        wrong = _squares(matrix, p, q)
        last, matrix = matrix, _fit(kind, p, q, w / (1 + wrong / spread**2))
        if np.abs(matrix - last).max() < 1e-6:
            break
    loss = spread * np.sqrt(np.log1p(_squares(matrix, p, q) / spread**2))
    return torch.from_numpy(matrix), float((w * loss).sum() / max(w.sum(), 1e-9))


def _squares(matrix: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Squared distances of the moved points p (K, 2) to q (K, 2)."""
    moved = p @ matrix[:, :2].T + matrix[:, 2]
    wrong = moved[:, :2] / moved[:, 2:] - q
    return np.asarray((wrong * wrong).sum(1))


def _fit(kind: Kind, source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weights = np.maximum(weights, 1e-9)
    total = weights.sum()
    centre, other = weights @ source / total, weights @ target / total
    matrix = np.eye(3)
    if kind == "shift":
        matrix[:2, 2] = other - centre
        return matrix
    scale = max(float(np.sqrt(weights @ ((source - centre) ** 2).sum(1) / total)), 1e-6)
    p, q = (source - centre) / scale, (target - other) / scale
    wp = weights[:, None] * p
    if kind == "similarity":
        size = max(float((wp * p).sum()), 1e-12)
        a, b = (wp * q).sum() / size, (wp[:, 0] * q[:, 1] - wp[:, 1] * q[:, 0]).sum() / size
        matrix[:2, :2] = [[a, -b], [b, a]]
    elif kind == "affine":
        left = np.column_stack([p, np.ones(len(p))])
        matrix[:2] = np.linalg.lstsq(left.T @ (weights[:, None] * left), left.T @ (weights[:, None] * q), 1e-12)[0].T
    else:
        zero, one = np.zeros((len(p), 3)), np.ones(len(p))
        plain = np.column_stack([p, one])
        left = np.concatenate([np.hstack([plain, zero, -q[:, :1] * p]), np.hstack([zero, plain, -q[:, 1:] * p])])
        twice = np.concatenate([weights, weights])
        normal = left.T @ (twice[:, None] * left)
        matrix = np.append(np.linalg.lstsq(normal, left.T @ (twice * q.T.ravel()), 1e-12)[0], 1.0).reshape(3, 3)
    into, out = np.eye(3), np.eye(3)
    into[:2] = np.column_stack([np.eye(2), -centre]) / scale
    out[0, 0] = out[1, 1] = scale
    out[:2, 2] = other
    matrix = out @ matrix @ into
    return np.asarray(matrix / matrix[2, 2])


def coordinates(matrix: Tensor, height: int, width: int, top: int = 0, left: int = 0) -> Tensor:
    """Where the pixels of a window of the reference lie in the other image: (height, width, 2), float32.

    Args:
        matrix: 3x3, pixels of the reference to pixels of the image.
        height, width: of the window, in pixels.
        top, left: where it begins in the reference.
    """
    ys = torch.arange(top, top + height, dtype=torch.float64)[:, None]
    xs = torch.arange(left, left + width, dtype=torch.float64)
    m = matrix.tolist()
    x, y = (((row[1] * ys + row[2]).float() + (row[0] * xs).float()) for row in m[:2])
    if m[2][:2] != [0.0, 0.0]:
        depth = (m[2][1] * ys + m[2][2]).float() + (m[2][0] * xs).float()
        x, y = x / depth, y / depth
    elif m[2][2] != 1.0:
        x, y = x / m[2][2], y / m[2][2]
    return torch.stack([x, y], 2)


def bent_coordinates(matrix: Tensor, bend: Tensor, size: Size, top: int, rows: int) -> Tensor:
    """As `coordinates`, of whole rows of a reference of `size`, each pixel displaced before the matrix: (rows, W, 2).

    bend: (2, R, C) displacements in x and y, pixels of the reference, at the centres of R x C cells that cover it.
    """
    height, width = size
    ys, xs = torch.arange(top, top + rows, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    grid = torch.empty(1, rows, width, 2)
    grid[..., 0] = (2 * xs + 1) / width - 1
    grid[..., 1] = ((2 * ys + 1) / height - 1)[:, None]
    moved = grid_sample(bend[None], grid, mode="bicubic", padding_mode="border")[0]
    x, y = moved[0].add_(xs), moved[1].add_(ys[:, None])
    m = matrix.tolist()
    depth = x * m[2][0] + y * m[2][1] + m[2][2]
    return torch.stack([(x * row[0] + y * row[1] + row[2]) / depth for row in m[:2]], 2)


def warp(
    planes: Tensor, matrix: Tensor, height: int, width: int, mode: str = "bilinear", bend: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Planes (C, H, W) as the reference (height, width) sees them, and where they are valid (height, width).

    Row by row in blocks, so that a large image needs no grid of its own size.

    Args:
        planes: (C, H, W) of the image.
        matrix: 3x3, pixels of the reference to pixels of the image.
        height: of the reference, in pixels.
        width: of the reference, in pixels.
        mode: of interpolation, 'bilinear' or 'bicubic'.
        bend: displacements, as in `bent_coordinates`; None: none.
    """
    out = torch.empty(planes.shape[0], height, width)
    valid = torch.empty(height, width)
    step = max(1, _ROWS // max(1, width))
    for top in range(0, height, step):
        rows = min(step, height - top)
        where = places(matrix, (height, width), top, rows, bend)
        out[:, top : top + rows] = sampled(planes, where, mode)
        valid[top : top + rows] = within(where, planes.shape[1], planes.shape[2])
    return out, valid


def places(matrix: Tensor, size: Size, top: int, rows: int, bend: Tensor | None = None) -> Tensor:
    """Where whole rows of a reference of `size` lie in the image, (rows, W, 2); `bend` as in `bent_coordinates`."""
    if bend is None:
        return coordinates(matrix, rows, size[1], top)
    return bent_coordinates(matrix, bend, size, top, rows)


def sampled(planes: Tensor, where: Tensor, mode: str) -> Tensor:
    """Planes (C, H, W) at the places (h, w, 2), (C, h, w)."""
    inverse_size = torch.tensor([2.0 / planes.shape[2], 2.0 / planes.shape[1]])
    grid = ((where + 0.5) * inverse_size - 1)[None]
    return grid_sample(planes[None], grid, mode=mode, padding_mode="border")[0]


def within(where: Tensor, height: int, width: int) -> Tensor:
    """1 where a place (h, w, 2) lies within an image of this size, (h, w)."""
    x, y = where[..., 0], where[..., 1]
    return ((x >= -0.01) & (x <= width - 0.99) & (y >= -0.01) & (y <= height - 0.99)).float()
