"""Depth from a focus stack: where along the stack each pixel is sharpest, as a 16-bit image or a surface.

The weights of the fusion say how much each frame gives to each pixel. Smoothed over the image they have a peak along
the stack; its centroid with both neighbours is the depth, in frames, with parts of a frame (as in shape from focus,
Nayar and Nakagawa 1994). Where no frame stands out, as in smooth areas, depth is filled in from around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import F, Tensor, torch
from ..errors import FusionError
from ..io.atomic import Protected, write_whole
from ..io.write import write_image
from ..result import FusionResult

IMAGES = (".png", ".tif", ".tiff")
VERTICES = 1_000_000
"""Most that a surface has; larger images are thinned out."""


@dataclass(frozen=True)
class Depth:
    """Depth of each pixel of a result. frames: (H, W) float32, 0 for the first frame, count - 1 for the last one;
    sure: (H, W) float32 in [0, 1], how far one frame stands out.
    """

    frames: np.ndarray
    sure: np.ndarray
    count: int


def depth_of(weights: np.ndarray, radius: int | None = None, luma: np.ndarray | None = None) -> Depth:
    """Depth from the weights of a focus stack.

    Args:
        weights: (N, H, W) uint8, the share of each frame, in the order of the focus. N is 2 or more.
        radius: pixels over which weights are smoothed; None: 1/100 of the shorter side, at least 2.
        luma: (H, W) of the result in 0..255: where it is smooth nothing tells the focus. None: not looked at.

    Raises:
        FusionError: fewer than two frames.
    """
    count, height, width = weights.shape
    if count < 2:
        raise FusionError("--depth-out needs two or more frames of a focus stack")
    radius = max(2, min(height, width) // 100) if radius is None else radius
    best = torch.full((height, width), -1.0)
    peak = torch.zeros((height, width), dtype=torch.int64)
    total = torch.zeros((height, width))
    smooth = [_smooth(torch.from_numpy(np.array(frame, np.float32)), radius) for frame in weights]
    for k, frame in enumerate(smooth):
        total += frame
        better = frame > best
        best, peak = torch.where(better, frame, best), torch.where(better, torch.full_like(peak, k), peak)
    mass, moment = best.clone(), best * peak
    for k, frame in enumerate(smooth):
        beside = (peak - k).abs() == 1
        mass += torch.where(beside, frame, torch.zeros(()))
        moment += torch.where(beside, frame * k, torch.zeros(()))
    depth = moment / mass.clamp_min(1e-6)
    some, even = (mass, 3 / count) if count > 3 else (best, 1 / count)  # of 3 frames, peak and neighbours are all
    sure = ((some / total.clamp_min(1e-6) - even) / (1 - even)).clamp(0, 1)
    if luma is not None:
        sure = sure * ((_detail(torch.from_numpy(np.array(luma, np.float32)), radius) - 0.5) / 1.5).clamp(0, 1)
    return Depth(_fill(depth, sure).numpy(), sure.numpy(), count)


def _detail(luma: Tensor, radius: int) -> Tensor:
    """Mean difference of a pixel from its neighbours (H, W), in levels: noise alone is below 1."""
    return _smooth((luma - _smooth(luma, 1)).abs(), radius)


def _smooth(image: Tensor, radius: int) -> Tensor:
    """Two box filters of (H, W), edges repeated; nearly a Gaussian."""
    size = 2 * radius + 1
    for _ in range(2):
        padded = F.pad(image[None, None], (radius, radius, radius, radius), mode="replicate")
        image = F.avg_pool2d(padded, size, 1)[0, 0]
    return image


def _fill(depth: Tensor, sure: Tensor) -> Tensor:
    """Depth with what is not sure replaced by what is sure around it, from fine to coarse (a pyramid of means)."""
    values, masses = [depth * sure], [sure]
    while min(masses[-1].shape) > 1:
        values.append(F.avg_pool2d(values[-1][None, None], 2, ceil_mode=True)[0, 0])
        masses.append(F.avg_pool2d(masses[-1][None, None], 2, ceil_mode=True)[0, 0])
    filled = values[-1] / masses[-1].clamp_min(1e-6)
    if float(masses[-1].max()) <= 1e-6:
        return depth
    for value, mass in zip(values[-2::-1], masses[-2::-1], strict=True):
        coarse = F.interpolate(filled[None, None], mass.shape, mode="bilinear", align_corners=False)[0, 0]
        share = (mass / 0.2).clamp(0, 1)
        filled = share * value / mass.clamp_min(1e-6) + (1 - share) * coarse
    return filled


def check_depth(paths: Sequence[str]) -> None:
    """Raises FusionError for a name that is neither an image with 16 bits nor a surface."""
    for path in paths:
        if Path(path).suffix.lower() not in (*IMAGES, ".ply"):
            raise FusionError(
                f"--depth-out {path}: give a name that ends in .png or .tif (16 bits), or .ply (a surface)"
            )


def write_depth(
    path: str | Path, depth: Depth, pixels: np.ndarray, step: float | None, *, overwrite: bool, inputs: Protected
) -> None:
    """Writes depth as an image or as a surface.

    Args:
        path: .png or .tif: 16 bits, 0 is the first frame and 65535 the last one. .ply: a mesh with colours, x to the
            right and y upwards in pixels of the result, z = -depth x step, so that the first frame is nearest.
        depth: of `depth_of`.
        pixels: (H, W, 1 or 3), the colours of the surface.
        step: pixels between two frames; None: the whole stack is a quarter of the longer side deep.
        overwrite: replaces an existing file.
        inputs: files that are never replaced.
    """
    if Path(path).suffix.lower() == ".ply":
        write_whole(path, [surface(depth, pixels, step)], overwrite=overwrite, inputs=inputs)
        return
    levels = np.rint(depth.frames / (depth.count - 1) * 65535).clip(0, 65535).astype(np.uint16)
    write_image(path, levels, overwrite=overwrite, inputs=inputs)


def surface(depth: Depth, pixels: np.ndarray, step: float | None) -> bytes:
    """A binary PLY of the depth, (H, W) vertices or fewer, two triangles a square."""
    height, width = depth.frames.shape
    thin = max(1, int(np.ceil(np.sqrt(height * width / VERTICES))))
    z = depth.frames[::thin, ::thin]
    rows, cols = z.shape
    step = max(height, width) / 4 / (depth.count - 1) if step is None else step
    white = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    colours = np.rint(pixels[::thin, ::thin] * (255 / white)).clip(0, 255).astype(np.uint8)
    kind = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "u1", (3,))]
    vertices = np.zeros((rows, cols), kind)
    vertices["x"] = np.arange(cols)[None] * thin
    vertices["y"] = (height - 1) - np.arange(rows)[:, None] * thin
    vertices["z"] = -z * step
    vertices["rgb"] = np.broadcast_to(colours[..., :3], (rows, cols, 3))
    index = np.arange(rows * cols, dtype="<i4").reshape(rows, cols)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], 2).reshape(-1, 3)
    faces = np.zeros(len(triangles), [("n", "u1"), ("v", "<i4", (3,))])
    faces["n"], faces["v"] = 3, triangles
    head = (
        f"ply\nformat binary_little_endian 1.0\ncomment anyfuse depth, {step:g} pixels a frame\n"
        f"element vertex {rows * cols}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return head.encode() + vertices.tobytes() + faces.tobytes()


def depth_of_result(result: FusionResult) -> Depth:
    """Depth of a fused focus stack; FusionError where it has no weights."""
    if result.weights is None:
        raise FusionError("depth needs the weights of each image: run(..., with_weights=True)")
    white = 1.0 if result.pixels.dtype.kind == "f" else float(np.iinfo(result.pixels.dtype).max)
    return depth_of(result.weights, luma=result.pixels.mean(2, dtype=np.float32) * (255 / white))
