from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(x: Tensor, sigma: float, radius: int) -> Tensor:
    """(B, N, H, W), borders replicated."""
    axis = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    taps = torch.exp(-0.5 * (axis / sigma) ** 2)
    taps = (taps / taps.sum())[None, None]
    flat = F.pad(x.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(flat, taps[:, :, None, :]), taps[:, :, :, None]).view_as(x)


def box(x: Tensor, radius: int) -> Tensor:
    """Mean over a (2 radius + 1)^2 window cut at the border, (B, C, H, W); running sums, any radius at one cost."""
    for dim in (-2, -1):
        size = x.shape[dim]
        index = torch.arange(size, device=x.device)
        low, high = (index - radius).clamp(min=0), (index + radius + 1).clamp(max=size)
        sums = x.double().cumsum(dim)
        sums = torch.cat([torch.zeros_like(sums.narrow(dim, 0, 1)), sums], dim)
        shape = [-1, 1] if dim == -2 else [-1]
        x = ((sums.index_select(dim, high) - sums.index_select(dim, low)) / (high - low).view(shape)).to(x.dtype)
    return x


def guided_filter(guide: Tensor, x: Tensor, radius: int, eps: float) -> Tensor:
    """Guided filter (He, Sun, Tang 2013, eq. 5 and 6) of x by guide, both (B, N, H, W)."""
    mg, mx = box(guide, radius), box(x, radius)
    var = box(guide * guide, radius) - mg * mg
    a = (box(guide * x, radius) - mg * mx) / (var + eps)
    return box(a, radius) * guide + box(mx - a * mg, radius)
