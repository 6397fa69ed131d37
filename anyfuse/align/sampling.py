"""Planes at given places: PyTorch's `grid_sample`, or without PyTorch a compiled kernel of the same meaning."""

from __future__ import annotations

from .. import native
from ..arrays import WITH_TORCH, F, Tensor


def grid_sample(planes: Tensor, points: Tensor, mode: str = "bilinear", padding_mode: str = "zeros") -> Tensor:
    """Values of planes at places.

    Args:
        planes: (B, C, H, W).
        points: (B, h, w, 2), x and y from -1 to 1, the outer edges of the planes.
        mode: bilinear or bicubic.
        padding_mode: what lies beyond the planes: zeros, or their border.

    Returns:
        (B, C, h, w).
    """
    if not WITH_TORCH:
        one = planes[:1] if planes.stride(0) == 0 else planes  # a view that repeats one set of planes
        one, points = one.contiguous(), points.float().contiguous()
        found = native.takes(one, points)
        if found is not None and mode in native.SAMPLINGS:
            return native.grid_sample(found, one.expand(planes.shape), points, mode, padding_mode == "border")
    return F.grid_sample(planes, points, mode=mode, padding_mode=padding_mode, align_corners=False)
