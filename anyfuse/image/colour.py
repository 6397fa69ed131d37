"""One luma and chroma for the whole package, the merge of several chromas, and a join that stays inside the RGB cube.

Luma and chroma are full-range BT.601 on sRGB-encoded values, as JPEG has them: Y in [0, 1], Cb and Cr in [-0.5, 0.5]
with neutral at 0.
"""

from __future__ import annotations

from ..arrays import Tensor, torch

KR, KG, KB = 0.299, 0.587, 0.114


def to_luma(image: Tensor) -> Tensor:
    """(..., 1 or 3, H, W) in [0, 1] -> (..., 1, H, W); grey passes through untouched."""
    if image.shape[-3] == 1:
        return image
    r, g, b = image.unbind(-3)
    return (KR * r + KG * g + KB * b).unsqueeze(-3)


def to_luma_chroma(image: Tensor) -> Tensor:
    """(..., 3, H, W) RGB in [0, 1] -> (..., 3, H, W) Y in [0, 1], Cb and Cr in [-0.5, 0.5]."""
    r, g, b = image.unbind(-3)
    out = torch.empty_like(image)
    y, cb, cr = out.unbind(-3)
    torch.mul(r, KR, out=y).add_(g, alpha=KG).add_(b, alpha=KB)
    torch.sub(b, y, out=cb).mul_(0.5 / (1 - KB))
    torch.sub(r, y, out=cr).mul_(0.5 / (1 - KR))
    return out


def to_chroma(image: Tensor) -> Tensor:
    """(..., 3, H, W) RGB in [0, 1] -> (..., 2, H, W) Cb, Cr in [-0.5, 0.5]."""
    r, g, b = image.unbind(-3)
    y = KR * r + KG * g + KB * b
    return torch.stack([(b - y) * (0.5 / (1 - KB)), (r - y) * (0.5 / (1 - KR))], -3)


def merge_chroma(chroma: Tensor) -> Tensor:
    """Chroma of N sources (N, 2, H, W) -> (2, H, W): their mean weighted by saturation.

    A grey source has no say, one coloured source gives its chroma unchanged, and where all are neutral the result is
    neutral.
    """
    saturation = chroma.square().sum(1, keepdim=True).sqrt()  # (N, 1, H, W)
    return (chroma * saturation).sum(0) / saturation.sum(0).clamp_min(1e-6)


def join(luma: Tensor, chroma: Tensor) -> Tensor:
    """Luma (..., 1, H, W) in [0, 1] and chroma (..., 2, H, W) -> RGB (..., 3, H, W) in [0, 1].

    Where the colour would leave the cube its chroma shrinks towards grey until it fits: luma and hue stay. Clipping the
    channels instead changes both, which is where coloured fringes come from.
    """
    cb, cr = chroma.unbind(-3)
    y = luma.squeeze(-3)
    dr = cr * (2 * (1 - KR))
    db = cb * (2 * (1 - KB))
    dg = -(KR * dr + KB * db) / KG
    up = torch.maximum(torch.maximum(dr, dg), db).clamp_min_(1e-12)  # some d is over 0 and some below, or all are 0
    down = torch.minimum(torch.minimum(dr, dg), db).neg_().clamp_min_(1e-12)
    fit = torch.minimum((1 - y).div_(up), torch.div(y, down)).clamp_max_(1.0)
    return torch.stack([(fit * d).add_(y) for d in (dr, dg, db)], -3).clamp_(0, 1)
