"""Relative depth for weather: 0 at the camera, 1 far away. Made up, or estimated by Depth Anything."""

from __future__ import annotations

import functools
from typing import Any

from ..arrays import F, Generator, Tensor, torch
from ..errors import FusionError
from ..image.random import smooth_field, uniform

NEAREST = 0.15  # relative depth of what is nearest


def plausible_depth(height: int, width: int, gen: Generator) -> Tensor:
    """(H, W) in [0, 1]: level ground below a horizon at 30 to 50 % of the height, a distant backdrop above, and a
    smooth field.

    On ground seen from height h, the row v below the horizon is at the distance h / v.
    """
    horizon, backdrop = uniform(0.3, 0.5, gen), uniform(0.75, 1.0, gen)
    rows = (torch.arange(height, dtype=torch.float32) + 0.5) / height
    closeness = ((rows - horizon) / (1 - horizon)).clamp_min(0)  # 0 at the horizon, 1 at the lower border
    ground = (NEAREST / closeness.clamp_min(1e-3)).clamp_max(backdrop)
    depth = ground[:, None].expand(height, width)
    if height * width > 1:
        field = smooth_field(height, width, max(height, width) / 4, gen)
        depth = depth * torch.exp(0.25 * field)
    return depth.clamp(NEAREST, 1)


def estimated_depth(image: Tensor, model: str) -> Tensor:
    """Image (1 or 3, H, W) in [0, 1] -> (H, W) in [0, 1] by Depth Anything (Yang et al. 2024): a folder or a hub id of
    its weights.

    The network gives relative inverse depth q; brought to [0, 1] over the image, depth = n / (n + (1 - n) q) with n =
    0.15. Raises FusionError without the package `transformers` or where the weights can't be loaded.
    """
    network = _load(model)
    height, width = image.shape[-2:]
    scale = 518 / min(height, width)  # sides in the network are multiples of 14, the shorter one 518 as in training
    sides = [max(14, round(side * scale / 14) * 14) for side in (height, width)]
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    pixels = F.interpolate(image.float().cpu().expand(3, -1, -1)[None], sides, mode="bicubic", antialias=True)
    with torch.no_grad():
        inverse = network(pixel_values=(pixels.clamp(0, 1) - mean) / std).predicted_depth
    inverse = F.interpolate(inverse[None], (height, width), mode="bilinear", align_corners=False)[0, 0]
    low, high = inverse.aminmax()
    closeness = (inverse - low) / (high - low).clamp_min(1e-6)
    return NEAREST / (NEAREST + (1 - NEAREST) * closeness)


@functools.lru_cache(maxsize=1)
def _load(model: str) -> Any:
    try:
        from transformers import AutoModelForDepthEstimation
    except ImportError:
        raise FusionError("depth estimation needs the package transformers: pip install transformers") from None
    try:
        return AutoModelForDepthEstimation.from_pretrained(model, use_safetensors=True).eval()
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise FusionError(
            f"{model}: no depth model ({reason}); give a folder or hub id, as LiheYoung/depth-anything-small-hf"
        ) from None
